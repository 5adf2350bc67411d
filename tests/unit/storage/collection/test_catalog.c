/*
 * test_catalog.c - what exists, in transactions, over restarts and crashes.
 */
#include "tests/unit/storage/collection/collfixture.h"

#include <pthread.h>

#include "base/clock.h"
#include "storage/collection/graveyard.h"
#include "storage/page/datafile.h"

static err_t
make_index_named(const char *collection, const char *json, bool *existed)
{
    return catalog_create_index(
        &fixture_op, TENANT, DATABASE, collection, fixture_document(json), existed);
}

static void
make_index(const char *collection, const char *json)
{
    bool existed;

    OKAY(make_index_named(collection, json, &existed));
    assert_false(existed);
}

static bool
exists(struct txn *txn, const char *name)
{
    const struct catalog_collection *collection;

    catalog_enter();
    OKAY(catalog_find(&fixture_op, txn, TENANT, DATABASE, name, &collection));
    catalog_leave();
    return collection != NULL;
}

static void
drop(const char *name)
{
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);
    bool found;

    OKAY(catalog_drop_collection(&fixture_op, txn, TENANT, DATABASE, name, &found));
    assert_true(found);
    fixture_commit(txn);
}

static err_t
count_file(fileno_t file, uint64_t size, void *context)
{
    (void)file;
    (void)size;
    ++*(unsigned *)context;
    return OK;
}

static unsigned
files(void)
{
    unsigned count = 0;

    OKAY(datafile_walk(count_file, &count));
    return count;
}

static void
a_collection_survives_a_restart(void **state)
{
    (void)state;
    fixture_create("c");
    OKAY(fixture_insert("c", "{'_id': 1, 'a': 'x'}"));
    fixture_close();
    fixture_open();
    assert_true(exists(NULL, "c"));
    assert_int_equal(fixture_count("c", NULL, NULL), 1);
    fixture_check();
}

static void
what_is_rolled_back_leaves_no_file(void **state)
{
    unsigned before = files();
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);

    (void)state;
    OKAY(catalog_create_collection(
        &fixture_op, txn, TENANT, DATABASE, "c", (struct bytes){ NULL, 0 }));
    assert_true(exists(txn, "c"));
    assert_false(exists(NULL, "c"));
    txn_abort(&fixture_op, txn);
    assert_false(exists(NULL, "c"));
    assert_int_equal(files(), before);
    fixture_check();
}

static void
a_collection_can_be_used_by_the_transaction_that_makes_it(void **state)
{
    const struct catalog_collection *collection;
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);

    (void)state;
    OKAY(catalog_create_collection(
        &fixture_op, txn, TENANT, DATABASE, "c", (struct bytes){ NULL, 0 }));
    catalog_enter();
    OKAY(catalog_find(&fixture_op, txn, TENANT, DATABASE, "c", &collection));
    assert_non_null(collection);
    OKAY(collection_insert(
        &fixture_op, txn, collection, fixture_document("{'_id': 1, 'a': [1, 2]}")));
    catalog_leave();
    fixture_commit(txn);
    assert_int_equal(fixture_count("c", NULL, NULL), 1);
    fixture_check();
}

static uint64_t
oid_again(const char *name, uint64_t *memory)
{
    const struct catalog_collection *collection;
    uint64_t oid = 0;

    catalog_enter();
    OKAY(catalog_find_again(&fixture_op, TENANT, DATABASE, name, memory, &collection));
    if (collection != NULL) {
        assert_string_equal(collection->name, name);
        oid = collection->oid;
    }
    catalog_leave();
    return oid;
}

static void
a_remembered_look_up_notices_changes(void **state)
{
    uint64_t c = 0, d = 0, oid;

    (void)state;
    assert_int_equal(oid_again("c", &c), 0);
    fixture_create("c");
    fixture_create("d");
    oid = oid_again("c", &c);
    assert_int_not_equal(oid, 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(oid_again("c", &c), oid);
        assert_int_not_equal(oid_again("d", &d), oid);
    }
    assert_int_equal(oid_again("c", &c), oid);
    assert_int_equal(oid_again("c", &c), oid);
    drop("c");
    assert_int_equal(oid_again("c", &c), 0);
    fixture_create("c");
    assert_int_not_equal(oid_again("c", &c), 0);
    assert_int_not_equal(oid_again("c", &c), oid);
}

