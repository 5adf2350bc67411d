/*
 * test_run.c - runs over a real engine: which plan is taken, large sorts, cursors, writers beside.
 */
#include "tests/unit/backend/query/queryfixture.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>

#include "wal/control.h"

#define WORK_MEM (4u << 20)

static void
fill(const char *name, int32_t count, const char *format)
{
    char text[512];

    fixture_create(name);
    for (int32_t i = 0; i < count; i++) {
        (void)snprintf(text, sizeof text, format, i, (i * 7919) % count, i % 10);
        OKAY(fixture_insert(name, text));
    }
}

/* Files in <data>/tmp. */
static unsigned
temporary_files(void)
{
    char path[4200];
    unsigned count = 0;
    DIR *folder;

    (void)snprintf(path, sizeof path, "%s/tmp", control_data_dir());
    folder = opendir(path);
    if (folder == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    (void)closedir(folder);
    return count;
}

/* ---- plans ---- */

static const struct plan_case {
    const char *filter, *sort, *hint, *plan, *ids;
} plan_cases[] = {
    { "{'_id':3}", NULL, NULL, "IDHACK", "3" },
    { "{'_id':99}", NULL, NULL, "IDHACK", "" },
    { "{'_id':3,'a':5}", NULL, NULL, "IDHACK", "" },
    { "{'_id':{'$gt':7}}", NULL, NULL, "_id_", "8 9" },
    { "{'_id':{'$in':[7,2,2]}}", NULL, NULL, "_id_", "2 7" },
    { "{'a':4}", NULL, NULL, "a_1", "8" },
    { "{'a':{'$gte':3,'$lt':5}}", NULL, NULL, "a_1", "1 8" },
    { "{'a':{'$in':[5,1]}}", NULL, NULL, "a_1", "7 5" },
    { "{'c':2}", NULL, NULL, "COLLSCAN", "2" },
    { "{}", "{'a':1}", NULL, "a_1", "0 7 4 1 8 5 2 9 6 3" },
    { "{}", "{'a':-1}", NULL, "a_1", "3 6 9 2 5 8 1 4 7 0" },
    { "{'a':{'$lt':3}}", "{'a':-1}", NULL, "a_1", "4 7 0" },
    { "{'a':{'$in':[1,3,5]}}", "{'a':-1}", NULL, "a_1", "5 1 7" },
    { "{}", "{'b':1,'a':-1}", NULL, "b_1_a_-1", "6 2 8 4 0 3 9 5 1 7" },
    { "{}", "{'b':-1,'a':1}", NULL, "b_1_a_-1", "7 1 5 9 3 0 4 8 2 6" },
    { "{'b':1}", "{'a':1}", "{'':'b_1_a_-1'}", "b_1_a_-1", "7 1 5 9 3" },
    { "{'c':{'$gt':6}}", "{'c':-1}", NULL, "COLLSCAN", "9 8 7" },
    { "{'a':4}", NULL, "{'':{'$natural':1}}", "COLLSCAN", "8" },
    { "{'a':4}", NULL, "{'':'_id_'}", "_id_", "8" },
    { "{'a':4}", NULL, "{'':{'b':1,'a':-1}}", "b_1_a_-1", "8" },
};

static void
plans_are_as_the_indexes_allow(void **state)
{
    (void)state;
    fill("p", 10, "{'_id':%d,'a':%d,'c':%d}");
    for (int32_t i = 0; i < 10; i++) {
        char text[128];

        (void)snprintf(
            text, sizeof text, "{'_id':%d,'a':%d,'b':%d,'c':%d}", i, (i * 3) % 10, i % 2, i);
        query_replace("p", i, fixture_document(text));
    }
    query_index("p", "{'key':{'a':1},'name':'a_1'}");
    query_index("p", "{'key':{'b':1,'a':-1},'name':'b_1_a_-1'}");
    for (size_t i = 0; i < sizeof plan_cases / sizeof *plan_cases; i++) {
        const struct plan_case *row = &plan_cases[i];
        struct run_query query = query_of(row->filter, row->sort, row->hint);

        assert_string_equal(query_ids("p", &query), row->ids);
        assert_string_equal(query_plan("p", &query), row->plan);
    }
}

static void
skip_and_limit_cut_the_result(void **state)
{
    struct run_query query;

    (void)state;
    fill("p", 10, "{'_id':%d,'a':%d,'c':%d}");
    query = query_of("{}", "{'a':1}", NULL);
    query.skip = 2;
    query.limit = 3;
    assert_string_equal(query_ids("p", &query), "8 7 6");
    query.skip = 9;
    assert_string_equal(query_ids("p", &query), "1");
    query.skip = 10;
    assert_string_equal(query_ids("p", &query), "");
    query.skip = 8;
    query.limit = 0;
    assert_string_equal(query_ids("p", &query), "2 1");
    query.skip = 3;
    query.limit = INT64_MAX;
    assert_string_equal(query_ids("p", &query), "7 6 5 4 3 2 1");
}

static void
a_hint_must_name_an_index_that_serves(void **state)
{
    static struct answer answer;
    struct run_query query;

    (void)state;
    fill("p", 3, "{'_id':%d,'a':%d,'c':%d}");
    query_index("p", "{'key':{'a':1},'name':'scalar','scalarOnly':true}");
    query = query_of("{'a':1}", NULL, "{'':'nothing'}");
    assert_int_equal(query_now("p", &query, 0, &answer), ERR_BAD_VALUE);
    query = query_of("{'a':1}", NULL, "{'':{'z':1}}");
    assert_int_equal(query_now("p", &query, 0, &answer), ERR_BAD_VALUE);
    query = query_of("{'a':1}", NULL, "{'':'scalar'}");
    assert_int_equal(query_now("p", &query, 0, &answer), ERR_BAD_VALUE);
    query = query_of("{'a':1}", NULL, "{'':7}");
    assert_int_not_equal(query_now("p", &query, 0, &answer), OK);
}

static void
sparse_indexes_serve_only_what_they_hold(void **state)
{
    struct run_query query;

    (void)state;
    fixture_create("s");
    OKAY(fixture_insert("s", "{'_id':1,'a':1}"));
    OKAY(fixture_insert("s", "{'_id':2}"));
    OKAY(fixture_insert("s", "{'_id':3,'a':null}"));
    query_index("s", "{'key':{'a':1},'name':'a','sparse':true}");
    query = query_of("{'a':1}", NULL, NULL);
    assert_string_equal(query_plan("s", &query), "a");
    assert_string_equal(query_ids("s", &query), "1");
    query = query_of("{'a':null}", NULL, NULL);
    assert_string_equal(query_plan("s", &query), "COLLSCAN");
    assert_string_equal(query_ids("s", &query), "2 3");
    query = query_of("{}", "{'a':-1}", NULL);
    assert_string_equal(query_plan("s", &query), "COLLSCAN");
    query = query_of("{}", "{'a':-1}", "{'':'a'}");
    assert_string_equal(query_ids("s", &query), "1 3");
}

/* ---- sorts ---- */

static void
expect_spilled(int64_t limit, unsigned every, const char *sort)
{
    static struct answer answer;
    struct run_query query = query_of("{}", sort, NULL);
    bool up = strstr(sort, "-1") == NULL;

    query.limit = limit;
    OKAY(query_now("big", &query, every, &answer));
    assert_int_equal(answer.count, limit > 0 ? limit : 3000);
    for (unsigned i = 0; i < answer.count; i++) {
        int32_t a = (int32_t)(up ? i : 2999 - i);

        assert_int_equal((answer.id[i] * 7919) % 3000, a);
    }
    assert_int_equal(temporary_files(), 0);
}

static void
large_sorts_go_through_files(void **state)
{
    (void)state;
    fixture_create("big");
    for (int32_t i = 0; i < 3000; i++) {
        char text[256];

        (void)snprintf(text, sizeof text, "{'_id':%d,'a':%d,'pad':'%0*d'}", i, (i * 7919) % 3000,
            20 + i % 100, i);
        OKAY(fixture_insert("big", text));
    }
    expect_spilled(0, 0, "{'a':1}");
    run_configure(65536);
    expect_spilled(0, 0, "{'a':1}");
    expect_spilled(0, 0, "{'a':-1}");
    expect_spilled(2000, 0, "{'a':1}");
    expect_spilled(0, 1000, "{'a':1}"); /* saved to a file, at last in the state itself */
    expect_spilled(2990, 500, "{'a':-1}");
    run_configure(WORK_MEM);
    expect_spilled(0, 700, "{'a':1}");
}

static void
a_forgotten_state_leaves_no_file(void **state)
{
    struct buf saved = buf_init((size_t)1 << 20);
    struct run_query query;
    struct bytes document;
    struct row_id root;
    struct txn *txn;
    struct run *run;
    bool found;

    (void)state;
    fill("big", 2000, "{'_id':%d,'a':%d,'c':%d}");
    query = query_of("{}", "{'a':1}", NULL);
    txn = fixture_begin(TXN_SNAPSHOT);
    catalog_enter();
    OKAY(run_begin(&fixture_op, fixture_find("big"), &query, txn_snapshot(txn), &run));
    OKAY(run_next(&fixture_op, run, &document, &root, &found));
    OKAY(run_save(run, "sort-test", &saved));
    run_end(run);
    assert_int_equal(temporary_files(), 1);
    run_forget(buf_bytes(&saved));
    assert_int_equal(temporary_files(), 0);
    /* It is gone: whoever takes it up is told. */
    assert_int_not_equal(run_restore(&fixture_op, fixture_find("big"), &query, txn_snapshot(txn),
                             buf_bytes(&saved), &run),
        OK);
    for (size_t i = 0; i < saved.size; i += 7)
        assert_int_not_equal(run_restore(&fixture_op, fixture_find("big"), &query,
                                 txn_snapshot(txn), (struct bytes){ saved.data, i }, &run),
            OK);
    catalog_leave();
    txn_abort(&fixture_op, txn);
    buf_fini(&saved);
}

static void
what_a_crash_left_in_tmp_is_removed(void **state)
{
    char path[4200];
    FILE *file;

    (void)state;
    (void)snprintf(path, sizeof path, "mkdir -p %s/tmp", control_data_dir());
    assert_int_equal(system(path), 0);
    (void)snprintf(path, sizeof path, "%s/tmp/sort-0123456789abcdef", control_data_dir());
    file = fopen(path, "w");
    assert_non_null(file);
    (void)fclose(file);
    fixture_detach();
    engine_release();
    fixture_open();
    assert_int_equal(temporary_files(), 0);
}

/* ---- cursors ---- */

/* Take `count` documents in batches, each in a section of its own, with `between` in between. */
static err_t
batches(const char *name, const struct run_query *query, bool save, void (*between)(unsigned batch),
    struct answer *answer)
{
    struct buf saved = buf_init((size_t)1 << 20);
    struct txn *txn = fixture_begin(TXN_SNAPSHOT);
    struct run *run = NULL;
    struct bytes document;
    struct row_id root;
    bool found = true;
    err_t err = OK;

    answer->count = 0;
    catalog_enter();
    TRY(run_begin(&fixture_op, fixture_find(name), query, txn_snapshot(txn), &run));
    for (unsigned batch = 0; found; batch++) {
        if (save) {
            buf_clear(&saved);
            TRY(run_save(run, "sort-test", &saved));
            run_end(run);
            run = NULL;
        } else
            run_pause(run);
        catalog_leave();
        if (between != NULL)
            between(batch);
        catalog_enter();
        if (save)
            TRY(run_restore(&fixture_op, fixture_find(name), query, txn_snapshot(txn),
                buf_bytes(&saved), &run));
        else
            TRY(run_resume(&fixture_op, run, fixture_find(name)));
        for (unsigned i = 0; i < 3 && found; i++) {
            TRY(run_next(&fixture_op, run, &document, &root, &found));
            if (found)
                answer->id[answer->count++] = (int32_t)fixture_number(document, "_id");
        }
    }
out:
    run_end(run);
    catalog_leave();
    txn_abort(&fixture_op, txn);
    buf_fini(&saved);
    return err;
}

static void
disturb(unsigned batch)
{
    char text[128];

    for (int32_t i = 0; i < 10; i++) {
        (void)snprintf(
            text, sizeof text, "{'_id':%d,'a':%d,'c':7}", i, (i + (int32_t)batch * 5) % 10);
        query_replace("p", i, fixture_document(text));
    }
    (void)snprintf(text, sizeof text, "{'_id':%u,'a':3,'c':1}", 100 + batch);
    OKAY(fixture_insert("p", text));
}

static void
a_cursor_sees_its_snapshot_between_batches(void **state)
{
    static const struct {
        const char *filter, *sort, *ids;
    } cases[] = {
        { "{}", NULL, "0 1 2 3 4 5 6 7 8 9" },
        { "{'a':{'$gte':0}}", NULL, "0 9 8 7 6 5 4 3 2 1" },
        { "{}", "{'a':-1}", "1 2 3 4 5 6 7 8 9 0" },
        { "{}", "{'c':1,'_id':1}", "0 1 2 3 4 5 6 7 8 9" },
        { "{'_id':4}", NULL, "4" },
        { "{'a':{'$in':[]}}", NULL, "" },
    };
    static struct answer answer;

    (void)state;
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        struct run_query query = query_of(cases[i / 2].filter, cases[i / 2].sort, NULL);
        char text[256] = "", *at = text;
        struct txn *txn;
        bool found;

        fill("p", 10, "{'_id':%d,'a':%d,'c':%d}");
        query_index("p", "{'key':{'a':1},'name':'a_1'}");
        OKAY(batches("p", &query, i % 2 == 0, disturb, &answer));
        for (unsigned n = 0; n < answer.count; n++)
            at += sprintf(at, n > 0 ? " %d" : "%d", answer.id[n]);
        assert_string_equal(text, cases[i / 2].ids);
        txn = fixture_begin(TXN_READ_COMMITTED);
        OKAY(catalog_drop_collection(&fixture_op, txn, TENANT, DATABASE, "p", &found));
        fixture_commit(txn);
    }
}

