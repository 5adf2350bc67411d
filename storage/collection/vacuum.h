/*
 * vacuum.h - giving back what dead versions take.
 */
#ifndef STORAGE_COLLECTION_VACUUM_H
#define STORAGE_COLLECTION_VACUUM_H

#include "storage/collection/catalog.h"

/* Heap and indexes of one collection; *live counts its documents.  In a section.  Errors:
   ERR_LOCK_TIMEOUT: for two seconds somebody else was at it, or built an index. */
err_t vacuum_collection(
    struct op *op, const struct catalog_collection *collection, uint64_t *live) MUST_CHECK;
/* Autovacuum's round: the collections of whose versions at least `dead_percent` in a hundred
   documents are dead, and the catalog itself; files of dropped things whose readers are gone are
   removed. */
err_t vacuum_round(struct op *op, int64_t dead_percent) MUST_CHECK;
/* Remove the indexes that a builder left unfinished, if any may be there. */
err_t vacuum_unfinished(struct op *op) MUST_CHECK;

#endif
