/*
 * heap_get.c - reading one row by its root.
 *
 * Two ways.  The fast one peeks: it takes no pin and no lock and writes nothing shared.  It reads
 * item and head from a page that may change under it, bounds all it reads, copies, and asks the
 * pool whether the page stayed as it was; only then is anything believed.  Shared cache lines
 * touched: the pool's entry for the page, the buffer's version, the item, the row.  The slow way
 * pins and locks shared; it is gone when the page is not in the pool or keeps changing.
 *
 * INVARIANTS
 *   G1  Nothing read in a peek is used for more than bounded reading and copying before the peek is
 *       valid.
 *   G2  A chain is followed no further than a page has items.
 *   G3  A version that the snapshot sees stays, with its overflow chain, as long as the snapshot is
 *       held: an overflow chain may be read with nothing locked.
 *
 * Rows of one length lie one behind the other from the page's end.  As long as those read were
 * found so, the next one's place is known from its number, and its memory is asked for together
 * with the item's instead of after it.  That is a guess about speed and about nothing else.
 *
 * A root whose row was removed and whose item was given to another row cannot mislead who reads by
 * a snapshot: the other row was made after the snapshot was taken, so it is not seen.
 * heap_get_newest and heap_liveness have no such shield: their callers compare the row they get
 * with the key they came by.
 */
#include <string.h>

#include "base/panic.h"
#include "shmem/interrupt.h"
#include "storage/heap/heap.h"
#include "storage/heap/heappage.h"
#include "storage/heap/overflow.h"
#include "storage/heap/prune.h"
#include "storage/heap/visible.h"
#include "storage/page/datafile.h"
#include "storage/page/pool.h"

#define PEEKS       3u
#define LONG_CHAIN  4u /* versions passed that make a reader prune */
#define ROW_ON_PAGE (PAGE_SIZE_MAX / 4u + 64u)

/* One read: what is asked, and what was found. */
struct get {
    const struct heap *heap;
    const struct snapshot *snapshot;
    struct row_id root;
    struct buf *out; /* NULL: only whether it is there */
    size_t out_begin;
    bool found;
    struct row_id version;
    xid_t xmin;
    unsigned flags;
    unsigned hints, passed; /* flags worth setting on the version; versions passed on the way */
    struct heappage_overflow pointer;
};

enum peeked { PEEK_DONE, PEEK_AGAIN };

/* The head of item n of a page that may be changing: bounded, copied, not yet believed. */
static inline bool
peek_item(const uint8_t *page, unsigned n, uint32_t *item)
{
    if (n == 0 || n > (wal_page_size - HEAPPAGE_START) / 4u)
        return false;
    memcpy(item, page + HEAPPAGE_START + (n - 1) * 4u, sizeof *item);
    return true;
}

/* Whether the item lies within the array as it is now. */
static inline bool
peek_kind(const uint8_t *page, unsigned n)
{
    struct page_header header;

    memcpy(&header, page, sizeof header);
    return header.kind == PAGE_HEAP && header.lower >= HEAPPAGE_START &&
           n <= (header.lower - HEAPPAGE_START) / 4u;
}

/* How far rows lie apart where all have one length, from the page's end on; 0: the last one read
   did not lie so. */
static _Thread_local unsigned stride;

/* Fetch the row before its item has told where it is.  (Always inline: GCC takes a function that
   only prefetches for one that does nothing.) */
static inline __attribute__((always_inline)) void
foretell(const uint8_t *page, unsigned n)
{
    unsigned back = n * stride;

    if (back - 1 < wal_page_size) {
        __builtin_prefetch(page + wal_page_size - back);
        __builtin_prefetch(page + wal_page_size - back + 64);
    }
}

static inline void
learn(unsigned n, uint32_t item)
{
    unsigned length = (unsigned)HEAPPAGE_ALIGN(heappage_item_length(item));

    stride = heappage_item_offset(item) + n * length == wal_page_size ? length : 0;
}

/* Copy what the row holds behind what `out` has. */
static err_t
peek_bytes(struct get *get, const struct pool_peek *peek, uint32_t item, unsigned flags)
{
    size_t size = heappage_item_length(item) - sizeof(struct heappage_row);
    const uint8_t *data = peek->page + heappage_item_offset(item) + sizeof(struct heappage_row);

    if (get->out == NULL)
        return OK;
    if ((flags & HEAPPAGE_OVERFLOW) != 0) {
        if (size == sizeof get->pointer)
            memcpy(&get->pointer, data, sizeof get->pointer);
        return OK;
    }
    if (get->out->capacity - get->out->size < size)
        TRY_RETURN(buf_reserve(get->out, size));
    memcpy(get->out->data + get->out->size, data, size);
    get->out->size += size;
    return OK;
}

