/*
 * heaptarget.h - finding a page for a new row.
 */
#ifndef STORAGE_HEAP_HEAPTARGET_H
#define STORAGE_HEAP_HEAPTARGET_H

#include "storage/heap/heap.h"
#include "storage/page/pool.h"

/* Pin a page that probably has room for a row of `length` bytes, head included; the caller locks it
   and looks (heaptarget_room).  First the page where this process last put a row of this heap, then
   what the map says, then a new one.  `attempt` counts from 0; from HEAPTARGET_NEW on: a new one at
   once. */
#define HEAPTARGET_NEW 8u
err_t heaptarget_pin(
    const struct heap *heap, size_t length, unsigned attempt, buffer_t *buffer) MUST_CHECK;

/* A page of the heap of which the map says that it has so much room; BLOCK_NONE: none. */
err_t heaptarget_find(const struct heap *heap, size_t bytes, block_t *block) MUST_CHECK;

/* Whether an insert may use the page: it leaves a little room for later versions of the rows there.
 */
bool heaptarget_room(const void *page, size_t length);

/* It had less room than thought: `left` is what it has (heappage_free, read under its lock; now
   unlocked). The map is told, and the process forgets the page. */
err_t heaptarget_reject(const struct heap *heap, block_t block, size_t left) MUST_CHECK;
/* A row went in here: come back. */
void heaptarget_keep(const struct heap *heap, block_t block);

#endif
