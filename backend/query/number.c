/*
 * number.c - arithmetic as MongoDB's updates do it, over all four types of numbers.
 *
 * Decimals are worked on as digits: a coefficient of up to 34 digits, least first, in an array that
 * has room for every intermediate result, and an exponent.  What is longer than 34 digits is
 * rounded half to even.
 *
 * IF A PROCESS DIES: nothing here is shared.
 */
#include "backend/query/number.h"

#include <math.h>
#include <stdio.h>

#include "base/doc/decimal.h"

#define DIGITS  DECIMAL_DIGITS_MAX
#define WORK    (2 * DIGITS + 4)
#define BIAS    6176
#define EXP_MAX 6111
#define EXP_LOW (-6176)

struct operand {
    bool nan, infinite, negative;
    int exponent;
    int count; /* digits in use; 0: zero */
    uint8_t digit[WORK];
};

static void
trim(struct operand *x)
{
    while (x->count > 0 && x->digit[x->count - 1] == 0)
        x->count--;
}

static void
from_whole(struct operand *x, unsigned __int128 whole)
{
    x->count = 0;
    while (whole != 0 && x->count < WORK) {
        x->digit[x->count++] = (uint8_t)(whole % 10);
        whole /= 10;
    }
}

/* BID: sign, 14 bits of exponent and 113 of coefficient; other forms are zero, infinite or NaN. */
static void
load_decimal(struct operand *x, const uint8_t *bytes)
{
    uint64_t low = bsonvalue_load64(bytes), high = bsonvalue_load64(bytes + 8);
    unsigned __int128 whole, most = 1;

    *x = (struct operand){ .negative = (high >> 63) != 0 };
    if ((high & UINT64_C(0x7c00000000000000)) == UINT64_C(0x7c00000000000000)) {
        x->nan = true;
        return;
    }
    if ((high & UINT64_C(0x7800000000000000)) == UINT64_C(0x7800000000000000)) {
        x->infinite = true;
        return;
    }
    if ((high & UINT64_C(0x6000000000000000)) == UINT64_C(0x6000000000000000)) {
        x->exponent = (int)((high >> 47) & 0x3fff) - BIAS;
        return;
    }
    x->exponent = (int)((high >> 49) & 0x3fff) - BIAS;
    whole = ((unsigned __int128)(high & UINT64_C(0x1ffffffffffff)) << 64) | low;
    for (int i = 0; i < DIGITS; i++)
        most *= 10;
    if (whole < most)
        from_whole(x, whole);
}

static void
load_number(struct operand *x, const struct bsonvalue *value)
{
    int64_t whole = 0;
    double real;
    uint8_t bytes[16];
    char text[40];
    int length;

    if (value->type == BSONTYPE_DECIMAL128) {
        load_decimal(x, value->raw.data);
        return;
    }
    *x = (struct operand){ 0 };
    if (value->type == BSONTYPE_DOUBLE) {
        real = bsonvalue_double(value);
        x->negative = signbit(real) != 0;
        x->nan = isnan(real);
        x->infinite = isinf(real);
        if (x->nan || x->infinite)
            return;
        length = snprintf(text, sizeof text, "%.14e", real); /* 15 digits, as MongoDB converts */
        if (decimal_parse(text, length, bytes))
            load_decimal(x, bytes);
        return;
    }
    (void)bsonvalue_to_int64(value, true, &whole);
    x->negative = whole < 0;
    from_whole(x, whole < 0 ? 0 - (uint64_t)whole : (uint64_t)whole);
}

