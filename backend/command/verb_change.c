/*
 * verb_change.c - changing and deleting what a filter finds.
 *
 * A statement finds rows as its snapshot shows them, and decides about each on its newest version:
 * others may have been quicker.  A row whose newest version the filter does not find any more is
 * left alone.  If that leaves a statement on one document with nothing done, the document it was
 * meant for may be another one by now, so it looks again with a new snapshot.
 *
 * INVARIANTS
 *   V3  A document is changed or deleted only if its newest version matches the filter.
 *   V4  In a transaction of its own a statement is done as a whole or not at all, `multi` too.
 */
#include "backend/command/verb_change.h"

#include "backend/command/verb_statement.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/keystring.h"
#include "shmem/counters.h"
#include "shmem/interrupt.h"

#define UPSERT_TRIES_MAX 5

struct work {
    struct op *op;
    struct verb_change *change;
    const struct filter *filter;
    const struct update *update; /* NULL: delete */
    struct bsonvalue id;
    bool by_id;
    bool matched; /* by the last decision */
    bool lost;    /* a row that was found did not match any more */
    struct buf *fresh;
    struct bytes shown;
};

static err_t
copy_shown(struct work *work, struct bytes document)
{
    const struct verb_update *update = work->change->update;
    uint8_t *copy = arena_copy(work->op->arena, document.data, document.size);

    if (copy == NULL)
        return ERR_MEMORY;
    if (update->room != NULL)
        TRY_RETURN(update->room(update->room_context, document.size));
    work->shown = (struct bytes){ copy, document.size };
    return OK;
}

static err_t
check_size(struct bytes document)
{
    if (document.size > BSONVALUE_DOCUMENT_SIZE_MAX)
        return err_set(ERR_TOO_LARGE,
            "Resulting document after update is larger than %u: %zu bytes",
            BSONVALUE_DOCUMENT_SIZE_MAX, document.size);
    return OK;
}

static err_t
decide(
    void *context, struct bytes document, enum collection_action *action, struct bytes *replacement)
{
    struct work *work = context;
    const struct verb_update *update = work->change->update;
    bool changed;

    *action = COLLECTION_KEEP;
    TRY_RETURN(filter_match(work->filter, document, &work->matched));
    if (!work->matched) { /* V3 */
        work->lost = true;
        return OK;
    }
    if (work->change->show && (work->update == NULL || !work->change->show_after))
        TRY_RETURN(copy_shown(work, document));
    if (work->update == NULL) {
        *action = COLLECTION_DELETE;
        return OK;
    }
    TRY_RETURN(update_apply(work->update, work->op, document, work->fresh, &changed));
    *replacement = buf_bytes(work->fresh);
    if (update->amend != NULL) {
        TRY_RETURN(update->amend(update->amend_context, document, replacement));
        changed = !bytes_equal(document, *replacement);
    }
    TRY_RETURN(check_size(*replacement));
    if (work->change->show && work->change->show_after)
        TRY_RETURN(copy_shown(work, *replacement));
    if (changed)
        *action = COLLECTION_REPLACE;
    return OK;
}

static err_t
change_row(struct work *work, const struct verb_statement *statement, struct row_id root)
{
    const struct collection_decider decider = { decide, work };
    struct verb_update_result *result = &work->change->result;
    enum collection_action action;

    work->matched = false;
    TRY_RETURN(collection_change(
        work->op, statement->txn, statement->collection, root, &decider, &action));
    if (!work->matched || (action == COLLECTION_KEEP && work->update == NULL)) {
        work->lost = true;
        work->matched = false;
        return OK;
    }
    result->matched++;
    if (action != COLLECTION_KEEP)
        result->modified++;
    return OK;
}

/* The row with this _id. */
static err_t
change_by_id(struct work *work, const struct verb_statement *statement)
{
    struct buf *key = verb_statement_key(), *old = verb_statement_old();
    struct row_id root;
    bool found;

    TRY_RETURN(keystring_append(key, &work->id, false));
    TRY_RETURN(collection_get(work->op, txn_snapshot(statement->txn), statement->collection,
        buf_bytes(key), old, &root, &found));
    return found ? change_row(work, statement, root) : OK;
}

static err_t
change_by_query(struct work *work, const struct verb_statement *statement)
{
    const struct verb_update *update = work->change->update;
    const struct run_query query = {
        .filter = update->filter, .sort = update->sort, .hint = update->hint
    };
    struct run *run = NULL;
    err_t err;

    TRY_RETURN(
        run_begin(work->op, statement->collection, &query, txn_snapshot(statement->txn), &run));
    for (;;) {
        struct bytes document;
        struct row_id root;
        bool found;

        TRY(interrupt_check(work->op));
        TRY(run_next(work->op, run, &document, &root, &found));
        if (!found)
            break;
        TRY(change_row(work, statement, root));
        if (work->matched && !update->multi)
            break;
    }
out:
    run_end(run);
    return err;
}

