/*
 * wal_flush.h - getting the log to the disk.
 */
#ifndef WAL_WAL_FLUSH_H
#define WAL_WAL_FLUSH_H

#include <stdbool.h>

#include "base/op.h"
#include "base/types.h"

/* Return when everything before `lsn` is on disk.  Group commit: one leader writes and syncs for
   all who wait.  Not interruptible; a failed write or sync is a panic (never a retry: RELIABILITY 1.3).
   Not inside a critical section, unless called by wal_insert or the pool. */
void wal_flush(lsn_t lsn);

/* Everything before this is on disk. */
lsn_t wal_flush_done(void);

/* Write and sync what nobody has waited for; the WAL writer's round, also for durable = false. */
void wal_flush_background(void);

/* Until the log's disk has room again (after ERR_DISK_FULL): tries to make its reserve; true: writes
   may go on.  Called by the WAL writer each round. */
bool wal_flush_make_room(void);

#endif
