/*
 * test_mongo.c - commands of the MongoDB listener: documents in, replies out.
 */
#include "backend/command/mongo.h"
#include "base/doc/jsonprint.h"
#include "tests/unit/backend/command/verbfixture.h"

/* The reply to a command, as relaxed Extended JSON in the arena. */
static const char *
ask(const char *text)
{
    struct mongo_client client = { .config = config };
    struct opmsg_request message = { .database = bytes_of("shop") };
    struct buf command = buf_init(1 << 20), reply = buf_init(20 << 20), shown = buf_init(20 << 20);
    const char *copy;

    OKAY(jsonparse_document(&command, bytes_of(text), &jsonparse_import, &message.body));
    OKAY(mongo_run(&op, &client, &message, &reply));
    OKAY(jsonprint_document(&shown, buf_bytes(&reply), JSONPRINT_RELAXED));
    copy = arena_string(op.arena, buf_bytes(&shown));
    buf_fini(&command);
    buf_fini(&reply);
    buf_fini(&shown);
    return copy;
}

static void
expect(const char *text, const char *part)
{
    const char *reply = ask(text);

    if (strstr(reply, part) == NULL)
        fail_msg("%s: wanted %s in %s", text, part, reply);
}

static void
distinct_gives_each_value_once(void **state)
{
    (void)state;
    expect("{\"distinct\":\"c\",\"key\":\"v\"}", "\"values\":[]");
    expect("{\"insert\":\"c\",\"documents\":[{\"v\":1},{\"v\":1.0},{\"v\":\"1\"},{\"v\":null},{},"
           "{\"v\":[1,2,[3]]},{\"v\":[]},{\"v\":{\"q\":1}},{\"w\":[{\"z\":1},{\"z\":2}]}]}",
        "\"n\":9");
    expect("{\"distinct\":\"c\",\"key\":\"v\"}", "\"values\":[1,\"1\",null,2,[3],{\"q\":1}]");
    expect("{\"distinct\":\"c\",\"key\":\"w.z\"}", "\"values\":[1,2]");
    expect("{\"distinct\":\"c\",\"key\":\"v\",\"query\":{\"v\":\"1\"}}", "\"values\":[\"1\"]");
    expect("{\"distinct\":\"c\"}", "\"code\":40414");
    expect("{\"distinct\":\"c\",\"key\":1}", "\"code\":14");
}

static void
distinct_holds_as_many_values_as_there_are(void **state)
{
    char text[128];

    (void)state;
    for (int i = 0; i < 300; i++) {
        (void)snprintf(text, sizeof text,
            "{\"insert\":\"c\",\"documents\":[{\"v\":%d},{\"v\":%d}]}", i, 299 - i);
        expect(text, "\"n\":2");
    }
    expect("{\"distinct\":\"c\",\"key\":\"v\"}", "\"values\":[0,299,1,298,2,297");
    expect("{\"distinct\":\"c\",\"key\":\"v\"}", "149,150],\"ok\"");
}

static void
a_refused_index_takes_the_others_back(void **state)
{
    (void)state;
    expect("{\"insert\":\"c\",\"documents\":[{\"a\":1},{\"a\":1}]}", "\"n\":2");
    expect("{\"createIndexes\":\"c\",\"indexes\":[{\"key\":{\"k\":1},\"name\":\"k\"}]}",
        "\"numIndexesAfter\":2");
    expect(
        "{\"createIndexes\":\"c\",\"indexes\":[{\"key\":{\"k\":1},\"name\":\"k\"},"
        "{\"key\":{\"b\":1},\"name\":\"b\"},{\"key\":{\"a\":1},\"name\":\"a\",\"unique\":true}]}",
        "\"code\":11000,\"codeName\":\"DuplicateKey\",\"keyPattern\":{\"a\":1}");
    assert_null(strstr(ask("{\"listIndexes\":\"c\"}"), "\"name\":\"b\""));
    expect("{\"listIndexes\":\"c\"}", "\"name\":\"k\"");
    expect("{\"dropIndexes\":\"c\",\"index\":1}", "\"code\":14");
    expect("{\"dropIndexes\":\"c\"}", "\"code\":40414");
    expect("{\"listIndexes\":\"c\",\"cursor\":{\"batchSize\":-1}}", "\"code\":2");
}

static void
validate_and_sizes_are_told(void **state)
{
    (void)state;
    expect("{\"validate\":\"c\"}", "\"code\":26");
    expect("{\"insert\":\"c\",\"documents\":[{\"a\":1},{\"a\":2}]}", "\"n\":2");
    expect("{\"validate\":\"c\",\"full\":true}", "\"valid\":true");
    expect("{\"validate\":\"c\"}", "\"nrecords\":2,\"nIndexes\":1");
    expect("{\"validate\":\"c\",\"repair\":true}", "\"code\":115");
    expect("{\"dbStats\":1}", "\"collections\":1,\"views\":0,\"objects\":2");
    expect("{\"dbStats\":1,\"scale\":0}", "\"code\":2");
}

static void
null_stands_for_a_missing_field(void **state)
{
    (void)state;
    expect("{\"find\":\"c\",\"filter\":null,\"limit\":null,\"readConcern\":null}", "\"ok\":1");
    expect("{\"find\":\"c\",\"readConcern\":{\"level\":5}}", "\"code\":14");
    expect("{\"drop\":\"c\",\"writeConcern\":{\"j\":\"yes\"}}", "\"code\":14");
    expect("{\"drop\":\"c\",\"writeConcern\":{\"w\":true}}", "\"code\":9");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(distinct_gives_each_value_once),
        TEST(distinct_holds_as_many_values_as_there_are),
        TEST(a_refused_index_takes_the_others_back),
        TEST(validate_and_sizes_are_told),
        TEST(null_stands_for_a_missing_field),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
