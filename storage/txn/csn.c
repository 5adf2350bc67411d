/*
 * csn.c - the ring of commit numbers, its spill, and the bound of xids.
 *
 *            first        ring_low       evicting     next    bound
 *   ───────────┼──────────────┼──────────────┼───────────┼───────┼──── xid
 *    clog only │ spill / clog │        ring (one granule of it may be on its way out)
 *
 * An entry: 0 running, or never used; RING_ABORTED; RING_COMMITTING; or the CSN.
 *
 * INVARIANTS
 *   N1  bound ≤ ring_low + entries: no two xids that may be asked for share an entry.
 *   N2  ring_low is raised before entries are cleared for new xids, entries are read before
 *       ring_low is read again: who finds its xid still ≥ ring_low has read its own entry.
 *   N3  An entry is written only while the place that runs the xid is marked `ending` and the xid
 *       is not below `evicting`, read after marking.  The evictor raises `evicting` first and then
 *       waits for marks. So an entry is written by its xid alone.
 *   N4  A granule leaves the ring only if each of its xids has ended with a CSN below the horizon,
 *       or its leaf stands in the spill.
 *   N5  A record that raises the bound is in the log before any xid below it is given; the number
 *       noted by checkpoints (`noted`) is raised before that record is inserted, so a checkpoint
 *       whose redo point lies behind the record has noted it.
 *   N6  A leaf is found at block (leaf - spill_base) mod SPILL_BLOCKS, and says which one it is; a
 *       block is used again only for leaves all of whose predecessors there lie below horizon_xid.
 *
 * IF A PROCESS DIES while it evicts, outside its critical sections: `evicting` stands above
 * ring_low; the next to take the lock sets it back.  A leaf written twice is no harm: what changed
 * in between is in the ring.  Inside a critical section everything is rebuilt, and all of this
 * starts empty.
 */
#include "storage/txn/csn.h"

#include <inttypes.h>
#include <sched.h>
#include <time.h>

#include "base/crit.h"
#include "base/delay.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mutant.h"
#include "base/panic.h"
#include "shmem/lwlock.h"
#include "shmem/proc.h"
#include "storage/page/datafile.h"
#include "storage/txn/clog.h"
#include "wal/wal_insert.h"

#define RING_RUNNING    0u
#define RING_COMMITTING 2u
#define RING_ABORTED    3u
_Static_assert(RING_ABORTED < TXNTABLE_CSN_FIRST, "marks are no commit numbers");

#define RING_ENTRIES_MIN  4096u
#define RING_GRANULES_MIN 8u
#define GRANULE_MOST      4096u
#define SPILL_BLOCKS      (1u << 20) /* at 8 KiB: 8 GiB, 536 million xids */
#define SPIN_TURNS        1000

struct csn {
    /* Read by everyone, written once a granule.  guard: lock for writing */
    _Alignas(64) _Atomic xid_t ring_low;
    _Atomic xid_t evicting;
    _Atomic xid_t bound;
    _Atomic xid_t noted;
    _Atomic xid_t first;             /* const after recovery */
    _Atomic uint64_t spill_base;     /* leaf that stands at block 0 */
    _Atomic uint64_t spill_end;      /* leaves at or above were not spilled; 0: none was */
    _Atomic uint64_t spill_blocks;   /* blocks written in this life */
    _Alignas(64) struct lwlock lock; /* RANK_XID_EXTEND: one evicts and extends */
    bool spill_made;                 /* guard: lock; the file is of this life */
    uint64_t spill_first;            /* guard: lock; oldest leaf that may be needed */
    uint32_t entries;                /* const after init; a power of two */
    uint32_t granule;                /* const after init; a power of two */
    _Alignas(64) _Atomic uint64_t ring[];
};
static struct csn *shared;   /* mapped before any fork, then const */
static uint32_t ring_wanted; /* csn_use_ring's */

/* A page of the spill. */
struct leaf {
    struct page_header header;
    uint64_t number; /* leaf: xid / leaf_xids */
    _Atomic uint64_t value[];
};
_Static_assert(sizeof(struct leaf) == 32, "a page of the spill");

struct bound_record {
    xid_t bound;
};
_Static_assert(sizeof(struct bound_record) == 8, "a log record has no holes");

void
csn_use_ring(uint32_t entries)
{
    invariant(entries == 0 || (entries >= RING_ENTRIES_MIN && (entries & (entries - 1)) == 0));
    ring_wanted = entries;
}

