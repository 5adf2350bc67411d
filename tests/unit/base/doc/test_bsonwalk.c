#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc/bsonwalk.h"
#include "base/doc/objectid.h"
#include "tests/unit/base/doc/random_value.h"

static struct bsonbuild build;

/* Validate hexadecimal bytes that lie at the end of their memory. */
static err_t
validate(const char *hex)
{
    size_t size = strlen(hex) / 2;
    uint8_t *bytes = malloc(size + 1);
    err_t err;

    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++) {
        char digits[3] = { hex[2 * i], hex[2 * i + 1], 0 };

        bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    bytes = realloc(bytes, size > 0 ? size : 1);
    err = bsonwalk_validate((struct bytes){ bytes, size }, NULL);
    free(bytes);
    return err;
}

static void
valid_documents_are_accepted(void **state)
{
    static const char *const hex[] = { "0500000000",            /* {} */
        "10000000016100000000000000F03F00",                     /* double */
        "0E00000002610002000000620000",                         /* string */
        "0D000000036100050000000000",                           /* document */
        "0D000000046100050000000000",                           /* array */
        "0F0000000578000200000000FFFF00",                       /* binary */
        "13000000057800060000000202000000FFFF00",               /* binary, subtype 2 */
        "0800000006610000",                                     /* undefined */
        "1400000007610000000000000000000000000000",             /* ObjectId */
        "090000000862000100",                                   /* bool */
        "10000000096100FFFFFFFFFFFFFF7F00",                     /* date INT64_MAX */
        "080000000A610000",                                     /* null */
        "0C0000000B61006100690000",                             /* regex */
        "1A0000000C610002000000620056E1FC72E0C917E9C471416100", /* DBPointer */
        "0E0000000D610002000000620000",                         /* code */
        "0E0000000E610002000000620000",                         /* symbol */
        "160000000F61000E0000000100000000050000000000",         /* code with scope */
        "0C0000001069000100000000",                             /* int32 */
        "18000000136400000000000000000000000000000000FC00",     /* signalling NaN */
        "08000000FF610000", "080000007F610000" };

    (void)state;
    for (size_t i = 0; i < sizeof hex / sizeof hex[0]; i++) {
        if (validate(hex[i]) != OK)
            fail_msg("%zu: %s: %s", i, hex[i], err_message());
    }
}

static void
broken_documents_are_refused(void **state)
{
    static const char *const hex[] = { "", "00", "0500", "0400000000", "0600000000", "FFFFFFFF00",
        "0500000001", "00000080", "0500000000FF",
        "1000000001610000000000000F03F", /* one byte short */
        "0900000001610000"
        "00",                       /* double without bytes */
        "0C0000000261000000000000", /* string of length 0 */
        "0C000000026100FFFFFFFF00", /* … -1 */
        "0E0000000261000300000062"
        "0000",                             /* runs over the end */
        "0E00000002610002000000626200",     /* no NUL */
        "0E00000002610002000000E90000",     /* not UTF-8 */
        "1000000002610004000000EDA0800000", /* a surrogate */
        "0E00000002E90002000000620000",     /* a name that is not UTF-8 */
        "0D000000036100040000000000",       /* document of length 4 */
        "0D000000036100060000000000",
        "0D0000000361000500000001"
        "00",
        "0F0000000578000300000000FFFF00", /* binary too long */
        "0F000000057800FFFFFFFF00FFFF00",
        "13000000057800060000000203000000FFFF00",               /* wrong inner length */
        "0F0000000578000200000002FFFF00", "090000000862000200", /* bool 2 */
        "0A0000000B6100610000",                                 /* regex without options' NUL */
        "1A0000000C610003000000620056E1FC72E0C917E9C471416100",
        "160000000F61000D0000000100000000050000000000", /* code with scope: each length wrong */
        "160000000F61000F0000000100000000050000000000",
        "160000000F61000E0000000200000000050000000000",
        "160000000F61000E0000000100000000040000000000", "0800000014610000", "0800000080610000",
        "0800000000610000", /* type 0 */
        "070000000A6100", "0B0000000A616263646566" };

    (void)state;
    for (size_t i = 0; i < sizeof hex / sizeof hex[0]; i++)
        if (validate(hex[i]) != ERR_INVALID_BSON)
            fail_msg("%zu: %s was accepted", i, hex[i]);
}

