/*
 * collection_scan.c - reading many documents: in natural order, or in that of an index.
 *
 * A scan of an index walks entries and fetches their rows; nothing shared is held between calls.
 *
 * INVARIANTS
 *   N1  All versions of one root that a snapshot may see by an index have the same keys in it
 *       (README.md, "Entries and versions"): so an entry whose row is seen is not stale.
 *   N2  A document with several keys in the ranges is given once, at the first of them in the order
 *       of the scan.  That is found from its keys alone: no memory, and a scan taken up elsewhere
 *       need not know what was given before.
 *   N3  What was fetched ahead are the rows of the entries that come next, in their order; the
 *       snapshot is held, so it is the same as if each were fetched when its entry comes.
 *   N4  An index that has become multikey since the section began is told before any row of it is
 *       read: the plan may rest on its not being so.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "shmem/interrupt.h"
#include "storage/collection/catalog_copy.h"
#include "storage/collection/catalog_share.h"
#include "storage/collection/collection.h"

#define KEEP_ROW    ((size_t)1 << 20)
#define FEW_RANGES  4u
#define FEW_BOUNDS  256u
#define FETCH_BEGIN 4u /* rows fetched ahead at first; a query may want one only */

struct collection_scan {
    struct buf row; /* rows fetched, one behind the other; the one thing that a spare scan keeps */
    struct heap heap;
    struct snapshot snapshot;
    struct heap_scan *rows; /* natural order */
    struct row_id last;     /* root of the last document given; NONE: none yet */
    /* By an index: */
    const struct index_methods *methods; /* NULL: natural order */
    struct index index;
    struct index_scan *entries; /* NULL: the next range is to be begun */
    struct index_range *range;
    uint8_t *bounds; /* bytes of all ranges' keys */
    size_t range_count, at;
    size_t last_key_size;
    bool multikey;
    const struct indexkey_spec *spec; /* a copy's: valid in the section; NULL unless multikey */
    struct arena *arena;              /* holds a spec that outlives the section */
    struct indexkey_set keys;
    size_t fetch, fetched, taken; /* how many at a time; how many there are, and were given */
    struct index_range few_ranges[FEW_RANGES];
    /* From here on nothing is zeroed at the beginning. */
    uint8_t last_key[INDEX_KEY_MAX];
    uint8_t few_bounds[FEW_BOUNDS];
    struct heap_got got[HEAP_GET_MANY];
};

static _Thread_local struct collection_scan *spare; /* ended; its memory is for the next */

/* ---- beginning ---- */

static err_t
begin(const struct catalog_collection *collection, const struct snapshot *snapshot,
    struct collection_scan **scan)
{
    struct collection_scan *new = spare;

    spare = NULL;
    if (new == NULL) {
        new = malloc(sizeof *new);
        if (new == NULL)
            return err_set(ERR_MEMORY, "could not begin a scan: out of memory");
        new->row = buf_init(HEAP_GET_BYTES + (size_t)HEAP_ROW_MAX);
    }
    memset(&new->heap, 0,
        offsetof(struct collection_scan, last_key) - offsetof(struct collection_scan, heap));
    new->heap = collection->heap;
    new->snapshot = *snapshot;
    new->last = ROW_ID_NONE;
    new->fetch = FETCH_BEGIN;
    indexkey_set_init(&new->keys);
    *scan = new;
    return OK;
}

err_t
collection_scan_begin(struct op *op, const struct catalog_collection *collection,
    const struct snapshot *snapshot, struct collection_scan **scan)
{
    err_t err;

    *scan = NULL;
    TRY(begin(collection, snapshot, scan));
    TRY(heap_scan_begin(op, &collection->heap, snapshot, &(*scan)->rows));
    return OK;
out:
    collection_scan_end(*scan);
    *scan = NULL;
    return err;
}

/* N4.  Rows that gave the index its second key are seen only by snapshots taken after the version
   was raised. */
static err_t
look_multikey(
    struct op *op, const struct catalog_collection *collection, const struct catalog_index *index)
{
    const struct catalog_collection *now;
    const struct catalog_index *there;

    if (index->multikey || catalog_share_version() == catalog_share_section())
        return OK;
    TRY_RETURN(catalog_copy_fresh(
        op, NULL, collection->tenant, collection->database, collection->name, &now));
    there =
        now != NULL && now->oid == collection->oid ? catalog_find_index(now, index->name) : NULL;
    if (there == NULL || there->oid != index->oid || !there->multikey)
        return OK;
    return err_set(ERR_WRITE_CONFLICT,
        "the index '%s' got its first array just now; the operation may be retried", index->name);
}

