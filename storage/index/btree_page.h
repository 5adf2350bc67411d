/*
 * btree_page.h - the bytes of a tree page.
 *
 *   0  page_header    lower: end of the slots; upper: start of the entries' bytes
 *  24  btree_head     links, level, fences
 *  56  slots          in key order, 18 bytes each, on inner pages 22:
 *                       0  head   the first 8 bytes of the key behind the page's prefix, filled
 *                                 up with zeroes: big-endian numbers, so to say
 *                       8  size   of the key behind the prefix
 *                      10  offset of these bytes, if they are more than the head holds; else 0
 *                      12  place  of the row: block 4, item 2 (big-endian)
 *                      18  child  its block 4 (big-endian); inner pages
 *      … free …
 *      keys           those behind the prefix that have more than 8 bytes
 *      fences         high, low: keys in full, then the row's place (at the end of the page)
 *
 * A page holds the entries e with low ≤ e < high.  Entries are ordered by key bytes, then by place.
 * All keys between the fences begin with what the fences have in common: the prefix, which is
 * left out of each entry.  The first entry of an inner page stands for "everything from low on"; of
 * its key no more than the prefix is kept.
 *
 * Every reader bounds what it reads: a page seen by a peek may be changing.  A page for which a
 * length or offset is out of bounds yields BTREE_PAGE_BAD, never a read outside the page.
 */
#ifndef STORAGE_INDEX_BTREE_PAGE_H
#define STORAGE_INDEX_BTREE_PAGE_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/types.h"
#include "storage/index/index.h"
#include "storage/page/page.h"

enum btree_flag {
    BTREE_LEAF = 1,
    BTREE_UNFINISHED = 2, /* was split, and the right half is not in the parent yet */
    BTREE_DELETED = 4,    /* out of the tree; `right` leads back into it */
};

struct btree_head {
    block_t left, right; /* BLOCK_NONE: the outermost */
    uint16_t level;      /* 0: leaf */
    uint16_t count;      /* of slots */
    uint16_t prefix_size;
    uint16_t low_size; /* of the fence's key, without place */
    uint16_t high_size;
    uint16_t has_low; /* 0: no bound on this side */
    uint16_t has_high;
    uint16_t dead_bytes; /* of keys taken out, not yet reclaimed */
    block_t next_free;   /* of a deleted page, in the list of free ones */
    uint32_t zero;
};
_Static_assert(sizeof(struct btree_head) == 32, "on disk");

#define BTREE_PLACE_SIZE 6
#define BTREE_CHILD_SIZE 4
#define BTREE_HEAD_SIZE  8
#define BTREE_SLOT_SIZE  18 /* of a leaf; on inner pages a child more */
#define BTREE_SLOTS_AT   (sizeof(struct page_header) + sizeof(struct btree_head))
#define BTREE_LEVELS_MAX 20

/* A place as a number that orders as (block, item); BTREE_PLACE_END is beyond all. */
typedef uint64_t btree_place_t;
#define BTREE_PLACE_END ((btree_place_t)1 << 48)

static inline btree_place_t
btree_page_place(struct row_id row)
{
    return (btree_place_t)row.block << 16 | row.item;
}
static inline struct row_id
btree_page_row(btree_place_t place)
{
    return (struct row_id){ (block_t)(place >> 16), (uint16_t)place };
}

/* A point in the order of entries. */
struct btree_point {
    struct bytes key;
    btree_place_t place;
};

struct btree_entry {
    struct bytes suffix; /* the key behind the page's prefix */
    btree_place_t place;
    block_t child; /* inner pages */
};

int btree_page_compare(struct btree_point a, struct btree_point b);

/* An empty page between these fences (NULL: none) in `page`.  False: the fences alone do not fit
   (cannot happen with keys of INDEX_KEY_MAX). */
void btree_page_make(
    void *page, uint16_t level, const struct btree_point *low, const struct btree_point *high);

static inline const struct btree_head *
btree_page_head(const void *page)
{
    return (const void *)((const uint8_t *)page + sizeof(struct page_header));
}
static inline struct btree_head *
btree_page_head_of(void *page)
{
    return (void *)((uint8_t *)page + sizeof(struct page_header));
}
static inline bool
btree_page_is_leaf(const void *page)
{
    return (((const struct page_header *)page)->flags & BTREE_LEAF) != 0;
}
/* Is it a live tree page that can be searched?  Cheap; for pages seen by a peek. */
static inline bool
btree_page_usable(const void *page)
{
    return ((const struct page_header *)page)->kind == PAGE_BTREE;
}

/* False: the page is bad. `point` points into the page. */
bool btree_page_low(const void *page, struct btree_point *point, bool *has);
bool btree_page_high(const void *page, struct btree_point *point, bool *has);
bool btree_page_entry(const void *page, unsigned slot, struct btree_entry *entry);
struct bytes btree_page_prefix(const void *page); /* size 0 also if the page is bad */

/* The first slot whose entry is ≥ `point` (count: none).  On inner pages slot 0 counts as below
 * everything.  False: bad. */
bool btree_page_search(const void *page, struct btree_point point, unsigned *slot);
/* The key of a slot put together in `key` (INDEX_KEY_MAX bytes room).  False: bad. */
bool btree_page_key(const void *page, unsigned slot, uint8_t *key, size_t *size);

/* Bytes that an entry with a key of this many bytes takes, slot included. */
size_t btree_page_need(const void *page, size_t key_size);
size_t btree_page_free(const void *page); /* contiguous */
size_t btree_page_free_after_compaction(const void *page);

/* Put an entry at `slot`; it must fit contiguously. `suffix`: without the page's prefix. */
void btree_page_insert(
    void *page, unsigned slot, struct bytes suffix, btree_place_t place, block_t child);
/* Append a whole key behind the last slot of a page being made; false: does not fit. */
bool btree_page_append(void *page, struct btree_point point, block_t child);
void btree_page_remove(void *page, const uint16_t *slots, size_t count); /* ascending */
void btree_page_set_child(void *page, unsigned slot, block_t child);
/* The same page without holes, in `out` (another page's memory). */
void btree_page_compact(const void *page, void *out);

/* Everything: for checks.  NULL: good; else what is wrong. */
const char *btree_page_fault(const void *page);

/* Block 0 of every tree. */
struct btree_meta {
    uint32_t magic;
    uint32_t version;
    block_t root;
    uint32_t level; /* of the root */
    block_t free;   /* first of the list of free pages; BLOCK_NONE: none */
    uint32_t zero;
};
_Static_assert(sizeof(struct btree_meta) == 24, "on disk");
#define BTREE_META_MAGIC   0x65727467u
#define BTREE_META_VERSION 2
#define BTREE_META_BLOCK   0

void btree_page_make_meta(void *page, block_t root, uint32_t level);
const struct btree_meta *btree_page_meta(const void *page);
struct btree_meta *btree_page_meta_of(void *page);

#endif
