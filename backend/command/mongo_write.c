/*
 * mongo_write.c - insert, update, delete, findAndModify.
 *
 * The statements of one command are written without waiting for the disk; it is waited for once,
 * at the end, before the reply.
 */
#include "backend/command/mongo_fields.h"

#include "base/doc/bsonwalk.h"

#define UPSERTED_MOST 64 /* bytes of {index, _id} beside the _id, or with one that was made */

/* ---- lists of documents: in a section of the message, or as an array in the body ---- */

struct list {
    struct bytes *document;
    size_t count;
};

static err_t
check_count(size_t count)
{
    err_t err;

    if (count >= 1 && count <= MONGO_BATCH_MAX)
        return OK;
    err = err_set(ERR_BAD_VALUE, "Write batch sizes must be between 1 and %d. Got %zu operations.",
        MONGO_BATCH_MAX, count);
    err_set_mongo(16, "InvalidLength");
    return err;
}

static err_t
collect_sequence(struct op *op, const struct opmsg_sequence *sequence, struct list *list)
{
    struct bytes rest = sequence->documents;

    TRY_RETURN(check_count(sequence->count));
    list->document = arena_alloc(op->arena, sequence->count * sizeof *list->document);
    if (list->document == NULL)
        return ERR_MEMORY;
    while (
        list->count < sequence->count && opmsg_next_document(&rest, &list->document[list->count]))
        list->count++;
    return OK;
}

static err_t
collect_array(struct op *op, const struct mongo_request *request, const char *name,
    struct bytes array, struct list *list)
{
    size_t count = bsonwalk_count(array);
    struct bsonwalk walk;
    struct bsonvalue value;

    TRY_RETURN(check_count(count));
    list->document = arena_alloc(op->arena, count * sizeof *list->document);
    if (list->document == NULL)
        return ERR_MEMORY;
    TRY_RETURN(bsonwalk_begin(&walk, array));
    while (bsonwalk_next(&walk, &value)) {
        if (value.type != BSONTYPE_DOCUMENT)
            return err_set(ERR_TYPE_MISMATCH,
                "BSON field '%s.%s.%s' is the wrong type '%s', expected type 'object'",
                (const char *)request->name.data, name, (const char *)value.key.data,
                bsonvalue_type_name(value.type));
        list->document[list->count++] = value.raw;
    }
    return OK;
}

static err_t
collect(struct mongo_request *request, const char *name, struct bytes array, struct list *list)
{
    const struct opmsg_sequence *sequence = opmsg_sequence(request->message, name);

    *list = (struct list){ NULL, 0 };
    if (sequence != NULL)
        return collect_sequence(request->op, sequence, list);
    if (array.size == 0)
        return err_set(ERR_MISSING_FIELD, "BSON field '%s.%s' is missing but a required field",
            (const char *)request->name.data, name);
    return collect_array(request->op, request, name, array, list);
}

/* ---- what went wrong, statement by statement ---- */

struct errors {
    struct verb_error *error;
    size_t count, capacity;
};

static err_t
note(struct op *op, struct errors *errors, size_t index, err_t err)
{
    if (errors->count == errors->capacity) {
        size_t capacity = errors->capacity == 0 ? 4 : 2 * errors->capacity;
        struct verb_error *more = arena_alloc(op->arena, capacity * sizeof *more);

        if (more == NULL)
            return ERR_MEMORY;
        if (errors->count > 0)
            memcpy(more, errors->error, errors->count * sizeof *more);
        errors->error = more;
        errors->capacity = capacity;
    }
    return verb_error_take(op, (uint32_t)index, err, &errors->error[errors->count++]);
}

