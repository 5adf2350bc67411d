/*
 * buf.h - bytes that grow.
 *
 * A buf owns malloced memory and has a limit; it is reused from request to request
 * (buf_clear keeps the memory).  No locks: it belongs to one process.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"

struct buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t limit; /* never more than this */
};

/* An empty buf that may grow to `limit` bytes; allocates nothing yet. */
static inline struct buf
buf_init(size_t limit)
{
    return (struct buf){ NULL, 0, 0, limit };
}
void buf_fini(struct buf *buf);

static inline void
buf_clear(struct buf *buf)
{
    buf->size = 0;
}

/* Give memory back when the buf has grown beyond `keep` bytes. */
void buf_shrink(struct buf *buf, size_t keep);
/* The same, but `size` bytes stay reserved: it cannot fail. */
void buf_shrink_to(struct buf *buf, size_t keep, size_t size);

/* buf_reserve, the slow part. */
err_t buf_grow(struct buf *buf, size_t more) MUST_CHECK;

/* Make room for `more` bytes behind `size`.  Errors: ERR_MEMORY. */
static inline err_t buf_reserve(struct buf *buf, size_t more) MUST_CHECK;
static inline err_t
buf_reserve(struct buf *buf, size_t more)
{
    if (__builtin_expect(buf->capacity - buf->size >= more, 1))
        return OK;
    return buf_grow(buf, more);
}

/* All of these fail as buf_reserve does, and then change nothing.  In line: a reply is made of many
   small pieces. */
static inline err_t buf_append(struct buf *buf, const void *data, size_t size) MUST_CHECK;
static inline err_t
buf_append(struct buf *buf, const void *data, size_t size)
{
    TRY_RETURN(buf_reserve(buf, size));
    if (size > 0)
        memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    return OK;
}

static inline err_t buf_append_text(struct buf *buf, const char *text) MUST_CHECK;
static inline err_t
buf_append_text(struct buf *buf, const char *text)
{
    return buf_append(buf, text, strlen(text));
}

static inline err_t buf_append_byte(struct buf *buf, uint8_t byte) MUST_CHECK;
static inline err_t
buf_append_byte(struct buf *buf, uint8_t byte)
{
    TRY_RETURN(buf_reserve(buf, 1));
    buf->data[buf->size++] = byte;
    return OK;
}

err_t buf_printf(struct buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3))) MUST_CHECK;

static inline struct bytes
buf_bytes(const struct buf *buf)
{
    return (struct bytes){ buf->data, buf->size };
}

#endif
