/*
 * heappage.c - the bytes of one heap page.
 *
 * INVARIANTS
 *   H1  Rows lie between `upper` and the page's end, at multiples of 8, and do not overlap; the
 *       bytes between rows are zero, so that a replayed page equals the original.
 *   H2  A heap-only row is reached through exactly one chain, from one root, on the same page;
 *       unless its maker failed: then perhaps through none.
 *   H3  A link leads from a row to one whose xmin is the first one's xmax; anything else is not a
 *       link.
 *   H4  An item that an index may point to goes from normal or redirect to dead, and is unused only
 *       after every index has forgotten it.
 *
 * These functions know bytes only: locks, critical sections and the log are their callers'.
 */
#include "storage/heap/heappage.h"

#include <string.h>

#include "base/panic.h"

void
heappage_init(void *page)
{
    struct heappage *heap = page;

    page_init(page, PAGE_HEAP, 0);
    heap->header.lower = (uint16_t)HEAPPAGE_START;
    heap->header.upper = (uint16_t)wal_page_size;
    heap->prune_xid = 0;
}

bool
heappage_is(const void *page)
{
    const struct page_header *header = page;

    return header->kind == PAGE_HEAP || header->kind == PAGE_ZERO;
}

void
heappage_set_item(void *page, unsigned n, uint32_t item)
{
    struct heappage *heap = page;

    invariant(n > 0 && n <= heappage_count(page));
    heap->item[n - 1] = item;
}

/* `upper` as a number: a page of 32 KiB has 32768 there, which 16 bits hold. */
static size_t
middle(const void *page)
{
    const struct page_header *header = page;

    if (header->kind == PAGE_ZERO)
        return wal_page_size - HEAPPAGE_START;
    if (header->kind != PAGE_HEAP || header->lower > header->upper)
        return 0;
    return (size_t)header->upper - header->lower;
}

size_t
heappage_free(const void *page)
{
    size_t free = middle(page) & ~(size_t)7u;

    if (heappage_count(page) >= heappage_items_most())
        return 0;
    return free > 8 ? free - 8 : 0; /* 8: the item, and keeping a multiple of 8 */
}

size_t
heappage_empty_free(void)
{
    size_t unit = wal_page_size / 256u; /* of the free-space map, which rounds down */

    return (wal_page_size - HEAPPAGE_START - 8) / unit * unit;
}

/* A free item, or the number behind the last. */
static unsigned
pick_item(const void *page)
{
    const struct heappage *heap = page;
    unsigned count = heappage_count(page);

    if ((heap->header.flags & HEAPPAGE_HAS_UNUSED) != 0) {
        for (unsigned n = 1; n <= count; n++)
            if (heap->item[n - 1] == 0)
                return n;
    }
    return count + 1;
}

bool
heappage_room(const void *page, size_t length)
{
    unsigned n;

    if (!heappage_is(page))
        return false;
    n = pick_item(page);
    if (n <= heappage_count(page))
        return HEAPPAGE_ALIGN(length) <= middle(page);
    return n <= heappage_items_most() && HEAPPAGE_ALIGN(length) + 4 <= middle(page);
}

bool
heappage_may_put(const void *page, unsigned n, size_t length)
{
    unsigned count = heappage_count(page);

    if (!heappage_is(page) || n == 0 || n > count + 1 || n > heappage_items_most() ||
        length < sizeof(struct heappage_row))
        return false;
    if (n <= count)
        return heappage_item(page, n) == 0 && HEAPPAGE_ALIGN(length) <= middle(page);
    return HEAPPAGE_ALIGN(length) + 4 <= middle(page);
}

bool
heappage_empty(const void *page)
{
    unsigned count = heappage_count(page);

    if (!heappage_is(page))
        return false;
    for (unsigned n = 1; n <= count; n++)
        if (heappage_item_state(heappage_item(page, n)) != HEAPPAGE_UNUSED)
            return false;
    return true;
}

unsigned
heappage_put(void *page, unsigned n, const struct heappage_row *head, struct bytes data)
{
    struct heappage *heap = page;
    size_t length = sizeof *head + data.size, aligned = HEAPPAGE_ALIGN(length);
    uint8_t *at;

    if (heap->header.kind == PAGE_ZERO)
        heappage_init(page);
    if (n == 0) {
        n = pick_item(page);
        if (n > heappage_count(page))
            heap->header.flags &= (uint16_t)~HEAPPAGE_HAS_UNUSED;
    }
    invariant(heappage_may_put(page, n, length));
    if (n > heappage_count(page))
        heap->header.lower = (uint16_t)(heap->header.lower + 4u);
    heap->header.upper = (uint16_t)(heap->header.upper - aligned);
    heap->header.flags &= (uint16_t)~HEAPPAGE_ALL_FROZEN;
    at = (uint8_t *)page + heap->header.upper;
    memcpy(at, head, sizeof *head);
    if (data.size > 0)
        memcpy(at + sizeof *head, data.data, data.size);
    memset(at + length, 0, aligned - length); /* H1 */
    heap->item[n - 1] = heappage_item_make(heap->header.upper, HEAPPAGE_NORMAL, (unsigned)length);
    return n;
}

