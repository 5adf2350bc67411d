/*
 * heap_check.c - is every page, chain and overflow chain what it should be?
 *
 * Pages are looked at in private copies, so it runs beside writers.  What a writer may have changed
 * between two copies is looked at again before it is told.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shmem/interrupt.h"
#include "storage/heap/heap.h"
#include "storage/heap/heappage.h"
#include "storage/heap/overflow.h"
#include "storage/heap/visible.h"
#include "storage/page/datafile.h"
#include "storage/page/pool.h"

struct check {
    struct op *op;
    const struct heap *heap;
    void (*report)(void *context, struct page_id where, const char *what);
    void *context;
    uint64_t *rows;
    block_t blocks;
    uint8_t *owned; /* a bit for each block: part of a chain that some row owns */
    uint8_t *page;
    struct buf row;
};

static void
tell(struct check *c, block_t block, unsigned item, const char *what)
{
    char text[256];

    if (item == 0)
        snprintf(text, sizeof text, "%s", what);
    else
        snprintf(text, sizeof text, "item %u: %s", item, what);
    c->report(c->context, (struct page_id){ c->heap->file, block }, text);
}

/* Note the chain's blocks.  NULL: each was a part of it, and of no other row's. */
static err_t
walk_chain(struct check *c, xid_t xid, const struct heappage_overflow *pointer, const char **wrong)
{
    _Alignas(8) uint8_t copy[PAGE_SIZE_MAX];
    const struct overflow_page *part = (const struct overflow_page *)copy;
    block_t block = pointer->first;
    uint32_t done = 0;

    *wrong = NULL;
    for (uint32_t n = 0; done < pointer->stored && *wrong == NULL; n++) {
        if (block >= c->blocks) {
            *wrong = "an overflow chain leads beyond the file";
            return OK;
        }
        TRY_RETURN(pool_copy((struct page_id){ c->heap->file, block }, POOL_SCAN, copy));
        if (!overflow_part_fits(part) || part->xid != xid || part->last != pointer->last ||
            part->part != n || part->size == 0 || part->size > pointer->stored - done)
            *wrong = "an overflow chain leads to a page that is not its own";
        else if ((c->owned[block / 8u] & (1u << (block % 8u))) != 0)
            *wrong = "an overflow page is owned twice";
        else if (done + part->size == pointer->stored && part->next != BLOCK_NONE)
            *wrong = "an overflow chain goes on behind its end";
        else
            c->owned[block / 8u] = (uint8_t)(c->owned[block / 8u] | 1u << (block % 8u));
        done += part->size;
        block = part->next;
    }
    return OK;
}

/* The fault is one only if the version is still there. */
static err_t
still_there(
    struct check *c, block_t block, unsigned item, const struct heappage_row *row, bool *there)
{
    _Alignas(8) uint8_t copy[PAGE_SIZE_MAX];
    const struct heappage_row *now;

    TRY_RETURN(pool_copy((struct page_id){ c->heap->file, block }, POOL_SCAN, copy));
    now = heappage_row(copy, item, NULL);
    *there = now != NULL && now->xmin == row->xmin &&
             memcmp(now->data, row->data, sizeof(struct heappage_overflow)) == 0;
    return OK;
}

static err_t
check_large(
    struct check *c, block_t block, unsigned item, const struct heappage_row *row, unsigned length)
{
    struct heappage_overflow pointer;
    const char *wrong = NULL;
    bool there = true, found;

    if ((row->flags & HEAPPAGE_OVERFLOW) != 0) {
        memcpy(&pointer, row->data, sizeof pointer);
        TRY_RETURN(walk_chain(c, row->xmin, &pointer, &wrong));
        if (wrong != NULL)
            TRY_RETURN(still_there(c, block, item, row, &there));
    }
    if (wrong == NULL && (row->flags & HEAPPAGE_COMPRESSED) != 0) {
        err_t err;

        buf_clear(&c->row);
        err = overflow_read(c->heap, row->xmin, row->flags,
            (struct bytes){ row->data, length - sizeof *row }, &c->row, &found);
        if (err == ERR_CORRUPT)
            wrong = "a compressed row cannot be unpacked";
        else if (err != OK)
            return err;
    }
    if (wrong != NULL && there)
        tell(c, block, item, wrong);
    return OK;
}

