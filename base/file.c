/*
 * file.c - files.
 *
 * INVARIANTS
 *   F1  A message names the path and what was tried.
 *   F2  No call is left half-way by a signal: EINTR and short transfers go on.
 *   F3  A sync is tried once.  After a failure the kernel may have dropped the dirty
 *       pages, and a second call that succeeds would prove nothing.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mutant.h"

#define ZEROS_SIZE ((size_t)64 << 10)

static bool (*relief_now)(void);

void
file_set_relief(bool (*relief)(void))
{
    relief_now = relief;
}

bool
file_relieve(int error)
{
    return (error == EMFILE || error == ENFILE) && relief_now != NULL && relief_now();
}

static err_t
fail_as(enum fault_action action, enum fault point, const char *what, const char *path)
{
    switch (action) {
    case FAULT_ERROR:
        return err_set(
            ERR_INTERNAL, "could not %s %s: fault point %s", what, path, fault_name(point));
    case FAULT_TORN:
        (void)raise(SIGKILL);
        return OK;
    case FAULT_EIO:
        errno = EIO;
        return err_set_errno("could not %s %s", what, path);
    case FAULT_ENOSPC:
        errno = ENOSPC;
        return err_set_errno("could not %s %s", what, path);
    default:
        return OK;
    }
}

/* What an armed fault point makes of a call that moves no bytes. */
static err_t
fail_if_armed(enum fault point, const char *what, const char *path)
{
    return fail_as(fault_pass(point), point, what, path);
}

/* The same for a sync, which may also be left out. */
static err_t
sync_if_armed(enum fault point, const char *what, const char *path, bool *skip)
{
    enum fault_action action = fault_pass(point);

    *skip = action == FAULT_SKIP;
    return fail_as(action, point, what, path);
}

/* The folder that holds `path`. */
static err_t
parent_of(const char *path, char *parent, size_t size)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash != NULL ? (size_t)(slash - path) : 0;

    if (slash == NULL) {
        (void)snprintf(parent, size, ".");
        return OK;
    }
    if (length == 0)
        length = 1; /* the root */
    if (length >= size)
        return err_set(ERR_IO, "could not open the folder of %s: the path is too long", path);
    memcpy(parent, path, length);
    parent[length] = '\0';
    return OK;
}

err_t
file_open(const char *path, int flags, mode_t mode, int *fd, bool *found)
{
    *fd = -1;
    if (found != NULL)
        *found = true;
    TRY_RETURN(fail_if_armed(FAULT_FILE_OPEN, "open", path));
    do
        *fd = open(path, flags | O_CLOEXEC, mode);
    while (*fd < 0 && (errno == EINTR || file_relieve(errno)));
    if (*fd >= 0)
        return OK;
    if (errno == ENOENT && found != NULL) {
        *found = false;
        return OK;
    }
    return err_set_errno("could not %s %s", (flags & O_CREAT) != 0 ? "create" : "open", path);
}

void
file_close(int fd)
{
    /* What close(2) reports was written is not on disk either way; file_sync tells.  After EINTR
       Linux has closed it. */
    if (fd >= 0)
        (void)close(fd);
}

err_t
file_read(int fd, const char *path, void *data, size_t size, uint64_t offset, size_t *got,
    enum fault point)
{
    enum fault_action action = fault_pass(point);
    size_t done = 0;

    if (action == FAULT_ERROR)
        return err_set(ERR_INTERNAL, "could not read %s: fault point %s", path, fault_name(point));
    while (done < size) {
        size_t want = size - done;
        ssize_t now;

        if (action == FAULT_SHORT && done == 0 && want > 1)
            want /= 2;
        if (action == FAULT_EIO || action == FAULT_ENOSPC) {
            errno = EIO;
            now = -1;
        } else {
            now = pread(fd, (char *)data + done, want, (off_t)(offset + done));
        }
        if (now < 0 && errno == EINTR)
            continue;
        if (now < 0)
            return err_set_errno(
                "could not read %zu bytes at %ju of %s", size, (uintmax_t)offset, path);
        if (now == 0)
            break;
        done += (size_t)now;
    }
    if (got != NULL)
        *got = done;
    else if (done < size)
        return err_set(ERR_CORRUPT, "could not read %zu bytes at %ju of %s: it ends after %zu",
            size, (uintmax_t)offset, path, done);
    return OK;
}

