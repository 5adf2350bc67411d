/*
 * file.h - files, with every failure told and every call a fault point.
 *
 * All calls retry EINTR and short transfers.  Errors: ERR_DISK_FULL for ENOSPC and
 * EDQUOT, else ERR_IO; the message names the path and what was tried.
 * A failed sync is never to be retried by the caller: see doc/decisions.md.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/fault.h"

/* flags and mode as open(2); O_CLOEXEC is added.  `*found` may be NULL; if it is not, ENOENT is
   an answer (*found = false, *fd = -1) and not an error. */
err_t file_open(const char *path, int flags, mode_t mode, int *fd, bool *found) MUST_CHECK;
void file_close(int fd);

/* Where the process, or the machine, has no descriptor left, something is closed that can be opened
   again, and open is tried again.  `relief` does that; false: there is nothing.  It may be called
   from whatever opens a file, by any thread. */
void file_set_relief(bool (*relief)(void));
/* The same for who calls open, accept and the like itself and has failed: is it worth another try?
 */
bool file_relieve(int error);

/* Read exactly `size` bytes at `offset`; fewer there: *got tells (NULL: a short read is
   ERR_CORRUPT). `path` is for messages only. */
err_t file_read(int fd, const char *path, void *data, size_t size, uint64_t offset, size_t *got,
    enum fault point) MUST_CHECK;
err_t file_write(int fd, const char *path, const void *data, size_t size, uint64_t offset,
    enum fault point) MUST_CHECK;
err_t file_sync(int fd, const char *path, enum fault point) MUST_CHECK; /* fdatasync */
err_t file_allocate(int fd, const char *path, uint64_t offset, uint64_t size,
    enum fault point) MUST_CHECK; /* posix_fallocate without its emulation; then reads give zeros */
err_t file_truncate(int fd, const char *path, uint64_t size, enum fault point) MUST_CHECK;
err_t file_size(int fd, const char *path, uint64_t *size) MUST_CHECK;

err_t file_sync_dir(const char *path) MUST_CHECK;
err_t file_make_dir(
    const char *path, mode_t mode, bool *made) MUST_CHECK; /* exists: *made = false */
/* The new name is durable when the caller has synced its folder. */
err_t file_rename(const char *from, const char *to) MUST_CHECK;
err_t file_unlink(const char *path, bool *found, enum fault point) MUST_CHECK;

/* Replace `path` by these bytes so that a crash leaves the old or the new ones:
   temporary file, sync, rename, sync of the folder. */
err_t file_replace(const char *path, const void *data, size_t size, mode_t mode) MUST_CHECK;
/* The whole file, malloced, NUL-terminated behind `*size` bytes; the caller frees.  At most
 * `limit`. */
err_t file_slurp(const char *path, size_t limit, char **data, size_t *size, bool *found) MUST_CHECK;

#endif
