/*
 * heapfixture.h - a data directory with log, pool and transactions, and one heap in it.
 */
#ifndef TESTS_UNIT_STORAGE_HEAP_HEAPFIXTURE_H
#define TESTS_UNIT_STORAGE_HEAP_HEAPFIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/log.h"
#include "shmem/ledger.h"
#include "shmem/lwlock.h"
#include "shmem/proc.h"
#include "shmem/segment.h"
#include "storage/heap/heap.h"
#include "storage/heap/visible.h"
#include "storage/page/datafile.h"
#include "storage/page/pool.h"
#include "storage/txn/txn.h"
#include "wal/checkpoint.h"
#include "wal/wal.h"
#include "wal/wal_flush.h"
#include "wal/wal_reader.h"

static const struct region *const fixture_regions[] = { &proc_region, &control_region, &wal_region,
    &datafile_region, &pool_region, &txn_region, &visible_region };
static const struct checkpoint_part *const fixture_parts[] = { &txn_part, &pool_part,
    &datafile_part };

static struct config *fixture_config;
static char fixture_dir[128];
static struct heap fixture_heap;
static struct wal_recovery fixture_found;
static struct wal_handler fixture_handlers[WAL_KIND_COUNT];
static uint32_t fixture_page_size = 8192; /* of directories made by fixture_setup */