/* Follow the chain from `n` while peeking.  *again: the page changed. */
static err_t
peek_chain(struct get *get, const struct pool_peek *peek, unsigned n, uint32_t item, bool *again)
{
    unsigned most = (wal_page_size - HEAPPAGE_START) / 36u;
    xid_t made_by = 0; /* what the next version's xmin must be; 0: anything */

    *again = false;
    for (unsigned steps = 0; steps < most; steps++) {
        struct heappage_row head;
        enum visible_answer answer;
        bool sees;

        if (heappage_item_state(item) != HEAPPAGE_NORMAL || !heappage_item_fits(item))
            goto end;
        memcpy(&head, peek->page + heappage_item_offset(item), sizeof head);
        if (made_by != 0 && head.xmin != made_by) /* H3 */
            goto end;
        get->hints = 0;
        answer = visible_quick(get->snapshot, &head, head.flags);
        sees = answer == VISIBLE_YES;
        if (answer == VISIBLE_ASK) {
            if ((*again = !pool_peek_valid(peek))) /* G1: no strange xid is asked for */
                return OK;
            TRY_RETURN(visible_ask(get->snapshot, &head, NULL, &sees, &get->hints));
        }
        if (sees) {
            TRY_RETURN(peek_bytes(get, peek, item, head.flags));
            learn(n, item);
            get->found = true;
            get->version = (struct row_id){ get->root.block, (uint16_t)n };
            get->xmin = head.xmin;
            get->flags = head.flags;
            goto end;
        }
        if ((head.flags & HEAPPAGE_HOT_UPDATED) == 0 || head.xmax == 0)
            goto end;
        made_by = head.xmax;
        n = head.next_item;
        get->passed++;
        if (!peek_kind(peek->page, n) || !peek_item(peek->page, n, &item))
            goto end;
    }
end:
    *again = !pool_peek_valid(peek);
    return OK;
}

/* The root's row, by a peek at its page. */
static err_t
peek_row(struct get *get, const struct pool_peek *peek, enum peeked *answer)
{
    unsigned n = get->root.item;
    uint32_t item;
    bool again;

    *answer = PEEK_DONE;
    if (!peek_kind(peek->page, n) || !peek_item(peek->page, n, &item)) {
        *answer = pool_peek_valid(peek) ? PEEK_DONE : PEEK_AGAIN;
        return OK;
    }
    if (heappage_item_state(item) == HEAPPAGE_REDIRECT) {
        n = heappage_item_offset(item);
        if (!peek_kind(peek->page, n) || !peek_item(peek->page, n, &item)) {
            *answer = pool_peek_valid(peek) ? PEEK_DONE : PEEK_AGAIN;
            return OK;
        }
    }
    TRY_RETURN(peek_chain(get, peek, n, item, &again));
    *answer = again ? PEEK_AGAIN : PEEK_DONE;
    return OK;
}

/* The version the snapshot sees, on a locked page; hints are set on the way. */
static err_t
look_locked(struct get *get, const void *page)
{
    unsigned n = heappage_first(page, get->root.item), steps = heappage_count(page);

    for (; n != 0 && steps > 0; steps--) { /* G2 */
        unsigned length, hints;
        struct heappage_row *row = heappage_row(page, n, &length);
        bool sees;

        if (row == NULL)
            return OK;
        TRY_RETURN(visible_ask(get->snapshot, row, NULL, &sees, &hints));
        if (hints != 0)
            heappage_hint(row, hints);
        if (sees) {
            get->found = true;
            get->version = (struct row_id){ get->root.block, (uint16_t)n };
            get->xmin = row->xmin;
            get->flags = heappage_flags(row);
            if (get->out == NULL)
                return OK;
            if ((get->flags & HEAPPAGE_OVERFLOW) == 0)
                return buf_append(get->out, row->data, length - sizeof *row);
            if (length == sizeof *row + sizeof get->pointer)
                memcpy(&get->pointer, row->data, sizeof get->pointer);
            return OK;
        }
        get->passed++;
        n = heappage_next(page, n);
    }
    return OK;
}

