/*
 * collection_sink.h - telling the floor above of a change, if it wants to know.
 *
 * Inside storage/collection only.
 */
#ifndef STORAGE_COLLECTION_COLLECTION_SINK_H
#define STORAGE_COLLECTION_COLLECTION_SINK_H

#include "storage/collection/collection.h"

extern const struct collection_sink *collection_sink; /* const after the start; NULL: nobody */

static inline err_t
collection_tell(struct op *op, struct txn *txn, const struct catalog_collection *collection,
    struct bytes before, struct bytes after)
{
    return collection_sink == NULL ? OK
                                   : collection_sink->changed(op, txn, collection, before, after);
}

#endif
