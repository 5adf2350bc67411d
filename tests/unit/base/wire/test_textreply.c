/*
 * test_textreply.c - replies of the text protocol, names and UUIDs.
 */
#include "base/wire/textreply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/wire/textname.h"
#include "base/wire/textuuid.h"

static struct buf out;

static void
expect(err_t err, const char *text)
{
    assert_int_equal(err, OK);
    assert_int_equal(out.size, strlen(text));
    assert_memory_equal(out.data, text, out.size);
    buf_clear(&out);
}

static void
each_kind_has_its_bytes(void **state)
{
    static const uint8_t uuid[16] = { 0x55, 0x0e, 0x84, 0x00, 0xe2, 0x9b, 0x41, 0xd4, 0xa7, 0x16,
        0x44, 0x66, 0x55, 0x44, 0x00, 0x00 };

    (void)state;
    expect(textreply_simple(&out, "OK"), "+OK\r\n");
    expect(textreply_integer(&out, 3), ":3\r\n");
    expect(textreply_integer(&out, -1), ":-1\r\n");
    expect(textreply_integer(&out, INT64_MIN), ":-9223372036854775808\r\n");
    expect(textreply_bulk(&out, bytes_of("{\"a\":2}")), "$7\r\n{\"a\":2}\r\n");
    expect(textreply_bulk(&out, bytes_of("")), "$0\r\n\r\n");
    expect(textreply_null(&out), "$-1\r\n");
    expect(textreply_array(&out, 0), "*0\r\n");
    expect(textreply_error_text(&out, "not authenticated"), "-ERR not authenticated\r\n");
    expect(textreply_document(&out, uuid, bytes_of("{}")),
        "$39\r\n550e8400-e29b-41d4-a716-446655440000 {}\r\n");
}

static void
no_client_text_breaks_a_line_or_looks_like_a_forward(void **state)
{
    const struct textcmd_refusal refusal = { "unknown command: ", bytes_of("a@h:1;\r\n") };

    (void)state;
    expect(textreply_error_text(&out, "a\r\nb\x01\x7f\xc2\x85\xe2\x80\xa8\xe2\x80\xa9\xc3\xa4"),
        "-ERR a??b?????\xc3\xa4\r\n");
    expect(textreply_error_text(&out, "u@h;"), "-ERR u%40h;\r\n");
    expect(textreply_error_text(&out, "u@h"), "-ERR u@h\r\n");
    expect(textreply_error_text(&out, ";u@h"), "-ERR ;u@h\r\n");
    expect(textreply_error_text(&out, "a@b@c;@"), "-ERR a%40b%40c;%40\r\n");
    expect(textreply_refusal(&out, &refusal), "-ERR unknown command: a%40h:1;??\r\n");
    expect(textreply_forward(&out, bytes_of("forward to n@h:1; not the owner")),
        "-ERR forward to n@h:1; not the owner\r\n");
    expect(textreply_simple(&out, "a\nb"), "+a?b\r\n");
}

static void
a_bulk_may_be_written_in_place_whatever_was_guessed(void **state)
{
    struct textreply_bulk bulk;

    (void)state;
    for (size_t guess = 0; guess < 20000; guess = guess * 10 + 1) {
        assert_int_equal(textreply_simple(&out, "x"), OK);
        assert_int_equal(textreply_bulk_begin(&out, guess, &bulk), OK);
        assert_int_equal(buf_append_text(&out, "0123456789ab"), OK);
        expect(textreply_bulk_end(&out, &bulk), "+x\r\n$12\r\n0123456789ab\r\n");
    }
}

static void
a_full_buffer_keeps_what_it_had(void **state)
{
    struct buf small = buf_init(64);
    char text[200];

    (void)state;
    memset(text, '@', sizeof text);
    assert_int_equal(textreply_simple(&small, "OK"), OK);
    assert_int_equal(textreply_bulk(&small, (struct bytes){ (uint8_t *)text, 200 }), ERR_MEMORY);
    assert_int_equal(textreply_error(&small, (struct bytes){ (uint8_t *)text, 200 }), ERR_MEMORY);
    assert_int_equal(small.size, 5);
    buf_fini(&small);
}

