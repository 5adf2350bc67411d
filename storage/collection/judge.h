/*
 * judge.h - putting a key into a unique index: who else has it, and does he live?
 *
 * Inside storage/collection only.
 */
#ifndef STORAGE_COLLECTION_JUDGE_H
#define STORAGE_COLLECTION_JUDGE_H

#include "storage/heap/heap.h"
#include "storage/index/index.h"

struct judge {
    struct op *op;
    const struct heap *heap;
    struct txn *txn;
};

/* Put the entry in; another's transaction in progress that has the key is waited for (no lock is
   held then).  *conflict: a living row has the key; the entry is not in.  An index that is not
   unique never conflicts.  Errors: those of the index; of waiting. */
err_t judge_insert(struct judge *judge, const struct index *index, struct bytes key,
    struct row_id row, bool *conflict) MUST_CHECK;

/* Put many in, given in order; of a unique index each key once.  Waits for nobody: *done tells how
   many are in before the first that meets a conflict or must wait. */
err_t judge_insert_many(struct judge *judge, const struct index *index,
    const struct index_entry *entries, size_t count, size_t *done) MUST_CHECK;

/* Would a row at `self` (ROW_ID_NONE: a new one) find the key taken?  Waits as judge_insert. */
err_t judge_probe(struct judge *judge, const struct index *index, struct bytes key,
    struct row_id self, bool *conflict) MUST_CHECK;

/* Take back a row that this transaction has put into the heap, and keep the error under way. */
void judge_undo(struct judge *judge, struct row_id row);

#endif
