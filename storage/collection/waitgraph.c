/*
 * waitgraph.c - who waits for whom, and where.
 *
 * Nodes are slots; an edge goes from who waits to each who holds what it waits for, and is not kept
 * anywhere: it is found by what the waiter's slot says, and then by the word, place or ledger
 * that says who holds that.
 *
 * INVARIANTS
 *   G1  A wait's kind, object and beginning are of one wait: the kind and the object are the same
 *       when read once more, and a process that begins another wait has said before that the last
 *       one is over (proc_wait_begin).
 *   G2  An entry on INTENT counts only if those on HELD do not explain the lock's word.  With fewer
 *       of them than there are shares, one on INTENT has taken its share and not said so; and
 *       a lock that nobody has, and somebody waits for, was let go of by one on INTENT that has
 *       not woken the sleepers yet.  So nobody is named who only wants the lock too.
 *
 * IF A PROCESS DIES here, nothing is half done: it only looks.
 */
#include "storage/collection/waitgraph.h"

#include "shmem/lwlock.h"
#include "shmem/segment.h"
#include "storage/collection/catalog_share.h"
#include "storage/page/pool.h"
#include "storage/txn/txn.h"
#include "wal/checkpoint.h"
#include "wal/wal_flush.h"
#include "wal/wal_ring.h"

static void
add(struct waitgraph_wait *waits, int slot)
{
    if (slot >= 0 && (unsigned)slot < proc_count() && waits->holder_count < WAITGRAPH_HOLDERS_MAX)
        waits->holder[waits->holder_count++] = (uint16_t)slot;
}

/* Those whose ledgers name the lock, in this state; how many. */
static unsigned
add_named(struct waitgraph_wait *waits, enum ledger_kind kind, enum ledger_state wanted)
{
    unsigned end = proc_high_water();
    unsigned count = 0;

    for (unsigned slot = 0; slot < end; slot++)
        for (unsigned entry = 0; entry < LEDGER_MAX; entry++) {
            enum ledger_state state;
            uint64_t id;

            if (!ledger_names(slot, entry, kind, &id, &state) || id != waits->object ||
                state != wanted)
                continue;
            add(waits, (int)slot);
            count++;
        }
    return count;
}

/* No one has it for himself.  G2. */
static void
add_sharers(struct waitgraph_wait *waits, const struct lwlock *lock)
{
    unsigned held = add_named(waits, LEDGER_LWLOCK_SHARED, LEDGER_HELD);

    if (held == 0 || held < lwlock_shares(lock))
        (void)add_named(waits, LEDGER_LWLOCK_SHARED, LEDGER_INTENT);
    if (held == 0 && lwlock_free(lock))
        (void)add_named(waits, LEDGER_LWLOCK_EXCLUSIVE, LEDGER_INTENT);
}

static void
look_at_lock(struct waitgraph_wait *waits)
{
    const struct lwlock *lock;

    if (waits->object == 0 || waits->object > segment_size() - sizeof *lock ||
        waits->object % _Alignof(struct lwlock) != 0)
        return;
    lock = segment_pointer(waits->object);
    waits->where = lwlock_rank_name(lock);
    if (lwlock_owner(lock) >= 0)
        add(waits, lwlock_owner(lock));
    else
        add_sharers(waits, lock);
}

static void
add_older_sections(struct waitgraph_wait *waits)
{
    unsigned end = proc_high_water();

    for (unsigned slot = 0; slot < end; slot++)
        if (catalog_share_is_older(slot, waits->object))
            add(waits, (int)slot);
}

/* What its slot says that it waits for.  G1. */
static void
read_wait(const struct proc *proc, struct waitgraph_wait *waits)
{
    uint32_t wait = atomic_load_explicit(&proc->wait, memory_order_acquire);

    *waits = (struct waitgraph_wait){ .wait = (enum proc_wait)wait, .where = "" };
    waits->object = atomic_load_explicit(&proc->wait_object, memory_order_acquire);
    waits->since_ns = atomic_load_explicit(&proc->wait_since_ns, memory_order_acquire);
    if (atomic_load_explicit(&proc->wait, memory_order_acquire) != wait ||
        atomic_load_explicit(&proc->wait_object, memory_order_relaxed) != waits->object)
        waits->wait = WAIT_NONE;
}

void
waitgraph_look(unsigned slot, struct waitgraph_wait *waits)
{
    read_wait(proc_at(slot), waits);
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