/* Whether one chain has a row that lives now. */
static err_t
count_chain(struct check *c, unsigned root)
{
    unsigned steps = heappage_count(c->page);

    for (unsigned n = heappage_first(c->page, root); n != 0 && steps > 0; steps--) {
        const struct heappage_row *row = heappage_row(c->page, n, NULL);
        enum visible_end made, ended;

        TRY_RETURN(visible_made(row, 0, &made));
        if (made != VISIBLE_COMMITTED)
            return OK;
        TRY_RETURN(visible_ended(row, 0, &ended));
        if (ended != VISIBLE_COMMITTED) {
            (*c->rows)++;
            return OK;
        }
        n = heappage_next(c->page, n);
    }
    return OK;
}

static err_t
check_heap_page(struct check *c, block_t block)
{
    unsigned count = heappage_count(c->page), item;
    const char *wrong = heappage_check(c->page, &item);

    if (wrong != NULL) {
        tell(c, block, item, wrong);
        return OK;
    }
    for (unsigned n = 1; n <= count; n++) {
        unsigned length = 0;
        const struct heappage_row *row = heappage_row(c->page, n, &length);
        enum visible_end made;

        TRY_RETURN(count_chain(c, n));
        if (row == NULL || (row->flags & (HEAPPAGE_OVERFLOW | HEAPPAGE_COMPRESSED)) == 0)
            continue;
        TRY_RETURN(visible_made(row, 0, &made));
        if (made != VISIBLE_FAILED) /* those may be on their way out */
            TRY_RETURN(check_large(c, block, n, row, length));
    }
    return OK;
}

static err_t
check_page(struct check *c, block_t block)
{
    const struct page_header *header = (const struct page_header *)c->page;
    err_t err = pool_copy((struct page_id){ c->heap->file, block }, POOL_SCAN, c->page);

    if (err == ERR_CORRUPT) {
        tell(c, block, 0, err_message());
        return OK; /* go on behind damage */
    }
    if (err != OK)
        return err;
    switch (header->kind) {
    case PAGE_ZERO:
        break;
    case PAGE_HEAP:
        err = check_heap_page(c, block);
        break;
    case PAGE_OVERFLOW:
        if (!overflow_part_fits(c->page))
            tell(c, block, 0, "an overflow page whose size or writer is impossible");
        break;
    default:
        tell(c, block, 0, "a page of this kind does not belong into a heap");
        break;
    }
    if (err == ERR_CORRUPT) {
        tell(c, block, 0, err_message());
        err = OK;
    }
    return err;
}

err_t
heap_check(struct op *op, const struct heap *heap,
    void (*report)(void *context, struct page_id where, const char *what), void *context,
    uint64_t *rows)
{
    struct check c = {
        .op = op,
        .heap = heap,
        .report = report,
        .context = context,
        .rows = rows,
        .row = buf_init(HEAP_ROW_MAX),
    };
    err_t err;

    *rows = 0;
    TRY(datafile_blocks(heap->file, &c.blocks));
    c.owned = calloc(1, c.blocks / 8u + 1u);
    c.page = malloc(wal_page_size);
    if (c.owned == NULL || c.page == NULL) {
        err = err_set(ERR_MEMORY, "could not check a heap of %u pages: no memory", c.blocks);
        goto out;
    }
    for (block_t block = 0; block < c.blocks; block++) {
        TRY(interrupt_check(op));
        TRY(check_page(&c, block));
    }
out:
    free(c.owned);
    free(c.page);
    buf_fini(&c.row);
    return err;
}
