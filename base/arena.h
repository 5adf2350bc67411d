/*
 * arena.h - memory with one lifetime.
 *
 * Request code allocates and never frees; the arena is reset when the request is
 * over.  Every arena has a ceiling, so that no request takes the machine.  An
 * arena belongs to one process (thread); no locks.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"

struct arena;

/* Make an arena that will hand out at most `ceiling` bytes.  NULL: out of memory (error set). */
struct arena *arena_create(const char *name, size_t ceiling);
void arena_destroy(struct arena *arena); /* NULL: nothing */
/* From now on; what is handed out stays, should it be more. */
void arena_set_ceiling(struct arena *arena, size_t ceiling);

/* Forget everything handed out; keeps the first chunk (up to 256 KiB) for the next request. */
void arena_reset(struct arena *arena);

/* A place to go back to: everything handed out after arena_mark is forgotten by arena_rewind.
   For loops over many documents.  Marks nest. */
struct arena_mark {
    void *chunk;
    size_t used;
    size_t total;
};
struct arena_mark arena_mark(struct arena *arena);
void arena_rewind(struct arena *arena, struct arena_mark mark);

/* 16-byte aligned, not cleared.  NULL: over the ceiling or out of memory; ERR_MEMORY is set,
   so `return ERR_MEMORY` is right. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((malloc, alloc_size(2)));
void *arena_zalloc(struct arena *arena, size_t size) __attribute__((malloc, alloc_size(2)));

/* Copies; NULL as above.  arena_string adds a NUL. */
void *arena_copy(struct arena *arena, const void *data, size_t size);
char *arena_string(struct arena *arena, struct bytes text);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Bytes handed out now, and the ceiling. */
size_t arena_used(const struct arena *arena);
size_t arena_ceiling(const struct arena *arena);

#endif
