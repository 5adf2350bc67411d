/*
 * mongo_read.c - find, getMore, killCursors, count, explain.
 *
 * Documents go from the scan into the reply, which lies in the connection's output already: one
 * copy.
 */
#include "backend/command/mongo_read.h"

#include "backend/command/cursors.h"
#include "backend/command/verb_statement.h"
#include "base/doc/bsonwalk.h"
#include "shmem/counters.h"

#define BATCH_SIZE_MAX BSONVALUE_DOCUMENT_SIZE_MAX /* bytes of a reply's documents */

struct find {
    struct bytes filter, sort, projection;
    struct bsonvalue hint;
    int64_t skip, limit, batch;
    bool single, tailable, no_timeout;
};

static const struct mongo_field find_fields[] = {
    MONGO_FIELD("filter", MONGO_DOCUMENT, struct find, filter),
    MONGO_FIELD("limit", MONGO_COUNT, struct find, limit),
    MONGO_FIELD("singleBatch", MONGO_BOOLEAN, struct find, single),
    MONGO_FIELD("batchSize", MONGO_COUNT, struct find, batch),
    MONGO_FIELD("sort", MONGO_DOCUMENT, struct find, sort),
    MONGO_FIELD("projection", MONGO_DOCUMENT, struct find, projection),
    MONGO_FIELD("skip", MONGO_COUNT, struct find, skip),
    MONGO_FIELD("hint", MONGO_ANY, struct find, hint),
    MONGO_FIELD("noCursorTimeout", MONGO_BOOLEAN, struct find, no_timeout),
    MONGO_FIELD("tailable", MONGO_BOOLEAN, struct find, tailable),
    MONGO_FIELD_NAMED("awaitData", MONGO_IGNORED),
    MONGO_FIELD_NAMED("allowDiskUse", MONGO_IGNORED),
    MONGO_FIELD_NAMED("allowPartialResults", MONGO_IGNORED),
    MONGO_FIELD_NAMED("oplogReplay", MONGO_IGNORED),
    MONGO_FIELD_NAMED("max", MONGO_REFUSED),
    MONGO_FIELD_NAMED("min", MONGO_REFUSED),
    MONGO_FIELD_NAMED("returnKey", MONGO_REFUSED),
    MONGO_FIELD_NAMED("showRecordId", MONGO_REFUSED),
    { NULL, 0, 0, MONGO_IGNORED },
};

/* An empty document means the same as none. */
static struct bytes
unless_empty(struct bytes document)
{
    return document.size > BSONVALUE_DOCUMENT_SIZE_LEAST ? document : (struct bytes){ NULL, 0 };
}

static err_t
make_query(struct op *op, const struct find *find, struct run_query *query)
{
    *query = (struct run_query){ .filter = unless_empty(find->filter),
        .projection = unless_empty(find->projection),
        .sort = unless_empty(find->sort),
        .skip = find->skip,
        .limit = find->limit };
    return mongo_fields_hint(op, &find->hint, &query->hint);
}

/* ---- batches ---- */

/* "db.collection" or "db.$cmd.aggregate", as cursors are called in replies. */
static err_t
make_namespace(struct mongo_request *request, struct bytes *name)
{
    struct bytes database = bytes_of(request->ns.database);
    struct bytes collection = bytes_of(request->ns.collection);
    size_t size = database.size + 1 + collection.size;
    char *text = arena_alloc(request->op->arena, size);

    if (text == NULL)
        return ERR_MEMORY;
    memcpy(text, database.data, database.size);
    text[database.size] = '.';
    memcpy(text + database.size + 1, collection.data, collection.size);
    *name = (struct bytes){ (const uint8_t *)text, size };
    return OK;
}

/* Documents of the cursor, up to `most`; *more: the cursor may have others. */
static err_t
put_documents(
    struct op *op, struct cursor *cursor, int64_t most, struct bsonbuild *reply, bool *more)
{
    size_t start = reply->size;

    *more = true;
    for (int64_t i = 0; i < most; i++) {
        struct bytes document;
        bool found;

        TRY_RETURN(cursors_next(op, cursor, &document, &found));
        if (!found) {
            *more = false;
            return OK;
        }
        if (i > 0 && reply->size - start + document.size > BATCH_SIZE_MAX) {
            cursors_unread(cursor);
            return OK;
        }
        bsonbuild_document(reply, NULL, document);
        if (reply->err != OK)
            return reply->err;
    }
    return OK;
}

