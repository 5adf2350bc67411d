/*
 * snapshot.h - what a reader may see.
 *
 * A snapshot is one number: the CSN at which it was taken.  A version is visible if its xid
 * committed with a smaller CSN, or is the reader's own of an earlier statement.
 */
#ifndef STORAGE_TXN_SNAPSHOT_H
#define STORAGE_TXN_SNAPSHOT_H

#include <stdbool.h>

#include "base/err.h"
#include "base/types.h"

struct snapshot {
    csn_t csn;        /* commits below this are visible */
    xid_t own;        /* the reader's own xid, 0: none */
    uint32_t command; /* versions of `own` written by commands below this are visible */
    uint32_t pad;
    xid_t all_ended_below; /* every xid below had ended, with a CSN below `csn`, when it was taken:
                              no look-up */
};

enum xid_fate { XID_RUNNING, XID_COMMITTED, XID_ABORTED };

/* The fate of an xid, and its CSN if it committed (1 if that was before every snapshot alive).  A
   commit being numbered is waited for (nanoseconds).  Errors: ERR_IO, ERR_CORRUPT (reading old
   fates). */
err_t snapshot_fate(xid_t xid, enum xid_fate *fate, csn_t *csn) MUST_CHECK;

/* Whether the snapshot sees what another's `xid` did.  *fate as found, for hint bits. */
err_t snapshot_sees(
    const struct snapshot *snapshot, xid_t xid, bool *sees, enum xid_fate *fate) MUST_CHECK;

/* Commits below this CSN are visible to every snapshot alive and to come; versions deleted by them
   are dead to all.  Recomputed at most every few milliseconds unless `exact`. */
csn_t snapshot_horizon(bool exact);
/* Every xid below had ended with a CSN below the horizon: versions of committed ones may be frozen.
 */
xid_t snapshot_horizon_xid(void);

/* A snapshot of this very moment, for a process whose slot has one already: that one keeps what
   this one sees from being removed.  *given false: the slot has none.  `own` is 0. */
void snapshot_newest(struct snapshot *snapshot, bool *given);

/* Keep what a snapshot sees from being removed, beyond the statement: a place in the table of
   transactions, which may be passed on to another process by its number (a cursor).  Errors:
   ERR_TOO_MANY. */
err_t snapshot_hold(const struct snapshot *snapshot, uint32_t *place) MUST_CHECK;
/* The place is this process's (LEDGER_PLACE, let go of when it dies) until it is passed on: from
   then on it is nobody's, and whoever keeps its number lets it go.  Before the end of the request.
 */
void snapshot_pass(uint32_t place);
void snapshot_let_go(uint32_t place); /* whoever has it */

#endif
