/*
 * checkpoint.h - bounding how much of the log must be replayed.
 */
#ifndef WAL_CHECKPOINT_H
#define WAL_CHECKPOINT_H

#include <stdbool.h>

#include "base/op.h"
#include "wal/control.h"

/* The seam: a part of the engine that keeps changes in memory. */
struct checkpoint_part {
    const char *name;
    /* Note numbers that must be known after a crash; called after the redo point was taken. May be
     * NULL. */
    void (*note)(uint64_t numbers[CONTROL_NUMBER_COUNT]);
    /* Take them back at the start of recovery.  May be NULL. */
    void (*restore)(const uint64_t numbers[CONTROL_NUMBER_COUNT]);
    /* Bring to disk all that was changed before the redo point.  Calls checkpoint_pace between
       writes, with how much of its work is done.  May be NULL. */
    err_t (*flush)(void);
};

/* Parts in the order in which they are flushed; set before any fork. */
void checkpoint_set_parts(const struct checkpoint_part *const *parts, size_t count);
void checkpoint_restore_parts(const uint64_t numbers[CONTROL_NUMBER_COUNT]);

enum checkpoint_flag {
    CHECKPOINT_FAST = 1,  /* do not spread */
    CHECKPOINT_FINAL = 2, /* the last before a stop */
};

/* Do one now, in this process.  Errors: ERR_IO, ERR_DISK_FULL: the old checkpoint stays the valid
   one. Only one at a time (RANK_CHECKPOINT). */
err_t checkpoint_run(unsigned flags) MUST_CHECK;

/* Sleep as long as a spread checkpoint should; `done` of `all` pages are written.  Does nothing in
   a fast one.  Returns early when a fast one is wanted. */
void checkpoint_pace(uint64_t done, uint64_t all);

/* Ask the checkpointer for one, and with `wait` return when a checkpoint that began after this call
   is complete.  Errors: as above, ERR_INTERRUPTED. */
err_t checkpoint_request(struct op *op, unsigned flags, bool wait) MUST_CHECK;

/* The checkpointer's round: runs one if time or log size or a request says so.  Returns when the
   next look is due (clock_now_ns). */
int64_t checkpoint_round(void);

/* The slot of who does a checkpoint at the moment; -1: nobody. */
int checkpoint_runner(void);

struct checkpoint_status {
    uint64_t completed, failed;
    lsn_t last_redo;
    int64_t last_began_ms, last_took_ms;
};
void checkpoint_status(struct checkpoint_status *status);

#endif
