/*
 * wal_ring.h - the log's buffer in shared memory: taking space, copying into it, and what is ready
 * to be written.
 *
 * The ring holds the file's bytes, heads of segments included: position p lies at p mod its size.
 */
#ifndef WAL_WAL_RING_H
#define WAL_WAL_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "wal/wal_format.h"

#define WAL_RING_LOCKS 8

size_t wal_ring_size(const struct config *config);
void wal_ring_init(void *zeroed, const struct config *config);

/* Before inserts: where the next record goes, and the one before it. */
void wal_ring_open(lsn_t position, lsn_t previous, lsn_t redo, uint32_t epoch, uint64_t system_id);
void wal_ring_close(void);
bool wal_ring_is_open(void);

/* Take the right to insert; yields its number.  Inside a critical section. */
unsigned wal_ring_enter(void);
/* Take `size` bytes (a multiple of 8, at most WAL_RECORD_MAX); once between enter and leave. */
struct wal_ring_place {
    lsn_t start;
    lsn_t end;      /* start of the next record */
    lsn_t previous; /* start of the previous record; 0: none */
};
void wal_ring_take(unsigned right, uint32_t size, struct wal_ring_place *place);
/* Copy; yields the position behind.  Only into what was taken, when the ring has room for it. */
lsn_t wal_ring_copy(lsn_t at, const void *data, size_t size);
void wal_ring_leave(unsigned right);

lsn_t wal_ring_position(void); /* end of what has been taken */
lsn_t wal_ring_redo(void);
uint32_t wal_ring_epoch(void);
uint64_t wal_ring_system_id(void);
uint64_t wal_ring_capacity(void);
bool wal_ring_images(void); /* wal.full_page_images */
bool wal_ring_check(void);  /* wal.check */

/* Set the redo point to the position, with all inserts shut out meanwhile. */
lsn_t wal_ring_move_redo(void);

/* Everything before the result, at most `limit` (≤ the position), has been copied in. */
lsn_t wal_ring_ready(lsn_t limit);
/* The slot of who has not yet copied in something before `limit`; -1: nobody. */
int wal_ring_copier(lsn_t limit);
/* The bytes at `lsn`, contiguous for `*size`. */
const uint8_t *wal_ring_at(lsn_t lsn, size_t *size);

#endif
