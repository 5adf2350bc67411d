/*
 * collection.c - documents with their keys: reading one, and who is told of changes.
 */
#include "storage/collection/collection.h"

#include "storage/collection/collection_sink.h"
#include "storage/collection/keys.h"

#define ROWS_QUICK 8 /* versions of one _id that are looked at without a scan */

const struct collection_sink *collection_sink;

void
collection_set_sink(const struct collection_sink *sink)
{
    collection_sink = sink;
}

static err_t
get_slowly(struct op *op, const struct snapshot *snapshot,
    const struct catalog_collection *collection, struct bytes key, struct buf *out,
    struct row_id *root, bool *found)
{
    const struct index *index = &collection->index[0]->index;
    const struct index_methods *methods = index_methods(index->kind);
    struct index_range range = { .low = key, .high = key, .has_low = true, .has_high = true };
    struct index_scan *scan;
    struct index_entry entry;
    bool more = true;
    err_t err;

    TRY_RETURN(methods->scan_begin(op, index, &range, &scan));
    while (more && !*found) {
        TRY(methods->scan_next(op, scan, &entry, &more));
        if (!more)
            break;
        *root = entry.row;
        TRY(heap_get(op, &collection->heap, snapshot, entry.row, out, NULL, found));
    }
    err = OK;
out:
    methods->scan_end(scan);
    return err;
}

err_t
collection_get(struct op *op, const struct snapshot *snapshot,
    const struct catalog_collection *collection, struct bytes key, struct buf *out,
    struct row_id *root, bool *found)
{
    const struct index *index = &collection->index[0]->index;
    struct row_id rows[ROWS_QUICK], place;
    size_t count;

    if (root == NULL)
        root = &place;
    *found = false;
    TRY_RETURN(index_methods(index->kind)->lookup(op, index, key, rows, ROWS_QUICK, &count));
    if (count > ROWS_QUICK)
        return get_slowly(op, snapshot, collection, key, out, root, found);
    for (size_t i = 0; i < count && !*found; i++) {
        *root = rows[i];
        TRY_RETURN(heap_get(op, &collection->heap, snapshot, rows[i], out, NULL, found));
    }
    return OK;
}