static void
put_errors(struct bsonbuild *reply, const struct verb_error *error, size_t count)
{
    if (count == 0)
        return;
    bsonbuild_array_begin(reply, "writeErrors");
    for (size_t i = 0; i < count; i++) {
        bsonbuild_document_begin(reply, NULL);
        bsonbuild_int32(reply, "index", (int32_t)error[i].index);
        bsonbuild_int32(reply, "code", error[i].code);
        if (error[i].info.size > 0)
            bsonbuild_elements(reply, error[i].info);
        bsonbuild_text(reply, "errmsg", error[i].message);
        bsonbuild_document_end(reply);
    }
    bsonbuild_array_end(reply);
}

/* Must the whole command end, whatever `ordered` says? */
static bool
ends_command(err_t err)
{
    return err == ERR_INTERRUPTED || err == ERR_TERMINATED || err == ERR_SHUTDOWN ||
           err == ERR_MAX_TIME || err == ERR_MEMORY || err == ERR_IO;
}

/* ---- insert ---- */

struct insert {
    struct bytes documents;
    bool ordered;
};

static const struct mongo_field insert_fields[] = {
    MONGO_FIELD("documents", MONGO_ARRAY, struct insert, documents),
    MONGO_FIELD("ordered", MONGO_BOOLEAN, struct insert, ordered),
    MONGO_FIELD_NAMED("bypassDocumentValidation", MONGO_IGNORED),
    MONGO_FIELD_NAMED("bypassEmptyTsReplacement", MONGO_IGNORED),
    { NULL, 0, 0, MONGO_IGNORED },
};

err_t
mongo_write_insert(struct mongo_request *request, struct bsonbuild *reply)
{
    struct insert insert = { .ordered = true };
    struct verb_insert_result result;
    struct list list;

    TRY_RETURN(mongo_fields_parse(request, insert_fields, &insert));
    TRY_RETURN(collect(request, "documents", insert.documents, &list));
    TRY_RETURN(verb_insert(request->op, &request->ns, list.document, list.count, insert.ordered,
        false, (struct verb_write){ .durable = request->durable }, NULL, &result));
    bsonbuild_int32(reply, "n", (int32_t)result.inserted);
    put_errors(reply, result.error, result.error_count);
    return OK;
}

/* ---- update ---- */

struct update_command {
    struct bytes updates;
    bool ordered;
};

static const struct mongo_field update_fields[] = {
    MONGO_FIELD("updates", MONGO_ARRAY, struct update_command, updates),
    MONGO_FIELD("ordered", MONGO_BOOLEAN, struct update_command, ordered),
    MONGO_FIELD_NAMED("bypassDocumentValidation", MONGO_IGNORED),
    MONGO_FIELD_NAMED("bypassEmptyTsReplacement", MONGO_IGNORED),
    { NULL, 0, 0, MONGO_IGNORED },
};

struct statement {
    struct bytes q, sort;
    struct bsonvalue u, hint;
    bool multi, upsert;
    int64_t limit;
};

static const struct mongo_field statement_fields[] = {
    MONGO_FIELD("q", MONGO_DOCUMENT, struct statement, q),
    MONGO_FIELD("u", MONGO_ANY, struct statement, u),
    MONGO_FIELD("multi", MONGO_BOOLEAN, struct statement, multi),
    MONGO_FIELD("upsert", MONGO_BOOLEAN, struct statement, upsert),
    MONGO_FIELD("hint", MONGO_ANY, struct statement, hint),
    MONGO_FIELD("sort", MONGO_DOCUMENT, struct statement, sort),
    MONGO_FIELD_NAMED("c", MONGO_REFUSED),
    MONGO_FIELD_NAMED("arrayFilters", MONGO_REFUSED),
    MONGO_FIELD_NAMED("upsertSupplied", MONGO_IGNORED),
    MONGO_FIELD_NAMED("sampleId", MONGO_IGNORED),
    { NULL, 0, 0, MONGO_IGNORED },
};

