/*
 * verb.c - what can be done with documents, whatever language asks.
 */
#include "backend/command/verb.h"

#include "backend/command/verb_change.h"
#include "backend/command/verb_statement.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/keystring.h"
#include "shmem/counters.h"
#include "shmem/interrupt.h"
#include "wal/wal_flush.h"
#include "wal/wal_insert.h"

err_t
verb_error_take(struct op *op, uint32_t index, err_t err, struct verb_error *error)
{
    struct bytes info = err_attached();

    *error = (struct verb_error){ .index = index, .err = err, .code = err_last_code() };
    error->name = arena_string(op->arena, bytes_of(err_last_name()));
    error->message = arena_string(op->arena, bytes_of(err_message()));
    if (info.size > 0)
        error->info = (struct bytes){ arena_copy(op->arena, info.data, info.size), info.size };
    if (error->name == NULL || error->message == NULL ||
        (info.size > 0 && error->info.data == NULL))
        return ERR_MEMORY;
    return OK;
}

/* ---- changing ---- */

err_t
verb_update(struct op *op, const struct verb_ns *ns, const struct verb_update *update,
    struct verb_write write, struct verb_update_result *result)
{
    struct verb_change change = { .update = update };
    err_t err = verb_change(op, ns, write, &change);

    *result = change.result;
    return err;
}

err_t
verb_delete(struct op *op, const struct verb_ns *ns, struct bytes filter, struct bytes hint,
    bool multi, struct verb_write write, uint64_t *deleted)
{
    const struct verb_update update = { .filter = filter, .hint = hint, .multi = multi };
    struct verb_change change = { .update = &update, .deletes = true };
    err_t err = verb_change(op, ns, write, &change);

    *deleted = change.result.modified;
    return err;
}

err_t
verb_modify(struct op *op, const struct verb_ns *ns, const struct verb_update *update,
    bool show_after, struct verb_write write, struct verb_update_result *result,
    struct bytes *document)
{
    struct verb_change change = { .update = update,
        .deletes = update->update.size == 0,
        .show = true,
        .show_after = show_after };
    err_t err = verb_change(op, ns, write, &change);

    *result = change.result;
    *document = change.shown;
    return err;
}

/* ---- reading ---- */

static err_t
get_by_id(struct op *op, const struct verb_statement *statement, const struct bsonvalue *id,
    struct buf *out, bool *found)
{
    struct buf *key = verb_statement_key();
    struct row_id root;

    *found = false;
    if (statement->collection == NULL)
        return OK;
    TRY_RETURN(keystring_append(key, id, false));
    return collection_get(
        op, txn_snapshot(statement->txn), statement->collection, buf_bytes(key), out, &root, found);
}

err_t
verb_get(struct op *op, const struct verb_ns *ns, const struct bsonvalue *id, struct txn *txn,
    struct buf *out, bool *found)
{
    struct verb_statement statement;
    size_t before = out->size;
    err_t err;

    *found = false;
    TRY_RETURN(verb_statement_begin(op, ns, txn, &statement));
    err = get_by_id(op, &statement, id, out, found);
    err = verb_statement_end(op, &statement, err, false);
    if (err != OK || !*found)
        out->size = before;
    counters_add(COUNTER_QUERIES, 1);
    return err;
}

typedef err_t (*each_fn)(void *context, struct bytes document, bool *more);

static err_t
run_all(struct op *op, const struct verb_statement *statement, const struct run_query *query,
    each_fn each, void *context)
{
    struct run *run = NULL;
    bool more = true;
    err_t err;

    TRY_RETURN(run_begin(op, statement->collection, query, txn_snapshot(statement->txn), &run));
    while (more) {
        struct bytes document;
        struct row_id root;
        bool found;

        TRY(interrupt_check(op));
        TRY(run_next(op, run, &document, &root, &found));
        if (!found)
            break;
        TRY(each(context, document, &more));
    }
    err = OK;
out:
    run_end(run);
    return err;
}

/* Filters are checked even where there is nothing to be found. */
static err_t
check_query(struct op *op, const struct run_query *query)
{
    const struct filter *filter;

    return query->filter.size > 0 ? filter_compile(op->arena, query->filter, &filter) : OK;
}

static bool
is_get(const struct run_query *query, struct bsonvalue *id)
{
    return query->projection.size == 0 && query->hint.size == 0 && query->skip == 0 &&
           verb_statement_only_id(query->filter, id);
}

