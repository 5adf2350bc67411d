/*
 * gneiss.c - the public functions: opening, names, definitions, writing, counting.
 *
 * Each call is one verb (backend/command/verb.h), the same that the server runs for its clients;
 * this file checks what the caller gave and copies out what the verb came to.
 */
#include "client/gneiss.h"

#include <stdlib.h>
#include <string.h>

#include "base/doc/bsonwalk.h"
#include "base/doc/jsonparse.h"
#include "base/version.h"
#include "client/embed.h"
#include "wal/checkpoint.h"

#define DATABASE_SIZE_MAX  63
#define NAMESPACE_SIZE_MAX 255

/* ---- opening and closing ---- */

struct gneiss *
gneiss_open(const char *directory, const struct gneiss_options *options, struct gneiss_error *error)
{
    static const struct gneiss_options defaults = { .create = false };
    struct gneiss *db = calloc(1, sizeof *db);
    err_t err;

    if (options == NULL)
        options = &defaults;
    if (db != NULL)
        db->tenant = strdup(options->tenant != NULL ? options->tenant : "_default");
    if (db == NULL || db->tenant == NULL) {
        err = err_set(ERR_MEMORY, "out of memory");
    } else {
        db->read_only = options->read_only;
        db->lazy = options->lazy;
        err = embed_open(db, directory, options);
    }
    if (err == OK)
        return db;
    (void)embed_error(error, err);
    if (db != NULL)
        free(db->tenant);
    free(db);
    return NULL;
}

int
gneiss_close(struct gneiss *db, struct gneiss_error *error)
{
    unsigned sessions = atomic_load(&db->sessions);
    err_t err;

    if (sessions > 0) {
        err = err_set(ERR_ILLEGAL_OPERATION, "%u sessions are still open", sessions);
        err_set_mongo(GNEISS_BUSY, "SessionBusy");
        return embed_error(error, err);
    }
    err = embed_close(db);
    free(db->tenant);
    free(db);
    return err == OK ? GNEISS_OK : embed_error(error, err);
}

const char *
gneiss_version(void)
{
    return VERSION_TEXT;
}

void
gneiss_json_free(char *text)
{
    free(text);
}

/* ---- what calls have in common ---- */

static err_t
enter_to_write(struct gneiss_session *session, const char *verb)
{
    TRY_RETURN(embed_enter(session, verb));
    if (session->db->read_only)
        return err_set(ERR_ILLEGAL_OPERATION, "the directory was opened for reading only");
    return OK;
}

/* embed_enter failed because the session is busy: nothing of it may be touched. */
static bool
is_busy(err_t err)
{
    return err == ERR_ILLEGAL_OPERATION && err_last_code() == GNEISS_BUSY;
}

static int
leave(struct gneiss_session *session, err_t err)
{
    return is_busy(err) ? GNEISS_BUSY : embed_leave(session, err);
}

static struct verb_write
write_of(const struct gneiss_session *session)
{
    return (struct verb_write){ .durable = session->durable };
}

/* JSON behind what `text` holds already; the slice is taken when nothing more is added. */
static err_t
parse(struct buf *text, const char *json, struct bytes *document)
{
    return jsonparse_document(text, bytes_of(json), &jsonparse_import, document);
}

/* Two JSON documents in the session's buffer. */
static err_t
parse_two(struct gneiss_session *session, const char *first_json, const char *second_json,
    struct bytes *first, struct bytes *second)
{
    struct buf *text = &session->text;

    buf_clear(text);
    TRY_RETURN(parse(text, first_json, first));
    TRY_RETURN(parse(text, second_json, second));
    first->data = text->data;
    return OK;
}

/* ---- collections ---- */

static err_t
check_names(const char *database, const char *name)
{
    size_t database_size = strlen(database);

    if (database_size == 0 || database_size > DATABASE_SIZE_MAX ||
        strpbrk(database, "/\\. \"$*<>:|?") != NULL)
        return err_set(ERR_INVALID_NAMESPACE, "'%.80s' cannot be the name of a database", database);
    if (name != NULL && (name[0] == '\0' || database_size + 1 + strlen(name) > NAMESPACE_SIZE_MAX ||
                            strchr(name, '$') != NULL || strncmp(name, "system.", 7) == 0))
        return err_set(ERR_INVALID_NAMESPACE, "'%.80s' cannot be the name of a collection", name);
    return OK;
}

