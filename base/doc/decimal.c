/*
 * decimal.c - decimal128 taken apart, and compared without losing anything.
 *
 * decimal128 has two encodings on the wire of IEEE 754; BSON uses the binary one (BID): sign,
 * 14 bits of exponent (bias 6176), 113 bits of coefficient.  A coefficient above 10^34 - 1 is
 * not canonical and stands for zero.
 *
 * A decimal and a double are compared by making both whole: C × 10^q against M × 2^p is, with
 * all factors of negative powers on the other side, a comparison of two natural numbers.
 * Decimals far outside the doubles' range are told before, so BIG_WORDS words are enough:
 * the left one has at most 113 + 310 × 3.33 + 1074 bits, the right one 1024 + 364 × 3.33.
 */
#include "base/doc/decimal.h"

#pragma GCC diagnostic push /* libbson's inline functions convert signs */
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include <bson/bson.h>
#pragma GCC diagnostic pop
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"

__extension__ typedef unsigned __int128 u128;

#define BIAS      6176
#define BIG_WORDS 80

/* Above and below these decimal exponents every decimal is beyond all doubles. */
#define EXPONENT_ABOVE 310
#define EXPONENT_BELOW (-330)

static uint64_t
load64(const uint8_t *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return word;
}

/* Digits of a coefficient, without zeros at either end; sets the exponent. */
static void
set_digits(struct decimal *decimal, u128 coefficient, int power)
{
    uint8_t reversed[40] = { 0 };
    int count = 0, zeros = 0;

    while (coefficient > UINT64_MAX) {
        reversed[count++] = (uint8_t)(coefficient % 10);
        coefficient /= 10;
    }
    for (uint64_t rest = (uint64_t)coefficient; rest > 0; rest /= 10)
        reversed[count++] = (uint8_t)(rest % 10);
    while (zeros < count && reversed[zeros] == 0)
        zeros++;
    decimal->count = (uint8_t)(count - zeros);
    decimal->exponent = (int16_t)(count > 0 ? power + count : 0);
    for (int i = 0; i < decimal->count; i++)
        decimal->digit[i] = reversed[count - 1 - i];
}

void
decimal_load(struct decimal *decimal, const uint8_t bytes[16])
{
    uint64_t low = load64(bytes), high = load64(bytes + 8);
    u128 coefficient = (u128)(high & 0x1ffffffffffffu) << 64 | low;
    u128 limit = (u128)10000000000000000000u * 1000000000000000u; /* 10^34 */
    int power = (int)(high >> 49 & 0x3fff) - BIAS;

    decimal->kind = DECIMAL_FINITE;
    decimal->negative = (high >> 63) != 0;
    decimal->count = 0;
    decimal->exponent = 0;
    if ((high >> 58 & 0x1f) == 0x1f)
        decimal->kind = DECIMAL_NAN;
    else if ((high >> 58 & 0x1f) == 0x1e)
        decimal->kind = DECIMAL_INFINITY;
    else if ((high >> 61 & 3) != 3 && coefficient < limit)
        set_digits(decimal, coefficient, power);
}

void
decimal_of_int64(struct decimal *decimal, int64_t number)
{
    decimal->kind = DECIMAL_FINITE;
    decimal->negative = number < 0;
    set_digits(decimal, number < 0 ? 0 - (uint64_t)number : (uint64_t)number, 0);
}

int
decimal_compare_magnitude(const struct decimal *a, const struct decimal *b)
{
    int shorter = a->count < b->count ? a->count : b->count, order;

    if (a->count == 0 || b->count == 0)
        return (a->count > 0) - (b->count > 0);
    if (a->exponent != b->exponent)
        return a->exponent < b->exponent ? -1 : 1;
    order = memcmp(a->digit, b->digit, (size_t)shorter);
    return order != 0 ? order : (a->count > b->count) - (a->count < b->count);
}

/* Natural numbers of a few hundred words, least word first. */
struct big {
    int count;
    uint32_t word[BIG_WORDS];
};

static void
big_multiply_add(struct big *big, uint32_t factor, uint32_t carry)
{
    uint64_t sum = carry;

    for (int i = 0; i < big->count; i++) {
        sum += (uint64_t)big->word[i] * factor;
        big->word[i] = (uint32_t)sum;
        sum >>= 32;
    }
    if (sum > 0) {
        invariant(big->count < BIG_WORDS);
        big->word[big->count++] = (uint32_t)sum;
    }
}

static void
big_times_power_of_ten(struct big *big, int power)
{
    for (; power >= 9; power -= 9)
        big_multiply_add(big, 1000000000u, 0);
    for (; power > 0; power--)
        big_multiply_add(big, 10, 0);
}

