/*
 * test_btree_many.c - many processes in one tree: threads in their place, and real ones that are
 * killed.
 */
#include "treefixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/panic.h"
#include "wal/wal_insert.h"

#define WRITERS  4
#define EACH     3000
#define AT_ONCE  50
#define ROUNDS   6
#define KEY_SIZE 12

static _Atomic unsigned running;

/* Writers' numbers interleave, so that they meet on the same pages. */
static struct bytes
key_for(uint8_t key[KEY_SIZE], unsigned writer, unsigned number)
{
    uint32_t spread = (number * 2654435761u) >> 8;

    (void)snprintf((char *)key, KEY_SIZE, "%06u%04u", spread % 5000, number % 10000);
    key[KEY_SIZE - 1] = (uint8_t)('a' + writer);
    return (struct bytes){ key, KEY_SIZE };
}

static int
compare_keys(const void *a, const void *b)
{
    return bytes_compare(
        ((const struct index_entry *)a)->key, ((const struct index_entry *)b)->key);
}

/* Some of a writer's numbers by one call. */
static void
insert_some(unsigned writer, unsigned first, unsigned count)
{
    struct index_entry entries[AT_ONCE];
    uint8_t keys[AT_ONCE][KEY_SIZE];
    size_t done;

    for (unsigned i = 0; i < count; i++)
        entries[i] = (struct index_entry){ key_for(keys[i], writer, first + i),
            row_number(writer * EACH + first + i) };
    qsort(entries, count, sizeof entries[0], compare_keys);
    invariant(methods->insert_many(NULL, &tree, entries, count, 1, NULL, &done) == OK);
    invariant(done == count);
}

static void *
insert_all(void *argument)
{
    unsigned writer = (unsigned)(uintptr_t)argument;

    invariant(proc_attach(PROC_BACKEND) == OK);
    for (unsigned i = 0; i < EACH; i++) {
        uint8_t key[KEY_SIZE];

        if (i % 1000 == 500) { /* half of them many at a time */
            for (unsigned end = i + 500; i < end; i += AT_ONCE)
                insert_some(writer, i, AT_ONCE);
            i--;
            continue;
        }
        invariant(tree_insert(key_for(key, writer, i), row_number(writer * EACH + i), NULL) ==
                  INDEX_FREE);
    }
    invariant(ledger_empty() && lwlock_none_held());
    proc_detach();
    atomic_fetch_sub(&running, 1);
    return NULL;
}

/* What was there before a scan began is in it once, in order. */
static void *
scan_all(void *argument)
{
    bool backward = argument != NULL;

    invariant(proc_attach(PROC_BACKEND) == OK);
    while (atomic_load(&running) > 0) {
        struct index_range range = { .backward = backward };
        uint8_t last[KEY_SIZE] = { 0 };
        struct index_scan *scan;
        unsigned old = 0;
        bool found = true, first = true;

        OKAY(methods->scan_begin(NULL, &tree, &range, &scan));
        while (found) {
            struct index_entry entry;

            OKAY(methods->scan_next(NULL, scan, &entry, &found));
            if (!found)
                break;
            if (!first) {
                int order = memcmp(last, entry.key.data, KEY_SIZE);

                invariant(backward ? order > 0 : order < 0);
            }
            first = false;
            memcpy(last, entry.key.data, KEY_SIZE);
            old += entry.key.data[KEY_SIZE - 1] == 'z';
        }
        methods->scan_end(scan);
        invariant(old == 500);
    }
    btree_scan_forget_private();
    proc_detach();
    return NULL;
}

/* Takes out the rows of a writer that has none, and so walks and now and then empties pages. */
static bool
is_ballast(void *context, struct row_id row)
{
    (void)context;
    return btree_page_place(row) >= btree_page_place(row_number(900000)) &&
           btree_page_place(row) < btree_page_place(row_number(990000));
}

