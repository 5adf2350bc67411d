/*
 * btree_search.h - finding a point on a tree page: what every look-up does at every level.
 *
 * All of it is inline, so that on the way down a page's fences and the heads of its slots go
 * through registers.  A page may be changing while it is searched: every length and offset is
 * bounded, and what is found then is worth nothing (btree_page.h).
 */
#ifndef STORAGE_INDEX_BTREE_SEARCH_H
#define STORAGE_INDEX_BTREE_SEARCH_H

#include <endian.h>
#include <string.h>

#include "storage/index/btree_page.h"

static inline const uint8_t *
btree_search_at(const void *page, size_t offset)
{
    return (const uint8_t *)page + offset;
}

/* The first eight bytes as a number that orders as they do; what is missing counts as zeroes. */
static inline uint64_t
btree_search_head_of(struct bytes suffix)
{
    const uint8_t *at = suffix.data;
    size_t size = suffix.size;
    uint64_t whole;
    uint32_t front, back;

    if (size >= sizeof whole) {
        memcpy(&whole, at, sizeof whole);
        return be64toh(whole);
    }
    if (size >= sizeof front) { /* two halves that may overlap */
        memcpy(&front, at, sizeof front);
        memcpy(&back, at + size - sizeof back, sizeof back);
        return (uint64_t)be32toh(front) << 32 | (uint64_t)be32toh(back) << (64 - 8 * size);
    }
    if (size == 0)
        return 0;
    return (uint64_t)at[0] << 56 | (uint64_t)at[size / 2] << (56 - 8 * (size / 2)) |
           (uint64_t)at[size - 1] << (64 - 8 * size);
}

static inline size_t
btree_search_slot_size(const void *page)
{
    return BTREE_SLOT_SIZE + (btree_page_is_leaf(page) ? 0 : BTREE_CHILD_SIZE);
}

static inline const uint8_t *
btree_search_slot(const void *page, size_t slot_size, unsigned slot)
{
    return btree_search_at(page, BTREE_SLOTS_AT + slot * slot_size);
}

static inline uint64_t
btree_search_slot_head(const void *page, size_t slot_size, unsigned slot)
{
    uint64_t head;

    memcpy(&head, btree_search_slot(page, slot_size, slot), sizeof head);
    return be64toh(head);
}

/* Slots there are, or 0 if that cannot be. */
static inline unsigned
btree_search_slots(const void *page, size_t slot_size)
{
    unsigned count = btree_page_head(page)->count;

    return BTREE_SLOTS_AT + count * slot_size <= wal_page_size ? count : 0;
}

static inline btree_place_t
btree_search_place(const uint8_t *at)
{
    uint32_t block;
    uint16_t item;

    memcpy(&block, at, sizeof block);
    memcpy(&item, at + sizeof block, sizeof item);
    return (btree_place_t)be32toh(block) << 16 | be16toh(item);
}

/* --- fences: at the very end of the page, high before low --- */

static inline size_t
btree_search_fence_size(bool has, size_t key_size)
{
    return has ? key_size + BTREE_PLACE_SIZE : 0;
}

static inline bool
btree_search_fence(const void *page, size_t offset, size_t key_size, struct btree_point *point)
{
    if (key_size > INDEX_KEY_MAX || offset > wal_page_size - key_size - BTREE_PLACE_SIZE)
        return false;
    point->key = (struct bytes){ btree_search_at(page, offset), key_size };
    point->place = btree_search_place(btree_search_at(page, offset + key_size));
    return true;
}

static inline bool
btree_search_low(const void *page, struct btree_point *point, bool *has)
{
    const struct btree_head *head = btree_page_head(page);
    size_t size = head->low_size;

    *has = head->has_low != 0;
    if (!*has)
        return true;
    return size <= INDEX_KEY_MAX &&
           btree_search_fence(page, wal_page_size - size - BTREE_PLACE_SIZE, size, point);
}

