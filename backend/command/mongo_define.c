/*
 * mongo_define.c - databases and collections: what there is, making and dropping them.
 */
#include "backend/command/mongo_fields.h"

#include "base/doc/bsonwalk.h"

/* Does a document of a listing pass the client's filter?  `filter` NULL: all do. */
static err_t
passes(const struct filter *filter, struct bytes document, bool *yes)
{
    *yes = true;
    return filter != NULL ? filter_match(filter, document, yes) : OK;
}

static err_t
compile(struct op *op, struct bytes document, const struct filter **filter)
{
    *filter = NULL;
    return document.size > 0 ? filter_compile(op->arena, document, filter) : OK;
}

/* ---- listDatabases ---- */

struct list {
    struct bytes filter, cursor;
    bool name_only;
};

static const struct mongo_field databases_fields[] = {
    MONGO_FIELD("filter", MONGO_DOCUMENT, struct list, filter),
    MONGO_FIELD("nameOnly", MONGO_BOOLEAN, struct list, name_only),
    MONGO_FIELD_NAMED("authorizedDatabases", MONGO_IGNORED),
    { NULL, 0, 0, MONGO_IGNORED },
};

static err_t
size_of(struct mongo_request *request, const char *database, uint64_t *size, bool *empty)
{
    struct verb_ns ns = { request->ns.tenant, database, NULL };
    const char *const *names;
    size_t count;

    *size = 0;
    TRY_RETURN(verb_list_collections(request->op, ns.tenant, database, &names, &count));
    *empty = count == 0;
    for (size_t i = 0; i < count; i++) {
        struct collection_stats stats;
        bool found;

        ns.collection = names[i];
        TRY_RETURN(verb_stats(request->op, &ns, &stats, &found));
        *size += stats.heap_bytes + stats.index_bytes;
    }
    return OK;
}

static err_t
describe_database(struct mongo_request *request, const char *name, bool name_only, uint64_t *size,
    struct bytes *document)
{
    struct bsonbuild build;
    bool empty = false;

    *size = 0;
    if (!name_only)
        TRY_RETURN(size_of(request, name, size, &empty));
    bsonbuild_begin_arena(&build, request->op->arena);
    bsonbuild_text(&build, "name", name);
    if (!name_only) {
        bsonbuild_int64(&build, "sizeOnDisk", (int64_t)*size);
        bsonbuild_bool(&build, "empty", empty);
    }
    return bsonbuild_end(&build, document);
}

err_t
mongo_define_list_databases(struct mongo_request *request, struct bsonbuild *reply)
{
    struct list list = { .name_only = false };
    const struct filter *filter;
    const char *const *names;
    uint64_t total = 0;
    size_t count;

    TRY_RETURN(mongo_fields_parse(request, databases_fields, &list));
    TRY_RETURN(compile(request->op, list.filter, &filter));
    TRY_RETURN(verb_list_databases(request->op, request->ns.tenant, &names, &count));
    bsonbuild_array_begin(reply, "databases");
    for (size_t i = 0; i < count; i++) {
        struct bytes document;
        uint64_t size;
        bool yes;

        TRY_RETURN(describe_database(request, names[i], list.name_only, &size, &document));
        TRY_RETURN(passes(filter, document, &yes));
        if (!yes)
            continue;
        total += size;
        bsonbuild_document(reply, NULL, document);
    }
    bsonbuild_array_end(reply);
    if (!list.name_only) {
        bsonbuild_int64(reply, "totalSize", (int64_t)total);
        bsonbuild_int64(reply, "totalSizeMb", (int64_t)(total >> 20));
    }
    return OK;
}

/* ---- listCollections ---- */

static const struct mongo_field collections_fields[] = {
    MONGO_FIELD("filter", MONGO_DOCUMENT, struct list, filter),
    MONGO_FIELD("nameOnly", MONGO_BOOLEAN, struct list, name_only),
    MONGO_FIELD("cursor", MONGO_DOCUMENT, struct list, cursor),
    MONGO_FIELD_NAMED("authorizedCollections", MONGO_IGNORED),
    { NULL, 0, 0, MONGO_IGNORED },
};

static err_t
describe_collection(struct mongo_request *request, const char *name, bool name_only,
    struct bytes *document, bool *found)
{
    struct verb_ns ns = { request->ns.tenant, request->ns.database, name };
    struct verb_collection collection;
    struct bsonbuild build;

    *found = true;
    bsonbuild_begin_arena(&build, request->op->arena);
    bsonbuild_text(&build, "name", name);
    bsonbuild_text(&build, "type", "collection");
    if (!name_only) {
        TRY_RETURN(verb_describe(request->op, &ns, &collection, found));
        bsonbuild_document(&build, "options",
            collection.options.size > 0 ? collection.options : bsonvalue_empty_document);
        bsonbuild_document_begin(&build, "info");
        bsonbuild_bool(&build, "readOnly", false);
        bsonbuild_binary(&build, "uuid", BSONSUBTYPE_UUID,
            ((struct bytes){ collection.uuid, sizeof collection.uuid }));
        bsonbuild_document_end(&build);
        if (collection.id_index.size > 0)
            bsonbuild_document(&build, "idIndex", collection.id_index);
    }
    return bsonbuild_end(&build, document);
}

