#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc/bsonorder.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/jsonparse.h"
#include "base/doc/jsonprint.h"
#include "tests/unit/base/doc/random_value.h"

static struct buf out = { NULL, 0, 0, 64u << 20 };
static struct buf text = { NULL, 0, 0, 64u << 20 };
static struct jsonparse_result result;

static void
refused(const char *json, const char *message)
{
    buf_clear(&out);
    assert_int_equal(buf_append(&out, "abc", 3), OK); /* what is there already stays */
    assert_int_equal(
        jsonparse_value(&out, bytes_of(json), &jsonparse_text, &result), ERR_FAILED_TO_PARSE);
    assert_string_equal(err_message(), message);
    assert_int_equal(out.size, 3);
}

static void
reasons_and_columns_are_exact(void **state)
{
    (void)state;
    refused("bob", "expected value at line 1 column 1");
    refused("{bad}", "key must be a string at line 1 column 2");
    refused("\"a", "EOF while parsing a string at line 1 column 2");
    refused("notjson", "expected ident at line 1 column 2");
    refused("[1,]", "trailing comma at line 1 column 4");
    refused("1 2", "trailing characters at line 1 column 3");
    refused("", "EOF while parsing a value at line 1 column 0");
    refused("{", "EOF while parsing an object at line 1 column 1");
    refused("[", "EOF while parsing a list at line 1 column 1");
    refused("{\"a\":1,}", "trailing comma at line 1 column 8");
    refused("{\"a\" 1}", "expected `:` at line 1 column 6");
    refused("{\"a\":1 2}", "expected `,` or `}` at line 1 column 8");
    refused("[1 2]", "expected `,` or `]` at line 1 column 4");
    refused("01", "invalid number at line 1 column 2");
    refused("-x", "invalid number at line 1 column 2");
    refused("1.", "EOF while parsing a value at line 1 column 2");
    refused("1e400", "number out of range at line 1 column 5");
    refused("\"\\x\"", "invalid escape at line 1 column 3");
    refused("\"\\ud800\"", "lone leading surrogate in hex escape at line 1 column 8");
    refused("\"\\udc00\"", "lone leading surrogate in hex escape at line 1 column 7");
    refused("\"a\nb\"",
        "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 3");
    refused("{\"a\\u0000\":1}", "key contains a NUL character at line 1 column 9");
    refused("\"\xc0\xaf\"", "invalid unicode code point at line 1 column 2");
    refused("[NaN]", "expected value at line 1 column 2");
    refused("\xef\xbb\xbf{}", "expected value at line 1 column 1");
}

static void
the_127th_level_is_the_last(void **state)
{
    char json[512];

    (void)state;
    memset(json, '[', 128);
    memset(json + 128, ']', 128);
    json[256] = '\0';
    refused(json, "recursion limit exceeded at line 1 column 128");
    json[255] = '\0';
    assert_int_equal(jsonparse_value(&out, bytes_of(json + 1), &jsonparse_text, &result), OK);
}

/* Read as the options say and write as the protocols do. */
static void
becomes_by(const struct jsonparse_options *options, const char *json, const char *wanted)
{
    buf_clear(&out);
    buf_clear(&text);
    if (jsonparse_value(&out, bytes_of(json), options, &result) != OK)
        fail_msg("%s: %s", json, err_message());
    assert_int_equal(jsonprint_value(&text, &result.value, JSONPRINT_WIRE), OK);
    assert_int_equal(buf_append_byte(&text, 0), OK);
    assert_string_equal((char *)text.data, wanted);
}

static void
becomes(const char *json, const char *wanted)
{
    becomes_by(&jsonparse_text, json, wanted);
}

static void
numbers_keep_their_value(void **state)
{
    (void)state;
    becomes("9223372036854775807", "9223372036854775807");
    becomes("-9223372036854775808", "-9223372036854775808");
    becomes("9223372036854775808", "9.223372036854776e+18");
    becomes("-0", "-0.0");
    becomes("0.1", "0.1");
    becomes("1e5", "100000.0");
    becomes("1e16", "1e+16");
    becomes("1e15", "1000000000000000.0");
    becomes("0.00001", "0.00001");
    becomes("0.000001", "1e-6");
    becomes("123456789012345678901234567890", "1.2345678901234568e+29");
    becomes("1.7976931348623157e308", "1.7976931348623157e+308");
    becomes("5e-324", "5e-324");
    becomes("2.2250738585072011e-308", "2.225073858507201e-308");
    becomes("9007199254740993.0", "9007199254740992.0");
    becomes("1.8446744073709552e19", "1.8446744073709552e+19");
    becomes("1e-999", "0.0");
    becomes_by(&jsonparse_lines, "[1,2147483648]", "[1,2147483648]");
    assert_int_equal(jsonparse_value(&out, bytes_of("7"), &jsonparse_lines, &result), OK);
    assert_int_equal(result.value.type, BSONTYPE_INT32);
    assert_int_equal(jsonparse_value(&out, bytes_of("7"), &jsonparse_text, &result), OK);
    assert_int_equal(result.value.type, BSONTYPE_INT64);
}

