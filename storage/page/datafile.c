/*
 * datafile.c - the files that hold pages.
 *
 * Shared memory keeps one small entry for each file in use, in an open-addressed table that is
 * read without a lock:
 *
 *      file   its number; 0: never used; REMOVED: may be used again
 *      blocks how many pages the file has (its size)
 *      next   the first page not yet handed out by datafile_hand_out
 *      sync   SYNC_WANTED: written since it was last synced; SYNC_GOING: being synced
 *
 * A file grows in steps, by allocated zeroes, so that a full disk is told before a page is
 * handed out.
 *
 * INVARIANTS
 *   D1  `blocks` of an entry is never more than the file has: raised after it grew, lowered
 *       before it is cut.
 *   D2  A page at or beyond `next` has never been changed, except by redo or by someone who
 *       found it zeroed; who is handed one looks whether it is still zero (pool_extend).
 *   D3  A file whose bytes were written has SYNC_WANTED before the write is taken as done, or
 *       was synced by its writer (no entry: the table is full).
 *   D4  A failed sync, of a file or of a folder, is a panic: the kernel may have dropped the
 *       pages, and would say OK next time.
 *   D5  A number is given once: `next_number` is noted by checkpoints, and raised by the redo
 *       of WAL_FILE_CREATE.  A number lost in between belongs to a file that no log record
 *       names; making it anew empties it.
 *
 * IF A PROCESS DIES
 *   while growing: the file may be longer than its entry says (D1 allows it); the next who
 *       grows it finds zeroes there.
 *   while syncing: SYNC_GOING stays, and the next checkpoint takes it as wanted.
 *   while adding an entry or removing one: the number is stored last (added) or first
 *       (removed), so there is a whole entry or none.
 *   between the log record of a cut and the cut: the caller's pages beyond are empty either
 *       way; recovery cuts, or the next vacuum does.
 */
#include "storage/page/datafile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crit.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/panic.h"
#include "shmem/lwlock.h"
#include "storage/page/filecache.h"
#include "storage/page/page.h"
#include "storage/page/pool.h"
#include "wal/wal_flush.h"
#include "wal/wal_insert.h"

#define ENTRIES  32768u /* files in use at once that are cached here; more are served slower */
#define PROBES   64u    /* entries looked at for one file */
#define REMOVED  UINT32_MAX
#define STRIPES  16u
#define STEP_MIN ((uint64_t)64 << 10)
#define STEP_MAX ((uint64_t)1 << 20)

enum { SYNC_NONE, SYNC_WANTED, SYNC_GOING };

struct entry {
    _Atomic uint32_t file;   /* guard: `table`; read by anyone */
    _Atomic uint32_t blocks; /* guard: the file's `grow` lock; read by anyone */
    _Atomic uint32_t next;   /* guard: none, compare and swap */
    _Atomic uint32_t sync;   /* guard: none; SYNC_GOING is the checkpointer's */
};
_Static_assert(sizeof(struct entry) == 16, "four to a cache line");

struct stripe {
    struct lwlock lock;
    char pad[48];
};
_Static_assert(sizeof(struct stripe) == 64, "a cache line each");

struct datafile_shared {
    struct stripe grow[STRIPES]; /* const after init, but for the locks */
    struct stripe table;
    _Atomic uint32_t next_number; /* guard: none, only raised */
    uint32_t pad[15];
    struct entry entries[ENTRIES];
};

struct create_record {
    fileno_t file;
};

struct cut_record {
    fileno_t file;
    block_t count;
};

static struct datafile_shared *shared;

static size_t
region_size(const struct config *config)
{
    (void)config;
    return sizeof(struct datafile_shared);
}

static void
region_init(void *zeroed, const struct config *config)
{
    (void)config;
    shared = zeroed;
    /* Growing is done under page locks (a tree splits), so its rank lies above theirs. */
    for (unsigned i = 0; i < STRIPES; i++)
        lwlock_init(&shared->grow[i].lock, RANK_POOL_IO);
    lwlock_init(&shared->table.lock, RANK_DATAFILE);
    atomic_init(&shared->next_number, DATAFILE_FIRST);
    filecache_clear(); /* another data directory may be opened now */
}

const struct region datafile_region = { "data files", region_size, region_init };

