#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/doc/bsonorder.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/keystring.h"
#include "tests/unit/base/doc/random_value.h"

#define VALUES 1600

static int
sign(int order)
{
    return (order > 0) - (order < 0);
}

static struct bsonbuild build;

/* All pairs of random values: 1,600 × 1,600 × 2 directions. */
static void
keys_order_as_their_values(void **state)
{
    struct buf document = buf_init(64u << 20), keys = buf_init(64u << 20);
    static struct bsonvalue value[VALUES];
    static size_t start[2][VALUES + 1];
    struct bsonwalk walk;
    struct bytes bytes;
    size_t count = 0;

    (void)state;
    random_state = 20261121;
    bsonbuild_begin(&build, &document);
    for (int i = 0; i < VALUES; i++)
        random_append(&build, bytes_of("x"), 3);
    assert_int_equal(bsonbuild_end(&build, &bytes), OK);
    assert_int_equal(bsonwalk_validate(bytes, &(struct bsonwalk_limits){ 64u << 20, 100 }), OK);
    assert_int_equal(bsonwalk_begin(&walk, bytes), OK);
    while (bsonwalk_next(&walk, &value[count]))
        count++;
    assert_int_equal(bsonwalk_end(&walk), OK);
    assert_int_equal(count, VALUES);
    for (int direction = 0; direction < 2; direction++) {
        for (size_t i = 0; i < count; i++) {
            start[direction][i] = keys.size;
            assert_int_equal(keystring_append(&keys, &value[i], direction == 1), OK);
        }
        start[direction][count] = keys.size;
    }
    for (int direction = 0; direction < 2; direction++)
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < count; j++) {
                struct bytes a = { keys.data + start[direction][i],
                    start[direction][i + 1] - start[direction][i] };
                struct bytes b = { keys.data + start[direction][j],
                    start[direction][j + 1] - start[direction][j] };
                int wanted = sign(bsonorder_compare(&value[i], &value[j]));

                if (direction == 1)
                    wanted = -wanted;
                if (sign(bytes_compare(a, b)) != wanted)
                    fail_msg("values %zu (type %d) and %zu (type %d): key %d, order %d", i,
                        value[i].type, j, value[j].type, bytes_compare(a, b), wanted);
                if (wanted != 0 && a.size < b.size)
                    assert_memory_not_equal(a.data, b.data, a.size); /* no prefixes */
            }
    buf_fini(&keys);
    buf_fini(&document);
}

static void
the_order_is_transitive(void **state)
{
    struct buf document = buf_init(64u << 20);
    static struct bsonvalue value[120];
    struct bsonwalk walk;
    struct bytes bytes;
    size_t count = 0;

    (void)state;
    random_state = 7;
    bsonbuild_begin(&build, &document);
    for (int i = 0; i < 120; i++)
        random_append(&build, bytes_of(""), 2);
    assert_int_equal(bsonbuild_end(&build, &bytes), OK);
    assert_int_equal(bsonwalk_begin(&walk, bytes), OK);
    while (bsonwalk_next(&walk, &value[count]))
        count++;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++) {
            int ij = sign(bsonorder_compare(&value[i], &value[j]));

            assert_int_equal(ij, -sign(bsonorder_compare(&value[j], &value[i])));
            for (size_t k = 0; k < count; k++)
                if (ij <= 0 && bsonorder_compare(&value[j], &value[k]) <= 0)
                    assert_true(bsonorder_compare(&value[i], &value[k]) <= 0);
        }
    buf_fini(&document);
}

static size_t
key_of(struct buf *key, struct bsonvalue value, bool descending)
{
    buf_clear(key);
    assert_int_equal(keystring_append(key, &value, descending), OK);
    return key->size;
}

