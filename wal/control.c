/*
 * control.c - the control file.
 *
 *      0  magic "GNEISCTL"
 *      8  struct control, without holes
 *    136  zeros
 *    508  CRC-32C of the bytes before it
 *    512  zeros up to 4096
 * All that is used lies in the first 512 bytes: a disk writes a sector whole or not at all,
 * so overwriting in place needs no second copy.
 *
 * INVARIANTS
 *   T1  The copy in shared memory is what was last written and synced.
 *   T2  `checkpoint` and `redo` are changed together, and only after that checkpoint's record is on
 *       disk.
 *
 * LOCKS  RANK_CONTROL.
 *
 * IF A PROCESS DIES while it writes, the file is the old or the new one, for the page cache
 * takes the sector whole; the copy in shared memory may be the older of the two, and the
 * next write makes them equal.
 */
#include "wal/control.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "base/log.h"
#include "base/panic.h"
#include "base/rand.h"
#include "shmem/lwlock.h"
#include "wal/wal_page.h"

#define MAGIC     0x4c54435349454e47u /* "GNEISCTL" */
#define BLOCK     4096
#define USED      512
#define PATH_SIZE 4096

_Static_assert(sizeof(struct control) == 128, "on disk");

struct block {
    uint64_t magic;
    struct control control;
    uint8_t zero[USED - 8 - sizeof(struct control) - 4];
    uint32_t crc;
    uint8_t rest[BLOCK - USED];
};
_Static_assert(sizeof(struct block) == BLOCK, "on disk");
_Static_assert(offsetof(struct block, crc) == USED - 4, "on disk");

struct place {
    struct lwlock lock;       /* RANK_CONTROL */
    struct control control;   /* guard: lock; T1 */
    char data_dir[PATH_SIZE]; /* const after control_share */
};
static struct place *shared;

static size_t
region_size(const struct config *config)
{
    (void)config;
    return sizeof *shared;
}

static void
region_init(void *zeroed, const struct config *config)
{
    (void)config;
    shared = zeroed;
    lwlock_init(&shared->lock, RANK_CONTROL);
}

const struct region control_region = { "control", region_size, region_init };

static err_t
path_of(const char *data_dir, char path[PATH_SIZE])
{
    int length = snprintf(path, PATH_SIZE, "%s/control", data_dir);

    if (length < 0 || length >= PATH_SIZE)
        return err_set(
            ERR_IO, "could not open the control file in %.64s: the path is too long", data_dir);
    return OK;
}

static void
fill(struct block *block, const struct control *control)
{
    memset(block, 0, sizeof *block);
    block->magic = MAGIC;
    block->control = *control;
    block->crc = crc32c(0, block, offsetof(struct block, crc));
}

static err_t
write_block(int fd, const char *path, const struct control *control)
{
    struct block block;
    err_t err;

    fill(&block, control);
    TRY_RETURN(file_write(fd, path, &block, sizeof block, 0, FAULT_CONTROL_WRITE));
    err = file_sync(fd, path, FAULT_CONTROL_SYNC);
    if (err != OK) {
        /* The kernel may have dropped what it could not write: nobody knows what is on disk. */
        log_fatal("%s; the server stops and recovers from its log", err_message());
        panic(__FILE__, __LINE__, "the control file could not be synced");
    }
    return OK;
}

err_t
control_create(const char *data_dir, uint32_t page_size)
{
    struct control control = {
        .version = CONTROL_VERSION,
        .page_size = page_size,
        .state = CONTROL_CREATED,
        .epoch = 1,
        .written_ms = clock_wall_ms(),
    };
    char path[PATH_SIZE], fresh[PATH_SIZE + 8];
    int fd = -1;
    err_t err;

    if (page_size < PAGE_SIZE_MIN || page_size > PAGE_SIZE_MAX ||
        (page_size & (page_size - 1)) != 0)
        return err_set(ERR_CONFIG,
            "could not use pages of %u bytes: 4096, 8192, 16384 and 32768 are possible", page_size);
    TRY(path_of(data_dir, path));
    rand_secure(&control.system_id, sizeof control.system_id);
    rand_secure(control.node_id, sizeof control.node_id);
    control.system_id |= 1; /* 0 means any */
    /* Under its name it is whole from the first moment: no death here leaves an empty one. */
    (void)snprintf(fresh, sizeof fresh, "%s.new", path);
    TRY(file_open(fresh, O_RDWR | O_CREAT | O_TRUNC, 0600, &fd, NULL));
    TRY(write_block(fd, fresh, &control));
    TRY(file_rename(fresh, path));
    TRY(file_sync_dir(data_dir));
    wal_page_size = page_size;
out:
    file_close(fd);
    return err;
}

static err_t
check_block(const struct block *block, const char *path)
{
    const struct control *control = &block->control;

    if (block->magic != MAGIC)
        return err_set(ERR_CORRUPT, "could not use %s: it is not a control file", path);
    if (control->version != CONTROL_VERSION)
        return err_set(ERR_CORRUPT, "could not use %s: it is of version %u, this program knows %u",
            path, control->version, CONTROL_VERSION);
    if (block->crc != crc32c(0, block, offsetof(struct block, crc)))
        return err_set(ERR_CORRUPT, "could not use %s: its checksum is wrong", path);
    if (control->page_size < PAGE_SIZE_MIN || control->page_size > PAGE_SIZE_MAX ||
        (control->page_size & (control->page_size - 1)) != 0)
        return err_set(
            ERR_CORRUPT, "could not use %s: pages of %u bytes", path, control->page_size);
    return OK;
}

err_t
control_read(const char *data_dir, struct control *control)
{
    struct block block;
    char path[PATH_SIZE];
    size_t got;
    int fd = -1;
    err_t err;

    TRY(path_of(data_dir, path));
    TRY(file_open(path, O_RDONLY, 0, &fd, NULL));
    TRY(file_read(fd, path, &block, sizeof block, 0, &got, FAULT_CONTROL_READ));
    if (got < USED)
        TRY(err_set(ERR_CORRUPT, "could not use %s: it has only %zu bytes", path, got));
    TRY(check_block(&block, path));
    *control = block.control;
    wal_page_size = control->page_size;
out:
    file_close(fd);
    return err;
}

err_t
control_write(const char *data_dir, const struct control *control)
{
    char path[PATH_SIZE];
    int fd = -1;
    err_t err;

    TRY(path_of(data_dir, path));
    TRY(file_open(path, O_RDWR, 0, &fd, NULL));
    TRY(write_block(fd, path, control));
out:
    file_close(fd);
    return err;
}

void
control_share(const struct control *control, const char *data_dir)
{
    invariant(strlen(data_dir) < PATH_SIZE);
    lwlock_acquire(&shared->lock, LW_EXCLUSIVE);
    shared->control = *control;
    (void)snprintf(shared->data_dir, PATH_SIZE, "%s", data_dir);
    lwlock_release(&shared->lock);
}

void
control_get(struct control *copy)
{
    lwlock_acquire(&shared->lock, LW_SHARED);
    *copy = shared->control;
    lwlock_release(&shared->lock);
}

err_t
control_update(void (*change)(struct control *control, void *context), void *context)
{
    struct control next;
    err_t err;

    lwlock_acquire(&shared->lock, LW_EXCLUSIVE);
    next = shared->control;
    change(&next, context);
    next.written_ms = clock_wall_ms();
    TRY(control_write(shared->data_dir, &next));
    shared->control = next; /* T1 */
out:
    lwlock_release(&shared->lock);
    return err;
}

const char *
control_data_dir(void)
{
    return shared->data_dir;
}
