/*
 * txntable.c - places, counters, horizon.
 *
 * INVARIANTS
 *   P1  An xid that was given and has not ended stands in exactly one place; from before it was
 *       given until then the place says at least that some xid not below its floor is given.
 *   P2  wanted ≤ next_csn, and no snapshot below `wanted` begins: a place's csn is stored first and
 *       `wanted` read after; whoever computes raises `wanted` first and reads the places after
 *       (both in the one order of sequentially consistent accesses).  So one of the two sees the
 *       other.
 *   P3  horizon ≤ the csn of every snapshot in use.  It never falls.
 *   P4  Every xid below ended_below has ended.  Every xid below horizon_xid has ended, and its CSN,
 *       if any, is below the horizon.
 *   P5  A snapshot moves from one place to another only under the table's lock, which the one who
 *       computes the horizon holds: none is missed while it moves.
 *
 * IF A PROCESS DIES with places, their owner says so: txn_end_dead.  The free list changes inside
 * critical sections only.  The ledger names an extra place before it is taken; what counts is the
 * place's owner, written in the same critical section as the list.
 */
#include "storage/txn/txntable.h"

#include <sched.h>

#include "base/clock.h"
#include "base/crit.h"
#include "base/delay.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/mutant.h"
#include "base/panic.h"
#include "shmem/ledger.h"
#include "shmem/lwlock.h"
#include "shmem/proc.h"

#define CONDITIONS 256
#define XID_FIRST  1u /* of a new data directory, before csn.c rounds it up */

struct txntable {
    /* Written by every commit and every first write of a transaction: lines of their own. */
    _Alignas(64) _Atomic csn_t next_csn;
    _Alignas(64) _Atomic xid_t next_xid;
    /* Read by everyone, written every few milliseconds.  guard: lock for writing */
    _Alignas(64) _Atomic csn_t wanted;
    _Atomic xid_t ended_below;
    _Atomic csn_t horizon;
    _Atomic xid_t horizon_xid;
    _Atomic int64_t refreshed_ns;
    _Atomic uint32_t own_high;   /* own places at or above were never used; guard: atomic max */
    _Atomic uint32_t extra_high; /* the same for extra places, as an index; guard: lock */
    _Atomic int64_t deadlock_timeout_ns; /* guard: none, a setting */
    _Alignas(64) struct lwlock lock;
    uint32_t free_head; /* guard: lock; index + 1; 0: take extra_high */
    uint32_t own_count; /* const after init */
    uint32_t count;     /* const after init */
    uint32_t pad;
    xid_t candidate_xid; /* guard: lock; P4: all below had ended when … */
    csn_t candidate_csn; /* … this was the next CSN */
    _Alignas(64) struct condition ended[CONDITIONS];
    _Alignas(64) struct place place[];
};
static struct txntable *shared; /* mapped before any fork, then const */

/* Slots are not there yet when sizes are asked for: proc_count is known once its region is made,
   and the order of regions puts it first. */
static size_t
extra_places(const struct config *config)
{
    return (size_t)(config->max_transactions + config->max_cursors);
}

size_t
txntable_size(const struct config *config)
{
    /* proc_region's own count is not known before init: the most that it can be. */
    size_t own = (size_t)(config->server_max_connections + config->server_spare_backends_max) + 256;

    return sizeof *shared + (own + extra_places(config)) * sizeof(struct place);
}

void
txntable_init(void *zeroed, const struct config *config)
{
    size_t most = (txntable_size(config) - sizeof *shared) / sizeof(struct place);

    shared = zeroed;
    shared->own_count = proc_count();
    shared->count = shared->own_count + (uint32_t)extra_places(config);
    invariant(shared->count <= most);
    lwlock_init(&shared->lock, RANK_TXN_TABLE);
    atomic_store(&shared->next_csn, TXNTABLE_CSN_FIRST);
    atomic_store(&shared->wanted, TXNTABLE_CSN_FIRST);
    atomic_store(&shared->horizon, TXNTABLE_CSN_FIRST);
    atomic_store(&shared->next_xid, XID_FIRST);
    atomic_store(&shared->extra_high, shared->own_count);
    txntable_set_deadlock_timeout_ms(config->deadlock_timeout_ms);
    for (uint32_t i = 0; i < CONDITIONS; i++)
        condition_init(&shared->ended[i]);
    for (uint32_t i = 0; i < shared->own_count; i++) {
        atomic_store(&shared->place[i].owner, i + 1);
        atomic_store(&shared->place[i].use, PLACE_TXN);
    }
}

