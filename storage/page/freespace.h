/*
 * freespace.h - which page of a heap has room.
 *
 * A tree of hints in a file of its own beside the heap's (one byte a page: free bytes / (page size
 * / 256)); not logged, may be wrong: whoever finds it so notes it.  Rebuilt by vacuum.
 */
#ifndef STORAGE_PAGE_FREESPACE_H
#define STORAGE_PAGE_FREESPACE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/types.h"

/* A page of at least `bytes` free, or *block = BLOCK_NONE.  Different processes are led to
 * different pages. */
err_t freespace_find(fileno_t map, size_t bytes, block_t *block) MUST_CHECK;
/* Note what a page has. */
err_t freespace_note(fileno_t map, block_t block, size_t bytes) MUST_CHECK;
/* What the map says. */
err_t freespace_get(fileno_t map, block_t block, size_t *bytes) MUST_CHECK;

#endif
