/*
 * deadlock.h - who waits for whom.
 *
 * Inside storage/txn only.  README.md, "Waiting".
 */
#ifndef STORAGE_TXN_DEADLOCK_H
#define STORAGE_TXN_DEADLOCK_H

#include <stdbool.h>

#include "base/types.h"

/* Say that this process waits for `xid` (0: no longer). */
void deadlock_waits_for(xid_t xid);

/* Whether this process waits in a circle.  If so it has been chosen: its wait is taken out of the
   graph before the answer, so that nobody else of the circle is chosen, too.  Locks:
   RANK_TXN_TABLE. */
bool deadlock_found(void);

#endif
