#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/doc/docpath.h"
#include "base/doc/indexkey.h"
#include "base/doc/jsonparse.h"
#include "base/doc/jsonprint.h"
#include "base/doc/keystring.h"

static struct arena *arena;
static struct indexkey_set set;
static struct buf seen = { NULL, 0, 0, 1u << 20 };

static struct bytes
json(const char *text)
{
    struct buf out = buf_init(1u << 20);
    struct bytes document;

    if (jsonparse_document(&out, bytes_of(text), &jsonparse_import, &document) != OK)
        fail_msg("%s: %s", text, err_message());
    document.data = arena_copy(arena, document.data, document.size);
    buf_fini(&out);
    return document;
}

static bool
note(void *context, const struct docpath_hit *hit)
{
    (void)context;
    if (seen.size > 0)
        assert_int_equal(buf_append_byte(&seen, ' '), OK);
    if (hit->value == NULL)
        assert_int_equal(buf_append_text(&seen, "-"), OK);
    else
        assert_int_equal(jsonprint_value(&seen, hit->value, JSONPRINT_RELAXED), OK);
    return false;
}

static void
path_gives(const char *text, const char *document, unsigned flags, const char *wanted)
{
    const struct docpath *path;

    buf_clear(&seen);
    assert_int_equal(docpath_compile(arena, bytes_of(text), &path), OK);
    assert_int_equal(docpath_walk(path, json(document), flags, note, NULL, NULL), OK);
    assert_int_equal(buf_append_byte(&seen, 0), OK);
    assert_string_equal((char *)seen.data, wanted);
}

static void
paths_are_followed_as_mongodb_does(void **state)
{
    (void)state;
    path_gives("a", "{\"a\":1}", 0, "1");
    path_gives("a", "{\"b\":1}", 0, "-");
    path_gives("a.b", "{\"a\":5}", 0, "-");
    path_gives(
        "a.b", "{\"a\":[{\"b\":1},{\"b\":[2,3]},{},4]}", DOCPATH_EXPAND_LEAF, "1 2 3 [2,3] -");
    path_gives("a.b", "{\"a\":[1,2]}", 0, "");
    path_gives("a.0", "{\"a\":[7,8]}", DOCPATH_EXPAND_LEAF, "7");
    path_gives("a.0", "{\"a\":[{\"0\":9},8]}", 0, "9 {\"0\":9}");
    path_gives("a.1.b", "{\"a\":[0,{\"b\":3}]}", 0, "- 3");
    path_gives("a", "{\"a\":[]}", DOCPATH_EXPAND_LEAF, "[]");
    path_gives("a.b", "{\"a\":[{\"b\":1}]}", DOCPATH_OBJECTS_ONLY, "");
}

static void
an_ambiguous_path_ends(void **state)
{
    char document[4096] = "", path[400] = "";
    const struct docpath *compiled;

    (void)state;
    for (int i = 0; i < 60; i++)
        strcat(document, "{\"0\":[");
    for (int i = 0; i < 60; i++)
        strcat(document, "]}");
    for (int i = 0; i < 150; i++)
        strcat(path, i > 0 ? ".0" : "0");
    assert_int_equal(docpath_compile(arena, bytes_of(path), &compiled), OK);
    (void)!docpath_walk(compiled, json(document), DOCPATH_EXPAND_LEAF, note, NULL, NULL);
}

/* What the set holds must be the keys of these values (an array of arrays, in JSON). */
static void
keys_are(const char *pattern, const char *document, bool multikey, const char *wanted)
{
    struct bytes values = json(wanted);
    struct indexkey_spec spec;
    struct buf key = buf_init(65536);
    char name[16];
    const struct docpath *path;
    struct bsonvalue value;
    bool found;
    size_t count = 0;

    assert_int_equal(indexkey_spec_parse(arena, json(pattern), &spec), OK);
    if (indexkey_make(&spec, json(document), &set) != OK)
        fail_msg("%s: %s", document, err_message());
    assert_int_equal(set.multikey, multikey);
    for (;; count++) {
        buf_clear(&key);
        for (unsigned i = 0; i < spec.count; i++) {
            (void)snprintf(name, sizeof name, "k%zu_%u", count, i);
            assert_int_equal(docpath_compile(arena, bytes_of(name), &path), OK);
            assert_int_equal(docpath_get(path, values, &value, &found), OK);
            if (!found)
                goto counted;
            assert_int_equal(keystring_append(&key, &value, spec.field[i].descending), OK);
        }
        assert_true(count < set.count);
        assert_true(bytes_equal(indexkey_set_key(&set, count), buf_bytes(&key)));
    }
counted:
    assert_int_equal(count, set.count);
    buf_fini(&key);
}

