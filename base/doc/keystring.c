/*
 * keystring.c - values as bytes that memcmp orders as bsonorder orders the values.
 *
 * A component is a class byte and what orders the values of that class (README.md has the
 * table).  Strings end in 0x00; inside them 0x00 becomes 0x01 0x01 and 0x01 becomes 0x01 0x02,
 * so no component is a prefix of another.
 *
 * A number that is not zero has its sign and the bytes of its integer part in the class byte:
 *     below 1 in magnitude      double
 *     below 2^63                n bytes: integer part << 1 | fraction; if fraction: double
 *     else                      double
 * where "double" is 8 bytes, D << 1 | rest: D are the bits of the greatest double that is not
 * above the magnitude (monotonic, since magnitudes have no sign bit), and rest says that the
 * magnitude is a little more, as only a decimal128 can be; then all its digits follow, which
 * decide between those of one D: exponent + 8192 (2 bytes), digits in pairs + 1, 0x00.
 * A negative number has all bytes behind the class inverted.
 *
 * INVARIANTS
 *   K1  Equal values give equal bytes, whatever their types.
 *   K2  No component begins with 0x00 or 0xff, so one can follow the end of a string,
 *       array or document, which is 0x00, and its inverse can follow 0xff.
 */
#include "base/doc/keystring.h"

#include "base/doc/bsonorder.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/decimal.h"
#include "base/panic.h"

enum class_byte {
    C_END = 0,
    C_MINKEY = 10,
    C_UNDEFINED = 15,
    C_NULL = 20,
    C_NUMBER = 30, /* the generic byte of numbers inside documents, and the lowest: NaN */
    C_NEGATIVE_LARGE = 31,
    C_NEGATIVE_8 = 32, /* … C_NEGATIVE_8 + 7: one byte */
    C_NEGATIVE_SMALL = 40,
    C_ZERO = 41,
    C_POSITIVE_SMALL = 42,
    C_POSITIVE_1 = 43, /* … C_POSITIVE_1 + 7: eight bytes */
    C_POSITIVE_LARGE = 51,
    C_STRING = 60,
    C_DOCUMENT = 70,
    C_ARRAY = 80,
    C_BINARY = 90,
    C_OBJECTID = 100,
    C_FALSE = 110,
    C_TRUE = 111,
    C_DATE = 120,
    C_TIMESTAMP = 130,
    C_REGEX = 140,
    C_DBPOINTER = 150,
    C_CODE = 160,
    C_CODE_W_SCOPE = 170,
    C_MAXKEY = 240,
};

#define EXPONENT_BIAS   8192
#define NUMBER_SIZE_MAX 64

static err_t append_value(struct buf *key, const struct bsonvalue *value, unsigned depth);

static uint8_t *
put_be(uint8_t *at, uint64_t number, unsigned size)
{
    for (unsigned i = size; i-- > 0;)
        *at++ = (uint8_t)(number >> (8 * i));
    return at;
}

static uint8_t *
put_be64(uint8_t *at, uint64_t number)
{
    number = __builtin_bswap64(number);
    memcpy(at, &number, sizeof number);
    return at + sizeof number;
}

/* The class bytes from low to high that components of a type have. */
static void
class_range(uint8_t type, uint8_t *low, uint8_t *high)
{
    switch (bsonorder_class(type)) {
    case BSONORDER_NUMBER:
        *low = C_NUMBER;
        *high = C_POSITIVE_LARGE;
        return;
    case BSONORDER_BOOL:
        *low = C_FALSE;
        *high = C_TRUE;
        return;
    case BSONORDER_MINKEY:
        *low = C_MINKEY;
        break;
    case BSONORDER_UNDEFINED:
        *low = C_UNDEFINED;
        break;
    case BSONORDER_NULL:
        *low = C_NULL;
        break;
    case BSONORDER_STRING:
        *low = C_STRING;
        break;
    case BSONORDER_DOCUMENT:
        *low = C_DOCUMENT;
        break;
    case BSONORDER_ARRAY:
        *low = C_ARRAY;
        break;
    case BSONORDER_BINARY:
        *low = C_BINARY;
        break;
    case BSONORDER_OBJECTID:
        *low = C_OBJECTID;
        break;
    case BSONORDER_DATE:
        *low = C_DATE;
        break;
    case BSONORDER_TIMESTAMP:
        *low = C_TIMESTAMP;
        break;
    case BSONORDER_REGEX:
        *low = C_REGEX;
        break;
    case BSONORDER_DBPOINTER:
        *low = C_DBPOINTER;
        break;
    case BSONORDER_CODE:
        *low = C_CODE;
        break;
    case BSONORDER_CODE_W_SCOPE:
        *low = C_CODE_W_SCOPE;
        break;
    default:
        *low = C_MAXKEY;
        break;
    }
    *high = *low;
}

