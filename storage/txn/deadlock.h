/*
 * deadlock.h - who waits for whom.
 *
 * Inside storage/txn only.  README.md, "Waiting".
 */
#ifndef STORAGE_TXN_DEADLOCK_H
#define STORAGE_TXN_DEADLOCK_H

#include <stdbool.h>

#include "base/types.h"

/* Say that this process waits for `xid` (0: no longer), and since when its request has been waiting
   for others, earlier waits and tries included. */
void deadlock_waits_for(xid_t xid, int64_t since_ns);

/* If this process waits in a circle: choose the one that is to give way, and take its wait out of
   the graph, so that nobody else of the circle is chosen, too.  Locks: RANK_TXN_TABLE. */
void deadlock_search(void);

/* Whether this process, which said that it waits for `xid`, has been chosen. */
bool deadlock_chose(xid_t xid);

#endif
