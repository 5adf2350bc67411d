/*
 * test_json_filter.c - filters, updates and errors of the JSON-lines language.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/command/json_error.h"
#include "backend/command/json_filter.h"
#include "backend/command/json_update.h"
#include "base/doc/bsonbuild.h"
#include "base/doc/jsonparse.h"
#include "base/doc/jsonprint.h"

#define UUID        "f0c09293-389f-44e4-b3d8-e82323d3c413"
#define UUID_BINARY "{\"$binary\":{\"base64\":\"8MCSkzifROSz2OgjI9PEEw==\",\"subType\":\"04\"}}"

static struct op op;
static struct buf scratch, command, printed;
static struct json_call call;

static int
set_up(void **state)
{
    (void)state;
    op = (struct op){ .arena = arena_create("a test", (size_t)1 << 24), .verb = "" };
    scratch = buf_init((size_t)1 << 20);
    command = buf_init((size_t)1 << 20);
    printed = buf_init((size_t)1 << 20);
    return op.arena != NULL ? 0 : -1;
}

static int
tear_down(void **state)
{
    (void)state;
    arena_destroy(op.arena);
    buf_fini(&scratch);
    buf_fini(&command);
    buf_fini(&printed);
    return 0;
}

/* A call whose command is this JSON. */
static void
begin(const char *member, const char *json)
{
    struct bytes document;
    char *text = arena_printf(op.arena, "{\"%s\":%s}", member, json);

    buf_clear(&command);
    assert_int_equal(jsonparse_document(&command, bytes_of(text), &jsonparse_lines, &document), OK);
    call = (struct json_call){
        .op = &op, .command = document, .scratch = &scratch, .ns = { "_default", "db", "c" }
    };
}

static void
assert_document(struct bytes document, const char *json)
{
    buf_clear(&printed);
    assert_int_equal(jsonprint_document(&printed, document, JSONPRINT_RELAXED), OK);
    assert_int_equal(buf_append_byte(&printed, 0), OK);
    assert_string_equal((const char *)printed.data, json);
}

static void
assert_text(err_t err, const char *text)
{
    struct bytes given;

    assert_int_not_equal(err, OK);
    given = json_error_text(&call, err);
    assert_string_equal(arena_string(op.arena, given), text);
}

static void
assert_filter(const char *given, const char *engine)
{
    struct bytes filter;

    begin("filter", given);
    assert_int_equal(json_filter_of(&call, "filter", true, &filter), OK);
    assert_document(filter, engine);
}

static void
assert_bad_filter(const char *given, const char *text)
{
    struct bytes filter;

    begin("filter", given);
    assert_text(json_filter_of(&call, "filter", true, &filter), text);
}

static void
assert_update(const char *given, const char *engine)
{
    struct bytes update;

    begin("update", given);
    assert_int_equal(json_update_of(&call, &update), OK);
    assert_document(update, engine);
}

static void
assert_bad_update(const char *given, const char *text)
{
    struct bytes update;

    begin("update", given);
    assert_text(json_update_of(&call, &update), text);
}

static void
filters_are_mongodbs_with_values_in_order(void **state)
{
    (void)state;
    assert_filter("{}", "{}");
    assert_filter("null", "{}");
    assert_filter("{\"age\":{\"$gt\":25}}", "{\"age\":{\"$gt\":25}}");
    assert_filter("{\"a\":{\"y\":1,\"x\":2}}", "{\"a\":{\"x\":2,\"y\":1}}");
    assert_filter("{\"a\":{\"$in\":[{\"y\":1,\"x\":2}]}}", "{\"a\":{\"$in\":[{\"x\":2,\"y\":1}]}}");
    assert_filter("{\"$or\":[{\"a\":1},{\"b\":{\"$type\":\"int32\"}}]}",
        "{\"$or\":[{\"a\":1},{\"b\":{\"$type\":\"int\"}}]}");
    assert_filter("{\"a\":{\"$type\":[\"document\",2,\"number\"]}}",
        "{\"a\":{\"$type\":[\"object\",2,\"number\"]}}");
    assert_filter("{\"$not\":{\"a\":1}}", "{\"$nor\":[{\"a\":1}]}");
    assert_filter("{\"a\":{\"$elemMatch\":{\"$gt\":1}}}", "{\"a\":{\"$elemMatch\":{\"$gt\":1}}}");
    assert_filter(
        "{\"a\":{\"$not\":{\"$eq\":\"" UUID "\"}}}", "{\"a\":{\"$not\":{\"$eq\":\"" UUID "\"}}}");
}

static void
a_uuid_as_id_means_both_its_forms(void **state)
{
    static const char both[] = "[\"" UUID "\"," UUID_BINARY "]";
    struct bytes filter, each[2];
    unsigned count;

    (void)state;
    assert_filter("{\"_id\":\"" UUID "\"}", arena_printf(op.arena, "{\"_id\":{\"$in\":%s}}", both));
    assert_filter("{\"_id\":{\"$in\":[\"" UUID "\"]}}",
        arena_printf(op.arena, "{\"_id\":{\"$in\":%s}}", both));
    assert_filter("{\"_id\":{\"$ne\":\"" UUID "\"}}",
        arena_printf(op.arena, "{\"_id\":{\"$nin\":%s}}", both));
    assert_filter("{\"_id\":\"x\"}", "{\"_id\":\"x\"}");
    begin("filter", "{\"_id\":\"" UUID "\"}");
    assert_int_equal(json_filter_of(&call, "filter", true, &filter), OK);
    assert_int_equal(json_filter_split(&call, filter, each, &count), OK);
    assert_int_equal(count, 2);
    assert_document(each[0], "{\"_id\":\"" UUID "\"}");
    assert_document(each[1], "{\"_id\":" UUID_BINARY "}");
    begin("filter", "{\"_id\":\"" UUID "\",\"a\":1}");
    assert_int_equal(json_filter_of(&call, "filter", true, &filter), OK);
    assert_int_equal(json_filter_split(&call, filter, each, &count), OK);
    assert_int_equal(count, 1);
}