/* Nothing was found: insert what the filter and the update say. */
static err_t
upsert(struct work *work, const struct verb_statement *statement)
{
    const struct verb_update *update = work->change->update;
    struct verb_update_result *result = &work->change->result;
    struct bsonvalue id;
    struct bytes document;
    bool found;

    TRY_RETURN(update_upsert(work->update, work->op, update->filter, work->fresh));
    document = buf_bytes(work->fresh);
    if (update->amend != NULL)
        TRY_RETURN(update->amend(update->amend_context, (struct bytes){ NULL, 0 }, &document));
    TRY_RETURN(check_size(document));
    TRY_RETURN(collection_insert(work->op, statement->txn, statement->collection, document));
    TRY_RETURN(bsonwalk_find(document, bytes_of("_id"), &id, &found));
    if (found)
        TRY_RETURN(verb_statement_wrap(work->op, &id, &result->upserted_id));
    result->upserted = true;
    if (work->change->show && work->change->show_after)
        TRY_RETURN(copy_shown(work, document));
    return OK;
}

/* One try.  `work->lost` tells that it may be worth another one. */
static err_t
change_once(struct work *work, const struct verb_ns *ns, struct verb_write write, unsigned *upserts)
{
    const struct verb_update *update = work->change->update;
    struct verb_update_result *result = &work->change->result;
    struct verb_statement statement;
    err_t err = OK;

    *result = (struct verb_update_result){ .matched = 0 };
    work->lost = false;
    work->shown = (struct bytes){ NULL, 0 };
    work->fresh = verb_statement_new();
    TRY_RETURN(verb_statement_begin(work->op, ns, write.txn, &statement));
    if (statement.collection == NULL && (update->upsert || write.existing))
        TRY_RETURN(verb_statement_make_collection(work->op, ns, write, &statement));
    if (statement.collection != NULL)
        err = work->by_id ? change_by_id(work, &statement) : change_by_query(work, &statement);
    if (err == OK && result->matched == 0 && update->upsert && !work->lost) {
        err = upsert(work, &statement);
        if (err == ERR_DUPLICATE_KEY && ++*upserts < UPSERT_TRIES_MAX) {
            work->lost = true; /* another was quicker: it may be found now */
            *result = (struct verb_update_result){ .matched = 0 };
            err = OK;
        }
    }
    return verb_statement_end(work->op, &statement, err, write.durable);
}

static err_t
compile(struct work *work)
{
    const struct verb_update *update = work->change->update;
    struct bytes filter = update->filter.size > 0 ? update->filter : bsonvalue_empty_document;
    struct bytes only;

    TRY_RETURN(filter_compile(work->op->arena, filter, &work->filter));
    if (!work->change->deletes) {
        TRY_RETURN(update_compile(work->op->arena, update->update, update->rule, &work->update));
        if (update->multi && update_is_replacement(work->update))
            return err_set(
                ERR_FAILED_TO_PARSE, "multi update is not supported for replacement-style update");
    }
    if (update->hint.size > 0)
        return OK;
    only = filter_only_id(work->filter);
    if (only.size > 0) {
        struct bsonwalk walk;

        TRY_RETURN(bsonwalk_begin(&walk, only));
        work->by_id = bsonwalk_next(&walk, &work->id);
    }
    return OK;
}

err_t
verb_change(
    struct op *op, const struct verb_ns *ns, struct verb_write write, struct verb_change *change)
{
    struct work work = { .op = op, .change = change };
    unsigned tries = 0, upserts = 0;
    err_t err;

    change->result = (struct verb_update_result){ .matched = 0 };
    change->shown = (struct bytes){ NULL, 0 };
    TRY_RETURN(compile(&work));
    do {
        do {
            err = change_once(&work, ns, write, &upserts);
        } while (err == OK && change->result.matched == 0 && !change->result.upserted &&
                 work.lost && !change->update->multi);
    } while (err != OK && verb_statement_again(op, &write, err, &tries));
    verb_statement_shrink();
    if (err != OK)
        return err;
    change->shown = work.shown;
    counters_add(change->deletes ? COUNTER_DELETES : COUNTER_UPDATES, change->result.modified);
    if (change->result.upserted)
        counters_add(COUNTER_INSERTS, 1);
    return OK;
}
