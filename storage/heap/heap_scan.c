/*
 * heap_scan.c - reading all rows, page by page.
 *
 * Each page is copied into private memory in one piece; which rows of it are seen is decided for
 * the whole page at once, into an array; rows are handed out from the copy.  So nothing shared is
 * held between calls, and a cursor may rest for an hour.  The next page's bytes are prefetched a
 * few lines with each row: half of a scan's time was waiting for them in one piece.
 *
 * INVARIANTS
 *   S1  The rows of page b are handed out in order of root item, and pages in order of block: a
 *       root is a position (heap_scan_seek).
 *   S2  Pages added after the scan began hold nothing that its snapshot sees; scans of `any` kind
 *       end where the file ended when they began: who builds an index sees to it that later rows
 *       are put in by their writers.
 *
 * IF A PROCESS DIES: a scan holds nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "shmem/interrupt.h"
#include "storage/heap/heap.h"
#include "storage/heap/heappage.h"
#include "storage/heap/overflow.h"
#include "storage/heap/visible.h"
#include "storage/page/datafile.h"
#include "storage/page/pool.h"

#define PREFETCH 16u /* blocks read ahead */
#define LINE     64u

struct seen {
    uint16_t root;
    uint16_t version;
};

struct heap_scan {
    struct heap heap;
    struct snapshot snapshot;
    bool any; /* newest versions, whoever made them */
    enum pool_use use;
    block_t block, blocks; /* the page in `page`, or the next to be read; where it ends */
    bool loaded;
    unsigned next, count; /* of seen[] */
    const uint8_t *ahead; /* the next page's bytes that are yet to be prefetched … */
    size_t ahead_size;    /* … and how many; 0: none, or the page is not in the pool */
    size_t ahead_step;    /* how many with each row, so that all are there when they are wanted */
    csn_t horizon;        /* any: what is dead to all */
    struct visible_memory memory;
    struct buf row; /* of rows that are not on their page as they are */
    struct seen seen[HEAPPAGE_ITEMS_MAX];
    _Alignas(8) uint8_t page[];
};

static err_t
begin(const struct heap *heap, struct heap_scan **scan)
{
    block_t blocks;
    struct heap_scan *new;

    TRY_RETURN(datafile_blocks(heap->file, &blocks));
    new = malloc(sizeof *new + wal_page_size);
    if (new == NULL)
        return err_set(ERR_MEMORY, "could not begin a scan: no memory for %zu bytes",
            sizeof *new + wal_page_size);
    memset(new, 0, offsetof(struct heap_scan, seen));
    new->heap = *heap;
    new->blocks = blocks;
    new->use = blocks > pool_buffers() / 4 ? POOL_SCAN : POOL_NORMAL;
    new->row = buf_init(HEAP_ROW_MAX);
    *scan = new;
    return OK;
}

err_t
heap_scan_begin(struct op *op, const struct heap *heap, const struct snapshot *snapshot,
    struct heap_scan **scan)
{
    (void)op;
    *scan = NULL;
    TRY_RETURN(begin(heap, scan));
    (*scan)->snapshot = *snapshot;
    return OK;
}

err_t
heap_scan_begin_any(struct op *op, const struct heap *heap, struct heap_scan **scan)
{
    (void)op;
    *scan = NULL;
    TRY_RETURN(begin(heap, scan));
    (*scan)->any = true;
    (*scan)->horizon = snapshot_horizon(false);
    return OK;
}

void
heap_scan_end(struct heap_scan *scan)
{
    if (scan == NULL)
        return;
    buf_fini(&scan->row);
    free(scan);
}

static void
note_seen(struct heap_scan *scan, unsigned root, unsigned version)
{
    scan->seen[scan->count++] = (struct seen){ (uint16_t)root, (uint16_t)version };
}

/* The version of one chain that the snapshot sees. */
static err_t
look_seen(struct heap_scan *scan, unsigned root)
{
    unsigned steps = heappage_count(scan->page);

    for (unsigned n = heappage_first(scan->page, root); n != 0 && steps > 0; steps--) {
        const struct heappage_row *row = heappage_row(scan->page, n, NULL);
        enum visible_answer answer = visible_quick(&scan->snapshot, row, row->flags);
        bool sees = answer == VISIBLE_YES;

        if (answer == VISIBLE_ASK)
            TRY_RETURN(visible_ask(&scan->snapshot, row, &scan->memory, &sees, NULL));
        if (sees) {
            note_seen(scan, root, n);
            return OK;
        }
        n = heappage_next(scan->page, n);
    }
    return OK;
}

/* The newest version of one chain that did not fail and is not dead to all. */
static err_t
look_any(struct heap_scan *scan, unsigned root)
{
    unsigned steps = heappage_count(scan->page), best = 0;

    for (unsigned n = heappage_first(scan->page, root); n != 0 && steps > 0; steps--) {
        struct visible_rest rest;

        TRY_RETURN(visible_rest(heappage_row(scan->page, n, NULL), scan->horizon, false, &rest));
        if (!rest.dead)
            best = n;
        if (rest.failed)
            break;
        n = heappage_next(scan->page, n);
    }
    if (best != 0)
        note_seen(scan, root, best);
    return OK;
}

