/*
 * arena.c - memory with one lifetime.
 *
 * Chunks are malloced, each twice the size of the one before up to 1 MiB, and kept
 * in a list with the newest first.  Something too large for a chunk gets one of its own.
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/panic.h"

#define CHUNK_FIRST ((size_t)8 << 10)
#define CHUNK_LAST  ((size_t)1 << 20)
#define KEEP_MAX    ((size_t)256 << 10)
#define ALIGNMENT   ((size_t)16)

struct chunk {
    struct chunk *older;
    size_t capacity;
    size_t used;
    size_t pad;
    uint8_t data[];
};
_Static_assert(sizeof(struct chunk) % ALIGNMENT == 0, "data is aligned");

struct arena {
    const char *name;
    struct chunk *newest;
    size_t total; /* bytes handed out, alignment included */
    size_t ceiling;
};

struct arena *
arena_create(const char *name, size_t ceiling)
{
    struct arena *arena = calloc(1, sizeof *arena);

    if (arena == NULL) {
        (void)err_set(ERR_MEMORY, "could not allocate memory for %s", name);
        return NULL;
    }
    arena->name = name;
    arena->ceiling = ceiling;
    return arena;
}

static void
free_chunks_until(struct arena *arena, const struct chunk *last)
{
    while (arena->newest != last) {
        struct chunk *chunk = arena->newest;

        arena->newest = chunk->older;
        free(chunk);
    }
}

void
arena_destroy(struct arena *arena)
{
    if (arena == NULL)
        return;
    free_chunks_until(arena, NULL);
    free(arena);
}

void
arena_set_ceiling(struct arena *arena, size_t ceiling)
{
    arena->ceiling = ceiling;
}

void
arena_reset(struct arena *arena)
{
    struct chunk *oldest = arena->newest;

    arena->total = 0;
    if (oldest == NULL)
        return;
    while (oldest->older != NULL)
        oldest = oldest->older;
    free_chunks_until(arena, oldest);
    oldest->used = 0;
    if (oldest->capacity > KEEP_MAX)
        free_chunks_until(arena, NULL);
}

struct arena_mark
arena_mark(struct arena *arena)
{
    struct chunk *chunk = arena->newest;

    return (struct arena_mark){ chunk, chunk != NULL ? chunk->used : 0, arena->total };
}

void
arena_rewind(struct arena *arena, struct arena_mark mark)
{
    free_chunks_until(arena, mark.chunk);
    if (arena->newest != NULL)
        arena->newest->used = mark.used;
    arena->total = mark.total;
}

static struct chunk *
add_chunk(struct arena *arena, size_t at_least)
{
    size_t capacity = arena->newest != NULL ? arena->newest->capacity * 2 : CHUNK_FIRST;
    struct chunk *chunk;

    if (capacity > CHUNK_LAST)
        capacity = CHUNK_LAST;
    if (capacity < at_least)
        capacity = at_least;
    chunk = malloc(sizeof *chunk + capacity);
    if (chunk == NULL) {
        (void)err_set(ERR_MEMORY, "could not allocate %zu bytes for %s", at_least, arena->name);
        return NULL;
    }
    *chunk = (struct chunk){ .older = arena->newest, .capacity = capacity };
    arena->newest = chunk;
    return chunk;
}

void *
arena_alloc(struct arena *arena, size_t size)
{
    size_t rounded = (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    struct chunk *chunk = arena->newest;
    void *memory;

    if (rounded < size || arena->total > arena->ceiling ||
        rounded > arena->ceiling - arena->total || fault_pass(FAULT_ARENA_TAKE) == FAULT_ERROR) {
        (void)err_set(ERR_MEMORY, "%s needs more than its limit of %zu bytes of memory",
            arena->name, arena->ceiling);
        return NULL;
    }
    if (chunk == NULL || chunk->capacity - chunk->used < rounded) {
        chunk = add_chunk(arena, rounded);
        if (chunk == NULL)
            return NULL;
    }
    memory = chunk->data + chunk->used;
    chunk->used += rounded;
    arena->total += rounded;
    return memory;
}

void *
arena_zalloc(struct arena *arena, size_t size)
{
    void *memory = arena_alloc(arena, size);

    return memory != NULL ? memset(memory, 0, size) : NULL;
}

void *
arena_copy(struct arena *arena, const void *data, size_t size)
{
    void *memory = arena_alloc(arena, size);

    if (memory != NULL && size > 0)
        memcpy(memory, data, size);
    return memory;
}

char *
arena_string(struct arena *arena, struct bytes text)
{
    char *memory = arena_alloc(arena, text.size + 1);

    if (memory == NULL)
        return NULL;
    if (text.size > 0)
        memcpy(memory, text.data, text.size);
    memory[text.size] = '\0';
    return memory;
}

char *
arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    char *memory;
    int size;

    va_start(args, format);
    size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    invariant(size >= 0);
    memory = arena_alloc(arena, (size_t)size + 1);
    if (memory == NULL)
        return NULL;
    va_start(args, format);
    (void)vsnprintf(memory, (size_t)size + 1, format, args);
    va_end(args);
    return memory;
}

size_t
arena_used(const struct arena *arena)
{
    return arena->total;
}

size_t
arena_ceiling(const struct arena *arena)
{
    return arena->ceiling;
}
