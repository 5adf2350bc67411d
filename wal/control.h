/*
 * control.h - the control file: where recovery begins, and what must be known before.
 *
 * <data>/control: one 4 KiB block, CRC-32C, replaced by overwriting in place (one sector matters:
 * the used part is below 512 bytes) and synced.
 */
#ifndef WAL_CONTROL_H
#define WAL_CONTROL_H

#include <stdbool.h>

#include "base/err.h"
#include "base/types.h"
#include "shmem/region.h"

#define CONTROL_VERSION 2

/* Numbers that parts of the engine must have back after a crash; noted at each checkpoint
   and kept current in between by log records. */
enum control_number {
    CONTROL_NEXT_XID,
    CONTROL_NEXT_FILENO,
    CONTROL_SCHEMA_VERSION,
    CONTROL_NEXT_OID,
    CONTROL_NUMBER_COUNT = 8
};

enum control_state { CONTROL_CREATED, CONTROL_RUNNING, CONTROL_STOPPED, CONTROL_RECOVERING };

struct control {
    uint32_t version;
    uint32_t page_size;
    uint64_t system_id; /* random, made at init */
    uint32_t state;     /* enum control_state */
    uint32_t epoch;     /* of the log; +1 at the end of each recovery */
    lsn_t checkpoint;   /* start of the last complete checkpoint's record; 0: none */
    lsn_t redo;         /* where replay begins */
    int64_t written_ms; /* wall clock */
    uint64_t numbers[CONTROL_NUMBER_COUNT]; /* as of the redo point or later */
    uint8_t node_id[16];
};

/* Make a new one (gneiss init).  Errors: exists already. */
err_t control_create(const char *data_dir, uint32_t page_size) MUST_CHECK;
/* Read it; sets wal_page_size.  Errors: ERR_CORRUPT, or a version this build cannot read. */
err_t control_read(const char *data_dir, struct control *control) MUST_CHECK;
/* Durable when it returns.  A failed sync is a panic. */
err_t control_write(const char *data_dir, const struct control *control) MUST_CHECK;

/* The running server's copy in shared memory; `change` is called under the lock, then it is
 * written. */
extern const struct region control_region;
void control_share(const struct control *control, const char *data_dir);
void control_get(struct control *copy);
err_t control_update(
    void (*change)(struct control *control, void *context), void *context) MUST_CHECK;
const char *control_data_dir(void);

#endif
