/*
 * collection_stats.c - how large a collection is.
 */
#include <string.h>

#include "storage/collection/collection.h"
#include "storage/collection/statistics.h"
#include "storage/page/datafile.h"
#include "wal/wal_page.h"

err_t
collection_stats(
    struct op *op, const struct catalog_collection *collection, struct collection_stats *stats)
{
    block_t pages;

    memset(stats, 0, sizeof *stats);
    TRY_RETURN(datafile_blocks(collection->heap.file, &pages));
    stats->heap_bytes = (uint64_t)pages * wal_page_size;
    for (unsigned i = 0; i < collection->index_count; i++) {
        const struct index *index = &collection->index[i]->index;
        uint64_t count;

        TRY_RETURN(index_methods(index->kind)->pages(index, &count));
        stats->index_size[i] = count * wal_page_size;
        stats->index_bytes += stats->index_size[i];
    }
    TRY_RETURN(collection_count_estimate(op, collection, &stats->rows));
    stats->dead = (uint64_t)statistics_get(collection->oid).dead;
    return OK;
}
