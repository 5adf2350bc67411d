/*
 * btree_scan.c - walking a range of a tree, and looking one key up.
 *
 * A range becomes two points: entries e with begin ≤ e < end are in it, whatever is excluded or
 * meant as a prefix.  The scan copies one leaf at a time; its place between two leaves is a fence,
 * so whatever happens to pages meanwhile, it goes on exactly there.
 *
 * INVARIANTS
 *   S1  Going forward, all entries below `here` have been given; the copy holds entries from it on.
 *   S2  Going backward, all entries at or above `here` have been given.
 */
#include "storage/index/btree_scan.h"

#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "shmem/interrupt.h"
#include "storage/index/btree_find.h"

#define STEPS_MAX 1000000 /* pages of one way; more is a circle of links */

/* A point with memory of its own. */
struct own_point {
    struct btree_point point;
    bool none; /* no bound there */
    uint8_t key[INDEX_KEY_MAX + 1];
};

struct index_scan {
    struct index index;
    struct own_point begin, end;
    struct own_point here; /* `none`: not begun */
    bool backward;
    bool loaded; /* the copy is of the leaf where `here` is */
    bool done;
    unsigned slot; /* forward: the next; backward: one above the next */
    struct bytes entry_key;
    uint8_t key[INDEX_KEY_MAX];
    _Alignas(8) uint8_t page[]; /* wal_page_size bytes */
};

static void
set_point(struct own_point *own, struct bytes key, btree_place_t place)
{
    invariant(key.size <= sizeof own->key);
    if (key.size > 0)
        memmove(own->key, key.data, key.size);
    own->point = (struct btree_point){ { own->key, key.size }, place };
    own->none = false;
}

/* The first point behind all keys that begin with `key`; none if there is no such. */
static void
set_behind_prefix(struct own_point *own, struct bytes key)
{
    size_t size = key.size;

    while (size > 0 && key.data[size - 1] == 0xff)
        size--;
    own->none = size == 0;
    if (own->none)
        return;
    set_point(own, (struct bytes){ key.data, size }, 0);
    own->key[size - 1]++;
}

/* *empty: nothing can be in it. */
static void
set_range(struct index_scan *scan, const struct index_range *range, bool *empty)
{
    scan->begin.none = scan->end.none = true;
    *empty = false;
    if (range->has_low && range->low_prefix_excluded) {
        set_behind_prefix(&scan->begin, range->low);
        *empty = scan->begin.none;
    } else if (range->has_low) {
        set_point(&scan->begin, range->low, range->low_excluded ? BTREE_PLACE_END : 0);
    }
    if (range->has_high && range->high_prefix_included)
        set_behind_prefix(&scan->end, range->high);
    else if (range->has_high)
        set_point(&scan->end, range->high, range->high_excluded ? 0 : BTREE_PLACE_END);
}

err_t
btree_scan_begin(struct op *op, const struct index *index, const struct index_range *range,
    struct index_scan **result)
{
    struct index_scan *scan;

    (void)op;
    if ((range->has_low && range->low.size > INDEX_KEY_MAX) ||
        (range->has_high && range->high.size > INDEX_KEY_MAX))
        return err_set(ERR_CANNOT_CREATE_INDEX,
            "a bound is longer than the %d bytes that an index holds", INDEX_KEY_MAX);
    scan = malloc(sizeof *scan + wal_page_size);
    if (scan == NULL)
        return err_set(ERR_MEMORY, "could not allocate memory for an index scan");
    scan->index = *index;
    scan->backward = range->backward;
    scan->loaded = false;
    scan->here.none = true;
    set_range(scan, range, &scan->done);
    *result = scan;
    return OK;
}

void
btree_scan_end(struct index_scan *scan)
{
    free(scan);
}

static const struct btree_point lowest = { { (const uint8_t *)"", 0 }, 0 };

/* The leftmost or rightmost leaf is reached by a target that is below or above everything; the
   latter is longer than any key can be. */
static struct btree_point
highest(void)
{
    static _Thread_local uint8_t key[INDEX_KEY_MAX + 1];

    if (key[0] == 0)
        memset(key, 0xff, sizeof key);
    return (struct btree_point){ { key, sizeof key }, BTREE_PLACE_END };
}

/* Where to go on: `here`, or the range's first point in this direction. */
static struct btree_point
goal(const struct index_scan *scan)
{
    if (!scan->here.none)
        return scan->here.point;
    if (scan->backward)
        return scan->end.none ? highest() : scan->end.point;
    return scan->begin.none ? lowest : scan->begin.point;
}

