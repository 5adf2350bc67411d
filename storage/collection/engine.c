/*
 * engine.c - opening and closing a data directory.
 *
 * STATES of a data directory
 *
 *   nothing ──engine_create──▶ created ──engine_recover──▶ running ──engine_close──▶ stopped
 *                                 ▲  (catalog made)           │                        │
 *                                 └── crash: made again ──────┤◀──── engine_recover ───┘
 *                                                             └─ crash: replayed
 *
 * INVARIANTS
 *   E1  Whoever reads or writes anything in the directory holds its lock, itself or through its
 *       parent: on the directory itself, so that nobody can lift it by removing a file.
 *   E2  The catalog exists if and only if a checkpoint noted a next oid: until then nobody was told
 *       that anything is kept, so an unfinished catalog is thrown away and made again.
 *   E3  After recovery every file under data/ is named by the catalog; others are removed.
 *   E4  After recovery the folder tmp/ is there and empty: what was in it belonged to requests.
 *
 * IF A PROCESS DIES anywhere in engine_recover, the next one begins again at the same checkpoint:
 * replay is idempotent, and the sweep of E3 looks at what is there.
 */
#include "storage/collection/engine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/panic.h"
#include "shmem/ledger.h"
#include "shmem/lwlock.h"
#include "shmem/proc.h"
#include "shmem/segment.h"
#include "storage/collection/catalog.h"
#include "storage/collection/catalog_boot.h"
#include "storage/heap/heap.h"
#include "storage/heap/visible.h"
#include "storage/index/btree_redo.h"
#include "storage/page/datafile.h"
#include "storage/page/pool.h"
#include "storage/page/redo.h"
#include "storage/txn/txn.h"
#include "wal/checkpoint.h"

#define PATH_SIZE       4096
#define REGIONS_MAX     32
#define LOCK_POLL_US    20000
#define HOLDER_SIZE     20
#define FOLDERS         256u /* below data/ */
#define RECOVERY_MEMORY ((size_t)64 << 20)
#define OWNED_FIRST     1024

/* Const after engine_open. */
static struct lock {
    int folder; /* the directory itself: its lock cannot be removed */
    int file; /* <data>/lock, which names the holder; also for file systems that lock only files */
} held = { -1, -1 };
static char opened_dir[PATH_SIZE];

static const struct region *const regions[] = {
    &proc_region,
    &control_region,
    &wal_region,
    &datafile_region,
    &pool_region,
    &txn_region,
    &visible_region,
    &catalog_region,
};
#define REGION_COUNT (sizeof regions / sizeof regions[0])

/* In the order in which they are brought to disk: pages before the syncing of their files. */
static const struct checkpoint_part *const parts[] = {
    &txn_part,
    &catalog_boot_part,
    &pool_part,
    &datafile_part,
};
#define PART_COUNT (sizeof parts / sizeof parts[0])

static struct wal_handler handlers[WAL_KIND_COUNT];

const struct wal_handler *
engine_handlers(void)
{
    handlers[WAL_IMAGE] = pool_handler_image;
    handlers[WAL_FILE_CREATE] = datafile_handler_create;
    handlers[WAL_FILE_UNLINK] = datafile_handler_unlink;
    handlers[WAL_FILE_TRUNCATE] = datafile_handler_truncate;
    handlers[WAL_COMMIT] = txn_handler_commit;
    handlers[WAL_ABORT] = txn_handler_abort;
    handlers[WAL_XID_BOUND] = txn_handler_xid_bound;
    handlers[WAL_HEAP_INSERT] = heap_handler_insert;
    handlers[WAL_HEAP_UPDATE] = heap_handler_update;
    handlers[WAL_HEAP_DELETE] = heap_handler_delete;
    handlers[WAL_HEAP_PRUNE] = heap_handler_prune;
    handlers[WAL_HEAP_FREEZE] = heap_handler_freeze;
    handlers[WAL_HEAP_MULTI_INSERT] = heap_handler_multi_insert;
    handlers[WAL_OVERFLOW] = heap_handler_overflow;
    handlers[WAL_OVERFLOW_FREE] = heap_handler_overflow_free;
    handlers[WAL_BTREE_INSERT] = btree_redo_insert;
    handlers[WAL_BTREE_INSERT_MANY] = btree_redo_insert_many;
    handlers[WAL_BTREE_DELETE] = btree_redo_delete;
    handlers[WAL_BTREE_SPLIT] = btree_redo_whole;
    handlers[WAL_BTREE_ROOT] = btree_redo_whole;
    handlers[WAL_BTREE_UNLINK] = btree_redo_whole;
    handlers[WAL_BTREE_META] = btree_redo_whole;
    handlers[WAL_NUMBERS] = catalog_boot_handler_numbers;
    return handlers;
}