/* pwrite as an armed fault point would have it. */
static ssize_t
write_once(int fd, const void *data, size_t size, uint64_t offset, enum fault_action action)
{
    switch (action) {
    case FAULT_TORN:
        (void)!pwrite(fd, data, size / 2, (off_t)offset);
        (void)raise(SIGKILL);
        return -1;
    case FAULT_EIO:
        errno = EIO;
        return -1;
    case FAULT_ENOSPC:
        errno = ENOSPC;
        return -1;
    case FAULT_SHORT:
        return pwrite(fd, data, size > 1 ? size / 2 : size, (off_t)offset);
    default:
        return pwrite(fd, data, size, (off_t)offset);
    }
}

err_t
file_write(
    int fd, const char *path, const void *data, size_t size, uint64_t offset, enum fault point)
{
    enum fault_action action = fault_pass(point);
    size_t done = 0;

    if (action == FAULT_ERROR)
        return err_set(ERR_INTERNAL, "could not write %s: fault point %s", path, fault_name(point));
    while (done < size) {
        ssize_t now = write_once(fd, (const char *)data + done, size - done, offset + done, action);

        if (action == FAULT_SHORT)
            action = FAULT_OFF;
        if (now < 0 && errno == EINTR)
            continue;
        if (now == 0)
            errno = ENOSPC; /* no progress and no reason: what a full device looks like */
        if (now <= 0)
            return err_set_errno(
                "could not write %zu bytes at %ju of %s", size, (uintmax_t)offset, path);
        done += (size_t)now;
    }
    return OK;
}

static err_t
sync_once(int fd, const char *path, enum fault point)
{
    bool skip;

    TRY_RETURN(sync_if_armed(point, "sync", path, &skip));
    if (!skip && fdatasync(fd) != 0)
        return err_set_errno("could not sync %s", path);
    return OK;
}

err_t
file_sync(int fd, const char *path, enum fault point)
{
    err_t err = sync_once(fd, path, point); /* F3 */

    return err != OK && mutant(MUTANT_SYNC_AGAIN) ? sync_once(fd, path, point) : err;
}

/* Where the file system cannot allocate: zeros, but only behind the present end, so that
   nothing that is there is overwritten. */
static err_t
allocate_by_writing(int fd, const char *path, uint64_t offset, uint64_t size)
{
    static const uint8_t zeros[ZEROS_SIZE];
    uint64_t end = offset + size;
    uint64_t at;

    TRY_RETURN(file_size(fd, path, &at));
    while (at < end) {
        size_t part = end - at < ZEROS_SIZE ? (size_t)(end - at) : ZEROS_SIZE;

        TRY_RETURN(file_write(fd, path, zeros, part, at, FAULT_NONE));
        at += part;
    }
    return OK;
}

err_t
file_allocate(int fd, const char *path, uint64_t offset, uint64_t size, enum fault point)
{
    int result;

    if (size == 0)
        return OK;
    TRY_RETURN(fail_if_armed(point, "allocate space for", path));
    do
        result = fallocate(fd, 0, (off_t)offset, (off_t)size);
    while (result != 0 && errno == EINTR);
    if (result == 0)
        return OK;
    if (errno == EOPNOTSUPP)
        return allocate_by_writing(fd, path, offset, size);
    return err_set_errno(
        "could not allocate %ju bytes at %ju of %s", (uintmax_t)size, (uintmax_t)offset, path);
}

err_t
file_truncate(int fd, const char *path, uint64_t size, enum fault point)
{
    int result;

    TRY_RETURN(fail_if_armed(point, "truncate", path));
    do
        result = ftruncate(fd, (off_t)size);
    while (result != 0 && errno == EINTR);
    if (result != 0)
        return err_set_errno("could not truncate %s to %ju bytes", path, (uintmax_t)size);
    return OK;
}

err_t
file_size(int fd, const char *path, uint64_t *size)
{
    struct stat status;

    if (fstat(fd, &status) != 0)
        return err_set_errno("could not find the size of %s", path);
    *size = (uint64_t)status.st_size;
    return OK;
}