#define OKAY(call)                                    \
    do {                                              \
        if ((call) != OK)                             \
            fail_msg("%s: %s", #call, err_message()); \
    } while (0)

static inline void
fixture_fill_handlers(void)
{
    fixture_handlers[WAL_IMAGE] = pool_handler_image;
    fixture_handlers[WAL_FILE_CREATE] = datafile_handler_create;
    fixture_handlers[WAL_FILE_UNLINK] = datafile_handler_unlink;
    fixture_handlers[WAL_FILE_TRUNCATE] = datafile_handler_truncate;
    fixture_handlers[WAL_COMMIT] = txn_handler_commit;
    fixture_handlers[WAL_ABORT] = txn_handler_abort;
    fixture_handlers[WAL_XID_BOUND] = txn_handler_xid_bound;
    fixture_handlers[WAL_HEAP_INSERT] = heap_handler_insert;
    fixture_handlers[WAL_HEAP_UPDATE] = heap_handler_update;
    fixture_handlers[WAL_HEAP_DELETE] = heap_handler_delete;
    fixture_handlers[WAL_HEAP_PRUNE] = heap_handler_prune;
    fixture_handlers[WAL_HEAP_FREEZE] = heap_handler_freeze;
    fixture_handlers[WAL_HEAP_MULTI_INSERT] = heap_handler_multi_insert;
    fixture_handlers[WAL_OVERFLOW] = heap_handler_overflow;
    fixture_handlers[WAL_OVERFLOW_FREE] = heap_handler_overflow_free;
}

/* Open what is in the directory, with recovery. */
static inline void
fixture_start(void)
{
    struct control control;

    OKAY(segment_create(
        fixture_regions, sizeof fixture_regions / sizeof *fixture_regions, fixture_config, NULL));
    lwlock_set_undo();
    OKAY(proc_attach(PROC_BACKEND));
    OKAY(control_read(fixture_dir, &control));
    control_share(&control, fixture_dir);
    OKAY(datafile_open_dir(fixture_dir));
    checkpoint_set_parts(fixture_parts, sizeof fixture_parts / sizeof *fixture_parts);
    fixture_fill_handlers();
    OKAY(wal_open(fixture_config, fixture_dir, fixture_handlers, NULL, &fixture_found));
    txn_recovered();
}

/* Every record that the last recovery replayed has a line for people. */
static inline void
fixture_describe_all(void)
{
    struct buf text = buf_init(1 << 20);
    struct wal_reader *reader;
    struct wal_record record;
    enum wal_read_result what;
    char folder[sizeof fixture_dir + 8];

    (void)snprintf(folder, sizeof folder, "%s/wal", fixture_dir);
    reader = wal_reader_create(folder, wal_page_size, 0);
    assert_non_null(reader);
    wal_reader_seek(reader, fixture_found.redo);
    for (;;) {
        OKAY(wal_reader_next(reader, &record, &what));
        if (what != WAL_READ_RECORD)
            break;
        buf_clear(&text);
        if (fixture_handlers[record.kind].describe == NULL)
            continue;
        OKAY(fixture_handlers[record.kind].describe(&record, &text));
        assert_true(text.size > 0 && memchr(text.data, '\n', text.size) == NULL);
    }
    wal_reader_destroy(reader);
    buf_fini(&text);
}

/* Forget all memory, as if every process had been killed. */
static inline void
fixture_crash(void)
{
    wal_flush_close();
    proc_detach();
    segment_destroy();
}

static inline void
fixture_new_heap(void)
{
    struct txn *txn;
    xid_t xid;

    OKAY(txn_begin(NULL, TXN_READ_COMMITTED, true, &txn));
    OKAY(txn_xid(txn, &xid));
    OKAY(datafile_next(&fixture_heap.file));
    OKAY(datafile_next(&fixture_heap.map));
    OKAY(heap_create(&fixture_heap, xid));
    OKAY(txn_commit(NULL, txn, true));
}

static inline void
fixture_make(int64_t pool_bytes, uint32_t page_size)
{
    const char *base = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";

    log_setup(LOG_FORMAT_TEXT, LOG_FATAL, getenv("TEST_LOG") != NULL ? 2 : -1);
    (void)snprintf(fixture_dir, sizeof fixture_dir, "%.80s/gneiss-heap-XXXXXX", base);
    assert_non_null(mkdtemp(fixture_dir));
    fixture_config = config_create();
    assert_non_null(fixture_config);
    fixture_config->server_max_connections = 32;
    fixture_config->max_transactions = 64;
    fixture_config->shared_buffers = pool_bytes;
    fixture_config->wal_sync = false;
    OKAY(datafile_make_dir(fixture_dir));
    OKAY(control_create(fixture_dir, page_size));
    OKAY(wal_create(fixture_dir));
}

static inline int
fixture_setup(void **state)
{
    (void)state;
    fixture_make(8 << 20, fixture_page_size);
    fixture_start();
    fixture_new_heap();
    return 0;
}

static inline void
fixture_remove(void)
{
    char command[256];

    (void)snprintf(command, sizeof command, "rm -rf '%s'", fixture_dir);
    assert_int_equal(system(command), 0);
    config_destroy(fixture_config);
    fixture_config = NULL;
}

static inline int
fixture_teardown(void **state)
{
    (void)state;
    assert_true(ledger_empty());
    assert_true(lwlock_none_held());
    assert_int_equal(pool_pin_total(), 0);
    fixture_crash();
    fixture_remove();
    return 0;
}

static inline struct txn *
fixture_begin(enum txn_isolation isolation)
{
    struct txn *txn;

    OKAY(txn_begin(NULL, isolation, false, &txn));
    return txn;
}

static inline void
fixture_commit(struct txn *txn)
{
    OKAY(txn_commit(NULL, txn, false));
}

static inline struct row_id
fixture_insert(struct txn *txn, const char *text)
{
    struct row_id root;

    OKAY(heap_insert(NULL, &fixture_heap, txn, bytes_of(text), &root));
    return root;
}

/* What the transaction's snapshot sees at `root`, or NULL; valid until the next call. */
static inline const char *
fixture_get(struct txn *txn, struct row_id root, struct row_id *version)
{
    static _Thread_local struct buf out;
    struct row_id place;
    bool found;

    out.limit = HEAP_ROW_MAX + 1;
    buf_clear(&out);
    OKAY(heap_get(NULL, &fixture_heap, txn_snapshot(txn), root, &out, &place, &found));
    if (version != NULL)
        *version = place;
    if (!found)
        return NULL;
    OKAY(buf_append_byte(&out, 0));
    return (const char *)out.data;
}

static inline void
fixture_expect(struct txn *txn, struct row_id root, const char *text)
{
    const char *got = fixture_get(txn, root, NULL);

    if (text == NULL)
        assert_null(got);
    else
        assert_true(got != NULL && strcmp(got, text) == 0);
}

/* Change what the snapshot sees at `root`. */
static inline enum heap_outcome
fixture_update(struct txn *txn, struct row_id *root, const char *text, bool same_keys,
    struct heap_conflict *conflict)
{
    enum heap_outcome outcome;
    struct heap_conflict ignored;
    struct row_id version, new_root;
    bool heap_only;

    assert_non_null(fixture_get(txn, *root, &version));
    OKAY(heap_update(NULL, &fixture_heap, txn, *root, version, bytes_of(text), same_keys, &outcome,
        conflict != NULL ? conflict : &ignored, &new_root, &heap_only));
    if (outcome == HEAP_DONE)
        *root = new_root;
    return outcome;
}

static inline enum heap_outcome
fixture_delete(struct txn *txn, struct row_id root, struct heap_conflict *conflict)
{
    enum heap_outcome outcome;
    struct heap_conflict ignored;
    struct row_id version;

    assert_non_null(fixture_get(txn, root, &version));
    OKAY(heap_delete(
        NULL, &fixture_heap, txn, root, version, &outcome, conflict != NULL ? conflict : &ignored));
    return outcome;
}

static void
fixture_complain(void *context, struct page_id where, const char *what)
{
    (void)context;
    fail_msg("block %u: %s", where.block, what);
}

static inline uint64_t
fixture_check(void)
{
    uint64_t rows;

    OKAY(heap_check(NULL, &fixture_heap, fixture_complain, NULL, &rows));
    return rows;
}

static inline struct heap_vacuum_result
fixture_vacuum(void)
{
    struct heap_vacuum_result result;

    OKAY(heap_vacuum(NULL, &fixture_heap, NULL, NULL, &result));
    return result;
}

/* Rows that a scan with this snapshot yields. */
static inline unsigned
fixture_count(struct txn *txn)
{
    struct heap_scan *scan;
    struct row_id root, version;
    struct bytes row;
    unsigned count = 0;
    bool found;

    OKAY(heap_scan_begin(NULL, &fixture_heap, txn_snapshot(txn), &scan));
    for (;;) {
        OKAY(heap_scan_next(NULL, scan, &row, &root, &version, &found));
        if (!found)
            break;
        count++;
    }
    heap_scan_end(scan);
    return count;
}

#endif
