/*
 * heappage.h - the bytes of one heap page.
 *
 *    0  page_header   24 bytes (wal/wal_page.h); lower … upper is the free middle
 *   24  prune_xid      8 bytes: the oldest xid whose end may make pruning worthwhile; 0: none
 *   32  items          4 bytes each, growing up to `lower`
 *       …
 *   upper  rows        growing down, each at a multiple of 8
 *
 * An item:  bits 0–14 offset (or, of a redirect, the item it stands for), 15–16 state, 17–31
 * length. Items are counted from 1.  Nothing here locks, logs or fails; every offset that is read
 * from a page is bounded, so that no page, however damaged, leads outside itself.
 */
#ifndef STORAGE_HEAP_HEAPPAGE_H
#define STORAGE_HEAP_HEAPPAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "storage/page/page.h"

/* A row version's head, on disk.
 *
 *   0 xmin   8  who made it                      16 cmin 4  by which command of that transaction
 *   8 xmax   8  who deleted or replaced it; 0    20 cmax 4
 *  24 next   6  block and item of the version that replaced it
 *  30 flags  2
 */
struct heappage_row {
    xid_t xmin;
    xid_t xmax;
    uint32_t cmin;
    uint32_t cmax;
    block_t next_block;
    uint16_t next_item;
    uint16_t flags;
    uint8_t data[];
};
_Static_assert(sizeof(struct heappage_row) == 32, "on disk, without holes");

enum heappage_flag {
    HEAPPAGE_XMIN_COMMITTED = 0x0001, /* the first five are hints: set by anyone who knows, */
    HEAPPAGE_XMIN_ABORTED = 0x0002,   /* under a shared lock, not logged; */
    HEAPPAGE_XMIN_FROZEN =
        0x0004, /* visible to every snapshot alive and to come (also logged by vacuum) */
    HEAPPAGE_XMAX_COMMITTED = 0x0008,
    HEAPPAGE_XMAX_ABORTED = 0x0010,
    HEAPPAGE_HEAP_ONLY = 0x0020,   /* no index points here: reached through a chain */
    HEAPPAGE_HOT_UPDATED = 0x0040, /* `next` is a heap-only version of this page */
    HEAPPAGE_MOVED = 0x0080,       /* `next` is a root of its own */
    HEAPPAGE_OVERFLOW = 0x0100,    /* the bytes are a struct heappage_overflow */
    HEAPPAGE_COMPRESSED = 0x0200,  /* LZ4; if not OVERFLOW, four bytes of raw size come first */
};
#define HEAPPAGE_HINTS                                                        \
    (HEAPPAGE_XMIN_COMMITTED | HEAPPAGE_XMIN_ABORTED | HEAPPAGE_XMIN_FROZEN | \
        HEAPPAGE_XMAX_COMMITTED | HEAPPAGE_XMAX_ABORTED)
#define HEAPPAGE_XMAX_FLAGS \
    (HEAPPAGE_XMAX_COMMITTED | HEAPPAGE_XMAX_ABORTED | HEAPPAGE_HOT_UPDATED | HEAPPAGE_MOVED)

/* Where the bytes of a large row are. */
struct heappage_overflow {
    uint32_t size;   /* of the row */
    uint32_t stored; /* of the chain's bytes; less if compressed */
    block_t first;   /* page with the first part */
    block_t last;    /* page with the last: it names the chain, with the xid */
};
_Static_assert(sizeof(struct heappage_overflow) == 16, "on disk, without holes");

struct heappage {
    struct page_header header;
    xid_t prune_xid;
    uint32_t item[];
};
_Static_assert(sizeof(struct heappage) == 32, "on disk, without holes");

/* header.flags */
enum heappage_page_flag {
    HEAPPAGE_HAS_UNUSED = 1, /* perhaps an item to be had; a hint */
    HEAPPAGE_ALL_FROZEN = 2, /* every normal item is a root, frozen, without xmax */
};

enum heappage_state {
    HEAPPAGE_UNUSED = 0,
    HEAPPAGE_NORMAL = 1,
    HEAPPAGE_REDIRECT = 2,
    HEAPPAGE_DEAD = 3, /* no row any more, but indexes may still point here */
};

#define HEAPPAGE_START     ((unsigned)sizeof(struct heappage))
#define HEAPPAGE_ITEMS_MAX ((PAGE_SIZE_MAX - 32u) / 36u) /* items a page may have */
#define HEAPPAGE_ALIGN(n)  (((n) + 7u) & ~(size_t)7u)