err_t
file_sync_dir(const char *path)
{
    int fd = -1;
    bool skip;
    err_t err;

    TRY(sync_if_armed(FAULT_DIR_SYNC, "sync the folder", path, &skip));
    TRY(file_open(path, O_RDONLY | O_DIRECTORY, 0, &fd, NULL));
    if (!skip && fsync(fd) != 0) /* F3 */
        err = err_set_errno("could not sync the folder %s", path);
out:
    file_close(fd);
    return err;
}

err_t
file_make_dir(const char *path, mode_t mode, bool *made)
{
    char parent[PATH_MAX];
    struct stat status;

    *made = false;
    TRY_RETURN(parent_of(path, parent, sizeof parent));
    TRY_RETURN(fail_if_armed(FAULT_DIR_MAKE, "make the folder", path));
    if (mkdir(path, mode) == 0) {
        *made = true;
        return file_sync_dir(parent);
    }
    if (errno == EEXIST && stat(path, &status) == 0) {
        if (S_ISDIR(status.st_mode))
            return OK;
        errno = ENOTDIR;
    }
    return err_set_errno("could not make the folder %s", path);
}

err_t
file_rename(const char *from, const char *to)
{
    TRY_RETURN(fail_if_armed(FAULT_FILE_RENAME, "rename", from));
    if (rename(from, to) != 0)
        return err_set_errno("could not rename %s to %s", from, to);
    return OK;
}

err_t
file_unlink(const char *path, bool *found, enum fault point)
{
    if (found != NULL)
        *found = true;
    TRY_RETURN(fail_if_armed(point, "remove", path));
    if (unlink(path) == 0)
        return OK;
    if (errno == ENOENT && found != NULL) {
        *found = false;
        return OK;
    }
    return err_set_errno("could not remove %s", path);
}

err_t
file_replace(const char *path, const void *data, size_t size, mode_t mode)
{
    char temporary[PATH_MAX];
    char parent[PATH_MAX];
    int length = snprintf(temporary, sizeof temporary, "%s.new", path);
    int fd = -1;
    err_t err;

    if (length < 0 || (size_t)length >= sizeof temporary)
        return err_set(ERR_IO, "could not replace %s: the path is too long", path);
    TRY_RETURN(parent_of(path, parent, sizeof parent));
    TRY(file_open(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode, &fd, NULL));
    TRY(file_write(fd, temporary, data, size, 0, FAULT_FILE_REPLACE));
    TRY(file_sync(fd, temporary, FAULT_FILE_REPLACE_SYNC));
    file_close(fd);
    TRY_RETURN(file_rename(temporary, path));
    return file_sync_dir(parent);
out:
    if (fd >= 0) {
        file_close(fd);
        (void)unlink(temporary);
    }
    return err;
}

/* Read to the end; the size that fstat tells is only a first guess, for it is 0 in /proc. */
static err_t
slurp_open_file(int fd, const char *path, size_t limit, char **data, size_t *size)
{
    uint64_t told = 0;
    size_t capacity;
    size_t got;

    TRY_RETURN(file_size(fd, path, &told));
    if (told > limit)
        return err_set(ERR_IO, "could not read %s: it is larger than %zu bytes", path, limit);
    capacity = (size_t)told + 1;
    *size = 0;
    for (;;) {
        char *larger = realloc(*data, capacity + 1);

        if (larger == NULL)
            return err_set(ERR_MEMORY, "could not allocate %zu bytes for %s", capacity, path);
        *data = larger;
        TRY_RETURN(file_read(fd, path, *data + *size, capacity - *size, *size, &got, FAULT_NONE));
        *size += got;
        (*data)[*size] = '\0';
        if (*size < capacity)
            return OK;
        if (*size > limit)
            return err_set(ERR_IO, "could not read %s: it is larger than %zu bytes", path, limit);
        capacity = capacity < limit / 2 ? capacity * 2 : limit + 1;
    }
}

err_t
file_slurp(const char *path, size_t limit, char **data, size_t *size, bool *found)
{
    int fd = -1;
    err_t err;

    *data = NULL;
    *size = 0;
    TRY(file_open(path, O_RDONLY, 0, &fd, found));
    if (fd < 0)
        return OK;
    TRY(slurp_open_file(fd, path, limit, data, size));
out:
    file_close(fd);
    if (err != OK) {
        free(*data);
        *data = NULL;
        *size = 0;
    }
    return err;
}
