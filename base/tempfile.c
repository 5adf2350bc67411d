/*
 * tempfile.c - temporary files without a name.
 */
#include "base/tempfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"

#define PATH_SIZE 4200
#define COPY_SIZE ((size_t)64 << 10)

static err_t
make_path(char path[PATH_SIZE], const char *folder, const char *name)
{
    if (snprintf(path, PATH_SIZE, "%s/%s", folder, name) >= PATH_SIZE)
        return err_set(ERR_IO, "the name of a temporary file in '%s' is too long", folder);
    return OK;
}

/* One with a name, which goes at once. */
static err_t
open_named(const char *folder, int *fd)
{
    char path[PATH_SIZE];
    err_t err;

    TRY_RETURN(make_path(path, folder, "unnamed-XXXXXX"));
    *fd = mkostemp(path, O_CLOEXEC);
    if (*fd < 0)
        return err_set_errno("could not create a temporary file in %s", folder);
    if (unlink(path) == 0)
        return OK;
    err = err_set_errno("could not remove the name %s", path);
    file_close(*fd);
    *fd = -1;
    return err;
}

/* EISDIR and ENOENT are what kernels and file systems say that do not know the flag. */
static bool
is_unknown(int error)
{
    return error == EOPNOTSUPP || error == EISDIR || error == ENOENT || error == EINVAL;
}

err_t
tempfile_open(const char *folder, int *fd)
{
    enum fault_action action = fault_pass(FAULT_TEMP_UNNAMED);

    *fd = -1;
    errno = action == FAULT_EIO ? EIO : action == FAULT_ENOSPC ? ENOSPC : EOPNOTSUPP;
    if (action == FAULT_OFF) {
        do
            *fd = open(folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
        while (*fd < 0 && file_relieve(errno));
    }
    if (*fd >= 0)
        return OK;
    if (!is_unknown(errno))
        return err_set_errno("could not create a temporary file in %s", folder);
    return open_named(folder, fd);
}

static err_t
copy(int from, int to, const char *path, uint64_t size)
{
    uint8_t room[COPY_SIZE];

    for (uint64_t at = 0; at < size;) {
        size_t part = size - at < sizeof room ? (size_t)(size - at) : sizeof room;

        TRY_RETURN(file_read(from, path, room, part, at, NULL, FAULT_TEMP_READ));
        TRY_RETURN(file_write(to, path, room, part, at, FAULT_TEMP_WRITE));
        at += part;
    }
    return OK;
}

static err_t
copy_to(const char *path, uint64_t size, int *fd)
{
    int named;
    err_t err;

    TRY_RETURN(file_open(path, O_RDWR | O_CREAT | O_EXCL, 0600, &named, NULL));
    err = copy(*fd, named, path, size);
    if (err != OK) {
        file_close(named);
        (void)unlink(path);
        return err;
    }
    file_close(*fd);
    *fd = named;
    return OK;
}

err_t
tempfile_name(const char *folder, const char *name, uint64_t size, int *fd)
{
    char path[PATH_SIZE], open_as[32];

    TRY_RETURN(make_path(path, folder, name));
    (void)snprintf(open_as, sizeof open_as, "/proc/self/fd/%d", *fd);
    (void)unlink(path);
    if (linkat(AT_FDCWD, open_as, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0)
        return OK;
    if (errno != ENOENT) /* of a file whose name was removed */
        return err_set_errno("could not give a temporary file the name '%s'", path);
    return copy_to(path, size, fd);
}
