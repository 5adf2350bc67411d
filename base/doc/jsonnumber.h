/*
 * jsonnumber.h - numbers of JSON texts: RFC 8259's grammar, int64 exactly, doubles correctly
 * rounded whatever the locale.  No locks.
 */
#ifndef BASE_DOC_JSONNUMBER_H
#define BASE_DOC_JSONNUMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct jsonnumber {
    const uint8_t *text;
    const uint8_t *text_end;
    uint64_t mantissa; /* of the first 19 digits that are not leading zeros */
    unsigned digits;   /* in it */
    int dropped;       /* digits before the point that are not in it */
    int fraction;      /* digits behind the point that are in it */
    int exponent;
    bool negative;
    bool cut;   /* digits that are not zero were dropped */
    bool whole; /* neither fraction nor exponent */
};

/* Read a number; **at is '-' or a digit.  Returns NULL, or why not (static text), with *at on the
   byte that cannot be accepted, or at the end. */
const char *jsonnumber_scan(struct jsonnumber *number, const uint8_t **at, const uint8_t *end);

/* The int64, if the number is one; -0 is not. */
bool jsonnumber_int64(const struct jsonnumber *number, int64_t *value);

/* The nearest double; infinite if it is out of range.  Errors: ERR_MEMORY. */
err_t jsonnumber_double(const struct jsonnumber *number, double *value) MUST_CHECK;

#endif