static void
the_last_value_takes_the_first_place(void **state)
{
    char json[2048] = "{", name[32];

    (void)state;
    becomes("{\"b\":1,\"a\":2,\"b\":{\"x\":[3]}}", "{\"a\":2,\"b\":{\"x\":[3]}}");
    assert_true(result.duplicate);
    buf_clear(&text);
    assert_int_equal(jsonprint_value(&text, &result.value, JSONPRINT_RELAXED), OK);
    assert_int_equal(buf_append_byte(&text, 0), OK);
    assert_string_equal((char *)text.data, "{\"b\":{\"x\":[3]},\"a\":2}");
    for (int i = 0; i < 40; i++) {
        (void)snprintf(name, sizeof name, "%s\"k%d\":%d", i > 0 ? "," : "", i % 39, i);
        strcat(json, name);
    }
    strcat(json, "}");
    assert_int_equal(jsonparse_value(&out, bytes_of(json), &jsonparse_text, &result), OK);
    assert_int_equal(bsonwalk_count(result.value.raw), 39);
    assert_int_equal(bsonwalk_validate(result.value.raw, NULL), OK);
}

static void
what_a_client_writes_is_what_it_reads(void **state)
{
    static const char *const same[] = { "{\"$oid\":\"0123456789abcdef01234567\"}",
        "{\"$oid\":\"0123456789ABCDEF01234567\"}", "{\"$oid\":5}",
        "{\"$date\":\"2026-11-20T20:12:19.487Z\"}", "{\"$date\":\"2026-11-20T20:12:19.480Z\"}",
        "{\"$date\":\"2026-11-20T20:12:19+01:00\"}", "{\"$date\":{\"$numberLong\":\"-1\"}}",
        "{\"$date\":{\"$numberLong\":\"1\"}}", "{\"$numberLong\":\"5\"}",
        "{\"$numberDecimal\":\"1.50\"}", "{\"$numberDecimal\":\"01\"}",
        "{\"$binary\":{\"base64\":\"AQI=\",\"subType\":\"00\"}}",
        "{\"$binary\":{\"base64\":\"AQJ=\",\"subType\":\"00\"}}", "{\"$minKey\":1}",
        "{\"$maxKey\":2}", "{\"$numberDouble\":\"NaN\"}", "{\"$numberDouble\":\"1.0\"}",
        "{\"$timestamp\":{\"i\":2,\"t\":1}}", "{\"$ref\":{\"collection\":\"c\",\"uuid\":\"u\"}}",
        "{\"$regularExpression\":{\"options\":\"im\",\"pattern\":\"a\"}}",
        "{\"$regularExpression\":{\"options\":\"I\xc3\xa9x\",\"pattern\":\"a\"}}",
        "{\"$regularExpression\":{\"options\":\"mi\",\"pattern\":\"a\"}}" };

    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        becomes(same[i], same[i]);
    becomes(same[0], same[0]);
    assert_int_equal(result.value.type, BSONTYPE_OBJECTID);
    becomes(same[1], same[1]);
    assert_int_equal(result.value.type, BSONTYPE_DOCUMENT);
    becomes(same[6], same[6]);
    assert_int_equal(result.value.type, BSONTYPE_DATE);
    becomes_by(&jsonparse_lines, same[7], "{\"$date\":\"1970-01-01T00:00:00.001Z\"}");
    becomes_by(&jsonparse_lines, "{\"$numberLong\":\"5\"}", "5");
    becomes_by(&jsonparse_lines, "{\"$regex\":\"a\"}", "{\"$regex\":\"a\"}");
}

static void
references_and_crdts_are_put_in_form(void **state)
{
    (void)state;
    becomes(
        "{\"a\":$ref(\"c\",\"u\")}", "{\"a\":{\"$ref\":{\"collection\":\"c\",\"uuid\":\"u\"}}}");
    becomes("{\"$crdt\":{\"kind\":\"GCounter\",\"payload_b64\":\"CQAAAAAAAAA=\",\"x\":1},\"y\":2}",
        "{\"$crdt\":{\"kind\":\"GCounter\",\"payload_b64\":\"CQAAAAAAAAA=\"}}");
    becomes("{\"$crdt\":{\"kind\":\"Foo\",\"payload_b64\":\"\"},\"y\":2}",
        "{\"$crdt\":{\"kind\":\"Foo\",\"payload_b64\":\"\"},\"y\":2}");
}