static err_t
path_in(char path[PATH_SIZE], const char *data_dir, const char *name)
{
    int size = snprintf(path, PATH_SIZE, "%s/%s", data_dir, name);

    if (size < 0 || size >= PATH_SIZE)
        return err_set(ERR_CONFIG, "the name of the data directory is too long: %.100s…", data_dir);
    return OK;
}

bool
engine_exists(const char *data_dir)
{
    char path[PATH_SIZE];
    struct control control;

    if (path_in(path, data_dir, "control") != OK || access(path, F_OK) != 0)
        return false;
    /* One that cannot be read is there all the same; one without a log was never finished. */
    return control_read(data_dir, &control) != OK || control.redo != 0;
}

/* Is there anything in the folder?  One that cannot be read may hold something. */
static bool
holds_files(const char *path)
{
    struct dirent *entry;
    bool holds = false;
    DIR *dir = opendir(path);

    if (dir == NULL)
        return errno != ENOENT;
    while (!holds && (entry = readdir(dir)) != NULL)
        holds = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    (void)closedir(dir);
    return holds;
}

/* A log or data files without a control file are not the beginning of a database but the remains of
   one: nothing new is made over them. */
static err_t
refuse_remains(const char *data_dir)
{
    char path[PATH_SIZE];
    bool remains;

    TRY_RETURN(path_in(path, data_dir, "control"));
    if (access(path, F_OK) == 0)
        return OK; /* then engine_create left it, and all else, when it was killed half-way */
    TRY_RETURN(path_in(path, data_dir, "wal"));
    remains = holds_files(path);
    for (unsigned folder = 0; folder < FOLDERS && !remains; folder++) {
        char name[16];

        (void)snprintf(name, sizeof name, "data/%02x", folder);
        TRY_RETURN(path_in(path, data_dir, name));
        remains = holds_files(path);
    }
    if (remains)
        return err_set(ERR_CORRUPT,
            "could not make a database in '%s': there is one whose control file is missing ('%s' "
            "is there, '%s/control' is not).  Bring back the control file, or the whole directory, "
            "from a copy; or choose another directory",
            data_dir, path, data_dir);
    return OK;
}

/* Whose lock it is, as its holder wrote it; 0: unknown. */
static long
read_holder(int fd)
{
    char text[HOLDER_SIZE + 1] = "";

    if (pread(fd, text, HOLDER_SIZE, 0) <= 0)
        return 0;
    return strtol(text, NULL, 10);
}

/* Always as many bytes: so a full disk has the room for it that the last holder's had. */
static err_t
write_holder(int fd, const char *path)
{
    char text[HOLDER_SIZE + 1];

    (void)snprintf(text, sizeof text, "%-*ld\n", HOLDER_SIZE - 1, (long)getpid());
    return file_write(fd, path, text, HOLDER_SIZE, 0, FAULT_NONE);
}

/* Has this process the file open?  False also if that may not be looked at. */
static bool
has_open(const char *pid, const struct stat *file)
{
    char path[64];
    struct dirent *entry;
    struct stat found;
    bool has = false;
    DIR *dir;

    (void)snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    dir = opendir(path);
    while (dir != NULL && !has && (entry = readdir(dir)) != NULL)
        has = fstatat(dirfd(dir), entry->d_name, &found, 0) == 0 && found.st_dev == file->st_dev &&
              found.st_ino == file->st_ino;
    if (dir != NULL)
        (void)closedir(dir);
    return has;
}

/* Who has inherited the lock's description from a process that is no more; 0: not found. */
static long
find_survivor(const struct stat *lock)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    long survivor = 0;

    while (dir != NULL && survivor == 0 && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            strtol(entry->d_name, NULL, 10) != (long)getpid() && has_open(entry->d_name, lock))
            survivor = strtol(entry->d_name, NULL, 10);
    if (dir != NULL)
        (void)closedir(dir);
    return survivor;
}

/* `fd`: what is locked.  A lock file that was removed and made again has nobody's number. */
static err_t
refuse_held(int fd, int file)
{
    long holder = read_holder(file), other = 0;
    struct stat locked;
    char pid[32];

    (void)snprintf(pid, sizeof pid, "%ld", holder);
    if (fstat(fd, &locked) == 0 && (holder == 0 || !has_open(pid, &locked)))
        other = find_survivor(&locked);
    if (holder == 0 && other != 0)
        return err_set(ERR_IN_USE, "data directory is in use by process %ld", other);
    if (other == 0)
        return err_set(ERR_IN_USE, "data directory is in use by process %ld", holder);
    return err_set(ERR_IN_USE,
        "data directory is in use by process %ld, a child of process %ld, which is no more: if it "
        "does not end by itself (it may be stopped), kill it",
        other, holder);
}

