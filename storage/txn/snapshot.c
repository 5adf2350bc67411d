/*
 * snapshot.c - what a reader may see.
 *
 * INVARIANTS
 *   S1  A snapshot sees a commit if and only if its CSN is below the snapshot's: a commit that is
 *       being numbered is waited for, so none is seen as running by one look and as committed by
 *       the next.
 *   S2  What is told as committed with CSN 1 was below the horizon: every snapshot sees it.
 *
 * IF A PROCESS DIES here, nothing is half done: only a place's number is written (txntable.c).
 */
#include "storage/txn/snapshot.h"

#include "base/clock.h"
#include "base/panic.h"
#include "storage/txn/csn.h"
#include "storage/txn/txntable.h"

#define HORIZON_AGE_NS 5000000 /* how old it may be for those who can do with less */

err_t
snapshot_fate(xid_t xid, enum xid_fate *fate, csn_t *csn)
{
    return csn_fate(xid, fate, csn);
}

err_t
snapshot_sees(const struct snapshot *snapshot, xid_t xid, bool *sees, enum xid_fate *fate)
{
    csn_t csn;

    TRY_RETURN(csn_fate(xid, fate, &csn));
    *sees = *fate == XID_COMMITTED && csn < snapshot->csn; /* S1 */
    return OK;
}

csn_t
snapshot_horizon(bool exact)
{
    if (exact)
        txntable_refresh(true);
    else if (clock_now_ns() - txntable_refreshed_ns() > HORIZON_AGE_NS)
        txntable_refresh(false);
    return txntable_horizon();
}

xid_t
snapshot_horizon_xid(void)
{
    return txntable_horizon_xid();
}

void
snapshot_newest(struct snapshot *snapshot, bool *given)
{
    *given = atomic_load_explicit(&txntable_own()->csn, memory_order_relaxed) != 0;
    *snapshot = (struct snapshot){ .command = 1 };
    /* In this order, as txntable_snapshot. */
    snapshot->all_ended_below = txntable_ended_below();
    snapshot->csn = txntable_next_csn();
}

err_t
snapshot_hold(const struct snapshot *snapshot, uint32_t *place)
{
    struct place *taken;

    TRY_RETURN(txntable_take(PLACE_HOLD, snapshot->csn, &taken));
    invariant(snapshot->csn >= txntable_horizon()); /* it was in use until now */
    *place = txntable_index(taken);
    return OK;
}

void
snapshot_pass(uint32_t place)
{
    (void)txntable_pass(txntable_place(place));
}

void
snapshot_let_go(uint32_t place)
{
    invariant(atomic_load(&txntable_place(place)->use) == PLACE_HOLD);
    txntable_give_back(txntable_place(place));
}