static void
strings_are_escaped_as_specified(void **state)
{
    (void)state;
    becomes(
        "\"\\u0000\\u001f\\b\\f\\n\\r\\t\\\"\\\\\\/\\u00e9\\ud83d\\ude00\\u2028\\u2029\\u2027\"",
        "\"\\u0000\\u001f\\b\\f\\n\\r\\t\\\"\\\\/"
        "\xc3\xa9\xf0\x9f\x98\x80\\u2028\\u2029\xe2\x80\xa7\"");
}

static void
a_prefix_says_where_it_ends(void **state)
{
    struct jsonparse_options options = jsonparse_text;

    (void)state;
    options.prefix = true;
    assert_int_equal(jsonparse_value(&out, bytes_of(" \"a b\" \"c d\""), &options, &result), OK);
    assert_int_equal(result.used, 6);
}

static void
places_of_members_are_found(void **state)
{
    static const char *const path[] = { "command", "type" };
    static const char json[] =
        "{\"x\":[{\"a\":\"}\"}],\"command\": {\"type\" : 5,\"type\":\"q\"} }";
    struct jsonparse_place place = jsonparse_locate(bytes_of(json), path, 2);

    (void)state;
    assert_int_equal(place.count, 2);
    assert_memory_equal(json + place.start, "\"q\"", 3);
    assert_int_equal(place.end - place.start, 3);
    place = jsonparse_locate(bytes_of("{\"request_id\":5}"), &(const char *){ "request_id" }, 1);
    assert_int_equal(place.end, 15);
}

/* Canonical extended JSON gives back the same bytes, whatever the types. */
static void
canonical_text_gives_back_the_document(void **state)
{
    struct buf document = buf_init(1u << 20);
    static struct bsonbuild build;
    struct bytes bytes;
    char key[8];

    (void)state;
    random_state = 4711;
    for (int round = 0; round < 3000; round++) {
        buf_clear(&document);
        buf_clear(&text);
        buf_clear(&out);
        bsonbuild_begin(&build, &document);
        for (int i = 0; i < 4; i++) {
            (void)snprintf(key, sizeof key, "k%d", i);
            random_append(&build, bytes_of(key), 0);
        }
        assert_int_equal(bsonbuild_end(&build, &bytes), OK);
        assert_int_equal(jsonprint_document(&text, bytes, JSONPRINT_CANONICAL), OK);
        if (jsonparse_value(&out, buf_bytes(&text), &jsonparse_import, &result) != OK)
            fail_msg("%.*s: %s", (int)text.size, (char *)text.data, err_message());
        assert_int_equal(bsonwalk_validate(result.value.raw, NULL), OK);
        if (bsonorder_compare_documents(result.value.raw, bytes) != 0)
            fail_msg("%.*s", (int)text.size, (char *)text.data);
    }
    buf_fini(&document);
}

static void
doubles_read_back_as_themselves(void **state)
{
    char digits[JSONPRINT_DOUBLE_MAX + 1];

    (void)state;
    random_state = 5;
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = random_word();
        double number, back;

        memcpy(&number, &bits, sizeof number);
        if (i % 2 == 0)
            number = (double)(int64_t)(bits >> 20) / 1000;
        if (number - number != 0)
            continue;
        digits[jsonprint_double(number, digits)] = '\0';
        back = strtod(digits, NULL);
        assert_memory_equal(&back, &number, sizeof number);
    }
}

static int
forget(void **state)
{
    (void)state;
    buf_fini(&out);
    buf_fini(&text);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasons_and_columns_are_exact),
        cmocka_unit_test(the_127th_level_is_the_last),
        cmocka_unit_test(numbers_keep_their_value),
        cmocka_unit_test(the_last_value_takes_the_first_place),
        cmocka_unit_test(what_a_client_writes_is_what_it_reads),
        cmocka_unit_test(references_and_crdts_are_put_in_form),
        cmocka_unit_test(strings_are_escaped_as_specified),
        cmocka_unit_test(a_prefix_says_where_it_ends),
        cmocka_unit_test(places_of_members_are_found),
        cmocka_unit_test(canonical_text_gives_back_the_document),
        cmocka_unit_test(doubles_read_back_as_themselves),
    };

    return cmocka_run_group_tests(tests, NULL, forget);
}