err_t
verb_find(struct op *op, const struct verb_ns *ns, const struct run_query *query, struct txn *txn,
    err_t (*each)(void *context, struct bytes document, bool *more), void *context)
{
    struct verb_statement statement;
    struct bsonvalue id;
    err_t err;

    TRY_RETURN(verb_statement_begin(op, ns, txn, &statement));
    if (statement.collection == NULL) {
        err = check_query(op, query);
    } else if (is_get(query, &id)) {
        struct buf *document = verb_statement_old();
        bool found, more = true;

        err = get_by_id(op, &statement, &id, document, &found);
        if (err == OK && found)
            err = each(context, buf_bytes(document), &more);
    } else {
        err = run_all(op, &statement, query, each, context);
    }
    err = verb_statement_end(op, &statement, err, false);
    verb_statement_shrink();
    counters_add(COUNTER_QUERIES, 1);
    return err;
}

static err_t
count_one(void *context, struct bytes document, bool *more)
{
    uint64_t *count = context;

    (void)document;
    (void)more;
    ++*count;
    return OK;
}

err_t
verb_count(struct op *op, const struct verb_ns *ns, const struct run_query *query, struct txn *txn,
    uint64_t *count)
{
    bool all = query->filter.size <= BSONVALUE_DOCUMENT_SIZE_LEAST && query->hint.size == 0;
    struct verb_statement statement;
    err_t err;

    *count = 0;
    TRY_RETURN(verb_statement_begin(op, ns, txn, &statement));
    if (statement.collection == NULL) {
        err = check_query(op, query);
    } else if (all) {
        err = collection_count(op, statement.collection, txn_snapshot(statement.txn), count);
        *count = *count > (uint64_t)query->skip ? *count - (uint64_t)query->skip : 0;
        if (query->limit > 0 && *count > (uint64_t)query->limit)
            *count = (uint64_t)query->limit;
    } else {
        err = run_all(op, &statement, query, count_one, count);
    }
    err = verb_statement_end(op, &statement, err, false);
    counters_add(COUNTER_QUERIES, 1);
    return err;
}

static err_t
explain(struct op *op, const struct verb_statement *statement, const struct run_query *query,
    struct bytes *document)
{
    struct buf *out = verb_statement_new();
    struct run *run = NULL;
    uint8_t *copy;
    err_t err;

    TRY_RETURN(run_begin(op, statement->collection, query, txn_snapshot(statement->txn), &run));
    TRY(run_explain(run, out));
    copy = arena_copy(op->arena, out->data, out->size);
    if (copy == NULL)
        TRY(ERR_MEMORY);
    *document = (struct bytes){ copy, out->size };
out:
    run_end(run);
    return err;
}

err_t
verb_explain(struct op *op, const struct verb_ns *ns, const struct run_query *query,
    struct txn *txn, struct bytes *document)
{
    struct verb_statement statement;
    err_t err;

    *document = bsonvalue_empty_document;
    TRY_RETURN(verb_statement_begin(op, ns, txn, &statement));
    err = statement.collection == NULL ? check_query(op, query)
                                       : explain(op, &statement, query, document);
    return verb_statement_end(op, &statement, err, false);
}

/* ---- what there is ---- */

err_t
verb_database_exists(struct op *op, const char *tenant, const char *database, bool *exists)
{
    return catalog_database_exists(op, NULL, tenant, database, exists);
}

err_t
verb_collection_exists(struct op *op, const struct verb_ns *ns, struct txn *txn, bool *exists)
{
    const struct catalog_collection *collection = NULL;
    err_t err;

    catalog_enter();
    err = catalog_find(op, txn, ns->tenant, ns->database, ns->collection, &collection);
    *exists = err == OK && collection != NULL;
    catalog_leave();
    return err;
}

err_t
verb_list_databases(struct op *op, const char *tenant, const char *const **names, size_t *count)
{
    return catalog_list_databases(op, NULL, tenant, names, count);
}

err_t
verb_list_collections(struct op *op, const char *tenant, const char *database,
    const char *const **names, size_t *count)
{
    return catalog_list_collections(op, NULL, tenant, database, names, count);
}

static err_t
copy_definitions(struct op *op, const struct catalog_collection *collection,
    const struct bytes **definitions, size_t *count)
{
    struct bytes *list = arena_alloc(op->arena, CATALOG_INDEXES_MAX * sizeof *list);

    if (list == NULL)
        return ERR_MEMORY;
    *count = 0;
    for (unsigned i = 0; i < collection->index_count; i++) {
        const struct catalog_index *index = collection->index[i];
        const uint8_t *copy;

        if (index->state != CATALOG_INDEX_READY)
            continue;
        copy = arena_copy(op->arena, index->definition.data, index->definition.size);
        if (copy == NULL)
            return ERR_MEMORY;
        list[(*count)++] = (struct bytes){ copy, index->definition.size };
    }
    *definitions = list;
    return OK;
}

err_t
verb_list_indexes(struct op *op, const struct verb_ns *ns, const struct bytes **definitions,
    size_t *count, bool *found)
{
    const struct catalog_collection *collection = NULL;
    err_t err;

    *count = 0;
    *definitions = NULL;
    catalog_enter();
    err = catalog_find(op, NULL, ns->tenant, ns->database, ns->collection, &collection);
    *found = err == OK && collection != NULL;
    if (*found)
        err = copy_definitions(op, collection, definitions, count);
    catalog_leave();
    return err;
}

