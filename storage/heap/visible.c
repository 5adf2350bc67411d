/*
 * visible.c - who may see a row version.
 *
 * INVARIANTS
 *   V1  A hint says what snapshot_fate says; once set it stays true.
 *   V2  A hint that says "committed" is set only when the commit record is on disk: the page may be
 *       written at any time after, and a power cut must not leave a row that says its maker
 *       committed while the log has lost the commit.  "Failed" needs no such care: who has no
 *       commit record has failed.
 *
 * How V2 is known without a place in the log for each xid: somebody notes, from a snapshot just
 * used, the xid and CSN below which all commits are over, together with the log's end as of then.
 * When the log is on disk up to there, these commits are; the next pair is noted.
 *
 * IF A PROCESS DIES holding the spin lock, that is a critical section: everything is rebuilt.
 */
#include "storage/heap/visible.h"

#include <stdatomic.h>

#include "shmem/spin.h"
#include "wal/wal_flush.h"
#include "wal/wal_insert.h"

struct settled {
    struct spin spin;
    uint32_t pad;
    lsn_t pending_lsn; /* guard: spin; 0: nothing is noted */
    xid_t pending_xid; /* guard: spin */
    csn_t pending_csn; /* guard: spin */
    _Atomic xid_t xid; /* guard: spin for writing; commits of xids below are on disk */
    _Atomic csn_t csn; /* guard: spin for writing; commits numbered below are on disk */
};
static struct settled *shared; /* mapped before any fork, then const; NULL: no place given */

static size_t
region_size(const struct config *config)
{
    (void)config;
    return sizeof *shared;
}

static void
region_init(void *zeroed, const struct config *config)
{
    (void)config;
    shared = zeroed;
    spin_init(&shared->spin);
}

const struct region visible_region = { "row visibility", region_size, region_init };

/* Take over what was noted if the log has reached the disk up to there, and note anew. */
static void
advance(const struct snapshot *snapshot)
{
    lsn_t done = wal_flush_done();
    lsn_t end = wal_insert_position(); /* read after the snapshot was taken: behind its commits */

    spin_acquire(&shared->spin);
    if (shared->pending_lsn != 0 && shared->pending_lsn <= done) {
        atomic_store_explicit(&shared->xid, shared->pending_xid, memory_order_relaxed);
        atomic_store_explicit(&shared->csn, shared->pending_csn, memory_order_relaxed);
        shared->pending_lsn = 0;
    }
    if (shared->pending_lsn == 0 && snapshot->csn > shared->csn) {
        shared->pending_lsn = end;
        shared->pending_xid = snapshot->all_ended_below;
        shared->pending_csn = snapshot->csn;
    }
    spin_release(&shared->spin);
}

/* V2: whether the commit of `xid`, which the snapshot sees, is on disk. */
static bool
durable(const struct snapshot *snapshot, xid_t xid)
{
    if (shared != NULL) {
        if (xid < atomic_load_explicit(&shared->xid, memory_order_relaxed) ||
            snapshot->csn <= atomic_load_explicit(&shared->csn, memory_order_relaxed))
            return true;
    }
    if (wal_insert_position() <= wal_flush_done())
        return true;
    if (shared != NULL)
        advance(snapshot);
    return false;
}

static err_t
sees_xid(const struct snapshot *snapshot, xid_t xid, struct visible_memory *memory, bool *sees,
    enum xid_fate *fate, bool *known)
{
    *known = false;
    if (memory != NULL && memory->xid == xid) {
        *sees = memory->sees;
        return OK;
    }
    TRY_RETURN(snapshot_sees(snapshot, xid, sees, fate));
    *known = true;
    if (memory != NULL)
        *memory = (struct visible_memory){ xid, *sees };
    return OK;
}

static unsigned
hint_for(const struct snapshot *snapshot, xid_t xid, bool sees, enum xid_fate fate,
    unsigned committed, unsigned failed)
{
    if (fate == XID_ABORTED)
        return failed;
    if (fate == XID_COMMITTED && sees && durable(snapshot, xid))
        return committed;
    return 0;
}

err_t
visible_ask(const struct snapshot *snapshot, const struct heappage_row *row,
    struct visible_memory *memory, bool *sees, unsigned *hints)
{
    unsigned flags = heappage_flags(row);
    enum visible_answer quick = visible_quick(snapshot, row, flags);
    enum xid_fate fate;
    bool known;

    if (hints != NULL)
        *hints = 0;
    *sees = quick == VISIBLE_YES;
    if (quick != VISIBLE_ASK)
        return OK;
    if ((flags & HEAPPAGE_XMIN_FROZEN) == 0 && row->xmin != snapshot->own &&
        ((flags & HEAPPAGE_XMIN_COMMITTED) == 0 || row->xmin >= snapshot->all_ended_below)) {
        TRY_RETURN(sees_xid(snapshot, row->xmin, memory, sees, &fate, &known));
        if (known && hints != NULL && (flags & HEAPPAGE_XMIN_COMMITTED) == 0)
            *hints |= hint_for(
                snapshot, row->xmin, *sees, fate, HEAPPAGE_XMIN_COMMITTED, HEAPPAGE_XMIN_ABORTED);
        if (!*sees)
            return OK;
    }
    *sees = true;
    if (row->xmax == 0 || (flags & HEAPPAGE_XMAX_ABORTED) != 0)
        return OK;
    if (row->xmax == snapshot->own) {
        *sees = row->cmax >= snapshot->command;
        return OK;
    }
    bool deleted;