/* {cursor: {firstBatch or nextBatch, id, ns}}.  The cursor is parked or closed, whatever comes
   back; parked only if the reply that tells its id cannot fail any more. */
static err_t
put_batch(struct mongo_request *request, struct cursor *cursor, const char *name, int64_t most,
    bool last, struct bsonbuild *reply)
{
    int64_t id = 0;
    bool more = false;
    struct bytes ns;
    err_t err = make_namespace(request, &ns);

    bsonbuild_document_begin(reply, "cursor");
    bsonbuild_array_begin(reply, name);
    if (cursor != NULL) {
        if (err == OK)
            err = put_documents(request->op, cursor, most, reply, &more);
        if (err == OK)
            err = bsonbuild_reserve(reply, ns.size + MONGO_REPLY_TAIL);
        if (err != OK || !more || last)
            cursors_close(request->op, cursor);
        else
            err = cursors_park(request->op, cursor, request->session, &id);
    }
    if (err != OK)
        return err;
    bsonbuild_array_end(reply);
    bsonbuild_int64(reply, "id", id);
    bsonbuild_string(reply, "ns", ns);
    bsonbuild_document_end(reply);
    return OK;
}

err_t
mongo_read_query(struct mongo_request *request, const struct run_query *query, int64_t batch,
    bool single, bool no_timeout, struct bsonbuild *reply)
{
    struct cursor *cursor;
    bool last = single;

    if (query->limit > 0 && query->limit <= batch) {
        batch = query->limit;
        last = true;
    }
    TRY_RETURN(cursors_open(request->op, &request->ns, query, NULL, &cursor));
    if (cursor != NULL && no_timeout)
        cursors_set_no_timeout(cursor);
    return put_batch(request, cursor, "firstBatch", batch, last, reply);
}

/* ---- find ---- */

struct getting {
    struct bsonbuild *reply;
};

static err_t
put_one(void *context, struct bytes document, bool *more)
{
    struct getting *getting = context;

    *more = false;
    bsonbuild_document(getting->reply, NULL, document);
    return getting->reply->err;
}

/* By _id alone: at most one document, no cursor. */
static err_t
find_one(struct mongo_request *request, const struct run_query *query, struct bsonbuild *reply)
{
    struct getting getting = { reply };
    struct bytes ns;

    TRY_RETURN(make_namespace(request, &ns));
    bsonbuild_document_begin(reply, "cursor");
    bsonbuild_array_begin(reply, "firstBatch");
    TRY_RETURN(verb_find(request->op, &request->ns, query, NULL, put_one, &getting));
    bsonbuild_array_end(reply);
    bsonbuild_int64(reply, "id", 0);
    bsonbuild_string(reply, "ns", ns);
    bsonbuild_document_end(reply);
    return OK;
}

err_t
mongo_read_find(struct mongo_request *request, struct bsonbuild *reply)
{
    struct find find = { .batch = MONGO_FIRST_BATCH };
    struct run_query query;
    struct bsonvalue id;

    TRY_RETURN(mongo_fields_parse(request, find_fields, &find));
    if (find.tailable)
        return err_set(ERR_BAD_VALUE,
            "error processing query: ns=%s.%s tailable cursor requested on non capped collection",
            request->ns.database, request->ns.collection);
    TRY_RETURN(make_query(request->op, &find, &query));
    if (find.batch > 0 && query.skip == 0 && query.projection.size == 0 && query.hint.size == 0 &&
        verb_statement_only_id(query.filter, &id))
        return find_one(request, &query, reply);
    return mongo_read_query(request, &query, find.batch, find.single, find.no_timeout, reply);
}

/* ---- getMore, killCursors ---- */

struct more {
    struct bytes collection;
    int64_t batch, term;
};