static void
big_times_power_of_two(struct big *big, int power)
{
    for (; power >= 31; power -= 31)
        big_multiply_add(big, 1u << 31, 0);
    if (power > 0)
        big_multiply_add(big, 1u << power, 0);
}

static int
big_compare(const struct big *a, const struct big *b)
{
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    for (int i = a->count; i-- > 0;)
        if (a->word[i] != b->word[i])
            return a->word[i] < b->word[i] ? -1 : 1;
    return 0;
}

static void
big_of_u64(struct big *big, uint64_t number)
{
    big->count = 0;
    for (; number > 0; number >>= 32)
        big->word[big->count++] = (uint32_t)number;
}

static uint64_t
double_bits(double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static double
bits_double(uint64_t bits)
{
    double number;

    memcpy(&number, &bits, sizeof number);
    return number;
}

int
decimal_compare_double(const struct decimal *a, double magnitude)
{
    uint64_t bits = double_bits(magnitude);
    uint64_t mantissa = bits & 0xfffffffffffffu;
    int field = (int)(bits >> 52 & 0x7ff);
    int power_of_two = (field > 0 ? field : 1) - 1075;
    int power_of_ten = a->exponent - a->count;
    struct big left = { 0, { 0 } }, right;

    if (a->count == 0 || bits == 0)
        return (a->count > 0) - (bits != 0);
    if (a->exponent > EXPONENT_ABOVE)
        return 1;
    if (a->exponent < EXPONENT_BELOW)
        return -1;
    if (field > 0)
        mantissa |= 1ull << 52;
    for (int i = 0; i < a->count; i++)
        big_multiply_add(&left, 10, a->digit[i]);
    big_of_u64(&right, mantissa);
    big_times_power_of_ten(power_of_ten > 0 ? &left : &right, abs(power_of_ten));
    big_times_power_of_two(power_of_two > 0 ? &right : &left, abs(power_of_two));
    return big_compare(&left, &right);
}

/* The magnitude rounded by strtod; no point is written, so no locale matters. */
static double
near_double(const struct decimal *a)
{
    char text[DECIMAL_DIGITS_MAX + 16];

    if (a->count == 0)
        return 0.0;
    for (int i = 0; i < a->count; i++)
        text[i] = (char)('0' + a->digit[i]);
    (void)snprintf(text + a->count, sizeof text - a->count, "e%d", a->exponent - a->count);
    return strtod(text, NULL);
}

double
decimal_floor_double(const struct decimal *a, bool *exact)
{
    uint64_t bits;
    int order;

    *exact = a->count == 0;
    if (a->count == 0 || a->exponent < EXPONENT_BELOW)
        return 0.0;
    if (a->exponent > EXPONENT_ABOVE)
        return DBL_MAX;
    bits = double_bits(near_double(a));
    if (bits > double_bits(DBL_MAX))
        bits = double_bits(DBL_MAX);
    while ((order = decimal_compare_double(a, bits_double(bits))) < 0)
        bits--;
    *exact = order == 0;
    return bits_double(bits);
}

double
decimal_to_double(const struct decimal *a)
{
    double magnitude;

    if (a->kind == DECIMAL_NAN)
        return bits_double(0x7ff8000000000000u);
    magnitude = a->kind == DECIMAL_INFINITY ? bits_double(0x7ff0000000000000u) : near_double(a);
    return a->negative ? -magnitude : magnitude;
}

bool
decimal_whole(const struct decimal *a, uint64_t *whole, bool *fraction)
{
    uint64_t number = 0;

    *fraction = a->count > a->exponent;
    if (a->exponent > 19)
        return false;
    for (int i = 0; i < a->exponent; i++) {
        unsigned digit = i < a->count ? a->digit[i] : 0;

        if (number > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *whole = number;
    return true;
}

void
decimal_print(const uint8_t bytes[16], char text[DECIMAL_TEXT_MAX])
{
    bson_decimal128_t number = { load64(bytes), load64(bytes + 8) };

    _Static_assert(DECIMAL_TEXT_MAX >= BSON_DECIMAL128_STRING, "libbson's text fits");
    bson_decimal128_to_string(&number, text);
}

bool
decimal_parse(const char *text, int length, uint8_t bytes[16])
{
    bson_decimal128_t number;

    if (!bson_decimal128_from_string_w_len(text, length, &number))
        return false;
    memcpy(bytes, &number.low, 8);
    memcpy(bytes + 8, &number.high, 8);
    return true;
}
