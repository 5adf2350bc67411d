/*
 * test_rand.c - random numbers, and what is made of them: identities, hexadecimal.
 */
#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hex.h"
#include "base/ids.h"

static void
the_same_seed_gives_the_same_numbers(void **state)
{
    struct rand a, b, c;

    (void)state;
    rand_init(&a, 42);
    rand_init(&b, 42);
    rand_init(&c, 43);
    for (int i = 0; i < 100; i++) {
        uint64_t x = rand_u64(&a);

        assert_int_equal(x, rand_u64(&b));
        assert_int_not_equal(x, rand_u64(&c));
    }
}

static void
numbers_stay_below_their_bound_and_reach_all_of_it(void **state)
{
    bool seen[7] = { false };
    struct rand rand;

    (void)state;
    rand_init_random(&rand);
    for (int i = 0; i < 1000; i++) {
        uint64_t x = rand_below(&rand, 7);
        double unit = rand_unit(&rand);

        assert_true(x < 7);
        assert_true(unit >= 0 && unit < 1);
        seen[x] = true;
    }
    for (int i = 0; i < 7; i++)
        assert_true(seen[i]);
    assert_int_equal(rand_below(&rand, 1), 0);
}

static void
bytes_come_in_any_length(void **state)
{
    uint8_t data[32] = { 0 }, secret[32] = { 0 };
    struct rand rand;

    (void)state;
    rand_init(&rand, 1);
    rand_bytes(&rand, data, 13);
    assert_int_equal(data[13], 0);
    rand_secure(secret, sizeof secret);
    assert_memory_not_equal(data, secret, sizeof secret);
    rand_secure(secret, 0);
}

static void
uuids_are_of_version_four_and_survive_printing(void **state)
{
    struct uuid a = ids_uuid(), b = ids_uuid(), c;
    char text[IDS_TEXT_SIZE];

    (void)state;
    assert_memory_not_equal(&a, &b, sizeof a);
    ids_format(&a, text);
    assert_int_equal(text[14], '4');
    assert_true(ids_parse(bytes_of(text), &c));
    assert_memory_equal(&a, &c, sizeof a);
    assert_false(ids_parse(bytes_of("00000000-0000-4000-8000-00000000000"), &c));
    assert_false(ids_parse(bytes_of("00000000-0000-4000-8000-00000000000g"), &c));
    assert_false(ids_parse(bytes_of("00000000000040008000000000000000abcd"), &c));
}

static void
hexadecimal_goes_both_ways(void **state)
{
    uint8_t data[3];
    char text[7];

    (void)state;
    assert_true(hex_decode(bytes_of("00fFa5"), data, 3));
    hex_encode((struct bytes){ data, 3 }, text);
    assert_string_equal(text, "00ffa5");
    assert_false(hex_decode(bytes_of("00ff"), data, 3));
    assert_false(hex_decode(bytes_of("00ff0"), data, 2));
    assert_false(hex_decode(bytes_of("00fg00"), data, 3));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_numbers),
        cmocka_unit_test(numbers_stay_below_their_bound_and_reach_all_of_it),
        cmocka_unit_test(bytes_come_in_any_length),
        cmocka_unit_test(uuids_are_of_version_four_and_survive_printing),
        cmocka_unit_test(hexadecimal_goes_both_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
