/*
 * text_define.c - databases, collections and indexes of the text protocol.
 *
 * Names are checked by the rules of section 5.2 where something is created; what another protocol
 * created under a wider name is used by its exact name.  Texts such as "database not found:
 * database 'x' already exists" are the protocol's.
 */
#include "backend/command/text_define.h"

#include "backend/command/text_value.h"
#include "backend/command/verb_statement.h"
#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/docpath.h"
#include "base/wire/textname.h"
#include "shmem/interrupt.h"
#include "storage/collection/collection.h"

static const struct bytes nothing = { NULL, 0 };

/* May something be created under this name?  If not, it has been answered. */
static err_t
check_name(struct text_run *run, struct bytes name, bool *good)
{
    char room[TEXTNAME_TEXT_MAX];
    const char *text = textname_check(name, room);

    *good = text == NULL;
    return *good ? OK : text_run_refuse(run, "%s", text);
}

/* ---------------------------------------------------------------- databases */

err_t
text_define_use(struct text_run *run, const struct textcmd *command)
{
    char room[TEXTNAME_TEXT_MAX];
    struct bytes typed = command->arg[0];
    bool valid = textname_check(typed, room) == NULL, exists = false;
    const char *name;
    err_t err;

    TRY_RETURN(text_run_name(run, typed, &name));
    if (typed.size <= CATALOG_NAME_MAX)
        TRY_RETURN(verb_database_exists(run->op, run->principal->tenant, name, &exists));
    if (!exists && !valid)
        return text_run_refuse(run, "database not found: %s", name); /* T11 */
    if (!exists && access_touches_database(run->principal, name)) {  /* T13 */
        err = verb_create_database(run->op, run->principal->tenant, name);
        if (err != OK && err != ERR_NAMESPACE_EXISTS)
            return err;
    }
    memcpy(run->database, name, typed.size + 1);
    return textreply_simple(run->out, "OK");
}

err_t
text_define_create_database(struct text_run *run, const struct textcmd *command)
{
    const char *name;
    bool good;
    err_t err;

    TRY_RETURN(check_name(run, command->arg[0], &good));
    if (!good)
        return OK;
    TRY_RETURN(text_run_name(run, command->arg[0], &name));
    err = verb_create_database(run->op, run->principal->tenant, name);
    if (err == ERR_NAMESPACE_EXISTS)
        return text_run_refuse(run, "database not found: database '%s' already exists", name);
    return err == OK ? textreply_simple(run->out, "OK") : err;
}

err_t
text_define_drop_database(struct text_run *run, const struct textcmd *command)
{
    bool found = false;
    const char *name;

    TRY_RETURN(text_run_name(run, command->arg[0], &name));
    if (command->arg[0].size <= CATALOG_NAME_MAX)
        TRY_RETURN(verb_drop_database(run->op, run->principal->tenant, name, &found));
    if (!found)
        return text_run_refuse(run, "database not found: %s", name);
    if (strcmp(run->database, name) == 0)
        run->database[0] = '\0'; /* T12 */
    return textreply_simple(run->out, "OK");
}

err_t
text_define_list_databases(struct text_run *run, const struct textcmd *command)
{
    const char *const *names;
    size_t count;

    (void)command;
    TRY_RETURN(verb_list_databases(run->op, run->principal->tenant, &names, &count));
    return text_run_names(run, names, count);
}

/* ---------------------------------------------------------------- collections */

err_t
text_define_create_collection(struct text_run *run, const struct textcmd *command)
{
    struct verb_ns ns;
    bool good;
    err_t err;

    TRY_RETURN(text_run_selected(run, &good));
    if (!good)
        return OK;
    TRY_RETURN(check_name(run, command->arg[0], &good));
    if (!good)
        return OK;
    TRY_RETURN(text_run_ns(run, command->arg[0], &ns, &good));
    if (!good)
        return OK;
    err = verb_create_collection(run->op, &ns, nothing);
    if (err == ERR_NAMESPACE_EXISTS)
        return text_run_refuse(
            run, "collection not found: collection '%s' already exists", ns.collection);
    return err == OK ? textreply_simple(run->out, "OK") : err;
}

err_t
text_define_drop_collection(struct text_run *run, const struct textcmd *command)
{
    struct verb_ns ns;
    bool found;

    TRY_RETURN(text_run_ns(run, command->arg[0], &ns, &found));
    if (!found)
        return OK;
    TRY_RETURN(verb_drop_collection(run->op, &ns, &found));
    return found ? textreply_simple(run->out, "OK") : text_run_missing(run, &ns);
}

err_t
text_define_list_collections(struct text_run *run, const struct textcmd *command)
{
    const char *const *names;
    size_t count;
    bool exists;

    (void)command;
    TRY_RETURN(text_run_selected(run, &exists));
    if (!exists)
        return OK;
    TRY_RETURN(
        verb_list_collections(run->op, run->principal->tenant, run->database, &names, &count));
    return text_run_names(run, names, count);
}

/* ---------------------------------------------------------------- indexes */

