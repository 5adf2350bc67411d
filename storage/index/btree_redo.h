/*
 * btree_redo.h - doing again what the log says of trees.
 */
#ifndef STORAGE_INDEX_BTREE_REDO_H
#define STORAGE_INDEX_BTREE_REDO_H

#include "wal/wal_record.h"

extern const struct wal_handler btree_redo_insert, btree_redo_insert_many, btree_redo_delete;
/* Splits, roots, removed pages and pages made anew carry their pages whole. */
extern const struct wal_handler btree_redo_whole;

#endif