/* Numbers */

static uint64_t
double_bits(double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof bits);
    return bits;
}

/* D << 1 | rest, and the digits if there is a rest. */
static uint8_t *
put_double(uint8_t *at, double floor, const struct decimal *rest)
{
    at = put_be64(at, double_bits(floor) << 1 | (rest != NULL));
    if (rest == NULL)
        return at;
    at = put_be(at, (uint64_t)(rest->exponent + EXPONENT_BIAS), 2);
    for (unsigned i = 0; i < rest->count; i += 2) {
        unsigned low = i + 1 < rest->count ? rest->digit[i + 1] : 0;

        *at++ = (uint8_t)(rest->digit[i] * 10 + low + 1);
    }
    *at++ = 0;
    return at;
}

/* A magnitude with the integer part `whole` and, if `fraction`, a double (and rest) behind it. */
static uint8_t *
put_whole(uint8_t *at, bool negative, uint64_t whole, bool fraction)
{
    uint64_t number = whole << 1 | fraction;
    unsigned size = (unsigned)(64 - __builtin_clzll(number | 1) + 7) / 8;
    uint64_t class = negative ? C_NEGATIVE_8 + 8 - size : C_POSITIVE_1 + size - 1;

    if (size < 8) { /* class and number in one store: who reads the key now reads it as one */
        (void)put_be64(at, class << 56 | number << (56 - 8 * size));
        return at + 1 + size;
    }
    *at++ = (uint8_t) class;
    return put_be64(at, number);
}

static void
invert(uint8_t *from, const uint8_t *to)
{
    for (; from < to; from++)
        *from = (uint8_t) ~*from;
}

static uint8_t *
put_int64(uint8_t *at, int64_t number)
{
    uint8_t *start = at;

    if (number == 0) {
        *at = C_ZERO;
        return at + 1;
    }
    if (number > 0)
        return put_whole(at, false, (uint64_t)number, false);
    if (number == INT64_MIN) {
        *at++ = C_NEGATIVE_LARGE;
        at = put_double(at, 9223372036854775808.0, NULL);
    } else
        at = put_whole(at, true, (uint64_t)-number, false);
    invert(start + 1, at);
    return at;
}

/* A magnitude above 0 as a double; rest: there is more, and these are all its digits. */
static uint8_t *
put_magnitude(uint8_t *at, bool negative, double floor, const struct decimal *rest)
{
    uint8_t *start = at;
    uint64_t whole;
    bool fraction;

    if (floor < 1.0) {
        *at++ = negative ? C_NEGATIVE_SMALL : C_POSITIVE_SMALL;
        at = put_double(at, floor, rest);
    } else if (floor >= 9223372036854775808.0) {
        *at++ = negative ? C_NEGATIVE_LARGE : C_POSITIVE_LARGE;
        at = put_double(at, floor, rest);
    } else {
        if (rest != NULL) {
            bool small = decimal_whole(rest, &whole, &fraction);

            invariant(small);
        } else {
            whole = (uint64_t)floor;
            fraction = (double)whole != floor;
        }
        at = put_whole(at, negative, whole, fraction);
        if (fraction)
            at = put_double(at, floor, rest);
    }
    if (negative)
        invert(start + 1, at);
    return at;
}

static uint8_t *
put_any_double(uint8_t *at, double number)
{
    if (number != number) {
        *at = C_NUMBER;
        return at + 1;
    }
    if (number == 0) {
        *at = C_ZERO;
        return at + 1;
    }
    return put_magnitude(at, number < 0, number < 0 ? -number : number, NULL);
}