static err_t
copy_ranges(struct collection_scan *scan, const struct index_range *ranges, size_t count)
{
    size_t bytes = 0;
    uint8_t *to;

    for (size_t i = 0; i < count; i++)
        bytes += ranges[i].low.size + ranges[i].high.size;
    scan->range = count <= FEW_RANGES ? scan->few_ranges : calloc(count, sizeof *scan->range);
    scan->bounds = to = bytes <= FEW_BOUNDS ? scan->few_bounds : malloc(bytes);
    if (scan->range == NULL || scan->bounds == NULL)
        return err_set(ERR_MEMORY, "could not begin an index scan: out of memory");
    for (size_t i = 0; i < count; i++) {
        struct index_range *range = &scan->range[i];

        *range = ranges[i];
        if (range->low.size > 0)
            memcpy(to, range->low.data, range->low.size);
        range->low.data = to;
        to += range->low.size;
        if (range->high.size > 0)
            memcpy(to, range->high.data, range->high.size);
        range->high.data = to;
        to += range->high.size;
    }
    scan->range_count = count;
    return OK;
}

/* The scan may live longer than the section whose copy has the spec. */
static err_t
copy_spec(struct collection_scan *scan, const struct catalog_index *index)
{
    struct indexkey_spec *spec;

    scan->arena = arena_create("scan", (size_t)1 << 20);
    spec = scan->arena != NULL ? arena_alloc(scan->arena, sizeof *spec) : NULL;
    if (spec == NULL)
        return ERR_MEMORY;
    TRY_RETURN(indexkey_spec_parse(scan->arena, index->key_pattern, spec));
    spec->size_max = index->spec->size_max;
    spec->sparse = index->spec->sparse;
    spec->scalar_only = index->spec->scalar_only;
    scan->spec = spec;
    return OK;
}

err_t
collection_scan_index(struct op *op, const struct catalog_collection *collection,
    const struct catalog_index *index, const struct index_range *ranges, size_t range_count,
    const struct snapshot *snapshot, struct collection_scan **scan)
{
    err_t err;

    *scan = NULL;
    TRY_RETURN(look_multikey(op, collection, index));
    TRY(begin(collection, snapshot, scan));
    (*scan)->methods = index_methods(index->index.kind);
    (*scan)->index = index->index;
    (*scan)->multikey = index->multikey;
    TRY(copy_ranges(*scan, ranges, range_count));
    if (index->multikey)
        TRY(copy_spec(*scan, index));
    return OK;
out:
    collection_scan_end(*scan);
    *scan = NULL;
    return err;
}

void
collection_scan_end(struct collection_scan *scan)
{
    if (scan == NULL)
        return;
    if (scan->entries != NULL)
        scan->methods->scan_end(scan->entries);
    heap_scan_end(scan->rows);
    if (scan->range != scan->few_ranges)
        free(scan->range);
    if (scan->bounds != scan->few_bounds)
        free(scan->bounds);
    arena_destroy(scan->arena);
    indexkey_set_fini(&scan->keys);
    if (spare != NULL) {
        buf_fini(&scan->row);
        free(scan);
        return;
    }
    buf_clear(&scan->row);
    buf_shrink(&scan->row, HEAP_GET_BYTES);
    spare = scan;
}

void
collection_scan_forget_private(void)
{
    if (spare != NULL)
        buf_fini(&spare->row);
    free(spare);
    spare = NULL;
}

/* ---- N2 ---- */

static bool
begins_with(struct bytes key, struct bytes prefix)
{
    return key.size >= prefix.size &&
           (prefix.size == 0 || memcmp(key.data, prefix.data, prefix.size) == 0);
}

static bool
in_range(const struct index_range *range, struct bytes key)
{
    int order;

    if (range->has_low) {
        order = bytes_compare(key, range->low);
        if (order < 0 || (order == 0 && range->low_excluded) ||
            (range->low_prefix_excluded && begins_with(key, range->low)))
            return false;
    }
    if (range->has_high) {
        order = bytes_compare(key, range->high);
        if (range->high_prefix_included && begins_with(key, range->high))
            return true;
        if (order > 0 || (order == 0 && range->high_excluded))
            return false;
    }
    return true;
}

/* The first of the document's keys that the scan meets. */
static bool
first_key(const struct collection_scan *scan, size_t *range, struct bytes *key)
{
    for (size_t r = 0; r < scan->range_count; r++) {
        for (size_t k = 0; k < scan->keys.count; k++) {
            size_t at = scan->range[r].backward ? scan->keys.count - 1 - k : k;

            *key = indexkey_set_key(&scan->keys, at);
            *range = r;
            if (in_range(&scan->range[r], *key))
                return true;
        }
    }
    return false;
}

static err_t
is_first(struct collection_scan *scan, struct bytes document, struct bytes key, bool *first)
{
    struct bytes least;
    size_t range;

    *first = true;
    if (!scan->multikey)
        return OK;
    TRY_RETURN(indexkey_make(scan->spec, document, &scan->keys));
    *first = first_key(scan, &range, &least) && range == scan->at && bytes_equal(least, key);
    return OK;
}

/* ---- going on ---- */

static err_t
next_row(struct op *op, struct collection_scan *scan, struct bytes *document, bool *found)
{
    return heap_scan_next(op, scan->rows, document, &scan->last, NULL, found);
}