/* ---- entries ---- */

static uint32_t
home_of(fileno_t file)
{
    return (uint32_t)hash_u64(file) & (ENTRIES - 1);
}

static struct lwlock *
grow_lock(fileno_t file)
{
    return &shared->grow[home_of(file) % STRIPES].lock;
}

static struct entry *
look_up(fileno_t file)
{
    uint32_t home = home_of(file);

    for (uint32_t i = 0; i < PROBES; i++) {
        struct entry *entry = &shared->entries[(home + i) & (ENTRIES - 1)];
        uint32_t there = atomic_load_explicit(&entry->file, memory_order_acquire);

        if (there == file)
            return entry;
        if (there == 0)
            return NULL;
    }
    return NULL;
}

/* Put a file in, under `table`.  NULL: no room near its home. */
static struct entry *
add_entry(fileno_t file, block_t blocks, block_t next)
{
    struct entry *entry = look_up(file);
    uint32_t home = home_of(file);

    if (entry != NULL)
        return entry;
    for (uint32_t i = 0; i < PROBES; i++) {
        uint32_t there;

        entry = &shared->entries[(home + i) & (ENTRIES - 1)];
        there = atomic_load_explicit(&entry->file, memory_order_relaxed);
        if (there != 0 && there != REMOVED)
            continue;
        atomic_store_explicit(&entry->blocks, blocks, memory_order_relaxed);
        atomic_store_explicit(&entry->next, next, memory_order_relaxed);
        atomic_store_explicit(&entry->sync, SYNC_NONE, memory_order_relaxed);
        atomic_store_explicit(&entry->file, file, memory_order_release);
        return entry;
    }
    return NULL;
}

static void
drop_entry(fileno_t file)
{
    struct entry *entry;

    lwlock_acquire(&shared->table.lock, LW_EXCLUSIVE);
    entry = look_up(file);
    if (entry != NULL)
        atomic_store_explicit(&entry->file, REMOVED, memory_order_release);
    lwlock_release(&shared->table.lock);
}

/* The first page behind the last that is not zero: only the tail that growing may have left is
   looked at, and who is handed a page looks again (D2). */
static err_t
find_tail(fileno_t file, block_t blocks, block_t *next)
{
    block_t least =
        blocks > STEP_MAX / wal_page_size ? blocks - (block_t)(STEP_MAX / wal_page_size) : 0;
    _Alignas(64) uint8_t page[PAGE_SIZE_MAX];

    for (*next = blocks; *next > least; (*next)--) {
        struct page_id id = { file, *next - 1 };

        TRY_RETURN(datafile_read(id, page));
        if (((const struct page_header *)(const void *)page)->kind != PAGE_ZERO ||
            !page_valid(page, id))
            break;
    }
    return OK;
}

/* Size of the file in whole pages.  Errors: ERR_IO: there is none. */
static err_t
measure(fileno_t file, block_t *blocks)
{
    struct filecache_use use;
    uint64_t size;
    err_t err;

    TRY_RETURN(filecache_acquire(file, &use));
    err = file_size(use.fd, use.path, &size);
    filecache_release(&use);
    if (err == OK)
        *blocks = (block_t)(size / wal_page_size);
    return err;
}

/* The file's entry, made if need be; *entry NULL: the table is full. */
static err_t
find_entry(fileno_t file, struct entry **entry)
{
    block_t blocks;
    block_t next;
    err_t err;

    *entry = look_up(file);
    if (*entry != NULL)
        return OK;
    lwlock_acquire(grow_lock(file), LW_EXCLUSIVE); /* so that it does not grow meanwhile */
    TRY(measure(file, &blocks));
    TRY(find_tail(file, blocks, &next));
    lwlock_acquire(&shared->table.lock, LW_EXCLUSIVE);
    *entry = add_entry(file, blocks, next);
    lwlock_release(&shared->table.lock);
out:
    lwlock_release(grow_lock(file));
    return err;
}

err_t
datafile_open_dir(const char *data_dir)
{
    return filecache_set_dir(data_dir);
}

