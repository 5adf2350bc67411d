/*
 * btree_build.h - making a tree from entries that come in order.
 */
#ifndef STORAGE_INDEX_BTREE_BUILD_H
#define STORAGE_INDEX_BTREE_BUILD_H

#include "storage/index/btree_page.h"

/* As index_methods' build: the tree is new (created, empty) and nobody else has it. */
err_t btree_build(struct op *op, const struct index *index, xid_t xid,
    err_t (*next)(void *context, struct index_entry *entry, bool *found), void *context) MUST_CHECK;

#endif