unsigned
heappage_first(const void *page, unsigned root)
{
    uint32_t item = heappage_item(page, root);
    struct heappage_row *row;

    if (heappage_item_state(item) == HEAPPAGE_REDIRECT) {
        unsigned n = heappage_item_offset(item);

        return heappage_row(page, n, NULL) != NULL ? n : 0;
    }
    row = heappage_row(page, root, NULL);
    return row != NULL && (heappage_flags(row) & HEAPPAGE_HEAP_ONLY) == 0 ? root : 0;
}

unsigned
heappage_next(const void *page, unsigned n)
{
    const struct heappage_row *row = heappage_row(page, n, NULL), *next;

    if (row == NULL || row->xmax == 0 || (heappage_flags(row) & HEAPPAGE_HOT_UPDATED) == 0)
        return 0;
    next = heappage_row(page, row->next_item, NULL);
    if (next == NULL || next->xmin != row->xmax || /* H3 */
        (heappage_flags(next) & HEAPPAGE_HEAP_ONLY) == 0 || row->next_item == n)
        return 0;
    return row->next_item;
}

void
heappage_set_xmax(
    void *page, unsigned n, xid_t xid, uint32_t command, struct row_id next, unsigned flags)
{
    struct heappage *heap = page;
    struct heappage_row *row = heappage_row(page, n, NULL);

    invariant(row != NULL);
    row->xmax = xid;
    row->cmax = command;
    row->next_block = next.block;
    row->next_item = next.item;
    row->flags = (uint16_t)((row->flags & ~(unsigned)HEAPPAGE_XMAX_FLAGS) | flags);
    heap->header.flags &= (uint16_t)~HEAPPAGE_ALL_FROZEN;
    if (heap->prune_xid == 0 || xid < heap->prune_xid)
        heap->prune_xid = xid;
}

void
heappage_freeze(void *page, unsigned n)
{
    struct heappage_row *row = heappage_row(page, n, NULL);

    invariant(row != NULL);
    row->flags |= HEAPPAGE_XMIN_FROZEN | HEAPPAGE_XMIN_COMMITTED;
}

void
heappage_clear_xmax(void *page, unsigned n)
{
    struct heappage_row *row = heappage_row(page, n, NULL);

    invariant(row != NULL);
    row->xmax = 0;
    row->cmax = 0;
    row->next_block = BLOCK_NONE;
    row->next_item = 0;
    row->flags &= (uint16_t) ~(unsigned)HEAPPAGE_XMAX_FLAGS;
}

bool
heappage_rows_fit(const void *page)
{
    unsigned count = heappage_count(page);
    size_t all = HEAPPAGE_START + 4u * (size_t)count;

    for (unsigned n = 1; n <= count; n++) {
        unsigned length;

        if (heappage_row(page, n, &length) != NULL)
            all += HEAPPAGE_ALIGN(length);
    }
    return all <= wal_page_size;
}

void
heappage_compact(void *page)
{
    struct heappage *heap = page;
    unsigned count = heappage_count(page), upper = wal_page_size;
    _Alignas(8) uint8_t packed[PAGE_SIZE_MAX];

    heap->header.flags &= (uint16_t)~HEAPPAGE_HAS_UNUSED;
    while (count > 0 && heap->item[count - 1] == 0)
        count--;
    for (unsigned n = 1; n <= count; n++) {
        unsigned length;
        const struct heappage_row *row = heappage_row(page, n, &length);

        if (heap->item[n - 1] == 0)
            heap->header.flags |= HEAPPAGE_HAS_UNUSED;
        if (row == NULL)
            continue;
        upper -= (unsigned)HEAPPAGE_ALIGN(length);
        memcpy(packed + upper, row, length);
        memset(packed + upper + length, 0, HEAPPAGE_ALIGN(length) - length);
        heap->item[n - 1] = heappage_item_make(upper, HEAPPAGE_NORMAL, length);
    }
    heap->header.lower = (uint16_t)(HEAPPAGE_START + 4u * count);
    heap->header.upper = (uint16_t)upper;
    memcpy((uint8_t *)page + upper, packed + upper, wal_page_size - upper);
}

