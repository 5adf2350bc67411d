/*
 * utf8.h - is it UTF-8?  Strictly: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

bool utf8_valid(struct bytes text);

/* How many bytes from the start are valid UTF-8; text.size if all are. */
size_t utf8_valid_prefix(struct bytes text);

/* Length of the one character that begins at `text` (1 to 4), 0 if none valid does. */
size_t utf8_length(struct bytes text);

/* The character at the start of `text` and its length, 0 if none valid is there. */
size_t utf8_decode(struct bytes text, uint32_t *code_point);

/* Write a code point (not a surrogate, at most 0x10FFFF) as 1 to 4 bytes; the count is returned,
   0 for what is no character. */
size_t utf8_encode(uint32_t code_point, uint8_t bytes[4]);

/* Number of characters of a valid text. */
size_t utf8_count(struct bytes text);

#endif
