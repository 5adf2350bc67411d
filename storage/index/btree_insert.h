/*
 * btree_insert.h - putting entries into a tree.
 */
#ifndef STORAGE_INDEX_BTREE_INSERT_H
#define STORAGE_INDEX_BTREE_INSERT_H

#include "storage/index/btree_page.h"

/* As index_methods' insert and create. */
err_t btree_insert(struct op *op, const struct index *index, struct bytes key, struct row_id row,
    xid_t xid, const struct index_judge *judge, enum index_verdict *verdict, struct row_id *other,
    xid_t *wait_for) MUST_CHECK;
err_t btree_insert_create(const struct index *index, xid_t xid) MUST_CHECK;

/* Form of WAL_BTREE_INSERT's data about its first page; the suffix follows. */
struct btree_insert_record {
    uint16_t slot;
    uint16_t suffix_size;
    block_t child;
    uint64_t place;
};
_Static_assert(sizeof(struct btree_insert_record) == 16, "in the log");

#endif