err_t
datafile_make_dir(const char *data_dir)
{
    char path[PATH_MAX];
    bool made;
    int length = snprintf(path, sizeof path, "%s/data", data_dir);

    if (length < 0 || (size_t)length + 4 >= sizeof path)
        return err_set(ERR_IO, "could not make the folder %s/data: the path is too long", data_dir);
    TRY_RETURN(file_make_dir(path, 0700, &made));
    for (unsigned i = 0; i < 256; i++) {
        (void)snprintf(path + length, sizeof path - (size_t)length, "/%02x", i);
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return err_set_errno("could not make the folder %s", path);
    }
    path[length] = '\0';
    return file_sync_dir(path);
}

/* ---- making and removing ---- */

static void
raise_next_number(uint64_t least)
{
    uint32_t next = atomic_load(&shared->next_number);

    while (
        next < least && !atomic_compare_exchange_weak(&shared->next_number, &next, (uint32_t)least))
        ;
}

err_t
datafile_next(fileno_t *file)
{
    uint32_t next = atomic_load(&shared->next_number);

    do {
        if (next == REMOVED)
            return err_set(ERR_TOO_MANY, "could not make a data file: no numbers are left");
    } while (!atomic_compare_exchange_weak(&shared->next_number, &next, next + 1));
    *file = next;
    return OK;
}

static void __attribute__((noreturn)) give_up(void)
{
    log_fatal("%s", err_message());
    panic(__FILE__, __LINE__, err_message());
}

/* D4.  The folder has names of other files, too, that somebody may just have been told of. */
static void
sync_folder_of(fileno_t file)
{
    char path[FILECACHE_PATH_MAX];

    filecache_folder(file, path);
    if (file_sync_dir(path) != OK)
        give_up();
}

/* An empty file, whatever was there; its folder is synced, so that its name is durable. */
static err_t
make_file(fileno_t file)
{
    char path[FILECACHE_PATH_MAX];
    int fd;

    filecache_path(file, path);
    TRY_RETURN(file_open(path, O_RDWR | O_CREAT | O_TRUNC, 0600, &fd, NULL));
    file_close(fd);
    (void)fault_pass(FAULT_DATA_MADE);
    sync_folder_of(file);
    return OK;
}

err_t
datafile_create(fileno_t file, xid_t xid)
{
    struct create_record record = { file };
    struct entry *entry;

    /* Logged first: a file that the log does not know would be found by nobody but the search for
       files without an owner. */
    TRY_RETURN(wal_insert_reserve(sizeof record));
    crit_begin();
    wal_insert_begin();
    wal_insert_data(&record, sizeof record);
    (void)wal_insert(WAL_FILE_CREATE, xid);
    crit_end();
    (void)fault_pass(FAULT_DATA_LOGGED);
    drop_entry(file); /* of a file of this number that was found on disk, and is emptied now */
    TRY_RETURN(make_file(file));
    return find_entry(file, &entry);
}

err_t
datafile_unlink(fileno_t file)
{
    char path[FILECACHE_PATH_MAX];
    bool found;
    int fd;

    pool_forget(file, 0);
    drop_entry(file);
    filecache_path(file, path);
    TRY_RETURN(file_open(path, O_RDWR, 0, &fd, &found));
    if (!found)
        return OK;
    /* Idle processes may have it open still: its space is given back all the same. */
    (void)!ftruncate(fd, 0);
    file_close(fd);
    (void)fault_pass(FAULT_DATA_EMPTIED);
    TRY_RETURN(file_unlink(path, &found, FAULT_DATA_UNLINK));
    filecache_unlinked(file);
    sync_folder_of(file);
    return OK;
}

err_t
datafile_remove(fileno_t file)
{
    TRY_RETURN(wal_insert_reserve_shrink(sizeof file));
    crit_begin();
    wal_insert_begin();
    wal_insert_data(&file, sizeof file);
    (void)wal_insert(WAL_FILE_UNLINK, 0);
    crit_end();
    return datafile_unlink(file);
}

bool
datafile_exists(fileno_t file)
{
    char path[FILECACHE_PATH_MAX];

    if (look_up(file) != NULL)
        return true;
    filecache_path(file, path);
    return access(path, F_OK) == 0;
}

err_t
datafile_blocks(fileno_t file, block_t *count)
{
    struct entry *entry;

    TRY_RETURN(find_entry(file, &entry));
    if (entry == NULL)
        return measure(file, count);
    *count = atomic_load_explicit(&entry->blocks, memory_order_acquire);
    return OK;
}

