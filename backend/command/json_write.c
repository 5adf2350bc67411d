/*
 * json_write.c - changing documents in the JSON-lines language.
 *
 * INVARIANTS
 *   J1  What is done is told: a reply is written, or has its room, before documents are changed.
 */
#include "backend/command/json_write.h"

#include <inttypes.h>

#include "backend/command/json_document.h"
#include "backend/command/json_error.h"
#include "backend/command/json_filter.h"
#include "backend/command/json_read.h"
#include "backend/command/json_update.h"
#include "base/clock.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/jsonprint.h"

#define ESCAPED_MOST 6 /* bytes of JSON for one of an _id, at most */

/* ---------------------------------------------------------------- insert */

/* A client's document as it is stored. */
static err_t
prepare(struct json_call *call, const struct bsonvalue *value, int64_t now_ms, struct bytes *stored)
{
    if (value->type != BSONTYPE_DOCUMENT)
        return json_call_say(
            call, ERR_VALIDATION, "Document validation failed: Document must be a JSON object");
    TRY_RETURN(json_document_insert(
        call->op->arena, value->raw, call->config->json_metadata, now_ms, stored));
    if (stored->size > COLLECTION_DOCUMENT_MAX)
        return json_call_say(call, ERR_TOO_LARGE,
            "Document validation failed: document too large: %zu bytes (max %u)", stored->size,
            COLLECTION_DOCUMENT_MAX);
    return OK;
}

static err_t
put_id(struct json_call *call, struct bytes document)
{
    struct bsonvalue id;

    if (!bsonwalk_get(document, "_id", &id))
        return err_set(ERR_INTERNAL, "a document without _id was stored");
    return json_document_print_id(call->out, &id);
}

err_t
json_write_insert_one(struct json_call *call)
{
    struct verb_insert_result result;
    struct bsonvalue value = bsonvalue_null;
    struct bytes stored;
    bool there;

    TRY_RETURN(json_call_refuse(call, "ttl_secs"));
    TRY_RETURN(json_call_resolve(call, JSON_CALL_MAKE, &there));
    (void)json_call_member(call, "document", &value);
    TRY_RETURN(prepare(call, &value, clock_wall_ms(), &stored));
    TRY_RETURN(buf_append_text(call->out, "{\"inserted_id\":"));
    TRY_RETURN(put_id(call, stored));
    TRY_RETURN(buf_append_byte(call->out, '}'));
    TRY_RETURN(buf_reserve(call->out, JSON_CALL_TAIL));
    return verb_insert(
        call->op, &call->ns, &stored, 1, true, true, json_call_write(call), NULL, &result);
}

/* All are checked before one is stored (J11). */
static err_t
prepare_all(struct json_call *call, struct bytes array, struct bytes **stored, size_t *count)
{
    int64_t now_ms = clock_wall_ms();
    struct bsonwalk walk;
    struct bsonvalue item;

    *count = 0;
    *stored = arena_alloc(call->op->arena, (bsonwalk_count(array) + 1) * sizeof **stored);
    if (*stored == NULL)
        return ERR_MEMORY;
    TRY_RETURN(bsonwalk_begin(&walk, array));
    while (bsonwalk_next(&walk, &item)) {
        TRY_RETURN(prepare(call, &item, now_ms, &(*stored)[*count]));
        ++*count;
    }
    return OK;
}

/* The first of the errors of documents that stand for themselves, with how many went in. */
static err_t
partial(struct json_call *call, const struct verb_insert_result *result)
{
    const struct verb_error *first = &result->error[0];
    struct bytes text;

    err_note(first->err, __FILE__, __LINE__, "%s", first->message);
    if (first->info.size > 0)
        err_attach(first->info);
    text = json_error_text(call, first->err);
    return json_call_say(call, first->err, "%.*s (%" PRIu64 " inserted)", (int)text.size,
        (const char *)text.data, result->inserted);
}

static err_t
insert_all(struct json_call *call, const struct bytes *stored, size_t count)
{
    struct verb_insert_result result = { .inserted = 0 };
    bool atomic = json_call_flag(call, "atomic", true);
    bool ordered = json_call_flag(call, "ordered", true);

    if (count == 0)
        return OK;
    TRY_RETURN(verb_insert(
        call->op, &call->ns, stored, count, ordered, atomic, json_call_write(call), NULL, &result));
    return result.error_count > 0 ? partial(call, &result) : OK;
}

err_t
json_write_insert_many(struct json_call *call)
{
    struct bsonvalue value;
    struct bytes *stored;
    size_t count;
    bool there;

    TRY_RETURN(json_call_refuse(call, "ttl_secs"));
    TRY_RETURN(json_call_resolve(call, JSON_CALL_MAKE, &there));
    if (!json_call_member(call, "documents", &value))
        value.raw = bsonvalue_empty_document;
    TRY_RETURN(prepare_all(call, value.raw, &stored, &count));
    TRY_RETURN(buf_printf(call->out, "{\"count\":%zu,\"inserted_ids\":[", count));
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            TRY_RETURN(buf_append_byte(call->out, ','));
        TRY_RETURN(put_id(call, stored[i]));
    }
    TRY_RETURN(buf_append_text(call->out, "]}"));
    TRY_RETURN(buf_reserve(call->out, JSON_CALL_TAIL));
    return insert_all(call, stored, count);
}