static err_t
get_locked(struct get *get)
{
    buffer_t buffer;
    err_t err;

    TRY_RETURN(
        pool_pin((struct page_id){ get->heap->file, get->root.block }, POOL_NORMAL, &buffer));
    pool_lock(buffer, LW_SHARED);
    err = look_locked(get, pool_page(buffer));
    pool_unlock(buffer);
    pool_unpin(buffer);
    return err;
}

/* Note on the page what was found out, so that the next reader need not ask. */
static void
leave_hints(const struct get *get)
{
    struct heappage_row *row;
    buffer_t buffer;

    if (pool_pin((struct page_id){ get->heap->file, get->root.block }, POOL_NORMAL, &buffer) != OK)
        return;
    if (pool_try_lock(buffer, LW_SHARED)) {
        row = heappage_row(pool_page(buffer), get->version.item, NULL);
        /* An xmax set meanwhile is not the one that was asked about. */
        if (row != NULL && row->xmin == get->xmin) {
            unsigned made = get->hints & (HEAPPAGE_XMIN_COMMITTED | HEAPPAGE_XMIN_ABORTED);

            if (made != 0)
                heappage_hint(row, made);
        }
        pool_unlock(buffer);
    }
    pool_unpin(buffer);
}

/* What was copied is the row itself, unless it was packed or lies elsewhere. */
static err_t
finish(struct get *get)
{
    uint8_t packed[ROW_ON_PAGE];
    struct bytes data = { (const uint8_t *)&get->pointer, sizeof get->pointer };
    bool found;

    if (get->out == NULL || (get->flags & (HEAPPAGE_OVERFLOW | HEAPPAGE_COMPRESSED)) == 0)
        return OK;
    if ((get->flags & HEAPPAGE_OVERFLOW) == 0) {
        data = (struct bytes){ packed, get->out->size - get->out_begin };
        if (data.size > sizeof packed)
            return overflow_damaged(get->heap, get->version);
        memcpy(packed, get->out->data + get->out_begin, data.size);
        get->out->size = get->out_begin;
    }
    TRY_RETURN(overflow_read(get->heap, get->xmin, get->flags, data, get->out, &found));
    return found ? OK : overflow_damaged(get->heap, get->version); /* G3 */
}

static void
forget_attempt(struct get *get)
{
    get->found = false;
    get->hints = get->passed = get->flags = 0;
    if (get->out != NULL)
        get->out->size = get->out_begin;
}

static struct page_id
page_of(const struct get *get)
{
    return (struct page_id){ get->heap->file, get->root.block };
}

/* All the ways to the row; `peek` is the first look at its page, if `peeked`. */
static inline err_t
read_row(struct get *get, struct pool_peek *peek, bool peeked)
{
    enum peeked answer = PEEK_AGAIN;

    for (unsigned i = 0; i < PEEKS && peeked && answer == PEEK_AGAIN; i++) {
        forget_attempt(get);
        TRY_RETURN(peek_row(get, peek, &answer));
        if (answer == PEEK_AGAIN)
            peeked = pool_peek(page_of(get), peek);
    }
    if (answer != PEEK_DONE) {
        forget_attempt(get);
        TRY_RETURN(get_locked(get));
        get->hints = 0;
    }
    if (!get->found)
        return OK;
    if (get->hints != 0)
        leave_hints(get);
    if (get->passed >= LONG_CHAIN)
        prune_try(get->heap, get->root.block);
    return (get->flags & (HEAPPAGE_OVERFLOW | HEAPPAGE_COMPRESSED)) != 0 ? finish(get) : OK;
}

err_t
heap_get(struct op *op, const struct heap *heap, const struct snapshot *snapshot,
    struct row_id root, struct buf *out, struct row_id *version, bool *found)
{
    struct pool_peek peek;
    struct get get;
    bool peeked;

    (void)op; /* too short to be interrupted */
    get.heap = heap;
    get.snapshot = snapshot;
    get.root = root;
    get.out = out;
    get.out_begin = out != NULL ? out->size : 0;
    peeked = pool_peek(page_of(&get), &peek);
    if (peeked)
        foretell(peek.page, root.item);
    TRY_RETURN(read_row(&get, &peek, peeked));
    *found = get.found;
    if (version != NULL && get.found)
        *version = get.version;
    return OK;
}

/* The rows lie far apart: each step is done for all of them before the next, so that the memory
   of one is on its way while another is looked at. */
