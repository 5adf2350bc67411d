/*
 * decimal.h - decimal128 taken apart, and compared without losing anything.
 *
 * No locks, no allocation, no floating-point environment.
 */
#ifndef BASE_DOC_DECIMAL_H
#define BASE_DOC_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

#define DECIMAL_DIGITS_MAX 34

enum decimal_kind { DECIMAL_FINITE, DECIMAL_INFINITY, DECIMAL_NAN };

/* The value is ± 0.d1d2d3… × 10^exponent, d1 and the last digit not 0; zero has no digits. */
struct decimal {
    enum decimal_kind kind;
    bool negative;
    uint8_t count; /* of digits */
    int16_t exponent;
    uint8_t digit[DECIMAL_DIGITS_MAX]; /* 0 … 9 */
};

/* From the 16 bytes that BSON holds. */
void decimal_load(struct decimal *decimal, const uint8_t bytes[16]);
void decimal_of_int64(struct decimal *decimal, int64_t number);

/* By magnitude, both finite. */
int decimal_compare_magnitude(const struct decimal *a, const struct decimal *b);

/* A finite decimal's magnitude against a finite double that is not negative, exactly. */
int decimal_compare_double(const struct decimal *a, double magnitude);

/* The greatest double not above a finite decimal's magnitude; *exact: it is equal. */
double decimal_floor_double(const struct decimal *a, bool *exact);

/* The nearest double, with its sign. */
double decimal_to_double(const struct decimal *a);

/* The integer part of a finite decimal's magnitude if it is below 2^63; *fraction: there is
   more behind the point.  False: too large. */
bool decimal_whole(const struct decimal *a, uint64_t *whole, bool *fraction);

/* The text of the 16 bytes as MongoDB prints it ("1.5E+3", "NaN", …); `room` has 43 bytes. */
#define DECIMAL_TEXT_MAX 43
void decimal_print(const uint8_t bytes[16], char room[DECIMAL_TEXT_MAX]);

/* The 16 bytes of a decimal text.  False: not one. */
bool decimal_parse(const char *text, int length, uint8_t bytes[16]);

#endif
