/*
 * entrysort.h - putting the entries of an index in order, whatever their number.
 *
 * Inside storage/collection only.  In memory up to a bound; beyond, sorted runs go to one file that
 * has no name (it is gone with its process), and are merged.  Belongs to one process.
 */
#ifndef STORAGE_COLLECTION_ENTRYSORT_H
#define STORAGE_COLLECTION_ENTRYSORT_H

#include "base/op.h"
#include "storage/index/index.h"

struct entrysort;

/* `memory`: bytes kept before a run is written.  `folder`: where to put the file; made if missing.
   Errors: ERR_MEMORY. */
err_t entrysort_create(const char *folder, size_t memory, struct entrysort **sort) MUST_CHECK;
void entrysort_destroy(struct entrysort *sort); /* NULL: nothing */

/* Errors: ERR_MEMORY, ERR_DISK_FULL, ERR_IO. */
err_t entrysort_add(struct entrysort *sort, struct bytes key, struct row_id row) MUST_CHECK;
/* All are in. */
err_t entrysort_finish(struct entrysort *sort) MUST_CHECK;
/* In order of key, then place; valid until the next call. */
err_t entrysort_next(struct entrysort *sort, struct index_entry *entry, bool *found) MUST_CHECK;

#endif