static err_t
lock_patiently(int fd, const char *path, int64_t until_ns, int file)
{
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_set_errno("could not lock '%s'", path);
        if (clock_now_ns() >= until_ns)
            return refuse_held(fd, file);
        (void)usleep(LOCK_POLL_US);
    }
    return OK;
}

static void
let_go(struct lock *lock)
{
    file_close(lock->folder);
    file_close(lock->file);
    *lock = (struct lock){ -1, -1 };
}

/* E1. */
static err_t
take_lock(const char *data_dir, int wait_ms, struct lock *lock)
{
    int64_t until_ns = clock_now_ns() + (int64_t)wait_ms * 1000000;
    char path[PATH_SIZE];
    err_t err;

    *lock = (struct lock){ -1, -1 };
    TRY(path_in(path, data_dir, "lock"));
    TRY(file_open(path, O_RDWR | O_CREAT, 0600, &lock->file, NULL));
    TRY(file_open(data_dir, O_RDONLY | O_DIRECTORY, 0, &lock->folder, NULL));
    if (flock(lock->folder, LOCK_EX | LOCK_NB) == 0 || errno == EWOULDBLOCK || errno == EINTR)
        TRY(lock_patiently(lock->folder, data_dir, until_ns, lock->file));
    TRY(lock_patiently(lock->file, path, until_ns, lock->file));
    TRY(write_holder(lock->file, path));
out:
    if (err != OK)
        let_go(lock);
    return err;
}

err_t
engine_create(const char *data_dir, uint32_t page_size)
{
    struct lock lock = { -1, -1 };
    bool made;
    err_t err;

    TRY(file_make_dir(data_dir, 0700, &made));
    TRY(take_lock(data_dir, 0, &lock));
    if (engine_exists(data_dir))
        TRY(err_set(ERR_IN_USE, "'%s' holds a database already", data_dir));
    TRY(refuse_remains(data_dir));
    TRY(datafile_make_dir(data_dir));
    TRY(control_create(data_dir, page_size));
    TRY(wal_create(data_dir));
out:
    let_go(&lock);
    return err;
}

/* The control file's copy in shared memory is guarded by a light lock, and that wants a slot. */
static err_t
share_control(const struct control *control)
{
    TRY_RETURN(proc_attach(PROC_STARTUP));
    control_share(control, opened_dir);
    proc_detach();
    return OK;
}

err_t
engine_open(const struct config *config, const char *data_dir, const struct region *const *more,
    size_t more_count, int lock_wait_ms, bool shared)
{
    const struct region *all[REGIONS_MAX];
    struct control control;
    char name[64];
    err_t err;

    invariant(REGION_COUNT + more_count <= REGIONS_MAX);
    if (config->storage_encryption)
        TRY(err_set(ERR_CONFIG, "storage.encryption_at_rest: encryption is not offered yet"));
    TRY(take_lock(data_dir, lock_wait_ms, &held));
    TRY(control_read(data_dir, &control));
    memcpy(all, regions, sizeof regions);
    if (more_count > 0)
        memcpy(all + REGION_COUNT, more, more_count * sizeof(struct region *));
    (void)snprintf(name, sizeof name, "/gneiss.%ld", (long)getpid());
    TRY(shared ? segment_create(all, REGION_COUNT + more_count, config, name)
               : segment_create_private(all, REGION_COUNT + more_count, config));
    (void)snprintf(opened_dir, sizeof opened_dir, "%s", data_dir);
    lwlock_set_undo();
    ledger_set_undo(LEDGER_PLACE, txn_place_undo);
    wal_set_page_peek(redo_peek);
    TRY(share_control(&control));
    TRY(datafile_make_dir(data_dir)); /* a copy may lack the empty folders (T-15.5) */
    TRY(datafile_open_dir(data_dir));
    checkpoint_set_parts(parts, PART_COUNT);
out:
    if (err != OK)
        engine_release();
    return err;
}

err_t
engine_reset(const struct config *config)
{
    struct control control;

    segment_rebuild(config);
    TRY_RETURN(control_read(opened_dir, &control));
    return share_control(&control);
}

/* Files that the catalog names, sorted, for the search. */
struct owned {
    fileno_t *file;
    size_t count, capacity;
    bool failed; /* out of memory: nothing may be removed */
    uint64_t removed;
};

