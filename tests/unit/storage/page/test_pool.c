/*
 * test_pool.c - the buffer pool: what is written is read, what is damaged is refused, the dead
 * leave nothing behind.
 */
#include "page_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "storage/page/pool_buffer.h"

#define MIB ((int64_t)1 << 20)

static uint32_t
next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void
write_of_a_hundred_pools_is_read_back(void **state)
{
    const block_t count = (block_t)((50u << 20) / fixture_page_size); /* through 1 MiB */
    uint8_t *page = malloc(PAGE_SIZE_MAX);
    struct pool_status status;
    fileno_t file;

    (void)state;
    fixture_open(MIB);
    file = fixture_file();
    fixture_fill(file, count, 1000);
    for (int use = POOL_NORMAL; use <= POOL_BULK_WRITE; use++)
        for (block_t i = 0; i < count; i++) {
            assert_int_equal(pool_copy((struct page_id){ file, i }, (enum pool_use)use, page), OK);
            assert_int_equal(fixture_number(page), 1000 + i);
        }
    assert_int_equal(pool_write_all(), OK);
    pool_status(&status);
    assert_int_equal(status.buffers, (1u << 20) / fixture_page_size);
    assert_int_equal(status.dirty, 0);
    assert_int_equal(status.pinned, 0);
    fixture_reopen(MIB);
    for (block_t i = 0; i < count; i += 7) {
        assert_int_equal(pool_copy((struct page_id){ file, i }, POOL_NORMAL, page), OK);
        assert_int_equal(fixture_number(page), 1000 + i);
    }
    free(page);
    fixture_close();
}

static void
a_page_is_written_only_after_its_log(void **state)
{
    uint8_t *page = malloc(PAGE_SIZE_MAX);
    fileno_t file;
    block_t seen = 0;

    (void)state;
    fixture_open(MIB);
    file = fixture_file();
    fixture_fill(file, 1000, 5);
    for (block_t i = 0; i < 1000; i++) {
        assert_int_equal(datafile_read((struct page_id){ file, i }, page), OK);
        if (((struct page_header *)(void *)page)->kind == PAGE_ZERO)
            continue;
        assert_true(page_valid(page, (struct page_id){ file, i }));
        assert_true(((struct page_header *)(void *)page)->lsn <= wal_flush_done());
        seen++;
    }
    assert_true(seen >= 1000 - 128);
    free(page);
    fixture_close();
}

static void
every_damaged_page_is_refused_and_not_kept(void **state)
{
    uint32_t seed = 7;
    fileno_t file;
    uint8_t *good = malloc(PAGE_SIZE_MAX);
    uint8_t *bad = malloc(PAGE_SIZE_MAX);

    (void)state;
    fixture_open(MIB);
    file = fixture_file();
    fixture_fill(file, 4, 77);
    assert_int_equal(pool_write_all(), OK);
    assert_int_equal(datafile_read((struct page_id){ file, 2 }, good), OK);
    for (int round = 0; round < 400; round++) {
        struct page_id id = { file, 2 };
        buffer_t buffer;
        uint32_t where = next_random(&seed) % wal_page_size;

        memcpy(bad, good, wal_page_size);
        if (round % 4 == 0) { /* torn: the head or the tail is of another time */
            size_t cut = wal_page_size / 16 * (1 + next_random(&seed) % 15);

            memset(
                bad + (round % 8 == 0 ? 0 : cut), 0x5a, round % 8 == 0 ? cut : wal_page_size - cut);
        } else {
            bad[where] ^= (uint8_t)(1u << next_random(&seed) % 8);
        }
        pool_forget(file, 0);
        assert_int_equal(datafile_write(id, bad), OK);
        assert_int_equal(pool_pin(id, POOL_NORMAL, &buffer), ERR_CORRUPT);
        assert_non_null(strstr(err_message(), "block 2 of data file 00000010"));
        assert_int_equal(pool_copy(id, POOL_SCAN, bad), ERR_CORRUPT);
        assert_int_equal(pool_pin_total(), 0);
    }
    /* Written to the wrong place, it is as bad. */
    pool_forget(file, 0);
    assert_int_equal(datafile_write((struct page_id){ file, 3 }, good), OK);
    assert_int_equal(pool_copy((struct page_id){ file, 3 }, POOL_NORMAL, bad), ERR_CORRUPT);
    assert_int_equal(datafile_write((struct page_id){ file, 2 }, good), OK);
    assert_int_equal(pool_copy((struct page_id){ file, 2 }, POOL_NORMAL, bad), OK);
    free(good);
    free(bad);
    fixture_close();
}

