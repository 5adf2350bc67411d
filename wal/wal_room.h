/*
 * wal_room.h - segments made ahead, so that an insert that was promised room finds it.
 */
#ifndef WAL_WAL_ROOM_H
#define WAL_WAL_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/err.h"
#include "base/types.h"

#define WAL_ROOM_RESERVE_MAX ((size_t)256 << 20) /* bytes of one promise */

size_t wal_room_size(const struct config *config);
void wal_room_init(void *zeroed, const struct config *config);

/* At start: segments with all positions before `made` exist. */
void wal_room_open(lsn_t made);

/* What the room is for.  The nearer the disk is to full, the fewer get any. */
enum wal_room_purpose {
    WAL_ROOM_GROW,       /* whatever else is written */
    WAL_ROOM_SHRINK,     /* makes room elsewhere, or ends what was begun */
    WAL_ROOM_CHECKPOINT, /* makes room here; a few hundred bytes */
};

/* Promise this process room for `size` bytes; an older promise to it is over.
   Errors: ERR_DISK_FULL, ERR_IO, ERR_TOO_LARGE, ERR_SHUTDOWN. */
err_t wal_room_promise(size_t size, enum wal_room_purpose purpose) MUST_CHECK;
/* `size` bytes of the promise were used. */
void wal_room_use(size_t size);
/* There must be segments up to `end` now; waits for the disk if it has no room. */
void wal_room_force(lsn_t end);

/* Make what should be there ahead; true: there is room for what is promised and more. */
bool wal_room_make(void);
bool wal_room_is_full(void);

/* Segments before that of `redo` are not needed any more: recycle or remove them.
   `cycle`: bytes of log that pass between checkpoints, to know how many are worth keeping. */
err_t wal_room_recycle(lsn_t redo, uint64_t cycle) MUST_CHECK;

void wal_room_stop(void); /* no promises any more: the server stops */

#endif
