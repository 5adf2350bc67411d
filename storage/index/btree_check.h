/*
 * btree_check.h - is a tree as it should be?
 */
#ifndef STORAGE_INDEX_BTREE_CHECK_H
#define STORAGE_INDEX_BTREE_CHECK_H

#include "storage/index/btree_page.h"

/* As index_methods' check. */
err_t btree_check(struct op *op, const struct index *index,
    void (*report)(void *context, struct page_id where, const char *what),
    err_t (*visit)(void *context, const struct index_entry *entry), void *context,
    uint64_t *entries) MUST_CHECK;

#endif