err_t
mongo_define_list_collections(struct mongo_request *request, struct bsonbuild *reply)
{
    struct list list = { .name_only = false };
    const struct filter *filter;
    const char *const *names;
    const char *ns;
    size_t count;

    TRY_RETURN(mongo_fields_parse(request, collections_fields, &list));
    TRY_RETURN(mongo_fields_cursor(request, list.cursor));
    TRY_RETURN(compile(request->op, list.filter, &filter));
    TRY_RETURN(verb_list_collections(
        request->op, request->ns.tenant, request->ns.database, &names, &count));
    ns = arena_printf(request->op->arena, "%s.$cmd.listCollections", request->ns.database);
    if (ns == NULL)
        return ERR_MEMORY;
    bsonbuild_document_begin(reply, "cursor");
    bsonbuild_int64(reply, "id", 0);
    bsonbuild_text(reply, "ns", ns);
    bsonbuild_array_begin(reply, "firstBatch");
    for (size_t i = 0; i < count; i++) {
        struct bytes document;
        bool found, yes;

        TRY_RETURN(describe_collection(request, names[i], list.name_only, &document, &found));
        TRY_RETURN(passes(filter, document, &yes));
        if (found && yes)
            bsonbuild_document(reply, NULL, document);
    }
    bsonbuild_array_end(reply);
    bsonbuild_document_end(reply);
    return OK;
}

/* ---- create, drop ---- */

struct create {
    bool capped;
};

static const struct mongo_field create_fields[] = {
    MONGO_FIELD("capped", MONGO_BOOLEAN, struct create, capped),
    MONGO_FIELD_NAMED("size", MONGO_IGNORED), /* without capped they mean nothing */
    MONGO_FIELD_NAMED("max", MONGO_IGNORED),
    MONGO_FIELD_NAMED("autoIndexId", MONGO_IGNORED),
    MONGO_FIELD_NAMED("idIndex", MONGO_IGNORED),
    MONGO_FIELD_NAMED("storageEngine", MONGO_IGNORED),
    MONGO_FIELD_NAMED("indexOptionDefaults", MONGO_IGNORED),
    MONGO_FIELD_NAMED("flags", MONGO_IGNORED),
    MONGO_FIELD_NAMED("validationLevel", MONGO_IGNORED),
    MONGO_FIELD_NAMED("validationAction", MONGO_IGNORED),
    MONGO_FIELD_NAMED("validator", MONGO_REFUSED),
    MONGO_FIELD_NAMED("viewOn", MONGO_REFUSED),
    MONGO_FIELD_NAMED("pipeline", MONGO_REFUSED),
    MONGO_FIELD_NAMED("timeseries", MONGO_REFUSED),
    MONGO_FIELD_NAMED("expireAfterSeconds", MONGO_REFUSED),
    MONGO_FIELD_NAMED("clusteredIndex", MONGO_REFUSED),
    MONGO_FIELD_NAMED("changeStreamPreAndPostImages", MONGO_REFUSED),
    MONGO_FIELD_NAMED("encryptedFields", MONGO_REFUSED),
    { NULL, 0, 0, MONGO_IGNORED },
};

/* A collection is there already.  Asking for the same one is fine, as in MongoDB 7.0; what can be
   asked for here has no options. */
static err_t
create_again(struct mongo_request *request)
{
    struct verb_collection there;
    bool found;

    TRY_RETURN(verb_describe(request->op, &request->ns, &there, &found));
    if (found && there.options.size <= BSONVALUE_DOCUMENT_SIZE_LEAST)
        return OK;
    return err_set(ERR_NAMESPACE_EXISTS, "Collection %s.%s already exists.", request->ns.database,
        request->ns.collection);
}

err_t
mongo_define_create(struct mongo_request *request, struct bsonbuild *reply)
{
    struct create create = { .capped = false };
    err_t err;

    (void)reply;
    TRY_RETURN(mongo_fields_parse(request, create_fields, &create));
    if (create.capped)
        return err_set(ERR_COMMAND_NOT_SUPPORTED, "capped collections are not supported yet");
    err = verb_create_collection(request->op, &request->ns, (struct bytes){ NULL, 0 });
    return err == ERR_NAMESPACE_EXISTS ? create_again(request) : err;
}

err_t
mongo_define_drop(struct mongo_request *request, struct bsonbuild *reply)
{
    const struct bytes *definitions;
    const char *ns;
    size_t count;
    bool found;

    TRY_RETURN(mongo_fields_parse(request, NULL, NULL));
    TRY_RETURN(verb_list_indexes(request->op, &request->ns, &definitions, &count, &found));
    if (found)
        TRY_RETURN(verb_drop_collection(request->op, &request->ns, &found));
    if (!found)
        return OK; /* as MongoDB 7.0: what is not there is dropped */
    ns = arena_printf(request->op->arena, "%s.%s", request->ns.database, request->ns.collection);
    if (ns == NULL)
        return ERR_MEMORY;
    bsonbuild_int32(reply, "nIndexesWas", (int32_t)count);
    bsonbuild_text(reply, "ns", ns);
    return OK;
}

err_t
mongo_define_drop_database(struct mongo_request *request, struct bsonbuild *reply)
{
    bool found;

    TRY_RETURN(mongo_fields_parse(request, NULL, NULL));
    if (bytes_is(request->message->database, "admin"))
        return err_set(ERR_ILLEGAL_OPERATION, "Dropping the 'admin' database is prohibited.");
    TRY_RETURN(verb_drop_database(request->op, request->ns.tenant, request->ns.database, &found));
    if (found)
        bsonbuild_text(reply, "dropped", request->ns.database);
    return OK;
}
