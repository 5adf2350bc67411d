/*
 * btree_vacuum.h - taking dead entries out of a tree, and empty pages out of it.
 */
#ifndef STORAGE_INDEX_BTREE_VACUUM_H
#define STORAGE_INDEX_BTREE_VACUUM_H

#include "storage/index/btree_page.h"

/* As index_methods' remove. */
err_t btree_vacuum(struct op *op, const struct index *index,
    bool (*dead)(void *context, struct row_id row), void *context, uint64_t *removed) MUST_CHECK;

#endif
