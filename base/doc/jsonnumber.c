/*
 * jsonnumber.c - numbers of JSON texts.
 */
#include "base/doc/jsonnumber.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_TEXT_MAX 128

static const char unfinished[] = "EOF while parsing a value";
static const char invalid[] = "invalid number";

static bool
is_digit(const uint8_t *at, const uint8_t *end)
{
    return at < end && *at >= '0' && *at <= '9';
}

static void
take_digit(struct jsonnumber *number, unsigned digit, bool fraction)
{
    if (number->digits < 19) {
        number->mantissa = number->mantissa * 10 + digit;
        number->digits += number->digits > 0 || digit > 0;
        number->fraction += fraction;
    } else {
        number->cut |= digit > 0;
        number->dropped += !fraction;
    }
}

static const char *
scan_whole(struct jsonnumber *number, const uint8_t **at, const uint8_t *end)
{
    if (number->negative) {
        ++*at;
        if (*at == end)
            return unfinished;
        if (!is_digit(*at, end))
            return invalid;
    }
    if (**at == '0') {
        ++*at;
        return is_digit(*at, end) ? invalid : NULL;
    }
    for (; is_digit(*at, end); ++*at)
        take_digit(number, (unsigned)(**at - '0'), false);
    return NULL;
}

static const char *
scan_fraction(struct jsonnumber *number, const uint8_t **at, const uint8_t *end)
{
    ++*at;
    if (*at == end)
        return unfinished;
    if (!is_digit(*at, end))
        return invalid;
    for (; is_digit(*at, end); ++*at)
        take_digit(number, (unsigned)(**at - '0'), true);
    return NULL;
}

static const char *
scan_exponent(struct jsonnumber *number, const uint8_t **at, const uint8_t *end)
{
    int exponent = 0;
    bool negative = false;

    ++*at;
    if (*at < end && (**at == '+' || **at == '-'))
        negative = *(*at)++ == '-';
    if (*at == end)
        return unfinished;
    if (!is_digit(*at, end))
        return invalid;
    for (; is_digit(*at, end); ++*at)
        if (exponent < 100000000)
            exponent = exponent * 10 + (**at - '0');
    number->exponent = negative ? -exponent : exponent;
    return NULL;
}

const char *
jsonnumber_scan(struct jsonnumber *number, const uint8_t **at, const uint8_t *end)
{
    const char *reason;

    *number = (struct jsonnumber){ .text = *at, .negative = **at == '-', .whole = true };
    reason = scan_whole(number, at, end);
    if (reason == NULL && *at < end && **at == '.') {
        number->whole = false;
        reason = scan_fraction(number, at, end);
    }
    if (reason == NULL && *at < end && (**at | 0x20) == 'e') {
        number->whole = false;
        reason = scan_exponent(number, at, end);
    }
    number->text_end = *at;
    return reason;
}

/* By the C library, in the C locale, for what is not exact in one step. */
static err_t
slow_double(const struct jsonnumber *number, double *value)
{
    static _Thread_local locale_t plain;
    size_t size = (size_t)(number->text_end - number->text);
    char few[NUMBER_TEXT_MAX], *text = few;

    if (plain == (locale_t)0)
        plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (size >= sizeof few)
        text = malloc(size + 1);
    if (text == NULL || plain == (locale_t)0) {
        free(text == few ? NULL : text);
        return err_set(ERR_MEMORY, "could not allocate %zu bytes for a number", size);
    }
    memcpy(text, number->text, size);
    text[size] = '\0';
    *value = strtod_l(text, NULL, plain);
    if (text != few)
        free(text);
    return OK;
}

/* A mantissa below 2^53 and a power up to 10^22 are exact, so one division or multiplication
   rounds correctly (W. D. Clinger's fast path). */
err_t
jsonnumber_double(const struct jsonnumber *number, double *value)
{
    static const double power[] = { 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
        1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
    int exponent = number->exponent + number->dropped - number->fraction;

    if (number->cut || number->mantissa > 1ull << 53 || exponent < -22 || exponent > 22)
        return slow_double(number, value);
    *value = exponent < 0 ? (double)number->mantissa / power[-exponent]
                          : (double)number->mantissa * power[exponent];
    if (number->negative)
        *value = -*value;
    return OK;
}

/* The int64, if the number is one; -0 is not. */
bool
jsonnumber_int64(const struct jsonnumber *number, int64_t *value)
{
    uint64_t most = (uint64_t)INT64_MAX + number->negative;

    if (!number->whole || number->dropped > 0 || number->mantissa > most ||
        (number->negative && number->mantissa == 0))
        return false;
    *value = (int64_t)(number->negative ? 0 - number->mantissa : number->mantissa);
    return true;
}
