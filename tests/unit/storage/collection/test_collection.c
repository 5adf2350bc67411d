/*
 * test_collection.c - documents with their keys: writing, reading, conflicts.
 */
#include "tests/unit/storage/collection/collfixture.h"

#include <pthread.h>

#include "base/rand.h"

static void
make_index(const char *collection, const char *json)
{
    bool existed;

    OKAY(catalog_create_index(
        &fixture_op, TENANT, DATABASE, collection, fixture_document(json), &existed));
}

/* ---- changing by a plan ---- */

struct plan {
    enum collection_action action;
    struct bytes replacement;
    unsigned asked;
};

static err_t
follow(
    void *context, struct bytes document, enum collection_action *action, struct bytes *replacement)
{
    struct plan *plan = context;

    (void)document;
    plan->asked++;
    *action = plan->action;
    *replacement = plan->replacement;
    return OK;
}

static err_t
change_in(
    struct txn *txn, const char *name, int32_t id, const char *json, enum collection_action *action)
{
    struct plan plan = { json != NULL ? COLLECTION_REPLACE : COLLECTION_DELETE, { NULL, 0 }, 0 };
    struct collection_decider decider = { follow, &plan };
    struct row_id root;
    err_t err;

    if (json != NULL)
        plan.replacement = fixture_document(json);
    assert_true(fixture_get(txn, name, id, &root).size > 0);
    catalog_enter();
    err = collection_change(&fixture_op, txn, fixture_find(name), root, &decider, action);
    catalog_leave();
    return err;
}

static err_t
change(const char *name, int32_t id, const char *json)
{
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);
    enum collection_action action;
    err_t err = change_in(txn, name, id, json, &action);

    if (err != OK)
        txn_abort(&fixture_op, txn);
    else
        fixture_commit(txn);
    return err;
}

static int64_t
get(const char *name, int32_t id, const char *field)
{
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);
    int64_t number = fixture_number(fixture_get(txn, name, id, NULL), field);

    txn_abort(&fixture_op, txn);
    return number;
}

static unsigned
count_equal(const char *name, const char *index, int32_t value)
{
    struct bytes key = fixture_key(value);
    struct index_range range = {
        .low = key, .high = key, .has_low = true, .has_high = true, .high_prefix_included = true
    };

    return fixture_count(name, index, &range);
}

static int
setup_c(void **state)
{
    (void)fixture_setup(state);
    fixture_create("c");
    make_index("c", "{'key': {'a': 1}}");
    make_index("c", "{'key': {'u': 1}, 'unique': true, 'sparse': true}");
    make_index("c", "{'key': {'m': 1}}");
    return 0;
}

static void
a_duplicate_is_told_exactly_and_leaves_nothing(void **state)
{
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);
    struct bsonvalue value;

    (void)state;
    OKAY(fixture_insert("c", "{'_id': 1, 'a': 1, 'u': 'x'}"));
    assert_int_equal(fixture_insert_in(txn, "c", fixture_document("{'_id': 2, 'a': 5, 'u': 'x'}")),
        ERR_DUPLICATE_KEY);
    assert_string_equal(err_message(),
        "E11000 duplicate key error collection: db.c index: u_1 dup key: { u: \"x\" }");
    assert_true(bsonwalk_get(err_attached(), "keyValue", &value));
    assert_true(bsonwalk_get(err_attached(), "keyPattern", &value));
    OKAY(fixture_insert_in(txn, "c", fixture_document("{'_id': 2, 'a': 5, 'u': 'y'}")));
    fixture_commit(txn);
    assert_int_equal(fixture_count("c", NULL, NULL), 2);
    assert_int_equal(count_equal("c", "a_1", 5), 1);
    assert_int_equal(fixture_insert("c", "{'_id': 1}"), ERR_DUPLICATE_KEY);
    fixture_check();
}

static void
a_refused_update_leaves_no_trace(void **state)
{
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);
    enum collection_action action;

    (void)state;
    OKAY(fixture_insert("c", "{'_id': 1, 'a': 1, 'u': 1}"));
    OKAY(fixture_insert("c", "{'_id': 2, 'a': 2, 'u': 2}"));
    txn_abort(&fixture_op, txn);
    txn = fixture_begin(TXN_READ_COMMITTED);
    assert_int_equal(
        change_in(txn, "c", 2, "{'_id': 2, 'a': 9, 'u': 1}", &action), ERR_DUPLICATE_KEY);
    fixture_commit(txn);
    assert_int_equal(get("c", 2, "a"), 2);
    assert_int_equal(count_equal("c", "a_1", 9), 0);
    assert_int_equal(count_equal("c", "a_1", 2), 1);
    fixture_check();
}

