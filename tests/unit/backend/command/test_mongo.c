/*
 * test_mongo.c - commands of the MongoDB listener: documents in, replies out.
 */
#include "backend/command/mongo.h"
#include "base/doc/jsonprint.h"
#include "tests/unit/backend/command/verbfixture.h"

/* The reply to a command, as relaxed Extended JSON in the arena. */
static const char *
ask_in(const char *database, const char *text)
{
    struct mongo_client client = { .config = config };
    struct opmsg_request message = { .database = bytes_of(database) };
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

static const char *
ask(const char *text)
{
    return ask_in("shop", text);
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

/* What heldcount.h promises: at rest all is zero, and a cursor is seen. */
static void
what_is_held_is_counted_when_asked_for(void **state)
{
    const char *reply;

    (void)state;
    assert_null(strstr(ask("{\"serverStatus\":1}"), "\"held\""));
    expect("{\"serverStatus\":1,\"held\":true}",
        "\"held\":{\"locks\":0,\"pins\":0,\"pinsCounted\":0,\"io\":0,\"places\":0,\"transactions\":"
        "0,"
        "\"snapshots\":0,\"critical\":0,\"cursors\":0,\"slots\":1,\"slotsDead\":0");
    expect("{\"insert\":\"c\",\"documents\":[{},{},{},{}]}", "\"n\":4");
    expect("{\"find\":\"c\",\"batchSize\":2}", "\"firstBatch\":[{");
    reply = ask("{\"serverStatus\":1,\"held\":true}");
    assert_non_null(strstr(reply, "\"snapshots\":1,\"critical\":0,\"cursors\":1"));
}

#ifdef GNEISS_FAULTS
static void
a_fault_point_is_armed_by_command(void **state)
{
    const char *reply;

    (void)state;
    expect("{\"faultPoint\":\"\"}", "\"code\":13"); /* not on this database */
    assert_non_null(strstr(ask_in("admin", "{\"faultPoint\":\"NOWHERE=kill\"}"), "\"code\":2"));
    assert_non_null(strstr(ask_in("admin", "{\"faultPoint\":\"ROW_PUT=delay:1\"}"), "\"ok\":1"));
    expect("{\"insert\":\"c\",\"documents\":[{},{}]}", "\"n\":2");
    reply = ask_in("admin", "{\"faultPoint\":\"\"}");
    assert_non_null(strstr(reply, "\"ROW_PUT\":{\"kind\":\"STEP\",\"what\":\"a row is in"));
    assert_non_null(strstr(strstr(reply, "\"ROW_PUT\""), "\"hits\":1},\"ROW_KEYS\""));
}
#endif

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
        TEST(what_is_held_is_counted_when_asked_for),
#ifdef GNEISS_FAULTS
        TEST(a_fault_point_is_armed_by_command),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
