/*
 * page_fixture.h - a pool over a scratch folder, with a log that only counts.
 *
 * The counting log lets a test see what the pool asks of the log, and when.  What needs a real
 * one is in test_recovery.c.
 */
#ifndef TESTS_UNIT_STORAGE_PAGE_FIXTURE_H
#define TESTS_UNIT_STORAGE_PAGE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crit.h"
#include "base/log.h"
#include "shmem/lwlock.h"
#include "shmem/proc.h"
#include "shmem/segment.h"
#include "storage/page/datafile.h"
#include "storage/page/pool.h"
#include "wal/wal_flush.h"
#include "wal/wal_insert.h"

static struct fixture_log {
    _Atomic uint64_t position; /* end of the log */
    _Atomic uint64_t flushed;
    _Atomic uint64_t records;
} * fixture_log;

static char fixture_dir[64];
static uint32_t fixture_page_size = 8192;

err_t
wal_insert_reserve(size_t size)
{
    (void)size;
    return OK;
}

err_t
wal_insert_reserve_shrink(size_t size)
{
    (void)size;
    return OK;
}

void
wal_insert_begin(void)
{
}

void
wal_insert_data(const void *data, size_t size)
{
    (void)data, (void)size;
}

void
wal_insert_page(unsigned n, struct page_id id, const void *page, unsigned flags)
{
    (void)n, (void)id, (void)page, (void)flags;
}

void
wal_insert_page_data(unsigned n, const void *data, size_t size)
{
    (void)n, (void)data, (void)size;
}

lsn_t
wal_insert(enum wal_kind kind, xid_t xid)
{
    (void)kind, (void)xid;
    atomic_fetch_add(&fixture_log->records, 1);
    return atomic_fetch_add(&fixture_log->position, 64) + 64;
}

void
wal_flush(lsn_t lsn)
{
    uint64_t done = atomic_load(&fixture_log->flushed);

    assert_false(crit_active());
    while (done < lsn && !atomic_compare_exchange_weak(&fixture_log->flushed, &done, lsn))
        ;
}

lsn_t
wal_flush_done(void)
{
    return atomic_load(&fixture_log->flushed);
}

void
checkpoint_pace(uint64_t done, uint64_t all)
{
    assert_true(done <= all);
}

/* A pool of `pool_bytes` over an empty data directory; this process gets a slot. */
static inline void
fixture_open(int64_t pool_bytes)
{
    const struct region *const regions[] = { &proc_region, &datafile_region, &pool_region };
    struct config config = {
        .server_max_connections = 64, .server_spare_backends_max = 4, .shared_buffers = pool_bytes
    };
    const char *base = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";

    log_setup(LOG_FORMAT_TEXT, LOG_FATAL, 2);
    wal_page_size = fixture_page_size;
    fixture_log =
        mmap(NULL, sizeof *fixture_log, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(fixture_log != MAP_FAILED);
    (void)snprintf(fixture_dir, sizeof fixture_dir, "%.40s/gneiss-page-XXXXXX", base);
    assert_non_null(mkdtemp(fixture_dir));
    assert_int_equal(segment_create(regions, 3, &config, NULL), OK);
    lwlock_set_undo();
    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    assert_int_equal(datafile_make_dir(fixture_dir), OK);
    assert_int_equal(datafile_open_dir(fixture_dir), OK);
}

/* The same with empty shared memory: a start after a stop. */
static inline void
fixture_reopen(int64_t pool_bytes)
{
    const struct region *const regions[] = { &proc_region, &datafile_region, &pool_region };
    struct config config = {
        .server_max_connections = 64, .server_spare_backends_max = 4, .shared_buffers = pool_bytes
    };

    proc_detach();
    segment_destroy();
    assert_int_equal(segment_create(regions, 3, &config, NULL), OK);
    lwlock_set_undo();
    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    assert_int_equal(datafile_open_dir(fixture_dir), OK);
}

static inline void
fixture_close(void)
{
    char command[128];

    assert_true(ledger_empty());
    assert_true(lwlock_none_held());
    assert_int_equal(pool_pin_total(), 0);
    proc_detach();
    segment_destroy();
    assert_int_equal(munmap(fixture_log, sizeof *fixture_log), 0);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", fixture_dir);
    assert_int_equal(system(command), 0);
}

/* A new page of a kind, filled with a number. */
static inline err_t
fixture_change(buffer_t buffer, enum page_kind kind, uint64_t number, bool anew)
{
    uint64_t *words = pool_page(buffer);

    crit_begin();
    pool_change_begin(buffer);
    if (anew)
        page_init(words, kind, 0);
    for (size_t i = sizeof(struct page_header) / 8; i < wal_page_size / 8; i++)
        words[i] = number;
    wal_insert_begin();
    pool_log(0, buffer, anew ? WAL_PAGE_INIT : WAL_PAGE_PLAIN);
    pool_change_end(buffer, wal_insert(WAL_HEAP_INSERT, 1));
    crit_end();
    return OK;
}

static inline fileno_t
fixture_file(void)
{
    fileno_t file;

    assert_int_equal(datafile_next(&file), OK);
    assert_int_equal(datafile_create(file, 1), OK);
    return file;
}

/* Append `count` pages that hold first, first + 1, ... */
static inline void
fixture_fill(fileno_t file, block_t count, uint64_t first)
{
    for (block_t i = 0; i < count; i++) {
        buffer_t buffer;
        block_t block;

        assert_int_equal(pool_extend(file, POOL_NORMAL, &buffer, &block), OK);
        assert_int_equal(block, i);
        assert_int_equal(fixture_change(buffer, PAGE_HEAP, first + i, true), OK);
        pool_unlock(buffer);
        pool_unpin(buffer);
    }
}

/* The number that a page holds everywhere; UINT64_MAX: not the same everywhere. */
static inline uint64_t
fixture_number(const void *page)
{
    const uint64_t *words = page;

    for (size_t i = sizeof(struct page_header) / 8 + 1; i < wal_page_size / 8; i++)
        if (words[i] != words[i - 1])
            return UINT64_MAX;
    return words[sizeof(struct page_header) / 8];
}

#endif
