/*
 * test_page.c - what makes a page valid.
 */
#include "storage/page/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static _Alignas(64) uint8_t page[PAGE_SIZE_MAX];

static void
seal(struct page_id id)
{
    ((struct page_header *)(void *)page)->crc = page_checksum(page, id);
}

static void
every_single_bit_counts(void **state)
{
    const struct page_id id = { 17, 3 };

    (void)state;
    wal_page_size = PAGE_SIZE_MIN;
    page_init(page, PAGE_HEAP, 16);
    for (uint32_t i = 24; i < wal_page_size; i++)
        page[i] = (uint8_t)(i * 7);
    seal(id);
    assert_true(page_valid(page, id));
    assert_false(page_valid(page, (struct page_id){ 17, 4 }));
    assert_false(page_valid(page, (struct page_id){ 18, 3 }));
    for (uint32_t bit = 0; bit < wal_page_size * 8; bit += bit < 24 * 8 ? 1 : 13) {
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(page_valid(page, id));
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(page_valid(page, id));
}

static void
zeroes_are_valid_only_if_complete(void **state)
{
    const struct page_id id = { 17, 3 };

    (void)state;
    for (wal_page_size = PAGE_SIZE_MIN; wal_page_size <= PAGE_SIZE_MAX; wal_page_size *= 2) {
        memset(page, 0, sizeof page);
        assert_true(page_valid(page, id));
        page[wal_page_size - 1] = 1;
        assert_false(page_valid(page, id));
        page[wal_page_size - 1] = 0;
        page[0] = 1;
        assert_false(page_valid(page, id));
    }
}

static void
a_right_checksum_over_nonsense_is_refused(void **state)
{
    const struct page_id id = { 17, 3 };
    struct page_header *header = (struct page_header *)(void *)page;

    (void)state;
    wal_page_size = 8192;
    page_init(page, PAGE_BTREE, 0);
    header->kind = PAGE_KIND_COUNT;
    seal(id);
    assert_false(page_valid(page, id));
    page_init(page, PAGE_BTREE, 0);
    header->lower = (uint16_t)(header->upper + 1);
    seal(id);
    assert_false(page_valid(page, id));
    page_init(page, PAGE_BTREE, 0);
    header->upper = (uint16_t)(wal_page_size + 1);
    seal(id);
    assert_false(page_valid(page, id));
    page_init(page, PAGE_BTREE, 64);
    seal(id);
    assert_true(page_valid(page, id));
    assert_int_equal(header->lower, 24);
    assert_int_equal(header->upper, 8192 - 64);
    assert_string_equal(page_kind_name(PAGE_BTREE), "btree");
    assert_string_equal(page_kind_name((enum page_kind)200), "unknown");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_single_bit_counts),
        cmocka_unit_test(zeroes_are_valid_only_if_complete),
        cmocka_unit_test(a_right_checksum_over_nonsense_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
