/*
 * collection_insert.c - putting documents in.
 *
 *   keys of all indexes ─▶ catalog told of what is new ─▶ heap ─▶ each index ─▶ sink
 *
 * All that can be wrong with the document is found before the heap is touched.  A unique index may
 * refuse it after: the row is taken back (dead to all at once), its entries in other indexes point
 * to a dead row until vacuum takes them out.
 *
 * INVARIANTS
 *   I1  A row's entries are in all indexes of the copy of the definition that the section found,
 *       BUILDING ones included, before the statement ends; whoever makes an index waits until no
 *       section has an older copy.
 *
 * IF A PROCESS DIES anywhere, its transaction has failed: the row is dead, entries point to it.
 */
#include <string.h>

#include "base/doc/bsonvalue.h"
#include "base/fault.h"
#include "shmem/interrupt.h"
#include "storage/collection/collection.h"
#include "storage/collection/collection_sink.h"
#include "storage/collection/judge.h"
#include "storage/collection/keybatch.h"
#include "storage/collection/keys.h"
#include "storage/collection/statistics.h"

#define BATCH_ROWS  256u
#define BATCH_BYTES ((size_t)1 << 20)

static err_t
check_size(struct bytes document)
{
    if (document.size > COLLECTION_DOCUMENT_MAX)
        return err_set(ERR_TOO_LARGE,
            "object to insert too large. size in bytes: %zu, max size: %u", document.size,
            COLLECTION_DOCUMENT_MAX);
    return OK;
}

/* The row is in the heap: put its keys into every index.  `sets` NULL: they are in. */
static err_t
insert_keys(struct judge *judge, const struct catalog_collection *collection, struct bytes document,
    const struct indexkey_set *sets, struct row_id root)
{
    for (unsigned i = 0; i < collection->index_count && sets != NULL; i++) {
        const struct catalog_index *index = collection->index[i];

        for (size_t k = 0; k < sets[i].count; k++) {
            bool conflict;

            TRY_RETURN(
                judge_insert(judge, &index->index, indexkey_set_key(&sets[i], k), root, &conflict));
            if (conflict)
                return keys_duplicate(collection, index, indexkey_set_key(&sets[i], k), document);
        }
        (void)fault_pass(FAULT_ROW_KEYS);
    }
    return OK;
}

/* Keys and sink of one row that is in the heap; undone if it may not be there. */
static err_t
finish_row(struct op *op, struct txn *txn, const struct catalog_collection *collection,
    struct bytes document, const struct indexkey_set *sets, struct row_id root)
{
    struct judge judge = { op, &collection->heap, txn };
    err_t err;

    (void)fault_pass(FAULT_ROW_PUT);
    TRY(insert_keys(&judge, collection, document, sets, root));
    TRY(collection_tell(op, txn, collection, (struct bytes){ NULL, 0 }, document));
    statistics_note(collection->oid, 1, 0);
    return OK;
out:
    judge_undo(&judge, root);
    statistics_note(collection->oid, 0, 1);
    return err;
}

err_t
collection_insert(struct op *op, struct txn *txn, const struct catalog_collection *collection,
    struct bytes document)
{
    const struct indexkey_set *sets;
    struct row_id root;

    TRY_RETURN(check_size(document));
    TRY_RETURN(keys_make(collection, document, KEYS_NEW, &sets));
    TRY_RETURN(keys_announce(op, txn, collection, document, sets));
    TRY_RETURN(heap_insert(op, &collection->heap, txn, document, &root));
    return finish_row(op, txn, collection, document, sets, root);
}

/* ---- many ---- */

/* How many of the rows go in one batch: those that are certainly good, as far as their keys. */
static err_t
batch_size(struct op *op, struct txn *txn, const struct catalog_collection *collection,
    const struct bytes *documents, size_t count, size_t *rows)
{
    const struct indexkey_set *sets;
    size_t bytes = 0, n = 0;
    err_t err = OK;

    keybatch_begin();
    while (n < count && n < BATCH_ROWS && bytes < BATCH_BYTES) {
        err = check_size(documents[n]);
        if (err == OK)
            err = keys_make(collection, documents[n], KEYS_NEW, &sets);
        if (err == OK)
            err = keys_announce(op, txn, collection, documents[n], sets);
        if (err == OK)
            err = keybatch_add(collection, sets);
        if (err != OK)
            break;
        bytes += documents[n++].size;
    }
    *rows = n;
    return n > 0 ? OK : err; /* the bad one is met again, as the first of its batch */
}

/* All in the heap; their keys follow.  At an error the rows from *done on are taken back. */
static err_t
insert_batch(struct op *op, struct txn *txn, const struct catalog_collection *collection,
    const struct bytes *documents, size_t count, size_t *done)
{
    struct judge judge = { op, &collection->heap, txn };
    struct row_id root[BATCH_ROWS];
    const struct indexkey_set *sets = NULL;
    size_t n = 0;
    bool whole;
    err_t err;

    TRY_RETURN(heap_insert_many(op, &collection->heap, txn, documents, count, root));
    TRY(keybatch_insert(&judge, collection, root, &whole));
    for (; n < count; n++) {
        TRY(interrupt_check(op));
        if (!whole)
            TRY(keys_make(collection, documents[n], KEYS_NEW, &sets));
        err = finish_row(op, txn, collection, documents[n], sets, root[n]);
        if (err != OK) {
            n++; /* that one has been taken back already */
            break;
        }
        ++*done;
    }
out:
    for (; err != OK && n < count; n++) {
        judge_undo(&judge, root[n]);
        statistics_note(collection->oid, 0, 1);
    }
    return err;
}

err_t
collection_insert_many(struct op *op, struct txn *txn, const struct catalog_collection *collection,
    const struct bytes *documents, size_t count, size_t *done)
{
    *done = 0;
    while (*done < count) {
        size_t rows;

        TRY_RETURN(batch_size(op, txn, collection, documents + *done, count - *done, &rows));
        TRY_RETURN(insert_batch(op, txn, collection, documents + *done, rows, done));
    }
    return OK;
}
