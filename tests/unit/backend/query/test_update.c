/*
 * test_update.c - tables of updates, documents and what MongoDB makes of them.
 */
#include "backend/query/update.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/doc/bsonwalk.h"
#include "base/doc/jsonparse.h"
#include "base/doc/jsonprint.h"

static struct bytes
bson_of(struct buf *buf, const char *text)
{
    struct bytes document;

    assert_int_equal(jsonparse_document(buf, bytes_of(text), &jsonparse_import, &document), OK);
    return document;
}

static const struct update_case {
    const char *update, *before, *after; /* after NULL: an error with `code` */
    int code;
} cases[] = {
    { "{\"b\":2}", "{\"_id\":1,\"a\":1}", "{\"_id\":1,\"b\":2}", 0 },
    { "{\"_id\":2}", "{\"_id\":1}", NULL, 66 },
    { "{\"$set\":{\"c\":3,\"b\":2}}", "{\"_id\":1,\"a\":1}", "{\"_id\":1,\"a\":1,\"b\":2,\"c\":3}",
        0 },
    { "{\"$set\":{\"a.b\":2}}", "{\"_id\":1,\"a\":{\"x\":0}}",
        "{\"_id\":1,\"a\":{\"x\":0,\"b\":2}}", 0 },
    { "{\"$set\":{\"a.3\":2}}", "{\"_id\":1,\"a\":[0]}", "{\"_id\":1,\"a\":[0,null,null,2]}", 0 },
    { "{\"$set\":{\"a.b\":2}}", "{\"_id\":1,\"a\":5}", NULL, 28 },
    { "{\"$set\":{\"_id\":2}}", "{\"_id\":1}", NULL, 66 },
    { "{\"$set\":{\"a\":1,\"a.b\":2}}", "{\"_id\":1}", NULL, 40 },
    { "{\"$foo\":{\"a\":1}}", "{\"_id\":1}", NULL, 9 },
    { "{\"$unset\":{\"a\":1,\"b.0\":1}}", "{\"_id\":1,\"a\":1,\"b\":[1,2]}",
        "{\"_id\":1,\"b\":[null,2]}", 0 },
    { "{\"$inc\":{\"a\":1}}", "{\"_id\":1,\"a\":2147483647}", "{\"_id\":1,\"a\":2147483648}", 0 },
    { "{\"$inc\":{\"a\":1}}", "{\"_id\":1,\"a\":9223372036854775807}", NULL, 2 },
    { "{\"$inc\":{\"a\":1}}", "{\"_id\":1,\"a\":\"x\"}", NULL, 14 },
    { "{\"$mul\":{\"a\":3,\"b\":2}}", "{\"_id\":1,\"a\":2}", "{\"_id\":1,\"a\":6,\"b\":0}", 0 },
    { "{\"$min\":{\"a\":1},\"$max\":{\"b\":9}}", "{\"_id\":1,\"a\":2,\"b\":2}",
        "{\"_id\":1,\"a\":1,\"b\":9}", 0 },
    { "{\"$rename\":{\"a\":\"b.c\"}}", "{\"_id\":1,\"a\":2}", "{\"_id\":1,\"b\":{\"c\":2}}", 0 },
    { "{\"$push\":{\"a\":{\"$each\":[5,1],\"$sort\":-1,\"$slice\":2}}}", "{\"_id\":1,\"a\":[3]}",
        "{\"_id\":1,\"a\":[5,3]}", 0 },
    { "{\"$push\":{\"a\":{\"$each\":[9],\"$position\":0}}}", "{\"_id\":1,\"a\":[3]}",
        "{\"_id\":1,\"a\":[9,3]}", 0 },
    { "{\"$addToSet\":{\"a\":{\"$each\":[3,4,4]}}}", "{\"_id\":1,\"a\":[3]}",
        "{\"_id\":1,\"a\":[3,4]}", 0 },
    { "{\"$pull\":{\"a\":{\"$gt\":2}}}", "{\"_id\":1,\"a\":[1,2,3]}", "{\"_id\":1,\"a\":[1,2]}",
        0 },
    { "{\"$pullAll\":{\"a\":[1,3]}}", "{\"_id\":1,\"a\":[1,2,3]}", "{\"_id\":1,\"a\":[2]}", 0 },
    { "{\"$pop\":{\"a\":-1}}", "{\"_id\":1,\"a\":[1,2]}", "{\"_id\":1,\"a\":[2]}", 0 },
    { "{\"$inc\":{\"a.$[]\":1}}", "{\"_id\":1,\"a\":[1,2]}", "{\"_id\":1,\"a\":[2,3]}", 0 },
    { "{\"$inc\":{\"a\":{\"$numberDecimal\":\"1.10\"}}}",
        "{\"_id\":1,\"a\":{\"$numberDecimal\":\"1.10\"}}",
        "{\"_id\":1,\"a\":{\"$numberDecimal\":\"2.20\"}}", 0 },
};