static void
one_name_is_given_once(void **state)
{
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);

    (void)state;
    fixture_create("c");
    assert_int_equal(catalog_create_collection(
                         &fixture_op, txn, TENANT, DATABASE, "c", (struct bytes){ NULL, 0 }),
        ERR_NAMESPACE_EXISTS);
    txn_abort(&fixture_op, txn);
}

static void
a_dropped_collection_takes_its_files_along(void **state)
{
    unsigned before;

    (void)state;
    fixture_create("other");
    before = files();
    fixture_create("c");
    make_index("c", "{'key': {'a': 1}}");
    OKAY(fixture_insert("c", "{'_id': 1, 'a': 'x'}"));
    drop("c");
    assert_false(exists(NULL, "c"));
    graveyard_empty();
    assert_int_equal(files(), before);
    fixture_check();
}

static void
readers_of_a_dropped_collection_go_on(void **state)
{
    const struct catalog_collection *collection;
    struct collection_scan *scan;
    struct bytes document;
    struct txn *txn;
    unsigned before, count = 0;
    bool found;

    (void)state;
    fixture_create("c");
    before = files();
    for (int i = 0; i < 50; i++)
        OKAY(fixture_insert(
            "c", arena_printf(fixture_op.arena, "{'_id': %d, 'a': 'some text'}", i)));
    OKAY(txn_begin(&fixture_op, TXN_READ_COMMITTED, true, &txn));
    catalog_enter();
    collection = fixture_find("c");
    OKAY(collection_scan_begin(&fixture_op, collection, txn_snapshot(txn), &scan));
    drop("c");
    graveyard_empty();
    assert_int_equal(files(), before);
    for (;;) {
        OKAY(collection_scan_next(&fixture_op, scan, &document, NULL, &found));
        if (!found)
            break;
        count++;
    }
    collection_scan_end(scan);
    assert_int_equal(count, 50);
    catalog_leave();
    txn_abort(&fixture_op, txn);
    graveyard_empty();
    assert_int_equal(files(), before - 3);
}

static void
databases_and_tenants_take_all_along(void **state)
{
    const char *const *names;
    struct txn *txn;
    size_t count;
    bool found;

    (void)state;
    fixture_create("a");
    fixture_create("b");
    OKAY(catalog_list_collections(&fixture_op, NULL, TENANT, DATABASE, &names, &count));
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "a");
    assert_string_equal(names[1], "b");
    txn = fixture_begin(TXN_READ_COMMITTED);
    OKAY(catalog_drop_tenant(&fixture_op, txn, TENANT, &found));
    assert_true(found);
    fixture_commit(txn);
    OKAY(catalog_list_tenants(&fixture_op, NULL, &names, &count));
    assert_int_equal(count, 0);
    OKAY(catalog_list_databases(&fixture_op, NULL, TENANT, &names, &count));
    assert_int_equal(count, 0);
    assert_false(exists(NULL, "a"));
    graveyard_empty();
    assert_int_equal(files(), 4); /* clog and the catalog's */
    fixture_check();
}

static void
a_renamed_collection_keeps_everything(void **state)
{
    struct txn *txn;

    (void)state;
    fixture_create("c");
    fixture_create("d");
    make_index("c", "{'key': {'a': 1}}");
    OKAY(fixture_insert("c", "{'_id': 1, 'a': 'x'}"));
    txn = fixture_begin(TXN_READ_COMMITTED);
    assert_int_equal(
        catalog_rename_collection(&fixture_op, txn, TENANT, DATABASE, "c", DATABASE, "d", false),
        ERR_NAMESPACE_EXISTS);
    txn_abort(&fixture_op, txn);
    txn = fixture_begin(TXN_READ_COMMITTED);
    OKAY(catalog_rename_collection(&fixture_op, txn, TENANT, DATABASE, "c", DATABASE, "d", true));
    fixture_commit(txn);
    assert_false(exists(NULL, "c"));
    assert_int_equal(fixture_count("d", NULL, NULL), 1);
    catalog_enter();
    assert_int_equal(fixture_find("d")->index_count, 2);
    catalog_leave();
    fixture_check();
}

