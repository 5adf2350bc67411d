/*
 * btree_scan.h - walking a range of a tree, and looking one key up.
 */
#ifndef STORAGE_INDEX_BTREE_SCAN_H
#define STORAGE_INDEX_BTREE_SCAN_H

#include "storage/index/btree_page.h"

/* As index_methods. */
err_t btree_scan_begin(struct op *op, const struct index *index, const struct index_range *range,
    struct index_scan **scan) MUST_CHECK;
err_t btree_scan_next(
    struct op *op, struct index_scan *scan, struct index_entry *entry, bool *found) MUST_CHECK;
size_t btree_scan_ahead(const struct index_scan *scan, const struct row_id **rows);
err_t btree_scan_seek(
    struct op *op, struct index_scan *scan, struct bytes key, struct row_id row) MUST_CHECK;
void btree_scan_end(struct index_scan *scan);
void btree_scan_forget_private(void); /* memory kept for the next scan of this thread */
err_t btree_scan_lookup(struct op *op, const struct index *index, struct bytes key,
    struct row_id *rows, size_t most, size_t *count) MUST_CHECK;
err_t btree_scan_estimate(struct op *op, const struct index *index, const struct index_range *range,
    uint64_t *entries) MUST_CHECK;

#endif