static void
updates_follow_their_keys(void **state)
{
    (void)state;
    OKAY(fixture_insert("c", "{'_id': 1, 'a': 1, 'n': 0}"));
    for (int i = 1; i <= 300; i++) {
        OKAY(change(
            "c", 1, arena_printf(fixture_op.arena, "{'_id': 1, 'a': %d, 'n': %d}", i / 10, i)));
        if (i % 50 == 0)
            assert_int_equal(count_equal("c", "a_1", i / 10), 1);
    }
    assert_int_equal(get("c", 1, "n"), 300);
    assert_int_equal(fixture_count("c", NULL, NULL), 1);
    fixture_check();
    OKAY(change("c", 1, NULL));
    assert_int_equal(fixture_count("c", NULL, NULL), 0);
    OKAY(fixture_insert("c", "{'_id': 1, 'a': 7}"));
    fixture_check();
}

static void
a_key_that_a_failed_transaction_had_is_free(void **state)
{
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);

    (void)state;
    OKAY(fixture_insert_in(txn, "c", fixture_document("{'_id': 1, 'u': 1}")));
    txn_abort(&fixture_op, txn);
    OKAY(fixture_insert("c", "{'_id': 1, 'u': 1}"));
    OKAY(change("c", 1, NULL));
    OKAY(fixture_insert("c", "{'_id': 2, 'u': 1}"));
    fixture_check();
}

static void
many_go_in_until_one_is_refused(void **state)
{
    struct bytes documents[700];
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);
    size_t done;

    (void)state;
    for (int i = 0; i < 700; i++)
        documents[i] = fixture_document(
            arena_printf(fixture_op.arena, "{'_id': %d, 'a': %d}", i == 600 ? 5 : i, i));
    catalog_enter();
    assert_int_equal(
        collection_insert_many(&fixture_op, txn, fixture_find("c"), documents, 700, &done),
        ERR_DUPLICATE_KEY);
    assert_int_equal(done, 600);
    catalog_leave();
    fixture_commit(txn);
    assert_int_equal(fixture_count("c", NULL, NULL), 600);
    fixture_check();
}

/* Whatever way the keys go into the indexes, it is the later of two equal documents that is told.
 */
static void
of_equal_ones_in_a_batch_the_later_is_refused(void **state)
{
    struct bytes documents[300];
    struct txn *txn;
    size_t done;

    (void)state;
    for (int i = 0; i < 200; i++) /* and rows are put where there is room, not in order */
        OKAY(fixture_insert(
            "c", arena_printf(fixture_op.arena, "{'_id': %d, 'u': %d}", 9000 + i, 9000 + i)));
    for (int i = 0; i < 200; i += 3)
        OKAY(change("c", 9000 + i, NULL));
    for (int turn = 0; turn < 2; turn++) {
        txn = fixture_begin(TXN_READ_COMMITTED);
        for (int i = 0; i < 300; i++)
            documents[i] = fixture_document(arena_printf(fixture_op.arena,
                "{'_id': %d, 'u': %d, 'a': %d}", turn == 0 && i == 170 ? 300 - 60 : 300 - i,
                turn == 1 && i == 110 ? 1000 - 20 : 1000 - i, i % 7));
        catalog_enter();
        assert_int_equal(
            collection_insert_many(&fixture_op, txn, fixture_find("c"), documents, 300, &done),
            ERR_DUPLICATE_KEY);
        assert_int_equal(done, turn == 0 ? 170 : 110);
        catalog_leave();
        txn_abort(&fixture_op, txn);
    }
    fixture_check();
}

static void
an_array_is_found_by_each_element_and_given_once(void **state)
{
    struct index_range all = { 0 }, back = { .backward = true };

    (void)state;
    OKAY(fixture_insert("c", "{'_id': 1, 'm': 1}"));
    OKAY(fixture_insert("c", "{'_id': 2, 'm': [1, 2, 3, 3]}"));
    OKAY(fixture_insert("c", "{'_id': 3, 'm': [3, 4]}"));
    assert_int_equal(fixture_count("c", "m_1", &all), 3);
    assert_int_equal(fixture_count("c", "m_1", &back), 3);
    assert_int_equal(count_equal("c", "m_1", 3), 2);
    assert_int_equal(count_equal("c", "m_1", 1), 2);
    catalog_enter();
    assert_true(catalog_find_index(fixture_find("c"), "m_1")->multikey);
    assert_false(catalog_find_index(fixture_find("c"), "a_1")->multikey);
    catalog_leave();
    fixture_check();
    fixture_close();
    fixture_open();
    catalog_enter();
    assert_true(catalog_find_index(fixture_find("c"), "m_1")->multikey);
    catalog_leave();
    fixture_check();
}