static inline unsigned
heappage_item_state(uint32_t item)
{
    return (item >> 15) & 3u;
}
static inline unsigned
heappage_item_offset(uint32_t item)
{
    return item & 0x7fffu;
}
static inline unsigned
heappage_item_length(uint32_t item)
{
    return item >> 17;
}
static inline uint32_t
heappage_item_make(unsigned offset, enum heappage_state state, unsigned length)
{
    return offset | (uint32_t)state << 15 | (uint32_t)length << 17;
}

/* Whether a normal item lies where a row may lie. */
static inline bool
heappage_item_fits(uint32_t item)
{
    unsigned offset = heappage_item_offset(item), length = heappage_item_length(item);

    return offset >= HEAPPAGE_START && (offset & 7u) == 0 &&
           length >= sizeof(struct heappage_row) && offset + length <= wal_page_size;
}

/* Hints are set by others under shared locks: flags are read and or-ed atomically. */
static inline unsigned
heappage_flags(const struct heappage_row *row)
{
    return __atomic_load_n(&row->flags, __ATOMIC_RELAXED);
}
static inline void
heappage_hint(struct heappage_row *row, unsigned hints)
{
    __atomic_fetch_or(&row->flags, (uint16_t)hints, __ATOMIC_RELAXED);
}

/* Items a page of this size may have at most. */
static inline unsigned
heappage_items_most(void)
{
    return (wal_page_size - HEAPPAGE_START) / 36u;
}

/* Items there are, never more than fit; 0 if it is no heap page. */
static inline unsigned
heappage_count(const void *page)
{
    const struct page_header *header = page;
    unsigned lower = header->lower, count;

    if (header->kind != PAGE_HEAP || lower < HEAPPAGE_START || lower > wal_page_size)
        return 0;
    count = (lower - HEAPPAGE_START) / 4u;
    return count < HEAPPAGE_ITEMS_MAX ? count : HEAPPAGE_ITEMS_MAX;
}

/* 0 (unused) if there is none. */
static inline uint32_t
heappage_item(const void *page, unsigned n)
{
    const struct heappage *heap = page;

    return n == 0 || n > heappage_count(page) ? 0 : heap->item[n - 1];
}

/* The row of a normal item; NULL: not normal, or it lies where no row can.  *length: head included.
 */
static inline struct heappage_row *
heappage_row(const void *page, unsigned n, unsigned *length)
{
    uint32_t item = heappage_item(page, n);

    if (heappage_item_state(item) != HEAPPAGE_NORMAL || !heappage_item_fits(item))
        return NULL;
    if (length != NULL)
        *length = heappage_item_length(item);
    return (struct heappage_row *)((uintptr_t)page + heappage_item_offset(item));
}

void heappage_init(void *page); /* an empty heap page */
/* A heap page, or one never written that may become one (kind PAGE_ZERO). */
bool heappage_is(const void *page);
void heappage_set_item(void *page, unsigned n, uint32_t item);

/* Bytes that rows (with their heads and items) may still take; what the free-space map is told. */
size_t heappage_free(const void *page);
/* What the map says of an empty page, at least. */
size_t heappage_empty_free(void);
/* Whether a row of `length` bytes, head included, can go in. */
bool heappage_room(const void *page, size_t length);
/* No item is in use: the page may become anything. */
bool heappage_empty(const void *page);

/* Put a row in: at item `n`, or (0) at a free one.  The caller has asked heappage_room.  Yields the
 * item. */
unsigned heappage_put(void *page, unsigned n, const struct heappage_row *head, struct bytes data);
/* Whether heappage_put may use `n` for so many bytes: for redo, which trusts nothing. */
bool heappage_may_put(const void *page, unsigned n, size_t length);

/* The first version of a root's chain, through its redirect; 0: none. */
unsigned heappage_first(const void *page, unsigned root);
/* The heap-only version that replaced `n`; 0: none.  A link whose target was not made by who
   replaced `n` is no link: the item was reused (H3). */
unsigned heappage_next(const void *page, unsigned n);

/* Note that `xid` deleted or replaced row `n`. */
void heappage_set_xmax(
    void *page, unsigned n, xid_t xid, uint32_t command, struct row_id next, unsigned flags);
/* The maker of row `n` committed before every snapshot; its xmax came from someone who failed. */
void heappage_freeze(void *page, unsigned n);
void heappage_clear_xmax(void *page, unsigned n);
/* Whether all rows have room beside each other: asked of a page before it is compacted, for rows
   that overlap would need more than the page has. */
bool heappage_rows_fit(const void *page);
/* Push all rows to the page's end in order of item, and cut unused items off the end of the array.
 */
void heappage_compact(void *page);

/* What is wrong with the page's form; NULL: nothing.  *item: where (0: the page itself). */
const char *heappage_check(const void *page, unsigned *item);
/* Zero what may differ between a page and its replay: hints and the free middle. */
void heappage_mask(void *page);

#endif
