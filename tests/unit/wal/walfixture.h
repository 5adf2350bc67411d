/*
 * walfixture.h - a data directory with a log, for the tests of this room.
 */
#ifndef TESTS_WALFIXTURE_H
#define TESTS_WALFIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/config.h"
#include "base/crit.h"
#include "base/log.h"
#include "base/panic.h"
#include "base/rand.h"
#include "shmem/proc.h"
#include "shmem/segment.h"
#include "wal/checkpoint.h"
#include "wal/wal.h"
#include "wal/wal_flush.h"
#include "wal/wal_format.h"
#include "wal/wal_insert.h"
#include "wal/wal_page.h"
#include "wal/wal_reader.h"
#include "wal/wal_segment.h"

/* How the library and the postmaster order the regions. */
static const struct region *const fixture_regions[] = { &proc_region, &control_region,
    &wal_region };

static struct config *fixture_config;
static char fixture_dir[256];
static struct wal_recovery fixture_found;

/* What recovery replayed: xids of WAL_NUMBERS records, in order. */
static uint64_t fixture_replayed[1 << 22];
static size_t fixture_replayed_count;

static err_t
fixture_redo(const struct wal_record *record)
{
    invariant(fixture_replayed_count < sizeof fixture_replayed / sizeof *fixture_replayed);
    fixture_replayed[fixture_replayed_count++] = record->xid;
    return OK;
}

static struct wal_handler fixture_handlers[WAL_KIND_COUNT] = {
    [WAL_NUMBERS] = { .redo = fixture_redo },
};

static inline void
fixture_segment(void)
{
    assert_int_equal(segment_create(fixture_regions,
                         sizeof fixture_regions / sizeof *fixture_regions, fixture_config, NULL),
        OK);
    assert_int_equal(proc_attach(PROC_EMBEDDED), OK);
}

/* Open the log of the present directory; recovery's answer. */
static inline err_t
fixture_try_open(void)
{
    fixture_segment();
    fixture_replayed_count = 0;
    return wal_open(fixture_config, fixture_dir, fixture_handlers, NULL, &fixture_found);
}

static inline void
fixture_open(void)
{
    err_t err = fixture_try_open();

    if (err != OK)
        fail_msg("wal_open: %s", err_message());
}

/* Forget everything in memory, as if all processes had been killed. */
static inline void
fixture_crash(void)
{
    wal_flush_close();
    proc_detach();
    segment_destroy();
}

static inline void
fixture_make_dir(void)
{
    const char *tmp = getenv("TMPDIR");

    log_setup(LOG_FORMAT_TEXT, LOG_FATAL, getenv("TEST_LOG") != NULL ? 2 : -1);
    (void)snprintf(
        fixture_dir, sizeof fixture_dir, "%s/gneiss-wal-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(fixture_dir));
    if (fixture_config == NULL)
        fixture_config = config_create();
    assert_non_null(fixture_config);
    fixture_config->server_max_connections = 64;
    assert_int_equal(control_create(fixture_dir, 8192), OK);
    assert_int_equal(wal_create(fixture_dir), OK);
}

static int
fixture_remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

static inline int
fixture_setup(void **state)
{
    (void)state;
    fixture_make_dir();
    fixture_open();
    return 0;
}

static inline int
fixture_teardown(void **state)
{
    (void)state;
    if (proc_self != NULL)
        fixture_crash();
    (void)nftw(fixture_dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    config_destroy(fixture_config);
    fixture_config = NULL;
    return 0;
}

/* A record with `size` bytes made from its xid. */
static inline lsn_t
fixture_insert(uint64_t xid, size_t size)
{
    static _Thread_local uint8_t data[WAL_RECORD_MAX];
    lsn_t end;

    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(xid * 31 + i * 7);
    assert_int_equal(wal_insert_reserve(size + 64), OK);
    crit_begin();
    wal_insert_begin();
    wal_insert_data(data, size);
    end = wal_insert(WAL_NUMBERS, xid);
    crit_end();
    return end;
}

static inline bool
fixture_is_whole(const struct wal_record *record)
{
    for (size_t i = 0; i < record->data.size; i++)
        if (record->data.data[i] != (uint8_t)(record->xid * 31 + i * 7))
            return false;
    return true;
}

static inline void
fixture_wal_folder(char folder[WAL_SEGMENT_PATH_MAX])
{
    assert_int_equal(wal_segment_folder(fixture_dir, folder), OK);
}

/* Change bytes of the log's files. */
static inline void
fixture_poke(lsn_t lsn, const void *bytes, size_t size)
{
    char folder[WAL_SEGMENT_PATH_MAX];
    bool found;
    int fd;

    fixture_wal_folder(folder);
    assert_int_equal(wal_segment_open(folder, wal_format_segment_of(lsn), true, &fd, &found), OK);
    assert_int_equal(pwrite(fd, bytes, size, (off_t)wal_format_offset(lsn)), (ssize_t)size);
    (void)close(fd);
}

static inline void
fixture_peek(lsn_t lsn, void *bytes, size_t size)
{
    char folder[WAL_SEGMENT_PATH_MAX];
    bool found;
    int fd;

    fixture_wal_folder(folder);
    assert_int_equal(wal_segment_open(folder, wal_format_segment_of(lsn), true, &fd, &found), OK);
    assert_int_equal(pread(fd, bytes, size, (off_t)wal_format_offset(lsn)), (ssize_t)size);
    (void)close(fd);
}

static inline void
fixture_forget_hint(void)
{
    char path[512];

    (void)snprintf(path, sizeof path, "%s/wal/flushed", fixture_dir);
    (void)unlink(path);
}

#endif