static void
a_scan_is_taken_up_where_it_was_left(void **state)
{
    static const char *const indexes[] = { NULL, "a_1", "m_1" };
    struct buf position = buf_init(4096);

    (void)state;
    for (int i = 0; i < 200; i++)
        OKAY(fixture_insert(
            "c", arena_printf(fixture_op.arena, "{'_id': %d, 'a': %d, 'm': [%d, %d]}", i, i % 3, i,
                     (i * 7) % 200)));
    for (unsigned n = 0; n < 3; n++) {
        struct index_range range = { .backward = n == 1 };
        struct txn *txn = fixture_begin(TXN_SNAPSHOT);
        bool seen[200] = { false }, found = true;
        unsigned count = 0;

        buf_clear(&position);
        while (found) {
            const struct catalog_collection *collection;
            struct collection_scan *scan;
            struct bytes document;

            catalog_enter();
            collection = fixture_find("c");
            if (indexes[n] == NULL)
                OKAY(collection_scan_begin(&fixture_op, collection, txn_snapshot(txn), &scan));
            else
                OKAY(collection_scan_index(&fixture_op, collection,
                    catalog_find_index(collection, indexes[n]), &range, 1, txn_snapshot(txn),
                    &scan));
            if (position.size > 0)
                OKAY(collection_scan_restore(&fixture_op, scan, buf_bytes(&position)));
            for (unsigned k = 0; k < 7 && found; k++) {
                OKAY(collection_scan_next(&fixture_op, scan, &document, NULL, &found));
                if (!found)
                    break;
                assert_false(seen[fixture_number(document, "_id")]);
                seen[fixture_number(document, "_id")] = true;
                count++;
            }
            buf_clear(&position);
            OKAY(collection_scan_save(scan, &position));
            collection_scan_end(scan);
            catalog_leave();
        }
        assert_int_equal(count, 200);
        txn_abort(&fixture_op, txn);
    }
    buf_fini(&position);
}

static void
under_snapshot_rules_a_newer_version_is_a_conflict(void **state)
{
    struct txn *txn;
    enum collection_action action;

    (void)state;
    OKAY(fixture_insert("c", "{'_id': 1, 'a': 1}"));
    txn = fixture_begin(TXN_SNAPSHOT);
    OKAY(change("c", 1, "{'_id': 1, 'a': 2}"));
    assert_int_equal(fixture_number(fixture_get(txn, "c", 1, NULL), "a"), 1);
    assert_int_equal(change_in(txn, "c", 1, "{'_id': 1, 'a': 3}", &action), ERR_WRITE_CONFLICT);
    txn_abort(&fixture_op, txn);
    assert_int_equal(get("c", 1, "a"), 2);
}

static void
large_documents_come_and_go(void **state)
{
    struct buf out = buf_init(COLLECTION_DOCUMENT_MAX + 4096);
    struct bytes document;
    uint8_t *noise = malloc(COLLECTION_DOCUMENT_MAX);
    struct bsonbuild build;
    struct rand rand;
    struct txn *txn;

    (void)state;
    assert_non_null(noise);
    rand_init(&rand, 1);
    rand_bytes(&rand, noise, COLLECTION_DOCUMENT_MAX);
    for (int32_t i = 0; i < 4; i++) {
        size_t size = i == 3 ? COLLECTION_DOCUMENT_MAX - 100 : (size_t)1 << (10 + 5 * i);

        buf_clear(&out);
        bsonbuild_begin(&build, &out);
        bsonbuild_int32(&build, "_id", i);
        bsonbuild_binary(&build, "noise", 0, ((struct bytes){ noise, size }));
        OKAY(bsonbuild_end(&build, &document));
        txn = fixture_begin(TXN_READ_COMMITTED);
        OKAY(fixture_insert_in(txn, "c", document));
        fixture_commit(txn);
        txn = fixture_begin(TXN_READ_COMMITTED);
        assert_true(bytes_equal(fixture_get(txn, "c", i, NULL), document));
        txn_abort(&fixture_op, txn);
    }
    buf_clear(&out);
    bsonbuild_begin(&build, &out);
    bsonbuild_int32(&build, "_id", 9);
    bsonbuild_binary(&build, "noise", 0, ((struct bytes){ noise, COLLECTION_DOCUMENT_MAX }));
    OKAY(bsonbuild_end(&build, &document));
    txn = fixture_begin(TXN_READ_COMMITTED);
    assert_int_equal(fixture_insert_in(txn, "c", document), ERR_TOO_LARGE);
    txn_abort(&fixture_op, txn);
    free(noise);
    buf_fini(&out);
    fixture_check();
}

