/*
 * txntable.h - the places of transactions, the two counters they draw from, and the horizon.
 *
 * Inside storage/txn only.  Places 0 … proc_count()-1 belong to the process slots of the same
 * number; those above are taken and given back (txntable_take).  README.md, "Places", has the
 * protocol.
 */
#ifndef STORAGE_TXN_TXNTABLE_H
#define STORAGE_TXN_TXNTABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/config.h"
#include "base/err.h"
#include "base/types.h"
#include "shmem/condition.h"
#include "storage/txn/snapshot.h"

#define TXNTABLE_NOBODY 0u
#define TXNTABLE_CSN_FIRST                                                 \
    16u /* the first a life gives; smaller ones have meanings of their own \
         */
#define TXNTABLE_ASSIGNING                                                 \
    (1ull << 63) /* in place.xid: an xid not below the rest is being given \
                  */

enum place_use { PLACE_FREE, PLACE_TXN, PLACE_HOLD };

/* One cache line.  guard: the owner, unless said otherwise; others only read.  A dead owner's is
   changed by whoever buries it. */
struct place {
    _Atomic csn_t csn;      /* versions that this snapshot sees must stay; 0: no snapshot */
    _Atomic xid_t xid;      /* 0: none */
    _Atomic uint32_t owner; /* slot + 1; TXNTABLE_NOBODY: parked or passed on; guard: table lock */
    _Atomic uint32_t
        ending; /* 1: its ring entry is being written; only inside a critical section */
    _Atomic uint64_t ticket; /* +1 whenever it changes hands; guard: table lock */
    union {
        _Atomic xid_t ended_below;      /* of a parked snapshot */
        _Atomic int64_t waits_since_ns; /* of an own place that waits */
    };
    _Atomic xid_t waits_for;  /* the owner process of an own place waits for this xid; 0: none */
    _Atomic uint32_t use;     /* enum place_use; guard: table lock; const for own places */
    uint32_t next_free;       /* guard: table lock; index + 1 */
    _Atomic uint32_t command; /* of a parked transaction */
    _Atomic uint32_t isolation;
};
_Static_assert(sizeof(struct place) == 64, "one cache line a place");

size_t txntable_size(const struct config *config);
void txntable_init(void *zeroed, const struct config *config);

uint32_t txntable_count(void);
struct place *txntable_place(uint32_t index);
uint32_t txntable_index(const struct place *place);
struct place *txntable_own(void); /* that of this process's slot */

/* Walk over all places that may be in use: `*at` begins at 0; NULL at the end.  Own places first,
   so that what moves from an own place to another is met at least once. */
struct place *txntable_walk(uint32_t *at);

/* A place beyond the own ones; owned by this process and in its ledger.  `csn`: of a snapshot that
   another place holds until this returns, or 0.  Errors: ERR_TOO_MANY. */
err_t txntable_take(enum place_use use, csn_t csn, struct place **place) MUST_CHECK;
/* Give it back.  The owner, or anyone if nobody owns it. */
void txntable_give_back(struct place *place);
/* Make it nobody's; the ticket that takes it up again. */
uint64_t txntable_pass(struct place *place);
/* Take up what txntable_pass left; false: not there any more. */
bool txntable_take_up(uint32_t index, uint64_t ticket, enum place_use use);
/* For a dead owner's: give it back if `slot` still has it. */
void txntable_bury(struct place *place, unsigned slot);

/* Take a snapshot in this place: its number is published and safe from the horizon on return. */
void txntable_snapshot(struct place *place, struct snapshot *snapshot);

/* The next xid, published in the place before anyone can see it as given. */
xid_t txntable_give_xid(struct place *place);
xid_t txntable_next_xid(void);
void txntable_set_next_xid(xid_t xid); /* recovery: never lower */
csn_t txntable_give_csn(void);
csn_t txntable_next_csn(void);

/* The place in which this xid runs, or NULL. */
struct place *txntable_find(xid_t xid);
bool txntable_runs_between(xid_t from, xid_t below); /* perhaps: some xid in from … below-1 */
/* Return when no place is writing the ring entry of an xid in from … below-1 (nanoseconds). */
void txntable_await_ending(xid_t from, xid_t below);

/* Compute the horizon anew.  `must` false: not if somebody else is at it. */
void txntable_refresh(bool must);
csn_t txntable_horizon(void);
xid_t txntable_horizon_xid(void);
int64_t txntable_refreshed_ns(void);
xid_t txntable_ended_below(void);

/* Those who wait for this xid (and for others of the same hash). */
struct condition *txntable_condition(xid_t xid);

void txntable_lock(
    void); /* RANK_TXN_TABLE, exclusive: nobody else breaks a circle, takes or gives back */
void txntable_unlock(void);

/* After an internal fault: are places, owners and the free list possible ones?  Errors:
 * ERR_INTERNAL. */
err_t txntable_verify(void) MUST_CHECK;

int64_t txntable_deadlock_timeout_ns(void);
void txntable_set_deadlock_timeout_ms(int64_t ms); /* on reload */

#endif
