/*
 * verb.h - what can be done with documents, whatever language asks.
 *
 * One function a verb.  Each runs in the transaction it is given, or, given none, as a transaction
 * of its own that is committed before it returns (and waits and looks again where others write).
 * Results are plain values and BSON in the op's arena; the languages print them.  Messages of
 * errors are MongoDB's; the languages replace those that they word otherwise.
 */
#ifndef BACKEND_COMMAND_VERB_H
#define BACKEND_COMMAND_VERB_H

#include "backend/query/run.h"
#include "backend/query/update.h"
#include "base/op.h"

struct verb_ns {
    const char *tenant, *database, *collection;
};

struct verb_write {
    struct txn *txn; /* NULL: by itself */
    bool durable;    /* with txn NULL: wait for the disk */
};

struct verb_error {
    uint32_t index; /* of the document or statement */
    err_t err;
    int code;
    const char *name, *message;
    struct bytes info; /* {keyPattern, keyValue} of a duplicate key; may be empty */
};

struct verb_insert_result {
    uint64_t inserted;
    size_t error_count;
    struct verb_error *error;
};
/* Documents must be validated BSON.  A missing _id is made (ObjectId) and _id is moved to the
   front; ids[] (may be NULL) gets each _id as {"": value}. `ordered`: stops at the first error.
   `atomic`: all or nothing: the first error is the call's own.  Database and collection are made as
   needed. */
err_t verb_insert(struct op *op, const struct verb_ns *ns, const struct bytes *documents,
    size_t count, bool ordered, bool atomic, struct verb_write write, struct bytes *ids,
    struct verb_insert_result *result) MUST_CHECK;

struct verb_update {
    struct bytes filter;
    struct bytes update;
    enum update_rule rule;
    bool multi, upsert;
    struct bytes sort; /* size 0: none */
    struct bytes hint;
};
struct verb_update_result {
    uint64_t matched, modified;
    bool upserted;
    struct bytes upserted_id; /* {"": value} */
};
err_t verb_update(struct op *op, const struct verb_ns *ns, const struct verb_update *update,
    struct verb_write write, struct verb_update_result *result) MUST_CHECK;
err_t verb_delete(struct op *op, const struct verb_ns *ns, struct bytes filter, struct bytes hint,
    bool multi, struct verb_write write, uint64_t *deleted) MUST_CHECK;

/* A missing collection counts 0 and finds nothing. */
err_t verb_count(struct op *op, const struct verb_ns *ns, const struct run_query *query,
    struct txn *txn, uint64_t *count) MUST_CHECK;
/* Calls `each` for every document found, inside one statement and one snapshot; `each` may stop by
 * *more = false. */
err_t verb_find(struct op *op, const struct verb_ns *ns, const struct run_query *query,
    struct txn *txn, err_t (*each)(void *context, struct bytes document, bool *more),
    void *context) MUST_CHECK;

/* Definitions.  `options` BSON as MongoDB's create takes them, or empty. */
err_t verb_create_collection(
    struct op *op, const struct verb_ns *ns, struct bytes options) MUST_CHECK;
err_t verb_drop_collection(struct op *op, const struct verb_ns *ns, bool *found) MUST_CHECK;
err_t verb_create_database(struct op *op, const char *tenant, const char *database) MUST_CHECK;
err_t verb_drop_database(
    struct op *op, const char *tenant, const char *database, bool *found) MUST_CHECK;

#endif