/* Copy the leaf for the goal, and stand on its slot. */
static err_t
load(struct op *op, struct index_scan *scan)
{
    struct btree_search search = { .target = goal(scan), .before = scan->backward };
    enum btree_way way = BTREE_WAY_LOST;
    block_t block;

    while (way != BTREE_WAY_HERE) {
        TRY_RETURN(interrupt_check(op));
        if (way == BTREE_WAY_LOST)
            TRY_RETURN(btree_find(&scan->index, search.target, scan->backward, 0, &block));
        else
            block = search.next;
        TRY_RETURN(pool_copy((struct page_id){ scan->index.file, block }, POOL_NORMAL, scan->page));
        way = btree_find_way(scan->page, &search);
        if (way == BTREE_WAY_BAD || way == BTREE_WAY_DOWN)
            return btree_find_corrupt(&scan->index, block, "the page cannot be right");
    }
    if (!btree_search_within(scan->page, search.target, &search.within, &scan->slot))
        return btree_find_corrupt(&scan->index, block, "the page cannot be right");
    scan->loaded = true;
    return OK;
}

/* The copy is used up: go on at its fence, if there is one and it is within the range. */
static bool
pass_fence(struct index_scan *scan)
{
    const struct own_point *bound = scan->backward ? &scan->begin : &scan->end;
    struct btree_point fence;
    bool has, good;

    good = scan->backward ? btree_page_low(scan->page, &fence, &has)
                          : btree_page_high(scan->page, &fence, &has);
    scan->loaded = false;
    if (!good || !has)
        return false;
    if (!bound->none) {
        int order = btree_page_compare(fence, bound->point);

        if (scan->backward ? order <= 0 : order >= 0)
            return false;
    }
    set_point(&scan->here, fence.key, fence.place);
    return true;
}

/* The slot's entry into `entry`; *inside: it is within the range. */
static err_t
read_slot(struct index_scan *scan, unsigned slot, struct index_entry *entry, bool *inside)
{
    const struct own_point *bound = scan->backward ? &scan->begin : &scan->end;
    struct btree_entry raw;
    size_t size;

    if (!btree_page_entry(scan->page, slot, &raw) ||
        !btree_page_key(scan->page, slot, scan->key, &size))
        return btree_find_corrupt(&scan->index, BLOCK_NONE, "a page cannot be right");
    entry->key = (struct bytes){ scan->key, size };
    entry->row = btree_page_row(raw.place);
    *inside = true;
    if (!bound->none) {
        int order = btree_page_compare((struct btree_point){ entry->key, raw.place }, bound->point);

        *inside = scan->backward ? order >= 0 : order < 0;
    }
    return OK;
}

err_t
btree_scan_next(struct op *op, struct index_scan *scan, struct index_entry *entry, bool *found)
{
    *found = false;
    while (!scan->done) {
        if (!scan->loaded)
            TRY_RETURN(load(op, scan));
        if (scan->backward ? scan->slot > 0 : scan->slot < btree_page_head(scan->page)->count) {
            unsigned slot = scan->backward ? --scan->slot : scan->slot++;

            TRY_RETURN(read_slot(scan, slot, entry, found));
            scan->done = !*found;
            return OK;
        }
        scan->done = !pass_fence(scan);
    }
    return OK;
}

err_t
btree_scan_seek(struct op *op, struct index_scan *scan, struct bytes key, struct row_id row)
{
    btree_place_t place = btree_page_place(row);
    const struct own_point *bound = scan->backward ? &scan->begin : &scan->end;

    (void)op;
    if (key.size > INDEX_KEY_MAX)
        return err_set(ERR_BAD_VALUE, "a position is too long");
    set_point(&scan->here, key, scan->backward ? place : place + 1);
    scan->loaded = false;
    scan->done = false;
    if (!bound->none) {
        int order = btree_page_compare(scan->here.point, bound->point);

        scan->done = scan->backward ? order <= 0 : order >= 0;
    }
    return OK;
}

/* --- one key --- */

struct lookup {
    struct btree_search search;
    enum btree_way way;
    struct row_id *rows;
    size_t most, count;
    bool further; /* the key may go on to the right */
};

/* Copy out the places of the key's entries from a leaf that may be changing. */
static bool
collect(const void *page, struct lookup *lookup)
{
    const struct btree_search *search = &lookup->search;
    struct btree_point high;
    struct btree_entry entry;
    unsigned slot;
    bool has;

    lookup->count = 0;
    lookup->further = false;
    if (!btree_search_within(page, search->target, &search->within, &slot))
        return false;
    for (;; slot++) {
        unsigned equal =
            btree_search_equal(page, slot, search->target.key, &search->within, &entry);

        if (equal != BTREE_EQUAL_YES) {
            if (equal == BTREE_EQUAL_BAD)
                return false;
            break;
        }
        if (lookup->count < lookup->most)
            lookup->rows[lookup->count] = btree_page_row(entry.place);
        lookup->count++;
    }
    if (slot < btree_page_head(page)->count)
        return true;
    if (!btree_page_high(page, &high, &has))
        return false;
    lookup->further = has && bytes_equal(high.key, search->target.key);
    return true;
}

static bool
look_and_collect(const void *page, void *context)
{
    struct lookup *lookup = context;

    lookup->way = btree_find_way(page, &lookup->search);
    if (lookup->way == BTREE_WAY_HERE)
        return collect(page, lookup);
    return lookup->way != BTREE_WAY_BAD;
}

