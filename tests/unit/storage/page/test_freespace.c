/*
 * test_freespace.c - the map of free space: finds what there is, and survives being wrong.
 */
#include "page_fixture.h"

#include "storage/page/freespace.h"

#define MIB ((int64_t)1 << 20)

static void
what_was_noted_is_found(void **state)
{
    block_t block;
    size_t bytes;
    fileno_t map;

    (void)state;
    fixture_open(4 * MIB);
    map = fixture_file();
    assert_int_equal(freespace_find(map, 100, &block), OK);
    assert_int_equal(block, BLOCK_NONE);
    assert_int_equal(freespace_note(map, 7, 3000), OK);
    assert_int_equal(freespace_get(map, 7, &bytes), OK);
    assert_true(bytes <= 3000 && bytes > 3000 - wal_page_size / 256);
    assert_int_equal(freespace_find(map, 2900, &block), OK);
    assert_int_equal(block, 7);
    assert_int_equal(freespace_find(map, 3100, &block), OK);
    assert_int_equal(block, BLOCK_NONE);
    assert_int_equal(freespace_note(map, 7, 10), OK);
    assert_int_equal(freespace_find(map, 100, &block), OK);
    assert_int_equal(block, BLOCK_NONE);
    fixture_close();
}

static void
far_pages_are_reached_through_all_levels(void **state)
{
    /* The last of a map page, the first of the next, and some far away. */
    static const block_t blocks[] = { 0, 4072, 4073, 4074, 1000000, 5000000 };
    block_t block;
    fileno_t map;

    (void)state;
    fixture_open(4 * MIB);
    map = fixture_file();
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        assert_int_equal(freespace_note(map, blocks[i], 5000), OK);
        assert_int_equal(freespace_find(map, 4900, &block), OK);
        assert_int_equal(block, blocks[i]);
        assert_int_equal(freespace_note(map, blocks[i], 0), OK);
        assert_int_equal(freespace_find(map, 100, &block), OK);
        assert_int_equal(block, BLOCK_NONE);
    }
    fixture_close();
}

static void
a_model_agrees(void **state)
{
    enum { PAGES = 9000 };
    static uint16_t model[PAGES];
    uint32_t seed = 5;
    fileno_t map;

    (void)state;
    fixture_open(4 * MIB);
    map = fixture_file();
    memset(model, 0, sizeof model);
    for (int i = 0; i < 20000; i++) {
        block_t block;
        size_t want;
        bool any = false;

        seed = seed * 1664525 + 1013904223;
        block = (seed >> 8) % PAGES;
        model[block] = (uint16_t)((seed >> 4) % (wal_page_size - 192));
        assert_int_equal(freespace_note(map, block, model[block]), OK);
        if (i % 200 != 0)
            continue;
        want = 1 + (seed >> 12) % (wal_page_size - 192);
        assert_int_equal(freespace_find(map, want, &block), OK);
        if (block != BLOCK_NONE)
            assert_true(block < PAGES && model[block] >= want);
        for (int p = 0; block == BLOCK_NONE && p < PAGES; p++)
            any = any || model[p] >= want + wal_page_size / 256; /* it rounds down */
        assert_false(any);
    }
    fixture_close();
}

static void
damage_costs_hints_only(void **state)
{
    uint8_t *page = malloc(PAGE_SIZE_MAX);
    block_t block;
    fileno_t map;

    (void)state;
    fixture_open(4 * MIB);
    map = fixture_file();
    for (block_t i = 0; i < 10000; i++)
        assert_int_equal(freespace_note(map, i, 4000), OK);
    assert_int_equal(pool_write_all(), OK);
    for (block_t bad = 0; bad < 5; bad++) {
        pool_forget(map, 0);
        memset(page, 0xa5, wal_page_size);
        assert_int_equal(datafile_write((struct page_id){ map, bad }, page), OK);
        assert_int_equal(freespace_find(map, 3000, &block), OK); /* may find nothing */
        for (block_t i = 0; i < 10000; i += 100)
            assert_int_equal(freespace_note(map, i, 100), OK);
        assert_int_equal(freespace_note(map, 4711, 7000), OK);
        assert_int_equal(freespace_find(map, 6000, &block), OK);
        assert_int_equal(block, 4711);
        assert_int_equal(freespace_note(map, 4711, 100), OK);
        assert_int_equal(pool_write_all(), OK);
    }
    /* Inner nodes that promise too much, in every map page. */
    for (block_t bad = 0; bad < 3; bad++) {
        buffer_t buffer;

        assert_int_equal(pool_pin((struct page_id){ map, bad }, POOL_HINTS, &buffer), OK);
        pool_lock(buffer, LW_EXCLUSIVE);
        memset((uint8_t *)pool_page(buffer) + 24, 0xff, wal_page_size / 2 - 1);
        pool_dirty_unlogged(buffer);
        pool_unlock(buffer);
        pool_unpin(buffer);
    }
    assert_int_equal(freespace_find(map, 7000, &block), OK);
    assert_int_equal(block, BLOCK_NONE);
    free(page);
    fixture_close();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_noted_is_found),
        cmocka_unit_test(far_pages_are_reached_through_all_levels),
        cmocka_unit_test(a_model_agrees),
        cmocka_unit_test(damage_costs_hints_only),
    };

    int failed = cmocka_run_group_tests_name("pages of 8 KiB", tests, NULL, NULL);

    fixture_page_size = 4096;
    failed += cmocka_run_group_tests_name("pages of 4 KiB", tests, NULL, NULL);
    fixture_page_size = 32768;
    failed += cmocka_run_group_tests_name("pages of 32 KiB", tests, NULL, NULL);
    return failed;
}
