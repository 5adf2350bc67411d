/*
 * collection_count.c - how many documents there are.
 */
#include "storage/collection/collection.h"

#include "storage/collection/statistics.h"
#include "storage/page/datafile.h"

#define EXACT_PAGES  64u  /* at most so many are counted rather than guessed */
#define SAMPLE_PAGES 128u /* of a large heap */

err_t
collection_count(struct op *op, const struct catalog_collection *collection,
    const struct snapshot *snapshot, uint64_t *rows)
{
    struct heap_scan *scan;
    struct row_id root;
    bool found;
    err_t err;

    *rows = 0;
    TRY_RETURN(heap_scan_begin(op, &collection->heap, snapshot, &scan));
    for (;;) {
        TRY(heap_scan_next(op, scan, NULL, &root, NULL, &found));
        if (!found)
            break;
        ++*rows;
    }
out:
    heap_scan_end(scan);
    return err;
}

/* Rows on some pages, spread evenly, as if all were like them. */
static err_t
sample(struct op *op, const struct catalog_collection *collection, const struct snapshot *snapshot,
    block_t pages, uint64_t *rows)
{
    uint64_t seen = 0, looked = 0;
    struct heap_scan *scan;
    struct row_id root;
    bool found;
    err_t err;

    TRY_RETURN(heap_scan_begin(op, &collection->heap, snapshot, &scan));
    for (unsigned i = 0; i < SAMPLE_PAGES; i++, looked++) {
        block_t block = (block_t)((uint64_t)pages * i / SAMPLE_PAGES);

        heap_scan_seek(scan, (struct row_id){ block, 0 });
        for (;;) {
            TRY(heap_scan_next(op, scan, NULL, &root, NULL, &found));
            if (!found || root.block != block)
                break;
            seen++;
        }
    }
    *rows = seen * pages / looked;
out:
    heap_scan_end(scan);
    return err;
}

static err_t
count_or_guess(
    struct op *op, const struct catalog_collection *collection, block_t pages, uint64_t *rows)
{
    struct txn *txn;
    err_t err;

    TRY_RETURN(txn_begin(op, TXN_READ_COMMITTED, false, &txn));
    err = pages <= EXACT_PAGES ? collection_count(op, collection, txn_snapshot(txn), rows)
                               : sample(op, collection, txn_snapshot(txn), pages, rows);
    txn_abort(op, txn);
    return err;
}

err_t
collection_count_estimate(
    struct op *op, const struct catalog_collection *collection, uint64_t *rows)
{
    struct statistics known;
    block_t pages;

    statistics_flush();
    TRY_RETURN(datafile_blocks(collection->heap.file, &pages));
    known = statistics_get(collection->oid);
    if (pages > EXACT_PAGES && known.known) {
        *rows = (uint64_t)known.rows;
        return OK;
    }
    TRY_RETURN(count_or_guess(op, collection, pages, rows));
    if (pages > EXACT_PAGES)
        statistics_set(collection->oid, *rows, (uint64_t)known.dead);
    return OK;
}
