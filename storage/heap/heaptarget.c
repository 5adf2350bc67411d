/*
 * heaptarget.c - finding a page for a new row.
 *
 * Each process fills a page of its own for each heap, so that inserters do not meet.  What is
 * remembered is a hint and no more: the page is looked at under its lock.
 *
 * IF A PROCESS DIES, its last page is known to the free-space map as it was when last noted; vacuum
 * notes it anew.  Nothing else is shared.
 */
#include "storage/heap/heaptarget.h"

#include "storage/heap/heappage.h"
#include "storage/page/datafile.h"
#include "storage/page/freespace.h"

#define REMEMBERED 64u /* heaps; a power of two */

struct last_page {
    fileno_t file;
    block_t block;
};
static _Thread_local struct last_page last_pages[REMEMBERED];

static struct last_page *
remembered(const struct heap *heap)
{
    return &last_pages[heap->file & (REMEMBERED - 1)];
}

bool
heaptarget_room(const void *page, size_t length)
{
    size_t spare = heappage_empty(page) ? 0 : wal_page_size / 16u;

    return heappage_room(page, length + spare);
}

err_t
heaptarget_find(const struct heap *heap, size_t bytes, block_t *block)
{
    block_t count;

    TRY_RETURN(datafile_blocks(heap->file, &count));
    for (;;) {
        TRY_RETURN(freespace_find(heap->map, bytes, block));
        if (*block == BLOCK_NONE || *block < count)
            return OK;
        /* After a crash the map may know more pages than the heap has. */
        TRY_RETURN(freespace_note(heap->map, *block, 0));
    }
}

err_t
heaptarget_pin(const struct heap *heap, size_t length, unsigned attempt, buffer_t *buffer)
{
    struct last_page *last = remembered(heap);
    block_t block = BLOCK_NONE, count;

    TRY_RETURN(datafile_blocks(heap->file, &count));
    if (attempt < HEAPTARGET_NEW) {
        if (last->file == heap->file && last->block < count)
            block = last->block;
        if (block == BLOCK_NONE) {
            size_t want = length + 8 + wal_page_size / 16u;

            if (want > heappage_empty_free())
                want = heappage_empty_free();
            TRY_RETURN(heaptarget_find(heap, want, &block));
        }
    }
    if (block != BLOCK_NONE)
        return pool_pin((struct page_id){ heap->file, block }, POOL_NORMAL, buffer);
    TRY_RETURN(pool_extend(heap->file, POOL_NORMAL, buffer, &block));
    pool_unlock(*buffer); /* pages are locked in order of block, which the caller sees to */
    return OK;
}

err_t
heaptarget_reject(const struct heap *heap, block_t block, size_t left)
{
    struct last_page *last = remembered(heap);

    if (last->file == heap->file && last->block == block)
        *last = (struct last_page){ 0, BLOCK_NONE };
    return freespace_note(heap->map, block, left);
}

void
heaptarget_keep(const struct heap *heap, block_t block)
{
    *remembered(heap) = (struct last_page){ heap->file, block };
}
