/*
 * collfixture.h - a whole engine in a scratch folder, and documents in few words.
 */
#ifndef TESTS_UNIT_STORAGE_COLLECTION_COLLFIXTURE_H
#define TESTS_UNIT_STORAGE_COLLECTION_COLLFIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/jsonparse.h"
#include "base/doc/keystring.h"
#include "base/log.h"
#include "shmem/ledger.h"
#include "shmem/lwlock.h"
#include "shmem/proc.h"
#include "storage/collection/catalog.h"
#include "storage/collection/check.h"
#include "storage/collection/collection.h"
#include "storage/collection/engine.h"
#include "storage/collection/vacuum.h"
#include "storage/page/pool.h"

#define OKAY(call)                                    \
    do {                                              \
        if ((call) != OK)                             \
            fail_msg("%s: %s", #call, err_message()); \
    } while (0)

#define TENANT   "t"
#define DATABASE "db"

static struct config *fixture_config;
static char fixture_dir[128];
static struct engine_info fixture_info;
static _Thread_local struct op fixture_op = { .verb = "test" };
static _Thread_local struct buf fixture_row, fixture_key_bytes;

static inline void
fixture_attach(void)
{
    OKAY(proc_attach(PROC_BACKEND));
    fixture_op.arena = arena_create("test", (size_t)256 << 20);
    assert_non_null(fixture_op.arena);
}

static inline void
fixture_detach(void)
{
    arena_destroy(fixture_op.arena);
    fixture_op.arena = NULL;
    buf_fini(&fixture_row);
    buf_fini(&fixture_key_bytes);
    catalog_forget_private();
    txn_forget_private();
    proc_detach();
}

static inline void
fixture_open(void)
{
    OKAY(engine_open(fixture_config, fixture_dir, NULL, 0, 5000, false));
    OKAY(engine_recover(fixture_config, &fixture_info));
    fixture_attach();
}

static inline void
fixture_close(void)
{
    fixture_detach();
    OKAY(engine_close());
    engine_release();
}

static inline void
fixture_make(uint32_t page_size)
{
    const char *base = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";

    log_setup(LOG_FORMAT_TEXT, LOG_WARN, getenv("TEST_LOG") != NULL ? 2 : -1);
    (void)snprintf(fixture_dir, sizeof fixture_dir, "%.80s/gneiss-coll-XXXXXX", base);
    assert_non_null(mkdtemp(fixture_dir));
    fixture_config = config_create();
    assert_non_null(fixture_config);
    fixture_config->server_max_connections = 32;
    fixture_config->max_transactions = 64;
    fixture_config->shared_buffers = 16 << 20;
    fixture_config->wal_sync = false;
    OKAY(engine_create(fixture_dir, page_size));
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
fixture_setup(void **state)
{
    (void)state;
    fixture_make(8192);
    fixture_open();
    return 0;
}

static inline int
fixture_teardown(void **state)
{
    (void)state;
    assert_true(ledger_empty());
    assert_true(lwlock_none_held());
    assert_int_equal(pool_pin_total(), 0);
    fixture_close();
    fixture_remove();
    return 0;
}

/* ---- transactions ---- */

static inline struct txn *
fixture_begin(enum txn_isolation isolation)
{
    struct txn *txn;

    OKAY(txn_begin(&fixture_op, isolation, false, &txn));
    return txn;
}

static inline void
fixture_commit(struct txn *txn)
{
    OKAY(txn_commit(&fixture_op, txn, false));
}

static inline void
fixture_create(const char *name)
{
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);

    OKAY(catalog_create_collection(
        &fixture_op, txn, TENANT, DATABASE, name, (struct bytes){ NULL, 0 }));
    fixture_commit(txn);
}

/* In a section. */
static inline const struct catalog_collection *
fixture_find(const char *name)
{
    const struct catalog_collection *collection;

    OKAY(catalog_find(&fixture_op, NULL, TENANT, DATABASE, name, &collection));
    return collection;
}

/* ---- documents ---- */

/* {'_id': 1, 'a': [1, 2]}: JSON, with single quotes for double ones. */
static inline struct bytes
fixture_document(const char *json)
{
    char *text = arena_string(fixture_op.arena, bytes_of(json));
    struct buf out = buf_init(COLLECTION_DOCUMENT_MAX);
    struct bytes copy, document;

    for (char *at = text; *at != '\0'; at++)
        *at = *at == '\'' ? '"' : *at;
    OKAY(jsonparse_document(&out, bytes_of(text), &jsonparse_import, &document));
    copy =
        (struct bytes){ arena_copy(fixture_op.arena, document.data, document.size), document.size };
    buf_fini(&out);
    return copy;
}

static inline err_t
fixture_insert_in(struct txn *txn, const char *name, struct bytes document)
{
    err_t err;

    catalog_enter();
    err = collection_insert(&fixture_op, txn, fixture_find(name), document);
    catalog_leave();
    return err;
}

static inline err_t
fixture_insert(const char *name, const char *json)
{
    struct txn *txn;
    err_t err;

    OKAY(txn_begin(&fixture_op, TXN_READ_COMMITTED, true, &txn));
    err = fixture_insert_in(txn, name, fixture_document(json));
    if (err != OK)
        txn_abort(&fixture_op, txn);
    else
        OKAY(txn_commit(&fixture_op, txn, false));
    return err;
}

static inline struct bytes
fixture_key(int32_t id)
{
    struct buf *key = &fixture_key_bytes;
    uint8_t room[16];
    struct bsonvalue value = bsonvalue_of_int32(room, id);

    key->limit = INDEX_KEY_MAX;
    buf_clear(key);
    OKAY(keystring_append(key, &value, false));
    return buf_bytes(key);
}

/* The document of this _id, in a static buf; size 0: none. */
static inline struct bytes
fixture_get(struct txn *txn, const char *name, int32_t id, struct row_id *root)
{
    struct buf *out = &fixture_row;
    struct row_id place;
    bool found;

    out->limit = HEAP_ROW_MAX;
    buf_clear(out);
    catalog_enter();
    OKAY(collection_get(
        &fixture_op, txn_snapshot(txn), fixture_find(name), fixture_key(id), out, &place, &found));
    catalog_leave();
    if (root != NULL)
        *root = place;
    if (!found)
        return (struct bytes){ NULL, 0 };
    return buf_bytes(out);
}

static inline int64_t
fixture_number(struct bytes document, const char *field)
{
    struct bsonvalue value;
    int64_t number = -1;

    if (bsonwalk_get(document, field, &value))
        (void)bsonvalue_to_int64(&value, true, &number);
    return number;
}

/* Documents that a scan gives; index NULL: natural order. */
static inline unsigned
fixture_count(const char *name, const char *index, const struct index_range *range)
{
    const struct catalog_collection *collection;
    struct collection_scan *scan;
    struct bytes document;
    struct txn *txn;
    unsigned count = 0;
    bool found;

    OKAY(txn_begin(&fixture_op, TXN_READ_COMMITTED, true, &txn));
    catalog_enter();
    collection = fixture_find(name);
    if (index == NULL)
        OKAY(collection_scan_begin(&fixture_op, collection, txn_snapshot(txn), &scan));
    else
        OKAY(collection_scan_index(&fixture_op, collection, catalog_find_index(collection, index),
            range, 1, txn_snapshot(txn), &scan));
    for (;;) {
        OKAY(collection_scan_next(&fixture_op, scan, &document, NULL, &found));
        if (!found)
            break;
        count++;
    }
    collection_scan_end(scan);
    catalog_leave();
    txn_abort(&fixture_op, txn);
    return count;
}

static inline void
fixture_check(void)
{
    struct check_result result;

    OKAY(check_run(&fixture_op, NULL, NULL, NULL, stderr, &result));
    assert_int_equal(result.faults, 0);
}

#endif
