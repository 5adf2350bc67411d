/*
 * catalog_create.h - what index builds share with the making of collections.
 *
 * Inside storage/collection only.
 */
#ifndef STORAGE_COLLECTION_CATALOG_CREATE_H
#define STORAGE_COLLECTION_CATALOG_CREATE_H

#include "storage/collection/definition.h"

/* Put the row of a new index in, in this state, and make its file; *oid is its number. */
err_t catalog_create_index_row(struct op *op, struct txn *txn, uint64_t collection,
    const struct definition *definition, enum catalog_index_state state, uint64_t *oid) MUST_CHECK;

#endif
