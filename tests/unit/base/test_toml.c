/*
 * test_toml.c - the reader of TOML.
 */
#include "base/toml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct arena *arena;

static int
make_arena(void **state)
{
    (void)state;
    arena = arena_create("a test", (size_t)16 << 20);
    return arena == NULL;
}

static int
drop_arena(void **state)
{
    (void)state;
    arena_destroy(arena);
    return 0;
}

static struct toml *
parse(const char *text)
{
    struct toml *root = NULL;

    if (toml_parse(arena, "f", bytes_of(text), &root) != OK)
        fail_msg("%s: %s", text, err_message());
    return root;
}

static void
is_refused(const char *text, const char *why)
{
    struct toml *root;

    if (toml_parse(arena, "f", bytes_of(text), &root) != ERR_CONFIG)
        fail_msg("accepted: %s", text);
    if (strstr(err_message(), why) == NULL)
        fail_msg("%s: %s", text, err_message());
    assert_null(root);
}

static void
tables_keys_and_values_are_found_with_their_lines(void **state)
{
    struct toml *root = parse("\xef\xbb\xbf# comment\na = 1\n[b.c] # more\r\n\"d e\" . f = 'x'\n");
    const struct toml *c = toml_get(toml_get(root, "b"), "c");

    (void)state;
    assert_int_equal(toml_get(root, "a")->integer, 1);
    assert_int_equal(toml_get(root, "a")->line, 2);
    assert_int_equal(c->line, 3);
    assert_true(bytes_is(toml_get(toml_get(c, "d e"), "f")->text, "x"));
    assert_null(toml_get(root, "z"));
}

static void
numbers_have_all_their_forms(void **state)
{
    struct toml *root = parse("a=-1_000\nb=0xdead_BEEF\nc=0o755\nd=0b101\ne=1.5e3\nf=-inf\n"
                              "g=+0\nh=9223372036854775807\ni=6.02E+23\nj=true\nk=false\n");

    (void)state;
    assert_int_equal(toml_get(root, "a")->integer, -1000);
    assert_int_equal(toml_get(root, "b")->integer, 0xdeadbeef);
    assert_int_equal(toml_get(root, "c")->integer, 0755);
    assert_int_equal(toml_get(root, "d")->integer, 5);
    assert_true(toml_get(root, "e")->number > 1499.9);
    assert_true(toml_get(root, "f")->number < -1e300);
    assert_int_equal(toml_get(root, "h")->integer, INT64_MAX);
    assert_true(toml_get(root, "j")->boolean);
    assert_false(toml_get(root, "k")->boolean);
}

static void
strings_have_all_their_forms(void **state)
{
    struct toml *root = parse("a = \"\\t\\u00e4\\U0001F600\\\"\"\nb = '\\t'\n"
                              "c = \"\"\"\none \\\n   two\n\"three\"\"\"\"\"\nd = '''\nx\n'''\n");

    (void)state;
    assert_true(bytes_is(toml_get(root, "a")->text, "\t\xc3\xa4\xf0\x9f\x98\x80\""));
    assert_true(bytes_is(toml_get(root, "b")->text, "\\t"));
    assert_true(bytes_is(toml_get(root, "c")->text, "one two\n\"three\"\""));
    assert_true(bytes_is(toml_get(root, "d")->text, "x\n"));
}

static void
arrays_and_tables_nest(void **state)
{
    struct toml *root = parse("a = [ 1, # one\n [\"x\"], {b.c = 2, b.d = 3},\n]\n"
                              "[[t]]\nn = 1\n[[t]]\nn = 2\n[t.u]\nm = 3\n");
    const struct toml *a = toml_get(root, "a");
    const struct toml *t = toml_get(root, "t");

    (void)state;
    assert_int_equal(a->type, TOML_ARRAY);
    assert_int_equal(a->first->next->first->type, TOML_STRING);
    assert_int_equal(toml_get(toml_get(a->last, "b"), "d")->integer, 3);
    assert_int_equal(toml_get(t->first, "n")->integer, 1);
    assert_int_equal(toml_get(toml_get(t->last, "u"), "m")->integer, 3);
}

static void
dates_are_kept_as_text(void **state)
{
    struct toml *root = parse("a = 1979-05-27T07:32:00Z\nb = 1979-05-27 07:32:00.5-07:00\n"
                              "c = 1979-05-27\nd = 07:32:00\n");

    (void)state;
    for (const struct toml *node = root->first; node != NULL; node = node->next)
        assert_int_equal(node->type, TOML_DATETIME);
    assert_true(bytes_is(toml_get(root, "b")->text, "1979-05-27 07:32:00.5-07:00"));
}

