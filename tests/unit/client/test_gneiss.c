/*
 * test_gneiss.c - the library as a program uses it: one process, many threads, reopening, refusals,
 * and a process that is killed.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/gneiss.h"

#define THREADS 6
#define EACH    60
#define BUFFERS ((uint64_t)4 << 20)
#define COMMAND 128

static char folder[64];

static struct gneiss *
open_db(void)
{
    const struct gneiss_options options = { .create = true, .shared_buffers = BUFFERS };
    struct gneiss_error error = { .code = 0 };
    struct gneiss *db = gneiss_open(folder, &options, &error);

    if (db == NULL)
        print_error("%s\n", error.message);
    assert_non_null(db);
    return db;
}

static struct gneiss_session *
open_session(struct gneiss *db)
{
    struct gneiss_session *session = gneiss_session_open(db, NULL);

    assert_non_null(session);
    return session;
}

static void
close_db(struct gneiss *db)
{
    struct gneiss_error error;

    assert_int_equal(gneiss_close(db, &error), GNEISS_OK);
}

static int
make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/gneiss-client-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int
remove_folder(void **state)
{
    char command[COMMAND];

    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static int64_t
int_of(struct gneiss_bson document, const char *field)
{
    char *text = gneiss_bson_to_json(document, GNEISS_RELAXED);
    char key[64];
    const char *at;
    int64_t number = INT64_MIN;

    assert_non_null(text);
    (void)snprintf(key, sizeof key, "\"%s\":", field);
    at = strstr(text, key);
    if (at != NULL)
        number = strtoll(at + strlen(key), NULL, 10);
    gneiss_json_free(text);
    return number;
}

/* ---- one thread ---- */

static void
a_document_goes_in_and_comes_out(void **state)
{
    struct gneiss *db = open_db();
    struct gneiss_session *session = open_session(db);
    struct gneiss_collection *items = gneiss_collection(session, "shop", "items");
    struct gneiss_id id = gneiss_id_int64(7);
    struct gneiss_bson document, made;
    bool found;

    (void)state;
    assert_ptr_equal(items, gneiss_collection(session, "shop", "items"));
    assert_int_equal(gneiss_get(items, &id, &document, &found), GNEISS_OK);
    assert_false(found); /* not even the collection is there */
    assert_int_equal(gneiss_insert_json(items, "{\"n\": 3, \"_id\": 7}", &made), GNEISS_OK);
    assert_int_equal(int_of(made, "_id"), 7);
    assert_int_equal(gneiss_get(items, &id, &document, &found), GNEISS_OK);
    assert_true(found);
    assert_int_equal(int_of(document, "n"), 3);
    assert_int_equal(gneiss_insert_json(items, "{\"_id\": 7}", NULL), GNEISS_DUPLICATE);
    assert_non_null(strstr(gneiss_session_error(session)->message, "E11000"));
    assert_string_equal(gneiss_session_error(session)->name, "DuplicateKey");

    assert_int_equal(gneiss_insert_json(items, "{\"_id\": \"köln\", \"n\": 1}", NULL), GNEISS_OK);
    id = gneiss_id_string("köln");
    assert_int_equal(gneiss_get(items, &id, &document, &found), GNEISS_OK);
    assert_true(found);
    assert_true(gneiss_id_of(document, &id));
    assert_int_equal(gneiss_get(items, &id, &document, &found), GNEISS_OK);
    assert_true(found);

    assert_int_equal(gneiss_insert_json(items, "{\"n\": 9}", &made), GNEISS_OK);
    assert_true(gneiss_id_of(made, &id)); /* `made` is the session's: its id is used at once */
    assert_int_equal(gneiss_get(items, &id, &document, &found), GNEISS_OK);
    assert_true(found);
    gneiss_session_close(session);
    close_db(db);
}

