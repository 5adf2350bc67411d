/*
 * textspace.h - Unicode's white space in UTF-8, as the text protocol splits words at it.
 *
 * U+0009-000D, 0020, 0085, 00A0, 1680, 2000-200A, 2028, 2029, 202F, 205F, 3000.
 * No locks, no allocation.
 */
#ifndef BASE_WIRE_TEXTSPACE_H
#define BASE_WIRE_TEXTSPACE_H

#include <stddef.h>
#include <stdint.h>

enum textspace_class {
    TEXTSPACE_PLAIN,
    TEXTSPACE_BLANK, /* white space by itself */
    TEXTSPACE_LEAD   /* the first byte of a character that may be */
};

extern const uint8_t textspace_class[256]; /* enum textspace_class of each byte */

/* Size of the white space character of several bytes that begins here; 0: none. */
size_t textspace_wide_size(const uint8_t *at, const uint8_t *end);

/* Size of the white space character that begins here (at < end); 0: none. */
static inline size_t
textspace_size(const uint8_t *at, const uint8_t *end)
{
    uint8_t class = textspace_class[*at];

    if (class == TEXTSPACE_PLAIN)
        return 0;
    return class == TEXTSPACE_BLANK ? 1 : textspace_wide_size(at, end);
}

/* The end of a text without the white space at its end. */
const uint8_t *textspace_trimmed_end(const uint8_t *at, const uint8_t *end);

#endif