static void
updates_do_as_mongodb_does(void **state)
{
    struct op op = { .arena = arena_create("test", 1u << 24) };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf a = buf_init(1u << 20), b = buf_init(1u << 20), out = buf_init(1u << 24);
        struct buf text = buf_init(1u << 20);
        struct bytes before = bson_of(&b, cases[i].before);
        const struct update *update;
        bool changed;
        err_t err =
            update_compile(op.arena, bson_of(&a, cases[i].update), UPDATE_BY_SHAPE, &update);

        if (err == OK)
            err = update_apply(update, &op, before, &out, &changed);
        if (cases[i].after == NULL) {
            assert_int_not_equal(err, OK);
            assert_int_equal(err_last_code(), cases[i].code);
        } else {
            assert_int_equal(err, OK);
            assert_true(changed);
            assert_int_equal(bsonwalk_validate(buf_bytes(&out), NULL), OK);
            assert_int_equal(jsonprint_document(&text, buf_bytes(&out), JSONPRINT_RELAXED), OK);
            assert_int_equal(text.size, strlen(cases[i].after));
            assert_memory_equal(text.data, cases[i].after, text.size);
        }
        buf_fini(&a);
        buf_fini(&b);
        buf_fini(&out);
        buf_fini(&text);
    }
    arena_destroy(op.arena);
}

static void
an_update_that_changes_nothing_says_so(void **state)
{
    struct op op = { .arena = arena_create("test", 1u << 24) };
    struct buf a = buf_init(1u << 20), b = buf_init(1u << 20), out = buf_init(1u << 24);
    const struct update *update;
    bool changed = true;

    (void)state;
    assert_int_equal(
        update_compile(op.arena, bson_of(&a, "{\"$set\":{\"a\":1}}"), UPDATE_OPERATORS, &update),
        OK);
    assert_int_equal(
        update_apply(update, &op, bson_of(&b, "{\"_id\":1,\"a\":1}"), &out, &changed), OK);
    assert_false(changed);
    buf_fini(&a);
    buf_fini(&b);
    buf_fini(&out);
    arena_destroy(op.arena);
}

static void
an_upsert_takes_the_filters_equalities(void **state)
{
    static const char after[] = "{\"_id\":7,\"a\":1,\"b\":5,\"n\":2}";
    struct op op = { .arena = arena_create("test", 1u << 24) };
    struct buf a = buf_init(1u << 20), b = buf_init(1u << 20), out = buf_init(1u << 24);
    struct buf text = buf_init(1u << 20);
    const struct update *update;

    (void)state;
    assert_int_equal(
        update_compile(op.arena, bson_of(&a, "{\"$setOnInsert\":{\"b\":5},\"$inc\":{\"n\":2}}"),
            UPDATE_BY_SHAPE, &update),
        OK);
    assert_int_equal(
        update_upsert(update, &op, bson_of(&b, "{\"a\":1,\"_id\":7,\"c\":{\"$gt\":3}}"), &out), OK);
    assert_int_equal(jsonprint_document(&text, buf_bytes(&out), JSONPRINT_RELAXED), OK);
    assert_int_equal(text.size, strlen(after));
    assert_memory_equal(text.data, after, text.size);
    buf_fini(&a);
    buf_fini(&b);
    buf_fini(&out);
    buf_fini(&text);
    arena_destroy(op.arena);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_do_as_mongodb_does),
        cmocka_unit_test(an_update_that_changes_nothing_says_so),
        cmocka_unit_test(an_upsert_takes_the_filters_equalities),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