static void
updates_deletes_and_counts_do_what_they_say(void **state)
{
    struct gneiss *db = open_db();
    struct gneiss_session *session = open_session(db);
    struct gneiss_collection *items = gneiss_collection(session, "d", "c");
    struct gneiss_update_result result;
    uint64_t count;
    bool found;

    (void)state;
    for (int i = 0; i < 10; i++) {
        char text[64];

        (void)snprintf(text, sizeof text, "{\"_id\": %d, \"even\": %s, \"n\": 0}", i,
            i % 2 == 0 ? "true" : "false");
        assert_int_equal(gneiss_insert_json(items, text, NULL), GNEISS_OK);
    }
    assert_int_equal(gneiss_update_json(
                         items, "{\"even\": true}", "{\"$inc\": {\"n\": 5}}", GNEISS_ALL, &result),
        GNEISS_OK);
    assert_int_equal(result.matched, 5);
    assert_int_equal(result.modified, 5);
    assert_int_equal(gneiss_count_json(items, "{\"n\": 5}", &count), GNEISS_OK);
    assert_int_equal(count, 5);
    assert_int_equal(gneiss_update_json(
                         items, "{\"_id\": 99}", "{\"$set\": {\"n\": 1}}", GNEISS_UPSERT, &result),
        GNEISS_OK);
    assert_true(result.upserted);
    assert_int_equal(gneiss_delete_json(items, "{\"even\": false}", GNEISS_ONE, &count), GNEISS_OK);
    assert_int_equal(count, 1);
    assert_int_equal(gneiss_delete_json(items, "{\"even\": false}", GNEISS_ALL, &count), GNEISS_OK);
    assert_int_equal(count, 4);
    assert_int_equal(gneiss_count(items, NULL, &count), GNEISS_OK);
    assert_int_equal(count, 6);
    assert_int_equal(gneiss_drop_collection(items, &found), GNEISS_OK);
    assert_true(found);
    assert_int_equal(gneiss_count(items, NULL, &count), GNEISS_OK);
    assert_int_equal(count, 0);
    gneiss_session_close(session);
    close_db(db);
}

static void
a_cursor_reads_one_moment_over_many_batches(void **state)
{
    enum { DOCUMENTS = 2000 };
    struct gneiss *db = open_db();
    struct gneiss_session *session = open_session(db);
    struct gneiss_collection *items = gneiss_collection(session, "d", "c");
    struct gneiss_cursor *cursor;
    struct gneiss_bson document;
    unsigned count = 0;
    uint64_t deleted;
    bool found;
    char text[160];

    (void)state;
    gneiss_session_set_durable(session, false);
    for (int i = 0; i < DOCUMENTS; i++) {
        (void)snprintf(text, sizeof text, "{\"_id\": %d, \"filler\": \"%0100d\"}", i, i);
        assert_int_equal(gneiss_insert_json(items, text, NULL), GNEISS_OK);
    }
    assert_int_equal(gneiss_flush(session), GNEISS_OK);
    assert_int_equal(gneiss_find(items, NULL, &cursor), GNEISS_OK);
    assert_int_equal(gneiss_find_next(cursor, &document, &found), GNEISS_OK);
    assert_true(found);
    assert_int_equal(gneiss_delete_json(items, "{}", GNEISS_ALL, &deleted), GNEISS_OK);
    assert_int_equal(deleted, DOCUMENTS);
    for (count = 1;; count++) {
        assert_int_equal(gneiss_find_next(cursor, &document, &found), GNEISS_OK);
        if (!found)
            break;
    }
    assert_int_equal(count, DOCUMENTS);
    gneiss_find_close(cursor);
    gneiss_session_close(session);
    close_db(db);
}