static void
hints_that_are_damaged_are_zeroed(void **state)
{
    uint8_t *page = malloc(PAGE_SIZE_MAX);
    struct page_id id = { 0, 1 };
    buffer_t buffer;

    (void)state;
    fixture_open(MIB);
    id.file = fixture_file();
    fixture_fill(id.file, 4, 77);
    assert_int_equal(pool_write_all(), OK);
    pool_forget(id.file, 0);
    memset(page, 0x33, wal_page_size);
    assert_int_equal(datafile_write(id, page), OK);
    assert_int_equal(pool_pin(id, POOL_HINTS, &buffer), OK);
    assert_int_equal(((struct page_header *)pool_page(buffer))->kind, PAGE_ZERO);
    pool_unpin(buffer);
    free(page);
    fixture_close();
}

static void
a_block_beyond_the_end_is_an_error(void **state)
{
    buffer_t buffer;
    fileno_t file;

    (void)state;
    fixture_open(MIB);
    file = fixture_file();
    fixture_fill(file, 1, 1);
    assert_int_equal(
        pool_pin((struct page_id){ file, 1000000 }, POOL_NORMAL, &buffer), ERR_CORRUPT);
    assert_int_equal(pool_pin((struct page_id){ 4242, 0 }, POOL_NORMAL, &buffer), ERR_IO);
    assert_int_equal(pool_pin_new((struct page_id){ file, 40 }, &buffer), OK);
    pool_unpin(buffer);
    fixture_close();
}

/* A process that reads a page and dies when its bytes are there, and the buffer does not say so. */
static void
a_page_whose_reader_died_is_read_again(void **state)
{
    struct pool_peek peek;
    buffer_t buffer;
    fileno_t file;

    (void)state;
    fixture_open(MIB);
    file = fixture_file();
    fixture_fill(file, 1, 7);
    assert_int_equal(pool_write_all(), OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pool_pin((struct page_id){ file, 0 }, POOL_NORMAL, &buffer), OK);
        (void)pool_buffer_set(pool_buffer_at(buffer), 0, BUFFER_VALID);
        pool_unpin(buffer);
        assert_int_equal(pool_pin((struct page_id){ file, 0 }, POOL_NORMAL, &buffer), OK);
        assert_int_equal(
            atomic_load(&pool_buffer_at(buffer)->version) % 2, 0); /* peeks, too, are served */
        assert_true(!pool_peek((struct page_id){ file, 0 }, &peek) || pool_peek_valid(&peek));
        pool_lock(buffer, LW_EXCLUSIVE);
        assert_int_equal(fixture_change(buffer, PAGE_HEAP, 8, false), OK);
        pool_unlock(buffer);
        pool_unpin(buffer);
        assert_int_equal(pool_write_all(), OK);
    }
    fixture_close();
}

static void
a_page_of_no_file_is_damage_and_harms_nothing(void **state)
{
    uint8_t *page = malloc(PAGE_SIZE_MAX);
    struct pool_peek peek;
    buffer_t buffer;
    fileno_t file;

    (void)state;
    fixture_open(MIB);
    assert_false(pool_peek((struct page_id){ 0, 0 }, &peek));
    assert_int_equal(pool_pin((struct page_id){ 0, 0 }, POOL_NORMAL, &buffer), ERR_CORRUPT);
    assert_int_equal(pool_copy((struct page_id){ 0, 5 }, POOL_NORMAL, page), ERR_CORRUPT);
    file = fixture_file();
    fixture_fill(file, 300, 1);
    for (block_t i = 0; i < 300; i++) {
        assert_int_equal(pool_copy((struct page_id){ file, i }, POOL_NORMAL, page), OK);
        assert_int_equal(fixture_number(page), i + 1);
    }
    free(page);
    fixture_close();
}