static void
vacuum_gives_back_what_is_dead(void **state)
{
    struct collection_stats stats;
    uint64_t live, before = 0, rows;
    struct index_range all = { 0 };

    (void)state;
    for (unsigned round = 0; round < 4; round++) {
        for (int i = 0; i < 400; i++)
            OKAY(fixture_insert(
                "c", arena_printf(fixture_op.arena, "{'_id': %d, 'a': %d, 'u': %d}", i, i, i)));
        for (int i = 0; i < 400; i += (round < 3 ? 1 : 2))
            OKAY(change("c", i, NULL));
        catalog_enter();
        OKAY(collection_stats(&fixture_op, fixture_find("c"), &stats));
        if (round == 0)
            before = stats.heap_bytes;
        assert_true(stats.heap_bytes <= before * 2);
        OKAY(vacuum_collection(&fixture_op, fixture_find("c"), &live));
        OKAY(collection_count_estimate(&fixture_op, fixture_find("c"), &rows));
        catalog_leave();
        assert_int_equal(live, round < 3 ? 0 : 200);
        assert_int_equal(rows, live);
        fixture_check();
    }
    assert_int_equal(fixture_count("c", "u_1", &all), 200);
    OKAY(vacuum_round(&fixture_op, 10));
    fixture_check();
}

/* ---- many at once ---- */

#define COUNTERS  4
#define THREADS   4
#define ADDITIONS 150

static err_t
add_one(
    void *context, struct bytes document, enum collection_action *action, struct bytes *replacement)
{
    (void)context;
    *replacement = fixture_document(arena_printf(fixture_op.arena, "{'_id': %d, 'a': %d}",
        (int)fixture_number(document, "_id"), (int)fixture_number(document, "a") + 1));
    *action = COLLECTION_REPLACE;
    return OK;
}

static void *
count_up(void *context)
{
    struct collection_decider decider = { add_one, NULL };

    (void)context;
    fixture_attach();
    for (int i = 0; i < ADDITIONS; i++) {
        struct arena_mark mark = arena_mark(fixture_op.arena);
        enum collection_action action;
        struct row_id root;
        struct txn *txn;

        OKAY(txn_begin(&fixture_op, TXN_READ_COMMITTED, true, &txn));
        assert_true(fixture_get(txn, "c", i % COUNTERS, &root).size > 0);
        catalog_enter();
        OKAY(collection_change(&fixture_op, txn, fixture_find("c"), root, &decider, &action));
        catalog_leave();
        assert_int_equal(action, COLLECTION_REPLACE);
        OKAY(txn_commit(&fixture_op, txn, false));
        arena_rewind(fixture_op.arena, mark);
    }
    fixture_detach();
    return NULL;
}

static void
no_update_is_lost(void **state)
{
    pthread_t thread[THREADS];
    int64_t sum = 0;

    (void)state;
    for (int i = 0; i < COUNTERS; i++)
        OKAY(fixture_insert("c", arena_printf(fixture_op.arena, "{'_id': %d, 'a': 0}", i)));
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, count_up, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        (void)pthread_join(thread[i], NULL);
    for (int i = 0; i < COUNTERS; i++)
        sum += get("c", i, "a");
    assert_int_equal(sum, THREADS * ADDITIONS);
    fixture_check();
}

static _Atomic int winners;

static void *
race(void *context)
{
    (void)context;
    fixture_attach();
    for (int i = 0; i < 200; i++) {
        char text[64];
        struct arena_mark mark = arena_mark(fixture_op.arena);
        err_t err;

        (void)snprintf(text, sizeof text, "{'_id': %d, 'u': %d}", i, i);
        err = fixture_insert("c", text);
        if (err == OK)
            atomic_fetch_add(&winners, 1);
        else
            assert_int_equal(err, ERR_DUPLICATE_KEY);
        arena_rewind(fixture_op.arena, mark);
    }
    fixture_detach();
    return NULL;
}

