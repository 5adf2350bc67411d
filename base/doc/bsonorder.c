/*
 * bsonorder.c - MongoDB's order of values across all types.
 *
 * Recursion is bounded by BSONVALUE_DEPTH_MAX; deeper documents, which nobody can store,
 * compare by their bytes.
 */
#include "base/doc/bsonorder.h"

#include "base/doc/bsonwalk.h"
#include "base/doc/decimal.h"

static int compare_values(const struct bsonvalue *a, const struct bsonvalue *b, unsigned depth);

int
bsonorder_class(uint8_t type)
{
    static const int8_t classes[] = { BSONORDER_UNDEFINED, BSONORDER_NUMBER, BSONORDER_STRING,
        BSONORDER_DOCUMENT, BSONORDER_ARRAY, BSONORDER_BINARY, BSONORDER_UNDEFINED,
        BSONORDER_OBJECTID, BSONORDER_BOOL, BSONORDER_DATE, BSONORDER_NULL, BSONORDER_REGEX,
        BSONORDER_DBPOINTER, BSONORDER_CODE, BSONORDER_STRING, BSONORDER_CODE_W_SCOPE,
        BSONORDER_NUMBER, BSONORDER_TIMESTAMP, BSONORDER_NUMBER, BSONORDER_NUMBER };

    if (type < sizeof classes)
        return classes[type];
    return type == BSONTYPE_MINKEY ? BSONORDER_MINKEY : BSONORDER_MAXKEY;
}