static void *
vacuum_all(void *argument)
{
    unsigned number = 900000;

    (void)argument;
    invariant(proc_attach(PROC_BACKEND) == OK);
    while (atomic_load(&running) > 0) {
        uint64_t removed;

        for (unsigned i = 0; i < 1500; i++, number++) {
            uint8_t key[KEY_SIZE];

            invariant(tree_insert(key_for(key, 20, number), row_number(number % 90000 + 900000),
                          NULL) == INDEX_FREE);
        }
        OKAY(methods->remove(NULL, &tree, is_ballast, NULL, &removed));
        invariant(removed == 1500);
    }
    proc_detach();
    return NULL;
}

static void
writers_scanners_and_vacuum_do_not_disturb_each_other(void **state)
{
    pthread_t writers[WRITERS], forward, backward, vacuum;

    (void)state;
    for (unsigned i = 0; i < 500; i++) {
        uint8_t key[KEY_SIZE];

        (void)key_for(key, 25, i);
        assert_int_equal(
            tree_insert((struct bytes){ key, KEY_SIZE }, row_number(995000 + i), NULL), INDEX_FREE);
    }
    atomic_store(&running, WRITERS);
    for (uintptr_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&writers[i], NULL, insert_all, (void *)i), 0);
    assert_int_equal(pthread_create(&forward, NULL, scan_all, NULL), 0);
    assert_int_equal(pthread_create(&backward, NULL, scan_all, &running), 0);
    assert_int_equal(pthread_create(&vacuum, NULL, vacuum_all, NULL), 0);
    for (unsigned i = 0; i < WRITERS; i++)
        (void)pthread_join(writers[i], NULL);
    (void)pthread_join(forward, NULL);
    (void)pthread_join(backward, NULL);
    (void)pthread_join(vacuum, NULL);
    assert_int_equal(tree_check(), WRITERS * EACH + 500);
}

/* --- real processes, killed at any time; then the log makes the tree anew --- */

struct progress {
    _Atomic unsigned done[WRITERS]; /* keys of this writer that are in the flushed log */
};

static void __attribute__((noreturn)) write_until_killed(struct progress *progress, unsigned writer)
{
    proc_use(NULL);
    invariant(proc_attach(PROC_BACKEND) == OK);
    for (unsigned i = atomic_load(&progress->done[writer]);; i++) {
        uint8_t key[KEY_SIZE];

        invariant(tree_insert(key_for(key, writer, i), row_number(writer * 100000 + i), NULL) ==
                  INDEX_FREE);
        if (i % 8 == 0)
            wal_flush(wal_insert_position());
        if (i % 8 == 0)
            atomic_store(&progress->done[writer], i + 1);
    }
}

static void
what_was_flushed_outlives_kill_at_any_time(void **state)
{
    struct progress *progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_ptr_not_equal(progress, MAP_FAILED);
    for (unsigned round = 0; round < ROUNDS; round++) {
        pid_t pids[WRITERS];

        for (unsigned i = 0; i < WRITERS; i++) {
            pids[i] = fork();
            assert_true(pids[i] >= 0);
            if (pids[i] == 0)
                write_until_killed(progress, i);
        }
        (void)usleep(60000 + round * 7000);
        for (unsigned i = 0; i < WRITERS; i++)
            (void)kill(pids[i], SIGKILL);
        for (unsigned i = 0; i < WRITERS; i++) {
            int status;

            (void)waitpid(pids[i], &status, 0);
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        }
        fixture_crash();
        fixture_start();
        (void)tree_check();
        for (unsigned i = 0; i < WRITERS; i++) {
            for (unsigned k = 0; k < atomic_load(&progress->done[i]); k++) {
                uint8_t key[KEY_SIZE];
                struct row_id row;
                size_t count;

                OKAY(methods->lookup(NULL, &tree, key_for(key, i, k), &row, 1, &count));
                assert_true(count > 0);
            }
        }
    }
    (void)munmap(progress, sizeof *progress);
}

static int
shared_setup(void **state)
{
    (void)state;
    tree_make(4 << 20, 8192);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            writers_scanners_and_vacuum_do_not_disturb_each_other, shared_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            what_was_flushed_outlives_kill_at_any_time, shared_setup, fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
