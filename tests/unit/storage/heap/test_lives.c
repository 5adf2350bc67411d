/*
 * test_lives.c - one process opens, closes and opens data directories again; what it remembers
 * privately of one life must not matter in the next.
 */
#include "heapfixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "base/crit.h"

#define ROWS    3000u
#define THREADS 2u

/* A data directory between its lives. */
struct home {
    char dir[sizeof fixture_dir];
    struct config *config;
    struct heap heap;
    uint64_t rows; /* that must be there */
};

static pthread_barrier_t barrier;
static _Atomic int work_to_do; /* 0: end */

static void
insert_some(unsigned count, size_t size)
{
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);
    uint8_t *row = malloc(size);

    memset(row, 'r', size);
    for (unsigned i = 0; i < count; i++) {
        struct row_id root;

        for (size_t k = 0; k < size; k += 3)
            row[k] = (uint8_t)(k * 31 + i);
        OKAY(heap_insert(NULL, &fixture_heap, txn, (struct bytes){ row, size }, &root));
    }
    OKAY(txn_commit(NULL, txn, true));
    free(row);
}

static uint64_t
count_rows(void)
{
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);
    struct row_id root;
    struct bytes row;
    struct heap_scan *scan;
    uint64_t count = 0;
    bool found = true;

    OKAY(heap_scan_begin(NULL, &fixture_heap, txn_snapshot(txn), &scan));
    for (;;) {
        OKAY(heap_scan_next(NULL, scan, &row, &root, NULL, &found));
        if (!found)
            break;
        count++;
    }
    heap_scan_end(scan);
    fixture_commit(txn);
    return count;
}

/* Threads outlive directories, as those of a program that uses the library do. */
static void *
work_in_each_life(void *unused)
{
    (void)unused;
    for (;;) {
        (void)pthread_barrier_wait(&barrier);
        if (atomic_load(&work_to_do) == 0)
            break;
        OKAY(proc_attach(PROC_EMBEDDED));
        insert_some(ROWS, 60);
        insert_some(3, 50000);
        (void)count_rows();
        proc_detach();
        (void)pthread_barrier_wait(&barrier);
    }
    txn_forget_private();
    return NULL;
}

static void
make_home(struct home *home, int64_t pool_bytes, uint32_t page_size)
{
    fixture_make(pool_bytes, page_size);
    fixture_start();
    fixture_new_heap();
    memcpy(home->dir, fixture_dir, sizeof fixture_dir);
    home->config = fixture_config;
    home->heap = fixture_heap;
    home->rows = 0;
}

static void
close_in_order(void)
{
    OKAY(checkpoint_run(CHECKPOINT_FAST | CHECKPOINT_FINAL));
    OKAY(wal_close());
    proc_detach();
    segment_destroy();
}

static void
live_at(struct home *home, bool in_order)
{
    memcpy(fixture_dir, home->dir, sizeof fixture_dir);
    fixture_config = home->config;
    fixture_heap = home->heap;
    if (segment_size() == 0)
        fixture_start();
    assert_int_equal(count_rows(), home->rows);
    atomic_store(&work_to_do, 1);
    (void)pthread_barrier_wait(&barrier);
    (void)pthread_barrier_wait(&barrier);
    home->rows += THREADS * (ROWS + 3);
    assert_int_equal(fixture_check(), home->rows);
    assert_int_equal(pool_pin_total(), 0);
    if (in_order)
        close_in_order();
    else
        fixture_crash();
}

static void
directories_are_opened_and_closed_in_turn(void **state)
{
    pthread_t thread[THREADS];
    struct home one, two;

    (void)state;
    assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS + 1), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work_in_each_life, NULL), 0);
    make_home(&one, 4 << 20, 8192);
    live_at(&one, true);
    live_at(&one, true);
    make_home(&two, 1 << 20, 4096); /* fewer buffers, other pages, the same numbers of files */
    live_at(&two, false);
    live_at(&one, false);
    live_at(&two, true);
    live_at(&one, true);
    atomic_store(&work_to_do, 0);
    (void)pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    (void)pthread_barrier_destroy(&barrier);
    fixture_remove();
    memcpy(fixture_dir, two.dir, sizeof fixture_dir);
    fixture_config = two.config;
    fixture_remove();
    txn_forget_private();
}

/* A child of the process that recovered, as the postmaster forks them. */
static void
child_works(bool die_at_it)
{
    lwlock_forget();
    proc_use(NULL);
    if (proc_attach(PROC_BACKEND) != OK)
        _exit(1);
    insert_some(500, 100);
    if (die_at_it) {
        struct txn *txn = fixture_begin(TXN_READ_COMMITTED);

        (void)fixture_insert(txn, "never committed");
        crit_begin();
        (void)kill(getpid(), SIGKILL);
    }
    proc_detach();
    _exit(0);
}

/* Children come and go; one dies in the middle of a change; memory is made anew in place. */
static void
memory_is_made_anew_in_place_after_a_crash(void **state)
{
    uint64_t rows = 0;

    (void)state;
    for (unsigned round = 0; round < 4; round++) {
        struct control control;

        (void)count_rows(); /* so that the parent remembers pages, files and buffers */
        for (int die = 0; die < 2; die++) {
            pid_t pid = fork();
            int status;

            assert_true(pid >= 0);
            if (pid == 0)
                child_works(die != 0);
            assert_int_equal(waitpid(pid, &status, 0), pid);
            assert_true(die ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
            rows += 500;
        }
        proc_use(NULL);
        segment_rebuild(fixture_config);
        OKAY(proc_attach(PROC_BACKEND));
        OKAY(control_read(fixture_dir, &control));
        control_share(&control, fixture_dir);
        OKAY(wal_open(fixture_config, fixture_dir, fixture_handlers, NULL, &fixture_found));
        txn_recovered();
        assert_int_equal(count_rows(), rows);
        assert_true(fixture_check() >= rows);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directories_are_opened_and_closed_in_turn),
        cmocka_unit_test_setup_teardown(
            memory_is_made_anew_in_place_after_a_crash, fixture_setup, fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