static void
note_owned(void *context, fileno_t file)
{
    struct owned *owned = context;

    if (owned->count == owned->capacity) {
        size_t capacity = owned->capacity > 0 ? owned->capacity * 2 : OWNED_FIRST;
        fileno_t *more = realloc(owned->file, capacity * sizeof *more);

        if (more == NULL) {
            owned->failed = true;
            return;
        }
        owned->file = more;
        owned->capacity = capacity;
    }
    owned->file[owned->count++] = file;
}

static int
compare_files(const void *a, const void *b)
{
    fileno_t x = *(const fileno_t *)a, y = *(const fileno_t *)b;

    return (x > y) - (x < y);
}

static err_t
remove_if_orphan(fileno_t file, uint64_t size, void *context)
{
    struct owned *owned = context;

    (void)size;
    if (bsearch(&file, owned->file, owned->count, sizeof file, compare_files) != NULL)
        return OK;
    owned->removed++;
    (void)fault_pass(FAULT_RECOVERY_ORPHAN);
    return datafile_unlink(file);
}

/* E3. */
static err_t
sweep_orphans(struct op *op, uint64_t *removed)
{
    struct owned owned = { 0 };
    err_t err;

    TRY(catalog_boot_files(op, note_owned, &owned));
    if (owned.failed)
        TRY(err_set(ERR_MEMORY, "could not list the files of the catalog"));
    if (owned.count > 0)
        qsort(owned.file, owned.count, sizeof *owned.file, compare_files);
    TRY(datafile_walk(remove_if_orphan, &owned));
    *removed = owned.removed;
out:
    free(owned.file);
    return err;
}

/* E4.  A file that cannot be removed is only room lost. */
static err_t
empty_tmp(void)
{
    char path[PATH_SIZE];
    struct dirent *entry;
    DIR *folder;

    TRY_RETURN(path_in(path, opened_dir, "tmp"));
    TRY_RETURN(file_make_dir(path, 0700, &(bool){ false }));
    folder = opendir(path);
    if (folder == NULL)
        return err_set_errno("could not open the folder '%s'", path);
    while ((entry = readdir(folder)) != NULL)
        if (entry->d_name[0] != '.' && unlinkat(dirfd(folder), entry->d_name, 0) != 0)
            log_warn("could not remove '%s/%s': %s", path, entry->d_name, strerror(errno));
    (void)closedir(folder);
    return OK;
}

static err_t
remove_any(fileno_t file, uint64_t size, void *context)
{
    (void)size;
    (void)context;
    return file == DATAFILE_CLOG || file == DATAFILE_CSN ? OK : datafile_unlink(file);
}

/* E2. */
static err_t
make_catalog(struct op *op)
{
    TRY_RETURN(datafile_walk(remove_any, NULL));
    TRY_RETURN(catalog_boot_create(op));
    return checkpoint_run(CHECKPOINT_FAST);
}

static err_t
recover_attached(const struct config *config, struct op *op, struct engine_info *info)
{
    struct control control;

    TRY_RETURN(wal_open(config, opened_dir, engine_handlers(), NULL, &info->recovery));
    if (info->recovery.lost > 0)
        txn_skip(info->recovery.lost);
    txn_recovered();
    if (info->recovery.lost > 0)
        TRY_RETURN(checkpoint_run(CHECKPOINT_FAST)); /* until then the damage is in the way */
    control_get(&control);
    if (control.numbers[CONTROL_NEXT_OID] == 0)
        TRY_RETURN(make_catalog(op));
    TRY_RETURN(catalog_boot_open(op));
    (void)fault_pass(FAULT_RECOVERY_OPEN);
    TRY_RETURN(sweep_orphans(op, &info->orphans));
    return empty_tmp();
}

err_t
engine_recover(const struct config *config, struct engine_info *info)
{
    struct op op = { .verb = "recovery" };
    err_t err;

    invariant(proc_self == NULL);
    memset(info, 0, sizeof *info);
    TRY_RETURN(proc_attach(PROC_STARTUP));
    op.arena = arena_create("recovery", RECOVERY_MEMORY);
    if (op.arena == NULL) {
        err = ERR_MEMORY;
        goto out;
    }
    TRY(recover_attached(config, &op, info));
out:
    arena_destroy(op.arena);
    proc_detach();
    return err;
}

err_t
engine_close(void)
{
    err_t err;

    TRY_RETURN(proc_attach(PROC_STARTUP));
    TRY(checkpoint_run(CHECKPOINT_FAST | CHECKPOINT_FINAL));
    TRY(wal_close());
out:
    proc_detach();
    return err;
}

void
engine_release(void)
{
    segment_destroy();
    let_go(&held);
}