static void
rows_of_others_are_kept(void **state)
{
    const char *const *names;
    const struct bytes *documents;
    struct bytes document;
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);
    size_t count;
    bool found;

    (void)state;
    OKAY(catalog_put(&fixture_op, txn, "user", "t/anna", fixture_document("{'n': 1}")));
    OKAY(catalog_put(&fixture_op, txn, "user", "t/anna", fixture_document("{'n': 2}")));
    OKAY(catalog_put(&fixture_op, txn, "user", "u/bert", fixture_document("{'n': 3}")));
    OKAY(catalog_put(&fixture_op, txn, "role", "t/anna", fixture_document("{'n': 4}")));
    fixture_commit(txn);
    OKAY(catalog_get(&fixture_op, NULL, "user", "t/anna", &document, &found));
    assert_true(found);
    assert_int_equal(fixture_number(document, "n"), 2);
    OKAY(catalog_list(&fixture_op, NULL, "user", "t/", &names, &documents, &count));
    assert_int_equal(count, 1);
    assert_string_equal(names[0], "t/anna");
    OKAY(catalog_list(&fixture_op, NULL, "user", NULL, &names, &documents, &count));
    assert_int_equal(count, 2);
    txn = fixture_begin(TXN_READ_COMMITTED);
    OKAY(catalog_remove(&fixture_op, txn, "user", "t/anna", &found));
    assert_true(found);
    OKAY(catalog_remove(&fixture_op, txn, "user", "t/anna", &found));
    assert_false(found);
    txn_abort(&fixture_op, txn);
    OKAY(catalog_get(&fixture_op, NULL, "user", "t/anna", &document, &found));
    assert_true(found);
}

static void
hostile_definitions_are_refused_with_their_codes(void **state)
{
    static const struct {
        const char *json;
        int code;
    } bad[] = {
        { "{'key': {}}", 67 },
        { "{'key': {'a': 2, 'b': 0}}", 67 },
        { "{'name': 'x'}", 9 },
        { "{'key': {'a': 1}, 'frob': 1}", 197 },
        { "{'key': {'a': 1}, 'name': ''}", 67 },
        { "{'key': {'a': 1}, 'expireAfterSeconds': -1}", 67 },
        { "{'key': {'a': 1, 'b': 1}, 'expireAfterSeconds': 1}", 67 },
        { "{'key': {'a': 'hashed'}}", 67 },
        { "{'key': {'a': 1}, 'partialFilterExpression': {'a': 1}}", 67 },
        { "{'key': {'b': 1}, 'name': 'a_1'}", 86 },
        { "{'key': {'a': 1}, 'name': 'other'}", 85 },
        { "{'key': {'a': 1}, 'unique': true}", 85 },
        { "{'key': {'b': 1}, 'name': '_id_'}", 86 },
    };
    bool existed;

    (void)state;
    fixture_create("c");
    make_index("c", "{'key': {'a': 1}}");
    OKAY(make_index_named("c", "{'key': {'a': 1}, 'name': 'a_1'}", &existed));
    assert_true(existed);
    OKAY(make_index_named("c", "{'key': {'_id': 1}}", &existed));
    assert_true(existed);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_true(make_index_named("c", bad[i].json, &existed) != OK);
        if (err_last_code() != bad[i].code)
            fail_msg("%s: %d %s", bad[i].json, err_last_code(), err_message());
    }
    assert_int_equal(
        make_index_named("none", "{'key': {'a': 1}}", &existed), ERR_NAMESPACE_NOT_FOUND);
}

