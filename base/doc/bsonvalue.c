/*
 * bsonvalue.c - what the inline accessors of bsonvalue.h leave over.
 */
#include "base/doc/bsonvalue.h"

#include "base/doc/decimal.h"

static const uint8_t empty_document[5] = { 5, 0, 0, 0, 0 };

const struct bytes bsonvalue_empty_document = { empty_document, sizeof empty_document };
const struct bsonvalue bsonvalue_null = { { NULL, 0 }, { empty_document, 0 }, BSONTYPE_NULL };
const struct bsonvalue bsonvalue_undefined = { { NULL, 0 }, { empty_document, 0 },
    BSONTYPE_UNDEFINED };
const struct bsonvalue bsonvalue_minkey = { { NULL, 0 }, { empty_document, 0 }, BSONTYPE_MINKEY };
const struct bsonvalue bsonvalue_maxkey = { { NULL, 0 }, { empty_document, 0 }, BSONTYPE_MAXKEY };

/* The walker has seen both NULs. */
void
bsonvalue_regex(const struct bsonvalue *value, struct bytes *pattern, struct bytes *options)
{
    *pattern = bytes_of((const char *)value->raw.data);
    *options = bytes_of((const char *)value->raw.data + pattern->size + 1);
}

void
bsonvalue_code_w_scope(const struct bsonvalue *value, struct bytes *code, struct bytes *scope)
{
    const uint8_t *at = value->raw.data + 4;
    uint32_t size = bsonvalue_load32(at);

    *code = (struct bytes){ at + 4, size - 1 };
    *scope = (struct bytes){ at + 4 + size, value->raw.size - 8 - size };
}

void
bsonvalue_dbpointer(const struct bsonvalue *value, struct bytes *collection, const uint8_t **oid)
{
    *collection = (struct bytes){ value->raw.data + 4, value->raw.size - 4 - 1 - 12 };
    *oid = value->raw.data + value->raw.size - 12;
}

static bool
double_to_int64(double number, bool truncate, int64_t *whole)
{
    if (!(number >= -9223372036854775808.0 && number < 9223372036854775808.0))
        return false;
    *whole = (int64_t)number;
    return truncate || (double)*whole == number;
}

static bool
decimal_to_int64(const uint8_t *raw, bool truncate, int64_t *number)
{
    struct decimal decimal;
    uint64_t whole;
    bool fraction;

    decimal_load(&decimal, raw);
    if (decimal.kind != DECIMAL_FINITE)
        return false;
    if (!decimal_whole(&decimal, &whole, &fraction)) {
        struct decimal least;

        decimal_of_int64(&least, INT64_MIN);
        if (!decimal.negative || decimal_compare_magnitude(&decimal, &least) != 0)
            return false;
        *number = INT64_MIN;
        return true;
    }
    *number = decimal.negative ? -(int64_t)whole : (int64_t)whole;
    return truncate || !fraction;
}

bool
bsonvalue_to_int64(const struct bsonvalue *value, bool truncate, int64_t *number)
{
    switch (value->type) {
    case BSONTYPE_INT32:
        *number = bsonvalue_int32(value);
        return true;
    case BSONTYPE_INT64:
        *number = bsonvalue_int64(value);
        return true;
    case BSONTYPE_DOUBLE:
        return double_to_int64(bsonvalue_double(value), truncate, number);
    case BSONTYPE_DECIMAL128:
        return decimal_to_int64(value->raw.data, truncate, number);
    default:
        return false;
    }
}

bool
bsonvalue_to_double(const struct bsonvalue *value, double *number)
{
    struct decimal decimal;

    switch (value->type) {
    case BSONTYPE_INT32:
        *number = bsonvalue_int32(value);
        return true;
    case BSONTYPE_INT64:
        *number = (double)bsonvalue_int64(value);
        return true;
    case BSONTYPE_DOUBLE:
        *number = bsonvalue_double(value);
        return true;
    case BSONTYPE_DECIMAL128:
        decimal_load(&decimal, value->raw.data);
        *number = decimal_to_double(&decimal);
        return true;
    default:
        return false;
    }
}

bool
bsonvalue_truth(const struct bsonvalue *value)
{
    double number;

    switch (value->type) {
    case BSONTYPE_EOO:
    case BSONTYPE_NULL:
    case BSONTYPE_UNDEFINED:
        return false;
    case BSONTYPE_BOOL:
        return bsonvalue_bool(value);
    case BSONTYPE_INT64:
        return bsonvalue_int64(value) != 0;
    case BSONTYPE_DECIMAL128: {
        struct decimal decimal;

        decimal_load(&decimal, value->raw.data);
        return decimal.kind != DECIMAL_FINITE || decimal.count > 0;
    }
    default:
        return !bsonvalue_to_double(value, &number) || number != 0.0;
    }
}

const char *
bsonvalue_type_name(uint8_t type)
{
    static const char *const name[] = { "missing", "double", "string", "object", "array", "binData",
        "undefined", "objectId", "bool", "date", "null", "regex", "dbPointer", "javascript",
        "symbol", "javascriptWithScope", "int", "timestamp", "long", "decimal" };

    if (type < sizeof name / sizeof name[0])
        return name[type];
    return type == BSONTYPE_MINKEY ? "minKey" : type == BSONTYPE_MAXKEY ? "maxKey" : "unknown";
}

static struct bsonvalue
of_word(uint8_t *room, uint8_t type, const void *word, size_t size)
{
    memcpy(room, word, size);
    return bsonvalue_make(type, (struct bytes){ room, size });
}

struct bsonvalue
bsonvalue_of_int32(uint8_t *room, int32_t number)
{
    return of_word(room, BSONTYPE_INT32, &number, sizeof number);
}

struct bsonvalue
bsonvalue_of_int64(uint8_t *room, int64_t number)
{
    return of_word(room, BSONTYPE_INT64, &number, sizeof number);
}

struct bsonvalue
bsonvalue_of_double(uint8_t *room, double number)
{
    return of_word(room, BSONTYPE_DOUBLE, &number, sizeof number);
}

struct bsonvalue
bsonvalue_of_date(uint8_t *room, int64_t ms)
{
    return of_word(room, BSONTYPE_DATE, &ms, sizeof ms);
}

struct bsonvalue
bsonvalue_of_bool(uint8_t *room, bool truth)
{
    uint8_t byte = truth;

    return of_word(room, BSONTYPE_BOOL, &byte, sizeof byte);
}