/* Pages to grow by: an eighth of what is there, between 64 KiB and 1 MiB. */
static block_t
step_for(block_t blocks)
{
    uint64_t step = (uint64_t)blocks * wal_page_size / 8;

    step = step < STEP_MIN ? STEP_MIN : step > STEP_MAX ? STEP_MAX : step;
    return (block_t)(step / wal_page_size);
}

static void
want_sync(fileno_t file, struct entry *entry, struct filecache_use *use)
{
    if (entry == NULL)
        entry = look_up(file);
    if (entry != NULL) {
        /* SYNC_GOING is overwritten too: what is written now may come after that sync. */
        if (atomic_load_explicit(&entry->sync, memory_order_seq_cst) != SYNC_WANTED)
            atomic_store_explicit(&entry->sync, SYNC_WANTED, memory_order_seq_cst);
        return;
    }
    if (file_sync(use->fd, use->path, FAULT_DATA_SYNC) != OK)
        give_up(); /* D4 */
}

/* Make the file `count` pages long; the grow lock is held. */
static err_t
grow_file(fileno_t file, block_t blocks, block_t count)
{
    struct filecache_use use;
    err_t err;

    TRY_RETURN(filecache_acquire(file, &use));
    err = file_allocate(use.fd, use.path, (uint64_t)blocks * wal_page_size,
        (uint64_t)(count - blocks) * wal_page_size, FAULT_DATA_EXTEND);
    if (err == OK)
        want_sync(file, NULL, &use);
    filecache_release(&use);
    return err;
}

/* Grow to at least `count`, and a step further if there is room. */
static err_t
grow(fileno_t file, struct entry *entry, block_t count, bool steps)
{
    block_t blocks;
    block_t target;
    err_t err = OK;

    lwlock_acquire(grow_lock(file), LW_EXCLUSIVE);
    if (entry != NULL)
        blocks = atomic_load_explicit(&entry->blocks, memory_order_relaxed);
    else
        TRY(measure(file, &blocks));
    if (blocks >= count)
        goto out;
    target = count;
    if (steps && entry != NULL && count - blocks < step_for(blocks) &&
        blocks < BLOCK_NONE - step_for(blocks))
        target = blocks + step_for(blocks);
    err = grow_file(file, blocks, target);
    if (err == ERR_DISK_FULL && target > count) {
        target = count;
        err = grow_file(file, blocks, target);
    }
    (void)fault_pass(FAULT_DATA_EXTENDED);
    if (err == OK && entry != NULL)
        atomic_store_explicit(&entry->blocks, target, memory_order_release); /* D1 */
out:
    lwlock_release(grow_lock(file));
    return err;
}

err_t
datafile_extend(fileno_t file, block_t count)
{
    struct entry *entry;
    uint32_t next;

    TRY_RETURN(find_entry(file, &entry));
    if (entry == NULL || atomic_load_explicit(&entry->blocks, memory_order_acquire) < count)
        TRY_RETURN(grow(file, entry, count, true));
    if (entry == NULL)
        return OK;
    /* Whoever asked for these pages uses them: they are handed out. */
    next = atomic_load_explicit(&entry->next, memory_order_relaxed);
    while (next < count && !atomic_compare_exchange_weak(&entry->next, &next, count))
        ;
    return OK;
}

err_t
datafile_hand_out(fileno_t file, block_t *block)
{
    struct entry *entry;
    uint32_t next;

    TRY_RETURN(find_entry(file, &entry));
    if (entry == NULL) {
        TRY_RETURN(measure(file, block));
        if (*block >= BLOCK_NONE - 1)
            return err_set(ERR_TOO_LARGE, "could not extend data file %08x: it is full", file);
        return grow(file, NULL, *block + 1, false);
    }
    next = atomic_load_explicit(&entry->next, memory_order_relaxed);
    for (;;) {
        if (next >= BLOCK_NONE - 1)
            return err_set(ERR_TOO_LARGE, "could not extend data file %08x: it is full", file);
        if (next >= atomic_load_explicit(&entry->blocks, memory_order_acquire))
            TRY_RETURN(grow(file, entry, next + 1, true));
        if (atomic_compare_exchange_weak(&entry->next, &next, next + 1))
            break;
    }
    *block = next;
    return OK;
}

