/*
 * treefixture.h - a data directory with one tree in it.
 */
#ifndef TESTS_UNIT_STORAGE_INDEX_TREEFIXTURE_H
#define TESTS_UNIT_STORAGE_INDEX_TREEFIXTURE_H

#include "tests/unit/storage/heap/heapfixture.h"

#include "storage/index/btree_page.h"
#include "storage/index/btree_redo.h"
#include "storage/index/btree_scan.h"
#include "storage/index/index.h"

static struct index tree;
static const struct index_methods *methods;

static inline void
tree_fill_handlers(void)
{
    fixture_handlers[WAL_BTREE_INSERT] = btree_redo_insert;
    fixture_handlers[WAL_BTREE_INSERT_MANY] = btree_redo_insert_many;
    fixture_handlers[WAL_BTREE_DELETE] = btree_redo_delete;
    fixture_handlers[WAL_BTREE_SPLIT] = btree_redo_whole;
    fixture_handlers[WAL_BTREE_ROOT] = btree_redo_whole;
    fixture_handlers[WAL_BTREE_UNLINK] = btree_redo_whole;
    fixture_handlers[WAL_BTREE_META] = btree_redo_whole;
}

static inline void
tree_new(bool unique)
{
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);
    xid_t xid;

    methods = index_methods(INDEX_BTREE);
    tree = (struct index){ .kind = INDEX_BTREE, .unique = unique };
    OKAY(txn_xid(txn, &xid));
    OKAY(datafile_next(&tree.file));
    OKAY(methods->create(&tree, xid));
    fixture_commit(txn);
}

static inline void
tree_make(int64_t pool_bytes, uint32_t page_size)
{
    tree_fill_handlers();
    fixture_make(pool_bytes, page_size);
    fixture_start();
    tree_new(false);
}

static inline int
tree_setup(void **state)
{
    (void)state;
    tree_make(8 << 20, fixture_page_size);
    return 0;
}

static inline struct row_id
row_number(uint64_t number)
{
    return (struct row_id){ (block_t)(number / 100), (uint16_t)(number % 100 + 1) };
}

static inline enum index_verdict
tree_insert(struct bytes key, struct row_id row, const struct index_judge *judge)
{
    enum index_verdict verdict;
    struct row_id other;
    xid_t wait_for;

    OKAY(methods->insert(NULL, &tree, key, row, 1, judge, &verdict, &other, &wait_for));
    return verdict;
}

static inline void
tree_fault(void *context, struct page_id where, const char *what)
{
    (void)context;
    fail_msg("block %u: %s", where.block, what);
}

static inline uint64_t
tree_check(void)
{
    uint64_t entries = 0;

    OKAY(methods->check(NULL, &tree, tree_fault, NULL, NULL, &entries));
    return entries;
}

#endif
