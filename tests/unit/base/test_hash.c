/*
 * test_hash.c - hashes.
 */
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
equal_bytes_hash_equal_and_every_byte_counts(void **state)
{
    uint8_t data[100] = { 0 };

    (void)state;
    for (size_t size = 0; size <= sizeof data; size++) {
        uint64_t before = hash_bytes(data, size, 5);

        assert_int_equal(hash_bytes(data, size, 5), before);
        assert_int_not_equal(hash_bytes(data, size, 6), before);
        for (size_t i = 0; i < size; i++) {
            data[i] = 1;
            assert_int_not_equal(hash_bytes(data, size, 5), before);
            data[i] = 0;
        }
    }
}

/* With n keys in n places a good hash leaves e^-1 = 36.8 % of them empty. */
static void
places_fill_evenly(void **state)
{
    enum { PLACES = 1 << 14 };
    static uint8_t taken[2][PLACES];
    int empty[2] = { 0, 0 };

    (void)state;
    for (uint64_t key = 0; key < PLACES; key++) {
        char text[24];
        int size = snprintf(text, sizeof text, "user:%ju", (uintmax_t)key);

        taken[0][hash_bytes(text, (size_t)size, 0) % PLACES] = 1;
        taken[1][hash_u64(key << 20) % PLACES] = 1;
    }
    for (int which = 0; which < 2; which++) {
        for (int place = 0; place < PLACES; place++)
            empty[which] += !taken[which][place];
        assert_in_range(empty[which], PLACES * 35 / 100, PLACES * 39 / 100);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_bytes_hash_equal_and_every_byte_counts),
        cmocka_unit_test(places_fill_evenly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