/* Cut the `cut` lowest digits off, half to even. */
static void
round_off(struct operand *x, int cut)
{
    bool more = false, up;
    int half;

    if (cut > x->count) {
        x->count = 0;
        x->exponent += cut;
        return;
    }
    half = x->digit[cut - 1];
    for (int i = 0; i < cut - 1; i++)
        more = more || x->digit[i] != 0;
    x->count -= cut;
    memmove(x->digit, x->digit + cut, (size_t)x->count);
    x->exponent += cut;
    up = half > 5 || (half == 5 && (more || (x->count > 0 && x->digit[0] % 2 == 1)));
    for (int i = 0; up; i++) {
        if (i == x->count)
            x->digit[x->count++] = 0;
        up = x->digit[i] == 9;
        x->digit[i] = up ? 0 : (uint8_t)(x->digit[i] + 1);
    }
}

static void
scale_up(struct operand *x, int by)
{
    memmove(x->digit + by, x->digit, (size_t)x->count);
    memset(x->digit, 0, (size_t)by);
    x->count += x->count > 0 ? by : 0;
    x->exponent -= by;
}

static struct bsonvalue
store(struct operand *x, uint8_t *room)
{
    unsigned __int128 whole = 0;
    uint64_t low, high;

    trim(x);
    if (!x->nan && !x->infinite) {
        if (x->count > DIGITS)
            round_off(x, x->count - DIGITS);
        if (x->count > DIGITS)
            round_off(x, x->count - DIGITS); /* 99…9 became 10…0 */
        if (x->exponent < EXP_LOW)
            round_off(x, EXP_LOW - x->exponent);
        if (x->exponent > EXP_MAX && x->count == 0)
            x->exponent = EXP_MAX;
        if (x->exponent > EXP_MAX && x->count + x->exponent - EXP_MAX <= DIGITS)
            scale_up(x, x->exponent - EXP_MAX);
        x->infinite = x->exponent > EXP_MAX;
    }
    if (x->nan) {
        low = 0;
        high = UINT64_C(0x7c00000000000000);
    } else if (x->infinite) {
        low = 0;
        high = UINT64_C(0x7800000000000000);
    } else {
        for (int i = x->count; i > 0; i--)
            whole = whole * 10 + x->digit[i - 1];
        low = (uint64_t)whole;
        high = (uint64_t)(whole >> 64) | ((uint64_t)(x->exponent + BIAS) << 49);
    }
    if (x->negative && !x->nan)
        high |= UINT64_C(1) << 63;
    memcpy(room, &low, 8);
    memcpy(room + 8, &high, 8);
    return bsonvalue_make(BSONTYPE_DECIMAL128, (struct bytes){ room, 16 });
}

static int
compare_digits(const struct operand *a, const struct operand *b)
{
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    for (int i = a->count; i > 0; i--)
        if (a->digit[i - 1] != b->digit[i - 1])
            return a->digit[i - 1] < b->digit[i - 1] ? -1 : 1;
    return 0;
}

/* Both to one exponent; what lies far below the other's last place is only a trace of itself. */
static void
align(struct operand *a, struct operand *b)
{
    struct operand *large = a->exponent >= b->exponent ? a : b;
    struct operand *small = large == a ? b : a;
    int gap = large->exponent - small->exponent, room = WORK - 2 - large->count;

    if (large->count == 0) {
        large->exponent = small->exponent;
        return;
    }
    if (gap > room) {
        int cut = gap - room;
        bool trace = small->count > 0;

        if (cut >= small->count)
            small->count = 0;
        else
            round_off(small, cut);
        small->exponent = large->exponent - room;
        if (small->count == 0 && trace && large->count < DIGITS + 1) {
            small->digit[0] = 1;
            small->count = 1;
        }
        gap = room;
    }
    scale_up(large, gap);
}

