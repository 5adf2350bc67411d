/*
 * text_document.c - INSERT, GET, UPDATE, DELETE: one document by its key.
 *
 * A document may be kept under the UUID's binary or, made by the JSON listener, under its text; a
 * flag on the collection says whether that occurs, so that others pay nothing (T33).  INSERT looks
 * for the text before it inserts the binary: two clients of two listeners that insert the same UUID
 * at the same moment may both succeed; each sees one of the two.
 */
#include "backend/command/text_document.h"

#include "backend/command/text_value.h"
#include "backend/command/verb_statement.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/keystring.h"
#include "shmem/counters.h"
#include "storage/collection/collection.h"

static err_t
refuse_key(struct text_run *run, const uint8_t uuid[16], const char *what)
{
    char text[TEXTUUID_SIZE];

    textuuid_print(uuid, text);
    return text_run_refuse(run, "key %.*s %s", TEXTUUID_SIZE, text, what);
}

/* Does the collection exist (if not it has been answered), and are there keys of both kinds? */
static err_t
look(struct text_run *run, const struct verb_ns *ns, bool *exists, bool *string_keys)
{
    const struct catalog_collection *collection;
    err_t err;

    catalog_enter();
    err = catalog_find(run->op, NULL, ns->tenant, ns->database, ns->collection, &collection);
    *exists = err == OK && collection != NULL;
    *string_keys = *exists && collection->string_keys;
    catalog_leave();
    if (err == OK && !*exists)
        err = text_run_missing(run, ns);
    return err;
}

/* ---------------------------------------------------------------- GET */

static err_t
get_by(struct text_run *run, const struct verb_statement *statement, const uint8_t uuid[16],
    enum text_value_key key, bool *found)
{
    uint8_t room[TEXT_VALUE_ID_ROOM];
    struct bsonvalue id = text_value_id(uuid, key, room);
    struct row_id root;

    buf_clear(&run->key);
    buf_clear(&run->document);
    TRY_RETURN(keystring_append(&run->key, &id, false));
    return collection_get(run->op, txn_snapshot(statement->txn), statement->collection,
        buf_bytes(&run->key), &run->document, &root, found);
}

static err_t
get(struct text_run *run, const struct verb_ns *ns, const uint8_t uuid[16], bool *exists,
    bool *found)
{
    struct verb_statement statement;
    err_t err = OK;

    *found = false;
    TRY_RETURN(verb_statement_begin(run->op, ns, NULL, &statement));
    *exists = statement.collection != NULL;
    if (*exists)
        err = get_by(run, &statement, uuid, TEXT_VALUE_BINARY, found);
    if (err == OK && *exists && !*found && statement.collection->string_keys)
        err = get_by(run, &statement, uuid, TEXT_VALUE_STRING, found);
    return verb_statement_end(run->op, &statement, err, false);
}

err_t
text_document_get(struct text_run *run, const struct textcmd *command)
{
    struct textreply_bulk bulk;
    uint8_t uuid[16];
    struct verb_ns ns;
    bool good, exists, found;

    TRY_RETURN(text_run_uuid(run, command->arg[1], uuid, &good));
    if (!good)
        return OK;
    TRY_RETURN(text_run_ns(run, command->arg[0], &ns, &good));
    if (!good)
        return OK;
    TRY_RETURN(get(run, &ns, uuid, &exists, &found));
    if (!exists)
        return text_run_missing(run, &ns);
    counters_add(COUNTER_QUERIES, 1);
    if (!found)
        return textreply_null(run->out);
    TRY_RETURN(textreply_bulk_begin(run->out, run->document.size, &bulk));
    TRY_RETURN(text_value_print(run->out, run->op->arena, run->document.data, run->document.size));
    return textreply_bulk_end(run->out, &bulk);
}

/* ---------------------------------------------------------------- writing */

/* Read an argument as the document of this key.  *good false: it has been answered (the database's
   absence first). */