static void
keys_are_made_as_mongodb_makes_them(void **state)
{
    (void)state;
    keys_are("{\"a\":1}", "{\"a\":5}", false, "{\"k0_0\":5}");
    keys_are("{\"a\":1}", "{}", false, "{\"k0_0\":null}");
    keys_are("{\"a\":1}", "{\"a\":[3,1,3,2]}", true, "{\"k0_0\":1,\"k1_0\":2,\"k2_0\":3}");
    keys_are("{\"a\":-1}", "{\"a\":[3,1]}", true, "{\"k0_0\":3,\"k1_0\":1}");
    keys_are("{\"a\":1}", "{\"a\":[]}", true, "{\"k0_0\":{\"$undefined\":true}}");
    keys_are("{\"a\":1,\"b\":-1}", "{\"a\":[1,2],\"b\":7}", true,
        "{\"k0_0\":1,\"k0_1\":7,\"k1_0\":2,\"k1_1\":7}");
    keys_are("{\"a.b\":1,\"a.c\":1}", "{\"a\":[{\"b\":1,\"c\":2},{\"b\":3}]}", true,
        "{\"k0_0\":1,\"k0_1\":2,\"k1_0\":3,\"k1_1\":null}");
    keys_are("{\"a.b\":1}", "{\"a\":[{\"b\":[1,2]},5,{}]}", true,
        "{\"k0_0\":null,\"k1_0\":1,\"k2_0\":2}");
    keys_are("{\"a\":1}", "{\"a\":[[1,2],3]}", true, "{\"k0_0\":3,\"k1_0\":[1,2]}");
    keys_are("{\"a.0\":1}", "{\"a\":[9,3]}", false, "{\"k0_0\":9}");
}

static void
parallel_arrays_are_refused(void **state)
{
    struct indexkey_spec spec;

    (void)state;
    assert_int_equal(indexkey_spec_parse(arena, json("{\"a\":1,\"b\":1}"), &spec), OK);
    assert_int_equal(
        indexkey_make(&spec, json("{\"a\":[1],\"b\":[2]}"), &set), ERR_CANNOT_CREATE_INDEX);
    assert_int_equal(err_last_code(), 171);
    assert_int_equal(set.count, 0);
    spec.size_max = 10;
    assert_int_equal(
        indexkey_make(&spec, json("{\"a\":\"0123456789\"}"), &set), ERR_CANNOT_CREATE_INDEX);
    assert_int_equal(err_last_code(), 17280);
}

static void
sparse_and_scalar_indexes_leave_documents_out(void **state)
{
    struct indexkey_spec spec;

    (void)state;
    assert_int_equal(indexkey_spec_parse(arena, json("{\"a\":1,\"b\":1}"), &spec), OK);
    spec.sparse = true;
    assert_int_equal(indexkey_make(&spec, json("{\"c\":1}"), &set), OK);
    assert_int_equal(set.count, 0);
    assert_int_equal(indexkey_make(&spec, json("{\"b\":null}"), &set), OK);
    assert_int_equal(set.count, 1);
    assert_int_equal(indexkey_spec_parse(arena, json("{\"a.b\":1}"), &spec), OK);
    spec.scalar_only = true;
    assert_int_equal(indexkey_make(&spec, json("{\"a\":[{\"b\":1}]}"), &set), OK);
    assert_int_equal(set.count, 0);
    assert_int_equal(indexkey_make(&spec, json("{\"a\":{\"b\":[1]}}"), &set), OK);
    assert_int_equal(set.count, 0);
    assert_int_equal(indexkey_make(&spec, json("{\"a\":{\"b\":null}}"), &set), OK);
    assert_int_equal(set.count, 1);
}

static void
sorts_look_at_the_least_or_greatest(void **state)
{
    const struct docpath *path;
    struct bsonvalue value;
    bool missing;

    (void)state;
    assert_int_equal(docpath_compile(arena, bytes_of("a"), &path), OK);
    assert_int_equal(docpath_sort_value(path, json("{\"a\":[3,1,2]}"), false, &value, NULL), OK);
    assert_int_equal(bsonvalue_int32(&value), 1);
    assert_int_equal(docpath_sort_value(path, json("{\"a\":[3,1,2]}"), true, &value, NULL), OK);
    assert_int_equal(bsonvalue_int32(&value), 3);
    assert_int_equal(docpath_sort_value(path, json("{}"), true, &value, &missing), OK);
    assert_int_equal(value.type, BSONTYPE_NULL);
    assert_true(missing);
    assert_int_equal(docpath_sort_value(path, json("{\"a\":[]}"), true, &value, &missing), OK);
    assert_int_equal(value.type, BSONTYPE_UNDEFINED);
}

static int
prepare(void **state)
{
    (void)state;
    arena = arena_create("test", 16u << 20);
    indexkey_set_init(&set);
    return arena == NULL;
}

static int
forget(void **state)
{
    (void)state;
    arena_destroy(arena);
    indexkey_set_fini(&set);
    buf_fini(&seen);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_followed_as_mongodb_does),
        cmocka_unit_test(an_ambiguous_path_ends),
        cmocka_unit_test(keys_are_made_as_mongodb_makes_them),
        cmocka_unit_test(parallel_arrays_are_refused),
        cmocka_unit_test(sparse_and_scalar_indexes_leave_documents_out),
        cmocka_unit_test(sorts_look_at_the_least_or_greatest),
    };

    return cmocka_run_group_tests(tests, prepare, forget);
}