static err_t
make_collection(struct gneiss_session *session, const char *database, const char *name,
    struct gneiss_collection **made)
{
    size_t database_size = strlen(database) + 1, name_size = strlen(name) + 1;
    struct gneiss_collection *collection = malloc(sizeof *collection + database_size + name_size);

    if (collection == NULL)
        return err_set(ERR_MEMORY, "out of memory for a collection's name");
    memcpy(collection->name, database, database_size);
    memcpy(collection->name + database_size, name, name_size);
    collection->ns =
        (struct verb_ns){ session->db->tenant, collection->name, collection->name + database_size };
    collection->session = session;
    collection->memory = 0;
    collection->next = session->collections;
    session->collections = collection;
    *made = collection;
    return OK;
}

struct gneiss_collection *
gneiss_collection(struct gneiss_session *session, const char *database, const char *name)
{
    struct gneiss_collection *made = NULL;
    err_t err;

    for (made = session->collections; made != NULL; made = made->next)
        if (strcmp(made->ns.database, database) == 0 && strcmp(made->ns.collection, name) == 0)
            return made;
    err = embed_enter(session, "collection");
    if (err == OK)
        err = check_names(database, name);
    if (err == OK)
        err = make_collection(session, database, name, &made);
    (void)leave(session, err);
    return made;
}

int
gneiss_create_collection(struct gneiss_collection *collection, const struct gneiss_bson *options)
{
    const struct gneiss_bson given = options != NULL ? *options : (struct gneiss_bson){ NULL, 0 };
    struct gneiss_session *session = collection->session;
    err_t err;

    TRY(enter_to_write(session, "create"));
    TRY(embed_check(given, true));
    TRY(verb_create_collection(&session->op, &collection->ns, embed_bytes(given)));
out:
    return leave(session, err);
}

int
gneiss_drop_collection(struct gneiss_collection *collection, bool *found)
{
    struct gneiss_session *session = collection->session;
    bool ignored;
    err_t err;

    TRY(enter_to_write(session, "drop"));
    TRY(verb_drop_collection(&session->op, &collection->ns, found != NULL ? found : &ignored));
out:
    return leave(session, err);
}

int
gneiss_drop_database(struct gneiss_session *session, const char *database, bool *found)
{
    bool ignored;
    err_t err;

    TRY(enter_to_write(session, "dropDatabase"));
    TRY(verb_drop_database(
        &session->op, session->db->tenant, database, found != NULL ? found : &ignored));
out:
    return leave(session, err);
}

int
gneiss_list_databases(struct gneiss_session *session, const char *const **names, size_t *count)
{
    err_t err;

    *count = 0;
    TRY(embed_enter(session, "listDatabases"));
    TRY(verb_list_databases(&session->op, session->db->tenant, names, count));
out:
    return leave(session, err);
}

int
gneiss_list_collections(
    struct gneiss_session *session, const char *database, const char *const **names, size_t *count)
{
    err_t err;

    *count = 0;
    TRY(embed_enter(session, "listCollections"));
    TRY(verb_list_collections(&session->op, session->db->tenant, database, names, count));
out:
    return leave(session, err);
}

/* ---- indexes ---- */

int
gneiss_create_index(
    struct gneiss_collection *collection, struct gneiss_bson definition, bool *existed)
{
    struct gneiss_session *session = collection->session;
    bool ignored;
    err_t err;

    TRY(enter_to_write(session, "createIndexes"));
    TRY(embed_check(definition, false));
    TRY(verb_create_index(&session->op, &collection->ns, embed_bytes(definition),
        existed != NULL ? existed : &ignored));
out:
    return leave(session, err);
}

int
gneiss_create_index_json(
    struct gneiss_collection *collection, const char *definition, bool *existed)
{
    struct gneiss_session *session = collection->session;
    struct bytes parsed;
    bool ignored;
    err_t err;

    TRY(enter_to_write(session, "createIndexes"));
    buf_clear(&session->text);
    TRY(parse(&session->text, definition, &parsed));
    TRY(verb_create_index(
        &session->op, &collection->ns, parsed, existed != NULL ? existed : &ignored));
out:
    return leave(session, err);
}

