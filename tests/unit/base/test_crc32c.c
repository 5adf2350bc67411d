/*
 * test_crc32c.c - the checksum of pages and records.
 */
#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"

static void
the_check_value_is_right(void **state)
{
    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c_software(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, "", 0), 0);
}

/* RFC 3720, B.4. */
static void
the_vectors_of_iscsi_are_met(void **state)
{
    uint8_t data[32];

    (void)state;
    memset(data, 0, sizeof data);
    assert_int_equal(crc32c(0, data, sizeof data), 0x8a9136aa);
    memset(data, 0xff, sizeof data);
    assert_int_equal(crc32c(0, data, sizeof data), 0x62a8ab43);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)i;
    assert_int_equal(crc32c(0, data, sizeof data), 0x46dd794e);
}

static void
sums_of_two_pieces_make_that_of_both(void **state)
{
    static uint8_t data[70000];
    struct rand rand;

    (void)state;
    rand_init(&rand, 2);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)rand_u64(&rand);
    for (size_t size = 0; size <= sizeof data; size += 1 + size / 3)
        for (size_t cut = 0; cut <= size; cut += 1 + size / 5)
            assert_int_equal(crc32c(0, data, size),
                crc32c_shift(crc32c(0, data, cut), size - cut) ^ crc32c(0, data + cut, size - cut));
    assert_int_equal(crc32c_shift(0x12345678, 0), 0x12345678);
}

static void
instruction_and_tables_agree_at_every_length_and_offset(void **state)
{
    static uint8_t data[20000];
    struct rand rand;

    (void)state;
    rand_init(&rand, 1);
    rand_bytes(&rand, data, sizeof data);
    for (size_t size = 0; size < 1000; size++)
        assert_int_equal(
            crc32c(7, data + size % 9, size), crc32c_software(7, data + size % 9, size));
    for (size_t size = 1000; size < sizeof data - 8; size += 97)
        assert_int_equal(
            crc32c(0, data + size % 8, size), crc32c_software(0, data + size % 8, size));
}

static void
a_sum_can_be_continued(void **state)
{
    static uint8_t data[9000];
    uint32_t whole;

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 31);
    whole = crc32c(0, data, sizeof data);
    for (size_t cut = 0; cut <= sizeof data; cut += 450)
        assert_int_equal(crc32c(crc32c(0, data, cut), data + cut, sizeof data - cut), whole);
}

static void
one_flipped_bit_is_noticed(void **state)
{
    static uint8_t page[8192];
    uint32_t sum = crc32c(0, page, sizeof page);

    (void)state;
    for (size_t bit = 0; bit < sizeof page * 8; bit += 61) {
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(crc32c(0, page, sizeof page), sum);
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_check_value_is_right),
        cmocka_unit_test(the_vectors_of_iscsi_are_met),
        cmocka_unit_test(sums_of_two_pieces_make_that_of_both),
        cmocka_unit_test(instruction_and_tables_agree_at_every_length_and_offset),
        cmocka_unit_test(a_sum_can_be_continued),
        cmocka_unit_test(one_flipped_bit_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