/* ---------------------------------------------------------------- update */

static err_t
put_update_result(struct json_call *call, const struct verb_update_result *result)
{
    struct bsonvalue id;
    struct bsonwalk walk;

    TRY_RETURN(buf_printf(call->out,
        "{\"matched_count\":%" PRIu64 ",\"modified_count\":%" PRIu64 ",\"upserted_id\":",
        result->matched, result->modified));
    if (!result->upserted)
        return buf_append_text(call->out, "null}");
    TRY_RETURN(bsonwalk_begin(&walk, result->upserted_id));
    if (!bsonwalk_next(&walk, &id))
        return err_set(ERR_INTERNAL, "an upserted document has no _id");
    TRY_RETURN(json_document_print_id(call->out, &id));
    return buf_append_byte(call->out, '}');
}

/* By each of two keys, where the filter is a UUID's text (at most one of them is there but by
   intent); the text's comes last if it may be made. */
static err_t
update_each(
    struct json_call *call, const struct verb_update *change, struct verb_update_result *result)
{
    struct verb_update one = *change;
    struct bytes filter[2];
    unsigned count;

    TRY_RETURN(json_filter_split(call, change->filter, filter, &count));
    *result = (struct verb_update_result){ .matched = 0 };
    for (unsigned i = 0; i < count; i++) {
        struct verb_update_result more;

        if (i > 0 && result->matched > 0 && (!change->multi || change->upsert))
            break;
        one.filter = filter[change->upsert ? count - 1 - i : i];
        one.upsert = change->upsert && i == count - 1;
        TRY_RETURN(verb_update(call->op, &call->ns, &one, json_call_write(call), &more));
        result->matched += more.matched;
        result->modified += more.modified;
        result->upserted = more.upserted;
        result->upserted_id = more.upserted_id;
    }
    return OK;
}

static err_t
update(struct json_call *call, bool multi, bool replaces)
{
    struct json_update_keeper keeper = { .call = call, .now_ms = clock_wall_ms() };
    struct verb_update change = { .multi = multi,
        .upsert = json_call_flag(call, "upsert", false),
        .rule = replaces ? UPDATE_REPLACE : UPDATE_OPERATORS,
        .amend = json_update_amend,
        .amend_context = &keeper };
    struct verb_update_result result;
    bool there;

    TRY_RETURN(json_call_refuse(call, "array_filters"));
    TRY_RETURN(json_filter_of(call, "filter", false, &change.filter));
    TRY_RETURN(replaces ? json_update_replacement(call, &change.update)
                        : json_update_of(call, &change.update));
    TRY_RETURN(json_read_hint(call, &change.hint));
    TRY_RETURN(json_call_resolve(call, change.upsert ? JSON_CALL_MAKE : JSON_CALL_CHANGE, &there));
    if (change.upsert) /* J1; an _id comes from its filter, from its update, or is made */
        TRY_RETURN(buf_reserve(
            call->out, (change.filter.size + change.update.size) * ESCAPED_MOST + JSON_CALL_TAIL));
    keeper.filter = change.filter;
    keeper.update = change.update;
    TRY_RETURN(update_each(call, &change, &result));
    return put_update_result(call, &result);
}

err_t
json_write_update_one(struct json_call *call)
{
    return update(call, false, false);
}

err_t
json_write_update_many(struct json_call *call)
{
    return update(call, true, false);
}

err_t
json_write_replace_one(struct json_call *call)
{
    return update(call, false, true);
}

/* ---------------------------------------------------------------- delete */

static err_t
remove_found(struct json_call *call, bool multi)
{
    struct bytes filter, hint, each[2];
    uint64_t deleted = 0, more;
    unsigned count;
    bool there;

    TRY_RETURN(json_filter_of(call, "filter", false, &filter));
    TRY_RETURN(json_read_hint(call, &hint));
    TRY_RETURN(json_call_resolve(call, JSON_CALL_CHANGE, &there));
    TRY_RETURN(json_filter_split(call, filter, each, &count));
    for (unsigned i = 0; i < count && (multi || deleted == 0); i++) {
        TRY_RETURN(
            verb_delete(call->op, &call->ns, each[i], hint, multi, json_call_write(call), &more));
        deleted += more;
    }
    return buf_printf(call->out, "{\"deleted_count\":%" PRIu64 "}", deleted);
}

err_t
json_write_delete_one(struct json_call *call)
{
    return remove_found(call, false);
}

err_t
json_write_delete_many(struct json_call *call)
{
    return remove_found(call, true);
}
