/*
 * btree_insert_many.h - putting many entries into a tree, in key order.
 */
#ifndef STORAGE_INDEX_BTREE_INSERT_MANY_H
#define STORAGE_INDEX_BTREE_INSERT_MANY_H

#include "storage/index/btree_page.h"

/* As index_methods. */
err_t btree_insert_many(struct op *op, const struct index *index, const struct index_entry *entries,
    size_t count, xid_t xid, const struct index_judge *judge, size_t *done) MUST_CHECK;

/* Form of WAL_BTREE_INSERT_MANY's data about its page: the head, the entries, then their suffixes
   one behind the other.  A slot is that of the page as it is when the entries before are in. */
struct btree_insert_many_record {
    uint32_t count;
};
struct btree_insert_many_entry {
    uint16_t slot;
    uint16_t suffix_size;
    block_t block;
    uint16_t item;
    uint16_t zero;
};
_Static_assert(sizeof(struct btree_insert_many_entry) == 12, "in the log");

/* Put them on the page.  False: they do not fit it, and some may be in. */
bool btree_insert_many_apply(void *page, const struct btree_insert_many_entry *entries,
    size_t count, struct bytes suffixes) MUST_CHECK;

#endif