static void
drop_index(unsigned batch)
{
    bool found;

    if (batch == 2)
        OKAY(catalog_drop_index(&fixture_op, TENANT, DATABASE, "p", "a_1", &found));
}

static void
an_index_dropped_between_batches_ends_the_cursor(void **state)
{
    static struct answer answer;

    (void)state;
    fill("p", 20, "{'_id':%d,'a':%d,'c':%d}");
    for (unsigned i = 0; i < 2; i++) {
        struct run_query query = query_of("{'a':{'$gte':0}}", NULL, NULL);

        query_index("p", "{'key':{'a':1},'name':'a_1'}");
        assert_int_equal(batches("p", &query, i == 0, drop_index, &answer), ERR_OPERATION_FAILED);
        assert_int_equal(err_last_code(), 175);
        assert_int_equal(answer.count, 6);
    }
}

/* ---- writers beside ---- */

#define PAIRS 64

static atomic_bool stop;
static atomic_uint moves;

/* Each pair of documents always sums up to 1000, whatever is moved between the two. */
static void *
write_pairs(void *context)
{
    unsigned turn = (unsigned)(uintptr_t)context;

    fixture_attach();
    while (!atomic_load(&stop)) {
        struct arena_mark mark = arena_mark(fixture_op.arena);
        int32_t pair = (int32_t)(turn++ * 17 % PAIRS), amount = (int32_t)(turn * 31 % 1000);
        enum collection_action action;
        struct txn *txn;
        err_t err = OK;

        OKAY(txn_begin(&fixture_op, TXN_SNAPSHOT, true, &txn));
        for (int32_t half = 0; half < 2 && err == OK; half++) {
            char text[128];
            struct bytes document;
            struct collection_decider decider = { query_decide_replace, &document };
            struct row_id root;

            (void)snprintf(text, sizeof text, "{'_id':%d,'pair':%d,'a':%d}", 2 * pair + half, pair,
                half == 0 ? amount : 1000 - amount);
            document = fixture_document(text);
            assert_true(fixture_get(txn, "w", 2 * pair + half, &root).size > 0);
            catalog_enter();
            err = collection_change(&fixture_op, txn, fixture_find("w"), root, &decider, &action);
            catalog_leave();
        }
        if (err != OK)
            txn_abort(&fixture_op, txn);
        else if (txn_commit(&fixture_op, txn, false) == OK)
            atomic_fetch_add(&moves, 1);
        arena_rewind(fixture_op.arena, mark);
    }
    fixture_detach();
    return NULL;
}