/* 256 entries a session, so that what all write during a short statement of one stays in the ring.
 */
static uint32_t
ring_entries(const struct config *config)
{
    uint32_t entries = 1u << 18;

    if (ring_wanted != 0)
        return ring_wanted;
    while (entries < (uint64_t)config->server_max_connections * 256 && entries < 1u << 22)
        entries *= 2;
    return entries;
}

size_t
csn_size(const struct config *config)
{
    return sizeof *shared + ring_entries(config) * sizeof shared->ring[0];
}

void
csn_init(void *zeroed, const struct config *config)
{
    shared = zeroed;
    shared->entries = ring_entries(config);
    shared->granule = shared->entries / RING_GRANULES_MIN;
    if (shared->granule > GRANULE_MOST)
        shared->granule = GRANULE_MOST;
    lwlock_init(&shared->lock, RANK_XID_EXTEND);
    csn_recovered();
}

/* Xids on one page of the spill: a power of two, so that leaves never straddle granules. */
static uint32_t
leaf_xids(void)
{
    uint32_t most = (wal_page_size - (uint32_t)sizeof(struct leaf)) / sizeof(uint64_t);
    uint32_t xids = 1;

    while (xids * 2 <= most)
        xids *= 2;
    return xids < shared->granule ? xids : shared->granule;
}

static _Atomic uint64_t *
entry_of(xid_t xid)
{
    return &shared->ring[xid & (shared->entries - 1)];
}

/* ---- recovery ---- */

xid_t
csn_bound_noted(void)
{
    return atomic_load(&shared->noted);
}

xid_t
csn_bound_given(void)
{
    return atomic_load(&shared->bound);
}

void
csn_restore_bound(xid_t bound)
{
    txntable_set_next_xid(bound);
}

void
csn_recovered(void)
{
    xid_t first = txntable_next_xid();

    first = (first + shared->granule - 1) / shared->granule * shared->granule;
    txntable_set_next_xid(first);
    atomic_store(&shared->first, first);
    atomic_store(&shared->ring_low, first);
    atomic_store(&shared->evicting, first);
    atomic_store(&shared->noted, first);
    atomic_store(&shared->bound, first);
}

xid_t
csn_first(void)
{
    return atomic_load(&shared->first);
}

xid_t
csn_ring_low(void)
{
    return atomic_load_explicit(&shared->ring_low, memory_order_acquire);
}

/* ---- the spill ---- */

static struct page_id
leaf_page(uint64_t number)
{
    uint64_t base = atomic_load(&shared->spill_base);

    return (struct page_id){ DATAFILE_CSN, (block_t)((number - base) % SPILL_BLOCKS) };
}

/* The file holds nothing of this life yet: make it anew, whatever it holds. */
static err_t
make_spill(void)
{
    if (shared->spill_made)
        return OK;
    TRY_RETURN(datafile_unlink(DATAFILE_CSN));
    TRY_RETURN(datafile_create(DATAFILE_CSN, 0));
    shared->spill_made = true;
    return OK;
}

/* Under the lock: whether a leaf has to be kept.  N4. */
static bool
leaf_needed(uint64_t number, csn_t horizon)
{
    xid_t from = number * leaf_xids(), below = from + leaf_xids();

    for (xid_t xid = from; xid < below; xid++) {
        if (atomic_load_explicit(entry_of(xid), memory_order_relaxed) >= horizon)
            return true;
    }
    return txntable_runs_between(from, below);
}

/* Under the lock.  N6: forget what nobody asks for; refuse what has no room. */
static err_t
admit_leaf(uint64_t number)
{
    uint64_t settled = txntable_horizon_xid() / leaf_xids();

    if (atomic_load(&shared->spill_end) <= settled) {
        shared->spill_first = number;
        atomic_store(&shared->spill_base, number);
    } else if (shared->spill_first < settled) {
        shared->spill_first = settled;
    }
    if (number - shared->spill_first >= SPILL_BLOCKS)
        return err_set(ERR_TOO_MANY,
            "could not begin to write: a transaction or cursor has been open for more than %" PRIu64
            " transactions",
            (uint64_t)SPILL_BLOCKS * leaf_xids());
    return OK;
}