uint32_t
txntable_count(void)
{
    return shared->count;
}

struct place *
txntable_place(uint32_t index)
{
    invariant(index < shared->count);
    return &shared->place[index];
}

uint32_t
txntable_index(const struct place *place)
{
    return (uint32_t)(place - shared->place);
}

/* P2 holds for places that a walk never comes to, too: own_high is raised before csn is stored. */
static void
raise_own_high(uint32_t index)
{
    uint32_t high = atomic_load(&shared->own_high);

    while (high <= index && !atomic_compare_exchange_weak(&shared->own_high, &high, index + 1))
        ;
}

struct place *
txntable_own(void)
{
    uint32_t index = proc_self->index;

    if (index >= atomic_load_explicit(&shared->own_high, memory_order_relaxed))
        raise_own_high(index);
    return &shared->place[index];
}

struct place *
txntable_walk(uint32_t *at)
{
    if (*at < shared->own_count && *at >= atomic_load(&shared->own_high))
        *at = shared->own_count;
    if (*at >= shared->own_count && *at >= atomic_load(&shared->extra_high))
        return NULL;
    return &shared->place[(*at)++];
}

void
txntable_lock(void)
{
    lwlock_acquire(&shared->lock, LW_EXCLUSIVE);
}

void
txntable_unlock(void)
{
    lwlock_release(&shared->lock);
}

err_t
txntable_take(enum place_use use, csn_t csn, struct place **place)
{
    uint32_t index;
    unsigned entry;

    TRY_RETURN(fault_check(FAULT_TXN_PLACE_TAKE));
    txntable_lock();
    index = shared->free_head > 0 ? shared->free_head - 1 : atomic_load(&shared->extra_high);
    if (index >= shared->count) {
        txntable_unlock();
        return err_set(ERR_TOO_MANY,
            "too many transactions and cursors are open: %u (memory.max_transactions and "
            "memory.max_cursors)",
            shared->count - shared->own_count);
    }
    *place = &shared->place[index];
    entry = ledger_intend(LEDGER_PLACE, index);
    crit_begin();
    if (shared->free_head > 0)
        shared->free_head = (*place)->next_free;
    else
        atomic_store(&shared->extra_high, index + 1);
    invariant(atomic_load(&(*place)->use) == PLACE_FREE && atomic_load(&(*place)->xid) == 0);
    atomic_store(&(*place)->owner, proc_self->index + 1);
    atomic_store(&(*place)->use, use);
    atomic_store(&(*place)->csn, csn); /* P5 */
    crit_end();
    ledger_confirm(entry);
    txntable_unlock();
    return OK;
}

/* Under the lock. */
static void
put_back(struct place *place)
{
    crit_begin();
    atomic_store(&place->csn, 0);
    atomic_store(&place->owner, TXNTABLE_NOBODY);
    atomic_store(&place->use, PLACE_FREE);
    atomic_store(&place->ticket, atomic_load(&place->ticket) + 1);
    place->next_free = shared->free_head;
    shared->free_head = txntable_index(place) + 1;
    crit_end();
}

void
txntable_give_back(struct place *place)
{
    int entry = ledger_find(LEDGER_PLACE, txntable_index(place));

    invariant(txntable_index(place) >= shared->own_count && atomic_load(&place->xid) == 0);
    if (entry >= 0)
        ledger_doubt((unsigned)entry);
    txntable_lock();
    invariant(atomic_load(&place->use) != PLACE_FREE);
    put_back(place);
    txntable_unlock();
    if (entry >= 0)
        ledger_clear((unsigned)entry);
}

uint64_t
txntable_pass(struct place *place)
{
    int entry = ledger_find(LEDGER_PLACE, txntable_index(place));
    uint64_t ticket;

    invariant(entry >= 0 && atomic_load(&place->owner) == proc_self->index + 1);
    ledger_doubt((unsigned)entry);
    txntable_lock();
    ticket = atomic_load(&place->ticket) + 1;
    crit_begin();
    atomic_store(&place->ticket, ticket);
    atomic_store(&place->owner, TXNTABLE_NOBODY);
    crit_end();
    txntable_unlock();
    ledger_clear((unsigned)entry);
    return ticket;
}