static int
compare_i64(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* Exact: beyond 2^53 not every int64 is a double, so the double is made whole instead. */
static int
compare_i64_double(int64_t a, double b)
{
    int64_t whole;

    if (b != b)
        return 1;
    if (b >= 9223372036854775808.0)
        return -1;
    if (b < -9223372036854775808.0)
        return 1;
    whole = (int64_t)b;
    if (a != whole)
        return a < whole ? -1 : 1;
    return (b < (double)whole) - (b > (double)whole);
}

static int
compare_doubles(double a, double b)
{
    if (a != a || b != b)
        return (b != b) - (a != a);
    return (a > b) - (a < b);
}

/* -2: NaN, -1: negative (also -infinity), 0: zero, 1: positive. */
static int
decimal_sign(const struct decimal *a)
{
    if (a->kind == DECIMAL_NAN)
        return -2;
    if (a->kind == DECIMAL_FINITE && a->count == 0)
        return 0;
    return a->negative ? -1 : 1;
}

static int
compare_decimals(const struct decimal *a, const struct decimal *b)
{
    int sign_a = decimal_sign(a), sign_b = decimal_sign(b), order;

    if (sign_a != sign_b)
        return sign_a < sign_b ? -1 : 1;
    if (sign_a == -2 || sign_a == 0)
        return 0;
    if (a->kind != DECIMAL_FINITE || b->kind != DECIMAL_FINITE)
        order = (a->kind == DECIMAL_INFINITY) - (b->kind == DECIMAL_INFINITY);
    else
        order = decimal_compare_magnitude(a, b);
    return sign_a * order;
}

static int
compare_decimal_double(const struct decimal *a, double b)
{
    double magnitude = b < 0 ? -b : b;
    int sign_a = decimal_sign(a), sign_b = b != b ? -2 : (b > 0) - (b < 0), order;
    bool infinite = magnitude > 1.7976931348623157e308;

    if (sign_a != sign_b)
        return sign_a < sign_b ? -1 : 1;
    if (sign_a == -2 || sign_a == 0)
        return 0;
    if (a->kind != DECIMAL_FINITE || infinite)
        order = (a->kind == DECIMAL_INFINITY) - infinite;
    else
        order = decimal_compare_double(a, magnitude);
    return sign_a * order;
}

static int64_t
whole_of(const struct bsonvalue *value)
{
    return value->type == BSONTYPE_INT32 ? bsonvalue_int32(value) : bsonvalue_int64(value);
}

static int
compare_decimal_any(const struct bsonvalue *a, const struct bsonvalue *b)
{
    struct decimal left, right;

    decimal_load(&left, a->raw.data);
    if (b->type == BSONTYPE_DOUBLE)
        return compare_decimal_double(&left, bsonvalue_double(b));
    if (b->type == BSONTYPE_DECIMAL128)
        decimal_load(&right, b->raw.data);
    else
        decimal_of_int64(&right, whole_of(b));
    return compare_decimals(&left, &right);
}

int
bsonorder_compare_numbers(const struct bsonvalue *a, const struct bsonvalue *b)
{
    if (a->type == BSONTYPE_DECIMAL128)
        return compare_decimal_any(a, b);
    if (b->type == BSONTYPE_DECIMAL128)
        return -compare_decimal_any(b, a);
    if (a->type == BSONTYPE_DOUBLE) {
        if (b->type == BSONTYPE_DOUBLE)
            return compare_doubles(bsonvalue_double(a), bsonvalue_double(b));
        return -compare_i64_double(whole_of(b), bsonvalue_double(a));
    }
    if (b->type == BSONTYPE_DOUBLE)
        return compare_i64_double(whole_of(a), bsonvalue_double(b));
    return compare_i64(whole_of(a), whole_of(b));
}

static int
compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* Documents with names, arrays without. */
static int
compare_fields(struct bytes a, struct bytes b, bool names, unsigned depth)
{
    struct bsonwalk left, right;
    struct bsonvalue x, y;
    bool more_x, more_y;
    int order;

    if (depth >= BSONVALUE_DEPTH_MAX || bsonwalk_begin(&left, a) != OK ||
        bsonwalk_begin(&right, b) != OK)
        return bytes_compare(a, b);
    for (;;) {
        more_x = bsonwalk_next(&left, &x);
        more_y = bsonwalk_next(&right, &y);
        if (!more_x || !more_y)
            return more_x - more_y;
        if (names) {
            order = bsonorder_class(x.type) - bsonorder_class(y.type);
            if (order == 0)
                order = bytes_compare(x.key, y.key);
            if (order != 0)
                return order;
        }
        order = compare_values(&x, &y, depth + 1);
        if (order != 0)
            return order;
    }
}

static int
compare_binaries(const struct bsonvalue *a, const struct bsonvalue *b)
{
    if (a->raw.size != b->raw.size)
        return a->raw.size < b->raw.size ? -1 : 1;
    return memcmp(a->raw.data + 4, b->raw.data + 4, a->raw.size - 4); /* subtype, then bytes */
}

static int
compare_regexes(const struct bsonvalue *a, const struct bsonvalue *b)
{
    struct bytes pattern_a, options_a, pattern_b, options_b;
    int order;

    bsonvalue_regex(a, &pattern_a, &options_a);
    bsonvalue_regex(b, &pattern_b, &options_b);
    order = bytes_compare(pattern_a, pattern_b);
    return order != 0 ? order : bytes_compare(options_a, options_b);
}

static int
compare_codes_w_scope(const struct bsonvalue *a, const struct bsonvalue *b, unsigned depth)
{
    struct bytes code_a, scope_a, code_b, scope_b;
    int order;

    bsonvalue_code_w_scope(a, &code_a, &scope_a);
    bsonvalue_code_w_scope(b, &code_b, &scope_b);
    order = bytes_compare(code_a, code_b);
    return order != 0 ? order : compare_fields(scope_a, scope_b, true, depth);
}

static int
compare_values(const struct bsonvalue *a, const struct bsonvalue *b, unsigned depth)
{
    int class = bsonorder_class(a->type), other = bsonorder_class(b->type);

    if (class != other)
        return class < other ? -1 : 1;
    switch (class) {
    case BSONORDER_NUMBER:
        return bsonorder_compare_numbers(a, b);
    case BSONORDER_STRING:
    case BSONORDER_CODE:
        return bytes_compare(bsonvalue_string(a), bsonvalue_string(b));
    case BSONORDER_DOCUMENT:
        return compare_fields(a->raw, b->raw, true, depth);
    case BSONORDER_ARRAY:
        return compare_fields(a->raw, b->raw, false, depth);
    case BSONORDER_BINARY:
    case BSONORDER_DBPOINTER:
        return compare_binaries(a, b);
    case BSONORDER_OBJECTID:
        return memcmp(a->raw.data, b->raw.data, 12);
    case BSONORDER_BOOL:
        return bsonvalue_bool(a) - bsonvalue_bool(b);
    case BSONORDER_DATE:
        return compare_i64(bsonvalue_int64(a), bsonvalue_int64(b));
    case BSONORDER_TIMESTAMP:
        return compare_u64(bsonvalue_timestamp(a), bsonvalue_timestamp(b));
    case BSONORDER_REGEX:
        return compare_regexes(a, b);
    case BSONORDER_CODE_W_SCOPE:
        return compare_codes_w_scope(a, b, depth);
    default:
        return 0; /* MinKey, undefined, null, MaxKey */
    }
}

int
bsonorder_compare(const struct bsonvalue *a, const struct bsonvalue *b)
{
    return compare_values(a, b, 0);
}

int
bsonorder_compare_documents(struct bytes a, struct bytes b)
{
    return compare_fields(a, b, true, 0);
}
