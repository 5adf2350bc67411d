/*
 * index.c - the table of index kinds.
 */
#include "storage/index/index.h"

#include <stddef.h>

#include "storage/index/btree.h"

const struct index_methods *
index_methods(enum index_kind kind)
{
    return kind == INDEX_BTREE ? &btree_methods : NULL;
}