static _Atomic unsigned refusals;

/* Pins are kept until somebody was refused. */
static void *
pin_fifty(void *context)
{
    fileno_t file = *(fileno_t *)context;
    buffer_t buffers[50];
    unsigned count = 0;
    err_t err = OK;

    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    while (count < 50 && err == OK) {
        struct page_id id = { file, proc_self->index % 6 * 50 + count };

        err = pool_pin(id, POOL_NORMAL, &buffers[count]);
        count += err == OK;
    }
    if (err != OK) {
        assert_int_equal(err, ERR_MEMORY);
        atomic_fetch_add(&refusals, 1);
    }
    while (atomic_load(&refusals) == 0)
        usleep(100);
    while (count > 0)
        pool_unpin(buffers[--count]);
    assert_true(ledger_empty());
    proc_detach();
    return NULL;
}

static void
all_pinned_is_an_error_and_passes(void **state)
{
    pthread_t threads[3];
    fileno_t file;

    (void)state;
    fixture_open(MIB);
    atomic_store(&refusals, 0);
    file = fixture_file();
    fixture_fill(file, 300, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, pin_fifty, &file), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(pool_pin_total(), 0);
    fixture_close();
}

/* ---- many at once ---- */

#define STORM_PAGES 400

static fileno_t storm_file;
static _Atomic uint32_t storm_stop;

/* Any of what processes do with pages, at random; false: something was wrong. */
static bool
storm_turn(uint32_t *seed, uint8_t *page)
{
    struct page_id id = { storm_file, next_random(seed) % STORM_PAGES };
    buffer_t buffer;
    buffer_t second;
    bool right = true;

    switch (next_random(seed) % 6) {
    case 0:
        if (pool_pin(id, POOL_NORMAL, &buffer) != OK)
            return false;
        pool_lock(buffer, LW_EXCLUSIVE);
        right = fixture_number(pool_page(buffer)) % STORM_PAGES == id.block;
        if (right)
            right = fixture_change(buffer, PAGE_HEAP,
                        fixture_number(pool_page(buffer)) + STORM_PAGES, false) == OK;
        pool_unlock(buffer);
        pool_unpin(buffer);
        return right;
    case 1:
        if (pool_pin(id, POOL_NORMAL, &buffer) != OK || pool_pin(id, POOL_SCAN, &second) != OK)
            return false;
        right = buffer == second && pool_id(buffer).block == id.block;
        pool_unpin(second);
        pool_lock(buffer, LW_SHARED);
        right = right && fixture_number(pool_page(buffer)) % STORM_PAGES == id.block;
        pool_unlock(buffer);
        pool_unpin(buffer);
        return right;
    case 2:
        (void)pool_write_some(4);
        return true;
    case 3:
        return next_random(seed) % 64 != 0 || pool_write_all() == OK;
    default:
        return pool_copy(id, next_random(seed) % 2 == 0 ? POOL_NORMAL : POOL_SCAN, page) == OK &&
               fixture_number(page) % STORM_PAGES == id.block;
    }
}

static void *
storm_thread(void *context)
{
    uint32_t seed = (uint32_t)(uintptr_t)context;
    uint8_t *page = malloc(PAGE_SIZE_MAX);
    bool right = proc_attach(PROC_BACKEND) == OK;

    while (right && atomic_load(&storm_stop) == 0)
        right = storm_turn(&seed, page);
    free(page);
    right = right && ledger_empty() && lwlock_none_held();
    proc_detach();
    return right ? NULL : (void *)1;
}