static inline bool
btree_search_high(const void *page, struct btree_point *point, bool *has)
{
    const struct btree_head *head = btree_page_head(page);
    size_t low = btree_search_fence_size(head->has_low != 0, head->low_size);
    size_t size = head->high_size;

    *has = head->has_high != 0;
    if (!*has)
        return true;
    if (size > INDEX_KEY_MAX || low > INDEX_KEY_MAX + BTREE_PLACE_SIZE)
        return false;
    return btree_search_fence(page, wal_page_size - low - size - BTREE_PLACE_SIZE, size, point);
}

static inline struct bytes
btree_search_prefix(const void *page)
{
    size_t size = btree_page_head(page)->prefix_size;
    struct btree_point low;
    bool has;

    if (size == 0 || !btree_search_low(page, &low, &has) || !has || size > low.key.size)
        return (struct bytes){ NULL, 0 };
    return (struct bytes){ low.key.data, size };
}

/* What of a key stands behind a prefix; an empty key may have no bytes to point to. */
static inline struct bytes
btree_search_behind(struct bytes key, size_t prefix)
{
    return prefix > 0 ? (struct bytes){ key.data + prefix, key.size - prefix } : key;
}

/* --- order --- */

static inline int
btree_search_compare_places(btree_place_t a, btree_place_t b)
{
    return (a > b) - (a < b);
}

static inline int
btree_search_compare(struct btree_point a, struct btree_point b)
{
    int order = bytes_compare(a.key, b.key);

    return order != 0 ? order : btree_search_compare_places(a.place, b.place);
}

/* The entry of a slot that is there. */
static inline bool
btree_search_entry(const void *page, size_t slot_size, unsigned slot, struct btree_entry *entry)
{
    const uint8_t *at = btree_search_slot(page, slot_size, slot);
    uint16_t size, offset;

    memcpy(&size, at + 8, sizeof size);
    memcpy(&offset, at + 10, sizeof offset);
    entry->suffix = (struct bytes){ at, size };
    if (size > BTREE_HEAD_SIZE) {
        if (size > INDEX_KEY_MAX || (size_t)offset + size > wal_page_size)
            return false;
        entry->suffix.data = btree_search_at(page, offset);
    }
    entry->place = btree_search_place(at + 12);
    entry->child = BLOCK_NONE;
    if (slot_size > BTREE_SLOT_SIZE) {
        memcpy(&entry->child, at + 18, sizeof entry->child);
        entry->child = be32toh(entry->child);
    }
    return true;
}

/* The child of a slot that is there, on an inner page. */
static inline block_t
btree_search_child(const void *page, unsigned slot)
{
    uint32_t child;

    memcpy(&child, btree_search_slot(page, BTREE_SLOT_SIZE + BTREE_CHILD_SIZE, slot) + 18,
        sizeof child);
    return be32toh(child);
}

/* Whether two keys begin with the same `size` bytes.  Prefixes are short: no call for them. */
static inline bool
btree_search_same(const uint8_t *a, const uint8_t *b, size_t size)
{
    uint32_t front_a, front_b, back_a, back_b;

    if (size > 8)
        return memcmp(a, b, size) == 0;
    if (size >= sizeof front_a) { /* two halves that may overlap */
        memcpy(&front_a, a, sizeof front_a);
        memcpy(&front_b, b, sizeof front_b);
        memcpy(&back_a, a + size - sizeof back_a, sizeof back_a);
        memcpy(&back_b, b + size - sizeof back_b, sizeof back_b);
        return ((front_a ^ front_b) | (back_a ^ back_b)) == 0;
    }
    return size == 0 ||
           ((a[0] ^ b[0]) | (a[size / 2] ^ b[size / 2]) | (a[size - 1] ^ b[size - 1])) == 0;
}

/* --- search --- */

/* Where a point lies in regard to the page's fences: left of low, right of high, or within:
   low ≤ point < high; with `before` low < point ≤ high. */