static err_t
spill_leaf(uint64_t number)
{
    struct leaf *leaf;
    struct page_id id;
    buffer_t buffer;

    TRY_RETURN(admit_leaf(number));
    id = leaf_page(number);
    TRY_RETURN(make_spill());
    TRY_RETURN(pool_pin_new(id, &buffer));
    pool_lock(buffer, LW_EXCLUSIVE);
    crit_begin();
    pool_change_begin(buffer);
    leaf = pool_page(buffer);
    page_init(leaf, PAGE_CSN, 0);
    leaf->header.lower = leaf->header.upper = 0;
    leaf->number = number;
    for (uint32_t i = 0; i < leaf_xids(); i++) {
        uint64_t value =
            atomic_load_explicit(entry_of(number * leaf_xids() + i), memory_order_relaxed);

        atomic_store_explicit(&leaf->value[i], value, memory_order_relaxed);
    }
    pool_change_end(buffer, 0);
    if (id.block >= atomic_load(&shared->spill_blocks))
        atomic_store(&shared->spill_blocks, (uint64_t)id.block + 1);
    atomic_store(&shared->spill_end, number + 1);
    crit_end();
    pool_unlock(buffer);
    pool_unpin(buffer);
    return OK;
}

/* Whether the leaf of an xid may stand in the spill; and where. */
static bool
find_leaf(uint64_t number, struct page_id *id)
{
    if (number >= atomic_load(&shared->spill_end))
        return false;
    *id = leaf_page(number);
    return id->block < atomic_load(&shared->spill_blocks);
}

/* The number in the spill; *found = false: the leaf is not there, so all on it is settled. */
static err_t
read_spill(xid_t xid, bool *found, uint64_t *value)
{
    uint64_t number = xid / leaf_xids();
    const struct leaf *leaf;
    struct pool_peek peek;
    struct page_id id;
    buffer_t buffer;

    *found = false;
    if (!find_leaf(number, &id))
        return OK;
    if (pool_peek(id, &peek)) {
        leaf = (const struct leaf *)(const void *)peek.page;
        *found = __atomic_load_n(&leaf->number, __ATOMIC_RELAXED) == number;
        *value = atomic_load_explicit(&leaf->value[xid % leaf_xids()], memory_order_relaxed);
        if (pool_peek_valid(&peek))
            return OK;
    }
    TRY_RETURN(pool_pin(id, POOL_NORMAL, &buffer));
    pool_lock(buffer, LW_SHARED);
    leaf = pool_page(buffer);
    *found = leaf->number == number;
    *value = atomic_load_explicit(&leaf->value[xid % leaf_xids()], memory_order_relaxed);
    pool_unlock(buffer);
    pool_unpin(buffer);
    return OK;
}

/* ---- making room, and giving xids ---- */

/* Under the lock: the oldest granule leaves the ring. */
static err_t
evict(void)
{
    xid_t low = atomic_load(&shared->ring_low), below = low + shared->granule;
    csn_t horizon;
    err_t err;

    atomic_store(&shared->evicting, below); /* N3 */
    (void)fault_pass(FAULT_XID_EVICTING);
    if (!mutant(MUTANT_COMMIT_UNAWAITED))
        txntable_await_ending(low, below);
    txntable_refresh(true);
    horizon = txntable_horizon();
    for (uint64_t leaf = low / leaf_xids(); leaf < below / leaf_xids(); leaf++) {
        if (leaf_needed(leaf, horizon))
            TRY(spill_leaf(leaf));
    }
    (void)fault_pass(FAULT_XID_SPILLED);
    crit_begin();
    atomic_store(&shared->ring_low, below); /* N2 */
    for (xid_t xid = low; xid < below; xid++)
        atomic_store_explicit(entry_of(xid), RING_RUNNING, memory_order_release);
    crit_end();
    return OK;
out:
    atomic_store(&shared->evicting, low);
    return err;
}

/* Under the lock. */
static void
log_bound(xid_t bound)
{
    struct bound_record record = { bound };

    crit_begin();
    atomic_store(&shared->noted, bound); /* N5 */
    wal_insert_begin();
    wal_insert_data(&record, sizeof record);
    (void)wal_insert(WAL_XID_BOUND, 0);
    atomic_store(&shared->bound, bound);
    crit_end();
}

static void
lock_extend(void)
{
    lwlock_acquire(&shared->lock, LW_EXCLUSIVE);
    atomic_store(&shared->evicting, atomic_load(&shared->ring_low)); /* one died at it */
}

