/*
 * keys.h - the keys of one document in all indexes of its collection.
 *
 * Inside storage/collection only.  The sets belong to the process and are refilled.
 */
#ifndef STORAGE_COLLECTION_KEYS_H
#define STORAGE_COLLECTION_KEYS_H

#include "base/doc/indexkey.h"
#include "storage/collection/catalog.h"

enum keys_use { KEYS_NEW, KEYS_OLD, KEYS_USES };

/* Make them; *set[index].  Errors: as indexkey_make; they name the index. */
err_t keys_make(const struct catalog_collection *collection, struct bytes document,
    enum keys_use use, const struct indexkey_set **sets) MUST_CHECK;
bool keys_same(const struct indexkey_set *a, const struct indexkey_set *b);
bool keys_have(const struct indexkey_set *set, struct bytes key);

/* See to it that the catalog knows what this document brings that is new: more than one key in an
   index, a UUID as _id.  In a transaction of its own, unless `txn` has changed definitions. */
err_t keys_announce(struct op *op, struct txn *txn, const struct catalog_collection *collection,
    struct bytes document, const struct indexkey_set *sets) MUST_CHECK;

/* Note the error of a duplicate key (ERR_DUPLICATE_KEY), and return it. */
err_t keys_duplicate(const struct catalog_collection *collection, const struct catalog_index *index,
    struct bytes key, struct bytes document);

void keys_forget(void);

#endif
