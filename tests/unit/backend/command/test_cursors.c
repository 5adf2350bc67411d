/*
 * test_cursors.c - batches, parked and taken up again, also by another process (a thread here).
 */
#include <pthread.h>

#include "backend/command/cursors_table.h"
#include "base/clock.h"
#include "storage/collection/catalog.h"
#include "tests/unit/backend/command/verbfixture.h"

#define ROWS 300

static void
fill(size_t size)
{
    for (int32_t i = 0; i < ROWS; i++)
        put(i, (i * 7) % ROWS, size);
}

/* Read `most` documents, each with the next number under `key`; yields the cursor's new id. */
static int64_t
batch(struct cursor *cursor, const char *key, int32_t *next, int32_t most)
{
    int64_t id = 0;

    for (int32_t i = 0; i < most; i++) {
        struct bytes document;
        bool found;

        OKAY(cursors_next(&op, cursor, &document, &found));
        if (!found) {
            cursors_close(&op, cursor);
            return 0;
        }
        assert_int_equal(number_of(document, key), *next);
        ++*next;
    }
    OKAY(cursors_park(&op, cursor, 5, &id));
    assert_true(id > 0);
    assert_true(ledger_empty());
    return id;
}

static void
read_all(const struct run_query *query, const char *key, int32_t most)
{
    struct cursor *cursor;
    int32_t next = 0;
    int64_t id;

    OKAY(cursors_open(&op, &ns, query, NULL, &cursor));
    id = batch(cursor, key, &next, most);
    while (id != 0) {
        assert_int_equal(cursors_open_count(), 1);
        OKAY(cursors_take(&op, id, &ns, 5, &cursor));
        id = batch(cursor, key, &next, most);
    }
    assert_int_equal(next, ROWS);
    assert_int_equal(cursors_open_count(), 0);
}

static void
batches_give_every_document_once(void **state)
{
    const struct run_query all = { .skip = 0 }, sorted = { .sort = pair("a", 1) };

    (void)state;
    fill(50);
    read_all(&all, "_id", 7);
    read_all(&sorted, "a", 7);
}

static void
a_large_sorted_rest_survives_in_a_file(void **state)
{
    const struct run_query sorted = { .sort = pair("a", 1) };

    (void)state;
    fill(2000);
    read_all(&sorted, "a", 10);
}

static void
a_large_query_survives_in_a_file(void **state)
{
    struct run_query query = { .skip = 0 };
    struct bsonbuild build;

    (void)state;
    fill(10);
    bsonbuild_begin_arena(&build, op.arena);
    bsonbuild_document_begin(&build, "_id");
    bsonbuild_array_begin(&build, "$in");
    for (int32_t i = 0; i < ROWS; i++)
        bsonbuild_int32(&build, NULL, i);
    bsonbuild_array_end(&build);
    bsonbuild_document_end(&build);
    OKAY(bsonbuild_end(&build, &query.filter));
    assert_true(query.filter.size > CURSORS_TABLE_QUERY_MAX);
    read_all(&query, "_id", 11);
}

static void
a_document_that_did_not_fit_comes_again(void **state)
{
    const struct run_query all = { .skip = 0 };
    struct cursor *cursor;
    struct bytes document;
    int64_t id;
    bool found;

    (void)state;
    fill(100);
    OKAY(cursors_open(&op, &ns, &all, NULL, &cursor));
    for (int32_t i = 0; i < ROWS; i++) {
        OKAY(cursors_next(&op, cursor, &document, &found));
        assert_int_equal(number_of(document, "_id"), i);
        OKAY(cursors_next(&op, cursor, &document, &found));
        if (!found)
            break;
        cursors_unread(cursor);
        OKAY(cursors_park(&op, cursor, 0, &id));
        OKAY(cursors_take(&op, id, &ns, 0, &cursor));
    }
    cursors_close(&op, cursor);
}

static void
a_cursor_reads_one_snapshot(void **state)
{
    const struct run_query all = { .skip = 0 };
    struct cursor *cursor;
    int32_t next = 0;
    uint64_t deleted;
    int64_t id;

    (void)state;
    fill(10);
    OKAY(cursors_open(&op, &ns, &all, NULL, &cursor));
    id = batch(cursor, "_id", &next, 10);
    OKAY(verb_delete(&op, &ns, (struct bytes){ NULL, 0 }, (struct bytes){ NULL, 0 }, true,
        (struct verb_write){ .txn = NULL }, &deleted));
    assert_int_equal(deleted, ROWS);
    OKAY(cursors_take(&op, id, &ns, 5, &cursor));
    assert_int_equal(batch(cursor, "_id", &next, ROWS), 0);
    assert_int_equal(next, ROWS);
}

