/*
 * wal.h - the log as a whole: opening, recovery, its place in shared memory.
 *
 * Files: <data>/wal/<16 hex digits of the segment's number>, WAL_SEGMENT_SIZE bytes each.
 */
#ifndef WAL_WAL_H
#define WAL_WAL_H

#include "base/config.h"
#include "wal/control.h"
#include "wal/wal_record.h"

extern const struct region wal_region; /* buffers and positions */

/* What recovery found, for the log and status. */
struct wal_recovery {
    lsn_t redo;
    lsn_t end;
    uint64_t records;
    uint64_t bytes;
    uint64_t compared; /* pages that wal.check found to be as they were logged */
    int64_t elapsed_ns;
    bool clean;     /* the server had been stopped in order */
    bool torn_tail; /* a half-written last record was left out */
    uint64_t lost;  /* bytes of a damaged log that were left behind (wal.accept_loss); 0: none */
};

/* Bring the data directory to a consistent state: replay from the control file's redo point with
   `handlers` (WAL_KIND_COUNT rows), find the end, begin a new epoch, and open the log for
   inserting. A torn tail ends replay.  Damage does not: if behind a bad record a valid one stands
   that belongs to the same chain (epoch, and its `previous` link), ERR_CORRUPT, and the message
   names the range of LSNs, how many valid records follow, and what can be done; so does an end that
   lies before what is known to have been on disk.  With wal.accept_loss either is passed over:
   the log goes on behind all its segments, and the caller must make a checkpoint at once, for
   until then the next start finds the damage again.  Called by one
   process before others exist; shared memory is set up.  `between`, if not NULL, is called after
   replay and before the new epoch (end-of-recovery work that must not be logged). */
err_t wal_open(const struct config *config, const char *data_dir,
    const struct wal_handler handlers[WAL_KIND_COUNT], err_t (*between)(void),
    struct wal_recovery *result) MUST_CHECK;

/* Begin the log of a new data directory (after control_create; makes <data>/wal). */
err_t wal_create(const char *data_dir) MUST_CHECK;

/* For wal.check: how recovery gets a copy of a page as it is after replay (wal_page_size bytes);
 *found = false: there is no such page any more.  Set before wal_open by whoever has the pool. */
void wal_set_page_peek(err_t (*peek)(struct page_id id, void *page, bool *found));

/* After a last checkpoint: mark the control file stopped. */
err_t wal_close(void) MUST_CHECK;

#endif