static void
of_many_with_one_key_one_wins(void **state)
{
    pthread_t thread[THREADS];

    (void)state;
    atomic_store(&winners, 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, race, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        (void)pthread_join(thread[i], NULL);
    assert_int_equal(atomic_load(&winners), 200);
    assert_int_equal(fixture_count("c", NULL, NULL), 200);
    fixture_check();
}

/* ---- a model ---- */

#define IDS 60

struct model {
    bool there[IDS];
    int a[IDS], u[IDS];
};

static bool
u_taken(const struct model *model, int u, int but)
{
    for (int i = 0; i < IDS; i++) {
        if (i != but && model->there[i] && model->u[i] == u)
            return true;
    }
    return false;
}

static void
compare_with(const struct model *model)
{
    unsigned count = 0, by_a[10] = { 0 };

    for (int i = 0; i < IDS; i++) {
        if (model->there[i]) {
            assert_int_equal(get("c", i, "a"), model->a[i]);
            assert_int_equal(get("c", i, "u"), model->u[i]);
            by_a[model->a[i]]++;
            count++;
        } else {
            assert_int_equal(get("c", i, "a"), -1);
        }
    }
    assert_int_equal(fixture_count("c", NULL, NULL), count);
    for (int a = 0; a < 10; a++)
        assert_int_equal(count_equal("c", "a_1", a), by_a[a]);
}

static void
play(uint64_t seed)
{
    struct model model = { { false }, { 0 }, { 0 } };
    struct rand rand;

    rand_init(&rand, seed);
    for (unsigned step = 0; step < 600; step++) {
        struct arena_mark mark = arena_mark(fixture_op.arena);
        struct txn *txn = fixture_begin(TXN_READ_COMMITTED);
        struct model before = model;
        unsigned parts = 1 + (unsigned)rand_below(&rand, 3);
        bool keep = rand_below(&rand, 5) != 0;

        for (unsigned part = 0; part < parts; part++) {
            int id = (int)rand_below(&rand, IDS), a = (int)rand_below(&rand, 10);
            int u = (int)rand_below(&rand, 2 * IDS);
            const char *json = arena_printf(fixture_op.arena,
                "{'_id': %d, 'a': %d, 'u': %d, 's': '%.*s'}", id, a, u, (int)rand_below(&rand, 60),
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
            enum collection_action action;
            err_t err;

            if (!model.there[id]) {
                err = fixture_insert_in(txn, "c", fixture_document(json));
            } else if (rand_below(&rand, 3) == 0) {
                OKAY(change_in(txn, "c", id, NULL, &action));
                model.there[id] = false;
                OKAY(txn_next_statement(txn));
                continue;
            } else {
                err = change_in(txn, "c", id, json, &action);
            }
            assert_int_equal(err, u_taken(&model, u, id) ? ERR_DUPLICATE_KEY : OK);
            if (err == OK) {
                model.there[id] = true;
                model.a[id] = a;
                model.u[id] = u;
            }
            OKAY(txn_next_statement(txn));
        }
        if (keep) {
            fixture_commit(txn);
        } else {
            txn_abort(&fixture_op, txn);
            model = before;
        }
        if (step % 150 == 149) {
            uint64_t live;

            compare_with(&model);
            catalog_enter();
            OKAY(vacuum_collection(&fixture_op, fixture_find("c"), &live));
            catalog_leave();
            compare_with(&model);
        }
        arena_rewind(fixture_op.arena, mark);
    }
    fixture_check();
    fixture_close();
    fixture_open();
    compare_with(&model);
    fixture_check();
}

static void
a_collection_does_what_its_model_does(void **state)
{
    const char *seed = getenv("TEST_SEED");

    (void)state;
    play(seed != NULL ? strtoull(seed, NULL, 10) : 42);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_c, fixture_teardown)
        TEST(a_duplicate_is_told_exactly_and_leaves_nothing),
        TEST(a_refused_update_leaves_no_trace),
        TEST(updates_follow_their_keys),
        TEST(a_key_that_a_failed_transaction_had_is_free),
        TEST(many_go_in_until_one_is_refused),
        TEST(of_equal_ones_in_a_batch_the_later_is_refused),
        TEST(an_array_is_found_by_each_element_and_given_once),
        TEST(a_scan_is_taken_up_where_it_was_left),
        TEST(under_snapshot_rules_a_newer_version_is_a_conflict),
        TEST(large_documents_come_and_go),
        TEST(vacuum_gives_back_what_is_dead),
        TEST(no_update_is_lost),
        TEST(of_many_with_one_key_one_wins),
        TEST(a_collection_does_what_its_model_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