static err_t
read_json(struct text_run *run, const uint8_t uuid[16], enum text_value_key key, struct bytes json,
    struct bytes *document, bool *good)
{
    err_t err = text_value_parse(&run->document, run->op->arena, uuid, key, json, document);
    const char *reason;
    bool exists;

    *good = err == OK;
    if (err != ERR_FAILED_TO_PARSE)
        return err;
    reason = arena_string(run->op->arena, bytes_of(err_message()));
    if (reason == NULL)
        return ERR_MEMORY;
    TRY_RETURN(text_run_selected(run, &exists));
    return exists ? text_run_refuse(run, "invalid JSON: %s", reason) : OK;
}

/* A duplicate key: of the document itself, or of an index that another protocol made. */
static err_t
refuse_duplicate(struct text_run *run, const struct verb_ns *ns, const uint8_t uuid[16])
{
    struct bytes info = err_attached();
    struct bsonvalue pattern, id;
    const char *message = err_message();
    const char *index, *end;

    if (info.size == 0 || !bsonwalk_get(info, "keyPattern", &pattern) ||
        pattern.type != BSONTYPE_DOCUMENT || bsonwalk_get(pattern.raw, "_id", &id))
        return refuse_key(run, uuid, "already exists");
    index = strstr(message, ns->collection);
    index = index != NULL ? strstr(index, " index: ") : NULL;
    end = index != NULL ? strstr(index, " dup key: ") : NULL;
    if (end == NULL)
        return text_run_refuse(run, "duplicate value for unique index");
    index += strlen(" index: ");
    return text_run_refuse(
        run, "duplicate value for unique index '%.*s'", (int)(end - index), index);
}

/* A write is done; it is on disk before its answer leaves. */
static err_t
acknowledge(struct text_run *run)
{
    run->unsettled = true;
    return textreply_simple(run->out, "OK");
}

/* After a write that failed. */
static err_t
refuse_write(struct text_run *run, const struct verb_ns *ns, const uint8_t uuid[16], err_t err)
{
    if (err == ERR_DUPLICATE_KEY)
        return refuse_duplicate(run, ns, uuid);
    if (err == ERR_NAMESPACE_NOT_FOUND)
        return text_run_missing(run, ns);
    return err;
}

err_t
text_document_insert(struct text_run *run, const struct textcmd *command)
{
    const struct verb_write write = { .existing = true }; /* text_run_settle waits */
    struct verb_insert_result result;
    bool good, exists, string_keys, taken = false;
    struct bytes document;
    uint8_t uuid[16];
    struct verb_ns ns;
    err_t err;

    TRY_RETURN(text_run_uuid(run, command->arg[1], uuid, &good));
    if (!good)
        return OK;
    TRY_RETURN(read_json(run, uuid, TEXT_VALUE_BINARY, command->arg[2], &document, &good));
    if (!good)
        return OK;
    TRY_RETURN(text_run_ns(run, command->arg[0], &ns, &good));
    if (!good)
        return OK;
    TRY_RETURN(look(run, &ns, &exists, &string_keys));
    if (!exists)
        return OK;
    if (string_keys) {
        uint8_t room[TEXT_VALUE_ID_ROOM];
        struct bsonvalue id = text_value_id(uuid, TEXT_VALUE_STRING, room);

        buf_clear(&run->rows);
        TRY_RETURN(verb_get(run->op, &ns, &id, NULL, &run->rows, &taken));
        if (taken)
            return refuse_key(run, uuid, "already exists");
    }
    err = verb_insert(run->op, &ns, &document, 1, true, true, write, NULL, &result);
    if (err != OK)
        return refuse_write(run, &ns, uuid, err);
    return acknowledge(run);
}

/* {_id: …} in the op's arena. */
static err_t
id_filter(
    struct text_run *run, const uint8_t uuid[16], enum text_value_key key, struct bytes *filter)
{
    uint8_t room[TEXT_VALUE_ID_ROOM];
    struct bsonvalue id = text_value_id(uuid, key, room);
    struct bsonbuild build;