static void
sorts_skips_limits_and_indexes_work(void **state)
{
    struct gneiss *db = open_db();
    struct gneiss_session *session = open_session(db);
    struct gneiss_collection *items = gneiss_collection(session, "d", "c");
    const struct gneiss_bson *definitions;
    struct gneiss_cursor *cursor;
    struct gneiss_bson document;
    bool found, existed;
    size_t count;

    (void)state;
    for (int i = 0; i < 50; i++) {
        char text[64];

        (void)snprintf(text, sizeof text, "{\"_id\": %d, \"a\": %d}", i, (i * 7) % 50);
        assert_int_equal(gneiss_insert_json(items, text, NULL), GNEISS_OK);
    }
    for (int round = 0; round < 2; round++) {
        assert_int_equal(
            gneiss_find_json(items, "{\"a\": {\"$gte\": 10}}", "{\"a\": -1}", 2, 3, &cursor),
            GNEISS_OK);
        for (int expected = 47; expected > 44; expected--) {
            assert_int_equal(gneiss_find_next(cursor, &document, &found), GNEISS_OK);
            assert_true(found);
            assert_int_equal(int_of(document, "a"), expected);
        }
        assert_int_equal(gneiss_find_next(cursor, &document, &found), GNEISS_OK);
        assert_false(found);
        gneiss_find_close(cursor);
        assert_int_equal(
            gneiss_create_index_json(
                items, "{\"key\": {\"a\": 1}, \"name\": \"a_1\", \"unique\": true}", &existed),
            GNEISS_OK);
        assert_int_equal(existed, round == 1);
    }
    assert_int_equal(gneiss_insert_json(items, "{\"a\": 10}", NULL), GNEISS_DUPLICATE);
    assert_int_equal(gneiss_list_indexes(items, &definitions, &count), GNEISS_OK);
    assert_int_equal(count, 2);
    assert_int_equal(gneiss_drop_index(items, "a_1", &found), GNEISS_OK);
    assert_true(found);
    assert_int_equal(gneiss_insert_json(items, "{\"a\": 10}", NULL), GNEISS_OK);
    gneiss_session_close(session);
    close_db(db);
}

static void
bad_input_is_refused_and_harms_nothing(void **state)
{
    struct gneiss *db = open_db();
    struct gneiss_session *session = open_session(db);
    struct gneiss_collection *items = gneiss_collection(session, "d", "c");
    const unsigned char torn[] = { 9, 0, 0, 0, 0x10, 'a', 0, 1, 0 };
    struct gneiss_error error;
    uint64_t count;

    (void)state;
    assert_int_equal(
        gneiss_insert(items, (struct gneiss_bson){ torn, sizeof torn }, NULL), GNEISS_INVALID_BSON);
    assert_int_equal(gneiss_insert_json(items, "{\"a\": }", NULL), GNEISS_PARSE);
    assert_int_equal(
        gneiss_count_json(items, "{\"a\": {\"$nonsense\": 1}}", &count), GNEISS_BAD_VALUE);
    assert_null(gneiss_collection(session, "../etc", "c"));
    assert_null(gneiss_collection(session, "d", "a$b"));
    assert_int_equal(gneiss_close(db, &error), GNEISS_BUSY); /* a session is open */
    assert_int_equal(gneiss_insert_json(items, "{\"a\": 1}", NULL), GNEISS_OK);
    gneiss_session_close(session);
    close_db(db);
}

/* ---- reopening and refusing ---- */

static void
what_was_written_is_there_after_reopening(void **state)
{
    struct gneiss *db = open_db();
    struct gneiss_session *session = open_session(db);
    const char *const *names;
    size_t count;

    (void)state;
    assert_int_equal(
        gneiss_insert_json(gneiss_collection(session, "a", "x"), "{\"_id\": 1}", NULL), GNEISS_OK);
    gneiss_session_close(session);
    close_db(db);
    db = open_db();
    session = open_session(db);
    assert_int_equal(gneiss_list_databases(session, &names, &count), GNEISS_OK);
    assert_int_equal(count, 1);
    assert_string_equal(names[0], "a");
    assert_int_equal(gneiss_list_collections(session, "a", &names, &count), GNEISS_OK);
    assert_int_equal(count, 1);
    assert_string_equal(names[0], "x");
    gneiss_session_close(session);
    close_db(db);
}

/* This thread has private copies of the first directory's definitions when it opens the second. */
static void
two_directories_with_the_same_names_are_not_mixed_up(void **state)
{
    char second[sizeof folder], command[COMMAND];

    (void)state;
    for (int round = 0; round < 2; round++) {
        struct gneiss *db = open_db();
        struct gneiss_session *session = open_session(db);
        struct gneiss_collection *items = gneiss_collection(session, "d", "c");
        const struct gneiss_id id = gneiss_id_int64(1);
        struct gneiss_bson document;
        uint64_t count;
        bool found;

        if (round == 1) { /* other files than before stand behind the same name */
            assert_int_equal(
                gneiss_insert_json(gneiss_collection(session, "d", "first"), "{}", NULL),
                GNEISS_OK);
        }
        assert_int_equal(gneiss_get(items, &id, &document, &found), GNEISS_OK);
        assert_false(found);
        assert_int_equal(gneiss_insert_json(items, "{\"_id\": 1}", NULL), GNEISS_OK);
        assert_int_equal(gneiss_count(items, NULL, &count), GNEISS_OK);
        assert_int_equal(count, 1);
        gneiss_session_close(session);
        close_db(db);
        if (round == 0) {
            memcpy(second, folder, sizeof folder);
            assert_int_equal(make_folder(NULL), 0);
        }
    }
    (void)snprintf(command, sizeof command, "rm -rf '%s'", second);
    assert_int_equal(system(command), 0);
}

