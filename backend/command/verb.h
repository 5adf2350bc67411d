/*
 * verb.h - what can be done with documents, whatever language asks.
 *
 * One function a verb.  Each runs in the transaction it is given (and begins a statement in it),
 * or, given none, as a transaction of its own that is committed before it returns (and waits and
 * looks again where others write).  Results are plain values and BSON in the op's arena; the
 * languages print them.  Messages of errors are MongoDB's; the languages replace those that they
 * word otherwise.  Names are checked by the languages.  No light lock is held while a verb is
 * called or when it returns; a call must not stand between catalog_enter and catalog_leave.
 *
 * Errors of all of them, besides their own: ERR_INTERRUPTED, ERR_TERMINATED, ERR_MAX_TIME,
 * ERR_MEMORY, ERR_IO, ERR_CORRUPT, ERR_DISK_FULL (writes).
 */
#ifndef BACKEND_COMMAND_VERB_H
#define BACKEND_COMMAND_VERB_H

#include "backend/query/run.h"
#include "backend/query/update.h"
#include "base/doc/bsonvalue.h"
#include "base/op.h"
#include "storage/collection/check.h"

struct verb_ns {
    const char *tenant, *database, *collection;
};

struct verb_write {
    struct txn *txn; /* NULL: by itself */
    bool durable;    /* with txn NULL: wait for the disk */
    bool existing;   /* a missing collection is ERR_NAMESPACE_NOT_FOUND, it is never made */
};

struct verb_error {
    uint32_t index; /* of the document or statement */
    err_t err;
    int code;
    const char *name, *message; /* in the op's arena */
    struct bytes info;          /* {keyPattern, keyValue} of a duplicate key; may be empty */
};
/* The last error as a verb_error, copied into the op's arena. */
err_t verb_error_take(
    struct op *op, uint32_t index, err_t err, struct verb_error *error) MUST_CHECK;

struct verb_insert_result {
    uint64_t inserted;
    size_t error_count;
    struct verb_error *error; /* in the op's arena */
};
/* Documents must be validated BSON.  A missing _id is made (ObjectId) and _id is moved to the
   front; ids[] (may be NULL) gets each _id as {"": value}.  `ordered`: stops at the first error.
   `atomic`: all or nothing: the first error is the call's own; else every document stands for
   itself, and the call fails only if nothing could be kept (the session ends, the commit failed).
   Database and collection are made as needed.  An _id that is an array, regex or undefined:
   ERR_INVALID_ID_FIELD (53). */
err_t verb_insert(struct op *op, const struct verb_ns *ns, const struct bytes *documents,
    size_t count, bool ordered, bool atomic, struct verb_write write, struct bytes *ids,
    struct verb_insert_result *result) MUST_CHECK;

struct verb_update {
    struct bytes filter; /* size 0: {} */
    struct bytes update;
    enum update_rule rule;
    bool multi, upsert;
    struct bytes sort; /* size 0: none */
    struct bytes hint; /* {"": name or key pattern}; size 0: none */
    /* NULL, or shown each document before (size 0: it is being upserted) and after; may put another
       one in the place of *after (same _id; valid until called again).  May be called again for the
       same document when another writer was quicker. */
    err_t (*amend)(void *context, struct bytes before, struct bytes *after);
    void *amend_context;
    /* verb_modify: called with the size of the document that it shows, before anything is done: an
       error undoes the statement.  NULL: nothing. */
    err_t (*room)(void *context, size_t size);
    void *room_context;
};
struct verb_update_result {
    uint64_t matched, modified;
    bool upserted;
    struct bytes upserted_id; /* {"": value} */
};
/* Without `multi` one document at most, the first found (in the order of `sort`).  A replacement
   with `multi` is ERR_FAILED_TO_PARSE (9). */
err_t verb_update(struct op *op, const struct verb_ns *ns, const struct verb_update *update,
    struct verb_write write, struct verb_update_result *result) MUST_CHECK;
err_t verb_delete(struct op *op, const struct verb_ns *ns, struct bytes filter, struct bytes hint,
    bool multi, struct verb_write write, uint64_t *deleted) MUST_CHECK;

