/*
 * btree_scan.c - walking a range of a tree, and looking one key up.
 *
 * A range becomes two points: entries e with begin ≤ e < end are in it, whatever is excluded or
 * meant as a prefix.  The scan gathers some entries of a leaf at a time, in a look as brief as that
 * of a look-up, and gives them out from its own memory.  Its place is the point where it goes on,
 * so whatever happens to pages meanwhile, it goes on exactly there.
 *
 * INVARIANTS
 *   S1  Going forward, all entries below `here` have been gathered, and none from it on.
 *   S2  Going backward, all entries at or above `here` have been gathered, and none below it.
 */
#include "storage/index/btree_scan.h"

#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "shmem/interrupt.h"
#include "storage/index/btree_find.h"

#define STARTS_MAX 1000 /* beginning anew is rare; this many times in a row is damage */
#define GATHER_MIN 16u  /* entries of the first leaf; few queries want more than these … */
#define GATHER_MAX 128u /* … and who does wants many */
#define KEY_ROOM   6144u

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
    struct own_point next; /* what `here` will be when the look has proved valid */
    bool backward;
    bool last;             /* nothing in the range is beyond what was gathered */
    unsigned most;         /* to be gathered by the next look */
    unsigned count, given; /* gathered; of these given out */
    struct row_id row[GATHER_MAX];
    uint16_t key_end[GATHER_MAX]; /* in `key`, one behind the other */
    uint8_t key[KEY_ROOM];
};
_Static_assert(KEY_ROOM >= INDEX_KEY_MAX && KEY_ROOM <= UINT16_MAX, "each key has room");

static _Thread_local struct index_scan *spare; /* ended; its memory is for the next */

/* --- a way down --- */

/* Go down to the leaf for the search's target. */
static inline err_t
walk_down(struct op *op, const struct index *index, struct btree_walk *walk,
    bool (*look)(const void *page, void *context))
{
    block_t block = BTREE_META_BLOCK;

    for (int i = 0; i < STARTS_MAX; i++) {
        bool found;

        TRY_RETURN(interrupt_check(op));
        TRY_RETURN(btree_find_descend(index, walk, look, &block, &found));
        if (found)
            return OK;
    }
    return btree_find_corrupt(index, block, "no way leads to a key's page");
}

/* --- a range --- */

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
    scan = spare != NULL ? spare : malloc(sizeof *scan);
    spare = NULL;
    if (scan == NULL)
        return err_set(ERR_MEMORY, "could not allocate memory for an index scan");
    scan->index = *index;
    scan->backward = range->backward;
    scan->most = GATHER_MIN;
    scan->count = scan->given = 0;
    scan->here.none = true;
    set_range(scan, range, &scan->last);
    *result = scan;
    return OK;
}

void
btree_scan_end(struct index_scan *scan)
{
    free(spare);
    spare = scan;
}

