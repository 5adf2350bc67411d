/*
 * filecache.c - data files that this process has open.
 *
 * INVARIANTS
 *   O1  A slot's descriptor is closed only while its `users` is 0.
 *   O2  All fields are guarded by `mutex`; the descriptor and path of a slot with users are const.
 *
 * This is private to the process: if it dies, the kernel closes everything.  Children that are
 * forked while no other thread exists inherit the open files, which is harmless: pread and pwrite
 * use no common position.
 */
#include "storage/page/filecache.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/file.h"
#include "base/panic.h"

#define NAME_ROOM 32 /* bytes of "/data/xx/xxxxxxxx" and some */
#define LEAST     8  /* slots in use, however few descriptors there are */

struct slot {
    int fd;
    unsigned users;
    uint64_t used_at;
    bool unlinked;
    char *path; /* own, malloced */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char dir[FILECACHE_PATH_MAX - NAME_ROOM];
static fileno_t files[FILECACHE_MAX]; /* 0: the slot is empty */
static struct slot slots[FILECACHE_MAX];
static unsigned slot_count = FILECACHE_MAX; /* those that may be used; const after set_dir */
static uint64_t clock_hand;
static _Thread_local bool opening; /* this thread opens a file, and has the mutex */

static void
close_slot(unsigned i)
{
    invariant(slots[i].users == 0); /* O1 */
    file_close(slots[i].fd);
    free(slots[i].path);
    memset(&slots[i], 0, sizeof slots[i]);
    files[i] = 0;
}

void
filecache_clear(void)
{
    (void)pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < FILECACHE_MAX; i++)
        if (files[i] != 0)
            close_slot(i);
    (void)pthread_mutex_unlock(&mutex);
}

/* The one that was not used for longest and may be closed; FILECACHE_MAX: none. */
static unsigned
find_oldest(void)
{
    unsigned oldest = FILECACHE_MAX;

    for (unsigned i = 0; i < slot_count; i++)
        if (files[i] != 0 && slots[i].users == 0 &&
            (oldest == FILECACHE_MAX || slots[i].used_at < slots[oldest].used_at))
            oldest = i;
    return oldest;
}

/* Somebody in this process has no descriptor: one of ours will do. */
static bool
give_one_back(void)
{
    bool own = opening;
    unsigned oldest;

    if (!own)
        (void)pthread_mutex_lock(&mutex);
    oldest = find_oldest();
    if (oldest < FILECACHE_MAX)
        close_slot(oldest);
    if (!own)
        (void)pthread_mutex_unlock(&mutex);
    return oldest < FILECACHE_MAX;
}

/* The other half is for the log, sockets, sorts and whatever else there may be. */
static unsigned
count_slots(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur / 2 >= FILECACHE_MAX)
        return FILECACHE_MAX;
    return limit.rlim_cur / 2 > LEAST ? (unsigned)(limit.rlim_cur / 2) : LEAST;
}

err_t
filecache_set_dir(const char *data_dir)
{
    size_t size = strlen(data_dir);

    if (size >= sizeof dir)
        return err_set(
            ERR_IO, "could not open the data directory %s: the path is too long", data_dir);
    filecache_clear();
    (void)pthread_mutex_lock(&mutex);
    memcpy(dir, data_dir, size + 1);
    slot_count = count_slots();
    file_set_relief(give_one_back);
    (void)pthread_mutex_unlock(&mutex);
    return OK;
}

const char *
filecache_dir(void)
{
    return dir;
}

void
filecache_path(fileno_t file, char *path)
{
    (void)snprintf(path, FILECACHE_PATH_MAX, "%s/data/%02x/%08x", dir, file & 0xff, file);
}

void
filecache_folder(fileno_t file, char *path)
{
    (void)snprintf(path, FILECACHE_PATH_MAX, "%s/data/%02x", dir, file & 0xff);
}

static unsigned
find_open(fileno_t file)
{
    for (unsigned i = 0; i < slot_count; i++)
        if (files[i] == file)
            return i;
    return FILECACHE_MAX;
}

/* An empty slot, if need be by closing the oldest. */
static unsigned
make_room(void)
{
    unsigned oldest;

    for (unsigned i = 0; i < slot_count; i++)
        if (files[i] == 0)
            return i;
    oldest = find_oldest();
    if (oldest < FILECACHE_MAX)
        close_slot(oldest);
    return oldest;
}

/* Open `file` in a slot; the mutex is held. */
static err_t
open_slot(fileno_t file, unsigned *slot)
{
    char path[FILECACHE_PATH_MAX];
    char *copy;
    err_t err;
    int fd;

    filecache_path(file, path);
    opening = true;
    err = file_open(path, O_RDWR, 0, &fd, NULL);
    opening = false;
    if (err != OK)
        return err;
    copy = strdup(path);
    *slot = copy != NULL ? make_room() : FILECACHE_MAX;
    if (*slot == FILECACHE_MAX) {
        file_close(fd);
        free(copy);
        return copy == NULL ? err_set(ERR_MEMORY, "could not open %s: out of memory", path)
                            : err_set(ERR_TOO_MANY, "could not open %s: %u data files are in use",
                                  path, slot_count);
    }
    files[*slot] = file;
    slots[*slot] = (struct slot){ .fd = fd, .path = copy };
    return OK;
}

err_t
filecache_acquire(fileno_t file, struct filecache_use *use)
{
    unsigned slot;
    err_t err = OK;

    if (file == 0)
        return err_set(ERR_INTERNAL, "could not open a data file: it has no number");
    (void)pthread_mutex_lock(&mutex);
    slot = find_open(file);
    if (slot == FILECACHE_MAX)
        TRY(open_slot(file, &slot));
    slots[slot].users++;
    slots[slot].used_at = ++clock_hand;
    *use = (struct filecache_use){ slots[slot].fd, slot, slots[slot].path };
out:
    (void)pthread_mutex_unlock(&mutex);
    return err;
}

void
filecache_release(struct filecache_use *use)
{
    (void)pthread_mutex_lock(&mutex);
    invariant(slots[use->slot].users > 0);
    if (--slots[use->slot].users == 0 && slots[use->slot].unlinked)
        close_slot(use->slot);
    (void)pthread_mutex_unlock(&mutex);
}

void
filecache_unlinked(fileno_t file)
{
    unsigned slot;

    (void)pthread_mutex_lock(&mutex);
    slot = find_open(file);
    if (slot < FILECACHE_MAX) {
        slots[slot].unlinked = true;
        if (slots[slot].users == 0)
            close_slot(slot);
    }
    (void)pthread_mutex_unlock(&mutex);
}