/* Change or delete one document and show it: findAndModify.  `update->update` size 0: delete.
   *document: as it was, or, with `show_after`, as it is now; size 0: there was none (or, upserted,
   nothing before).  In the op's arena. */
err_t verb_modify(struct op *op, const struct verb_ns *ns, const struct verb_update *update,
    bool show_after, struct verb_write write, struct verb_update_result *result,
    struct bytes *document) MUST_CHECK;

/* The document with this _id, appended to `out` (which is as before if there is none). */
err_t verb_get(struct op *op, const struct verb_ns *ns, const struct bsonvalue *id, struct txn *txn,
    struct buf *out, bool *found) MUST_CHECK;
/* A missing collection counts 0 and finds nothing. */
err_t verb_count(struct op *op, const struct verb_ns *ns, const struct run_query *query,
    struct txn *txn, uint64_t *count) MUST_CHECK;
/* Calls `each` for every document found, inside one statement and one snapshot; `each` may stop by
   *more = false.  The document is valid during the call; no light lock or pin is held by this
   function, but `each` must not call verbs. */
err_t verb_find(struct op *op, const struct verb_ns *ns, const struct run_query *query,
    struct txn *txn, err_t (*each)(void *context, struct bytes document, bool *more),
    void *context) MUST_CHECK;
/* How `query` would be run (run_explain).  Of a missing collection: an empty document. */
err_t verb_explain(struct op *op, const struct verb_ns *ns, const struct run_query *query,
    struct txn *txn, struct bytes *document) MUST_CHECK;

/* Does it exist?  For languages that want it said before anything else. */
err_t verb_database_exists(
    struct op *op, const char *tenant, const char *database, bool *exists) MUST_CHECK;
err_t verb_collection_exists(
    struct op *op, const struct verb_ns *ns, struct txn *txn, bool *exists) MUST_CHECK;
/* Sorted by name, in the op's arena. */
err_t verb_list_databases(
    struct op *op, const char *tenant, const char *const **names, size_t *count) MUST_CHECK;
err_t verb_list_collections(struct op *op, const char *tenant, const char *database,
    const char *const **names, size_t *count) MUST_CHECK;

/* What a collection is, in the op's arena; and how large. */
struct verb_collection {
    uint8_t uuid[16];
    struct bytes options;  /* BSON; may be empty */
    struct bytes id_index; /* definition of _id_ */
};
err_t verb_describe(struct op *op, const struct verb_ns *ns, struct verb_collection *collection,
    bool *found) MUST_CHECK;
err_t verb_stats(struct op *op, const struct verb_ns *ns, struct collection_stats *stats,
    bool *found) MUST_CHECK;

/* Definitions; durable.  `options` BSON as MongoDB's create takes them, or empty.  Creating what
   exists: ERR_NAMESPACE_EXISTS. */
err_t verb_create_collection(
    struct op *op, const struct verb_ns *ns, struct bytes options) MUST_CHECK;
err_t verb_drop_collection(struct op *op, const struct verb_ns *ns, bool *found) MUST_CHECK;
err_t verb_create_database(struct op *op, const char *tenant, const char *database) MUST_CHECK;
err_t verb_drop_database(
    struct op *op, const char *tenant, const char *database, bool *found) MUST_CHECK;

/* Indexes.  `definition` and errors as catalog_create_index; the collection must exist
   (ERR_NAMESPACE_NOT_FOUND). */
err_t verb_create_index(
    struct op *op, const struct verb_ns *ns, struct bytes definition, bool *existed) MUST_CHECK;
err_t verb_drop_index(
    struct op *op, const struct verb_ns *ns, const char *name, bool *found) MUST_CHECK;
/* Definitions as MongoDB lists them, _id_ first, in order of creation, in the op's arena.  *found:
   the collection exists. */
err_t verb_list_indexes(struct op *op, const struct verb_ns *ns, const struct bytes **definitions,
    size_t *count, bool *found) MUST_CHECK;

/* Is it sound?  Each fault is a line on `out`; as check_run, beside readers and writers. */
err_t verb_check(struct op *op, const struct verb_ns *ns, FILE *out, struct check_result *result,
    bool *found) MUST_CHECK;

/* Return when everything that this process has committed is on disk: behind a row of writes with
   `durable` false. */
err_t verb_flush(struct op *op) MUST_CHECK;

#endif
