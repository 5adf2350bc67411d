/*
 * definition.h - what an index is to be: MongoDB's index specifications.
 *
 * Inside storage/collection only.
 */
#ifndef STORAGE_COLLECTION_DEFINITION_H
#define STORAGE_COLLECTION_DEFINITION_H

#include "storage/collection/catalog.h"

struct definition {
    const char *name;    /* given, or made from the keys */
    struct bytes key;    /* {a: 1, b: -1} */
    struct bytes stored; /* as it is kept and listed */
    bool unique, sparse, scalar_only;
    enum index_kind kind;
};

/* Read and check one from a client; what it holds lies in the arena.  Errors:
   ERR_CANNOT_CREATE_INDEX, ERR_INDEX_SPEC (197: an unknown field), ERR_TYPE_MISMATCH. */
err_t definition_read(
    struct arena *arena, struct bytes bytes, struct definition *definition) MUST_CHECK;
/* That of _id_. */
err_t definition_of_id(struct arena *arena, struct definition *definition) MUST_CHECK;

/* Fill in what follows from index->definition and index->index. */
err_t definition_compile(struct arena *arena, struct catalog_index *index) MUST_CHECK;

/* Compare with those that are there.  *existed: the very same is.  Errors: ERR_INDEX_OPTIONS,
   ERR_INDEX_KEY_SPECS, ERR_CANNOT_CREATE_INDEX: too many. */
err_t definition_compare(const struct catalog_collection *collection,
    const struct definition *definition, bool *existed) MUST_CHECK;

#endif