static err_t
need_update_document(const struct bsonvalue *u)
{
    if (u->type == BSONTYPE_ARRAY)
        return err_set(ERR_COMMAND_NOT_SUPPORTED, "updates by a pipeline are not supported yet");
    if (u->type == BSONTYPE_EOO)
        return err_set(
            ERR_MISSING_FIELD, "BSON field 'update.updates.u' is missing but a required field");
    if (u->type != BSONTYPE_DOCUMENT)
        return err_set(ERR_FAILED_TO_PARSE,
            "Update argument must be either an object or an array, not %s",
            bsonvalue_type_name(u->type));
    return OK;
}

static err_t
parse_update(struct op *op, struct bytes document, struct verb_update *update)
{
    struct statement statement = { .q = { NULL, 0 } };

    TRY_RETURN(mongo_fields_parse_part(document, "update.updates", statement_fields, &statement));
    if (statement.q.size == 0)
        return err_set(
            ERR_MISSING_FIELD, "BSON field 'update.updates.q' is missing but a required field");
    TRY_RETURN(need_update_document(&statement.u));
    *update = (struct verb_update){ .filter = statement.q,
        .update = statement.u.raw,
        .rule = UPDATE_BY_SHAPE,
        .multi = statement.multi,
        .upsert = statement.upsert,
        .sort = statement.sort };
    return mongo_fields_hint(op, &statement.hint, &update->hint);
}

struct updated {
    uint64_t n, modified;
    struct bsonbuild upserted; /* {"": [{index, _id}, …]} */
    size_t upserted_count;
    struct errors errors;
};

/* Room to tell what a statement may insert, here and in the reply: an _id comes from its filter,
   from its update, or is made. */
static err_t
reserve_upserted(struct updated *updated, const struct verb_update *update, struct bsonbuild *reply)
{
    size_t size = update->filter.size + update->update.size + UPSERTED_MOST;

    if (!update->upsert)
        return OK;
    TRY_RETURN(bsonbuild_reserve(&updated->upserted, size));
    return bsonbuild_reserve(reply, updated->upserted.size + size);
}

static void
note_upserted(struct updated *updated, size_t index, struct bytes id)
{
    struct bsonwalk walk;
    struct bsonvalue value;

    bsonbuild_document_begin(&updated->upserted, NULL);
    bsonbuild_int32(&updated->upserted, "index", (int32_t)index);
    if (bsonwalk_begin(&walk, id) == OK && bsonwalk_next(&walk, &value))
        bsonbuild_value(&updated->upserted, "_id", &value);
    bsonbuild_document_end(&updated->upserted);
    updated->n++;
    updated->upserted_count++;
}

static err_t
run_updates(struct mongo_request *request, const struct list *list, bool ordered,
    struct updated *updated, struct bsonbuild *reply)
{
    struct verb_write write = { .durable = request->durable && list->count == 1 };

    for (size_t i = 0; i < list->count; i++) {
        struct verb_update_result result = { .matched = 0 };
        struct verb_update update;
        err_t err = parse_update(request->op, list->document[i], &update);

        if (err == OK)
            err = reserve_upserted(updated, &update, reply);
        if (err == OK)
            err = verb_update(request->op, &request->ns, &update, write, &result);
        if (err != OK) {
            TRY_RETURN(note(request->op, &updated->errors, i, err));
            if (ordered || ends_command(err))
                break;
            continue;
        }
        updated->n += result.matched;
        updated->modified += result.modified;
        if (result.upserted)
            note_upserted(updated, i, result.upserted_id);
    }
    if (request->durable && list->count > 1 && updated->modified + updated->upserted_count > 0)
        return verb_flush(request->op);
    return OK;
}