    TRY_RETURN(sees_xid(snapshot, row->xmax, memory, &deleted, &fate, &known));
    if (known && hints != NULL && (flags & HEAPPAGE_XMAX_COMMITTED) == 0)
        *hints |= hint_for(
            snapshot, row->xmax, deleted, fate, HEAPPAGE_XMAX_COMMITTED, HEAPPAGE_XMAX_ABORTED);
    *sees = !deleted;
    return OK;
}

err_t
visible_rest(
    const struct heappage_row *row, csn_t horizon, bool freezing, struct visible_rest *rest)
{
    unsigned flags = heappage_flags(row);
    enum xid_fate fate = XID_COMMITTED;
    csn_t csn = 1;

    *rest = (struct visible_rest){ .settled = true };
    if ((flags & HEAPPAGE_XMIN_FROZEN) == 0) {
        if ((flags & HEAPPAGE_XMIN_ABORTED) != 0)
            fate = XID_ABORTED;
        else if (freezing || (flags & HEAPPAGE_XMIN_COMMITTED) == 0)
            TRY_RETURN(snapshot_fate(row->xmin, &fate, &csn));
        if (fate == XID_ABORTED) {
            rest->dead = rest->failed = true;
            return OK;
        }
        if (fate == XID_RUNNING) {
            rest->settled = false;
            return OK; /* its own deletion, too, is in progress */
        }
        rest->freezable = freezing && csn < horizon;
    }
    if (row->xmax == 0)
        return OK;
    fate = XID_ABORTED;
    if ((flags & HEAPPAGE_XMAX_ABORTED) == 0)
        TRY_RETURN(snapshot_fate(row->xmax, &fate, &csn));
    if (fate == XID_RUNNING)
        rest->settled = false;
    rest->xmax_failed = fate == XID_ABORTED;
    rest->dead = fate == XID_COMMITTED && csn < horizon;
    return OK;
}

static err_t
end_of(xid_t xid, xid_t own, enum visible_end *end)
{
    enum xid_fate fate;
    csn_t csn;

    if (xid == own) {
        *end = VISIBLE_OWN;
        return OK;
    }
    TRY_RETURN(snapshot_fate(xid, &fate, &csn));
    *end = fate == XID_RUNNING     ? VISIBLE_RUNNING
           : fate == XID_COMMITTED ? VISIBLE_COMMITTED
                                   : VISIBLE_FAILED;
    return OK;
}

err_t
visible_made(const struct heappage_row *row, xid_t own, enum visible_end *end)
{
    unsigned flags = heappage_flags(row);

    *end = VISIBLE_COMMITTED;
    if ((flags & (HEAPPAGE_XMIN_FROZEN | HEAPPAGE_XMIN_COMMITTED)) != 0)
        return OK;
    *end = VISIBLE_FAILED;
    if ((flags & HEAPPAGE_XMIN_ABORTED) != 0)
        return OK;
    return end_of(row->xmin, own, end);
}

err_t
visible_ended(const struct heappage_row *row, xid_t own, enum visible_end *end)
{
    unsigned flags = heappage_flags(row);

    *end = VISIBLE_NONE;
    if (row->xmax == 0)
        return OK;
    *end = VISIBLE_FAILED;
    if ((flags & HEAPPAGE_XMAX_ABORTED) != 0)
        return OK;
    *end = VISIBLE_COMMITTED;
    if ((flags & HEAPPAGE_XMAX_COMMITTED) != 0)
        return OK;
    return end_of(row->xmax, own, end);
}

/* The version is there and belongs to the root's chain. */
static bool
in_chain(const void *page, struct row_id root, unsigned item)
{
    unsigned steps = heappage_count(page);

    for (unsigned n = heappage_first(page, root.item); n != 0 && steps > 0; steps--) {
        if (n == item)
            return true;
        n = heappage_next(page, n);
    }
    return false;
}

/* What replaced the row: the same root if it was heap-only, else the new one; gone if nothing did.
 */
static void
replaced(const struct heappage_row *row, struct row_id root, enum heap_outcome *outcome,
    struct heap_conflict *conflict)
{
    unsigned flags = heappage_flags(row);

    *outcome = HEAP_CHANGED;
    if ((flags & HEAPPAGE_HOT_UPDATED) != 0)
        conflict->newer = root;
    else if ((flags & HEAPPAGE_MOVED) != 0)
        conflict->newer = (struct row_id){ row->next_block, row->next_item };
    else
        *outcome = HEAP_GONE;
}

err_t
visible_judge(const void *page, struct row_id root, unsigned item, xid_t own, uint32_t command,
    enum heap_outcome *outcome, struct heap_conflict *conflict)
{
    const struct heappage_row *row = heappage_row(page, item, NULL);
    enum visible_end made, ended;

    *conflict = (struct heap_conflict){ 0, ROW_ID_NONE };
    *outcome = HEAP_GONE;
    if (row == NULL || !in_chain(page, root, item))
        return OK;
    TRY_RETURN(visible_made(row, own, &made));
    if (made == VISIBLE_OWN && row->cmin >= command)
        *outcome = HEAP_OWN;
    if (made != VISIBLE_COMMITTED && (made != VISIBLE_OWN || row->cmin >= command))
        return OK;
    TRY_RETURN(visible_ended(row, own, &ended));
    switch (ended) {
    case VISIBLE_NONE:
    case VISIBLE_FAILED:
        *outcome = HEAP_DONE;
        break;
    case VISIBLE_RUNNING:
        *outcome = HEAP_BUSY;
        conflict->busy = row->xmax;
        break;
    case VISIBLE_OWN:
        if (row->cmax >= command) {
            *outcome = HEAP_OWN;
            break;
        }
        replaced(row, root, outcome, conflict);
        break;
    case VISIBLE_COMMITTED:
        replaced(row, root, outcome, conflict);
        break;
    }
    return OK;
}
