/*
 * test_recovery.c - pages and the real log: processes that are killed, and what recovery makes of
 * it.
 *
 * A child opens the data directory, recovers, compares every page with what was acknowledged (a
 * number a page, in memory that outlives the child), then changes pages, takes checkpoints, and is
 * killed at a random moment.  So does the next child.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/crit.h"
#include "base/fault.h"
#include "base/log.h"
#include "shmem/proc.h"
#include "shmem/segment.h"
#include "storage/page/datafile.h"
#include "storage/page/pool.h"
#include "storage/page/redo.h"
#include "wal/checkpoint.h"
#include "wal/wal.h"
#include "wal/wal_flush.h"
#include "wal/wal_insert.h"

#define PAGES 300 /* of 128 buffers */

struct body {
    uint64_t number;
};

static struct model {
    _Atomic uint64_t acknowledged[PAGES]; /* durable, or 0 */
    _Atomic uint64_t tried[PAGES];        /* the last number that may have been logged */
    _Atomic uint32_t file;
    _Atomic uint32_t opened; /* children that recovered and found everything right */
    _Atomic uint32_t checkpoints;
    _Atomic uint64_t replayed;
} * model;

static char dir[96];
static struct config *config;

static void
fill(void *page, uint64_t number, bool anew)
{
    uint64_t *words = page;

    if (anew)
        page_init(page, PAGE_HEAP, 0);
    for (size_t i = sizeof(struct page_header) / 8; i < wal_page_size / 8; i++)
        words[i] = number;
    /* No hole: the whole page is content. */
    ((struct page_header *)page)->lower = ((struct page_header *)page)->upper = 0;
}

static err_t
redo_fill(const struct wal_record *record)
{
    struct body body;
    enum redo_need need;
    buffer_t buffer;

    memcpy(&body, record->data.data, sizeof body);
    TRY_RETURN(redo_page(record, 0, &need, &buffer));
    if (need == REDO_CHANGE)
        fill(pool_page(buffer), body.number, (record->page[0].flags & WAL_PAGE_INIT) != 0);
    redo_done(record, need, buffer);
    return OK;
}

static struct wal_handler handlers[WAL_KIND_COUNT];

static void
change(buffer_t buffer, uint64_t number, bool anew)
{
    struct body body = { number };
    lsn_t lsn;

    crit_begin();
    pool_change_begin(buffer);
    fill(pool_page(buffer), number, anew);
    wal_insert_begin();
    wal_insert_data(&body, sizeof body);
    pool_log(0, buffer, anew ? WAL_PAGE_INIT : WAL_PAGE_PLAIN);
    lsn = wal_insert(WAL_HEAP_INSERT, 1);
    pool_change_end(buffer, lsn);
    crit_end();
}

static err_t
open_engine(struct wal_recovery *found)
{
    static const struct region *const regions[] = { &proc_region, &control_region, &wal_region,
        &datafile_region, &pool_region };
    static const struct checkpoint_part *const parts[] = { &pool_part, &datafile_part };
    struct control control;

    handlers[WAL_HEAP_INSERT].redo = redo_fill;
    handlers[WAL_FILE_CREATE] = datafile_handler_create;
    handlers[WAL_FILE_TRUNCATE] = datafile_handler_truncate;
    handlers[WAL_FILE_UNLINK] = datafile_handler_unlink;
    handlers[WAL_IMAGE] = pool_handler_image;
    TRY_RETURN(control_read(dir, &control));
    TRY_RETURN(segment_create(regions, 5, config, NULL));
    lwlock_set_undo();
    TRY_RETURN(proc_attach(PROC_EMBEDDED));
    checkpoint_set_parts(parts, 2);
    TRY_RETURN(datafile_open_dir(dir));
    return wal_open(config, dir, handlers, NULL, found);
}

/* Every page has a number between the acknowledged one and the last tried. */
static bool
compare(void)
{
    static uint8_t page[PAGE_SIZE_MAX];
    fileno_t file = atomic_load(&model->file);

    for (block_t i = 0; i < PAGES; i++) {
        uint64_t least = atomic_load(&model->acknowledged[i]);
        uint64_t most = atomic_load(&model->tried[i]);
        const uint64_t *words = (const uint64_t *)(const void *)page;

        if (least == 0)
            continue;
        if (pool_copy((struct page_id){ file, i }, POOL_NORMAL, page) != OK) {
            (void)fprintf(stderr, "page %u: %s\n", i, err_message());
            return false;
        }
        for (size_t w = sizeof(struct page_header) / 8; w < wal_page_size / 8; w++)
            if (words[w] < least || words[w] > most || words[w] != words[3]) {
                (void)fprintf(stderr, "page %u word %zu: %ju, not between %ju and %ju\n", i, w,
                    (uintmax_t)words[w], (uintmax_t)least, (uintmax_t)most);
                return false;
            }
    }
    return true;
}

static bool
make_pages(void)
{
    fileno_t file;

    if (datafile_next(&file) != OK || datafile_create(file, 1) != OK)
        return false;
    for (block_t i = 0; i < PAGES; i++) {
        buffer_t buffer;
        block_t block;

        if (wal_insert_reserve(100) != OK ||
            pool_extend(file, POOL_NORMAL, &buffer, &block) != OK || block != i)
            return false;
        change(buffer, 1, true);
        pool_unlock(buffer);
        pool_unpin(buffer);
        atomic_store(&model->tried[i], 1);
    }
    wal_flush(wal_insert_position());
    atomic_store(&model->file, file);
    for (block_t i = 0; i < PAGES; i++)
        atomic_store(&model->acknowledged[i], 1);
    return true;
}

