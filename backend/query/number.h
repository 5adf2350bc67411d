/*
 * number.h - arithmetic as MongoDB's updates do it, over all four types of numbers.
 *
 * int32 grows to int64 when it must; an int64 that overflows is told; with a double the result is a
 * double, with a decimal128 a decimal128 (34 digits, half to even, exponents kept as IEEE 754 wants
 * them).  No locks, no allocation.
 */
#ifndef BACKEND_QUERY_NUMBER_H
#define BACKEND_QUERY_NUMBER_H

#include "base/doc/bsonvalue.h"

/* `room` (16 bytes) keeps the result's payload.  False: an int64 would overflow. */
bool number_add(
    const struct bsonvalue *a, const struct bsonvalue *b, uint8_t *room, struct bsonvalue *sum);
bool number_multiply(
    const struct bsonvalue *a, const struct bsonvalue *b, uint8_t *room, struct bsonvalue *product);

#endif
