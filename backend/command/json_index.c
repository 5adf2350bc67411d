/*
 * json_index.c - indexes in the JSON-lines language.
 */
#include "backend/command/json_index.h"

#include <ctype.h>

#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/jsonprint.h"

/* `btree` in any case, with or without - and _.  Errors: another kind. */
static err_t
check_type(struct json_call *call)
{
    struct bsonvalue value;
    struct bytes text = bytes_of("");
    char plain[8];
    size_t size = 0;

    if (json_call_member(call, "index_type", &value))
        text = bsonvalue_string(&value);
    for (size_t i = 0; i < text.size && size < sizeof plain - 1; i++)
        if (text.data[i] != '-' && text.data[i] != '_')
            plain[size++] = (char)tolower(text.data[i]);
    plain[size] = '\0';
    if (strcmp(plain, "btree") == 0)
        return OK;
    if (strcmp(plain, "hash") == 0)
        return json_call_say(call, ERR_COMMAND_NOT_SUPPORTED,
            "Query execution error: index_type hash is not offered yet");
    return json_call_say(call, ERR_CANNOT_CREATE_INDEX,
        "Index build failed: unknown index type '%.*s'", (int)text.size, (const char *)text.data);
}

static err_t
fail(struct json_call *call, const char *why)
{
    return json_call_say(call, ERR_CANNOT_CREATE_INDEX, "Index build failed: %s", why);
}

/* {field: direction, …} */
static err_t
put_pattern(struct json_call *call, struct bsonbuild *build)
{
    struct bsonvalue fields, directions, field, direction;
    struct bsonwalk walk, directed;
    bool given = json_call_member(call, "directions", &directions);

    if (!json_call_member(call, "fields", &fields) || bsonwalk_count(fields.raw) == 0)
        return fail(call, "fields is empty");
    if (given && bsonwalk_count(directions.raw) != bsonwalk_count(fields.raw))
        return fail(call, "there must be as many directions as fields");
    TRY_RETURN(bsonwalk_begin(&walk, fields.raw));
    TRY_RETURN(bsonwalk_begin(&directed, given ? directions.raw : bsonvalue_empty_document));
    while (bsonwalk_next(&walk, &field)) {
        int64_t way = 1;

        if (field.type != BSONTYPE_STRING || bsonvalue_string(&field).size == 0)
            return fail(call, "fields are names");
        if (given && (!bsonwalk_next(&directed, &direction) ||
                         !bsonvalue_to_int64(&direction, false, &way) || (way != 1 && way != -1)))
            return fail(call, "a direction is 1 or -1");
        bsonbuild_int32(build, bsonvalue_string(&field), (int32_t)way);
    }
    return OK;
}

static err_t
define(struct json_call *call, const char *name, struct bytes *definition)
{
    struct bsonbuild build;
    err_t err;

    bsonbuild_begin_arena(&build, call->op->arena);
    bsonbuild_document_begin(&build, "key");
    err = put_pattern(call, &build);
    if (err != OK) {
        bsonbuild_cancel(&build);
        return err;
    }
    bsonbuild_document_end(&build);
    bsonbuild_text(&build, "name", name);
    if (json_call_flag(call, "unique", false))
        bsonbuild_bool(&build, "unique", true);
    if (json_call_flag(call, "sparse", false))
        bsonbuild_bool(&build, "sparse", true);
    return bsonbuild_end(&build, definition);
}

static bool
is_named(struct bytes definition, const char *name)
{
    struct bsonvalue value;

    return bsonwalk_get(definition, "name", &value) && value.type == BSONTYPE_STRING &&
           bytes_is(bsonvalue_string(&value), name);
}

static err_t
refuse_existing(struct json_call *call, const char *name)
{
    return json_call_say(call, ERR_INDEX_EXISTS, "Index already exists: %s.%s.%s",
        call->ns.database, call->ns.collection, name);
}