static bool
change_one(uint32_t *seed)
{
    struct page_id id = { atomic_load(&model->file), 0 };
    uint64_t number;
    buffer_t buffer;

    *seed = *seed * 1664525 + 1013904223;
    id.block = (*seed >> 8) % PAGES;
    number = atomic_load(&model->tried[id.block]) + 1;
    if (wal_insert_reserve(100) != OK || pool_pin(id, POOL_NORMAL, &buffer) != OK)
        return false;
    pool_lock(buffer, LW_EXCLUSIVE);
    atomic_store(&model->tried[id.block], number);
    change(buffer, number, false);
    pool_unlock(buffer);
    pool_unpin(buffer);
    if (*seed >> 28 == 0) {
        wal_flush(wal_insert_position());
        atomic_store(&model->acknowledged[id.block], number);
    }
    return true;
}

static _Noreturn void
live(uint32_t seed, const char *faults)
{
    struct wal_recovery found;
    bool right;

#ifdef GNEISS_FAULTS
    /* What the last child was armed with and did not reach is in memory that children share. */
    if (!fault_arm("data_write=off,data_sync=off,control_write=off,control_sync=off,"
                   "data_extend=off,data_read=off"))
        _exit(3);
#endif
    right = open_engine(&found) == OK;
    if (!right)
        (void)fprintf(stderr, "could not recover: %s\n", err_message());
    right = right && compare();
    if (!right)
        _exit(1);
    atomic_fetch_add(&model->opened, 1);
    atomic_fetch_add(&model->replayed, found.records);
#ifdef GNEISS_FAULTS
    if (faults != NULL && !fault_arm(faults))
        _exit(3);
#else
    (void)faults;
#endif
    if (atomic_load(&model->file) == 0)
        right = make_pages();
    for (uint32_t turn = 0; right; turn++) {
        right = change_one(&seed);
        if (right && turn % 500 == 499 && checkpoint_run(CHECKPOINT_FAST) == OK)
            atomic_fetch_add(&model->checkpoints, 1);
    }
    (void)fprintf(stderr, "could not go on: %s\n", err_message());
    _exit(1);
}

static void
begin(void)
{
    const char *base = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";

    log_setup(LOG_FORMAT_TEXT, LOG_FATAL, -1);
    model = mmap(NULL, sizeof *model, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(model != MAP_FAILED);
    (void)snprintf(dir, sizeof dir, "%.60s/gneiss-recovery-XXXXXX", base);
    assert_non_null(mkdtemp(dir));
    config = config_create();
    assert_non_null(config);
    config->server_max_connections = 8;
    config->shared_buffers = 1 << 20;
    assert_int_equal(control_create(dir, 8192), OK);
    assert_int_equal(wal_create(dir), OK);
    assert_int_equal(datafile_make_dir(dir), OK);
}

static void
end(void)
{
    char command[160];

    config_destroy(config);
    (void)munmap(model, sizeof *model);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

/* One life; ended by SIGKILL, ours or a fault point's. */
static void
live_and_die(uint32_t seed, unsigned life_us, const char *faults)
{
    uint32_t before = atomic_load(&model->opened);
    pid_t pid = fork();
    pid_t dead = 0;
    int status = 0;

    assert_true(pid >= 0);
    if (pid == 0)
        live(seed, faults);
    for (int i = 0; i < 5000 && atomic_load(&model->opened) == before; i++) {
        usleep(1000);
        if ((dead = waitpid(pid, &status, WNOHANG)) == pid)
            break;
    }
    if (dead != pid) {
        usleep(life_us);
        (void)kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
    }
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(atomic_load(&model->opened), before + 1);
}

static void
nothing_acknowledged_is_lost_by_kills(void **state)
{
    (void)state;
    begin();
    for (uint32_t i = 0; i < 12; i++)
        live_and_die(i * 77 + 1, 20000 + i * 7919 % 60000, NULL);
    for (uint32_t i = 0; i < 7 && atomic_load(&model->checkpoints) == 0; i++)
        live_and_die(i * 55 + 1, 100000u << i, NULL);
    assert_true(atomic_load(&model->file) != 0);
    assert_true(atomic_load(&model->checkpoints) > 0);
    assert_true(atomic_load(&model->replayed) > 0);
    end();
}

#ifdef GNEISS_FAULTS
static void
kills_at_every_step_of_a_checkpoint_lose_nothing(void **state)
{
    static const char *const faults[] = { "data_write=kill:1", "data_write=kill:60",
        "data_write=torn:1", "data_write=torn:40", "data_write=torn:100", "data_sync=kill:1",
        "data_sync=kill:2", "control_write=kill:1", "control_sync=kill:1", "data_extend=kill:1",
        "data_read=kill:20" };

    (void)state;
    begin();
    /* A slow machine needs more than one life for a checkpoint. */
    for (uint32_t i = 0; i < 7 && atomic_load(&model->checkpoints) == 0; i++)
        live_and_die(200 + i, 100000u << i, NULL);
    for (uint32_t i = 0; i < sizeof faults / sizeof *faults; i++)
        live_and_die(i + 2, 80000, faults[i]);
    live_and_die(99, 1000, NULL);
    assert_true(atomic_load(&model->checkpoints) > 0);
    end();
}
#endif

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_acknowledged_is_lost_by_kills),
#ifdef GNEISS_FAULTS
        cmocka_unit_test(kills_at_every_step_of_a_checkpoint_lose_nothing),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
