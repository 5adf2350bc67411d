/*
 * test_filter.c - tables of filters, documents and what MongoDB answers.
 */
#include "backend/query/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/query/regexcache.h"
#include "base/doc/jsonparse.h"

static struct bytes
bson_of(struct buf *buf, const char *text)
{
    struct bytes document;

    assert_int_equal(jsonparse_document(buf, bytes_of(text), &jsonparse_import, &document), OK);
    return document;
}

static const struct match_case {
    const char *filter, *document;
    bool matches;
} match_cases[] = {
    { "{}", "{}", true },
    { "{\"a\":1}", "{\"a\":1.0}", true },
    { "{\"a\":1}", "{\"a\":\"1\"}", false },
    { "{\"a\":1}", "{\"a\":[2,1]}", true },
    { "{\"a\":[2,1]}", "{\"a\":[2,1]}", true },
    { "{\"a\":[2,1]}", "{\"a\":[[2,1]]}", true },
    { "{\"a\":null}", "{}", true },
    { "{\"a\":null}", "{\"a\":[1,null]}", true },
    { "{\"a\":{\"$ne\":1}}", "{}", true },
    { "{\"a\":{\"$ne\":1}}", "{\"a\":[1,2]}", false },
    { "{\"a\":{\"$nin\":[1,null]}}", "{}", false },
    { "{\"a\":{\"$in\":[3,1]}}", "{\"a\":[7,3]}", true },
    { "{\"a\":{\"$in\":[{\"$regularExpression\":{\"pattern\":\"^x\",\"options\":\"\"}}]}}",
        "{\"a\":\"xy\"}", true },
    { "{\"a\":{\"$gt\":1}}", "{\"a\":\"z\"}", false },
    { "{\"a\":{\"$gte\":null}}", "{}", true },
    { "{\"a\":{\"$gt\":1,\"$lt\":3}}", "{\"a\":[0,5]}", true },
    { "{\"a\":{\"$elemMatch\":{\"$gt\":1,\"$lt\":3}}}", "{\"a\":[0,5]}", false },
    { "{\"a\":{\"$elemMatch\":{\"b\":1,\"c\":2}}}", "{\"a\":[{\"b\":1},{\"b\":1,\"c\":2}]}", true },
    { "{\"a\":{\"$lt\":{\"$numberDouble\":\"NaN\"}}}", "{\"a\":1}", false },
    { "{\"a\":{\"$gte\":{\"$numberDouble\":\"NaN\"}}}", "{\"a\":{\"$numberDouble\":\"NaN\"}}",
        true },
    { "{\"a\":{\"$exists\":false}}", "{\"a\":null}", false },
    { "{\"a.b\":{\"$exists\":true}}", "{\"a\":[{\"b\":1}]}", true },
    { "{\"a.1\":5}", "{\"a\":[4,5]}", true },
    { "{\"a\":{\"$type\":\"array\"}}", "{\"a\":[]}", true },
    { "{\"a\":{\"$size\":2}}", "{\"a\":[1,2]}", true },
    { "{\"a\":{\"$all\":[1,2]}}", "{\"a\":[2,3,1]}", true },
    { "{\"a\":{\"$all\":[]}}", "{\"a\":[]}", false },
    { "{\"a\":{\"$mod\":[4,1]}}", "{\"a\":9.5}", true },
    { "{\"a\":{\"$bitsAllSet\":[0,2]}}", "{\"a\":5.0}", true },
    { "{\"a\":{\"$bitsAllSet\":6}}", "{\"a\":5}", false },
    { "{\"a\":{\"$bitsAllSet\":[200]}}", "{\"a\":-1}", true },
    { "{\"a\":{\"$bitsAnySet\":6}}", "{\"a\":[1,4]}", true },
    { "{\"a\":{\"$bitsAllClear\":6}}", "{\"a\":9}", true },
    { "{\"a\":{\"$bitsAnyClear\":[1,100]}}",
        "{\"a\":{\"$binary\":{\"base64\":\"Aw==\",\"subType\":\"00\"}}}", true },
    { "{\"a\":{\"$bitsAllClear\":[]}}", "{\"a\":\"x\"}", false },
    { "{\"a\":{\"$eq\":{\"$regularExpression\":{\"pattern\":\"x\",\"options\":\"\"}}}}",
        "{\"a\":\"x\"}", false },
    { "{\"a\":{\"$not\":{\"$gt\":5}}}", "{\"a\":\"x\"}", true },
    { "{\"$or\":[{\"a\":1},{\"b\":1}]}", "{\"b\":1}", true },
    { "{\"$nor\":[{\"a\":1},{\"b\":1}]}", "{\"b\":1}", false },
    { "{\"a\":{\"$regex\":\"B\",\"$options\":\"i\"}}", "{\"a\":\"abc\"}", true },
};

static void
filters_match_as_in_mongodb(void **state)
{
    struct arena *arena = arena_create("test", 1u << 24);

    (void)state;
    for (size_t i = 0; i < sizeof match_cases / sizeof match_cases[0]; i++) {
        struct buf a = buf_init(1u << 20), b = buf_init(1u << 20);
        const struct filter *filter;
        bool matches;

        assert_int_equal(filter_compile(arena, bson_of(&a, match_cases[i].filter), &filter), OK);
        assert_int_equal(filter_match(filter, bson_of(&b, match_cases[i].document), &matches), OK);
        if (matches != match_cases[i].matches)
            fail_msg("%s on %s", match_cases[i].filter, match_cases[i].document);
        buf_fini(&a);
        buf_fini(&b);
    }
    arena_destroy(arena);
    regexcache_forget();
}

static void
wrong_filters_have_mongodbs_codes(void **state)
{
    static const struct {
        const char *filter;
        int code;
    } cases[] = {
        { "{\"a\":{\"$foo\":1}}", 2 },
        { "{\"$foo\":1}", 2 },
        { "{\"a\":{\"$in\":1}}", 2 },
        { "{\"$or\":[]}", 2 },
        { "{\"a\":{\"$mod\":[0,1]}}", 2 },
        { "{\"a\":{\"$regex\":\"(\"}}", 51091 },
        { "{\"a\":{\"$type\":[]}}", 9 },
    };
    struct arena *arena = arena_create("test", 1u << 20);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf a = buf_init(1u << 20);
        const struct filter *filter;

        assert_int_not_equal(filter_compile(arena, bson_of(&a, cases[i].filter), &filter), OK);
        assert_int_equal(err_last_code(), cases[i].code);
        buf_fini(&a);
    }
    arena_destroy(arena);
    regexcache_forget();
}

static void
only_an_id_is_recognised(void **state)
{
    struct arena *arena = arena_create("test", 1u << 20);
    struct buf a = buf_init(1u << 20), b = buf_init(1u << 20);
    const struct filter *filter;

    (void)state;
    assert_int_equal(filter_compile(arena, bson_of(&a, "{\"_id\":7}"), &filter), OK);
    assert_true(filter_only_id(filter).size > 0);
    assert_int_equal(filter_compile(arena, bson_of(&b, "{\"_id\":7,\"a\":1}"), &filter), OK);
    assert_int_equal(filter_only_id(filter).size, 0);
    buf_fini(&a);
    buf_fini(&b);
    arena_destroy(arena);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_match_as_in_mongodb),
        cmocka_unit_test(wrong_filters_have_mongodbs_codes),
        cmocka_unit_test(only_an_id_is_recognised),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
