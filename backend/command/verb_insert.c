/*
 * verb_insert.c - putting documents into a collection.
 *
 * A batch goes in as one transaction with one commit.  Where every document stands for itself, a
 * document that is refused has undone its own part, so the others are kept; when the transaction
 * must give way to another one (deadlock), what is in is committed and the rest goes on in the
 * next.
 */
#include <stdlib.h>

#include "backend/command/verb_statement.h"
#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/objectid.h"
#include "shmem/counters.h"

struct batch {
    const struct verb_ns *ns;
    struct verb_write write;
    struct bytes *document; /* with _id first */
    uint32_t *index;        /* of each in what the caller gave; NULL: the same */
    size_t count;
    bool ordered, atomic;
    size_t error_capacity;
    struct verb_insert_result *result;
};

static err_t
note(struct op *op, struct batch *batch, uint32_t index, err_t err)
{
    struct verb_insert_result *result = batch->result;

    if (result->error_count == batch->error_capacity) {
        size_t capacity = batch->error_capacity == 0 ? 4 : 2 * batch->error_capacity;
        struct verb_error *more = arena_alloc(op->arena, capacity * sizeof *more);

        if (more == NULL)
            return ERR_MEMORY;
        if (result->error_count > 0)
            memcpy(more, result->error, result->error_count * sizeof *more);
        result->error = more;
        batch->error_capacity = capacity;
    }
    return verb_error_take(op, index, err, &result->error[result->error_count++]);
}

static err_t
check_id(const struct bsonvalue *id)
{
    if (id->type == BSONTYPE_ARRAY || id->type == BSONTYPE_REGEX || id->type == BSONTYPE_UNDEFINED)
        return err_set(ERR_INVALID_ID_FIELD, "The '_id' value cannot be of type %s",
            bsonvalue_type_name(id->type));
    if (id->type == BSONTYPE_DOCUMENT) {
        struct bsonwalk walk;
        struct bsonvalue first;

        TRY_RETURN(bsonwalk_begin(&walk, id->raw));
        if (bsonwalk_next(&walk, &first) && first.key.size > 0 && first.key.data[0] == '$')
            return err_set(ERR_DOLLAR_PREFIX,
                "_id fields may not contain '$'-prefixed fields: %s is not valid for storage.",
                (const char *)first.key.data);
    }
    return OK;
}

/* The document with _id in front: as it stands, or a copy in the arena. */
static err_t
put_id_first(struct op *op, struct bytes document, struct bytes *prepared, struct bsonvalue *id)
{
    struct bsonbuild build;
    struct bsonwalk walk;
    struct bsonvalue field;
    uint8_t oid[OBJECTID_SIZE];
    bool found;

    TRY_RETURN(bsonwalk_begin(&walk, document));
    if (bsonwalk_next(&walk, id) && bytes_is(id->key, "_id")) {
        *prepared = document;
        return check_id(id);
    }
    TRY_RETURN(bsonwalk_find(document, bytes_of("_id"), id, &found));
    if (found)
        TRY_RETURN(check_id(id));
    bsonbuild_begin_arena(&build, op->arena);
    if (found) {
        bsonbuild_element(&build, id);
    } else {
        objectid_make(oid);
        bsonbuild_objectid(&build, "_id", oid);
    }
    TRY_RETURN(bsonwalk_begin(&walk, document));
    while (bsonwalk_next(&walk, &field))
        if (!found || field.key.data != id->key.data)
            bsonbuild_element(&build, &field);
    TRY_RETURN(bsonbuild_end(&build, prepared));
    TRY_RETURN(bsonwalk_begin(&walk, *prepared));
    (void)bsonwalk_next(&walk, id);
    return OK;
}

/* Fill the batch.  Documents that cannot be stored are noted and left out; ordered: and what stands
   behind them. */
static err_t
prepare(struct op *op, struct batch *batch, const struct bytes *documents, size_t count,
    struct bytes *ids)
{
    batch->document = arena_alloc(op->arena, (count > 0 ? count : 1) * sizeof *batch->document);
    if (batch->document == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        struct bsonvalue id;
        err_t err = put_id_first(op, documents[i], &batch->document[batch->count], &id);

        if (err == OK && ids != NULL)
            err = verb_statement_wrap(op, &id, &ids[i]);
        if (err == ERR_MEMORY || (err != OK && batch->atomic))
            return err;
        if (err != OK) {
            TRY_RETURN(note(op, batch, (uint32_t)i, err));
            if (batch->ordered)
                return OK;
            if (batch->index == NULL) {
                batch->index = arena_alloc(op->arena, count * sizeof *batch->index);
                if (batch->index == NULL)
                    return ERR_MEMORY;
                for (size_t k = 0; k < batch->count; k++)
                    batch->index[k] = (uint32_t)k;
            }
            continue;
        }
        if (batch->index != NULL)
            batch->index[batch->count] = (uint32_t)i;
        batch->count++;
    }
    return OK;
}