static void
a_directory_in_use_is_refused(void **state)
{
    struct gneiss *db = open_db();
    struct gneiss_error error;
    int status;
    pid_t pid;

    (void)state;
    assert_null(gneiss_open(folder, NULL, &error)); /* this process has it */
    assert_int_equal(error.code, GNEISS_IN_USE);
    close_db(db);

    pid = fork();
    if (pid == 0) { /* another process opens it, and is asked about from here */
        db = gneiss_open(folder, NULL, NULL);
        (void)raise(SIGSTOP);
        _exit(db != NULL && gneiss_close(db, NULL) == GNEISS_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    assert_null(gneiss_open(folder, NULL, &error));
    assert_int_equal(error.code, GNEISS_IN_USE);
    assert_non_null(strstr(error.message, "in use"));
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_null(gneiss_open("/tmp/there-is-no-such-directory-here", NULL, &error));
    assert_int_equal(error.code, GNEISS_IO);
}

static void
a_read_only_opening_writes_nothing(void **state)
{
    const struct gneiss_options options = { .read_only = true, .shared_buffers = BUFFERS };
    struct gneiss *db = open_db();
    struct gneiss_session *session;

    (void)state;
    close_db(db);
    db = gneiss_open(folder, &options, NULL);
    assert_non_null(db);
    session = open_session(db);
    assert_int_equal(
        gneiss_insert_json(gneiss_collection(session, "d", "c"), "{}", NULL), GNEISS_READ_ONLY);
    gneiss_session_close(session);
    close_db(db);
}

/* ---- many threads ---- */

struct worker {
    struct gneiss *db;
    int number;
    int failures;
};

static void *
work(void *context)
{
    struct worker *worker = context;
    struct gneiss_session *session = gneiss_session_open(worker->db, NULL);
    struct gneiss_collection *items;

    if (session == NULL) {
        worker->failures = 1;
        return NULL;
    }
    items = gneiss_collection(session, "d", "shared");
    gneiss_session_set_durable(session, worker->number % 2 == 0);
    for (int i = 0; i < EACH; i++) {
        const struct gneiss_id id = gneiss_id_int64(worker->number * 1000 + i);
        struct gneiss_bson document;
        char text[64];
        bool found;

        (void)snprintf(text, sizeof text, "{\"_id\": %d, \"w\": %d}", worker->number * 1000 + i,
            worker->number);
        worker->failures += gneiss_insert_json(items, text, NULL) != GNEISS_OK;
        worker->failures += gneiss_get(items, &id, &document, &found) != GNEISS_OK || !found;
        worker->failures += gneiss_update_json(items, "{\"_id\": -1}", "{\"$inc\": {\"n\": 1}}",
                                GNEISS_ONE, NULL) != GNEISS_OK;
    }
    gneiss_session_close(session);
    return NULL;
}

static void
many_threads_lose_no_increment(void **state)
{
    struct gneiss *db = open_db();
    struct gneiss_session *session = open_session(db);
    struct gneiss_collection *items = gneiss_collection(session, "d", "shared");
    const struct gneiss_id id = gneiss_id_int64(-1);
    struct worker worker[THREADS];
    struct gneiss_bson document;
    pthread_t thread[THREADS];
    uint64_t count;
    bool found;

    (void)state;
    assert_int_equal(gneiss_insert_json(items, "{\"_id\": -1, \"n\": 0}", NULL), GNEISS_OK);
    for (int i = 0; i < THREADS; i++) {
        worker[i] = (struct worker){ .db = db, .number = i };
        assert_int_equal(pthread_create(&thread[i], NULL, work, &worker[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(worker[i].failures, 0);
    }
    assert_int_equal(gneiss_get(items, &id, &document, &found), GNEISS_OK);
    assert_true(found);
    assert_int_equal(int_of(document, "n"), THREADS * EACH);
    assert_int_equal(gneiss_count(items, NULL, &count), GNEISS_OK);
    assert_int_equal(count, THREADS * EACH + 1);
    gneiss_session_close(session);
    close_db(db);
}

static void *
count_once(void *context)
{
    struct gneiss_collection *items = context;
    uint64_t count = 0;

    return gneiss_count(items, NULL, &count) == GNEISS_OK && count == 1 ? context : NULL;
}

static void
a_session_may_be_handed_from_thread_to_thread(void **state)
{
    struct gneiss *db = open_db();
    struct gneiss_session *first = open_session(db), *second = open_session(db);
    struct gneiss_collection *items = gneiss_collection(first, "d", "c");
    void *result;

    (void)state;
    assert_int_equal(gneiss_insert_json(items, "{}", NULL), GNEISS_OK);
    for (int i = 0; i < 4; i++) {
        pthread_t thread;
        uint64_t count;

        assert_int_equal(pthread_create(&thread, NULL, count_once, items), 0);
        assert_int_equal(pthread_join(thread, &result), 0);
        assert_ptr_equal(result, items);
        assert_int_equal(
            gneiss_count(gneiss_collection(second, "d", "c"), NULL, &count), GNEISS_OK);
        assert_int_equal(count, 1);
    }
    gneiss_session_interrupt(first);
    assert_ptr_equal(count_once(items), NULL);
    assert_int_equal(gneiss_session_error(first)->code, GNEISS_INTERRUPTED);
    assert_ptr_equal(count_once(items), items);
    gneiss_session_close(second);
    gneiss_session_close(first);
    close_db(db);
}

/* ---- a crash ---- */

static void
write_until_killed(int report_fd)
{
    struct gneiss *db = open_db();
    struct gneiss_session *session = gneiss_session_open(db, NULL);
    struct gneiss_collection *items = gneiss_collection(session, "d", "c");

    for (int32_t i = 0;; i++) {
        char text[64];

        (void)snprintf(text, sizeof text, "{\"_id\": %d, \"n\": %d}", i, i);
        if (gneiss_insert_json(items, text, NULL) != GNEISS_OK ||
            write(report_fd, &i, sizeof i) != sizeof i)
            _exit(1);
    }
}

static void
every_acknowledged_write_survives_kill_9(void **state)
{
    struct gneiss_session *session;
    struct gneiss_collection *items;
    int32_t acknowledged = -1, number;
    struct gneiss *db;
    int fds[2], status;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        (void)close(fds[0]);
        write_until_killed(fds[1]);
    }
    (void)close(fds[1]);
    for (int i = 0; i < 40 && read(fds[0], &number, sizeof number) == sizeof number; i++)
        acknowledged = number;
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (read(fds[0], &number, sizeof number) == sizeof number)
        acknowledged = number;
    (void)close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(acknowledged >= 39);

    db = open_db();
    session = open_session(db);
    items = gneiss_collection(session, "d", "c");
    for (int32_t i = 0; i <= acknowledged; i++) {
        const struct gneiss_id id = gneiss_id_int64(i);
        struct gneiss_bson document;
        bool found;

        assert_int_equal(gneiss_get(items, &id, &document, &found), GNEISS_OK);
        assert_true(found);
        assert_int_equal(int_of(document, "n"), i);
    }
    gneiss_session_close(session);
    close_db(db);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(every_acknowledged_write_survives_kill_9),
        WITH_FOLDER(a_directory_in_use_is_refused),
        WITH_FOLDER(two_directories_with_the_same_names_are_not_mixed_up),
        WITH_FOLDER(a_document_goes_in_and_comes_out),
        WITH_FOLDER(updates_deletes_and_counts_do_what_they_say),
        WITH_FOLDER(a_cursor_reads_one_moment_over_many_batches),
        WITH_FOLDER(bad_input_is_refused_and_harms_nothing),
        WITH_FOLDER(what_was_written_is_there_after_reopening),
        WITH_FOLDER(a_read_only_opening_writes_nothing),
        WITH_FOLDER(many_threads_lose_no_increment),
        WITH_FOLDER(a_session_may_be_handed_from_thread_to_thread),
        WITH_FOLDER(sorts_skips_limits_and_indexes_work),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
