/*
 * hex.h - bytes as hexadecimal digits.
 */
#ifndef BASE_HEX_H
#define BASE_HEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

/* Lower-case digits and a NUL: `text` has room for 2 * data.size + 1. */
void hex_encode(struct bytes data, char *text);

/* Digits of either case into `size` bytes; false: not exactly 2 * size digits. */
bool hex_decode(struct bytes text, void *data, size_t size);

/* The value of one digit; -1: it is none. */
int hex_digit(int character);

#endif
