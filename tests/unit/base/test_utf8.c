/*
 * test_utf8.c - UTF-8.
 */
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
only_well_formed_sequences_are_valid(void **state)
{
    static const char *const bad[] = { "\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf",
        "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc3",
        "\xe2\x82", "\xf0\x9f\x98", "\xc3(", "\xe2\x82(", "12345678\xff" };
    static const char *const good[] = { "", "plain text of more than eight", "\xc2\x80",
        "\xed\x9f\xbf", "\xee\x80\x80", "\xf4\x8f\xbf\xbf", "\xe0\xa0\x80", "\xf0\x90\x80\x80" };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(utf8_valid(bytes_of(bad[i])));
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(utf8_valid(bytes_of(good[i])));
    assert_int_equal(utf8_valid_prefix(bytes_of("12345678ab\xff")), 10);
}

static void
every_character_survives_coding(void **state)
{
    (void)state;
    for (uint32_t code_point = 0; code_point <= 0x110000; code_point++) {
        uint8_t bytes[4];
        size_t size = utf8_encode(code_point, bytes);
        uint32_t back;

        if (code_point > 0x10ffff || (code_point >= 0xd800 && code_point < 0xe000)) {
            assert_int_equal(size, 0);
            continue;
        }
        if (utf8_decode((struct bytes){ bytes, size }, &back) != size || back != code_point)
            fail_msg("U+%04X", (unsigned)code_point);
    }
    assert_int_equal(utf8_count(bytes_of("a\xc3\xa4\xf0\x9f\x98\x80")), 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_well_formed_sequences_are_valid),
        cmocka_unit_test(every_character_survives_coding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