static err_t
copy_slice(struct op *op, struct bytes from, struct bytes *to)
{
    *to = (struct bytes){ NULL, from.size };
    if (from.size == 0)
        return OK;
    to->data = arena_copy(op->arena, from.data, from.size);
    return to->data != NULL ? OK : ERR_MEMORY;
}

err_t
verb_describe(
    struct op *op, const struct verb_ns *ns, struct verb_collection *collection, bool *found)
{
    const struct catalog_collection *entry = NULL;
    err_t err;

    *collection = (struct verb_collection){ .options = { NULL, 0 } };
    catalog_enter();
    err = catalog_find(op, NULL, ns->tenant, ns->database, ns->collection, &entry);
    *found = err == OK && entry != NULL;
    if (*found) {
        memcpy(collection->uuid, entry->uuid, sizeof collection->uuid);
        err = copy_slice(op, entry->options, &collection->options);
        if (err == OK && entry->index_count > 0)
            err = copy_slice(op, entry->index[0]->definition, &collection->id_index);
    }
    catalog_leave();
    return err;
}

err_t
verb_stats(struct op *op, const struct verb_ns *ns, struct collection_stats *stats, bool *found)
{
    const struct catalog_collection *entry = NULL;
    err_t err;

    *stats = (struct collection_stats){ .rows = 0 };
    catalog_enter();
    err = catalog_find(op, NULL, ns->tenant, ns->database, ns->collection, &entry);
    *found = err == OK && entry != NULL;
    if (*found)
        err = collection_stats(op, entry, stats);
    catalog_leave();
    return err;
}

/* ---- definitions ---- */

static err_t
begin_definition(struct op *op, struct txn **txn)
{
    TRY_RETURN(interrupt_check(op));
    return txn_begin(op, TXN_READ_COMMITTED, true, txn);
}

static err_t
end_definition(struct op *op, struct txn *txn, err_t err)
{
    if (err == OK)
        return txn_commit(op, txn, true);
    txn_abort(op, txn);
    return err;
}

err_t
verb_create_collection(struct op *op, const struct verb_ns *ns, struct bytes options)
{
    struct txn *txn;

    TRY_RETURN(begin_definition(op, &txn));
    return end_definition(op, txn,
        catalog_create_collection(op, txn, ns->tenant, ns->database, ns->collection, options));
}

err_t
verb_drop_collection(struct op *op, const struct verb_ns *ns, bool *found)
{
    struct txn *txn;

    *found = false;
    TRY_RETURN(begin_definition(op, &txn));
    return end_definition(
        op, txn, catalog_drop_collection(op, txn, ns->tenant, ns->database, ns->collection, found));
}

err_t
verb_create_database(struct op *op, const char *tenant, const char *database)
{
    struct txn *txn;

    TRY_RETURN(begin_definition(op, &txn));
    return end_definition(op, txn, catalog_create_database(op, txn, tenant, database));
}

err_t
verb_drop_database(struct op *op, const char *tenant, const char *database, bool *found)
{
    struct txn *txn;

    *found = false;
    TRY_RETURN(begin_definition(op, &txn));
    return end_definition(op, txn, catalog_drop_database(op, txn, tenant, database, found));
}

static err_t
want_collection(struct op *op, const struct verb_ns *ns)
{
    bool exists;

    TRY_RETURN(verb_collection_exists(op, ns, NULL, &exists));
    if (!exists)
        return err_set(
            ERR_NAMESPACE_NOT_FOUND, "ns not found: %s.%s", ns->database, ns->collection);
    return OK;
}

err_t
verb_create_index(struct op *op, const struct verb_ns *ns, struct bytes definition, bool *existed)
{
    *existed = false;
    TRY_RETURN(interrupt_check(op));
    TRY_RETURN(want_collection(op, ns));
    return catalog_create_index(op, ns->tenant, ns->database, ns->collection, definition, existed);
}

err_t
verb_drop_index(struct op *op, const struct verb_ns *ns, const char *name, bool *found)
{
    *found = false;
    TRY_RETURN(interrupt_check(op));
    TRY_RETURN(want_collection(op, ns));
    return catalog_drop_index(op, ns->tenant, ns->database, ns->collection, name, found);
}

err_t
verb_check(
    struct op *op, const struct verb_ns *ns, FILE *out, struct check_result *result, bool *found)
{
    TRY_RETURN(interrupt_check(op));
    TRY_RETURN(verb_collection_exists(op, ns, NULL, found));
    return *found ? check_run(op, ns->tenant, ns->database, ns->collection, out, result) : OK;
}

err_t
verb_flush(struct op *op)
{
    TRY_RETURN(interrupt_check(op));
    wal_flush(wal_insert_position());
    return OK;
}