static err_t
next_entry(struct op *op, struct collection_scan *scan, struct index_entry *entry, bool *more)
{
    *more = false;
    while (!*more && scan->at < scan->range_count) {
        if (scan->entries == NULL)
            TRY_RETURN(scan->methods->scan_begin(
                op, &scan->index, &scan->range[scan->at], &scan->entries));
        TRY_RETURN(scan->methods->scan_next(op, scan->entries, entry, more));
        if (*more)
            break;
        scan->methods->scan_end(scan->entries);
        scan->entries = NULL;
        scan->at++;
    }
    return OK;
}

/* The rows of this entry and of those known to follow it. */
static err_t
fetch(struct op *op, struct collection_scan *scan, struct row_id root)
{
    struct row_id roots[HEAP_GET_MANY] = { root };
    const struct row_id *ahead;
    size_t count = scan->methods->scan_ahead(scan->entries, &ahead);

    if (count > scan->fetch - 1)
        count = scan->fetch - 1;
    if (count > 0)
        memcpy(roots + 1, ahead, count * sizeof *ahead);
    buf_shrink(&scan->row, KEEP_ROW);
    buf_clear(&scan->row);
    scan->taken = scan->fetched = 0;
    count++;
    TRY_RETURN(
        heap_get_many(op, &scan->heap, &scan->snapshot, roots, &count, &scan->row, scan->got));
    scan->fetched = count;
    scan->fetch = HEAP_GET_MANY;
    return OK;
}

/* The row of an entry. */
static err_t
take(struct op *op, struct collection_scan *scan, struct row_id root, struct bytes *row, bool *seen)
{
    const struct heap_got *got;
    size_t begin;

    if (scan->taken == scan->fetched)
        TRY_RETURN(fetch(op, scan, root));
    got = &scan->got[scan->taken];
    invariant(got->root.block == root.block && got->root.item == root.item); /* N3 */
    begin = scan->taken > 0 ? got[-1].end : 0;
    *row = (struct bytes){ NULL, 0 };
    if (got->end > begin)
        *row = (struct bytes){ scan->row.data + begin, got->end - begin };
    *seen = got->found;
    scan->taken++;
    return OK;
}

static err_t
next_by_index(struct op *op, struct collection_scan *scan, struct bytes *document, bool *found)
{
    struct index_entry entry;
    bool more, seen;

    for (unsigned turn = 0;; turn++) {
        if (turn % 64 == 63)
            TRY_RETURN(interrupt_check(op));
        TRY_RETURN(next_entry(op, scan, &entry, &more));
        if (!more)
            return OK;
        TRY_RETURN(take(op, scan, entry.row, document, &seen));
        if (!seen)
            continue;
        TRY_RETURN(is_first(scan, *document, entry.key, found));
        if (*found)
            break;
    }
    scan->last = entry.row;
    scan->last_key_size = entry.key.size;
    memcpy(scan->last_key, entry.key.data, entry.key.size);
    return OK;
}

err_t
collection_scan_next(struct op *op, struct collection_scan *scan, struct bytes *document,
    struct row_id *root, bool *found)
{
    *found = false;
    TRY_RETURN(scan->methods == NULL ? next_row(op, scan, document, found)
                                     : next_by_index(op, scan, document, found));
    if (*found && root != NULL)
        *root = scan->last;
    return OK;
}

/* ---- positions ---- */

struct position {
    uint64_t range;
    uint32_t block;
    uint16_t item;
    uint16_t key_size;
};
_Static_assert(sizeof(struct position) == 16, "passed between processes");

err_t
collection_scan_save(struct collection_scan *scan, struct buf *position)
{
    struct position head = { scan->at, scan->last.block, scan->last.item,
        (uint16_t)scan->last_key_size };

    TRY_RETURN(buf_append(position, &head, sizeof head));
    return buf_append(position, scan->last_key, scan->last_key_size);
}

static err_t
restore_index(struct op *op, struct collection_scan *scan, const struct position *head)
{
    struct bytes key = { scan->last_key, scan->last_key_size };

    scan->at = (size_t)head->range;
    scan->fetched = scan->taken = 0;
    if (scan->entries != NULL)
        scan->methods->scan_end(scan->entries);
    scan->entries = NULL;
    if (scan->at >= scan->range_count || !in_range(&scan->range[scan->at], key) ||
        scan->last.block == BLOCK_NONE)
        return OK; /* that range is to be begun */
    TRY_RETURN(scan->methods->scan_begin(op, &scan->index, &scan->range[scan->at], &scan->entries));
    return scan->methods->scan_seek(op, scan->entries, key, scan->last);
}

err_t
collection_scan_restore(struct op *op, struct collection_scan *scan, struct bytes position)
{
    struct position head;

    if (position.size < sizeof head)
        return err_set(ERR_BAD_VALUE, "the position of a scan is damaged");
    memcpy(&head, position.data, sizeof head);
    if (position.size != sizeof head + head.key_size || head.key_size > INDEX_KEY_MAX)
        return err_set(ERR_BAD_VALUE, "the position of a scan is damaged");
    scan->last = (struct row_id){ head.block, head.item };
    scan->last_key_size = head.key_size;
    memcpy(scan->last_key, position.data + sizeof head, head.key_size);
    if (scan->methods != NULL)
        return restore_index(op, scan, &head);
    heap_scan_seek(scan->rows, scan->last);
    return OK;
}