static uint8_t *
put_decimal(uint8_t *at, const uint8_t *raw)
{
    struct decimal decimal;
    double floor;
    bool exact;

    decimal_load(&decimal, raw);
    if (decimal.kind != DECIMAL_FINITE || decimal.count == 0)
        return put_any_double(at, decimal_to_double(&decimal));
    floor = decimal_floor_double(&decimal, &exact);
    return put_magnitude(at, decimal.negative, floor, exact ? NULL : &decimal);
}

static err_t
append_number(struct buf *key, const struct bsonvalue *value)
{
    uint8_t *at;

    TRY_RETURN(buf_reserve(key, NUMBER_SIZE_MAX));
    at = key->data + key->size;
    switch (value->type) {
    case BSONTYPE_INT32:
        at = put_int64(at, bsonvalue_int32(value));
        break;
    case BSONTYPE_INT64:
        at = put_int64(at, bsonvalue_int64(value));
        break;
    case BSONTYPE_DOUBLE:
        at = put_any_double(at, bsonvalue_double(value));
        break;
    default:
        at = put_decimal(at, value->raw.data);
        break;
    }
    key->size = (size_t)(at - key->data);
    return OK;
}

/* Everything else */

/* A class byte and a text, its 0x00 and 0x01 escaped, without the end. */
static err_t
append_text(struct buf *key, uint8_t class, struct bytes text)
{
    size_t escapes = 0;
    uint8_t *at;

    for (size_t i = 0; i < text.size; i++)
        escapes += text.data[i] <= 1;
    TRY_RETURN(buf_reserve(key, text.size + escapes + 2));
    at = key->data + key->size;
    *at++ = class;
    if (escapes == 0 && text.size > 0)
        memcpy(at, text.data, text.size);
    else
        for (size_t i = 0; i < text.size; i++) {
            if (text.data[i] <= 1)
                *at++ = 1;
            *at++ = (uint8_t)(text.data[i] + (text.data[i] <= 1));
        }
    key->size += text.size + escapes + 1;
    return OK;
}

static err_t
append_ended_text(struct buf *key, uint8_t class, struct bytes text)
{
    TRY_RETURN(append_text(key, class, text));
    return buf_append_byte(key, C_END);
}

static err_t
append_sized(struct buf *key, uint8_t class, const void *data, size_t size)
{
    TRY_RETURN(buf_reserve(key, size + 1));
    key->data[key->size] = class;
    memcpy(key->data + key->size + 1, data, size);
    key->size += size + 1;
    return OK;
}

static err_t
append_u64(struct buf *key, uint8_t class, uint64_t number)
{
    number = __builtin_bswap64(number);
    return append_sized(key, class, &number, sizeof number);
}

/* Length in 1 byte, or 0xff and 4; subtype; bytes. */
static err_t
append_binary(struct buf *key, const struct bsonvalue *value)
{
    uint8_t head[8], *at = head, subtype;
    struct bytes data = bsonvalue_binary(value, &subtype);

    if (data.size < 0xff)
        *at++ = (uint8_t)data.size;
    else {
        *at++ = 0xff;
        at = put_be(at, data.size, 4);
    }
    *at++ = subtype;
    TRY_RETURN(append_sized(key, C_BINARY, head, (size_t)(at - head)));
    return buf_append(key, data.data, data.size);
}

static err_t
append_regex(struct buf *key, const struct bsonvalue *value)
{
    struct bytes pattern, options;

    bsonvalue_regex(value, &pattern, &options);
    TRY_RETURN(append_sized(key, C_REGEX, pattern.data, pattern.size + 1));
    return buf_append(key, options.data, options.size + 1);
}

static err_t
append_dbpointer(struct buf *key, const struct bsonvalue *value)
{
    uint8_t size[4];

    (void)put_be(size, value->raw.size - 4, sizeof size);
    TRY_RETURN(append_sized(key, C_DBPOINTER, size, sizeof size));
    return buf_append(key, value->raw.data + 4, value->raw.size - 4);
}

