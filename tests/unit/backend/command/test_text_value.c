/*
 * test_text_value.c - any JSON value comes back as it was given (T32, T34, T35).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/command/text_value.h"
#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"

static const uint8_t uuid[16] = { 0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42,
    0x66, 0x14, 0x17, 0x40, 0x00 };

static struct arena *arena;
static struct buf kept = { .limit = 1 << 26 }, printed = { .limit = 1 << 26 };

static int
begin(void **state)
{
    (void)state;
    arena = arena_create("test", 1 << 26);
    return arena != NULL ? 0 : -1;
}

static int
end(void **state)
{
    (void)state;
    arena_destroy(arena);
    buf_fini(&kept);
    buf_fini(&printed);
    return 0;
}

static struct bytes
parse(const char *json, enum text_value_key key)
{
    struct bytes document;
    const struct bsonwalk_limits limits = { BSONVALUE_INTERNAL_SIZE_MAX, BSONVALUE_DEPTH_MAX };

    arena_reset(arena);
    assert_int_equal(text_value_parse(&kept, arena, uuid, key, bytes_of(json), &document), OK);
    assert_int_equal(bsonwalk_validate(document, &limits), OK);
    return document;
}

static void
expect_print(struct bytes document, const char *json)
{
    uint8_t *copy = arena_copy(arena, document.data, document.size);

    buf_clear(&printed);
    assert_int_equal(text_value_print(&printed, arena, copy, document.size), OK);
    assert_int_equal(buf_append_byte(&printed, 0), OK);
    assert_string_equal((const char *)printed.data, json);
}

static void
round_trip(const char *json, const char *expected)
{
    expect_print(parse(json, TEXT_VALUE_BINARY), expected);
    expect_print(parse(json, TEXT_VALUE_STRING), expected);
}

static void
every_kind_of_value_round_trips(void **state)
{
    (void)state;
    round_trip("{}", "{}");
    round_trip("{\"b\":1,\"a\":2}", "{\"a\":2,\"b\":1}");
    round_trip("null", "null");
    round_trip("true", "true");
    round_trip("42", "42");
    round_trip("-0", "-0.0");
    round_trip("1.5e300", "1.5e+300");
    round_trip("9223372036854775808", "9.223372036854776e+18");
    round_trip("\"x\\u2028\"", "\"x\\u2028\"");
    round_trip("[1,[2,{\"b\":1,\"a\":0}]]", "[1,[2,{\"a\":0,\"b\":1}]]");
}

static void
names_of_ours_are_escaped_and_come_back(void **state)
{
    static const char *const same[] = { "{\"_id\":1}", "{\"$_id\":1}", "{\"$$_id\":1}",
        "{\"$value\":1}", "{\"$$value\":1}", "{\"$value\":1,\"a\":2}", "{\"$_id\":1,\"_id\":2}",
        "{\"value\":1}", "{\"$other\":1}", "{\"a\":{\"$value\":2,\"_id\":1}}", "{\"\":1}",
        "{\"$\":1}" };
    struct bsonvalue value;

    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        round_trip(same[i], same[i]);
    assert_true(bsonwalk_get(parse("{\"_id\":7}", TEXT_VALUE_BINARY), "$_id", &value));
    assert_true(bsonwalk_get(parse("7", TEXT_VALUE_BINARY), "$value", &value));
}

static void
extended_values_are_types_or_stay_plain(void **state)
{
    struct bsonvalue value;
    struct bytes document = parse("{\"a\":{\"$oid\":\"0123456789abcdef01234567\"}}", 0);

    (void)state;
    assert_true(bsonwalk_get(document, "a", &value));
    assert_int_equal(value.type, BSONTYPE_OBJECTID);
    round_trip("{\"a\":{\"$oid\":\"0123456789abcdef01234567\"}}",
        "{\"a\":{\"$oid\":\"0123456789abcdef01234567\"}}");
    round_trip("{\"a\":{\"$oid\":\"0123456789ABCDEF01234567\"}}",
        "{\"a\":{\"$oid\":\"0123456789ABCDEF01234567\"}}");
    round_trip(
        "{\"$oid\":\"0123456789abcdef01234567\"}", "{\"$oid\":\"0123456789abcdef01234567\"}");
    round_trip("{\"a\":{\"$date\":\"2026-11-20T20:12:19.487Z\"}}",
        "{\"a\":{\"$date\":\"2026-11-20T20:12:19.487Z\"}}");
}

static void
a_repeated_name_has_the_first_place_and_the_last_value(void **state)
{
    struct bsonvalue value;
    struct bytes document = parse("{\"a\":1,\"b\":2,\"a\":3}", TEXT_VALUE_BINARY);

    (void)state;
    assert_int_equal(bsonwalk_count(document), 3);
    assert_true(bsonwalk_get(document, "a", &value));
    assert_int_equal(bsonvalue_int64(&value), 3);
}

static void
both_kinds_of_keys_are_seen_and_no_others(void **state)
{
    struct bsonbuild build;
    struct bytes document;
    enum text_value_key key;
    uint8_t read[16];

    (void)state;
    assert_true(text_value_key(parse("1", TEXT_VALUE_BINARY), read, &key));
    assert_int_equal(key, TEXT_VALUE_BINARY);
    assert_memory_equal(read, uuid, 16);
    assert_true(text_value_key(parse("1", TEXT_VALUE_STRING), read, &key));
    assert_int_equal(key, TEXT_VALUE_STRING);
    assert_memory_equal(read, uuid, 16);
    bsonbuild_begin_arena(&build, arena);
    bsonbuild_text(&build, "_id", "123E4567-e89b-12d3-a456-426614174000");
    assert_int_equal(bsonbuild_end(&build, &document), OK);
    assert_false(text_value_key(document, read, &key));
    bsonbuild_begin_arena(&build, arena);
    bsonbuild_int32(&build, "_id", 5);
    assert_int_equal(bsonbuild_end(&build, &document), OK);
    assert_false(text_value_key(document, read, &key));
}

static void
nesting_of_127_levels_is_stored_and_printed(void **state)
{
    char json[2 * 127 + 1];

    (void)state;
    memset(json, '[', 127);
    memset(json + 127, ']', 127);
    json[254] = '\0';
    round_trip(json, json);
}

static void
bad_json_is_told_with_reason_and_place(void **state)
{
    struct bytes document;

    (void)state;
    assert_int_equal(
        text_value_parse(&kept, arena, uuid, TEXT_VALUE_BINARY, bytes_of("{bad}"), &document),
        ERR_FAILED_TO_PARSE);
    assert_string_equal(err_message(), "key must be a string at line 1 column 2");
}

static void
paths_of_indexes_are_kept_as_names_are(void **state)
{
    struct bytes path;

    (void)state;
    assert_int_equal(text_value_path(arena, bytes_of("_id.x"), &path), OK);
    assert_true(bytes_is(path, "$_id.x"));
    assert_int_equal(text_value_path(arena, bytes_of("a._id"), &path), OK);
    assert_true(bytes_is(path, "a._id"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_value_round_trips),
        cmocka_unit_test(names_of_ours_are_escaped_and_come_back),
        cmocka_unit_test(extended_values_are_types_or_stay_plain),
        cmocka_unit_test(a_repeated_name_has_the_first_place_and_the_last_value),
        cmocka_unit_test(both_kinds_of_keys_are_seen_and_no_others),
        cmocka_unit_test(nesting_of_127_levels_is_stored_and_printed),
        cmocka_unit_test(bad_json_is_told_with_reason_and_place),
        cmocka_unit_test(paths_of_indexes_are_kept_as_names_are),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
