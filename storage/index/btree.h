/*
 * btree.h - the B-link tree.
 *
 * Form, law and records: storage/index/README.md.
 */
#ifndef STORAGE_INDEX_BTREE_H
#define STORAGE_INDEX_BTREE_H

#include "storage/index/index.h"

extern const struct index_methods btree_methods;

#endif