/* Each field of a document as class, name, value; each of an array as value. */
static err_t
append_fields(struct buf *key, struct bytes document, bool names, unsigned depth)
{
    struct bsonwalk walk;
    struct bsonvalue value;
    uint8_t low, high;

    if (depth >= BSONVALUE_DEPTH_MAX)
        return err_set(ERR_OVERFLOW, "a key nested deeper than %d levels", BSONVALUE_DEPTH_MAX);
    TRY_RETURN(bsonwalk_begin(&walk, document));
    while (bsonwalk_next(&walk, &value)) {
        if (names) {
            class_range(value.type, &low, &high);
            TRY_RETURN(append_sized(key, low, value.key.data, value.key.size + 1));
        }
        TRY_RETURN(append_value(key, &value, depth + 1));
    }
    TRY_RETURN(bsonwalk_end(&walk));
    return buf_append_byte(key, C_END);
}

static err_t
append_code_w_scope(struct buf *key, const struct bsonvalue *value, unsigned depth)
{
    struct bytes code, scope;

    bsonvalue_code_w_scope(value, &code, &scope);
    TRY_RETURN(append_ended_text(key, C_CODE_W_SCOPE, code));
    return append_fields(key, scope, true, depth);
}

static err_t
append_value(struct buf *key, const struct bsonvalue *value, unsigned depth)
{
    uint8_t low, high;

    switch (bsonorder_class(value->type)) {
    case BSONORDER_NUMBER:
        return append_number(key, value);
    case BSONORDER_STRING:
        return append_ended_text(key, C_STRING, bsonvalue_string(value));
    case BSONORDER_DOCUMENT:
        TRY_RETURN(buf_append_byte(key, C_DOCUMENT));
        return append_fields(key, value->raw, true, depth);
    case BSONORDER_ARRAY:
        TRY_RETURN(buf_append_byte(key, C_ARRAY));
        return append_fields(key, value->raw, false, depth);
    case BSONORDER_BINARY:
        return append_binary(key, value);
    case BSONORDER_OBJECTID:
        return append_sized(key, C_OBJECTID, value->raw.data, 12);
    case BSONORDER_BOOL:
        return buf_append_byte(key, bsonvalue_bool(value) ? C_TRUE : C_FALSE);
    case BSONORDER_DATE:
        return append_u64(key, C_DATE, (uint64_t)bsonvalue_int64(value) ^ 1ull << 63);
    case BSONORDER_TIMESTAMP:
        return append_u64(key, C_TIMESTAMP, bsonvalue_timestamp(value));
    case BSONORDER_REGEX:
        return append_regex(key, value);
    case BSONORDER_DBPOINTER:
        return append_dbpointer(key, value);
    case BSONORDER_CODE:
        return append_ended_text(key, C_CODE, bsonvalue_string(value));
    case BSONORDER_CODE_W_SCOPE:
        return append_code_w_scope(key, value, depth);
    default:
        class_range(value->type, &low, &high);
        return buf_append_byte(key, low);
    }
}

/* The component is complete (or failed): turn it round if it descends. */
static err_t
finish(struct buf *key, size_t start, bool descending, err_t err)
{
    if (err != OK)
        key->size = start;
    else if (descending)
        invert(key->data + start, key->data + key->size);
    return err;
}

err_t
keystring_append(struct buf *key, const struct bsonvalue *value, bool descending)
{
    size_t start = key->size;

    return finish(key, start, descending, append_value(key, value, 0));
}

err_t
keystring_append_class_low(struct buf *key, uint8_t type, bool descending)
{
    uint8_t low, high;

    class_range(type, &low, &high);
    return buf_append_byte(key, descending ? (uint8_t)~high : low);
}

err_t
keystring_append_class_high(struct buf *key, uint8_t type, bool descending)
{
    uint8_t low, high;

    class_range(type, &low, &high);
    return buf_append_byte(key, (uint8_t)((descending ? (uint8_t)~low : high) + 1));
}

err_t
keystring_append_string_prefix(struct buf *key, struct bytes prefix, bool descending)
{
    size_t start = key->size;

    return finish(key, start, descending, append_text(key, C_STRING, prefix));
}

void
keystring_successor(struct buf *key)
{
    while (key->size > 0 && key->data[key->size - 1] == 0xff)
        key->size--;
    if (key->size > 0)
        key->data[key->size - 1]++;
}
