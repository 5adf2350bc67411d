/*
 * engine.h - opening and closing a data directory: all that stands on storage.
 *
 * Server and embedded library open it the same way: lock file → control file → segment →
 * recovery → catalog, orphans swept.  One data directory a process at a time.
 */
#ifndef STORAGE_COLLECTION_ENGINE_H
#define STORAGE_COLLECTION_ENGINE_H

#include "base/config.h"
#include "shmem/region.h"
#include "wal/wal.h"

/* Make a new data directory (existing or not; files that are not ours are left alone, and it must hold no
   database yet).  Errors: ERR_IN_USE, ERR_IO, ERR_DISK_FULL; what was made is removed again. */
err_t engine_create(const char *data_dir, uint32_t page_size) MUST_CHECK;
bool engine_exists(const char *data_dir);

struct engine_info {
    struct wal_recovery recovery;
    uint64_t orphans; /* files that belonged to nobody, removed */
    struct control control;
};

/* Open it.  `more`: regions of the floors above.  Waits up to `lock_wait_ms` for the directory's lock (flock on
   <data>/lock, held by open file description: inherited by children, so that a second server is refused as long as
   any process of the first lives).  Afterwards this process has a slot (PROC_STARTUP, or PROC_EMBEDDED) no more: proc_self is NULL.
   Errors: ERR_IN_USE "data directory is in use by process <pid>"; ERR_CORRUPT; ERR_CONFIG (page size and so on). */
err_t engine_open(const struct config *config, const char *data_dir, const struct region *const *more,
    size_t more_count, int lock_wait_ms, bool embedded, struct engine_info *info) MUST_CHECK;

/* After a crash of a child in a critical section, all children gone: shared memory anew, recovery, in this
   process (a forked startup process does it, so that the postmaster stays clean). */
err_t engine_recover(const struct config *config, struct engine_info *info) MUST_CHECK;

/* Stop in order: last checkpoint, control file "stopped".  All others have ended.  Attaches a slot for itself. */
err_t engine_close(void) MUST_CHECK;
/* Let go of everything without writing (after engine_close, or to leave a directory as a crash would). */
void engine_release(void);

/* The whole table of redo handlers, for recovery and `gneiss inspect wal`. */
const struct wal_handler *engine_handlers(void);

#endif