enum btree_side { BTREE_SIDE_BAD, BTREE_SIDE_LEFT, BTREE_SIDE_WITHIN, BTREE_SIDE_RIGHT };
/* What was found out on the way, for searching that very page for the same key. */
struct btree_within {
    size_t prefix;            /* bytes of the key that all entries begin with */
    uint64_t head, low, high; /* first eight bytes behind it: of the key, of the fences */
    bool has_low, has_high;
};

/* btree_search_head_of for a fence: before its end there are eight bytes of the page at least, for
   fences stand at the end of a page, which is longer than both. */
static inline uint64_t
btree_search_fence_head(struct bytes key, size_t prefix)
{
    size_t size = key.size - prefix;
    uint64_t whole;

    if (size >= sizeof whole) {
        memcpy(&whole, key.data + prefix, sizeof whole);
        return be64toh(whole);
    }
    if (size == 0)
        return 0;
    memcpy(&whole, key.data + key.size - sizeof whole, sizeof whole); /* what is before is cut */
    return be64toh(whole) << (64 - 8 * size);
}

static inline enum btree_side
btree_search_side(
    const void *page, struct btree_point point, bool before, struct btree_within *within)
{
    struct btree_point low = { .place = 0 }, high = { .place = 0 };
    bool has_low, has_high;
    size_t prefix = 0;
    int order;

    if (!btree_search_low(page, &low, &has_low) || !btree_search_high(page, &high, &has_high))
        return BTREE_SIDE_BAD;
    if (has_low && has_high) {
        prefix = btree_page_head(page)->prefix_size;
        if (prefix > low.key.size || prefix > high.key.size)
            return BTREE_SIDE_BAD;
        if (prefix > point.key.size || !btree_search_same(point.key.data, low.key.data, prefix))
            prefix = 0;
    }
    within->prefix = prefix;
    within->has_low = has_low;
    within->has_high = has_high;
    within->head = btree_search_head_of(btree_search_behind(point.key, prefix));
    within->low = has_low ? btree_search_fence_head(low.key, prefix) : 0;
    within->high = has_high ? btree_search_fence_head(high.key, prefix) : 0;
    if (has_high && within->head >= within->high) {
        order = btree_search_compare(point, high);
        if (before ? order > 0 : order >= 0)
            return BTREE_SIDE_RIGHT;
    }
    if (has_low && within->head <= within->low) {
        order = btree_search_compare(point, low);
        if (before ? order <= 0 : order < 0)
            return BTREE_SIDE_LEFT;
    }
    return BTREE_SIDE_WITHIN;
}

/* How far from `low` to `high` a head lies, as a part of `count` slots. */
static inline unsigned
btree_search_guess(uint64_t head, uint64_t low, uint64_t high, unsigned count)
{
    unsigned shift;

    if (head <= low || high <= low)
        return 0;
    if (head >= high)
        return count - 1;
    shift = (unsigned)__builtin_clzll(high - low); /* both differences to 40 bits at most */
    shift = shift < 24 ? 24 - shift : 0;
    return (unsigned)(((head - low) >> shift) * count / (((high - low) >> shift) + 1));
}

/* Of slots low … high-1 the first whose head is not below `head`; looked for around `at`, in steps
   that double: where heads are spread evenly that is two or three looks at one cache line. */