/* Raise the bound above `xid`. */
static err_t
extend(xid_t xid)
{
    err_t err = OK;
    xid_t bound;

    TRY_RETURN(fault_check(FAULT_XID_EXTEND));
    lock_extend();
    while ((bound = atomic_load(&shared->bound)) <= xid) {
        xid_t next = bound + shared->granule;

        if (atomic_load(&shared->ring_low) + shared->entries < next)
            TRY(evict());
        TRY(clog_make(bound, next));
        (void)fault_pass(FAULT_XID_PAGES);
        TRY(wal_insert_reserve_shrink(sizeof(struct bound_record)));
        log_bound(next);
    }
out:
    lwlock_release(&shared->lock);
    return err;
}

err_t
csn_give_xid(struct place *place, xid_t *xid)
{
    xid_t next = txntable_next_xid();
    err_t err;

    invariant(!crit_active());
    /* Before one is drawn: on a full disk none is used up. */
    if (next >= atomic_load_explicit(&shared->bound, memory_order_acquire))
        TRY_RETURN(extend(next));
    *xid = txntable_give_xid(place);
    if (*xid >= atomic_load_explicit(&shared->bound, memory_order_acquire)) {
        err = extend(*xid);
        if (err != OK) {
            atomic_store(&place->xid, 0); /* nobody has seen it */
            *xid = 0;
            return err;
        }
    }
    return OK;
}

/* ---- asking ---- */

/* An xid that has left the ring, or is of an earlier life, and was settled or is not in the spill.
 */
static err_t
settled_fate(xid_t xid, enum xid_fate *fate, csn_t *csn)
{
    TRY_RETURN(clog_get(xid, fate));
    if (*fate != XID_COMMITTED)
        *fate = XID_ABORTED;
    *csn = *fate == XID_COMMITTED ? 1 : 0;
    return OK;
}

static err_t
old_fate(xid_t xid, enum xid_fate *fate, csn_t *csn)
{
    uint64_t value = RING_RUNNING;
    bool found, ran = true;

    if (xid < csn_first() || xid < txntable_horizon_xid())
        return settled_fate(xid, fate, csn);
    for (;;) {
        TRY_RETURN(read_spill(xid, &found, &value));
        if (!found)
            return settled_fate(xid, fate, csn); /* N4 */
        *csn = value >= TXNTABLE_CSN_FIRST ? value : 0;
        *fate = *csn != 0 ? XID_COMMITTED : XID_ABORTED;
        if (value != RING_RUNNING || !ran)
            return OK;
        /* It was running when it left.  A commit is noted here before its place is cleared; a
           rollback is not noted: so look once more when no place runs it. */
        *fate = XID_RUNNING;
        ran = txntable_find(xid) != NULL;
        if (ran)
            return OK;
    }
}

/* A commit is being numbered: nanoseconds, unless its process was stopped there; then it is to be
   seen who keeps others waiting. */
static void
wait_turn(unsigned turn, xid_t xid)
{
    struct timespec pause = { 0, 50000 };

    if (turn < SPIN_TURNS)
        __builtin_ia32_pause();
    else if (turn < 2 * SPIN_TURNS)
        sched_yield();
    else {
        proc_wait_begin(WAIT_XID, xid);
        nanosleep(&pause, NULL);
        proc_wait_end();
    }
}

/* False: not in the ring (any more). */
static bool
ring_value(xid_t xid, uint64_t *value)
{
    for (unsigned turn = 0;; turn++) {
        if (xid < csn_ring_low())
            return false;
        (void)fault_pass(FAULT_RING_READ);
        *value = atomic_load_explicit(entry_of(xid), memory_order_acquire);
        delay_here();
        if (xid < csn_ring_low() && !mutant(MUTANT_RING_UNCHECKED)) /* N2 */
            return false;
        if (*value != RING_COMMITTING)
            return true;
        wait_turn(turn, xid);
    }
}

err_t
csn_fate(xid_t xid, enum xid_fate *fate, csn_t *csn)
{
    uint64_t value;

    if (xid == 0)
        return err_set(ERR_CORRUPT, "data names transaction 0, which there is not");
    if (xid >= atomic_load_explicit(&shared->bound, memory_order_acquire))
        return err_set(ERR_CORRUPT,
            "data names transaction %" PRIu64 ", which was never begun (next is %" PRIu64 ")", xid,
            txntable_next_xid());
    if (!ring_value(xid, &value))
        return old_fate(xid, fate, csn);
    *csn = value >= TXNTABLE_CSN_FIRST ? value : 0;
    *fate = *csn != 0 ? XID_COMMITTED : value == RING_ABORTED ? XID_ABORTED : XID_RUNNING;
    return OK;
}

