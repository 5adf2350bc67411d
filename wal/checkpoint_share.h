/*
 * checkpoint_share.h - the checkpoints' place in shared memory, for wal.c.
 */
#ifndef WAL_CHECKPOINT_SHARE_H
#define WAL_CHECKPOINT_SHARE_H

#include <stddef.h>

#include "base/config.h"
#include "base/types.h"

size_t checkpoint_share_size(const struct config *config);
void checkpoint_share_init(void *zeroed, const struct config *config);
/* After recovery: the redo point in the control file, and where the log ends. */
void checkpoint_share_open(lsn_t redo, lsn_t end);

#endif
