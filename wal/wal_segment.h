/*
 * wal_segment.h - the files of the log.
 *
 * `folder` is <data>/wal.  A file that has a segment's name is WAL_SEGMENT_SIZE bytes long, with
 * all its blocks on disk; what it holds is zeros or, if it was recycled, an older part of the log.
 */
#ifndef WAL_WAL_SEGMENT_H
#define WAL_WAL_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wal/wal_format.h"

#define WAL_SEGMENT_PATH_MAX 4096

/* The segments there are, in rising order; freed by wal_segment_list_free. */
struct wal_segment_list {
    uint64_t *number;
    size_t count;
};

/* <data>/wal. */
err_t wal_segment_folder(const char *data_dir, char folder[WAL_SEGMENT_PATH_MAX]) MUST_CHECK;
err_t wal_segment_path(
    const char *folder, uint64_t number, char path[WAL_SEGMENT_PATH_MAX]) MUST_CHECK;

/* `clean`: remove what a dead process left half made.  Errors: ERR_IO, ERR_MEMORY. */
err_t wal_segment_list(const char *folder, bool clean, struct wal_segment_list *list) MUST_CHECK;
void wal_segment_list_free(struct wal_segment_list *list);
bool wal_segment_listed(const struct wal_segment_list *list, uint64_t number);

/* Make one full of zeros; durable, with its name, when it returns.  If it fails there is none of
   that number, and it may be tried again.  A folder that cannot be synced is a panic.  Errors:
   ERR_DISK_FULL, ERR_IO. */
err_t wal_segment_create(const char *folder, uint64_t number) MUST_CHECK;
/* Give a segment that is no longer needed a new number; durable when it returns, or a panic. */
err_t wal_segment_recycle(const char *folder, uint64_t from, uint64_t to) MUST_CHECK;
/* Write what the file reads from `from` up to `to` (offsets), in whole blocks of 4 KiB and at least
   one, so that the next sync brings it to the disk whatever the kernel takes for clean.  No such
   segment: nothing. */
err_t wal_segment_write_again(
    const char *folder, uint64_t number, uint32_t from, uint32_t to) MUST_CHECK;
err_t wal_segment_remove(const char *folder, uint64_t number) MUST_CHECK;
err_t wal_segment_open(
    const char *folder, uint64_t number, bool write, int *fd, bool *found) MUST_CHECK;

void wal_segment_head(
    struct wal_format_segment *head, uint64_t system_id, uint32_t page_size, uint64_t number);
/* Is this the head of that segment?  `system_id` 0: of any system. */
bool wal_segment_is_head(
    const struct wal_format_segment *head, uint64_t system_id, uint32_t page_size, uint64_t number);

#endif