void
btree_scan_forget_private(void)
{
    free(spare);
    spare = NULL;
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

struct gathering {
    struct btree_walk walk; /* first */
    struct index_scan *scan;
};

/* Put an entry of a page with this prefix behind those gathered.  False: bad, or (*full) no room.
 */
static inline bool
gather(struct index_scan *scan, const void *page, size_t slot_size, unsigned slot,
    struct bytes prefix, bool *full)
{
    size_t used = scan->count > 0 ? scan->key_end[scan->count - 1] : 0;
    struct btree_entry entry;

    if (!btree_search_entry(page, slot_size, slot, &entry) ||
        prefix.size + entry.suffix.size > INDEX_KEY_MAX)
        return false;
    *full = scan->count == scan->most || used + prefix.size + entry.suffix.size > KEY_ROOM;
    if (*full)
        return false;
    if (prefix.size > 0)
        memcpy(scan->key + used, prefix.data, prefix.size);
    if (entry.suffix.size > 0)
        memcpy(scan->key + used + prefix.size, entry.suffix.data, entry.suffix.size);
    scan->key_end[scan->count] = (uint16_t)(used + prefix.size + entry.suffix.size);
    scan->row[scan->count++] = btree_page_row(entry.place);
    return true;
}

static inline struct bytes
gathered_key(const struct index_scan *scan, unsigned i)
{
    size_t begin = i > 0 ? scan->key_end[i - 1] : 0;

    return (struct bytes){ scan->key + begin, scan->key_end[i] - begin };
}

/* Where to go on behind the last of those gathered, when the leaf has more. */
static void
go_on_behind_last(struct index_scan *scan)
{
    btree_place_t place = btree_page_place(scan->row[scan->count - 1]);

    set_point(&scan->next, gathered_key(scan, scan->count - 1), scan->backward ? place : place + 1);
}

/* The leaf has no more: go on at its fence, if there is one and it is within the range. */
static bool
go_on_at_fence(struct index_scan *scan, const void *page)
{
    const struct own_point *bound = scan->backward ? &scan->begin : &scan->end;
    struct btree_point fence;
    bool has;

    if (!(scan->backward ? btree_page_low(page, &fence, &has)
                         : btree_page_high(page, &fence, &has)))
        return false;
    scan->last = !has;
    if (has && !bound->none) {
        int order = btree_page_compare(fence, bound->point);

        scan->last = scan->backward ? order <= 0 : order >= 0;
    }
    if (!scan->last)
        set_point(&scan->next, fence.key, fence.place);
    return true;
}

/* The slots of the range on this leaf: from … stop-1, upwards or downwards. */
static bool
gather_leaf(struct index_scan *scan, const struct btree_search *search, const void *page)
{
    const struct own_point *bound = scan->backward ? &scan->begin : &scan->end;
    struct bytes prefix = btree_search_prefix(page);
    size_t slot_size = btree_search_slot_size(page);
    unsigned slots = btree_search_slots(page, slot_size), at, stop = scan->backward ? 0 : slots;
    bool full = false;

    scan->count = scan->given = 0;
    scan->last = false;
    if (!btree_search_within(page, search->target, &search->within, &at) ||
        (!bound->none && !btree_page_search(page, bound->point, &stop)))
        return false;
    while (scan->backward ? at > stop : at < stop) {
        unsigned slot = scan->backward ? at - 1 : at;

        if (!gather(scan, page, slot_size, slot, prefix, &full)) {
            if (full)
                go_on_behind_last(scan);
            return full;
        }
        at = scan->backward ? slot : slot + 1;
    }
    if (stop == (scan->backward ? 0 : slots))
        return go_on_at_fence(scan, page);
    scan->last = true;
    return true;
}

static bool
look_and_gather(const void *page, void *context)
{
    struct gathering *gathering = context;
    struct btree_walk *walk = &gathering->walk;

    walk->way = btree_find_way(page, &walk->search);
    if (walk->way == BTREE_WAY_HERE)
        return gather_leaf(gathering->scan, &walk->search, page);
    return walk->way != BTREE_WAY_BAD;
}

/* Gather the next entries from the leaf for the goal; perhaps none. */
static err_t
load(struct op *op, struct index_scan *scan)
{
    struct gathering gathering = { .scan = scan };

    gathering.walk.search = (struct btree_search){ .target = goal(scan), .before = scan->backward };
    TRY_RETURN(walk_down(op, &scan->index, &gathering.walk, look_and_gather));
    if (!scan->last)
        set_point(&scan->here, scan->next.point.key, scan->next.point.place);
    scan->most = GATHER_MAX;
    return OK;
}

err_t
btree_scan_next(struct op *op, struct index_scan *scan, struct index_entry *entry, bool *found)
{
    while (scan->given == scan->count && !scan->last)
        TRY_RETURN(load(op, scan));
    *found = scan->given < scan->count;
    if (!*found)
        return OK;
    entry->key = gathered_key(scan, scan->given);
    entry->row = scan->row[scan->given++];
    return OK;
}

size_t
btree_scan_ahead(const struct index_scan *scan, const struct row_id **rows)
{
    *rows = scan->row + scan->given;
    return scan->count - scan->given;
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
    scan->count = scan->given = 0;
    scan->last = false;
    if (!bound->none) {
        int order = btree_page_compare(scan->here.point, bound->point);

        scan->last = scan->backward ? order <= 0 : order >= 0;
    }
    return OK;
}

/* --- one key --- */

struct lookup {
    struct btree_walk walk; /* first */
    struct row_id *rows;
    size_t most, count;
    bool further; /* the key may go on to the right */
};

/* Copy out the places of the key's entries from a leaf that may be changing. */
static bool
collect(const void *page, struct lookup *lookup)
{
    const struct btree_search *search = &lookup->walk.search;
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
    struct btree_walk *walk = &lookup->walk;

    walk->way = btree_find_way(page, &walk->search);
    if (walk->way == BTREE_WAY_HERE)
        return collect(page, lookup);
    return walk->way != BTREE_WAY_BAD;
}

/* The key's entries stand on several pages. */
static err_t
collect_by_scan(struct op *op, const struct index *index, struct lookup *lookup)
{
    struct bytes key = lookup->walk.search.target.key;
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
    struct lookup lookup = { .rows = rows, .most = most };

    *count = 0;
    if (key.size > INDEX_KEY_MAX)
        return OK; /* no such key can be in it */
    lookup.walk.search.target.key = key;
    TRY_RETURN(walk_down(op, index, &lookup.walk, look_and_collect));
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
    unsigned slot, slots;   /* of the page looked at: where the point, or its child, stands */
    double position, width; /* of the page's part of the whole */
    double entries;
};

static bool
look_at_rank(const void *page, void *context)
{
    struct rank *rank = context;

    rank->slots = btree_search_slots(page, btree_search_slot_size(page));
    rank->slot = 0;
    rank->way = btree_find_way(page, &rank->search);
    if (rank->way != BTREE_WAY_HERE && rank->way != BTREE_WAY_DOWN)
        return rank->way != BTREE_WAY_BAD;
    return rank->slots == 0 || btree_page_search(page, rank->search.target, &rank->slot);
}

static err_t
find_rank(struct op *op, const struct index *index, struct btree_point point, struct rank *rank)
{
    block_t block = BTREE_META_BLOCK;

    *rank = (struct rank){ .search = { .target = point }, .way = BTREE_WAY_LOST };
    for (int steps = 0; rank->way != BTREE_WAY_HERE; steps++) {
        if (steps == BTREE_FIND_STEPS)
            return btree_find_corrupt(index, block, "the links go in a circle");
        if (rank->way == BTREE_WAY_LOST) {
            TRY_RETURN(interrupt_check(op));
            TRY_RETURN(btree_find_root(index, &block, &rank->search.level_here));
            rank->position = 0;
            rank->width = rank->entries = 1;
        }
        TRY_RETURN(btree_find_look(index, block, look_at_rank, rank));
        block = rank->search.next;
        if (rank->way != BTREE_WAY_HERE && rank->way != BTREE_WAY_DOWN)
            continue;
        if (rank->way == BTREE_WAY_DOWN) {
            rank->search.level_here--;
            rank->slot -= rank->slot > 0; /* the child, not what stands behind it */
        }
        rank->width /= rank->slots > 0 ? rank->slots : 1;
        rank->position += rank->width * rank->slot;
        rank->entries *= rank->slots;
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
    empty = scan->last;
    if (empty)
        goto done;
    TRY(find_rank(op, index, scan->begin.none ? lowest : scan->begin.point, &low));
    TRY(find_rank(op, index, scan->end.none ? highest() : scan->end.point, &high));
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