/* The bytes of the next page come while the rows of this one are handed out. */
static void
look_ahead(struct heap_scan *scan)
{
    const uint8_t *next = NULL;

    if (scan->count > 0 && scan->block + 1 < scan->blocks)
        next = pool_glimpse((struct page_id){ scan->heap.file, scan->block + 1 });
    scan->ahead = next;
    scan->ahead_size = next != NULL ? wal_page_size : 0;
    scan->ahead_step = scan->count > 0 ? wal_page_size / scan->count + LINE : 0;
}

static inline void
fetch_ahead(struct heap_scan *scan)
{
    size_t size = scan->ahead_size < scan->ahead_step ? scan->ahead_size : scan->ahead_step;

    for (size_t at = 0; at < size; at += LINE)
        __builtin_prefetch(scan->ahead + at);
    scan->ahead += size;
    scan->ahead_size -= size;
}

static err_t
load_page(struct heap_scan *scan)
{
    const struct page_header *header = (const struct page_header *)scan->page;
    unsigned count;

    scan->count = scan->next = 0;
    scan->ahead_size = 0;
    if (scan->use == POOL_SCAN && scan->block % PREFETCH == 0)
        for (block_t b = scan->block + 1; b <= scan->block + PREFETCH && b < scan->blocks; b++)
            pool_prefetch((struct page_id){ scan->heap.file, b });
    TRY_RETURN(pool_copy((struct page_id){ scan->heap.file, scan->block }, scan->use, scan->page));
    scan->loaded = true;
    if (header->kind != PAGE_HEAP)
        return OK;
    count = heappage_count(scan->page);
    for (unsigned n = 1; n <= count; n++) {
        if (!scan->any && (header->flags & HEAPPAGE_ALL_FROZEN) != 0) {
            if (heappage_row(scan->page, n, NULL) != NULL)
                note_seen(scan, n, n);
            continue;
        }
        if (scan->any)
            TRY_RETURN(look_any(scan, n));
        else
            TRY_RETURN(look_seen(scan, n));
    }
    look_ahead(scan);
    return OK;
}

/* A row of a scan of `any` kind whose overflow chain is gone: was the version removed meanwhile, as
   it may be if its maker failed, or is the chain damaged? */
static err_t
still_there(struct heap_scan *scan, const struct heappage_row *row, unsigned item, bool *there)
{
    _Alignas(8) uint8_t page[PAGE_SIZE_MAX];
    const struct heappage_row *now;

    TRY_RETURN(pool_copy((struct page_id){ scan->heap.file, scan->block }, scan->use, page));
    now = heappage_row(page, item, NULL);
    *there = now != NULL && now->xmin == row->xmin &&
             memcmp(now->data, row->data, sizeof(struct heappage_overflow)) == 0;
    return OK;
}

static err_t
hand_out(struct heap_scan *scan, struct seen seen, struct bytes *row, bool *found)
{
    struct row_id place = { scan->block, seen.version };
    unsigned length, flags;
    const struct heappage_row *version = heappage_row(scan->page, seen.version, &length);
    bool there = true;

    if (version == NULL)
        return overflow_damaged(&scan->heap, place);
    *row = (struct bytes){ version->data, length - sizeof *version };
    *found = true;
    flags = version->flags;
    if ((flags & (HEAPPAGE_OVERFLOW | HEAPPAGE_COMPRESSED)) == 0)
        return OK;
    buf_shrink(&scan->row, 1u << 20);
    buf_clear(&scan->row);
    TRY_RETURN(overflow_read(&scan->heap, version->xmin, flags, *row, &scan->row, found));
    *row = buf_bytes(&scan->row);
    if (*found)
        return OK;
    if (scan->any)
        TRY_RETURN(still_there(scan, version, seen.version, &there));
    return there ? overflow_damaged(&scan->heap, place) : OK;
}

err_t
heap_scan_next(struct op *op, struct heap_scan *scan, struct bytes *row, struct row_id *root,
    struct row_id *version, bool *found)
{
    *found = false;
    while (!*found) {
        while (!scan->loaded || scan->next == scan->count) {
            if (scan->loaded) {
                scan->block++;
                scan->loaded = false;
            }
            if (scan->block >= scan->blocks)
                return OK;
            TRY_RETURN(interrupt_check(op));
            TRY_RETURN(load_page(scan));
        }

        struct seen seen = scan->seen[scan->next++];

        if (scan->ahead_size > 0)
            fetch_ahead(scan);
        *root = (struct row_id){ scan->block, seen.root };
        if (version != NULL)
            *version = (struct row_id){ scan->block, seen.version };
        *found = true;
        if (row != NULL)
            TRY_RETURN(hand_out(scan, seen, row, found));
    }
    return OK;
}

/* The roots of one page, when a scan is taken up in the middle of it. */
static void
skip_seen(struct heap_scan *scan, uint16_t item)
{
    while (scan->next < scan->count && scan->seen[scan->next].root <= item)
        scan->next++;
}

void
heap_scan_seek(struct heap_scan *scan, struct row_id root)
{
    scan->loaded = false;
    scan->block = root.block == BLOCK_NONE ? 0 : root.block;
    if (root.block == BLOCK_NONE || root.block >= scan->blocks)
        return;
    /* A page that cannot be read is told by the next call, which reads it again. */
    if (load_page(scan) == OK)
        skip_seen(scan, root.item);
    else
        scan->loaded = false;
}
