/*
 * jsonplace.h - where a member stands in a JSON text (the work of
 * jsonparse_locate).  No locks, no errors, no allocation.
 */
#ifndef BASE_DOC_JSONPLACE_H
#define BASE_DOC_JSONPLACE_H

#include "base/bytes.h"

/* For messages about what a text held: where in it the member path[0].path[1]… (at most 8) has
   its value.  The text must be valid JSON.  count: how often the last name stands there (0: not
   there); start and end: byte offsets of the last one's value; with count ≥ 2 second_key_end is
   the offset behind the second one's name.  Slow; for errors only. */
struct jsonparse_place {
    size_t count;
    size_t start;
    size_t end;
    size_t second_key_end;
};
struct jsonparse_place jsonplace_find(struct bytes text, const char *const *path, unsigned parts);

#endif
