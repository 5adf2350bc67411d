/*
 * test_json_document.c - documents as the JSON-lines language stores and shows them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/command/json_document.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/jsonparse.h"

#define CREATED_MS INT64_C(1795032739487) /* 2026-11-18T20:12:19.487 */
#define CHANGED_MS INT64_C(1795032740000)

static struct arena *arena;
static struct buf out, first, second;

static int
set_up(void **state)
{
    (void)state;
    arena = arena_create("a test", (size_t)1 << 24);
    out = buf_init((size_t)1 << 24);
    first = buf_init((size_t)1 << 24);
    second = buf_init((size_t)1 << 24);
    return arena != NULL ? 0 : -1;
}

static int
tear_down(void **state)
{
    (void)state;
    arena_destroy(arena);
    buf_fini(&out);
    buf_fini(&first);
    buf_fini(&second);
    return 0;
}

static struct bytes
bson(const char *json)
{
    struct buf *text = &first;
    struct jsonparse_result result;
    void *copy;

    buf_clear(text);
    assert_int_equal(jsonparse_value(text, bytes_of(json), &jsonparse_lines, &result), OK);
    copy = arena_copy(arena, result.value.raw.data, result.value.raw.size);
    assert_non_null(copy);
    return (struct bytes){ copy, result.value.raw.size };
}

static struct bytes
inserted(const char *json)
{
    struct bytes stored;

    assert_int_equal(json_document_insert(arena, bson(json), true, CREATED_MS, &stored), OK);
    return stored;
}

static void
assert_prints(struct bytes document, const char *json)
{
    buf_clear(&out);
    assert_int_equal(json_document_print(&out, document, true), OK);
    assert_int_equal(buf_append_byte(&out, 0), OK);
    assert_string_equal((const char *)out.data, json);
}

static void
size_bytes_counts_the_fields_of_the_user(void **state)
{
    (void)state;
    assert_int_equal(json_document_size(bson("{\"a\":1}")), 25);
    assert_int_equal(
        json_document_size(bson("{\"name\":\"Alice\",\"age\":28,\"role\":\"engineer\"}")), 88);
    assert_int_equal(json_document_size(bson("{\"_id\":7,\"_metadata\":{\"x\":1},\"a\":1}")), 25);
    assert_int_equal(json_document_size(bson("{}")), 8);
    /* 8 + (8 + 1 + 4 + (8 + (4 + 4) + (4 + 8))) */
    assert_int_equal(json_document_size(bson("{\"a\":[1,2.5]}")), 49);
    /* 8 + (8 + 1 + 4 + 32) + (8 + 1 + 4 + 0) */
    assert_int_equal(
        json_document_size(bson("{\"a\":{\"$oid\":\"0123456789abcdef01234567\"},\"b\":null}")), 66);
    /* 8 + (8 + 1 + 4 + 8 + 25) */
    assert_int_equal(json_document_size(bson("{\"a\":{\"$date\":\"2026-11-20T20:12:19Z\"}}")), 54);
}

static void
members_are_put_in_bytewise_order_at_every_level(void **state)
{
    (void)state;
    assert_prints(inserted("{\"b\":{\"y\":1,\"X\":[{\"d\":1,\"c\":2}]},\"_id\":\"k\",\"Z\":0}"),
        "{\"Z\":0,\"_id\":\"k\",\"_metadata\":{\"created_at\":\"2026-11-18T20:12:19.487+00:00\","
        "\"size_bytes\":130,\"updated_at\":\"2026-11-18T20:12:19.487+00:00\",\"version\":1},"
        "\"b\":{\"X\":[{\"c\":2,\"d\":1}],\"y\":1}}");
}

static void
an_id_is_made_where_the_client_gave_none(void **state)
{
    struct bytes stored = inserted("{\"a\":1}");
    struct bsonvalue id;
    uint8_t uuid[16];

    (void)state;
    assert_true(bsonwalk_get(stored, "_id", &id));
    assert_true(json_document_is_uuid(&id, uuid));
    assert_int_equal(uuid[6] >> 4, 4);
    assert_memory_equal(stored.data + 5, "_id", 4); /* it is the first member */
}

static void
arrays_and_regexes_are_no_ids(void **state)
{
    struct bytes stored;

    (void)state;
    assert_int_equal(
        json_document_insert(arena, bson("{\"_id\":[1]}"), true, 0, &stored), ERR_INVALID_ID_FIELD);
    assert_int_equal(
        json_document_insert(arena,
            bson("{\"_id\":{\"$regularExpression\":{\"pattern\":\"a\",\"options\":\"\"}}}"), true,
            0, &stored),
        ERR_INVALID_ID_FIELD);
}