static void
bad_filters_are_told_in_the_protocols_words(void **state)
{
    struct bytes filter;

    (void)state;
    assert_bad_filter("5", "Query parse error: Query must be a JSON object");
    assert_bad_filter("[]", "Query parse error: Query must be a JSON object");
    assert_bad_filter("{\"$and\":1}", "Query parse error: $and requires an array");
    assert_bad_filter("{\"$or\":{}}", "Query parse error: $or requires an array");
    assert_bad_filter("{\"a\":{\"$in\":1}}", "Query parse error: $in requires an array");
    assert_bad_filter("{\"a\":{\"$nin\":1}}", "Query parse error: $nin requires an array");
    assert_bad_filter("{\"a\":{\"$exists\":1}}", "Query parse error: $exists requires a boolean");
    assert_bad_filter("{\"a\":{\"$regex\":1}}", "Query parse error: $regex requires a string");
    assert_bad_filter("{\"a\":{\"$type\":true}}", "Query parse error: $type requires a string");
    assert_bad_filter("{\"a\":{\"$foo\":1}}", "Invalid operator: $foo");
    assert_bad_filter("{\"$foo\":1}", "Invalid operator: $foo");
    assert_bad_filter("{\"$nor\":[{\"a\":{\"$not\":{\"$foo\":1}}}]}", "Invalid operator: $foo");
    begin("filter", "null");
    assert_text(json_filter_of(&call, "filter", false, &filter),
        "Query parse error: Query must be a JSON object");
}

static void
plain_members_of_an_update_are_merged(void **state)
{
    (void)state;
    assert_update("{\"a\":1}", "{\"$set\":{\"a\":1}}");
    assert_update("{\"$set\":{\"a\":{\"y\":1,\"x\":2}}}", "{\"$set\":{\"a\":{\"x\":2,\"y\":1}}}");
    assert_update("{\"$push\":{\"a\":{\"$each\":[],\"$sort\":{\"z\":1,\"b\":-1}}}}",
        "{\"$push\":{\"a\":{\"$each\":[],\"$sort\":{\"z\":1,\"b\":-1}}}}");
}

static void
bad_updates_are_told_in_the_protocols_words(void **state)
{
    static const char kept[] = "Document validation failed: _metadata is maintained by the server";

    (void)state;
    assert_bad_update("5", "Query parse error: Update document must be a JSON object");
    assert_bad_update("{\"$foo\":{\"a\":1}}", "Invalid operator: $foo");
    assert_bad_update("{\"$set\":{\"a\":1},\"$foo\":{}}", "Invalid operator: $foo");
    assert_bad_update("{\"_metadata\":1}", kept);
    assert_bad_update("{\"$unset\":{\"_metadata.version\":1}}", kept);
    assert_bad_update("{\"$rename\":{\"a\":\"_metadata\"}}", kept);
    assert_update("{\"$set\":{\"_metadatas\":1}}", "{\"$set\":{\"_metadatas\":1}}");
}

static void
the_engines_errors_get_texts_of_this_protocol(void **state)
{
    struct bsonbuild build;
    struct bytes info;

    (void)state;
    begin("filter", "{}");
    assert_text(err_set(ERR_BAD_VALUE, "unknown operator: $size"), "Invalid operator: $size");
    assert_text(err_set(ERR_TYPE_MISMATCH, "Cannot increment with non-numeric argument: {a: long}"),
        "Type mismatch in query: expected number, got int64");
    assert_text(err_set(ERR_TYPE_MISMATCH, "Cannot apply $inc to a value of non-numeric type. "
                                           "{_id: 1} has the field 'a' of non-numeric type string"),
        "Type mismatch in query: expected number, got string");
    assert_text(err_set(ERR_BAD_VALUE,
                    "The field 'a' must be an array but is of type int in document {_id: 1}"),
        "Type mismatch in query: expected array, got int32");
    assert_text(err_set(ERR_MAX_TIME, "operation exceeded time limit"),
        "Operation timed out: operation exceeded time limit");
    assert_text(err_set(ERR_IMMUTABLE_FIELD, "no"), "Query execution error: no");
    assert_text(err_set(ERR_DISK_FULL, "could not write"), "Storage error: could not write");

    bsonbuild_begin_arena(&build, op.arena);
    bsonbuild_document_begin(&build, "keyValue");
    bsonbuild_text(&build, "_id", "x");
    bsonbuild_document_end(&build);
    assert_int_equal(bsonbuild_end(&build, &info), OK);
    err_note(ERR_DUPLICATE_KEY, __FILE__, __LINE__, "E11000");
    err_attach(info);
    assert_text(ERR_DUPLICATE_KEY, "Duplicate key: collection=db.c, key={\"_id\":\"x\"}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = { TEST(filters_are_mongodbs_with_values_in_order),
        TEST(a_uuid_as_id_means_both_its_forms), TEST(bad_filters_are_told_in_the_protocols_words),
        TEST(plain_members_of_an_update_are_merged),
        TEST(bad_updates_are_told_in_the_protocols_words),
        TEST(the_engines_errors_get_texts_of_this_protocol) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