void
datafile_take_back(fileno_t file, block_t block)
{
    struct entry *entry = look_up(file);
    uint32_t next = block + 1;

    if (entry != NULL)
        (void)atomic_compare_exchange_strong(&entry->next, &next, block);
}

/* Make the file `count` pages long if it is longer; the log already says so. */
static err_t
cut_file(fileno_t file, block_t count)
{
    struct filecache_use use;
    struct entry *entry;
    block_t blocks;
    err_t err;

    pool_forget(file, count);
    TRY_RETURN(find_entry(file, &entry));
    lwlock_acquire(grow_lock(file), LW_EXCLUSIVE);
    TRY(measure(file, &blocks));
    if (blocks <= count)
        goto out;
    if (entry != NULL) {
        atomic_store_explicit(&entry->next, count, memory_order_relaxed);
        atomic_store_explicit(&entry->blocks, count, memory_order_release); /* D1: lower first */
    }
    TRY(filecache_acquire(file, &use));
    err = file_truncate(use.fd, use.path, (uint64_t)count * wal_page_size, FAULT_DATA_TRUNCATE);
    if (err == OK)
        want_sync(file, entry, &use);
    filecache_release(&use);
out:
    lwlock_release(grow_lock(file));
    return err;
}

err_t
datafile_cut(fileno_t file, block_t count, xid_t xid)
{
    struct cut_record record = { file, count };
    block_t blocks;
    lsn_t lsn;

    TRY_RETURN(datafile_blocks(file, &blocks));
    if (blocks <= count)
        return OK;
    TRY_RETURN(wal_insert_reserve_shrink(sizeof record));
    crit_begin();
    wal_insert_begin();
    wal_insert_data(&record, sizeof record);
    lsn = wal_insert(WAL_FILE_TRUNCATE, xid);
    crit_end();
    wal_flush(lsn);
    if (cut_file(file, count) != OK) {
        /* The pages are forgotten and their older forms still in the file: only recovery, which
           cuts it again, may go on from here. */
        give_up();
    }
    return OK;
}

err_t
datafile_read(struct page_id id, void *page)
{
    struct filecache_use use;
    size_t got;
    err_t err;

    TRY_RETURN(filecache_acquire(id.file, &use));
    err = file_read(use.fd, use.path, page, wal_page_size, (uint64_t)id.block * wal_page_size, &got,
        FAULT_DATA_READ);
    if (err == ERR_IO) {
        char why[256];

        (void)snprintf(why, sizeof why, "%s", err_message());
        err = err_set(
            ERR_IO, "could not read block %u of data file %08x: %s", id.block, id.file, why);
    }
    if (err == OK && got < wal_page_size)
        err = err_set(ERR_CORRUPT,
            "could not read block %u of data file %08x (%s): it is beyond the end", id.block,
            id.file, use.path);
    filecache_release(&use);
    return err;
}

err_t
datafile_write(struct page_id id, const void *page)
{
    struct filecache_use use;
    err_t err;

    TRY_RETURN(filecache_acquire(id.file, &use));
    err = file_write(use.fd, use.path, page, wal_page_size, (uint64_t)id.block * wal_page_size,
        FAULT_DATA_WRITE);
    if (err == OK)
        want_sync(id.file, NULL, &use);
    filecache_release(&use);
    return err;
}

void
datafile_will_need(struct page_id id)
{
    struct filecache_use use;

    if (filecache_acquire(id.file, &use) != OK)
        return;
    (void)posix_fadvise(
        use.fd, (off_t)((uint64_t)id.block * wal_page_size), wal_page_size, POSIX_FADV_WILLNEED);
    filecache_release(&use);
}

/* ---- checkpoint ---- */

static void
note_numbers(uint64_t numbers[CONTROL_NUMBER_COUNT])
{
    numbers[CONTROL_NEXT_FILENO] = atomic_load(&shared->next_number);
}

static void
restore_numbers(const uint64_t numbers[CONTROL_NUMBER_COUNT])
{
    raise_next_number(numbers[CONTROL_NEXT_FILENO]);
}