err_t
mongo_write_update(struct mongo_request *request, struct bsonbuild *reply)
{
    struct update_command command = { .ordered = true };
    struct updated updated = { .n = 0 };
    struct bsonwalk walk;
    struct bsonvalue array;
    struct bytes upserted;
    struct list list;

    TRY_RETURN(mongo_fields_parse(request, update_fields, &command));
    TRY_RETURN(collect(request, "updates", command.updates, &list));
    bsonbuild_begin_arena(&updated.upserted, request->op->arena);
    bsonbuild_array_begin(&updated.upserted, "");
    TRY_RETURN(bsonbuild_reserve(&updated.upserted, UPSERTED_MOST));
    TRY_RETURN(run_updates(request, &list, command.ordered, &updated, reply));
    bsonbuild_array_end(&updated.upserted);
    TRY_RETURN(bsonbuild_end(&updated.upserted, &upserted));
    bsonbuild_int32(reply, "n", (int32_t)updated.n);
    if (updated.upserted_count > 0) {
        TRY_RETURN(bsonwalk_begin(&walk, upserted));
        if (bsonwalk_next(&walk, &array))
            bsonbuild_array(reply, "upserted", array.raw);
    }
    bsonbuild_int32(reply, "nModified", (int32_t)updated.modified);
    put_errors(reply, updated.errors.error, updated.errors.count);
    return OK;
}

/* ---- delete ---- */

static const struct mongo_field delete_fields[] = {
    MONGO_FIELD("deletes", MONGO_ARRAY, struct update_command, updates),
    MONGO_FIELD("ordered", MONGO_BOOLEAN, struct update_command, ordered),
    { NULL, 0, 0, MONGO_IGNORED },
};

static const struct mongo_field delete_statement_fields[] = {
    MONGO_FIELD("q", MONGO_DOCUMENT, struct statement, q),
    MONGO_FIELD("limit", MONGO_NUMBER, struct statement, limit),
    MONGO_FIELD("hint", MONGO_ANY, struct statement, hint),
    MONGO_FIELD_NAMED("sampleId", MONGO_IGNORED),
    { NULL, 0, 0, MONGO_IGNORED },
};

static err_t
run_delete(struct mongo_request *request, struct bytes document, bool durable, uint64_t *deleted)
{
    struct statement statement = { .limit = -1 };
    struct bytes hint;

    TRY_RETURN(
        mongo_fields_parse_part(document, "delete.deletes", delete_statement_fields, &statement));
    if (statement.q.size == 0)
        return err_set(
            ERR_MISSING_FIELD, "BSON field 'delete.deletes.q' is missing but a required field");
    if (statement.limit != 0 && statement.limit != 1)
        return err_set(ERR_FAILED_TO_PARSE,
            "The limit field in delete objects must be 0 or 1. Got %jd", (intmax_t)statement.limit);
    TRY_RETURN(mongo_fields_hint(request->op, &statement.hint, &hint));
    return verb_delete(request->op, &request->ns, statement.q, hint, statement.limit == 0,
        (struct verb_write){ .durable = durable }, deleted);
}

err_t
mongo_write_delete(struct mongo_request *request, struct bsonbuild *reply)
{
    struct update_command command = { .ordered = true };
    struct errors errors = { NULL, 0, 0 };
    struct list list;
    uint64_t n = 0;

    TRY_RETURN(mongo_fields_parse(request, delete_fields, &command));
    TRY_RETURN(collect(request, "deletes", command.updates, &list));
    for (size_t i = 0; i < list.count; i++) {
        uint64_t deleted = 0;
        err_t err =
            run_delete(request, list.document[i], request->durable && list.count == 1, &deleted);

        n += deleted;
        if (err == OK)
            continue;
        TRY_RETURN(note(request->op, &errors, i, err));
        if (command.ordered || ends_command(err))
            break;
    }
    if (request->durable && list.count > 1 && n > 0)
        TRY_RETURN(verb_flush(request->op));
    bsonbuild_int32(reply, "n", (int32_t)n);
    put_errors(reply, errors.error, errors.count);
    return OK;
}

/* ---- findAndModify ---- */

struct modify {
    struct bytes query, sort, fields;
    struct bsonvalue update, hint;
    bool remove, show_new, upsert;
};