bool
txntable_take_up(uint32_t index, uint64_t ticket, enum place_use use)
{
    struct place *place;
    unsigned entry;
    bool there;

    if (index < shared->own_count || index >= shared->count)
        return false;
    place = &shared->place[index];
    entry = ledger_intend(LEDGER_PLACE, index);
    txntable_lock();
    there = atomic_load(&place->use) == use && atomic_load(&place->ticket) == ticket &&
            atomic_load(&place->owner) == TXNTABLE_NOBODY;
    if (there) {
        crit_begin();
        atomic_store(&place->ticket, ticket + 1);
        atomic_store(&place->owner, proc_self->index + 1);
        crit_end();
        ledger_confirm(entry);
    }
    txntable_unlock();
    if (!there)
        ledger_clear(entry);
    return there;
}

void
txntable_bury(struct place *place, unsigned slot)
{
    invariant(atomic_load(&place->xid) == 0);
    if (txntable_index(place) < shared->own_count) {
        if (!mutant(MUTANT_LEFT_SNAPSHOT))
            atomic_store(&place->csn, 0);
        if (!mutant(MUTANT_LEFT_EDGE))
            atomic_store(&place->waits_for, 0);
        return;
    }
    txntable_lock();
    if (atomic_load(&place->owner) == slot + 1 && !mutant(MUTANT_LEFT_PLACE))
        put_back(place);
    txntable_unlock();
}

void
txntable_snapshot(struct place *place, struct snapshot *snapshot)
{
    /* This before next_csn: what had ended when it was published has its CSN below (P4). */
    xid_t ended = atomic_load_explicit(&shared->ended_below, memory_order_acquire);
    csn_t csn = atomic_load_explicit(&shared->next_csn, memory_order_acquire);

    (void)fault_pass(FAULT_SNAPSHOT_TAKEN);
    for (;;) {
        atomic_store(&place->csn, csn); /* P2 */
        if (atomic_load(&shared->wanted) <= csn || mutant(MUTANT_WANTED_UNCHECKED))
            break;
        csn = atomic_load(&shared->next_csn);
    }
    snapshot->csn = csn;
    snapshot->all_ended_below = ended;
}

xid_t
txntable_give_xid(struct place *place)
{
    xid_t xid = atomic_load(&shared->next_xid);

    atomic_store(&place->xid, xid | TXNTABLE_ASSIGNING); /* P1 */
    xid = atomic_fetch_add(&shared->next_xid, 1);
    (void)fault_pass(FAULT_XID_DRAWN);
    atomic_store(&place->xid, xid);
    return xid;
}

xid_t
txntable_next_xid(void)
{
    return atomic_load(&shared->next_xid);
}

void
txntable_set_next_xid(xid_t xid)
{
    xid_t next = atomic_load(&shared->next_xid);

    while (next < xid && !atomic_compare_exchange_weak(&shared->next_xid, &next, xid))
        ;
}

csn_t
txntable_give_csn(void)
{
    return atomic_fetch_add(&shared->next_csn, 1);
}

csn_t
txntable_next_csn(void)
{
    return atomic_load(&shared->next_csn);
}

struct place *
txntable_find(xid_t xid)
{
    struct place *place;
    uint32_t at = 0;

    while ((place = txntable_walk(&at)) != NULL) {
        if (atomic_load(&place->xid) == xid)
            return place;
    }
    return NULL;
}

bool
txntable_runs_between(xid_t from, xid_t below)
{
    struct place *place;
    uint32_t at = 0;

    while ((place = txntable_walk(&at)) != NULL) {
        xid_t xid = atomic_load(&place->xid);

        if (xid >= from && xid < below)
            return true;
        /* Drawn, perhaps, and not yet stored: any number from the floor on (P1). */
        if ((xid & TXNTABLE_ASSIGNING) != 0 && (xid & ~TXNTABLE_ASSIGNING) < below)
            return true;
    }
    return false;
}

void
txntable_await_ending(xid_t from, xid_t below)
{
    struct place *place;
    uint32_t at = 0;

    while ((place = txntable_walk(&at)) != NULL) {
        xid_t xid = atomic_load(&place->xid);

        if (xid < from || xid >= below)
            continue;
        while (atomic_load(&place->ending) != 0 && atomic_load(&place->xid) == xid)
            sched_yield();
    }
}