static const struct mongo_field more_fields[] = {
    MONGO_FIELD("collection", MONGO_TEXT, struct more, collection),
    MONGO_FIELD("batchSize", MONGO_NUMBER, struct more, batch),
    MONGO_FIELD("term", MONGO_NUMBER, struct more, term), /* of an election: there are none */
    MONGO_FIELD_NAMED("lastKnownCommittedOpTime", MONGO_IGNORED),
    { NULL, 0, 0, MONGO_IGNORED },
};

err_t
mongo_read_get_more(struct mongo_request *request, struct bsonbuild *reply)
{
    struct more more = { .batch = 0 };
    struct cursor *cursor;

    TRY_RETURN(mongo_fields_parse(request, more_fields, &more));
    if (request->value.type != BSONTYPE_INT64)
        return err_set(ERR_TYPE_MISMATCH,
            "BSON field 'getMore.getMore' is the wrong type '%s', expected type 'long'",
            bsonvalue_type_name(request->value.type));
    if (more.collection.size == 0)
        return err_set(
            ERR_MISSING_FIELD, "BSON field 'getMore.collection' is missing but a required field");
    if (more.batch < 0)
        return err_set(ERR_BAD_VALUE,
            "BSON field 'batchSize' value must be >= 0, actual value '%jd'", (intmax_t)more.batch);
    request->ns.collection = arena_string(request->op->arena, more.collection);
    if (request->ns.collection == NULL)
        return ERR_MEMORY;
    TRY_RETURN(cursors_take(
        request->op, bsonvalue_int64(&request->value), &request->ns, request->session, &cursor));
    return put_batch(
        request, cursor, "nextBatch", more.batch > 0 ? more.batch : INT64_MAX, false, reply);
}

struct kill {
    struct bytes cursors;
};

static const struct mongo_field kill_fields[] = {
    MONGO_FIELD("cursors", MONGO_ARRAY, struct kill, cursors),
    { NULL, 0, 0, MONGO_IGNORED },
};

err_t
mongo_read_kill_cursors(struct mongo_request *request, struct bsonbuild *reply)
{
    struct kill kill = { .cursors = { NULL, 0 } };
    struct bsonbuild missing;
    struct bsonwalk walk;
    struct bsonvalue id;
    struct bytes not_found;

    TRY_RETURN(mongo_fields_parse(request, kill_fields, &kill));
    if (kill.cursors.size == 0)
        return err_set(
            ERR_MISSING_FIELD, "BSON field 'killCursors.cursors' is missing but a required field");
    bsonbuild_begin_arena(&missing, request->op->arena);
    bsonbuild_array_begin(&missing, "");
    bsonbuild_array_begin(reply, "cursorsKilled");
    TRY_RETURN(bsonwalk_begin(&walk, kill.cursors));
    while (bsonwalk_next(&walk, &id)) {
        if (id.type != BSONTYPE_INT64)
            return err_set(ERR_TYPE_MISMATCH, "a cursor's id must be a long");
        if (cursors_kill(request->op, bsonvalue_int64(&id), &request->ns))
            bsonbuild_int64(reply, NULL, bsonvalue_int64(&id));
        else
            bsonbuild_int64(&missing, NULL, bsonvalue_int64(&id));
    }
    bsonbuild_array_end(reply);
    bsonbuild_array_end(&missing);
    TRY_RETURN(bsonbuild_end(&missing, &not_found));
    TRY_RETURN(bsonwalk_begin(&walk, not_found));
    if (bsonwalk_next(&walk, &id))
        bsonbuild_array(reply, "cursorsNotFound", id.raw);
    bsonbuild_array(reply, "cursorsAlive", bsonvalue_empty_document);
    bsonbuild_array(reply, "cursorsUnknown", bsonvalue_empty_document);
    return OK;
}

/* ---- count ---- */

struct count {
    struct bytes query;
    struct bsonvalue hint;
    int64_t skip, limit;
};

static const struct mongo_field count_fields[] = {
    MONGO_FIELD("query", MONGO_DOCUMENT, struct count, query),
    MONGO_FIELD("limit", MONGO_NUMBER, struct count, limit),
    MONGO_FIELD("skip", MONGO_COUNT, struct count, skip),
    MONGO_FIELD("hint", MONGO_ANY, struct count, hint),
    MONGO_FIELD_NAMED("fields", MONGO_IGNORED),
    { NULL, 0, 0, MONGO_IGNORED },
};

