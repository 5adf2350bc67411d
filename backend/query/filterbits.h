/*
 * filterbits.h - $bitsAllSet, $bitsAllClear, $bitsAnySet, $bitsAnyClear.
 */
#ifndef BACKEND_QUERY_FILTERBITS_H
#define BACKEND_QUERY_FILTERBITS_H

#include "base/arena.h"
#include "base/doc/bsonvalue.h"

enum filterbits_test {
    FILTERBITS_ALL_SET,
    FILTERBITS_ALL_CLEAR,
    FILTERBITS_ANY_SET,
    FILTERBITS_ANY_CLEAR
};

/* Bit positions from a mask (a number, bytes) or a list of them; in the arena.  Errors:
   ERR_BAD_VALUE, ERR_FAILED_TO_PARSE, ERR_MEMORY. */
err_t filterbits_parse(struct arena *arena, const struct bsonvalue *value,
    const uint32_t **positions, uint32_t *count) MUST_CHECK;

/* Numbers that are whole are two's complement with their sign going on for ever; bytes are little
   endian and end in zeros; nothing else matches. */
bool filterbits_match(enum filterbits_test test, const uint32_t *positions, uint32_t count,
    const struct bsonvalue *value);

#endif