err_t
heap_get_many(struct op *op, const struct heap *heap, const struct snapshot *snapshot,
    const struct row_id *roots, size_t *count, struct buf *out, struct heap_got *got)
{
    struct pool_peek peek[HEAP_GET_MANY];
    bool peeked[HEAP_GET_MANY];
    size_t begin = out->size, done = 0;

    (void)op;
    invariant(*count <= HEAP_GET_MANY);
    for (size_t i = 0; i < *count; i++) {
        peeked[i] = pool_peek((struct page_id){ heap->file, roots[i].block }, &peek[i]);
        if (peeked[i]) {
            __builtin_prefetch(peek[i].page);
            __builtin_prefetch(peek[i].page + HEAPPAGE_START + roots[i].item * 4u - 4u);
        }
    }
    for (size_t i = 0; i < *count; i++) {
        uint32_t item;

        if (peeked[i] && peek_item(peek[i].page, roots[i].item, &item)) {
            __builtin_prefetch(peek[i].page + heappage_item_offset(item));
            __builtin_prefetch(peek[i].page + heappage_item_offset(item) + 64);
        }
    }
    for (; done < *count && out->size - begin < HEAP_GET_BYTES; done++) {
        struct get get = { .heap = heap,
            .snapshot = snapshot,
            .root = roots[done],
            .out = out,
            .out_begin = out->size };

        TRY_RETURN(read_row(&get, &peek[done], peeked[done]));
        got[done] = (struct heap_got){ roots[done], get.found, out->size };
    }
    *count = done;
    return OK;
}

/* Where a walk for the newest version stands. */
struct newest {
    struct row_id root, version;
    bool found;
    xid_t busy;
    struct row_id moved; /* block not BLOCK_NONE: go on there; its maker is moved_by */
    xid_t moved_by;
};

/* Walk the root's chain on a copy of its page. */
static err_t
walk_newest(const void *page, xid_t own, struct newest *at)
{
    unsigned n = heappage_first(page, at->root.item), steps = heappage_count(page);
    xid_t made_by = at->moved_by;

    at->moved = ROW_ID_NONE;
    for (; n != 0 && steps > 0; steps--) {
        const struct heappage_row *row = heappage_row(page, n, NULL);
        enum visible_end made, ended;

        if (made_by != 0 && row->xmin != made_by)
            return OK; /* the row moved here is gone, and its item another's */
        made_by = 0;
        TRY_RETURN(visible_made(row, own, &made));
        if (made == VISIBLE_FAILED || made == VISIBLE_RUNNING)
            return OK;
        TRY_RETURN(visible_ended(row, own, &ended));
        if (ended == VISIBLE_RUNNING) {
            at->busy = row->xmax;
            return OK;
        }
        if (ended == VISIBLE_NONE || ended == VISIBLE_FAILED) {
            at->found = true;
            at->version = (struct row_id){ at->root.block, (uint16_t)n };
            return OK;
        }
        if ((heappage_flags(row) & HEAPPAGE_MOVED) != 0) {
            at->moved = (struct row_id){ row->next_block, row->next_item };
            at->moved_by = row->xmax;
            return OK;
        }
        n = heappage_next(page, n);
    }
    return OK;
}

err_t
heap_get_newest(struct op *op, const struct heap *heap, struct txn *txn, struct row_id *root,
    struct buf *out, struct row_id *version, bool *found, xid_t *busy)
{
    _Alignas(8) uint8_t page[PAGE_SIZE_MAX];
    struct newest at = { .root = *root, .version = ROW_ID_NONE };
    const struct heappage_row *row;
    unsigned length;
    block_t count;

    *found = false;
    *busy = 0;
    for (;;) {
        TRY_RETURN(interrupt_check(op));
        TRY_RETURN(datafile_blocks(heap->file, &count));
        if (at.root.block >= count)
            return OK;
        TRY_RETURN(pool_copy((struct page_id){ heap->file, at.root.block }, POOL_NORMAL, page));
        TRY_RETURN(walk_newest(page, txn_xid_if_any(txn), &at));
        if (at.moved.block == BLOCK_NONE)
            break;
        at.root = at.moved;
    }
    *busy = at.busy;
    if (!at.found)
        return OK;
    *found = true;
    *root = at.root;
    *version = at.version;
    if (out == NULL)
        return OK;
    row = heappage_row(page, at.version.item, &length);
    if (row == NULL)
        return overflow_damaged(heap, at.version);

    bool whole;

    TRY_RETURN(overflow_read(heap, row->xmin, heappage_flags(row),
        (struct bytes){ row->data, length - sizeof *row }, out, &whole));
    return whole
               ? OK
               : overflow_damaged(heap, at.version); /* G3: newer than the own snapshot's horizon */
}