static void
what_is_not_toml_is_refused_with_its_line(void **state)
{
    (void)state;
    is_refused("a", "f:1: = is expected");
    is_refused("\n\na = ", "f:3: a value is expected");
    is_refused("a = b", "'b' is no value");
    is_refused("a = 01", "is no value");
    is_refused("a = 1__0", "is no value");
    is_refused("a = 1_e5", "is no value");
    is_refused("a = 1.", "is no value");
    is_refused("a = .5", "is no value");
    is_refused("a = 9223372036854775808", "is no value");
    is_refused("a = 0xg", "is no value");
    is_refused("a = 1 b = 2", "something follows");
    is_refused("a = \"x", "f:1: a string is not closed");
    is_refused("a = \"x\ny\"", "not closed at the end");
    is_refused("a = \"\"\"x\n\n", "f:1: a string is not closed");
    is_refused("a = \"\\q\"", "no such escape");
    is_refused("a = \"\\ud800\"", "no character");
    is_refused("a = \"\\UFFFFFFFF\"", "no character");
    is_refused("a = '\x01'", "control character");
    is_refused("# \x02", "control character");
    is_refused("a = [1,", "an array is not closed");
    is_refused("a = [1 2]", "comma or ]");
    is_refused("a = {b = 1", "comma or }");
    is_refused("[a", "] is expected");
    is_refused("[[a]", "]] is expected");
    is_refused("[]", "a key is expected");
    is_refused("= 1", "a key is expected");
    is_refused("a = 1\n\xff", "f:2: this is not UTF-8");
}

static void
nothing_is_defined_twice(void **state)
{
    (void)state;
    is_refused("a = 1\na = 2", "f:2: a stands already in line 1");
    is_refused("[a]\n[a]", "stands already");
    is_refused("a.b = 1\n[a]", "stands already");
    is_refused("a = {b = 1}\n[a.c]", "stands already");
    is_refused("a = {b = 1}\na.c = 2", "stands already");
    is_refused("a = [1]\n[[a]]", "stands already");
    is_refused("[[a]]\n[a]", "stands already");
    is_refused("[a.b]\nc = 1\n[a]\nb.d = 2", "stands already");
    is_refused("a = 1\na.b = 2", "stands already");
    is_refused("a = {b = 1, b = 2}", "stands already");
    (void)parse("[a.b]\n[a]\nc = 1\n[a.d]\n");
    (void)parse("a.b = 1\nx = {y = 1}\na.c = 2\n");
}

/* Depth, number and size are bounded. */
static void
limits_hold(void **state)
{
    size_t size = TOML_SIZE_MAX + 1;
    char *text = malloc(size + 1);
    struct toml *root;
    size_t used = 0;

    (void)state;
    assert_non_null(text);
    memset(text, '[', size);
    text[size] = '\0';
    assert_int_equal(toml_parse(arena, "f", bytes_of(text), &root), ERR_CONFIG);
    memcpy(text, "a = ", 4);
    text[size - 1] = '\0';
    is_refused(text, "nested more than");
    for (used = 4; used < size - 8; used += 5)
        memcpy(text + used, "{a = ", 5);
    text[used] = '\0';
    is_refused(text, "nested more than");
    memset(text, ' ', size);
    for (used = 0; used < 2 * (size_t)TOML_DEPTH_MAX + 2; used += 2)
        memcpy(text + used, "a.", 2);
    text[used] = '\0';
    is_refused(text, "parts");
    memcpy(text, "a = [", 5);
    for (used = 5; used < 60000; used += 2)
        memcpy(text + used, "1,", 2);
    text[used] = '\0';
    is_refused(text, "keys and values");
    free(text);
}

#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, make_arena, drop_arena)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ARENA(tables_keys_and_values_are_found_with_their_lines),
        WITH_ARENA(numbers_have_all_their_forms),
        WITH_ARENA(strings_have_all_their_forms),
        WITH_ARENA(arrays_and_tables_nest),
        WITH_ARENA(dates_are_kept_as_text),
        WITH_ARENA(what_is_not_toml_is_refused_with_its_line),
        WITH_ARENA(nothing_is_defined_twice),
        WITH_ARENA(limits_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
