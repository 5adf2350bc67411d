/*
 * test_jsonline.c - requests and replies of the JSON-lines protocol.
 */
#include "base/wire/jsonline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"
#include "base/wire/jsonreply.h"

static struct buf scratch;
static struct jsonline_request request;

static bool
decode(const char *line)
{
    bool refused = true;

    assert_int_equal(jsonline_decode(&scratch, bytes_of(line), &request, &refused), OK);
    return !refused;
}

static void
refused(const char *line, const char *text)
{
    char found[4096];

    assert_false(decode(line));
    (void)snprintf(found, sizeof found, "%.*s", (int)scratch.size, (const char *)scratch.data);
    found[strlen(text) < sizeof found ? strlen(text) : 0] = '\0';
    assert_string_equal(found, text);
}

static void
a_request_is_decoded_in_any_order(void **state)
{
    struct bsonvalue value;

    (void)state;
    assert_true(decode("{\"command\":{\"type\":\"ping\"},\"request_id\":\"8627\"}"));
    assert_int_equal(request.verb, JSONLINE_PING);
    assert_true(bytes_is(request.request_id, "8627"));
    assert_false(request.has_auth_token);
    assert_true(decode("{\"x\":[1],\"auth_token\":\"t\",\"request_id\":\"\",\"command\":"
                       "{\"collection\":\"c\",\"limit\":0,\"skip\":null,\"filter\":null,"
                       "\"type\":\"find\",\"database\":\"d\",\"zz\":1}}"));
    assert_int_equal(request.verb, JSONLINE_FIND);
    assert_true(request.has_auth_token && bytes_is(request.auth_token, "t"));
    assert_true(bsonwalk_get(request.command, "limit", &value));
    assert_true(decode("{\"request_id\":\"a\",\"auth_token\":null,\"command\":{\"type\":"
                       "\"drop_user\",\"type\":\"get_user\",\"username\":\"u\"}}"));
    assert_int_equal(request.verb, JSONLINE_GET_USER);
}

static void
refusals_have_the_texts_of_the_protocol(void **state)
{
    (void)state;
    refused("not json", "Parse error: expected ident at line 1 column 2");
    refused("{}", "Parse error: missing field `request_id` at line 1 column 2");
    refused("{\"request_id\":\"a\"}", "Parse error: missing field `command` at line 1 column 18");
    refused("{\"request_id\":5}",
        "Parse error: invalid type: integer `5`, expected a string at line 1 column 15");
    refused("{\"request_id\":\"a\",\"command\":{}}",
        "Parse error: missing field `type` at line 1 column ");
    refused("{\"request_id\":\"a\",\"command\":\"ping\"}",
        "Parse error: invalid type: string \"ping\", expected internally tagged enum Command at ");
    refused("{\"request_id\":\"a\",\"request_id\":\"b\",\"command\":{\"type\":\"ping\"}}",
        "Parse error: duplicate field `request_id` at line 1 column ");
    refused("{\"request_id\":\"a\",\"command\":{\"type\":\"bogus\"}}",
        "Parse error: unknown variant `bogus`, expected one of `create_database`, "
        "`drop_database`, `list_databases`, `create_collection`");
    refused("{\"request_id\":\"a\",\"command\":{\"type\":\"find\",\"database\":\"d\","
            "\"collection\":\"c\"}}",
        "Parse error: missing field `filter` at line 1 column ");
    refused("{\"request_id\":\"a\",\"command\":{\"type\":\"find\",\"database\":\"d\","
            "\"collection\":\"c\",\"filter\":{},\"limit\":-1}}",
        "Parse error: invalid value: integer `-1`, expected usize at line 1 column ");
    refused("{\"request_id\":\"a\",\"command\":{\"type\":\"find\",\"database\":\"d\","
            "\"collection\":\"c\",\"filter\":{},\"limit\":1.5}}",
        "Parse error: invalid type: floating point `1.5`, expected usize at line 1 column ");
    refused("{\"request_id\":\"a\",\"command\":{\"type\":\"insert_many\",\"database\":\"d\","
            "\"collection\":\"c\",\"documents\":{}}}",
        "Parse error: invalid type: map, expected a sequence at line 1 column ");
    refused("{\"request_id\":\"a\",\"command\":{\"type\":\"create_database\",\"name\":null}}",
        "Parse error: invalid type: null, expected a string at line 1 column ");
    refused("{\"request_id\":\"a\",\"command\":{\"type\":\"find\",\"database\":true}}",
        "Parse error: invalid type: boolean `true`, expected a string at line 1 column ");
    refused("{\"request_id\":[]}",
        "Parse error: invalid type: sequence, expected a string at line 1 column 16");
    refused("{} {}", "Parse error: trailing characters at line 1 column 4");
    refused("[]", "Parse error: invalid type: sequence, expected a map at line 1 column 2");
    refused("{\"request_id\":\"\\ud800\"}", "Parse error: lone leading surrogate in hex escape");
    refused("{\"a\":1e999999}", "Parse error: number out of range");
    refused("{\"a\\u0000b\":1}", "Parse error: key contains a NUL character");
    refused("{\"a\":NaN}", "Parse error: expected value at line 1 column 6");
    refused("{/**/}", "Parse error: key must be a string at line 1 column 2");
    refused("\xef\xbb\xbf{}", "Parse error: expected value at line 1 column 1");
}