/* Is this the fault of the one document, so that others may go in? */
static bool
concerns_document(err_t err)
{
    switch (err) {
    case ERR_INTERRUPTED:
    case ERR_TERMINATED:
    case ERR_SHUTDOWN:
    case ERR_MAX_TIME:
    case ERR_MEMORY:
    case ERR_IO:
    case ERR_CORRUPT:
    case ERR_DISK_FULL:
    case ERR_INTERNAL:
    case ERR_TOO_MANY:
        return false;
    default:
        return true;
    }
}

/* Put in as much of [*at, count) as goes in with this transaction.  *again: the rest wants
   another. */
static err_t
insert_some(
    struct op *op, struct batch *batch, struct verb_statement *statement, size_t *at, bool *again)
{
    struct verb_insert_result *result = batch->result;

    *again = false;
    while (*at < batch->count) {
        size_t done = 0;
        uint32_t index;
        err_t err = collection_insert_many(op, statement->txn, statement->collection,
            batch->document + *at, batch->count - *at, &done);

        *at += done;
        result->inserted += done;
        if (err == OK)
            return OK;
        if (err == ERR_DEADLOCK || err == ERR_WRITE_CONFLICT) {
            *again = statement->own;
            return statement->own && !batch->atomic ? OK : err;
        }
        if (batch->atomic || (!concerns_document(err) && result->inserted == 0))
            return err;
        index = batch->index != NULL ? batch->index[*at] : (uint32_t)*at;
        TRY_RETURN(note(op, batch, index, err));
        if (batch->ordered || !concerns_document(err)) {
            *at = batch->count;
            return OK;
        }
        ++*at;
    }
    return OK;
}

static err_t
insert_all(struct op *op, struct batch *batch)
{
    struct verb_statement statement;
    unsigned tries = 0;
    size_t at = 0;
    bool again;
    err_t err;

    do {
        size_t before = at;

        again = false;
        TRY_RETURN(verb_statement_begin(op, batch->ns, batch->write.txn, &statement));
        if (statement.collection == NULL)
            TRY_RETURN(verb_statement_make_collection(op, batch->ns, batch->write, &statement));
        err = insert_some(op, batch, &statement, &at, &again);
        err = verb_statement_end(op, &statement, err, batch->write.durable);
        if (!again)
            return err;
        if (err != OK) { /* rolled back */
            batch->result->inserted -= at - before;
            at = before;
        }
        if (at == before && !verb_statement_again(op, &batch->write, ERR_DEADLOCK, &tries))
            return err != OK
                       ? err
                       : note(op, batch, batch->index != NULL ? batch->index[at] : (uint32_t)at,
                             err_set(ERR_WRITE_CONFLICT, "too many writers wait in a circle"));
    } while (err == OK || err == ERR_DEADLOCK || err == ERR_WRITE_CONFLICT);
    return err;
}

static int
by_index(const void *a, const void *b)
{
    const struct verb_error *first = a, *second = b;

    return (first->index > second->index) - (first->index < second->index);
}

/* One document: nothing to keep lists of. */
static err_t
insert_one(struct op *op, const struct verb_ns *ns, struct bytes document, struct verb_write write)
{
    struct verb_statement statement;
    unsigned tries = 0;
    err_t err;

    do {
        TRY_RETURN(verb_statement_begin(op, ns, write.txn, &statement));
        if (statement.collection == NULL)
            TRY_RETURN(verb_statement_make_collection(op, ns, write, &statement));
        err = collection_insert(op, statement.txn, statement.collection, document);
        err = verb_statement_end(op, &statement, err, write.durable);
    } while (err != OK && verb_statement_again(op, &write, err, &tries));
    return err;
}

err_t
verb_insert(struct op *op, const struct verb_ns *ns, const struct bytes *documents, size_t count,
    bool ordered, bool atomic, struct verb_write write, struct bytes *ids,
    struct verb_insert_result *result)
{
    struct batch batch = { ns, write, NULL, NULL, 0, ordered, atomic, 0, result };
    err_t err;

    *result = (struct verb_insert_result){ 0, 0, NULL };
    if (count == 1) {
        struct bytes document;
        struct bsonvalue id;

        err = put_id_first(op, documents[0], &document, &id);
        if (err == OK && ids != NULL)
            err = verb_statement_wrap(op, &id, &ids[0]);
        if (err == OK)
            err = insert_one(op, ns, document, write);
        if (err == OK)
            result->inserted = 1;
        else if (!atomic && concerns_document(err))
            err = note(op, &batch, 0, err);
    } else {
        TRY_RETURN(prepare(op, &batch, documents, count, ids));
        err = batch.count > 0 ? insert_all(op, &batch) : OK;
        if (result->error_count > 1)
            qsort(result->error, result->error_count, sizeof *result->error, by_index);
    }
    if (err == OK)
        counters_add(COUNTER_INSERTS, result->inserted);
    return err;
}