int
gneiss_drop_index(struct gneiss_collection *collection, const char *name, bool *found)
{
    struct gneiss_session *session = collection->session;
    bool ignored;
    err_t err;

    TRY(enter_to_write(session, "dropIndexes"));
    TRY(verb_drop_index(&session->op, &collection->ns, name, found != NULL ? found : &ignored));
out:
    return leave(session, err);
}

int
gneiss_list_indexes(
    struct gneiss_collection *collection, const struct gneiss_bson **definitions, size_t *count)
{
    struct gneiss_session *session = collection->session;
    const struct bytes *listed;
    struct gneiss_bson *copied;
    bool found;
    err_t err;

    *count = 0;
    TRY(embed_enter(session, "listIndexes"));
    TRY(verb_list_indexes(&session->op, &collection->ns, &listed, count, &found));
    if (!found)
        TRY(err_set(ERR_NAMESPACE_NOT_FOUND, "there is no collection '%s' in database '%s'",
            collection->ns.collection, collection->ns.database));
    copied = arena_alloc(session->op.arena, *count * sizeof *copied);
    if (copied == NULL)
        TRY(ERR_MEMORY);
    for (size_t i = 0; i < *count; i++)
        copied[i] = embed_bson(listed[i]);
    *definitions = copied;
out:
    return leave(session, err);
}

/* ---- writing ---- */

/* {"": value} becomes {"_id": value}, in the op's arena. */
static err_t
show_id(struct gneiss_session *session, struct bytes wrapped, struct gneiss_bson *id)
{
    const size_t more = 3; /* the bytes of "_id" */
    uint8_t *room = arena_alloc(session->op.arena, wrapped.size + more);
    uint32_t size = (uint32_t)(wrapped.size + more);

    if (room == NULL)
        return ERR_MEMORY;
    memcpy(room, &size, sizeof size);
    room[4] = wrapped.data[4];
    memcpy(room + 5, "_id", more);
    memcpy(room + 5 + more, wrapped.data + 5, wrapped.size - 5);
    *id = (struct gneiss_bson){ room, size };
    return OK;
}

static err_t
insert(struct gneiss_collection *collection, struct bytes document, struct gneiss_bson *id)
{
    struct gneiss_session *session = collection->session;
    struct verb_insert_result result;
    struct bytes made;

    TRY_RETURN(verb_insert(&session->op, &collection->ns, &document, 1, true, true,
        write_of(session), &made, &result));
    return id != NULL ? show_id(session, made, id) : OK;
}

int
gneiss_insert(
    struct gneiss_collection *collection, struct gneiss_bson document, struct gneiss_bson *id)
{
    struct gneiss_session *session = collection->session;
    err_t err;

    TRY(enter_to_write(session, "insert"));
    TRY(embed_check(document, false));
    TRY(insert(collection, embed_bytes(document), id));
out:
    return leave(session, err);
}

int
gneiss_insert_json(
    struct gneiss_collection *collection, const char *document, struct gneiss_bson *id)
{
    struct gneiss_session *session = collection->session;
    struct bytes parsed;
    err_t err;

    TRY(enter_to_write(session, "insert"));
    buf_clear(&session->text);
    TRY(parse(&session->text, document, &parsed));
    TRY(insert(collection, parsed, id));
out:
    return leave(session, err);
}

int
gneiss_insert_many(
    struct gneiss_collection *collection, const struct gneiss_bson *documents, size_t count)
{
    struct gneiss_session *session = collection->session;
    struct verb_insert_result result;
    struct bytes *slices;
    err_t err;

    TRY(enter_to_write(session, "insert"));
    slices = arena_alloc(session->op.arena, count * sizeof *slices);
    if (slices == NULL)
        TRY(ERR_MEMORY);
    for (size_t i = 0; i < count; i++) {
        TRY(embed_check(documents[i], false));
        slices[i] = embed_bytes(documents[i]);
    }
    if (count > 0)
        TRY(verb_insert(&session->op, &collection->ns, slices, count, true, true, write_of(session),
            NULL, &result));
out:
    return leave(session, err);
}