static void
an_index_is_built_over_what_is_there(void **state)
{
    uint64_t version = catalog_schema_version();
    struct index_range all = { 0 };
    bool existed, found;

    (void)state;
    fixture_create("c");
    for (int i = 0; i < 500; i++)
        OKAY(fixture_insert("c", arena_printf(fixture_op.arena,
                                     "{'_id': %d, 'a': %d, 'b': [%d, %d]}", i, i % 7, i, i + 1)));
    make_index("c", "{'key': {'a': 1}}");
    make_index("c", "{'key': {'b': -1}}");
    assert_int_equal(catalog_schema_version(), version + 2);
    assert_int_equal(fixture_count("c", "a_1", &all), 500);
    assert_int_equal(fixture_count("c", "b_-1", &all), 500);
    catalog_enter();
    assert_true(catalog_find_index(fixture_find("c"), "b_-1")->multikey);
    assert_false(catalog_find_index(fixture_find("c"), "a_1")->multikey);
    catalog_leave();
    assert_int_equal(make_index_named("c", "{'key': {'a': 1, 'c': 1}, 'unique': true}", &existed),
        ERR_DUPLICATE_KEY);
    assert_non_null(strstr(err_message(), "dup key: { a: "));
    fixture_check();
    OKAY(catalog_drop_index(&fixture_op, TENANT, DATABASE, "c", "a_1", &found));
    assert_true(found);
    catalog_enter();
    assert_null(catalog_find_index(fixture_find("c"), "a_1"));
    assert_int_equal(fixture_find("c")->index_count, 2);
    catalog_leave();
    assert_int_equal(catalog_drop_index(&fixture_op, TENANT, DATABASE, "c", "_id_", &found),
        ERR_INVALID_OPTIONS);
    fixture_check();
}

/* ---- beside writers ---- */

static _Atomic bool stop;
static _Atomic int inserted;

static void *
write_on(void *context)
{
    int base = *(int *)context;

    fixture_attach();
    for (int i = 0; !atomic_load(&stop) && i < 100000; i++) {
        char text[100];
        struct arena_mark mark = arena_mark(fixture_op.arena);

        (void)snprintf(text, sizeof text, "{'_id': %d, 'a': %d}", base + i, i);
        OKAY(fixture_insert("c", text));
        arena_rewind(fixture_op.arena, mark);
        atomic_fetch_add(&inserted, 1);
    }
    fixture_detach();
    return NULL;
}

static void
an_index_built_beside_writers_has_all(void **state)
{
    struct index_range all = { 0 };
    pthread_t thread[2];
    int base[2] = { 1000000, 2000000 };

    (void)state;
    atomic_store(&stop, false);
    atomic_store(&inserted, 0);
    fixture_create("c");
    for (int i = 0; i < 300; i++)
        OKAY(fixture_insert("c", arena_printf(fixture_op.arena, "{'_id': %d, 'a': %d}", i, i)));
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, write_on, &base[i]), 0);
    while (atomic_load(&inserted) < 100)
        (void)usleep(1000);
    make_index("c", "{'key': {'a': 1}}");
    for (unsigned round = 0; round < 3; round++) {
        bool found;

        make_index("c", "{'key': {'b': 1, 'a': -1}}");
        OKAY(catalog_drop_index(&fixture_op, TENANT, DATABASE, "c", "b_1_a_-1", &found));
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 2; i++)
        (void)pthread_join(thread[i], NULL);
    assert_int_equal(fixture_count("c", "a_1", &all), 300 + atomic_load(&inserted));
    assert_int_equal(fixture_count("c", NULL, NULL), 300 + atomic_load(&inserted));
    fixture_check();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        TEST(a_collection_survives_a_restart),
        TEST(what_is_rolled_back_leaves_no_file),
        TEST(a_collection_can_be_used_by_the_transaction_that_makes_it),
        TEST(one_name_is_given_once),
        TEST(a_dropped_collection_takes_its_files_along),
        TEST(readers_of_a_dropped_collection_go_on),
        TEST(databases_and_tenants_take_all_along),
        TEST(a_remembered_look_up_notices_changes),
        TEST(a_renamed_collection_keeps_everything),
        TEST(rows_of_others_are_kept),
        TEST(hostile_definitions_are_refused_with_their_codes),
        TEST(an_index_is_built_over_what_is_there),
        TEST(an_index_built_beside_writers_has_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