/* Has some document an array or object at the path now?  (CRDTs are objects.) */
static err_t
find_unfit(struct text_run *run, const struct verb_statement *statement, const struct docpath *path,
    bool *unfit)
{
    struct collection_scan *scan = NULL;
    err_t err;

    *unfit = false;
    TRY_RETURN(
        collection_scan_begin(run->op, statement->collection, txn_snapshot(statement->txn), &scan));
    while (!*unfit) {
        struct bsonvalue value;
        struct bytes document;
        struct row_id root;
        bool found;

        TRY(interrupt_check(run->op));
        TRY(collection_scan_next(run->op, scan, &document, &root, &found));
        if (!found)
            break;
        TRY(docpath_get(path, document, &value, &found));
        *unfit = found && (value.type == BSONTYPE_ARRAY || value.type == BSONTYPE_DOCUMENT);
    }
    err = OK;
out:
    collection_scan_end(scan);
    return err;
}

/* Collection, name and contents fit?  If not, it has been answered. */
static err_t
check_index(
    struct text_run *run, const struct verb_ns *ns, const char *name, struct bytes kept, bool *good)
{
    struct verb_statement statement;
    const struct catalog_index *index = NULL; /* one that is not ready may be left over */
    const struct docpath *path;
    bool exists, taken, unfit = false;
    err_t err = OK;

    *good = false;
    TRY_RETURN(docpath_compile(run->op->arena, kept, &path));
    TRY_RETURN(verb_statement_begin(run->op, ns, NULL, &statement));
    exists = statement.collection != NULL;
    if (exists)
        index = catalog_find_index(statement.collection, name);
    taken = index != NULL && index->state == CATALOG_INDEX_READY;
    if (exists && !taken)
        err = find_unfit(run, &statement, path, &unfit);
    TRY_RETURN(verb_statement_end(run->op, &statement, err, false));
    if (!exists)
        return text_run_missing(run, ns);
    if (taken)
        return text_run_refuse(run, "index already exists: %s", name);
    if (unfit)
        return text_run_refuse(run, "value type cannot be indexed");
    *good = true;
    return OK;
}

err_t
text_define_create_index(struct text_run *run, const struct textcmd *command)
{
    struct bytes kept, definition;
    struct bsonbuild build;
    struct verb_ns ns;
    const char *name;
    bool good, existed;
    err_t err;

    TRY_RETURN(text_run_selected(run, &good));
    if (!good)
        return OK;
    TRY_RETURN(text_run_ns(run, command->arg[0], &ns, &good));
    if (!good)
        return OK;
    TRY_RETURN(text_run_name(run, command->arg[1], &name));
    TRY_RETURN(check_name(run, command->arg[1], &good));
    if (!good)
        return OK;
    TRY_RETURN(text_value_path(run->op->arena, command->arg[2], &kept));
    TRY_RETURN(check_index(run, &ns, name, kept, &good));
    if (!good)
        return OK;
    bsonbuild_begin_arena(&build, run->op->arena);
    bsonbuild_document_begin(&build, "key");
    bsonbuild_int32(&build, kept, 1);
    bsonbuild_document_end(&build);
    bsonbuild_text(&build, "name", name);
    bsonbuild_bool(&build, "scalarOnly", true);
    TRY_RETURN(bsonbuild_end(&build, &definition));
    err = verb_create_index(run->op, &ns, definition, &existed);
    if (err == ERR_NAMESPACE_NOT_FOUND)
        return text_run_missing(run, &ns);
    if (err == ERR_INDEX_EXISTS || err == ERR_INDEX_KEY_SPECS || (err == OK && existed))
        return text_run_refuse(run, "index already exists: %s", name);
    return err == OK ? textreply_simple(run->out, "OK") : err;
}

err_t
text_define_drop_index(struct text_run *run, const struct textcmd *command)
{
    struct verb_ns ns;
    const char *name;
    bool exists, found = false;
    err_t err;

    TRY_RETURN(text_run_ns(run, command->arg[0], &ns, &exists));
    if (!exists)
        return OK;
    TRY_RETURN(text_run_name(run, command->arg[1], &name));
    TRY_RETURN(verb_collection_exists(run->op, &ns, NULL, &exists));
    if (!exists)
        return text_run_missing(run, &ns);
    err = strcmp(name, "_id_") != 0 && command->arg[1].size <= CATALOG_NAME_MAX
              ? verb_drop_index(run->op, &ns, name, &found)
              : OK;
    if (err == ERR_NAMESPACE_NOT_FOUND)
        return text_run_missing(run, &ns);
    if (err == ERR_INDEX_NOT_FOUND || (err == OK && !found))
        return text_run_refuse(run, "index not found: %s", name);
    return err == OK ? textreply_simple(run->out, "OK") : err;
}

err_t
text_define_list_indexes(struct text_run *run, const struct textcmd *command)
{
    const struct bytes *definitions;
    struct verb_ns ns;
    size_t count;
    bool found;

    TRY_RETURN(text_run_ns(run, command->arg[0], &ns, &found));
    if (!found)
        return OK;
    TRY_RETURN(verb_list_indexes(run->op, &ns, &definitions, &count, &found));
    if (!found)
        return text_run_missing(run, &ns);
    TRY_RETURN(textreply_array(run->out, count > 0 ? count - 1 : 0));
    for (size_t i = 1; i < count; i++) {
        struct bsonvalue name;

        if (!bsonwalk_get(definitions[i], "name", &name) || name.type != BSONTYPE_STRING)
            return err_set(ERR_CORRUPT, "the definition of an index has no name");
        TRY_RETURN(textreply_bulk(run->out, bsonvalue_string(&name)));
    }
    return OK;
}