/* Rows must not overlap: a bit for each 8 bytes. */
static bool
take_span(uint8_t *taken, unsigned offset, unsigned length)
{
    for (unsigned i = offset / 8u; i < (offset + HEAPPAGE_ALIGN(length)) / 8u; i++) {
        if ((taken[i / 8u] & (1u << (i % 8u))) != 0)
            return false;
        taken[i / 8u] = (uint8_t)(taken[i / 8u] | 1u << (i % 8u));
    }
    return true;
}

static const char *
check_row(const void *page, unsigned n)
{
    unsigned length;
    const struct heappage_row *row = heappage_row(page, n, &length);
    unsigned flags;

    if (row == NULL)
        return "an item leads outside the rows";
    flags = heappage_flags(row);
    if (row->xmin == 0)
        return "a row that nobody inserted";
    if ((flags & HEAPPAGE_XMIN_COMMITTED) != 0 && (flags & HEAPPAGE_XMIN_ABORTED) != 0)
        return "a row whose maker both committed and failed";
    if ((flags & HEAPPAGE_HOT_UPDATED) != 0 && (flags & HEAPPAGE_MOVED) != 0)
        return "a row that was both moved and replaced in place";
    if ((flags & HEAPPAGE_OVERFLOW) != 0 &&
        length != sizeof *row + sizeof(struct heappage_overflow))
        return "a pointer to overflow pages of the wrong length";
    if ((flags & (HEAPPAGE_OVERFLOW | HEAPPAGE_COMPRESSED)) == HEAPPAGE_COMPRESSED &&
        length < sizeof *row + 5)
        return "a compressed row too short to be one";
    if (((const struct page_header *)page)->flags & HEAPPAGE_ALL_FROZEN) {
        if ((flags & HEAPPAGE_XMIN_FROZEN) == 0 || row->xmax != 0)
            return "a row that is not frozen on a page said to be";
    }
    return NULL;
}

/* H2: each heap-only row at most once through a chain. */
static const char *
check_chains(const void *page, unsigned *item)
{
    uint8_t reached[HEAPPAGE_ITEMS_MAX + 1] = { 0 };
    unsigned count = heappage_count(page);

    for (unsigned root = 1; root <= count; root++) {
        uint32_t it = heappage_item(page, root);
        unsigned n = heappage_first(page, root);

        *item = root;
        if (heappage_item_state(it) == HEAPPAGE_REDIRECT) {
            if (n == 0 || (heappage_row(page, n, NULL)->flags & HEAPPAGE_HEAP_ONLY) == 0)
                return "a redirect that leads to no heap-only row";
        }
        for (; n != 0; n = heappage_next(page, n)) {
            if (reached[n]++ != 0)
                return "a row reached through two chains, or a chain that is a ring";
        }
    }
    return NULL;
}

const char *
heappage_check(const void *page, unsigned *item)
{
    const struct page_header *header = page;
    uint8_t taken[PAGE_SIZE_MAX / 64] = { 0 };
    const char *wrong;

    *item = 0;
    if (header->kind == PAGE_ZERO)
        return NULL;
    if (header->kind != PAGE_HEAP)
        return "not a heap page";
    if (header->lower < HEAPPAGE_START || header->lower > header->upper ||
        header->upper > wal_page_size || (header->upper & 7u) != 0 || (header->lower & 3u) != 0 ||
        (header->lower - HEAPPAGE_START) / 4u > heappage_items_most())
        return "bounds of the free middle are wrong";
    for (unsigned n = 1; n <= heappage_count(page); n++) {
        uint32_t it = heappage_item(page, n);

        *item = n;
        if (heappage_item_state(it) != HEAPPAGE_NORMAL) {
            if (heappage_item_length(it) != 0 ||
                (heappage_item_state(it) != HEAPPAGE_REDIRECT && heappage_item_offset(it) != 0))
                return "an item without a row has a place";
            continue;
        }
        if (!heappage_item_fits(it) || heappage_item_offset(it) < header->upper)
            return "an item leads outside the rows";
        if (!take_span(taken, heappage_item_offset(it), heappage_item_length(it)))
            return "two rows overlap"; /* H1 */
        if ((wrong = check_row(page, n)) != NULL)
            return wrong;
    }
    return check_chains(page, item);
}

void
heappage_mask(void *page)
{
    struct heappage *heap = page;
    unsigned count = heappage_count(page);

    heap->header.flags &= (uint16_t)~HEAPPAGE_HAS_UNUSED;
    for (unsigned n = 1; n <= count; n++) {
        struct heappage_row *row = heappage_row(page, n, NULL);

        if (row != NULL)
            row->flags &= (uint16_t) ~(unsigned)HEAPPAGE_HINTS;
    }
    if (heap->header.kind == PAGE_HEAP && heap->header.lower <= heap->header.upper &&
        heap->header.upper <= wal_page_size)
        memset((uint8_t *)page + heap->header.lower, 0,
            (size_t)(heap->header.upper - heap->header.lower));
}