/* The key's entries stand on several pages. */
static err_t
collect_by_scan(struct op *op, const struct index *index, struct lookup *lookup)
{
    struct bytes key = lookup->search.target.key;
    struct index_range range = { .low = key, .high = key, .has_low = true, .has_high = true };
    struct index_scan *scan;
    err_t err;

    lookup->count = 0;
    TRY_RETURN(btree_scan_begin(op, index, &range, &scan));
    for (;;) {
        struct index_entry entry;
        bool found;

        TRY(btree_scan_next(op, scan, &entry, &found));
        if (!found || lookup->count > lookup->most)
            break;
        if (lookup->count < lookup->most)
            lookup->rows[lookup->count] = entry.row;
        lookup->count++;
    }
out:
    btree_scan_end(scan);
    return err;
}

err_t
btree_scan_lookup(struct op *op, const struct index *index, struct bytes key, struct row_id *rows,
    size_t most, size_t *count)
{
    struct lookup lookup = { .search = { .target = { key, 0 } }, .rows = rows, .most = most };
    block_t block = BTREE_META_BLOCK;

    *count = 0;
    if (key.size > INDEX_KEY_MAX)
        return OK; /* no such key can be in it */
    lookup.way = BTREE_WAY_LOST;
    for (int steps = 0; lookup.way != BTREE_WAY_HERE; steps++) {
        if (steps == STEPS_MAX)
            return btree_find_corrupt(index, block, "the links go in a circle");
        if (lookup.way == BTREE_WAY_LOST) {
            TRY_RETURN(interrupt_check(op));
            TRY_RETURN(btree_find_root(index, &block, &lookup.search.level_here));
        }
        TRY_RETURN(btree_find_look(index, block, look_and_collect, &lookup));
        if (lookup.way == BTREE_WAY_DOWN)
            lookup.search.level_here--;
        block = lookup.search.next;
    }
    if (lookup.further)
        TRY_RETURN(collect_by_scan(op, index, &lookup));
    *count = lookup.count;
    return OK;
}

/* --- estimates --- */

/* Where a point stands in the tree, from 0 to 1, and how many entries the tree has if all pages are
 * as those on the way. */
struct rank {
    struct btree_search search;
    enum btree_way way;
    double position, width; /* of the page's part of the whole */
    double entries;
};

static bool
look_at_rank(const void *page, void *context)
{
    struct rank *rank = context;
    unsigned slot, slots = btree_page_head(page)->count;

    rank->way = btree_find_way(page, &rank->search);
    if (rank->way != BTREE_WAY_HERE && rank->way != BTREE_WAY_DOWN)
        return rank->way != BTREE_WAY_BAD;
    return slots == 0 || btree_page_search(page, rank->search.target, &slot);
}

static err_t
find_rank(struct op *op, const struct index *index, struct btree_point point, struct rank *rank,
    void *copy)
{
    block_t block = BTREE_META_BLOCK;

    *rank = (struct rank){ .search = { .target = point }, .way = BTREE_WAY_LOST };
    for (int steps = 0; rank->way != BTREE_WAY_HERE; steps++) {
        unsigned slot, slots;

        if (steps == STEPS_MAX)
            return btree_find_corrupt(index, block, "the links go in a circle");
        if (rank->way == BTREE_WAY_LOST) {
            TRY_RETURN(interrupt_check(op));
            TRY_RETURN(btree_find_root(index, &block, &rank->search.level_here));
            rank->position = 0;
            rank->width = rank->entries = 1;
        }
        TRY_RETURN(pool_copy((struct page_id){ index->file, block }, POOL_NORMAL, copy));
        if (!look_at_rank(copy, rank))
            return btree_find_corrupt(index, block, "the page cannot be right");
        block = rank->search.next;
        if (rank->way != BTREE_WAY_HERE && rank->way != BTREE_WAY_DOWN)
            continue;
        slots = btree_page_head(copy)->count;
        if (slots == 0 || !btree_page_search(copy, point, &slot))
            slot = 0;
        if (rank->way == BTREE_WAY_DOWN) {
            rank->search.level_here--;
            slot -= slot > 0; /* the child, not what stands behind it */
        }
        rank->width /= slots > 0 ? slots : 1;
        rank->position += rank->width * slot;
        rank->entries *= slots;
    }
    return OK;
}

err_t
btree_scan_estimate(
    struct op *op, const struct index *index, const struct index_range *range, uint64_t *entries)
{
    struct rank low = { .position = 0 }, high = { .position = 1 };
    struct index_scan *scan;
    double share;
    bool empty;
    err_t err;

    *entries = 0;
    TRY_RETURN(btree_scan_begin(op, index, range, &scan));
    empty = scan->done;
    if (empty)
        goto done;
    TRY(find_rank(op, index, scan->begin.none ? lowest : scan->begin.point, &low, scan->page));
    TRY(find_rank(op, index, scan->end.none ? highest() : scan->end.point, &high, scan->page));
    share = high.position - low.position;
    if (share > 0)
        *entries =
            (uint64_t)(share * (high.entries > low.entries ? high.entries : low.entries) + 0.5);
done:
    err = OK;
out:
    btree_scan_end(scan);
    return err;
}
