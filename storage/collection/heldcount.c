/*
 * heldcount.c - what is held in shared memory.
 *
 * IF A PROCESS DIES here, nothing is half done: it only looks.
 */
#include "storage/collection/heldcount.h"

#include <stdatomic.h>

#include "shmem/ledger.h"
#include "shmem/proc.h"
#include "storage/collection/graveyard.h"
#include "storage/page/pool.h"
#include "storage/txn/txn.h"

static void
count_slots(struct heldcount *counts)
{
    unsigned end = proc_high_water();

    for (unsigned i = 0; i < end; i++) {
        struct proc *proc = proc_at(i);

        if (atomic_load(&proc->pid) == 0)
            continue;
        counts->slots++;
        counts->critical += atomic_load(&proc->crit) > 0;
        counts->slots_dead += proc_is_dead(i);
    }
}

void
heldcount(struct heldcount *counts)
{
    *counts = (struct heldcount){
        .locks = ledger_total(LEDGER_LWLOCK_SHARED) + ledger_total(LEDGER_LWLOCK_EXCLUSIVE),
        .pins = ledger_total(LEDGER_PIN),
        .pins_counted = pool_pin_total(),
        .io = ledger_total(LEDGER_IO),
        .places = ledger_total(LEDGER_PLACE),
        .transactions = txn_running(),
        .snapshots = txn_snapshots(),
        .graves = graveyard_count(),
    };
    count_slots(counts);
}