static err_t
sync_entry(struct entry *entry, fileno_t file)
{
    struct filecache_use use;
    uint32_t going = SYNC_GOING;
    err_t err;

    atomic_store_explicit(&entry->sync, SYNC_GOING, memory_order_seq_cst);
    err = filecache_acquire(file, &use);
    if (err != OK) {
        /* Removed while we looked: nothing is left to be synced. */
        return atomic_load(&entry->file) != file ? OK : err;
    }
    (void)fault_pass(FAULT_CHECKPOINT_SYNCING);
    err = file_sync(use.fd, use.path, FAULT_DATA_SYNC);
    filecache_release(&use);
    if (err != OK)
        give_up(); /* D4 */
    /* The entry may have become another file's, whose wish SYNC_GOING then wrote over. */
    (void)atomic_compare_exchange_strong(
        &entry->sync, &going, atomic_load(&entry->file) == file ? SYNC_NONE : SYNC_WANTED);
    return OK;
}

/* Sync every file that was written; the pool has been flushed before. */
static err_t
flush_files(void)
{
    for (uint32_t i = 0; i < ENTRIES; i++) {
        struct entry *entry = &shared->entries[i];
        fileno_t file = atomic_load_explicit(&entry->file, memory_order_acquire);

        if (file == 0 || file == REMOVED ||
            atomic_load_explicit(&entry->sync, memory_order_seq_cst) == SYNC_NONE)
            continue;
        TRY_RETURN(sync_entry(entry, file));
    }
    return OK;
}

const struct checkpoint_part datafile_part = { "data files", note_numbers, restore_numbers,
    flush_files };

/* ---- redo ---- */

static err_t
bad_record(const struct wal_record *record)
{
    return err_set(ERR_CORRUPT, "could not understand the log record %s at %ju: %zu bytes",
        wal_record_kind_name(record->kind), (uintmax_t)record->start, record->data.size);
}

static err_t
take_body(const struct wal_record *record, void *body, size_t size)
{
    if (record->data.size != size)
        return bad_record(record);
    memcpy(body, record->data.data, size);
    return OK;
}

static err_t
redo_create(const struct wal_record *record)
{
    struct create_record body = { 0 };

    TRY_RETURN(take_body(record, &body, sizeof body));
    raise_next_number((uint64_t)body.file + 1);
    return datafile_exists(body.file) ? OK : make_file(body.file);
}

static err_t
describe_create(const struct wal_record *record, struct buf *text)
{
    struct create_record body = { 0 };

    TRY_RETURN(take_body(record, &body, sizeof body));
    return buf_printf(text, "file %08x", body.file);
}

static err_t
redo_unlink(const struct wal_record *record)
{
    fileno_t file;

    if (record->data.size % sizeof file != 0)
        return bad_record(record);
    for (size_t at = 0; at < record->data.size; at += sizeof file) {
        memcpy(&file, record->data.data + at, sizeof file);
        TRY_RETURN(datafile_unlink(file));
    }
    return OK;
}

static err_t
describe_unlink(const struct wal_record *record, struct buf *text)
{
    fileno_t file;

    if (record->data.size % sizeof file != 0)
        return bad_record(record);
    TRY_RETURN(buf_append_text(text, "files"));
    for (size_t at = 0; at < record->data.size; at += sizeof file) {
        memcpy(&file, record->data.data + at, sizeof file);
        TRY_RETURN(buf_printf(text, " %08x", file));
    }
    return OK;
}

static err_t
redo_truncate(const struct wal_record *record)
{
    struct cut_record body = { 0 };

    TRY_RETURN(take_body(record, &body, sizeof body));
    return datafile_exists(body.file) ? cut_file(body.file, body.count) : OK;
}

static err_t
describe_truncate(const struct wal_record *record, struct buf *text)
{
    struct cut_record body = { 0 };

    TRY_RETURN(take_body(record, &body, sizeof body));
    return buf_printf(text, "file %08x cut to %u pages", body.file, body.count);
}

const struct wal_handler datafile_handler_create = { redo_create, describe_create, NULL };
const struct wal_handler datafile_handler_unlink = { redo_unlink, describe_unlink, NULL };
const struct wal_handler datafile_handler_truncate = { redo_truncate, describe_truncate, NULL };