static struct bsonvalue
add_decimals(struct operand *a, struct operand *b, uint8_t *room)
{
    struct operand sum = { .negative = a->negative };
    int carry = 0, least = a->exponent < b->exponent ? a->exponent : b->exponent;
    bool minus = a->negative != b->negative;
    struct operand *swap;

    if (a->nan || b->nan || (a->infinite && b->infinite && minus)) {
        sum.nan = true;
        return store(&sum, room);
    }
    if (a->infinite || b->infinite) {
        sum.infinite = true;
        sum.negative = a->infinite ? a->negative : b->negative;
        return store(&sum, room);
    }
    if (a->count == 0 && b->count == 0) {
        sum.exponent = least;
        sum.negative = a->negative && b->negative;
        return store(&sum, room);
    }
    align(a, b);
    if (compare_digits(a, b) < 0) {
        swap = a;
        a = b;
        b = swap;
    }
    sum.negative = a->negative;
    sum.exponent = a->exponent;
    for (int i = 0; i < a->count || carry != 0; i++) {
        int digit = (i < a->count ? a->digit[i] : 0) + carry;

        digit += i < b->count ? (minus ? -b->digit[i] : b->digit[i]) : 0;
        carry = digit < 0 ? -1 : digit / 10;
        sum.digit[sum.count++] = (uint8_t)(digit - 10 * carry);
    }
    trim(&sum);
    if (sum.count == 0)
        sum.negative = false;
    return store(&sum, room);
}

static struct bsonvalue
multiply_decimals(const struct operand *a, const struct operand *b, uint8_t *room)
{
    struct operand product = { .negative = a->negative != b->negative };

    if (a->nan || b->nan || (a->infinite && !b->infinite && b->count == 0) ||
        (b->infinite && !a->infinite && a->count == 0)) {
        product.nan = true;
        return store(&product, room);
    }
    product.infinite = a->infinite || b->infinite;
    product.exponent = a->exponent + b->exponent;
    for (int i = 0; i < a->count; i++) {
        int carry = 0;

        for (int j = 0; j < b->count || carry != 0; j++) {
            int digit = product.digit[i + j] + carry;

            digit += j < b->count ? a->digit[i] * b->digit[j] : 0;
            product.digit[i + j] = (uint8_t)(digit % 10);
            carry = digit / 10;
        }
    }
    product.count = a->count + b->count;
    return store(&product, room);
}

static struct bsonvalue
of_whole(int64_t whole, bool narrow, uint8_t *room)
{
    if (narrow && whole >= INT32_MIN && whole <= INT32_MAX)
        return bsonvalue_of_int32(room, (int32_t)whole);
    return bsonvalue_of_int64(room, whole);
}

static bool
calculate(const struct bsonvalue *a, const struct bsonvalue *b, bool multiply, uint8_t *room,
    struct bsonvalue *result)
{
    int64_t left = 0, right = 0, whole;

    if (a->type == BSONTYPE_DECIMAL128 || b->type == BSONTYPE_DECIMAL128) {
        struct operand x, y;

        load_number(&x, a);
        load_number(&y, b);
        *result = multiply ? multiply_decimals(&x, &y, room) : add_decimals(&x, &y, room);
        return true;
    }
    if (a->type == BSONTYPE_DOUBLE || b->type == BSONTYPE_DOUBLE) {
        double x = 0, y = 0;

        (void)bsonvalue_to_double(a, &x);
        (void)bsonvalue_to_double(b, &y);
        *result = bsonvalue_of_double(room, multiply ? x * y : x + y);
        return true;
    }
    (void)bsonvalue_to_int64(a, true, &left);
    (void)bsonvalue_to_int64(b, true, &right);
    if (multiply ? __builtin_mul_overflow(left, right, &whole)
                 : __builtin_add_overflow(left, right, &whole))
        return false;
    *result = of_whole(whole, a->type == BSONTYPE_INT32 && b->type == BSONTYPE_INT32, room);
    return true;
}

bool
number_add(
    const struct bsonvalue *a, const struct bsonvalue *b, uint8_t *room, struct bsonvalue *sum)
{
    return calculate(a, b, false, room, sum);
}

bool
number_multiply(
    const struct bsonvalue *a, const struct bsonvalue *b, uint8_t *room, struct bsonvalue *product)
{
    return calculate(a, b, true, room, product);
}
