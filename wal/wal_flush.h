/*
 * wal_flush.h - getting the log to the disk.
 */
#ifndef WAL_WAL_FLUSH_H
#define WAL_WAL_FLUSH_H

#include <stdbool.h>

#include "base/config.h"
#include "base/op.h"
#include "base/types.h"

/* Return when everything before `lsn` is on disk.  Group commit: one leader writes and syncs for
   all who wait.  Not interruptible; a failed write or sync is a panic (never a retry:
   RELIABILITY 1.3). Not inside a critical section, unless called by wal_insert or the pool. */
void wal_flush(lsn_t lsn);

/* Everything before this is on disk. */
lsn_t wal_flush_done(void);

/* Write and sync what nobody has waited for; the WAL writer's round, also for durable = false. */
void wal_flush_background(void);

/* Until the log's disk has room again (after ERR_DISK_FULL): tries to make its reserve; true:
   writes may go on.  Called by the WAL writer each round. */
bool wal_flush_make_room(void);

/* Everything before this is on disk for certain: as wal_flush_done, but 0 with wal.sync = off. */
lsn_t wal_flush_synced(void);

/* The slot of who writes the log at the moment; -1: nobody. */
int wal_flush_leader(void);

/* After an internal fault: are the log's positions possible ones?  Errors: ERR_INTERNAL. */
err_t wal_flush_verify(void) MUST_CHECK;

/* For wal_insert: return when the buffer has room for what ends at `end`; writes older records out.
 */
void wal_flush_await_room(lsn_t end);

/* For wal.c: shared memory, and the state before others come.  `position`: all before it is on
 * disk. */
size_t wal_flush_size(const struct config *config);
void wal_flush_init(void *zeroed, const struct config *config);
err_t wal_flush_open(lsn_t position) MUST_CHECK;
void wal_flush_set_done(lsn_t position); /* during recovery: it is all on disk */
void wal_flush_close(void);              /* close this process's files */

#endif