static void
threads_see_whole_pages(void **state)
{
    pthread_t threads[4];

    (void)state;
    fixture_open(MIB);
    storm_file = fixture_file();
    fixture_fill(storm_file, STORM_PAGES, 0);
    atomic_store(&storm_stop, 0);
    for (uintptr_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, storm_thread, (void *)(i + 1)), 0);
    usleep(700000);
    atomic_store(&storm_stop, 1);
    for (int i = 0; i < 4; i++) {
        void *result;

        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_null(result);
    }
    fixture_close();
}

static _Noreturn void
storm_process(uint32_t seed, int ready)
{
    uint8_t *page = malloc(PAGE_SIZE_MAX);

    proc_use(NULL);
    if (proc_attach(PROC_BACKEND) != OK)
        _exit(2);
    (void)!write(ready, "x", 1);
    while (storm_turn(&seed, page))
        ;
    (void)fprintf(stderr, "a storming process found something wrong: %s\n", err_message());
    _exit(1);
}

static pid_t
storm_fork(uint32_t seed, int ready)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        storm_process(seed, ready);
    return pid;
}

static void
the_killed_leave_no_pins(void **state)
{
    int64_t until = clock_now_ns() + 1500000000;
    pid_t pids[4];
    uint32_t seed = 99;
    unsigned killed = 0;
    unsigned lost = 0; /* died in a critical section: a server would restart */
    int ready[2];
    char x;

    (void)state;
    fixture_open(MIB);
    storm_file = fixture_file();
    fixture_fill(storm_file, STORM_PAGES, 0);
    assert_int_equal(pipe(ready), 0);
    for (unsigned i = 0; i < 4; i++)
        pids[i] = storm_fork(i, ready[1]);
    while (clock_now_ns() < until && lost == 0) {
        unsigned i = next_random(&seed) % 4;
        int status;
        int slot;

        assert_int_equal(read(ready[0], &x, 1), 1);
        usleep(next_random(&seed) % 2000);
        slot = proc_find(pids[i]);
        if (slot < 0)
            continue;
        assert_int_equal(kill(pids[i], SIGKILL), 0);
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFSIGNALED(status));
        killed++;
        if (atomic_load(&proc_at((unsigned)slot)->crit) > 0) {
            lost++;
            pids[i] = 0;
            break;
        }
        assert_int_equal(ledger_release_dead((unsigned)slot), OK);
        proc_bury((unsigned)slot);
        pids[i] = storm_fork(seed, ready[1]);
    }
    for (unsigned i = 0; i < 4; i++)
        if (pids[i] != 0) {
            int status;
            int slot = proc_find(pids[i]);

            (void)kill(pids[i], SIGKILL);
            assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
            assert_true(WIFSIGNALED(status)); /* none had found anything wrong */
            if (slot >= 0 && atomic_load(&proc_at((unsigned)slot)->crit) > 0)
                lost++;
            if (slot >= 0 && lost == 0) {
                assert_int_equal(ledger_release_dead((unsigned)slot), OK);
                proc_bury((unsigned)slot);
            }
        }
    (void)close(ready[0]);
    (void)close(ready[1]);
    assert_true(killed > 0);
    if (lost == 0) {
        uint8_t *page = malloc(PAGE_SIZE_MAX);

        assert_int_equal(pool_pin_total(), 0);
        for (block_t i = 0; i < STORM_PAGES; i++) {
            assert_int_equal(pool_copy((struct page_id){ storm_file, i }, POOL_NORMAL, page), OK);
            assert_int_equal(fixture_number(page) % STORM_PAGES, i);
        }
        assert_int_equal(pool_write_all(), OK);
        free(page);
        fixture_close();
        return;
    }
    /* As after a restart: shared memory is begun anew. */
    fixture_reopen(MIB);
    fixture_close();
}

