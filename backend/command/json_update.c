/*
 * json_update.c - updates of the JSON-lines language as the engine takes them.
 *
 * INVARIANT
 *   U1  No update that a client sends reaches a field at or under _metadata.
 */
#include "backend/command/json_update.h"

#include <stdlib.h>

#include "backend/command/json_document.h"
#include "backend/command/json_filter.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/objectid.h"

static bool
is_known(struct bytes name)
{
    static const char *const known[] = { "$set", "$unset", "$inc", "$push", "$pull", "$rename",
        "$mul", "$min", "$max", "$addToSet", "$pop", "$pullAll", "$currentDate", "$setOnInsert",
        "$bit" };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (bytes_is(name, known[i]))
            return true;
    return false;
}

static bool
is_kept(struct bytes path)
{
    static const char name[] = "_metadata";
    const size_t size = sizeof name - 1;

    return path.size >= size && memcmp(path.data, name, size) == 0 &&
           (path.size == size || path.data[size] == '.');
}

static err_t
refuse_kept(struct json_call *call)
{
    return json_call_say(
        call, ERR_VALIDATION, "Document validation failed: _metadata is maintained by the server");
}

/* The operand of $push with its modifiers: all values in order but what sorts. */
static void
put_push(struct bsonbuild *build, const struct bsonvalue *value)
{
    struct bsonwalk walk;
    struct bsonvalue member;

    if (value->type != BSONTYPE_DOCUMENT || !bsonwalk_get(value->raw, "$each", &member) ||
        bsonwalk_begin(&walk, value->raw) != OK) {
        json_document_put_sorted(build, value);
        return;
    }
    bsonbuild_document_begin(build, value->key);
    while (build->err == OK && bsonwalk_next(&walk, &member))
        if (bytes_is(member.key, "$sort"))
            bsonbuild_element(build, &member);
        else
            json_document_put_sorted(build, &member);
    bsonbuild_document_end(build);
}

/* One operator with its fields.  U1 */
static err_t
put_operator(struct json_call *call, struct bsonbuild *build, const struct bsonvalue *operator)
{
    bool push = bytes_is(operator->key, "$push");
    bool rename = bytes_is(operator->key, "$rename");
    struct bsonwalk walk;
    struct bsonvalue field;

    if (operator->type != BSONTYPE_DOCUMENT) {
        bsonbuild_element(build, operator); /* the engine says what is wrong */
        return OK;
    }
    bsonbuild_document_begin(build, operator->key);
    TRY_RETURN(bsonwalk_begin(&walk, operator->raw));
    while (bsonwalk_next(&walk, &field)) {
        if (is_kept(field.key) ||
            (rename && field.type == BSONTYPE_STRING && is_kept(bsonvalue_string(&field))))
            return refuse_kept(call);
        if (push)
            put_push(build, &field);
        else
            json_document_put_sorted(build, &field);
    }
    bsonbuild_document_end(build);
    return OK;
}

/* Plain members are merged: {$set: …}; else operators alone. */
static err_t
put_update(struct json_call *call, struct bsonbuild *build, struct bytes update)
{
    struct bsonwalk walk;
    struct bsonvalue member, whole = bsonvalue_of_document(update);
    bool operators = false;

    TRY_RETURN(bsonwalk_begin(&walk, update));
    while (bsonwalk_next(&walk, &member))
        operators |= member.key.size > 0 && member.key.data[0] == '$';
    if (!operators) {
        whole.key = bytes_of("$set");
        return put_operator(call, build, &whole);
    }
    TRY_RETURN(bsonwalk_begin(&walk, update));
    while (bsonwalk_next(&walk, &member)) {
        if (!is_known(member.key))
            return json_call_say(call, ERR_BAD_VALUE, "Invalid operator: %.*s",
                (int)member.key.size, (const char *)member.key.data);
        TRY_RETURN(put_operator(call, build, &member));
    }
    return OK;
}

err_t
json_update_of(struct json_call *call, struct bytes *update)
{
    struct bsonbuild build;
    struct bsonvalue value;
    bool given = json_call_member(call, "update", &value);
    err_t err;

    if (given && value.type == BSONTYPE_ARRAY)
        return json_call_say(call, ERR_COMMAND_NOT_SUPPORTED,
            "Query execution error: update by a pipeline is not offered yet");
    if (!given || value.type != BSONTYPE_DOCUMENT)
        return json_call_say(
            call, ERR_BAD_VALUE, "Query parse error: Update document must be a JSON object");
    bsonbuild_begin_arena(&build, call->op->arena);
    err = put_update(call, &build, value.raw);
    if (err != OK) {
        bsonbuild_cancel(&build);
        return err;
    }
    return bsonbuild_end(&build, update);
}

err_t
json_update_replacement(struct json_call *call, struct bytes *update)
{
    struct bsonbuild build;
    struct bsonwalk walk;
    struct bsonvalue value, field;
    bool given = json_call_member(call, "document", &value);

    if (!given || value.type != BSONTYPE_DOCUMENT)
        return json_call_say(
            call, ERR_VALIDATION, "Document validation failed: Document must be a JSON object");
    TRY_RETURN(bsonwalk_begin(&walk, value.raw));
    bsonbuild_begin_arena(&build, call->op->arena);
    while (bsonwalk_next(&walk, &field))
        if (!bytes_is(field.key, "_metadata"))
            json_document_put_sorted(&build, &field);
    return bsonbuild_end(&build, update);
}

/* Was this _id made by the engine, just now?  Then nothing that the client sent has it. */
static bool
is_made(const struct json_update_keeper *keeper, struct bytes document)
{
    struct bsonvalue id;
    const uint8_t *oid;

    if (!bsonwalk_get(document, "_id", &id))
        return true;
    if (id.type != BSONTYPE_OBJECTID)
        return false;
    oid = bsonvalue_objectid(&id);
    return memmem(keeper->filter.data, keeper->filter.size, oid, OBJECTID_SIZE) == NULL &&
           memmem(keeper->update.data, keeper->update.size, oid, OBJECTID_SIZE) == NULL;
}

/* The _id of a document that an upsert makes: what the client gave, in whatever way, or NULL. */
static const struct bsonvalue *
upserted_id(const struct json_update_keeper *keeper, struct bytes made, struct bsonvalue room[2])
{
    if (!is_made(keeper, made) && bsonwalk_get(made, "_id", &room[0]))
        return &room[0];
    return json_filter_uuid(keeper->filter, &room[0], &room[1]) ? &room[0] : NULL;
}

err_t
json_update_amend(void *context, struct bytes before, struct bytes *after)
{
    const struct json_update_keeper *keeper = context;
    struct json_call *call = keeper->call;
    bool metadata = call->config->json_metadata;
    struct bsonvalue room[2];

    if (before.size == 0)
        return json_document_upsert(call->scratch, *after, upserted_id(keeper, *after, room),
            metadata, keeper->now_ms, after);
    return metadata ? json_document_renew(call->scratch, before, *after, keeper->now_ms, after)
                    : OK;
}