static void
read_pairs(const struct run_query *query)
{
    static int64_t sums[PAIRS];
    struct bytes document;
    struct row_id root;
    struct txn *txn;
    struct run *run;
    unsigned count = 0;
    bool found;

    memset(sums, 0, sizeof sums);
    OKAY(txn_begin(&fixture_op, TXN_SNAPSHOT, true, &txn));
    catalog_enter();
    OKAY(run_begin(&fixture_op, fixture_find("w"), query, txn_snapshot(txn), &run));
    for (;; count++) {
        OKAY(run_next(&fixture_op, run, &document, &root, &found));
        if (!found)
            break;
        sums[fixture_number(document, "pair")] += fixture_number(document, "a");
    }
    run_end(run);
    catalog_leave();
    txn_abort(&fixture_op, txn);
    assert_int_equal(count, 2 * PAIRS);
    for (unsigned i = 0; i < PAIRS; i++)
        assert_int_equal(sums[i], 1000);
}

static void
writers_beside_do_not_disturb_a_query(void **state)
{
    const struct run_query queries[] = { query_of("{}", NULL, NULL),
        query_of("{'a':{'$gte':0}}", NULL, "{'':'a_1'}"), query_of("{}", "{'a':-1}", NULL),
        query_of("{}", "{'pair':1}", NULL) };
    pthread_t thread[2];

    (void)state;
    fixture_create("w");
    for (int32_t i = 0; i < 2 * PAIRS; i++) {
        char text[128];

        (void)snprintf(text, sizeof text, "{'_id':%d,'pair':%d,'a':500}", i, i / 2);
        OKAY(fixture_insert("w", text));
    }
    query_index("w", "{'key':{'a':1},'name':'a_1'}");
    atomic_store(&stop, false);
    for (uintptr_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, write_pairs, (void *)i), 0);
    for (unsigned i = 0; i < 120 || (i < 5000 && atomic_load(&moves) < 100); i++)
        read_pairs(&queries[i % 4]);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_true(atomic_load(&moves) > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(plans_are_as_the_indexes_allow),
        TEST(skip_and_limit_cut_the_result),
        TEST(a_hint_must_name_an_index_that_serves),
        TEST(sparse_indexes_serve_only_what_they_hold),
        TEST(large_sorts_go_through_files),
        TEST(a_forgotten_state_leaves_no_file),
        TEST(what_a_crash_left_in_tmp_is_removed),
        TEST(a_cursor_sees_its_snapshot_between_batches),
        TEST(an_index_dropped_between_batches_ends_the_cursor),
        TEST(writers_beside_do_not_disturb_a_query),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