err_t
json_index_create(struct json_call *call)
{
    const struct bytes *existing;
    struct bytes definition;
    const char *name;
    size_t count;
    bool there, existed;

    TRY_RETURN(check_type(call));
    TRY_RETURN(json_call_refuse(call, "partial_filter"));
    TRY_RETURN(json_call_refuse(call, "expire_after_secs"));
    TRY_RETURN(json_call_name(call, "name", &name));
    if (name == NULL)
        return json_call_say(call, ERR_INVALID_NAMESPACE,
            "Invalid name: an index's name has 1 to %d bytes without NUL", CATALOG_NAME_MAX);
    TRY_RETURN(define(call, name, &definition));
    TRY_RETURN(json_call_resolve(call, JSON_CALL_CHANGE, &there));
    TRY_RETURN(verb_list_indexes(call->op, &call->ns, &existing, &count, &there));
    for (size_t i = 0; i < count; i++)
        if (is_named(existing[i], name))
            return refuse_existing(call, name);
    TRY_RETURN(verb_create_index(call->op, &call->ns, definition, &existed));
    if (existed)
        return refuse_existing(call, name);
    return json_call_put_pair(call, "created", bytes_of(name));
}

err_t
json_index_drop(struct json_call *call)
{
    struct bsonvalue value = bsonvalue_null;
    struct bytes given = bytes_of("");
    const char *name;
    bool there, found = false;

    TRY_RETURN(json_call_resolve(call, JSON_CALL_CHANGE, &there));
    TRY_RETURN(json_call_name(call, "name", &name));
    if (json_call_member(call, "name", &value))
        given = bsonvalue_string(&value);
    if (bytes_is(given, "_id_"))
        return json_call_say(
            call, ERR_INVALID_OPTIONS, "Query execution error: cannot drop the _id_ index");
    if (name != NULL)
        TRY_RETURN(verb_drop_index(call->op, &call->ns, name, &found));
    if (!found)
        return json_call_say(call, ERR_INDEX_NOT_FOUND, "Index not found: %s.%s.%.*s",
            call->ns.database, call->ns.collection, (int)given.size, (const char *)given.data);
    return json_call_put_pair(call, "dropped", given);
}

static bool
is_set(struct bytes definition, const char *key)
{
    struct bsonvalue value;

    return bsonwalk_get(definition, key, &value) && bsonvalue_truth(&value);
}

/* {"collection":…,"fields":[…],"index_type":"btree","name":…,"sparse":…,"unique":…} */
static err_t
put_index(struct json_call *call, struct bytes definition)
{
    const char *ns = arena_printf(call->op->arena, "%s.%s", call->ns.database, call->ns.collection);
    struct buf *out = call->out;
    struct bsonvalue key, name, field;
    struct bsonwalk walk;
    bool first = true, unique;

    if (ns == NULL)
        return ERR_MEMORY;
    if (!bsonwalk_get(definition, "key", &key) || !bsonwalk_get(definition, "name", &name))
        return err_set(ERR_CORRUPT, "an index of %s.%s has no key or name", call->ns.database,
            call->ns.collection);
    unique = is_set(definition, "unique") || is_named(definition, "_id_");
    TRY_RETURN(buf_append_text(out, "{\"collection\":"));
    TRY_RETURN(jsonprint_string(out, bytes_of(ns)));
    TRY_RETURN(buf_append_text(out, ",\"fields\":["));
    TRY_RETURN(bsonwalk_begin(&walk, key.raw));
    while (bsonwalk_next(&walk, &field)) {
        TRY_RETURN(buf_append_text(out, first ? "" : ","));
        TRY_RETURN(jsonprint_string(out, field.key));
        first = false;
    }
    TRY_RETURN(buf_append_text(out, "],\"index_type\":\"btree\",\"name\":"));
    TRY_RETURN(jsonprint_value(out, &name, JSONPRINT_WIRE));
    return buf_printf(out, ",\"sparse\":%s,\"unique\":%s}",
        is_set(definition, "sparse") ? "true" : "false", unique ? "true" : "false");
}

err_t
json_index_list(struct json_call *call)
{
    const struct bytes *definitions;
    size_t count;
    bool there;

    TRY_RETURN(json_call_resolve(call, JSON_CALL_CHANGE, &there));
    TRY_RETURN(verb_list_indexes(call->op, &call->ns, &definitions, &count, &there));
    TRY_RETURN(buf_append_text(call->out, "{\"indexes\":["));
    for (size_t i = 0; i < count; i++) {
        TRY_RETURN(buf_append_text(call->out, i > 0 ? "," : ""));
        TRY_RETURN(put_index(call, definitions[i]));
    }
    return buf_append_text(call->out, "]}");
}
