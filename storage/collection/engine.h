/*
 * engine.h - opening and closing a data directory: all that stands on storage.
 *
 * Server and embedded library open it the same way: lock file → control file → segment
 * (engine_open), then recovery → catalog, orphans swept (engine_recover).  The server does the
 * second step in a forked child, so that the postmaster never touches shared structures.  One data
 * directory a process at a time.
 */
#ifndef STORAGE_COLLECTION_ENGINE_H
#define STORAGE_COLLECTION_ENGINE_H

#include "base/config.h"
#include "shmem/region.h"
#include "wal/wal.h"

/* Make a new data directory (existing or not; files that are not ours are left alone, and it must
   hold no database yet).  Errors: ERR_IN_USE: it holds one; ERR_IO, ERR_DISK_FULL. */
err_t engine_create(const char *data_dir, uint32_t page_size) MUST_CHECK;
bool engine_exists(const char *data_dir);

/* Lock and map.  `more`: regions of the floors above.  Waits up to `lock_wait_ms` for the
   directory's lock: flock on the directory and on <data>/lock; it belongs to the open file, so
   children inherit it, and a second server is refused as long as any process of the first lives.
   `shared`: a named segment for forked children, else memory of this process alone. Errors:
   ERR_IN_USE "data directory is in use by process <pid>"; ERR_CORRUPT; ERR_CONFIG; ERR_MEMORY. */
err_t engine_open(const struct config *config, const char *data_dir,
    const struct region *const *more, size_t more_count, int lock_wait_ms, bool shared) MUST_CHECK;

struct engine_info {
    struct wal_recovery recovery;
    uint64_t orphans; /* files that belonged to nobody, removed */
};

/* Bring it to a consistent state, and open it for work.  No other process is attached.  This one
   must have no slot; it takes one for the time.  After a crash inside a critical section the
   postmaster calls engine_reset first. */
err_t engine_recover(const struct config *config, struct engine_info *info) MUST_CHECK;
/* Shared memory anew, after all children are gone. */
err_t engine_reset(const struct config *config) MUST_CHECK;

/* Stop in order: last checkpoint, control file "stopped".  All others have ended; takes a slot for
 * the time. */
err_t engine_close(void) MUST_CHECK;
/* Unmap and unlock without writing: after engine_close, or to leave the directory as a crash would.
 */
void engine_release(void);

/* The whole table of redo handlers, for recovery and for printing the log. */
const struct wal_handler *engine_handlers(void);

#endif