/* Under the lock.  P3, P4. */
static void
compute(void)
{
    xid_t ended = atomic_load(&shared->next_xid);
    csn_t horizon = atomic_load(&shared->next_csn);
    struct place *place;
    uint32_t at = 0;

    atomic_store(&shared->wanted, horizon); /* P2: before any place is read */
    delay_here();
    while ((place = txntable_walk(&at)) != NULL) {
        csn_t csn = atomic_load(&place->csn);
        xid_t xid = atomic_load(&place->xid) & ~TXNTABLE_ASSIGNING;

        if (csn != 0 && csn < horizon)
            horizon = csn;
        if (xid != 0 && xid < ended)
            ended = xid;
    }
    /* A place whose owner is about to look at `wanted` and try again may show less than was true
     * before. */
    if (horizon > atomic_load(&shared->horizon))
        atomic_store(&shared->horizon, horizon);
    if (ended > atomic_load(&shared->ended_below))
        atomic_store(&shared->ended_below, ended);
    if (atomic_load(&shared->horizon) >= shared->candidate_csn) {
        if (shared->candidate_xid > atomic_load(&shared->horizon_xid))
            atomic_store(&shared->horizon_xid, shared->candidate_xid);
        shared->candidate_xid = atomic_load(&shared->ended_below);
        shared->candidate_csn = atomic_load(&shared->next_csn);
    }
    atomic_store(&shared->refreshed_ns, clock_now_ns());
}

void
txntable_refresh(bool must)
{
    if (must)
        txntable_lock();
    else if (!lwlock_try(&shared->lock, LW_EXCLUSIVE))
        return;
    compute();
    txntable_unlock();
}

csn_t
txntable_horizon(void)
{
    return atomic_load_explicit(&shared->horizon, memory_order_acquire);
}

xid_t
txntable_horizon_xid(void)
{
    return atomic_load_explicit(&shared->horizon_xid, memory_order_acquire);
}

int64_t
txntable_refreshed_ns(void)
{
    return atomic_load_explicit(&shared->refreshed_ns, memory_order_relaxed);
}

xid_t
txntable_ended_below(void)
{
    return atomic_load_explicit(&shared->ended_below, memory_order_acquire);
}

struct condition *
txntable_condition(xid_t xid)
{
    return &shared->ended[hash_u64(xid) % CONDITIONS];
}

/* Own places change without the lock, so numbers are read before what bounds them. */
static const char *
odd_place(uint32_t index)
{
    const struct place *place = &shared->place[index];
    uint32_t owner = atomic_load(&place->owner);
    uint32_t use = atomic_load(&place->use);
    csn_t csn = atomic_load(&place->csn);
    xid_t xid = atomic_load(&place->xid) & ~TXNTABLE_ASSIGNING;

    if (index < shared->own_count && (owner != index + 1 || use != PLACE_TXN))
        return "a process's own place is not its own";
    if (owner > shared->own_count || use > PLACE_HOLD || atomic_load(&place->ending) > 1)
        return "a place of the transaction table is damaged";
    if (csn > atomic_load(&shared->next_csn) || xid > atomic_load(&shared->next_xid))
        return "a transaction has a number that was never given";
    return NULL;
}

static const char *
odd_table(void)
{
    uint32_t high = atomic_load(&shared->extra_high);
    uint32_t at = shared->free_head;
    uint32_t chained = 0, free = 0;

    if (high < shared->own_count || high > shared->count)
        return "the transaction table's end is damaged";
    for (uint32_t i = 0; i < high; i++) {
        const char *odd = odd_place(i);

        if (odd != NULL)
            return odd;
        free += atomic_load(&shared->place[i].use) == PLACE_FREE;
    }
    for (; at != 0; at = shared->place[at - 1].next_free)
        if (at <= shared->own_count || at > high || ++chained > free)
            break;
    return at != 0 || chained != free ? "the list of free places is damaged" : NULL;
}

err_t
txntable_verify(void)
{
    const char *odd;

    txntable_lock();
    odd = odd_table();
    txntable_unlock();
    return odd == NULL ? OK : err_set(ERR_INTERNAL, "%s", odd);
}

int64_t
txntable_deadlock_timeout_ns(void)
{
    return atomic_load_explicit(&shared->deadlock_timeout_ns, memory_order_relaxed);
}

void
txntable_set_deadlock_timeout_ms(int64_t ms)
{
    atomic_store_explicit(&shared->deadlock_timeout_ns, ms * 1000000, memory_order_relaxed);
}
