/*
 * fuzz_filter.c - two BSON documents: a filter and what it is run on.
 */
#include <stdint.h>
#include <string.h>

#include "backend/query/filter.h"
#include "base/doc/bsonwalk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct filter *filter;
    struct bytes first, second;
    struct arena *arena;
    uint32_t length;
    bool matches;

    if (size < 10)
        return 0;
    memcpy(&length, data, sizeof length);
    if (length < 5 || length > size - 5)
        return 0;
    first = (struct bytes){ data, length };
    second = (struct bytes){ data + length, size - length };
    if (bsonwalk_validate(first, NULL) != OK)
        return 0;
    arena = arena_create("fuzz", 16u << 20);
    if (filter_compile(arena, first, &filter) == OK &&
        filter_match(filter, second, &matches) != OK) {
        /* damaged documents are told */
    }
    arena_destroy(arena);
    return 0;
}