static void
a_clients_own_metadata_is_ignored(void **state)
{
    struct bytes stored = inserted("{\"_id\":1,\"_metadata\":{\"version\":9}}");
    struct bsonvalue kept, version;

    (void)state;
    assert_true(bsonwalk_get(stored, "_metadata", &kept));
    assert_true(bsonwalk_get(kept.raw, "version", &version));
    assert_int_equal(version.type, BSONTYPE_INT64);
    assert_int_equal(bsonvalue_int64(&version), 1);
}

static void
a_change_counts_the_version_and_the_size(void **state)
{
    struct bytes before = inserted("{\"_id\":1,\"a\":1}"), stored;

    (void)state;
    assert_int_equal(json_document_renew(&second, before, bson("{\"_id\":1,\"b\":\"x\",\"a\":2}"),
                         CHANGED_MS, &stored),
        OK);
    assert_prints(stored,
        "{\"_id\":1,\"_metadata\":{\"created_at\":\"2026-11-18T20:12:19.487+00:00\","
        "\"size_bytes\":47,\"updated_at\":\"2026-11-18T20:12:20+00:00\",\"version\":2},"
        "\"a\":2,\"b\":\"x\"}");
}

static void
a_replacement_by_the_same_is_no_change(void **state)
{
    struct bytes before = inserted("{\"_id\":1,\"b\":2,\"a\":1}"), stored;

    (void)state;
    assert_int_equal(json_document_renew(
                         &second, before, bson("{\"_id\":1,\"b\":2,\"a\":1}"), CHANGED_MS, &stored),
        OK);
    assert_true(bytes_equal(before, stored));
}

static void
documents_of_other_languages_stay_as_they_are(void **state)
{
    struct bytes before = bson("{\"_id\":1,\"b\":2,\"a\":1}");
    struct bytes after = bson("{\"_id\":1,\"b\":3,\"a\":1}"), stored;

    (void)state;
    assert_int_equal(json_document_renew(&second, before, after, CHANGED_MS, &stored), OK);
    assert_true(bytes_equal(after, stored));
}

static void
a_binary_uuid_as_id_prints_as_its_text(void **state)
{
    (void)state;
    assert_prints(bson("{\"_id\":{\"$uuid\":\"f0c09293-389f-44e4-b3d8-e82323d3c413\"},\"u\":"
                       "{\"$uuid\":\"f0c09293-389f-44e4-b3d8-e82323d3c413\"}}"),
        "{\"_id\":\"f0c09293-389f-44e4-b3d8-e82323d3c413\",\"u\":{\"$binary\":{\"base64\":"
        "\"8MCSkzifROSz2OgjI9PEEw==\",\"subType\":\"04\"}}}");
}

static void
only_the_form_that_is_shown_is_a_uuid(void **state)
{
    static const char *const other[] = { "\"F0C09293-389f-44e4-b3d8-e82323d3c413\"",
        "\"f0c09293389f44e4b3d8e82323d3c413\"", "\"\"", "5" };

    (void)state;
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        char *json = arena_printf(arena, "{\"_id\":%s}", other[i]);
        struct bsonvalue id;
        uint8_t uuid[16];

        assert_true(bsonwalk_get(bson(json), "_id", &id));
        assert_false(json_document_is_uuid(&id, uuid));
    }
}

static void
what_is_hidden_is_not_shown(void **state)
{
    (void)state;
    assert_prints(bson("{\"_id\":1,\"_metadata\":{\"expires_at\":{\"$date\":0},\"version\":1}}"),
        "{\"_id\":1,\"_metadata\":{\"version\":1}}");
    buf_clear(&out);
    assert_int_equal(
        json_document_print(&out, bson("{\"_id\":1,\"_metadata\":{\"version\":1}}"), false), OK);
    assert_memory_equal(out.data, "{\"_id\":1}", 9);
    assert_int_equal(out.size, 9);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = { TEST(size_bytes_counts_the_fields_of_the_user),
        TEST(members_are_put_in_bytewise_order_at_every_level),
        TEST(an_id_is_made_where_the_client_gave_none), TEST(arrays_and_regexes_are_no_ids),
        TEST(a_clients_own_metadata_is_ignored), TEST(a_change_counts_the_version_and_the_size),
        TEST(a_replacement_by_the_same_is_no_change),
        TEST(documents_of_other_languages_stay_as_they_are),
        TEST(a_binary_uuid_as_id_prints_as_its_text), TEST(only_the_form_that_is_shown_is_a_uuid),
        TEST(what_is_hidden_is_not_shown) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