static inline unsigned
btree_search_heads(
    const void *page, size_t slot_size, uint64_t head, unsigned at, unsigned low, unsigned high)
{
    if (btree_search_slot_head(page, slot_size, at) < head) {
        low = at + 1;
        for (unsigned step = 1; high - low >= step; step *= 2) {
            if (btree_search_slot_head(page, slot_size, low + step - 1) >= head) {
                high = low + step - 1;
                break;
            }
            low += step;
        }
    } else {
        high = at;
        for (unsigned step = 1; high - low >= step; step *= 2) {
            if (btree_search_slot_head(page, slot_size, high - step) < head) {
                low = high - step + 1;
                break;
            }
            high -= step;
        }
    }
    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (btree_search_slot_head(page, slot_size, middle) < head)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The same by halving, without a branch that depends on keys. */
static inline unsigned
btree_search_halving(const void *page, size_t slot_size, uint64_t head, unsigned low, unsigned high)
{
    unsigned count = high - low;

    while (count > 1) {
        unsigned half = count / 2;
        unsigned below = btree_search_slot_head(page, slot_size, low + half - 1) < head;

        low += half & (0u - below);
        count -= half;
    }
    return low + (btree_search_slot_head(page, slot_size, low) < head);
}

/* Suffixes whose heads are equal: one that ends within its head is the other's beginning. */
static inline int
btree_search_compare_tails(struct bytes a, struct bytes b)
{
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = 0;

    if (shorter > sizeof(uint64_t))
        order = memcmp(a.data + 8, b.data + 8, shorter - 8);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* The order of a slot's entry, whose head is the point's, and the point.  False: bad. */
static inline bool
btree_search_compare_entry(const void *page, size_t slot_size, unsigned slot, struct bytes suffix,
    btree_place_t place, int *order)
{
    struct btree_entry entry;

    if (!btree_search_entry(page, slot_size, slot, &entry))
        return false;
    *order = btree_search_compare_tails(entry.suffix, suffix);
    if (*order == 0)
        *order = btree_search_compare_places(entry.place, place);
    return true;
}

/* The first slot whose entry is not below a point, whose side is WITHIN (count: none).  On inner
   pages slot 0 counts as below everything.  False: bad. */
static inline bool
btree_search_within(
    const void *page, struct btree_point point, const struct btree_within *within, unsigned *found)
{
    size_t slot_size = btree_search_slot_size(page);
    unsigned low = slot_size == BTREE_SLOT_SIZE ? 0 : 1, step = 1;
    unsigned high = btree_search_slots(page, slot_size), at;
    struct bytes suffix = btree_search_behind(point.key, within->prefix);
    uint64_t head = within->head, first, last;
    int order;

    *found = low;
    if (low >= high)
        return true;
    if (within->has_low || within->has_high) {
        first = within->has_low ? within->low : btree_search_slot_head(page, slot_size, low);
        last = within->has_high ? within->high : btree_search_slot_head(page, slot_size, high - 1);
        at = low + btree_search_guess(head, first, last, high - low);
        low = btree_search_heads(page, slot_size, head, at, low, high);
    } else {
        /* The root: its keys have no common prefix, so their heads are not spread evenly (those of
           numbers begin with the number's size), but it is in the processor's cache. */
        low = btree_search_halving(page, slot_size, head, low, high);
    }
    /* Of those with the same head: as above, upwards from the first. */
    for (; low < high && high - low >= step; step *= 2) {
        at = low + step - 1;
        order = 1;
        if (btree_search_slot_head(page, slot_size, at) == head &&
            !btree_search_compare_entry(page, slot_size, at, suffix, point.place, &order))
            return false;
        if (order >= 0) {
            high = at;
            break;
        }
        low = at + 1;
    }
    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        order = 1;
        if (btree_search_slot_head(page, slot_size, middle) == head &&
            !btree_search_compare_entry(page, slot_size, middle, suffix, point.place, &order))
            return false;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low;
    return true;
}

/* Is the slot's entry one of this key?  `entry` is set if so. */
enum { BTREE_EQUAL_NOT, BTREE_EQUAL_YES, BTREE_EQUAL_BAD };

static inline unsigned
btree_search_equal(const void *page, unsigned slot, struct bytes key,
    const struct btree_within *within, struct btree_entry *entry)
{
    struct bytes suffix = btree_search_behind(key, within->prefix);
    size_t slot_size = btree_search_slot_size(page);

    if (slot >= btree_search_slots(page, slot_size) ||
        btree_search_slot_head(page, slot_size, slot) != within->head)
        return BTREE_EQUAL_NOT;
    if (!btree_search_entry(page, slot_size, slot, entry))
        return BTREE_EQUAL_BAD;
    return btree_search_compare_tails(entry->suffix, suffix) == 0 ? BTREE_EQUAL_YES
                                                                  : BTREE_EQUAL_NOT;
}

#endif
