/*
 * mongo_index.c - createIndexes, listIndexes, dropIndexes.
 */
#include "backend/command/mongo_fields.h"

#include "base/doc/bsonwalk.h"
#include "base/log.h"

/* ---- createIndexes ---- */

struct create {
    struct bytes indexes;
};

static const struct mongo_field create_fields[] = {
    MONGO_FIELD("indexes", MONGO_ARRAY, struct create, indexes),
    MONGO_FIELD_NAMED("commitQuorum", MONGO_IGNORED),
    MONGO_FIELD_NAMED("ignoreUnknownIndexOptions", MONGO_IGNORED),
    { NULL, 0, 0, MONGO_IGNORED },
};

static err_t
make_index(struct mongo_request *request, const struct bsonvalue *definition, bool *existed)
{
    if (definition->type != BSONTYPE_DOCUMENT)
        return err_set(ERR_TYPE_MISMATCH,
            "BSON field 'createIndexes.indexes.%s' is the wrong type '%s', expected type "
            "'object'",
            (const char *)definition->key.data, bsonvalue_type_name(definition->type));
    return verb_create_index(request->op, &request->ns, definition->raw, existed);
}

static struct bytes
name_of(struct bytes definition)
{
    struct bsonvalue name;

    if (!bsonwalk_get(definition, "name", &name) || name.type != BSONTYPE_STRING)
        return (struct bytes){ NULL, 0 };
    return bsonvalue_string(&name);
}

/* A command that fails makes none: drop those of the first `count` that were not there before.
   Returns `err`, which is the last error again. */
static err_t
take_back(struct mongo_request *request, struct bytes indexes, const bool *existed, size_t count,
    err_t err)
{
    struct verb_error cause;
    struct bsonwalk walk;
    struct bsonvalue definition;

    TRY_RETURN(verb_error_take(request->op, 0, err, &cause));
    request->op->deadline_ns = 0; /* it may be what ended the command */
    TRY_RETURN(bsonwalk_begin(&walk, indexes));
    for (size_t i = 0; i < count && bsonwalk_next(&walk, &definition); i++) {
        const char *name = arena_string(request->op->arena, name_of(definition.raw));
        bool found;

        if (!existed[i] && name != NULL &&
            verb_drop_index(request->op, &request->ns, name, &found) != OK)
            log_warn("index '%s' stays although its command failed: %s", name, err_message());
    }
    err = err_set(err, "%s", cause.message);
    err_set_mongo(cause.code, cause.name);
    if (cause.info.size > 0)
        err_attach(cause.info);
    return err;
}

static err_t
make_indexes(struct mongo_request *request, struct bytes indexes, size_t *made)
{
    bool existed[CATALOG_INDEXES_MAX] = { false };
    size_t count = 0;
    struct bsonwalk walk;
    struct bsonvalue definition;

    *made = 0;
    if (bsonwalk_count(indexes) > CATALOG_INDEXES_MAX)
        return err_set(ERR_CANNOT_CREATE_INDEX, "add index fails, too many indexes for %s.%s",
            request->ns.database, request->ns.collection);
    TRY_RETURN(bsonwalk_begin(&walk, indexes));
    while (bsonwalk_next(&walk, &definition)) {
        err_t err = make_index(request, &definition, &existed[count]);

        if (err != OK)
            return take_back(request, indexes, existed, count, err);
        *made += !existed[count++];
    }
    return OK;
}

static err_t
count_indexes(struct mongo_request *request, size_t *count, bool *found)
{
    const struct bytes *definitions;

    return verb_list_indexes(request->op, &request->ns, &definitions, count, found);
}

err_t
mongo_index_create(struct mongo_request *request, struct bsonbuild *reply)
{
    struct create create = { .indexes = { NULL, 0 } };
    size_t before, indexes_made;
    bool found, made = false;

    TRY_RETURN(mongo_fields_parse(request, create_fields, &create));
    if (create.indexes.size <= BSONVALUE_DOCUMENT_SIZE_LEAST)
        return err_set(ERR_BAD_VALUE, "Must specify at least one index to create");
    TRY_RETURN(count_indexes(request, &before, &found));
    if (!found) {
        err_t err = verb_create_collection(request->op, &request->ns, (struct bytes){ NULL, 0 });

        if (err != OK && err != ERR_NAMESPACE_EXISTS)
            return err;
        made = err == OK;
        TRY_RETURN(count_indexes(request, &before, &found));
    }
    TRY_RETURN(make_indexes(request, create.indexes, &indexes_made));
    bsonbuild_int32(reply, "numIndexesBefore", (int32_t)before);
    bsonbuild_int32(reply, "numIndexesAfter", (int32_t)(before + indexes_made));
    bsonbuild_bool(reply, "createdCollectionAutomatically", made);
    if (indexes_made == 0)
        bsonbuild_text(reply, "note", "all indexes already exist");
    return OK;
}

/* ---- listIndexes ---- */

struct list {
    struct bytes cursor;
};

static const struct mongo_field list_fields[] = {
    MONGO_FIELD("cursor", MONGO_DOCUMENT, struct list, cursor),
    MONGO_FIELD_NAMED("includeBuildUUIDs", MONGO_IGNORED),
    MONGO_FIELD_NAMED("includeIndexBuildInfo", MONGO_IGNORED),
    { NULL, 0, 0, MONGO_IGNORED },
};

static err_t
missing(const struct mongo_request *request)
{
    return err_set(ERR_NAMESPACE_NOT_FOUND, "ns does not exist: %s.%s", request->ns.database,
        request->ns.collection);
}