static void
forgotten_pages_are_gone(void **state)
{
    struct pool_status status;
    uint8_t *page = malloc(PAGE_SIZE_MAX);
    fileno_t file;
    block_t count;

    (void)state;
    fixture_open(MIB);
    file = fixture_file();
    fixture_fill(file, 64, 1);
    assert_int_equal(datafile_cut(file, 32, 1), OK);
    assert_int_equal(datafile_blocks(file, &count), OK);
    assert_int_equal(count, 32);
    pool_status(&status);
    assert_int_equal(status.used, 32);
    assert_int_equal(pool_copy((struct page_id){ file, 32 }, POOL_NORMAL, page), ERR_CORRUPT);
    assert_int_equal(pool_copy((struct page_id){ file, 31 }, POOL_NORMAL, page), OK);
    assert_int_equal(fixture_number(page), 32);
    assert_int_equal(datafile_unlink(file), OK);
    assert_int_equal(datafile_unlink(file), OK);
    assert_false(datafile_exists(file));
    pool_status(&status);
    assert_int_equal(status.used, 0);
    free(page);
    fixture_close();
}

static void
a_scan_does_not_wash_the_pool(void **state)
{
    uint8_t *page = malloc(PAGE_SIZE_MAX);
    struct pool_peek peek;
    fileno_t hot;
    fileno_t cold;
    uint64_t misses;

    (void)state;
    fixture_open(4 * MIB); /* 512 buffers */
    hot = fixture_file();
    cold = fixture_file();
    fixture_fill(cold, 2000, 1);
    fixture_fill(hot, 200, 1);
    assert_int_equal(pool_write_all(), OK);
    for (block_t i = 0; i < 200; i++)
        assert_int_equal(pool_copy((struct page_id){ hot, i }, POOL_NORMAL, page), OK);
    for (block_t i = 0; i < 2000; i++)
        assert_int_equal(pool_copy((struct page_id){ cold, i }, POOL_SCAN, page), OK);
    misses = counters_total(COUNTER_POOL_MISSES);
    for (block_t i = 0; i < 200; i++) {
        (void)pool_peek((struct page_id){ hot, i }, &peek);
        assert_int_equal(pool_copy((struct page_id){ hot, i }, POOL_NORMAL, page), OK);
    }
    /* The 2,000 pages of the scan have cost no more than its ring of 32. */
    assert_true(counters_total(COUNTER_POOL_MISSES) - misses <= 32);
    free(page);
    fixture_close();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_of_a_hundred_pools_is_read_back),
        cmocka_unit_test(a_page_is_written_only_after_its_log),
        cmocka_unit_test(every_damaged_page_is_refused_and_not_kept),
        cmocka_unit_test(hints_that_are_damaged_are_zeroed),
        cmocka_unit_test(a_block_beyond_the_end_is_an_error),
        cmocka_unit_test(a_page_whose_reader_died_is_read_again),
        cmocka_unit_test(a_page_of_no_file_is_damage_and_harms_nothing),
        cmocka_unit_test(all_pinned_is_an_error_and_passes),
        cmocka_unit_test(threads_see_whole_pages),
        cmocka_unit_test(the_killed_leave_no_pins),
        cmocka_unit_test(forgotten_pages_are_gone),
        cmocka_unit_test(a_scan_does_not_wash_the_pool),
    };

    const struct CMUnitTest by_size[] = {
        cmocka_unit_test(write_of_a_hundred_pools_is_read_back),
        cmocka_unit_test(every_damaged_page_is_refused_and_not_kept),
        cmocka_unit_test(a_page_whose_reader_died_is_read_again),
    };
    int failed = cmocka_run_group_tests_name("pages of 8 KiB", tests, NULL, NULL);

    fixture_page_size = 4096;
    failed += cmocka_run_group_tests_name("pages of 4 KiB", by_size, NULL, NULL);
    fixture_page_size = 16384;
    failed += cmocka_run_group_tests_name("pages of 16 KiB", by_size, NULL, NULL);
    fixture_page_size = 32768;
    failed += cmocka_run_group_tests_name("pages of 32 KiB", by_size, NULL, NULL);
    return failed;
}
