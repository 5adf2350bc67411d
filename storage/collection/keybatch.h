/*
 * keybatch.h - the keys of a batch of rows, put into each index in order.
 *
 * Inside storage/collection only.  There is one batch a process; nothing of it outlives the call
 * that puts the rows in, but memory.
 */
#ifndef STORAGE_COLLECTION_KEYBATCH_H
#define STORAGE_COLLECTION_KEYBATCH_H

#include "base/doc/indexkey.h"
#include "storage/collection/catalog.h"
#include "storage/collection/judge.h"

void keybatch_begin(void);
/* The keys of the batch's next row, one set for each index.  More than is worth its memory is not
   kept: keybatch_insert then does nothing. */
err_t keybatch_add(
    const struct catalog_collection *collection, const struct indexkey_set *sets) MUST_CHECK;
/* The rows are in the heap, at `roots`: put their keys into all indexes.  *whole false: a key is
   taken, or perhaps will be, or there are too many; some are in, and all must be put in row by row
   (what is in already does no harm), which tells the row that may not be there, and why. */
err_t keybatch_insert(struct judge *judge, const struct catalog_collection *collection,
    const struct row_id *roots, bool *whole) MUST_CHECK;

void keybatch_forget(void); /* this thread's memory */

#endif
