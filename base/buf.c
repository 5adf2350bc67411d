/*
 * buf.c - bytes that grow.
 */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"

#define CAPACITY_FIRST 256

void
buf_fini(struct buf *buf)
{
    free(buf->data);
    *buf = buf_init(buf->limit);
}

void
buf_shrink(struct buf *buf, size_t keep)
{
    if (buf->capacity > keep && buf->size == 0)
        buf_fini(buf);
}

void
buf_shrink_to(struct buf *buf, size_t keep, size_t size)
{
    uint8_t *data;

    if (buf->capacity <= keep || buf->size > 0)
        return;
    data = malloc(size);
    if (data == NULL)
        return; /* what there is will do */
    free(buf->data);
    buf->data = data;
    buf->capacity = size;
}

err_t
buf_grow(struct buf *buf, size_t more)
{
    size_t capacity = buf->capacity > 0 ? buf->capacity : CAPACITY_FIRST;
    uint8_t *data;

    if (more > buf->limit || buf->size > buf->limit - more)
        return err_set(ERR_MEMORY, "more than the limit of %zu bytes", buf->limit);
    while (capacity - buf->size < more)
        capacity *= 2;
    if (capacity > buf->limit)
        capacity = buf->limit;
    data = realloc(buf->data, capacity);
    if (data == NULL)
        return err_set(ERR_MEMORY, "could not allocate %zu bytes", capacity);
    buf->data = data;
    buf->capacity = capacity;
    return OK;
}

err_t
buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    invariant(size >= 0);
    TRY_RETURN(buf_reserve(buf, (size_t)size + 1));
    va_start(args, format);
    (void)vsnprintf((char *)buf->data + buf->size, (size_t)size + 1, format, args);
    va_end(args);
    buf->size += (size_t)size;
    return OK;
}
