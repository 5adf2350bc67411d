/*
 * resp.h - finding the end of a reply of Redis's protocol, which Gneiss's text protocol shares:
 * +text, -error, :number, $size with bytes, *count with that many replies.
 */
#ifndef BENCH_RESP_H
#define BENCH_RESP_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bench/die.h"

static inline size_t
resp_one(const uint8_t *data, size_t size, uint64_t *items, uint64_t *documents)
{
    const uint8_t *end = size < 4 ? NULL : memchr(data, '\n', size);
    size_t line;
    long number;

    if (end == NULL)
        return 0;
    line = (size_t)(end - data) + 1;
    if (data[0] == '-' || (data[0] == '$' && data[1] == '-'))
        die("the server says: %.*s", (int)line, (const char *)data);
    if (data[0] == '+' || data[0] == ':')
        return line;
    number = strtol((const char *)data + 1, NULL, 10);
    if (data[0] == '*') {
        *items += (uint64_t)number;
        return line;
    }
    if (line + (size_t)number + 2 > size)
        return 0;
    *documents += 1;
    return line + (size_t)number + 2;
}

static inline size_t
resp_answer(const uint8_t *data, size_t size, uint64_t *documents)
{
    uint64_t found = 0;
    size_t at = 0;

    for (uint64_t items = 1; items > 0; items--) {
        size_t used = resp_one(data + at, size - at, &items, &found);

        if (used == 0)
            return 0;
        at += used;
    }
    *documents += found;
    return at;
}

#endif