static const struct mongo_field modify_fields[] = {
    MONGO_FIELD("query", MONGO_DOCUMENT, struct modify, query),
    MONGO_FIELD("sort", MONGO_DOCUMENT, struct modify, sort),
    MONGO_FIELD("fields", MONGO_DOCUMENT, struct modify, fields),
    MONGO_FIELD("update", MONGO_ANY, struct modify, update),
    MONGO_FIELD("remove", MONGO_BOOLEAN, struct modify, remove),
    MONGO_FIELD("new", MONGO_BOOLEAN, struct modify, show_new),
    MONGO_FIELD("upsert", MONGO_BOOLEAN, struct modify, upsert),
    MONGO_FIELD("hint", MONGO_ANY, struct modify, hint),
    MONGO_FIELD_NAMED("arrayFilters", MONGO_REFUSED),
    MONGO_FIELD_NAMED("bypassDocumentValidation", MONGO_IGNORED),
    { NULL, 0, 0, MONGO_IGNORED },
};

static err_t
check_modify(const struct modify *modify)
{
    if (modify->remove && modify->update.type != BSONTYPE_EOO)
        return err_set(ERR_FAILED_TO_PARSE, "Cannot specify both an update and remove=true");
    if (modify->remove && modify->upsert)
        return err_set(ERR_FAILED_TO_PARSE, "Cannot specify both upsert=true and remove=true");
    if (modify->remove && modify->show_new)
        return err_set(ERR_FAILED_TO_PARSE,
            "Cannot specify both new=true and remove=true; 'remove' always returns the deleted "
            "document");
    if (!modify->remove && modify->update.type == BSONTYPE_EOO)
        return err_set(ERR_FAILED_TO_PARSE, "Either an update or remove=true must be specified");
    if (modify->fields.size > BSONVALUE_DOCUMENT_SIZE_LEAST)
        return err_set(
            ERR_COMMAND_NOT_SUPPORTED, "the field 'findAndModify.fields' is not supported yet");
    return modify->remove ? OK : need_update_document(&modify->update);
}

static void
put_modified(struct bsonbuild *reply, const struct modify *modify,
    const struct verb_update_result *result, struct bytes document)
{
    struct bsonwalk walk;
    struct bsonvalue id;

    bsonbuild_document_begin(reply, "lastErrorObject");
    bsonbuild_int32(reply, "n", (int32_t)(result->matched + result->upserted));
    if (!modify->remove)
        bsonbuild_bool(reply, "updatedExisting", result->matched > 0);
    if (result->upserted && bsonwalk_begin(&walk, result->upserted_id) == OK &&
        bsonwalk_next(&walk, &id))
        bsonbuild_value(reply, "upserted", &id);
    bsonbuild_document_end(reply);
    if (document.size > 0)
        bsonbuild_document(reply, "value", document);
    else
        bsonbuild_null(reply, "value");
}

/* The reply must not fail once it is done. */
static err_t
reserve_shown(void *context, size_t size)
{
    return bsonbuild_reserve(context, size + MONGO_REPLY_TAIL);
}

err_t
mongo_write_find_and_modify(struct mongo_request *request, struct bsonbuild *reply)
{
    struct modify modify = { .remove = false };
    struct verb_update_result result;
    struct verb_update update;
    struct bytes document;

    TRY_RETURN(mongo_fields_parse(request, modify_fields, &modify));
    TRY_RETURN(check_modify(&modify));
    update = (struct verb_update){ .filter = modify.query,
        .update = modify.remove ? (struct bytes){ NULL, 0 } : modify.update.raw,
        .rule = UPDATE_BY_SHAPE,
        .upsert = modify.upsert,
        .sort = modify.sort,
        .room = reserve_shown,
        .room_context = reply };
    TRY_RETURN(reserve_shown(reply, update.filter.size + update.update.size)); /* an upserted _id */
    TRY_RETURN(mongo_fields_hint(request->op, &modify.hint, &update.hint));
    TRY_RETURN(verb_modify(request->op, &request->ns, &update, modify.show_new,
        (struct verb_write){ .durable = request->durable }, &result, &document));
    put_modified(reply, &modify, &result, document);
    return OK;
}