static void
usual_keys_are_short(void **state)
{
    struct buf key = buf_init(4096);
    uint8_t room[16];

    (void)state;
    assert_int_equal(key_of(&key, bsonvalue_of_int32(room, 0), false), 1);
    assert_int_equal(key_of(&key, bsonvalue_of_int32(room, 100), false), 2);
    assert_int_equal(key_of(&key, bsonvalue_of_int32(room, -30000), false), 3);
    assert_int_equal(key_of(&key, bsonvalue_of_int64(room, INT64_MAX), false), 9);
    assert_int_equal(key_of(&key, bsonvalue_of_double(room, 3.0), false), 2);
    assert_int_equal(key_of(&key, bsonvalue_of_double(room, 0.1), false), 9);
    assert_int_equal(key_of(&key, bsonvalue_of_date(room, 1), true), 9);
    buf_fini(&key);
}

static void
bounds_hold_exactly_one_class(void **state)
{
    static const uint8_t types[] = { BSONTYPE_DOUBLE, BSONTYPE_STRING, BSONTYPE_BOOL, BSONTYPE_DATE,
        BSONTYPE_NULL, BSONTYPE_OBJECTID };
    struct buf document = buf_init(1u << 20), key = buf_init(4096), low = buf_init(64),
               high = buf_init(64);
    struct bsonwalk walk;
    struct bsonvalue value;
    struct bytes bytes;

    (void)state;
    random_state = 99;
    bsonbuild_begin(&build, &document);
    for (int i = 0; i < 500; i++)
        random_append(&build, bytes_of(""), 1);
    assert_int_equal(bsonbuild_end(&build, &bytes), OK);
    for (size_t t = 0; t < sizeof types; t++)
        for (int descending = 0; descending < 2; descending++) {
            buf_clear(&low);
            buf_clear(&high);
            assert_int_equal(keystring_append_class_low(&low, types[t], descending), OK);
            assert_int_equal(keystring_append_class_high(&high, types[t], descending), OK);
            assert_int_equal(bsonwalk_begin(&walk, bytes), OK);
            while (bsonwalk_next(&walk, &value)) {
                bool inside;

                (void)key_of(&key, value, descending);
                inside = bytes_compare(buf_bytes(&low), buf_bytes(&key)) <= 0 &&
                         bytes_compare(buf_bytes(&key), buf_bytes(&high)) < 0;
                assert_int_equal(inside, bsonorder_class(value.type) == bsonorder_class(types[t]));
            }
        }
    buf_fini(&low);
    buf_fini(&high);
    buf_fini(&key);
    buf_fini(&document);
}

static void
a_successor_is_above_all_that_begin_so(void **state)
{
    struct buf key = buf_init(64);

    (void)state;
    assert_int_equal(buf_append(&key, "a\xff\xff", 3), OK);
    keystring_successor(&key);
    assert_int_equal(key.size, 1);
    assert_int_equal(key.data[0], 'b');
    buf_clear(&key);
    assert_int_equal(buf_append(&key, "\xff", 1), OK);
    keystring_successor(&key);
    assert_int_equal(key.size, 0);
    buf_fini(&key);
}

static void
a_failed_component_leaves_the_key_as_it_was(void **state)
{
    static const uint8_t damaged[] = { 11, 0, 0, 0, 0x10, 'a', 0, 1, 2, 3, 0 };
    struct bsonvalue value = bsonvalue_of_document((struct bytes){ damaged, sizeof damaged });
    struct buf key = buf_init(256);

    (void)state;
    assert_int_equal(buf_append(&key, "abc", 3), OK);
    assert_int_equal(keystring_append(&key, &value, false), ERR_CORRUPT);
    assert_int_equal(key.size, 3);
    buf_fini(&key);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_order_as_their_values),
        cmocka_unit_test(the_order_is_transitive),
        cmocka_unit_test(usual_keys_are_short),
        cmocka_unit_test(bounds_hold_exactly_one_class),
        cmocka_unit_test(a_successor_is_above_all_that_begin_so),
        cmocka_unit_test(a_failed_component_leaves_the_key_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
