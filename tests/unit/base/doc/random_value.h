/*
 * random_value.h - seeded values of all types for the document tests: mostly such as lie close
 * together, so that comparisons are decided late.
 */
#ifndef TESTS_UNIT_BASE_DOC_RANDOM_VALUE_H
#define TESTS_UNIT_BASE_DOC_RANDOM_VALUE_H

#include <stdio.h>
#include <string.h>

#include "base/doc/bsonbuild.h"
#include "base/doc/decimal.h"

static uint64_t random_state;

static inline uint64_t
random_word(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static inline uint64_t
random_below(uint64_t bound)
{
    return random_word() % bound;
}

static inline double
random_double(void)
{
    static const double edge[] = { 0.0, -0.0, 0.1, 0.5, 1.0, 1.5, -1.5, 1e16, 9007199254740992.0,
        9007199254740993.0, 9223372036854775808.0, -9223372036854775808.0, 1e308, -1e308, 5e-324,
        2.2250738585072014e-308, 255.5, 256.0, 127.0, 128.0, 1e-7, 1e300, 1.8446744073709552e19 };
    uint64_t bits = random_word();
    double number;

    if (random_below(3) > 0)
        return edge[random_below(sizeof edge / sizeof edge[0])];
    if (random_below(8) == 0)
        bits = 0x7ff0000000000000u | random_below(2) << 63 | random_below(2);
    memcpy(&number, &bits, sizeof number);
    return number;
}

static inline int64_t
random_int64(void)
{
    static const int64_t edge[] = { 0, 1, -1, 2, 127, 128, -128, 255, 256, 9007199254740992,
        9007199254740993, 9007199254740994, -9007199254740993, INT64_MAX, INT64_MIN, INT64_MAX - 1,
        1000000000000000000 };

    return random_below(2) == 0 ? edge[random_below(sizeof edge / sizeof edge[0])]
                                : (int64_t)random_word() >> random_below(63);
}

static inline void
random_decimal(uint8_t bytes[16])
{
    static const char *const edge[] = { "0", "-0", "0E+3", "NaN", "Infinity", "-Infinity", "0.1",
        "0.5", "0.50", "1.5", "-1.5", "1", "1E+1", "10", "9007199254740993", "9007199254740993.5",
        "9223372036854775807", "9223372036854775808", "9223372036854775807.5",
        "-9223372036854775808", "0.1000000000000000055511151231257827", "1E+400", "1E-400",
        "9.999999999999999999999999999999999E+6144", "1E-6176", "5E-324", "4.9E-324",
        "1.7976931348623157E+308", "1.7976931348623158E+308", "255.5", "256", "0.0000001" };
    char text[64];

    if (random_below(3) > 0)
        (void)snprintf(text, sizeof text, "%s", edge[random_below(sizeof edge / sizeof edge[0])]);
    else
        (void)snprintf(text, sizeof text, "%s%llu.%lluE%d", random_below(2) ? "-" : "",
            (unsigned long long)random_below(1000), (unsigned long long)random_word(),
            (int)random_below(700) - 350);
    (void)decimal_parse(text, -1, bytes);
}

static inline struct bytes
random_text(char room[16])
{
    static const char letters[] = { 0, 1, 2, 'a', 'a', 'b', (char)0xc3 };
    size_t size = random_below(5);

    for (size_t i = 0; i < size; i++)
        room[i] = letters[random_below(6)];
    return (struct bytes){ (const uint8_t *)room, size };
}

static inline struct bytes
random_name(char room[16])
{
    static const char letters[] = { 1, 'a', 'a', 'b' };
    size_t size = random_below(3);

    for (size_t i = 0; i < size; i++)
        room[i] = letters[random_below(4)];
    room[size] = '\0';
    return (struct bytes){ (const uint8_t *)room, size };
}

/* Append one value under that key; `depth` levels of documents at most. */
static inline void
random_append(struct bsonbuild *build, struct bytes key, unsigned depth)
{
    static const struct bytes patterns[] = { { (const uint8_t *)"a", 1 },
        { (const uint8_t *)"ab", 2 }, { (const uint8_t *)"", 0 } };
    char room[16];
    uint8_t bytes[32] = { 0 };

    switch (random_below(depth > 0 ? 24 : 20)) {
    case 0:
    case 1:
    case 2:
        bsonbuild_put_double(build, key, random_double());
        break;
    case 3:
    case 4:
        bsonbuild_put_int64(build, key, random_int64());
        break;
    case 5:
        bsonbuild_put_int32(build, key, (int32_t)random_int64());
        break;
    case 6:
    case 7:
    case 8:
        random_decimal(bytes);
        bsonbuild_put_raw(build, key, BSONTYPE_DECIMAL128, (struct bytes){ bytes, 16 });
        break;
    case 9:
    case 10:
        bsonbuild_put_string(build, key, random_text(room));
        break;
    case 11: {
        static const uint8_t types[] = { BSONTYPE_NULL, BSONTYPE_UNDEFINED, BSONTYPE_MINKEY,
            BSONTYPE_MAXKEY };
        bsonbuild_put_empty(build, key, types[random_below(4)]);
        break;
    }
    case 12:
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)random_below(3);
        bsonbuild_put_binary(build, key, (uint8_t)random_below(6) == 2 ? 0 : 4,
            (struct bytes){ bytes, random_below(4) });
        break;
    case 13:
        bytes[random_below(12)] = (uint8_t)random_word();
        bsonbuild_put_objectid(build, key, bytes);
        break;
    case 14:
        bsonbuild_put_bool(build, key, random_below(2));
        break;
    case 15:
        bsonbuild_put_date(build, key, random_int64());
        break;
    case 16:
        bsonbuild_put_timestamp(build, key, (uint64_t)random_int64());
        break;
    case 17:
        bsonbuild_put_regex(build, key, patterns[random_below(3)], patterns[random_below(3)]);
        break;
    case 18: {
        struct bytes text = random_text(room);
        uint32_t size = (uint32_t)text.size + 1;
        memcpy(bytes, &size, 4);
        memcpy(bytes + 4, text.data, text.size);
        bytes[4 + text.size] = 0;
        bsonbuild_put_raw(build, key, random_below(2) ? BSONTYPE_CODE : BSONTYPE_SYMBOL,
            (struct bytes){ bytes, text.size + 5 });
        break;
    }
    case 19: {
        static const uint8_t pointer[] = { 2, 0, 0, 0, 'a', 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
            12 };
        memcpy(bytes, pointer, sizeof pointer);
        bytes[17] = (uint8_t)random_below(2);
        bsonbuild_put_raw(build, key, BSONTYPE_DBPOINTER, (struct bytes){ bytes, sizeof pointer });
        break;
    }
    default: {
        bool array = random_below(2);
        size_t count = random_below(4);
        bsonbuild_open(build, key, array);
        for (size_t i = 0; i < count; i++)
            random_append(build, random_name(room), depth - 1);
        bsonbuild_close(build, array);
        break;
    }
    }
}

#endif
