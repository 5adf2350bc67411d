/*
 * queryfixture.h - queries in few words, over the engine of collfixture.h.
 */
#ifndef TESTS_UNIT_BACKEND_QUERY_QUERYFIXTURE_H
#define TESTS_UNIT_BACKEND_QUERY_QUERYFIXTURE_H

#include "backend/query/run.h"
#include "tests/unit/storage/collection/collfixture.h"

#define QUERY_ROWS_MAX 20000

/* What a query gave. */
struct answer {
    unsigned count;
    int32_t id[QUERY_ROWS_MAX];
};

static inline void
query_index(const char *collection, const char *definition)
{
    bool existed;

    OKAY(catalog_create_index(
        &fixture_op, TENANT, DATABASE, collection, fixture_document(definition), &existed));
}

static inline struct bytes
query_part(const char *json)
{
    return json != NULL ? fixture_document(json) : (struct bytes){ NULL, 0 };
}

static inline struct run_query
query_of(const char *filter, const char *sort, const char *hint)
{
    return (struct run_query){
        .filter = query_part(filter), .sort = query_part(sort), .hint = query_part(hint)
    };
}

/* All that a begun run still gives.  `every`: after so many documents it is saved and taken up
   again as another process would (0: never). */
static inline err_t
query_drain(const struct catalog_collection *collection, const struct run_query *query,
    const struct snapshot *snapshot, struct run **run, unsigned every, struct answer *answer)
{
    struct buf state = buf_init((size_t)1 << 20);
    struct bytes document;
    struct row_id root;
    bool found;
    err_t err = OK;

    for (;;) {
        TRY(run_next(&fixture_op, *run, &document, &root, &found));
        if (!found)
            break;
        assert_true(answer->count < QUERY_ROWS_MAX);
        answer->id[answer->count++] = (int32_t)fixture_number(document, "_id");
        if (every == 0 || answer->count % every != 0)
            continue;
        buf_clear(&state);
        TRY(run_save(*run, "sort-test", &state));
        run_end(*run);
        *run = NULL;
        TRY(run_restore(&fixture_op, collection, query, snapshot, buf_bytes(&state), run));
    }
out:
    buf_fini(&state);
    return err;
}

static inline err_t
query_at(const char *name, const struct run_query *query, const struct snapshot *snapshot,
    unsigned every, struct answer *answer)
{
    const struct catalog_collection *collection;
    struct run *run = NULL;
    err_t err;

    answer->count = 0;
    catalog_enter();
    collection = fixture_find(name);
    TRY(run_begin(&fixture_op, collection, query, snapshot, &run));
    TRY(query_drain(collection, query, snapshot, &run, every, answer));
out:
    run_end(run);
    catalog_leave();
    return err;
}

static inline err_t
query_now(const char *name, const struct run_query *query, unsigned every, struct answer *answer)
{
    struct txn *txn;
    err_t err;

    OKAY(txn_begin(&fixture_op, TXN_READ_COMMITTED, true, &txn));
    err = query_at(name, query, txn_snapshot(txn), every, answer);
    txn_abort(&fixture_op, txn);
    return err;
}

/* The ids that a query gives, as text: "3 1 2". */
static inline const char *
query_ids(const char *name, const struct run_query *query)
{
    static struct answer answer;
    char *text = arena_alloc(fixture_op.arena, 16 * QUERY_ROWS_MAX), *at = text;

    assert_non_null(text);
    *text = '\0';
    OKAY(query_now(name, query, 0, &answer));
    for (unsigned i = 0; i < answer.count; i++)
        at += sprintf(at, i > 0 ? " %d" : "%d", answer.id[i]);
    return text;
}

/* What explain says of the stage that reads: COLLSCAN, IDHACK or the name of an index. */
static inline const char *
query_plan(const char *name, const struct run_query *query)
{
    struct buf out = buf_init((size_t)1 << 20);
    struct bsonvalue value;
    struct bytes at;
    struct txn *txn;
    struct run *run;
    const char *text;

    OKAY(txn_begin(&fixture_op, TXN_READ_COMMITTED, true, &txn));
    catalog_enter();
    OKAY(run_begin(&fixture_op, fixture_find(name), query, txn_snapshot(txn), &run));
    OKAY(run_explain(run, &out));
    run_end(run);
    catalog_leave();
    txn_abort(&fixture_op, txn);
    assert_true(bsonwalk_get(buf_bytes(&out), "queryPlanner", &value));
    assert_true(bsonwalk_get(value.raw, "winningPlan", &value));
    for (at = value.raw; bsonwalk_get(at, "inputStage", &value);)
        at = value.raw;
    if (!bsonwalk_get(at, "indexName", &value))
        assert_true(bsonwalk_get(at, "stage", &value));
    text = arena_string(fixture_op.arena, bsonvalue_string(&value));
    buf_fini(&out);
    return text;
}

static inline void
query_change_one(const char *name, int32_t id, const struct collection_decider *decider)
{
    enum collection_action action;
    struct row_id root;
    struct txn *txn;

    OKAY(txn_begin(&fixture_op, TXN_READ_COMMITTED, true, &txn));
    assert_true(fixture_get(txn, name, id, &root).size > 0);
    catalog_enter();
    OKAY(collection_change(&fixture_op, txn, fixture_find(name), root, decider, &action));
    catalog_leave();
    OKAY(txn_commit(&fixture_op, txn, false));
    assert_int_not_equal(action, COLLECTION_KEEP);
}

static inline err_t
query_decide_replace(
    void *context, struct bytes document, enum collection_action *action, struct bytes *replacement)
{
    (void)document;
    *action = COLLECTION_REPLACE;
    *replacement = *(struct bytes *)context;
    return OK;
}

static inline err_t
query_decide_delete(
    void *context, struct bytes document, enum collection_action *action, struct bytes *replacement)
{
    (void)context;
    (void)document;
    (void)replacement;
    *action = COLLECTION_DELETE;
    return OK;
}

static inline void
query_replace(const char *name, int32_t id, struct bytes document)
{
    struct collection_decider decider = { query_decide_replace, &document };

    query_change_one(name, id, &decider);
}

static inline void
query_delete(const char *name, int32_t id)
{
    struct collection_decider decider = { query_decide_delete, NULL };

    query_change_one(name, id, &decider);
}

#endif
