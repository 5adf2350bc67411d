/*
 * btree.c - the B-link tree's row in the table of index kinds.
 */
#include "storage/index/btree.h"

#include "storage/index/btree_build.h"
#include "storage/index/btree_check.h"
#include "storage/index/btree_insert.h"
#include "storage/index/btree_insert_many.h"
#include "storage/index/btree_scan.h"
#include "storage/index/btree_vacuum.h"
#include "storage/page/datafile.h"

static err_t
count_pages(const struct index *index, uint64_t *pages)
{
    block_t count;

    TRY_RETURN(datafile_blocks(index->file, &count));
    *pages = count;
    return OK;
}

const struct index_methods btree_methods = {
    .kind = INDEX_BTREE,
    .name = "btree",
    .create = btree_insert_create,
    .insert = btree_insert,
    .insert_many = btree_insert_many,
    .lookup = btree_scan_lookup,
    .scan_begin = btree_scan_begin,
    .scan_next = btree_scan_next,
    .scan_ahead = btree_scan_ahead,
    .scan_seek = btree_scan_seek,
    .scan_end = btree_scan_end,
    .remove = btree_vacuum,
    .build = btree_build,
    .check = btree_check,
    .estimate = btree_scan_estimate,
    .pages = count_pages,
};