void
mongo_read_put_count(struct bsonbuild *reply, const char *key, uint64_t count)
{
    if (count <= INT32_MAX)
        bsonbuild_int32(reply, key, (int32_t)count);
    else
        bsonbuild_int64(reply, key, (int64_t)count);
}

err_t
mongo_read_count(struct mongo_request *request, struct bsonbuild *reply)
{
    struct count args = { .skip = 0 };
    struct run_query query = { .skip = 0 };
    uint64_t count;

    TRY_RETURN(mongo_fields_parse(request, count_fields, &args));
    query.filter = unless_empty(args.query);
    query.skip = args.skip;
    query.limit = args.limit < 0 && args.limit > INT64_MIN ? -args.limit : args.limit;
    TRY_RETURN(mongo_fields_hint(request->op, &args.hint, &query.hint));
    TRY_RETURN(verb_count(request->op, &request->ns, &query, NULL, &count));
    mongo_read_put_count(reply, "n", count);
    return OK;
}

/* ---- explain ---- */

struct explain {
    struct bytes verbosity;
};

static const struct mongo_field explain_fields[] = {
    MONGO_FIELD("verbosity", MONGO_TEXT, struct explain, verbosity),
    { NULL, 0, 0, MONGO_IGNORED },
};

/* The fields of the explained command, as if it stood alone. */
static err_t
parse_explained(struct mongo_request *request, struct find *find)
{
    struct opmsg_request inner = *request->message;
    struct mongo_request as_if = *request;
    struct bsonwalk walk;
    struct bsonvalue first;

    if (request->value.type != BSONTYPE_DOCUMENT)
        return err_set(ERR_TYPE_MISMATCH, "explain wants a command document");
    inner.body = request->value.raw;
    TRY_RETURN(bsonwalk_begin(&walk, inner.body));
    if (!bsonwalk_next(&walk, &first) || first.type != BSONTYPE_STRING)
        return err_set(ERR_FAILED_TO_PARSE, "explain wants a command on a collection");
    if (!bytes_is(first.key, "find"))
        return err_set(ERR_COMMAND_NOT_SUPPORTED, "explain of '%s' is not supported yet",
            (const char *)first.key.data);
    as_if.message = &inner;
    as_if.name = first.key;
    request->ns.collection = arena_string(request->op->arena, bsonvalue_string(&first));
    if (request->ns.collection == NULL)
        return ERR_MEMORY;
    return mongo_fields_parse(&as_if, find_fields, find);
}

err_t
mongo_read_explain(struct mongo_request *request, struct bsonbuild *reply)
{
    struct explain args = { .verbosity = { NULL, 0 } };
    struct find find = { .batch = MONGO_FIRST_BATCH };
    struct run_query query;
    struct bytes plan;
    const char *name;

    TRY_RETURN(mongo_fields_parse(request, explain_fields, &args));
    TRY_RETURN(parse_explained(request, &find));
    TRY_RETURN(make_query(request->op, &find, &query));
    TRY_RETURN(verb_explain(request->op, &request->ns, &query, NULL, &plan));
    name = arena_printf(request->op->arena, "%s.%s", request->ns.database, request->ns.collection);
    if (name == NULL)
        return ERR_MEMORY;
    bsonbuild_text(reply, "explainVersion", "1");
    if (plan.size > BSONVALUE_DOCUMENT_SIZE_LEAST) {
        bsonbuild_elements(reply, plan);
    } else { /* a collection that does not exist */
        bsonbuild_document_begin(reply, "queryPlanner");
        bsonbuild_text(reply, "namespace", name);
        bsonbuild_document_begin(reply, "winningPlan");
        bsonbuild_text(reply, "stage", "EOF");
        bsonbuild_document_end(reply);
        bsonbuild_array(reply, "rejectedPlans", bsonvalue_empty_document);
        bsonbuild_document_end(reply);
    }
    bsonbuild_document(reply, "command", request->value.raw);
    bsonbuild_document_begin(reply, "serverInfo");
    bsonbuild_text(reply, "host", request->client->local);
    bsonbuild_text(reply, "version", MONGO_VERSION);
    bsonbuild_document_end(reply);
    return OK;
}