    bsonbuild_begin_arena(&build, run->op->arena);
    bsonbuild_value(&build, "_id", &id);
    return bsonbuild_end(&build, filter);
}

/* The replacement as it is to be kept, whatever names it has. */
static err_t
replace(void *context, struct bytes before, struct bytes *after)
{
    const struct bytes *document = context;

    (void)before;
    *after = *document;
    return OK;
}

static err_t
update_by(struct text_run *run, const struct verb_ns *ns, const uint8_t uuid[16],
    enum text_value_key key, struct bytes document, uint64_t *matched)
{
    const struct verb_write write = { .existing = true }; /* text_run_settle waits */
    struct verb_update update = { .update = bsonvalue_empty_document,
        .rule = UPDATE_REPLACE,
        .amend = replace,
        .amend_context = &document };
    struct verb_update_result result;

    TRY_RETURN(id_filter(run, uuid, key, &update.filter));
    TRY_RETURN(verb_update(run->op, ns, &update, write, &result));
    *matched = result.matched;
    return OK;
}

err_t
text_document_update(struct text_run *run, const struct textcmd *command)
{
    bool good, exists, string_keys;
    struct bytes document;
    uint64_t matched = 0;
    uint8_t uuid[16];
    struct verb_ns ns;
    err_t err;

    TRY_RETURN(text_run_uuid(run, command->arg[1], uuid, &good));
    if (!good)
        return OK;
    TRY_RETURN(read_json(run, uuid, TEXT_VALUE_BINARY, command->arg[2], &document, &good));
    if (!good)
        return OK;
    TRY_RETURN(text_run_ns(run, command->arg[0], &ns, &good));
    if (!good)
        return OK;
    TRY_RETURN(look(run, &ns, &exists, &string_keys));
    if (!exists)
        return OK;
    err = update_by(run, &ns, uuid, TEXT_VALUE_BINARY, document, &matched);
    if (err == OK && matched == 0 && string_keys) {
        TRY_RETURN(read_json(run, uuid, TEXT_VALUE_STRING, command->arg[2], &document, &good));
        err = update_by(run, &ns, uuid, TEXT_VALUE_STRING, document, &matched);
    }
    if (err != OK)
        return refuse_write(run, &ns, uuid, err);
    if (matched == 0)
        return refuse_key(run, uuid, "not found");
    return acknowledge(run);
}

static err_t
delete_by(struct text_run *run, const struct verb_ns *ns, const uint8_t uuid[16],
    enum text_value_key key, uint64_t *deleted)
{
    const struct verb_write write = { .existing = true }; /* text_run_settle waits */
    const struct bytes none = { NULL, 0 };
    struct bytes filter;

    TRY_RETURN(id_filter(run, uuid, key, &filter));
    return verb_delete(run->op, ns, filter, none, false, write, deleted);
}

err_t
text_document_delete(struct text_run *run, const struct textcmd *command)
{
    bool good, exists, string_keys;
    uint64_t deleted = 0;
    uint8_t uuid[16];
    struct verb_ns ns;
    err_t err;

    TRY_RETURN(text_run_uuid(run, command->arg[1], uuid, &good));
    if (!good)
        return OK;
    TRY_RETURN(text_run_ns(run, command->arg[0], &ns, &good));
    if (!good)
        return OK;
    TRY_RETURN(look(run, &ns, &exists, &string_keys));
    if (!exists)
        return OK;
    err = delete_by(run, &ns, uuid, TEXT_VALUE_BINARY, &deleted);
    if (err == OK && deleted == 0 && string_keys)
        err = delete_by(run, &ns, uuid, TEXT_VALUE_STRING, &deleted);
    if (err != OK)
        return refuse_write(run, &ns, uuid, err);
    if (deleted == 0)
        return refuse_key(run, uuid, "not found");
    return acknowledge(run);
}