err_t
mongo_index_list(struct mongo_request *request, struct bsonbuild *reply)
{
    struct list list = { .cursor = { NULL, 0 } };
    const struct bytes *definitions;
    const char *ns;
    size_t count;
    bool found;

    TRY_RETURN(mongo_fields_parse(request, list_fields, &list));
    TRY_RETURN(mongo_fields_cursor(request, list.cursor));
    TRY_RETURN(verb_list_indexes(request->op, &request->ns, &definitions, &count, &found));
    if (!found)
        return missing(request);
    ns = arena_printf(request->op->arena, "%s.%s", request->ns.database, request->ns.collection);
    if (ns == NULL)
        return ERR_MEMORY;
    bsonbuild_document_begin(reply, "cursor");
    bsonbuild_int64(reply, "id", 0);
    bsonbuild_text(reply, "ns", ns);
    bsonbuild_array_begin(reply, "firstBatch");
    for (size_t i = 0; i < count; i++)
        bsonbuild_document(reply, NULL, definitions[i]);
    bsonbuild_array_end(reply);
    bsonbuild_document_end(reply);
    return OK;
}

/* ---- dropIndexes ---- */

struct drop {
    struct bsonvalue index;
};

static const struct mongo_field drop_fields[] = {
    MONGO_FIELD("index", MONGO_ANY, struct drop, index),
    { NULL, 0, 0, MONGO_IGNORED },
};

struct listed {
    const struct bytes *definition;
    size_t count;
};

static err_t
drop_named(struct mongo_request *request, struct bytes name)
{
    const char *text = arena_string(request->op->arena, name);
    bool found;

    if (text == NULL)
        return ERR_MEMORY;
    if (bytes_is(name, "_id_"))
        return err_set(ERR_INVALID_OPTIONS, "cannot drop _id index");
    TRY_RETURN(verb_drop_index(request->op, &request->ns, text, &found));
    if (!found)
        return err_set(ERR_INDEX_NOT_FOUND, "index not found with name [%s]", text);
    return OK;
}

static err_t
drop_all(struct mongo_request *request, const struct listed *listed)
{
    for (size_t i = 0; i < listed->count; i++) {
        struct bytes name = name_of(listed->definition[i]);

        if (!bytes_is(name, "_id_"))
            TRY_RETURN(drop_named(request, name));
    }
    return OK;
}

static err_t
drop_by_pattern(struct mongo_request *request, const struct listed *listed, struct bytes pattern)
{
    for (size_t i = 0; i < listed->count; i++) {
        struct bsonvalue key;

        if (bsonwalk_get(listed->definition[i], "key", &key) && bytes_equal(key.raw, pattern))
            return drop_named(request, name_of(listed->definition[i]));
    }
    return err_set(ERR_INDEX_NOT_FOUND, "can't find index with that key pattern");
}

/* Names are all looked at before the first is dropped. */
static err_t
drop_list(struct mongo_request *request, const struct listed *listed, struct bytes names)
{
    struct bsonwalk walk;
    struct bsonvalue name;

    for (unsigned round = 0; round < 2; round++) {
        TRY_RETURN(bsonwalk_begin(&walk, names));
        while (bsonwalk_next(&walk, &name)) {
            bool known = false;

            if (name.type != BSONTYPE_STRING)
                return err_set(ERR_TYPE_MISMATCH, "names of indexes must be strings");
            for (size_t i = 0; i < listed->count; i++)
                known =
                    known || bytes_equal(name_of(listed->definition[i]), bsonvalue_string(&name));
            if (!known)
                return err_set(ERR_INDEX_NOT_FOUND, "index not found with name [%s]",
                    (const char *)bsonvalue_string(&name).data);
            if (round == 1)
                TRY_RETURN(drop_named(request, bsonvalue_string(&name)));
        }
    }
    return OK;
}

err_t
mongo_index_drop(struct mongo_request *request, struct bsonbuild *reply)
{
    struct drop drop = { .index = { .type = BSONTYPE_EOO } };
    struct listed listed;
    bool found;

    TRY_RETURN(mongo_fields_parse(request, drop_fields, &drop));
    TRY_RETURN(
        verb_list_indexes(request->op, &request->ns, &listed.definition, &listed.count, &found));
    if (!found)
        return err_set(ERR_NAMESPACE_NOT_FOUND, "ns not found %s.%s", request->ns.database,
            request->ns.collection);
    switch (drop.index.type) {
    case BSONTYPE_STRING:
        if (bytes_is(bsonvalue_string(&drop.index), "*"))
            TRY_RETURN(drop_all(request, &listed));
        else
            TRY_RETURN(drop_named(request, bsonvalue_string(&drop.index)));
        break;
    case BSONTYPE_DOCUMENT:
        TRY_RETURN(drop_by_pattern(request, &listed, drop.index.raw));
        break;
    case BSONTYPE_ARRAY:
        TRY_RETURN(drop_list(request, &listed, drop.index.raw));
        break;
    case BSONTYPE_EOO:
        return err_set(
            ERR_MISSING_FIELD, "BSON field 'dropIndexes.index' is missing but a required field");
    default:
        return err_set(ERR_TYPE_MISMATCH,
            "BSON field 'dropIndexes.index' is the wrong type '%s', expected types '[string, "
            "object, array]'",
            bsonvalue_type_name(drop.index.type));
    }
    bsonbuild_int32(reply, "nIndexesWas", (int32_t)listed.count);
    return OK;
}
