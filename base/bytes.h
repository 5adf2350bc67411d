/*
 * bytes.h - a slice: bytes that somebody else owns.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *data; /* may be NULL only if size is 0 */
    size_t size;
};

/* The bytes of a C string, without its NUL. */
static inline struct bytes
bytes_of(const char *text)
{
    return (struct bytes){ (const uint8_t *)text, strlen(text) };
}

static inline bool
bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool
bytes_is(struct bytes a, const char *text)
{
    return bytes_equal(a, bytes_of(text));
}

/* memcmp order; a prefix comes first. */
static inline int
bytes_compare(struct bytes a, struct bytes b)
{
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter > 0 ? memcmp(a.data, b.data, shorter) : 0;

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

#endif
