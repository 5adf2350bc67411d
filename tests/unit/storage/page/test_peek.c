/*
 * test_peek.c - looking at pages without a pin: what is declared valid is one state of one page.
 *
 * With GNEISS_MEASURE set it also prints what a peek, a pin and a copy cost.
 */
#include "page_fixture.h"

#include <pthread.h>
#include <sched.h>

#include "base/clock.h"
#include "base/sanitizer.h"

#define MIB   ((int64_t)1 << 20)
#define PAGES 150 /* of 128 buffers: pages come and go while they are looked at */

static fileno_t file;
static _Atomic uint32_t stop;
static _Atomic uint64_t valid;

static void *
change_pages(void *context)
{
    uint64_t number = 0;
    bool right = true;

    (void)context;
    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    while (right && atomic_load(&stop) == 0) {
        buffer_t buffer;

        number++;
        right = pool_pin((struct page_id){ file, (block_t)(number * 7 % PAGES) }, POOL_NORMAL,
                    &buffer) == OK;
        if (!right)
            break;
        pool_lock(buffer, LW_EXCLUSIVE);
        right = fixture_change(buffer, PAGE_HEAP, number * PAGES + number * 7 % PAGES, false) == OK;
        pool_unlock(buffer);
        pool_unpin(buffer);
    }
    proc_detach();
    return right ? NULL : (void *)1;
}

static void *
peek_pages(void *context)
{
    uint32_t seed = (uint32_t)(uintptr_t)context;
    uint8_t *page = malloc(PAGE_SIZE_MAX);
    bool right = true;

    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    while (right && atomic_load(&stop) == 0) {
        struct pool_peek peek;
        block_t block;

        seed = seed * 1664525 + 1013904223;
        block = (seed >> 8) % PAGES;
        if (!pool_peek((struct page_id){ file, block }, &peek)) {
            (void)sched_yield();
            right = pool_copy((struct page_id){ file, block }, POOL_NORMAL, page) == OK &&
                    fixture_number(page) % PAGES == block;
            continue;
        }
        memcpy(page, peek.page, wal_page_size);
        if (!pool_peek_valid(&peek))
            continue;
        right = fixture_number(page) % PAGES == block;
        atomic_fetch_add(&valid, 1);
    }
    free(page);
    proc_detach();
    return right ? NULL : (void *)1;
}

static void
a_valid_peek_saw_one_state_of_its_page(void **state)
{
    pthread_t threads[4];

    (void)state;
    fixture_open(MIB);
    file = fixture_file();
    fixture_fill(file, PAGES, 0);
    atomic_store(&stop, 0);
    for (uintptr_t i = 0; i < 4; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, i < 1 ? change_pages : peek_pages, (void *)(i + 1)),
            0);
    usleep(800000);
    atomic_store(&stop, 1);
    for (int i = 0; i < 4; i++) {
        void *result;

        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_null(result);
    }
#if !SANITIZER_THREAD /* where every peek fails */
    if (getenv("GNEISS_MEASURE") != NULL)
        print_message("valid peeks: %ju\n", (uintmax_t)atomic_load(&valid));
#endif
    fixture_close();
}

static void
a_peek_at_what_changes_is_not_valid(void **state)
{
#if !SANITIZER_THREAD
    struct pool_peek peek;
    buffer_t buffer;

    fixture_open(MIB);
    file = fixture_file();
    fixture_fill(file, 1, 0);
    assert_true(pool_peek((struct page_id){ file, 0 }, &peek) && pool_peek_valid(&peek));
    assert_int_equal(pool_pin((struct page_id){ file, 0 }, POOL_NORMAL, &buffer), OK);
    pool_lock(buffer, LW_EXCLUSIVE);
    assert_true(pool_peek_valid(&peek));
    assert_int_equal(fixture_change(buffer, PAGE_HEAP, 7, false), OK);
    assert_false(pool_peek_valid(&peek));
    pool_unlock(buffer);
    pool_unpin(buffer);
    fixture_close();
#endif
    (void)state;
}

static void
what_it_costs(void **state)
{
    enum { COUNT = 2000 };
    uint8_t *page = malloc(PAGE_SIZE_MAX);
    struct pool_peek peek;
    uint64_t hits = 0;
    int64_t began;
    buffer_t buffer;
    int rounds = getenv("GNEISS_MEASURE") != NULL ? 2000000 : 2000;

    (void)state;
    fixture_open(64 * MIB);
    file = fixture_file();
    fixture_fill(file, COUNT, 0);
    for (unsigned spread = 1; spread <= 100; spread *= 10) {
        began = clock_now_ns();
        for (int i = 0; i < rounds; i++)
            hits += pool_peek((struct page_id){ file, (block_t)i % spread }, &peek) &&
                    pool_peek_valid(&peek);
        if (rounds > 2000)
            print_message("peek, %u pages in turn: %.1f ns (%ju hits)\n", spread,
                (double)(clock_now_ns() - began) / rounds, (uintmax_t)hits);
    }
    began = clock_now_ns();
    for (int i = 0; i < rounds; i++) {
        assert_int_equal(
            pool_pin((struct page_id){ file, (block_t)i % 16 }, POOL_NORMAL, &buffer), OK);
        pool_unpin(buffer);
    }
    if (rounds > 2000)
        print_message("pin and unpin: %.1f ns\n", (double)(clock_now_ns() - began) / rounds);
    began = clock_now_ns();
    for (int i = 0; i < rounds; i++) {
        assert_int_equal(
            pool_pin((struct page_id){ file, (block_t)i % 16 }, POOL_NORMAL, &buffer), OK);
        pool_lock(buffer, LW_SHARED);
        pool_unlock(buffer);
        pool_unpin(buffer);
    }
    if (rounds > 2000)
        print_message(
            "pin, lock, unlock, unpin: %.1f ns\n", (double)(clock_now_ns() - began) / rounds);
    began = clock_now_ns();
    for (int i = 0; i < rounds / 4; i++)
        assert_int_equal(
            pool_copy((struct page_id){ file, (block_t)i % COUNT }, POOL_SCAN, page), OK);
    if (rounds > 2000)
        print_message("copy of 16 MiB in the pool: %.2f GiB/s\n",
            (double)rounds / 4 * wal_page_size / (double)(clock_now_ns() - began) * 1e9 /
                (double)(1 << 30));
    free(page);
    fixture_close();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_valid_peek_saw_one_state_of_its_page),
        cmocka_unit_test(a_peek_at_what_changes_is_not_valid),
        cmocka_unit_test(what_it_costs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