static void
hostile_depth_is_refused_at_once(void **state)
{
    char *line = malloc(1000001);

    (void)state;
    assert_non_null(line);
    memset(line, '[', 1000000);
    line[1000000] = '\0';
    refused(line, "Parse error: recursion limit exceeded at line 1 column 128");
    free(line);
}

static void
unknown_variant_lists_all_in_order(void **state)
{
    (void)state;
    assert_false(decode("{\"request_id\":\"a\",\"command\":{\"type\":\"\"}}"));
    assert_non_null(memmem(scratch.data, scratch.size, "`ping`, `replace_one`", 21));
    assert_non_null(memmem(scratch.data, scratch.size, "`shard_route` at line 1", 23));
}

static void
blank_lines_are_passed_over_however_they_arrive(void **state)
{
    static const char stream[] = "\n \r\n {\"a\":1} \r\n\n\t\n2";

    (void)state;
    for (size_t piece = 1; piece <= sizeof stream; piece++) {
        struct textline framer;
        size_t from = 0, to = 0, lines = 0;
        const size_t size = sizeof stream - 1;
        enum textline_result result;

        textline_init(&framer, JSONLINE_LIMIT);
        do {
            struct bytes input = { (const uint8_t *)stream + from, to - from };
            struct bytes line;
            size_t consumed;

            result = jsonline_next(&framer, input, to == size, &line, &consumed);
            from += consumed;
            if (result == TEXTLINE_LINE)
                assert_true(bytes_is(line, lines++ == 0 ? "{\"a\":1}" : "2"));
            else if (result == TEXTLINE_MORE)
                to = to + piece < size ? to + piece : size;
        } while (result != TEXTLINE_END);
        assert_int_equal(lines, 2);
    }
    assert_int_equal(jsonline_too_long(&scratch, JSONLINE_LIMIT), OK);
    assert_true(
        bytes_is(buf_bytes(&scratch), "Parse error: request too long (max 48000000 bytes)"));
}

static void
replies_have_five_members_in_order(void **state)
{
    struct buf out = buf_init(4096);
    struct buf document = buf_init(4096);
    struct bsonbuild build;
    struct bytes bson;

    (void)state;
    bsonbuild_begin(&build, &document);
    bsonbuild_int32(&build, "z", 1);
    bsonbuild_double(&build, "a", 30.0);
    assert_int_equal(bsonbuild_end(&build, &bson), OK);
    assert_int_equal(jsonreply_document(&out, bytes_of("8\"6"), bson, 12), OK);
    assert_true(bytes_is(buf_bytes(&out),
        "{\"request_id\":\"8\\\"6\",\"ok\":true,\"data\":{\"a\":30.0,\"z\":1},\"error\":null,"
        "\"execution_time_us\":12}\n"));
    buf_clear(&out);
    assert_int_equal(jsonreply_text(&out, bytes_of("a"), bytes_of("{\"pong\":true}"), 1), OK);
    assert_true(bytes_is(buf_bytes(&out), "{\"request_id\":\"a\",\"ok\":true,\"data\":{\"pong\":"
                                          "true},\"error\":null,\"execution_time_us\":1}\n"));
    buf_clear(&out);
    assert_int_equal(
        jsonreply_error(&out, bytes_of("unknown"), bytes_of("a\nb"), JSONREPLY_NO_TIME), OK);
    assert_true(bytes_is(buf_bytes(&out), "{\"request_id\":\"unknown\",\"ok\":false,\"data\":null,"
                                          "\"error\":\"a\\nb\",\"execution_time_us\":null}\n"));
    buf_fini(&out);
    buf_fini(&document);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_decoded_in_any_order),
        cmocka_unit_test(refusals_have_the_texts_of_the_protocol),
        cmocka_unit_test(hostile_depth_is_refused_at_once),
        cmocka_unit_test(unknown_variant_lists_all_in_order),
        cmocka_unit_test(blank_lines_are_passed_over_however_they_arrive),
        cmocka_unit_test(replies_have_five_members_in_order),
    };
    int failed;

    scratch = buf_init(1 << 20);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_fini(&scratch);
    return failed;
}
