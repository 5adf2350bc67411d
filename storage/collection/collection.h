/*
 * collection.h - documents with their keys: one collection's heap and indexes as one thing.
 *
 * Documents are validated BSON with _id as the first field.  Every write keeps all indexes, inside
 * the caller's transaction; a write that fails (duplicate key) has undone its own part, and the
 * transaction can go on. All between catalog_enter and catalog_leave.
 */
#ifndef STORAGE_COLLECTION_COLLECTION_H
#define STORAGE_COLLECTION_COLLECTION_H

#include "base/buf.h"
#include "storage/collection/catalog.h"

#define COLLECTION_DOCUMENT_MAX (16u << 20)

/* Errors: ERR_DUPLICATE_KEY, message "E11000 duplicate key error collection: db.coll index: name
   dup key: { a: 1 }", with {keyPattern, keyValue} attached (err_attached); ERR_TOO_LARGE;
   ERR_CANNOT_CREATE_INDEX: a key longer than INDEX_KEY_MAX; 171 by err_set_mongo: parallel arrays;
   ERR_DISK_FULL; ERR_INTERRUPTED … while waiting for another's unique key. */
err_t collection_insert(struct op *op, struct txn *txn, const struct catalog_collection *collection,
    struct bytes document) MUST_CHECK;
/* As many as go in: *done counts; at an error the first `*done` are in. Faster than one by one. */
err_t collection_insert_many(struct op *op, struct txn *txn,
    const struct catalog_collection *collection, const struct bytes *documents, size_t count,
    size_t *done) MUST_CHECK;

/* By _id: `key` is the keystring of the value (indexkey of _id_).  Appends the document to `out`.
 */
err_t collection_get(struct op *op, const struct snapshot *snapshot,
    const struct catalog_collection *collection, struct bytes key, struct buf *out,
    struct row_id *root, bool *found) MUST_CHECK;

/* Change the row at `root`, whoever else changes it at the same time.  `decide` is shown the newest
   version that is committed or the transaction's own, and says what shall become of it; it may be
   asked again with a newer version.  Under snapshot isolation or above, a version newer than the
   snapshot is ERR_WRITE_CONFLICT. */
enum collection_action { COLLECTION_KEEP, COLLECTION_REPLACE, COLLECTION_DELETE };
struct collection_decider {
    /* `*replacement` (with REPLACE) must stay valid until the call returns or decide is called
     * again; same _id. */
    err_t (*decide)(void *context, struct bytes document, enum collection_action *action,
        struct bytes *replacement);
    void *context;
};
/* *action: what was done; KEEP also if the row is gone by now. */
err_t collection_change(struct op *op, struct txn *txn, const struct catalog_collection *collection,
    struct row_id root, const struct collection_decider *decider,
    enum collection_action *action) MUST_CHECK;
/* Free this thread's private memory; by catalog_forget_private. */
void collection_change_forget(void);

/* Reading.  Rows that the snapshot sees, each once. */
struct collection_scan;
/* In natural order. */
err_t collection_scan_begin(struct op *op, const struct catalog_collection *collection,
    const struct snapshot *snapshot, struct collection_scan **scan) MUST_CHECK;
/* In the order of an index.  The keys found are re-checked by the caller's filter on the document:
 * an entry may be stale. */
err_t collection_scan_index(struct op *op, const struct catalog_collection *collection,
    const struct catalog_index *index, const struct index_range *ranges, size_t range_count,
    const struct snapshot *snapshot, struct collection_scan **scan) MUST_CHECK;
/* `document` is valid until the next call. */
err_t collection_scan_next(struct op *op, struct collection_scan *scan, struct bytes *document,
    struct row_id *root, bool *found) MUST_CHECK;
void collection_scan_end(struct collection_scan *scan);
void collection_scan_forget_private(void); /* memory kept for the next scan of this thread */
/* Its position as bytes, and going on from there in another process (same collection, index, ranges
 * and snapshot). */
err_t collection_scan_save(struct collection_scan *scan, struct buf *position) MUST_CHECK;
err_t collection_scan_restore(
    struct op *op, struct collection_scan *scan, struct bytes position) MUST_CHECK;

/* Rows, about (from statistics that commits keep), and exactly (a scan without reading documents).
 */
err_t collection_count_estimate(
    struct op *op, const struct catalog_collection *collection, uint64_t *rows) MUST_CHECK;
err_t collection_count(struct op *op, const struct catalog_collection *collection,
    const struct snapshot *snapshot, uint64_t *rows) MUST_CHECK;

struct collection_stats {
    uint64_t heap_bytes, index_bytes, rows, dead;
    uint64_t index_size[CATALOG_INDEXES_MAX];
};
err_t collection_stats(struct op *op, const struct catalog_collection *collection,
    struct collection_stats *stats) MUST_CHECK;

/* The seam upwards: told of every change of a document, inside its transaction (oplog, change
 * streams). */
struct collection_sink {
    err_t (*changed)(struct op *op, struct txn *txn, const struct catalog_collection *collection,
        struct bytes before, struct bytes after);
};
void collection_set_sink(const struct collection_sink *sink);

#endif