/* ---- ending ---- */

err_t
csn_prepare(xid_t xid, buffer_t *buffer)
{
    struct page_id id;

    *buffer = 0;
    if (xid >= csn_ring_low())
        return OK;
    invariant(find_leaf(xid / leaf_xids(), &id)); /* N4: it runs */
    return pool_pin(id, POOL_NORMAL, buffer);
}

/* Mark the place; false: its xid has left the ring, or is just leaving.  N3.  In a critical
 * section. */
static bool
begin_ending(struct place *place)
{
    atomic_store(&place->ending, 1);
    (void)fault_pass(FAULT_COMMIT_ENDING);
    if (atomic_load(&place->xid) >= atomic_load(&shared->evicting))
        return true;
    atomic_store(&place->ending, 0);
    return false;
}

static void
clear_xid(struct place *place)
{
    atomic_store_explicit(&place->xid, 0, memory_order_release);
    atomic_store_explicit(&place->ending, 0, memory_order_release);
}

/* The commit is in the log and cannot be taken back: wait for the page, whatever it takes. */
static buffer_t
pin_surely(xid_t xid)
{
    struct timespec pause = { 0, 1000000 };
    buffer_t buffer = 0;
    err_t err;

    while ((err = csn_prepare(xid, &buffer)) == ERR_MEMORY)
        nanosleep(&pause, NULL);
    if (err != OK)
        panic(__FILE__, __LINE__, "a commit is logged, and its number cannot be noted");
    return buffer;
}

/* False: the xid was about to leave the ring, and did not. */
static bool
commit_in_spill(struct place *place, buffer_t *buffer, csn_t *csn)
{
    xid_t xid = atomic_load(&place->xid);
    struct leaf *leaf;

    if (*buffer == 0) {
        lock_extend(); /* until the evictor is through, or is known to be dead */
        lwlock_release(&shared->lock);
        *buffer = pin_surely(xid);
        if (*buffer == 0)
            return false;
    }
    pool_lock(*buffer, LW_EXCLUSIVE);
    crit_begin();
    pool_change_begin(*buffer);
    leaf = pool_page(*buffer);
    invariant(leaf->number == xid / leaf_xids());
    *csn = txntable_give_csn(); /* who may see it waits for the page */
    atomic_store_explicit(&leaf->value[xid % leaf_xids()], *csn, memory_order_relaxed);
    pool_change_end(*buffer, 0);
    clear_xid(place); /* in the section: who died between would be numbered twice */
    crit_end();
    pool_unlock(*buffer);
    pool_unpin(*buffer);
    *buffer = 0;
    return true;
}

csn_t
csn_commit(struct place *place, buffer_t buffer)
{
    csn_t csn;

    for (;;) {
        _Atomic uint64_t *entry = entry_of(atomic_load(&place->xid));

        crit_begin();
        if (begin_ending(place)) {
            invariant(buffer == 0);
            if (!mutant(MUTANT_COMMIT_UNMARKED))
                atomic_store(entry, RING_COMMITTING);
            (void)fault_pass(FAULT_COMMIT_MARKED);
            csn = txntable_give_csn();
            (void)fault_pass(FAULT_COMMIT_DRAWN);
            atomic_store_explicit(entry, csn, memory_order_release);
            clear_xid(place);
            crit_end();
            return csn;
        }
        crit_end();
        if (commit_in_spill(place, &buffer, &csn))
            return csn;
    }
}

/* Unlike a commit's, its mark may be missing in the spill, but not in the ring: who finds nothing
   there takes it for running. */
void
csn_abort(struct place *place)
{
    xid_t xid = atomic_load(&place->xid);

    for (bool done = false; !done;) {
        crit_begin();
        done = begin_ending(place);
        if (done)
            atomic_store_explicit(entry_of(xid), RING_ABORTED, memory_order_release);
        crit_end();
        if (!done) {
            lock_extend();
            lwlock_release(&shared->lock);
            done = xid < csn_ring_low();
        }
    }
    clear_xid(place);
}
