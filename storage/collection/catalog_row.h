/*
 * catalog_row.h - the rows of the catalog: BSON under a key.
 *
 * Inside storage/collection only.  Form of keys: storage/collection/README.md.
 */
#ifndef STORAGE_COLLECTION_CATALOG_ROW_H
#define STORAGE_COLLECTION_CATALOG_ROW_H

#include "base/bytes.h"
#include "base/op.h"
#include "storage/heap/heap.h"
#include "storage/index/index.h"

/* What a row is about: the first byte of its key; on disk. */
enum catalog_row_kind {
    CATALOG_ROW_TENANT = 'T',     /* tenant */
    CATALOG_ROW_DATABASE = 'D',   /* tenant, database */
    CATALOG_ROW_COLLECTION = 'C', /* tenant, database, collection */
    CATALOG_ROW_OID = 'O',        /* oid of a collection: where its row is */
    CATALOG_ROW_INDEX = 'I',      /* oid of its collection, name */
    CATALOG_ROW_OTHER = 'P',      /* kind, name: of the floors above */
};

#define CATALOG_ROW_PARTS_MAX 3

extern const struct heap catalog_row_heap;
extern const struct index catalog_row_index;

struct catalog_row_key {
    size_t size;
    uint8_t data[INDEX_KEY_MAX];
};

/* Parts that are NULL are left out: then it is the prefix of all keys that begin so.  Errors:
   ERR_INVALID_NAMESPACE: a part is empty or too long. */
err_t catalog_row_key(struct catalog_row_key *key, enum catalog_row_kind kind, const char *a,
    const char *b, const char *c) MUST_CHECK;
/* Keys that begin with an oid; `name` NULL: the prefix (or, for CATALOG_ROW_OID, the key). */
err_t catalog_row_oid_key(struct catalog_row_key *key, enum catalog_row_kind kind, uint64_t oid,
    const char *name) MUST_CHECK;

/* What to read by: the newest committed rows, and those that `txn` (may be NULL) made itself. */
struct catalog_row_view {
    struct txn *own; /* begun for this view, or NULL */
    struct snapshot snapshot;
};
err_t catalog_row_look(struct op *op, struct txn *txn, struct catalog_row_view *view) MUST_CHECK;
void catalog_row_look_end(struct op *op, struct catalog_row_view *view);

/* One row, copied to the op's arena. */
err_t catalog_row_get(struct op *op, const struct catalog_row_view *view,
    const struct catalog_row_key *key, struct bytes *row, bool *found) MUST_CHECK;
/* All rows whose keys begin with `prefix`, in order; `row` is valid within the call. */
err_t catalog_row_walk(struct op *op, const struct catalog_row_view *view,
    const struct catalog_row_key *prefix,
    err_t (*visit)(void *context, struct bytes key, struct bytes row), void *context) MUST_CHECK;

/* Put a new row in; *existed: there is one already (another's in progress was waited for). */
err_t catalog_row_insert(struct op *op, struct txn *txn, const struct catalog_row_key *key,
    struct bytes row, bool *existed) MUST_CHECK;
/* Change or delete the newest; `change` is shown it, and gives what it shall become (size 0: delete
   it). Another's change in progress is waited for.  The row then belongs to this transaction until
   its end: nobody else can change it.  *found false: there is none. */
struct catalog_row_change {
    err_t (*change)(void *context, struct bytes row, struct bytes *replacement);
    void *context;
};
err_t catalog_row_change(struct op *op, struct txn *txn, const struct catalog_row_key *key,
    const struct catalog_row_change *change, bool *found) MUST_CHECK;
/* Delete it; *row (may be NULL) is what it was, in the op's arena. */
err_t catalog_row_remove(struct op *op, struct txn *txn, const struct catalog_row_key *key,
    struct bytes *row, bool *found) MUST_CHECK;
/* Make it this transaction's without a change. */
err_t catalog_row_hold(
    struct op *op, struct txn *txn, const struct catalog_row_key *key, bool *found) MUST_CHECK;

#endif