static err_t
update(struct gneiss_collection *collection, struct bytes filter, struct bytes change,
    unsigned flags, struct gneiss_update_result *result)
{
    struct gneiss_session *session = collection->session;
    const struct verb_update update = {
        .filter = filter,
        .update = change,
        .rule = UPDATE_BY_SHAPE,
        .multi = (flags & GNEISS_ALL) != 0,
        .upsert = (flags & GNEISS_UPSERT) != 0,
    };
    struct verb_update_result came;

    TRY_RETURN(verb_update(&session->op, &collection->ns, &update, write_of(session), &came));
    if (result != NULL)
        *result = (struct gneiss_update_result){ came.matched, came.modified, came.upserted };
    return OK;
}

int
gneiss_update(struct gneiss_collection *collection, struct gneiss_bson filter,
    struct gneiss_bson change, unsigned flags, struct gneiss_update_result *result)
{
    struct gneiss_session *session = collection->session;
    err_t err;

    TRY(enter_to_write(session, "update"));
    TRY(embed_check(filter, true));
    TRY(embed_check(change, false));
    TRY(update(collection, embed_bytes(filter), embed_bytes(change), flags, result));
out:
    return leave(session, err);
}

int
gneiss_update_json(struct gneiss_collection *collection, const char *filter, const char *change,
    unsigned flags, struct gneiss_update_result *result)
{
    struct gneiss_session *session = collection->session;
    struct bytes parsed_filter, parsed_change;
    err_t err;

    TRY(enter_to_write(session, "update"));
    TRY(parse_two(session, filter, change, &parsed_filter, &parsed_change));
    TRY(update(collection, parsed_filter, parsed_change, flags, result));
out:
    return leave(session, err);
}

int
gneiss_delete(struct gneiss_collection *collection, struct gneiss_bson filter, unsigned flags,
    uint64_t *deleted)
{
    struct gneiss_session *session = collection->session;
    const struct bytes no_hint = { NULL, 0 };
    uint64_t ignored;
    err_t err;

    TRY(enter_to_write(session, "delete"));
    TRY(embed_check(filter, false));
    TRY(verb_delete(&session->op, &collection->ns, embed_bytes(filter), no_hint,
        (flags & GNEISS_ALL) != 0, write_of(session), deleted != NULL ? deleted : &ignored));
out:
    return leave(session, err);
}

int
gneiss_delete_json(
    struct gneiss_collection *collection, const char *filter, unsigned flags, uint64_t *deleted)
{
    struct gneiss_session *session = collection->session;
    const struct bytes no_hint = { NULL, 0 };
    struct bytes parsed;
    uint64_t ignored;
    err_t err;

    TRY(enter_to_write(session, "delete"));
    buf_clear(&session->text);
    TRY(parse(&session->text, filter, &parsed));
    TRY(verb_delete(&session->op, &collection->ns, parsed, no_hint, (flags & GNEISS_ALL) != 0,
        write_of(session), deleted != NULL ? deleted : &ignored));
out:
    return leave(session, err);
}

/* ---- counting and the disk ---- */

int
gneiss_count(
    struct gneiss_collection *collection, const struct gneiss_bson *filter, uint64_t *count)
{
    struct gneiss_session *session = collection->session;
    struct run_query query = { .limit = 0 };
    err_t err;

    *count = 0;
    TRY(embed_enter(session, "count"));
    if (filter != NULL) {
        TRY(embed_check(*filter, true));
        query.filter = embed_bytes(*filter);
    }
    TRY(verb_count(&session->op, &collection->ns, &query, NULL, count));
out:
    return leave(session, err);
}

int
gneiss_count_json(struct gneiss_collection *collection, const char *filter, uint64_t *count)
{
    struct gneiss_session *session = collection->session;
    struct run_query query = { .limit = 0 };
    err_t err;

    *count = 0;
    TRY(embed_enter(session, "count"));
    buf_clear(&session->text);
    if (filter != NULL)
        TRY(parse(&session->text, filter, &query.filter));
    TRY(verb_count(&session->op, &collection->ns, &query, NULL, count));
out:
    return leave(session, err);
}

int
gneiss_flush(struct gneiss_session *session)
{
    err_t err;

    TRY(embed_enter(session, "flush"));
    TRY(verb_flush(&session->op));
out:
    return leave(session, err);
}

int
gneiss_checkpoint(struct gneiss_session *session)
{
    err_t err;

    TRY(embed_enter(session, "checkpoint"));
    TRY(checkpoint_request(&session->op, CHECKPOINT_FAST, true));
out:
    return leave(session, err);
}