static void
levels_are_counted(void **state)
{
    struct buf out = buf_init(1u << 20);
    struct bytes document;

    (void)state;
    for (unsigned levels = 100; levels <= 101; levels++) {
        buf_clear(&out);
        bsonbuild_begin(&build, &out);
        for (unsigned i = 1; i < levels; i++)
            bsonbuild_open(&build, bytes_of("a"), i % 2);
        for (unsigned i = levels - 1; i >= 1; i--)
            bsonbuild_close(&build, i % 2);
        assert_int_equal(bsonbuild_end(&build, &document), OK);
        assert_int_equal(bsonwalk_validate(document, NULL), levels == 100 ? OK : ERR_OVERFLOW);
    }
    buf_clear(&out);
    bsonbuild_begin(&build, &out);
    for (unsigned i = 0; i < 1000; i++)
        bsonbuild_document_begin(&build, "a");
    assert_int_equal(bsonbuild_end(&build, NULL), ERR_OVERFLOW);
    assert_int_equal(out.size, 0);
    assert_int_equal(bsonwalk_validate((struct bytes){ (const uint8_t *)"", 100 },
                         &(struct bsonwalk_limits){ 99, 100 }),
        ERR_TOO_LARGE);
    buf_fini(&out);
}

/* Every single bit of a document flipped: validation and walking stay inside (under ASan), and
   a document that is still valid can be walked to its end. */
static void
a_flipped_bit_never_leads_outside(void **state)
{
    struct buf out = buf_init(1u << 20);
    struct bytes document;
    struct bsonwalk walk;
    struct bsonvalue value;

    (void)state;
    random_state = 11;
    bsonbuild_begin(&build, &out);
    for (int i = 0; i < 40; i++)
        random_append(&build, bytes_of("k"), 2);
    assert_int_equal(bsonbuild_end(&build, &document), OK);
    for (size_t bit = 0; bit < document.size * 8; bit++) {
        bool valid;

        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        valid = bsonwalk_validate(document, NULL) == OK;
        if (bsonwalk_begin(&walk, document) == OK) {
            while (bsonwalk_next(&walk, &value))
                assert_true(value.raw.data + value.raw.size <= walk.end);
            if (valid)
                assert_int_equal(bsonwalk_end(&walk), OK);
        } else
            assert_false(valid);
        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    buf_fini(&out);
}

static void
built_fields_are_found_again(void **state)
{
    struct arena *arena = arena_create("test", 1u << 20);
    struct bsonvalue value;
    struct bytes document, inner;

    (void)state;
    bsonbuild_begin_arena(&build, arena);
    bsonbuild_int32(&build, "ok", 1);
    bsonbuild_array_begin(&build, "list");
    for (int i = 0; i < 1234; i++)
        bsonbuild_int64(&build, NULL, i);
    bsonbuild_array_end(&build);
    bsonbuild_document_begin(&build, bytes_of("in"));
    bsonbuild_text(&build, "z", "last");
    bsonbuild_bool(&build, "a", true);
    bsonbuild_document_end(&build);
    assert_int_equal(bsonbuild_end(&build, &document), OK);
    assert_int_equal(bsonwalk_validate(document, NULL), OK);
    assert_true(bsonwalk_get(document, "list", &value));
    assert_int_equal(bsonwalk_count(value.raw), 1234);
    assert_true(bsonwalk_get(value.raw, "1233", &value));
    assert_int_equal(bsonvalue_int64(&value), 1233);
    bsonbuild_begin_arena(&build, arena);
    bsonbuild_elements_sorted(&build, document);
    assert_int_equal(bsonbuild_end(&build, &document), OK);
    assert_int_equal(bsonwalk_validate(document, NULL), OK);
    assert_true(bsonwalk_get(document, "in", &value));
    inner = value.raw;
    assert_int_equal(inner.data[4], BSONTYPE_BOOL);
    bsonbuild_begin_arena(&build, arena);
    bsonbuild_int32(&build, ((struct bytes){ (const uint8_t *)"a\0b", 3 }), 1);
    assert_int_equal(bsonbuild_end(&build, &document), ERR_BAD_VALUE);
    arena_destroy(arena);
}

static void
objectids_differ_and_read_back(void **state)
{
    uint8_t one[OBJECTID_SIZE], two[OBJECTID_SIZE], back[OBJECTID_SIZE];
    char text[2 * OBJECTID_SIZE + 1];

    (void)state;
    objectid_make(one);
    objectid_make(two);
    assert_memory_not_equal(one, two, OBJECTID_SIZE);
    objectid_print(one, text);
    assert_true(objectid_parse(bytes_of(text), back));
    assert_memory_equal(one, back, OBJECTID_SIZE);
    assert_false(objectid_parse(bytes_of("0123456789abcdef0123456g"), back));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_documents_are_accepted),
        cmocka_unit_test(broken_documents_are_refused),
        cmocka_unit_test(levels_are_counted),
        cmocka_unit_test(a_flipped_bit_never_leads_outside),
        cmocka_unit_test(built_fields_are_found_again),
        cmocka_unit_test(objectids_differ_and_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
