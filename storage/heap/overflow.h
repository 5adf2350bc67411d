/*
 * overflow.h - rows too large for a page: chains of pages of the heap's own file.
 *
 *    0  page_header  24 bytes; lower: end of the part
 *   24  xid           8  who wrote the chain
 *   32  next          4  block of the next part; BLOCK_NONE: this is the last
 *   36  last          4  block of the last part: with xid, the chain's name
 *   40  part          4  number of this part, from 0
 *   44  size          4  bytes of it
 *   48  bytes
 *
 * Parts are written from the last to the first, so that each knows the next; all are in the log
 * before the row that points to them.  Locks: one page at a time (RANK_PAGE), none of the heap's
 * held.
 */
#ifndef STORAGE_HEAP_OVERFLOW_H
#define STORAGE_HEAP_OVERFLOW_H

#include <stdbool.h>

#include "base/buf.h"
#include "storage/heap/heap.h"
#include "storage/heap/heappage.h"

struct overflow_page {
    struct page_header header;
    xid_t xid;
    block_t next;
    block_t last;
    uint32_t part;
    uint32_t size;
    uint8_t data[];
};
_Static_assert(sizeof(struct overflow_page) == 48, "on disk, without holes");

/* The form in which a row goes onto its page. */
struct overflow_form {
    struct bytes data; /* what follows the row's head */
    uint16_t flags;    /* HEAPPAGE_OVERFLOW, HEAPPAGE_COMPRESSED */
    struct heappage_overflow pointer;
    void *memory;
};

/* Whether a row of this size goes onto its page as it is. */
static inline bool
overflow_inline(size_t size)
{
    return size <= wal_page_size / 4u;
}

/* Bring a row into its form: as it is, compressed, or in a chain, which is written and logged now.
   Errors: ERR_TOO_LARGE, ERR_MEMORY, ERR_DISK_FULL, ERR_IO: nothing is kept. */
err_t overflow_prepare(
    const struct heap *heap, xid_t xid, struct bytes row, struct overflow_form *form) MUST_CHECK;
/* Free the form's memory. */
void overflow_release(struct overflow_form *form);
/* The row was not put in after all: give the chain's pages back too. */
void overflow_withdraw(const struct heap *heap, xid_t xid, struct overflow_form *form);

/* Append the row in this form to `out`.  *found = false: the chain is not there (any more), or is
   not this row's: who reads without a snapshot looks again; for others it is damage
   (overflow_damaged). Errors: ERR_CORRUPT (does not unpack), ERR_IO, ERR_MEMORY. */
err_t overflow_read(const struct heap *heap, xid_t xid, unsigned flags, struct bytes data,
    struct buf *out, bool *found) MUST_CHECK;
err_t overflow_damaged(const struct heap *heap, struct row_id place);

/* A chain to be given back. */
struct overflow_chain {
    xid_t xid;
    block_t first;
    block_t last;
};
/* Give back its pages, as far as they are its own: a second call, or one after somebody else did
   it, harms nothing. Errors: the rest is left for vacuum's sweep. */
err_t overflow_free(const struct heap *heap, const struct overflow_chain *chain) MUST_CHECK;
/* Give back one page if it still belongs to the chain (xid, last). */
err_t overflow_free_page(const struct heap *heap, block_t block, xid_t xid, block_t last,
    block_t *next, bool *freed) MUST_CHECK;

/* Make the page this part (also redo).  False: the part is too large for a page. */
struct heaplog_overflow;
bool overflow_make(void *page, xid_t xid, const struct heaplog_overflow *head, const uint8_t *data);
/* Whether the page is a part that may be read: kind and bounds. */
bool overflow_part_fits(const void *page);

#endif
