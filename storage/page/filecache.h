/*
 * filecache.h - data files that this process has open, for datafile.c.
 *
 * One cache for all threads of a process, under a mutex; an open file is not closed while somebody
 * uses it.  At most FILECACHE_MAX stay open, or half of what the process may have open, if that is
 * less; and fewer where descriptors run out all the same.
 */
#ifndef STORAGE_PAGE_FILECACHE_H
#define STORAGE_PAGE_FILECACHE_H

#include "base/err.h"
#include "base/types.h"

#define FILECACHE_MAX      256
#define FILECACHE_PATH_MAX 4096

struct filecache_use {
    int fd;
    unsigned slot;
    const char *path; /* for messages; valid until released */
};

/* The data directory; every open file of another one is closed. */
err_t filecache_set_dir(const char *data_dir) MUST_CHECK;
const char *filecache_dir(void);
void filecache_clear(void); /* close all; nobody may be using one */

/* Path of a file and of its folder; `path` has FILECACHE_PATH_MAX bytes. */
void filecache_path(fileno_t file, char *path);
void filecache_folder(fileno_t file, char *path);

/* Open or find open.  Errors: ERR_IO: no such file; ERR_TOO_MANY: as many as may be open are in use
   now. */
err_t filecache_acquire(fileno_t file, struct filecache_use *use) MUST_CHECK;
void filecache_release(struct filecache_use *use);

/* The file is removed: close it as soon as nobody uses it. */
void filecache_unlinked(fileno_t file);

#endif
