/*
 * waits.c - who waits for whom, and where.
 */
#include "storage/collection/waits.h"

#include "shmem/lwlock.h"
#include "shmem/segment.h"
#include "storage/collection/catalog_share.h"
#include "storage/page/pool.h"
#include "storage/txn/txn.h"
#include "wal/checkpoint.h"
#include "wal/wal_flush.h"
#include "wal/wal_ring.h"

static void
add(struct waits *waits, int slot)
{
    if (slot >= 0 && (unsigned)slot < proc_count() && waits->holder_count < WAITS_HOLDERS_MAX)
        waits->holder[waits->holder_count++] = (uint16_t)slot;
}

/* Those whose ledgers say that they share the lock. */
static void
add_sharers(struct waits *waits, uint64_t lock)
{
    unsigned end = proc_high_water();

    for (unsigned slot = 0; slot < end; slot++)
        for (unsigned entry = 0; entry < LEDGER_MAX; entry++) {
            uint64_t id;

            if (ledger_names(slot, entry, LEDGER_LWLOCK_SHARED, &id) && id == lock)
                add(waits, (int)slot);
        }
}

static void
look_at_lock(struct waits *waits)
{
    const struct lwlock *lock;

    if (waits->object == 0 || waits->object > segment_size() - sizeof *lock ||
        waits->object % _Alignof(struct lwlock) != 0)
        return;
    lock = segment_pointer(waits->object);
    waits->where = lwlock_rank_name(lock);
    waits->turn = lwlock_turn(lock);
    if (lwlock_owner(lock) >= 0)
        add(waits, lwlock_owner(lock));
    else
        add_sharers(waits, waits->object);
}

static void
add_older_sections(struct waits *waits)
{
    unsigned end = proc_high_water();

    for (unsigned slot = 0; slot < end; slot++)
        if (catalog_share_is_older(slot, waits->object))
            add(waits, (int)slot);
}

void
waits_of(unsigned slot, struct waits *waits)
{
    const struct proc *proc = proc_at(slot);

    *waits = (struct waits){ .wait = (enum proc_wait)atomic_load_explicit(
                                 &proc->wait, memory_order_acquire),
        .where = "",
        .object = atomic_load_explicit(&proc->wait_object, memory_order_relaxed),
        .since_ns = atomic_load_explicit(&proc->wait_since_ns, memory_order_relaxed) };
    switch (waits->wait) {
    case WAIT_LWLOCK:
        look_at_lock(waits);
        break;
    case WAIT_XID:
        add(waits, txn_runner(waits->object));
        break;
    case WAIT_PAGE_IO:
        add(waits, pool_io_owner((buffer_t)waits->object));
        break;
    case WAIT_WAL_FLUSH:
        add(waits, wal_flush_leader());
        break;
    case WAIT_WAL_SPACE:
        add(waits, wal_flush_leader());
        if (waits->object > wal_ring_capacity())
            add(waits, wal_ring_copier(waits->object - wal_ring_capacity()));
        break;
    case WAIT_WAL_COPY:
        add(waits, wal_ring_copier(waits->object));
        break;
    case WAIT_CHECKPOINT:
        add(waits, checkpoint_runner());
        break;
    case WAIT_SECTION:
        add_older_sections(waits);
        break;
    default:
        break;
    }
}