static void
only_its_own_session_and_collection_may_go_on(void **state)
{
    const struct verb_ns other = { "t", "db", "other" };
    const struct run_query all = { .skip = 0 };
    struct cursor *cursor;
    int32_t next = 0;
    int64_t id;
    bool found;

    (void)state;
    fill(10);
    OKAY(cursors_open(&op, &ns, &all, NULL, &cursor));
    id = batch(cursor, "_id", &next, 10);
    assert_int_equal(cursors_take(&op, id, &other, 5, &cursor), ERR_UNAUTHORIZED);
    assert_int_equal(cursors_take(&op, id, &ns, 6, &cursor), ERR_UNAUTHORIZED);
    assert_int_equal(
        cursors_take(&op, id + ((int64_t)1 << 40), &ns, 5, &cursor), ERR_CURSOR_NOT_FOUND);
    assert_int_equal(cursors_take(&op, -1, &ns, 5, &cursor), ERR_CURSOR_NOT_FOUND);
    OKAY(verb_drop_collection(&op, &ns, &found));
    assert_int_equal(cursors_take(&op, id, &ns, 5, &cursor), ERR_CURSOR_NOT_FOUND);
    assert_int_equal(err_last_code(), 175);
    assert_int_equal(cursors_open_count(), 0);
}

static void
killed_expired_and_ended_ones_are_gone(void **state)
{
    const struct run_query all = { .skip = 0 };
    struct cursor *cursor;
    int32_t next;
    int64_t id[3];

    (void)state;
    fill(10);
    for (unsigned i = 0; i < 3; i++) {
        next = 0;
        OKAY(cursors_open(&op, &ns, &all, NULL, &cursor));
        if (i == 2)
            cursors_set_no_timeout(cursor);
        id[i] = batch(cursor, "_id", &next, 10);
    }
    assert_true(cursors_kill(&op, id[0], &ns));
    assert_false(cursors_kill(&op, id[0], &ns));
    cursors_expire((int64_t)60 * 1000000000);
    assert_int_equal(cursors_open_count(), 2);
    cursors_expire(0);
    assert_int_equal(cursors_open_count(), 1);
    cursors_end_owner(6);
    assert_int_equal(cursors_open_count(), 1);
    cursors_end_owner(5);
    assert_int_equal(cursors_open_count(), 0);
    assert_int_equal(cursors_take(&op, id[2], &ns, 5, &cursor), ERR_CURSOR_NOT_FOUND);
}

static void
a_full_table_refuses_the_next(void **state)
{
    const struct run_query all = { .skip = 0 };
    struct cursor *cursor;
    int32_t next;
    int64_t id;

    (void)state;
    fill(10);
    for (unsigned i = 0; i < 16; i++) {
        next = 0;
        OKAY(cursors_open(&op, &ns, &all, NULL, &cursor));
        (void)batch(cursor, "_id", &next, 10);
    }
    OKAY(cursors_open(&op, &ns, &all, NULL, &cursor));
    assert_int_equal(cursors_park(&op, cursor, 5, &id), ERR_TOO_MANY);
    cursors_end_owner(5);
    assert_int_equal(cursors_open_count(), 0);
}

/* A process that dies with a cursor taken: a thread that leaves its slot as it is. */
static unsigned dead_slot;
static int64_t dead_id;

static void *
take_and_die(void *context)
{
    uint32_t index;

    (void)context;
    if (proc_attach(PROC_BACKEND) == OK &&
        cursors_table_take(dead_id, NULL, 0, &index) == CURSORS_TABLE_TAKEN)
        dead_slot = proc_self->index;
    return NULL;
}

static void
what_a_dead_process_had_taken_is_freed(void **state)
{
    const struct run_query sorted = { .sort = pair("a", 1) };
    struct cursor *cursor;
    pthread_t thread;
    int32_t next = 0;

    (void)state;
    fill(2000);
    OKAY(cursors_open(&op, &ns, &sorted, NULL, &cursor));
    dead_id = batch(cursor, "a", &next, 10);
    dead_slot = UINT32_MAX;
    assert_int_equal(pthread_create(&thread, NULL, take_and_die, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(dead_slot != UINT32_MAX);
    assert_int_equal(cursors_open_count(), 1);
    assert_int_equal(cursors_take(&op, dead_id, &ns, 5, &cursor), ERR_CURSOR_NOT_FOUND);
    assert_int_equal(err_last_code(), 12051);
    OKAY(ledger_release_dead(dead_slot));
    proc_bury(dead_slot);
    assert_int_equal(cursors_open_count(), 0);
    assert_int_equal(cursors_take(&op, dead_id, &ns, 5, &cursor), ERR_CURSOR_NOT_FOUND);
    assert_int_equal(err_last_code(), 43);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(batches_give_every_document_once),
        TEST(a_large_sorted_rest_survives_in_a_file),
        TEST(a_large_query_survives_in_a_file),
        TEST(a_document_that_did_not_fit_comes_again),
        TEST(a_cursor_reads_one_snapshot),
        TEST(only_its_own_session_and_collection_may_go_on),
        TEST(killed_expired_and_ended_ones_are_gone),
        TEST(a_full_table_refuses_the_next),
        TEST(what_a_dead_process_had_taken_is_freed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
