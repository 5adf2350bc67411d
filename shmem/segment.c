/*
 * segment.c - the shared memory of a server.
 *
 * Form: the regions one after the other, each rounded up to 64 bytes, in the order of the table.
 * The first cache line is left empty, so that offset 0 names nothing.
 */
#include "shmem/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/panic.h"

#define REGIONS_MAX 64
#define LINE        64

/* What is mapped; the same in all children.  const after segment_create. */
static struct {
    const struct region *region;
    size_t offset;
    size_t size;
} placed[REGIONS_MAX];
static size_t placed_count;
static size_t mapped_size;

char *segment_begin, *segment_end;

static size_t
round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* Lay out the regions; the size of all. */
static size_t
place(const struct region *const *regions, size_t count, const struct config *config)
{
    size_t offset = LINE;

    invariant(count <= REGIONS_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t size = round_up(regions[i]->size(config), LINE);

        placed[i].region = regions[i];
        placed[i].offset = offset;
        placed[i].size = size;
        invariant(size <= SIZE_MAX / 2 - offset);
        offset += size;
    }
    placed_count = count;
    return round_up(offset, (size_t)sysconf(_SC_PAGESIZE));
}

static err_t
refuse(size_t size)
{
    return err_set(ERR_MEMORY,
        "could not get %zu MiB of shared memory: %s; lower shared_buffers or max_connections, or "
        "give the machine (or /dev/shm) more",
        (size >> 20) + 1, strerror(errno));
}

/* Whether /dev/shm was mounted with huge=advise, within_size or always. */
static bool
huge_pages_offered(void)
{
    FILE *mounts = setmntent("/proc/self/mounts", "r");
    const struct mntent *mount;
    bool offered = false;

    while (mounts != NULL && (mount = getmntent(mounts)) != NULL)
        if (strcmp(mount->mnt_dir, "/dev/shm") == 0) /* the last of them lies on top */
            offered = hasmntopt(mount, "huge") != NULL;
    if (mounts != NULL)
        (void)endmntent(mounts);
    return offered;
}

/* Have all of it allocated through the mapping, for only there huge pages are asked for.  False:
   errno says why not; EINVAL: the kernel is older than 5.14. */
static bool
populate(int fd, void *memory, size_t size)
{
    struct statvfs there;

    errno = ENOSPC;
    if (fstatvfs(fd, &there) == 0 && there.f_blocks > 0 && size / there.f_frsize >= there.f_bavail)
        return false; /* it would be filled to no end */
    (void)madvise(memory, size, MADV_HUGEPAGE);
    if (madvise(memory, size, MADV_POPULATE_WRITE) == 0)
        return true;
    if (errno == EFAULT) /* what would have been a SIGBUS */
        errno = ENOSPC;
    return false;
}

/* Allocate now: a full /dev/shm is an error here and a SIGBUS later. */
static err_t
allocate(int fd, void *memory, size_t size)
{
    int failed;

    if (huge_pages_offered()) {
        if (populate(fd, memory, size))
            return OK;
        if (errno != EINVAL)
            return refuse(size);
    }
    do
        failed = posix_fallocate(fd, 0, (off_t)size);
    while (failed == EINTR);
    errno = failed;
    return failed == 0 ? OK : refuse(size);
}

/* A POSIX object that is unlinked at once: the mapping alone keeps it. */
static err_t
map_named(const char *name, size_t size, void **memory)
{
    err_t err = OK;
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);

    if (fd < 0 && errno == EEXIST) { /* left by a server killed between open and unlink */
        (void)shm_unlink(name);
        fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    }
    if (fd < 0)
        return refuse(size);
    (void)shm_unlink(name);
    *memory = MAP_FAILED;
    if (ftruncate(fd, (off_t)size) != 0 ||
        (*memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED)
        err = refuse(size);
    else
        err = allocate(fd, *memory, size);
    if (err != OK && *memory != MAP_FAILED)
        (void)munmap(*memory, size);
    (void)close(fd);
    return err;
}

static void
init_regions(const struct config *config)
{
    for (size_t i = 0; i < placed_count; i++)
        placed[i].region->init(segment_begin + placed[i].offset, config);
}

static err_t
map_anonymous(size_t size, int sharing, void **memory)
{
    *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);
    return *memory == MAP_FAILED ? refuse(size) : OK;
}

/* What was laid out by `place` lies here. */
static void
settle(void *memory, size_t size, const struct config *config)
{
    (void)madvise(memory, size, MADV_HUGEPAGE); /* where there are none, small ones do */
    segment_begin = memory;
    segment_end = segment_begin + size;
    mapped_size = size;
    init_regions(config);
}

err_t
segment_create(const struct region *const *regions, size_t count, const struct config *config,
    const char *name)
{
    size_t size = place(regions, count, config);
    void *memory;
    err_t err;

    invariant(segment_begin == NULL); /* one at a time */
    TRY(name != NULL ? map_named(name, size, &memory) : map_anonymous(size, MAP_SHARED, &memory));
    settle(memory, size, config);
out:
    if (err != OK)
        placed_count = 0;
    return err;
}

err_t
segment_create_private(
    const struct region *const *regions, size_t count, const struct config *config)
{
    size_t size = place(regions, count, config);
    void *memory;
    err_t err;

    invariant(segment_begin == NULL); /* one at a time */
    TRY(map_anonymous(size, MAP_PRIVATE, &memory));
    (void)madvise(memory, size, MADV_DONTFORK);
    settle(memory, size, config);
out:
    if (err != OK)
        placed_count = 0;
    return err;
}

void
segment_rebuild(const struct config *config)
{
    invariant(segment_begin != NULL);
    /* Regions keep their places: the children to come, and pointers kept in `shared`, rely on it.
     */
    for (size_t i = 0; i < placed_count; i++)
        invariant(round_up(placed[i].region->size(config), LINE) == placed[i].size);
    memset(segment_begin, 0, mapped_size);
    init_regions(config);
}

void
segment_destroy(void)
{
    if (segment_begin == NULL)
        return;
    (void)munmap(segment_begin, mapped_size);
    segment_begin = segment_end = NULL;
    mapped_size = 0;
    placed_count = 0;
}

size_t
segment_size(void)
{
    return mapped_size;
}

void
segment_stray(const void *pointer)
{
    (void)pointer;
    panic(__FILE__, __LINE__, "a pointer or offset lies outside the shared segment");
}

err_t
segment_verify(void)
{
    for (size_t i = 0; i < LINE; i++)
        if (segment_begin[i] != 0)
            return err_set(ERR_INTERNAL, "the first bytes of the segment were written to");
    return OK;
}

size_t
segment_region_count(void)
{
    return placed_count;
}

const char *
segment_region_name(size_t index, size_t *size)
{
    invariant(index < placed_count);
    if (size != NULL)
        *size = placed[index].size;
    return placed[index].region->name;
}