static void
names_are_checked_in_order(void **state)
{
    char room[TEXTNAME_TEXT_MAX];
    char longest[66];

    (void)state;
    memset(longest, 'A', 65);
    longest[65] = '\0';
    assert_null(textname_check(bytes_of("my_db_2"), room));
    assert_null(textname_check(bytes_of("_default"), room));
    assert_null(textname_check(bytes_of("_system"), room));
    assert_null(textname_check((struct bytes){ (const uint8_t *)"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                                                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                   64 },
        room));
    assert_string_equal(textname_check(bytes_of(""), room), "invalid name: name cannot be empty");
    assert_string_equal(
        textname_check(bytes_of(longest), room), "invalid name: name too long: 65 chars (max 64)");
    assert_string_equal(
        textname_check(bytes_of("_A"), room), "invalid name: names starting with '_' are reserved");
    assert_string_equal(textname_check(bytes_of("xAB"), room),
        "invalid name: invalid character 'A': only [a-z0-9_] allowed");
    assert_string_equal(textname_check(bytes_of("a b"), room),
        "invalid name: invalid character ' ': only [a-z0-9_] allowed");
    assert_string_equal(textname_check(bytes_of("a\xc3\xa4"), room),
        "invalid name: invalid character '\xc3\xa4': only [a-z0-9_] allowed");
    assert_null(textname_check_user(bytes_of("Al.ice-\xc3\xa4"), room));
    assert_non_null(textname_check_user(bytes_of("a@b"), room));
    assert_non_null(textname_check_user(bytes_of("a\xc2\xa0"), room));
    assert_non_null(textname_check_user(bytes_of("a\xe3\x80\x80"), room));
    assert_non_null(textname_check_user(bytes_of(""), room));
}

static void
bad_uuid(const char *text, const char *reason)
{
    uint8_t uuid[16];
    char expected[256];

    assert_false(textuuid_parse(bytes_of(text), uuid));
    (void)snprintf(expected, sizeof expected, "invalid UUID '%s': %s", text, reason);
    expect(textuuid_explain(&out, bytes_of(text)), expected);
}

static void
uuids_are_read_in_four_forms_and_refused_with_reasons(void **state)
{
    static const char *const good[] = { "550e8400-e29b-41d4-a716-446655440000",
        "550E8400E29B41D4A716446655440000", "{550e8400-e29b-41d4-a716-446655440000}",
        "urn:uuid:550e8400-e29b-41d4-a716-446655440000" };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        uint8_t uuid[16];
        char text[TEXTUUID_SIZE];

        assert_true(textuuid_parse(bytes_of(good[i]), uuid));
        textuuid_print(uuid, text);
        assert_memory_equal(text, good[0], TEXTUUID_SIZE);
    }
    bad_uuid("x", "invalid character: found `x` at 1");
    bad_uuid("{zz}", "invalid character: found `z` at 2");
    bad_uuid("12\xc3\xa4", "invalid character: found `\xc3\xa4` at 3");
    bad_uuid("abc", "invalid length: expected length 32 for simple format, found 3");
    bad_uuid("", "invalid length: expected length 32 for simple format, found 0");
    bad_uuid("550e8400-e29b-41d4-a716", "invalid group count: expected 5, found 4");
    bad_uuid("{abc}", "invalid group count: expected 5, found 1");
    bad_uuid("550e8400-e29b-41d4-a716-44665544000",
        "invalid group length in group 4: expected 12, found 11");
    bad_uuid("550e840-0e29b-41d4-a716-446655440000",
        "invalid group length in group 0: expected 8, found 7");
    bad_uuid("550e8400-e29b-41d4-a716-44665544000g", "invalid character: found `g` at 36");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_has_its_bytes),
        cmocka_unit_test(no_client_text_breaks_a_line_or_looks_like_a_forward),
        cmocka_unit_test(a_bulk_may_be_written_in_place_whatever_was_guessed),
        cmocka_unit_test(a_full_buffer_keeps_what_it_had),
        cmocka_unit_test(names_are_checked_in_order),
        cmocka_unit_test(uuids_are_read_in_four_forms_and_refused_with_reasons),
    };
    int failed;

    out = buf_init(1 << 20);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_fini(&out);
    return failed;
}
