/*
 * text_run.c - running one command of the text protocol.
 *
 * Order of the checks (section 3 of the protocol): concern prefix, PING and QUIT, authentication,
 * authorisation, the selected database; then the verb's function goes on with existence, UUID,
 * JSON, collection.  The first that fails is the answer.
 *
 * INVARIANTS
 *   R1  A verb runs only if its row's action on its row's place is permitted to the principal.
 *   R2  A command leaves exactly one reply in `out`, or the connection is closed.
 *   R3  What acknowledges a write leaves `out` only after the log has been flushed beyond it:
 *       single documents are committed without waiting, text_run_settle waits for all of a
 *       pipeline.
 */
#include "backend/command/text_run.h"

#include <stdarg.h>
#include <stdio.h>

#include "backend/command/text_define.h"
#include "backend/command/text_document.h"
#include "backend/command/text_login.h"
#include "backend/command/text_scan.h"
#include "backend/command/text_server.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/wire/textspace.h"
#include "base/wire/textuuid.h"
#include "shmem/counters.h"
#include "wal/wal_flush.h"
#include "wal/wal_insert.h"

#define PRINCIPAL_MEMORY ((size_t)4 << 20)
#define KEEP             ((size_t)256 << 10)

/* What the action is on. */
enum on {
    ON_NOTHING,
    ON_SELECTED,  /* the selected database */
    ON_DATABASE,  /* the first argument */
    ON_COLLECTION /* the first argument, in the selected database */
};

static err_t
pong(struct text_run *run, const struct textcmd *command)
{
    (void)command;
    return textreply_simple(run->out, "PONG");
}

static err_t
bye(struct text_run *run, const struct textcmd *command)
{
    (void)command;
    return textreply_simple(run->out, "BYE");
}

static const struct verb {
    err_t (*run)(struct text_run *run, const struct textcmd *command);
    enum access_action action;
    enum on on;
} verbs[TEXTCMD_VERB_COUNT] = {
    [TEXTCMD_PING] = { pong, ACCESS_AUTHENTICATED, ON_NOTHING },
    [TEXTCMD_QUIT] = { bye, ACCESS_AUTHENTICATED, ON_NOTHING },
    [TEXTCMD_LOGIN] = { text_login_login, ACCESS_AUTHENTICATED, ON_NOTHING },
    [TEXTCMD_TOKEN] = { text_login_token, ACCESS_AUTHENTICATED, ON_NOTHING },
    [TEXTCMD_REFRESH] = { text_login_refresh, ACCESS_AUTHENTICATED, ON_NOTHING },
    [TEXTCMD_WHOAMI] = { text_login_whoami, ACCESS_AUTHENTICATED, ON_NOTHING },
    [TEXTCMD_USE] = { text_define_use, ACCESS_AUTHENTICATED, ON_NOTHING },
    [TEXTCMD_TOPOLOGY] = { text_server_topology, ACCESS_AUTHENTICATED, ON_NOTHING },
    [TEXTCMD_SNAPSHOT_HLC] = { text_server_snapshot_hlc, ACCESS_AUTHENTICATED, ON_NOTHING },
    [TEXTCMD_SCHEMA_VERSION] = { text_server_schema_version, ACCESS_AUTHENTICATED, ON_NOTHING },
    [TEXTCMD_LIST_DATABASES] = { text_define_list_databases, ACCESS_AUTHENTICATED, ON_NOTHING },
    [TEXTCMD_CREATE_DATABASE] = { text_define_create_database, ACCESS_MANAGE_DATABASES,
        ON_DATABASE },
    [TEXTCMD_DROP_DATABASE] = { text_define_drop_database, ACCESS_MANAGE_DATABASES, ON_DATABASE },
    [TEXTCMD_CREATE_COLLECTION] = { text_define_create_collection, ACCESS_ADMIN, ON_SELECTED },
    [TEXTCMD_DROP_COLLECTION] = { text_define_drop_collection, ACCESS_ADMIN, ON_SELECTED },
    [TEXTCMD_LIST_COLLECTIONS] = { text_define_list_collections, ACCESS_ADMIN, ON_SELECTED },
    [TEXTCMD_CREATE_INDEX] = { text_define_create_index, ACCESS_ADMIN, ON_COLLECTION },
    [TEXTCMD_DROP_INDEX] = { text_define_drop_index, ACCESS_ADMIN, ON_COLLECTION },
    [TEXTCMD_LIST_INDEXES] = { text_define_list_indexes, ACCESS_ADMIN, ON_COLLECTION },
    [TEXTCMD_INSERT] = { text_document_insert, ACCESS_WRITE, ON_COLLECTION },
    [TEXTCMD_GET] = { text_document_get, ACCESS_READ, ON_COLLECTION },
    [TEXTCMD_UPDATE] = { text_document_update, ACCESS_WRITE, ON_COLLECTION },
    [TEXTCMD_DELETE] = { text_document_delete, ACCESS_WRITE, ON_COLLECTION },
    [TEXTCMD_SCAN] = { text_scan_scan, ACCESS_READ, ON_COLLECTION },
    [TEXTCMD_COUNT] = { text_scan_count, ACCESS_READ, ON_COLLECTION },
    [TEXTCMD_COMPACT] = { text_server_compact, ACCESS_ADMIN, ON_COLLECTION },
    [TEXTCMD_FLUSH] = { text_server_flush, ACCESS_ADMIN, ON_SELECTED },
};

/* ---------------------------------------------------------------- begin and end */

err_t
text_run_init(struct text_run *run, const struct config *config, struct buf *out,
    err_t (*drain)(void *context), void *drain_context)
{
    run->config = config;
    run->out = out;
    run->drain = drain;
    run->drain_context = drain_context;
    run->principal = NULL;
    run->proven = false;
    run->valid_until_ms = 0;
    run->database[0] = '\0';
    run->document = run->key = run->rows = buf_init((size_t)config->session_memory_max);
    run->op = NULL;
    run->failed = run->broken = run->unsettled = false;
    run->arena = arena_create("a principal", PRINCIPAL_MEMORY);
    return run->arena != NULL ? OK : ERR_MEMORY;
}

void
text_run_fini(struct text_run *run)
{
    log_context.tenant = log_context.user = NULL; /* the principal's */
    arena_destroy(run->arena);
    run->arena = NULL;
    run->principal = NULL;
    buf_fini(&run->document);
    buf_fini(&run->key);
    buf_fini(&run->rows);
}

void
text_run_settle(struct text_run *run)
{
    if (run->unsettled)
        wal_flush(wal_insert_position()); /* R3 */
    run->unsettled = false;
}

bool
text_run_knows(enum textcmd_verb verb)
{
    return verbs[verb].run != NULL;
}

/* ---------------------------------------------------------------- answers */

static err_t
answer_error(struct text_run *run, struct bytes text)
{
    run->failed = true;
    counters_add(COUNTER_ERRORS, 1);
    log_warn("%.*s", (int)text.size, (const char *)text.data);
    return textreply_error(run->out, text);
}

err_t
text_run_refuse(struct text_run *run, const char *format, ...)
{
    char room[512];
    char *text = room;
    va_list list;
    int size;

    va_start(list, format);
    size = vsnprintf(room, sizeof room, format, list);
    va_end(list);
    if (size >= (int)sizeof room) {
        text = arena_alloc(run->op->arena, (size_t)size + 1);
        if (text == NULL)
            return ERR_MEMORY;
        va_start(list, format);
        (void)vsnprintf(text, (size_t)size + 1, format, list);
        va_end(list);
    }
    return answer_error(run, (struct bytes){ (const uint8_t *)text, (size_t)size });
}

err_t
text_run_refuse_err(struct text_run *run, err_t err)
{
    const char *message = err_message();

    switch (err) {
    case ERR_SHUTDOWN:
    case ERR_TERMINATED:
        return text_run_refuse(run, "server is shutting down");
    case ERR_CORRUPT:
        return text_run_refuse(run, "internal error (corruption): %s", message);
    case ERR_IO:
    case ERR_DISK_FULL:
        return text_run_refuse(run, "I/O error: %s", message);
    case ERR_TOO_LARGE:
        if (strncmp(message, "document too large", 18) == 0)
            return text_run_refuse(run, "%s", message);
        return text_run_refuse(run, "invalid argument: %s", message);
    case ERR_VALIDATION:
        return text_run_refuse(run, "document validation failed: %s", message);
    case ERR_BAD_VALUE:
    case ERR_CANNOT_CREATE_INDEX:
    case ERR_OVERFLOW:
        return text_run_refuse(run, "invalid argument: %s", message);
    default:
        return text_run_refuse(run, "internal error: %s", message);
    }
}

/* Some words of a line, as typed, joined by one space. */
static err_t
append_words(struct buf *out, struct bytes line, unsigned skip, unsigned count)
{
    const uint8_t *at = line.data, *end = line.data + line.size;

    for (unsigned i = 0; i < skip + count; i++) {
        const uint8_t *start;
        size_t size;

        while (at < end && (size = textspace_size(at, end)) > 0)
            at += size;
        start = at;
        while (at < end && textspace_size(at, end) == 0)
            at++;
        if (i < skip)
            continue;
        if (i > skip)
            TRY_RETURN(buf_append_byte(out, ' '));
        TRY_RETURN(buf_append(out, start, (size_t)(at - start)));
    }
    return OK;
}

err_t
text_run_unknown(struct text_run *run, const struct textcmd *command, struct bytes line)
{
    static const char *const two[] = { "CREATE_", "DROP_", "LIST_", "SCHEMA_", "ALTER_", "SET_",
        "RESET_", "SHOW_", "REBALANCE_" };
    const char *label = textcmd_label(command->verb);
    unsigned prefixes = (unsigned)command->prefix.has_read + (unsigned)command->prefix.has_write;
    unsigned words = 1;

    for (unsigned i = 0; i < sizeof two / sizeof two[0]; i++)
        if (strncmp(label, two[i], strlen(two[i])) == 0)
            words = 2;
    buf_clear(&run->rows);
    TRY_RETURN(append_words(&run->rows, line, 2 * prefixes, words));
    for (size_t i = 0; words == 2 && run->rows.data[i] != ' '; i++)
        run->rows.data[i] &= 0xdf; /* the first of two is told in capitals, the second as typed */
    return textreply_refusal(
        run->out, &(struct textcmd_refusal){ "unknown command: ", buf_bytes(&run->rows) });
}

/* ---------------------------------------------------------------- for verbs */

err_t
text_run_name(struct text_run *run, struct bytes argument, const char **name)
{
    char *copy = arena_string(run->op->arena, argument);

    if (copy == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < argument.size; i++)
        if (copy[i] == '\0')
            copy[i] = '\1';
    *name = copy;
    return OK;
}

err_t
text_run_ns(struct text_run *run, struct bytes collection, struct verb_ns *ns, bool *possible)
{
    ns->tenant = run->principal->tenant;
    ns->database = run->database;
    TRY_RETURN(text_run_name(run, collection, &ns->collection));
    *possible = collection.size <= CATALOG_NAME_MAX;
    return *possible ? OK : text_run_missing(run, ns);
}

err_t
text_run_selected(struct text_run *run, bool *exists)
{
    TRY_RETURN(verb_database_exists(run->op, run->principal->tenant, run->database, exists));
    return *exists ? OK : text_run_refuse(run, "database not found: %s", run->database);
}

err_t
text_run_missing(struct text_run *run, const struct verb_ns *ns)
{
    bool exists;

    TRY_RETURN(text_run_selected(run, &exists));
    return exists ? text_run_refuse(run, "collection not found: %s", ns->collection) : OK;
}

err_t
text_run_uuid(struct text_run *run, struct bytes text, uint8_t uuid[16], bool *good)
{
    bool exists;

    *good = textuuid_parse(text, uuid);
    if (*good)
        return OK;
    TRY_RETURN(text_run_selected(run, &exists));
    if (!exists)
        return OK;
    buf_clear(&run->rows);
    TRY_RETURN(textuuid_explain(&run->rows, text));
    return answer_error(run, buf_bytes(&run->rows));
}

err_t
text_run_names(struct text_run *run, const char *const *names, size_t count)
{
    TRY_RETURN(textreply_array(run->out, count));
    for (size_t i = 0; i < count; i++)
        TRY_RETURN(textreply_bulk(run->out, bytes_of(names[i])));
    return OK;
}

/* ---------------------------------------------------------------- the checks */

static err_t
find_place(
    struct text_run *run, const struct textcmd *command, enum on on, struct access_place *place)
{
    *place = (struct access_place){ ACCESS_SERVER, "", "" };
    switch (on) {
    case ON_NOTHING:
        break;
    case ON_SELECTED:
        place->kind = ACCESS_DATABASE;
        place->database = run->database;
        break;
    case ON_DATABASE:
        place->kind = ACCESS_DATABASE;
        return text_run_name(run, command->arg[0], &place->database);
    case ON_COLLECTION:
        place->kind = ACCESS_COLLECTION;
        place->database = run->database;
        return text_run_name(run, command->arg[0], &place->collection);
    }
    return OK;
}

/* Authentication and authorisation.  *passed false: it has been answered. */
static err_t
check_rights(struct text_run *run, const struct textcmd *command, bool *passed)
{
    const struct verb *verb = &verbs[command->verb];
    struct access_place place;

    *passed = false;
    if (run->principal == NULL)
        return text_run_refuse(run, "not authenticated");
    if (clock_wall_ms() > run->valid_until_ms)
        return text_run_refuse(run, "token expired");
    if (verb->action != ACCESS_AUTHENTICATED) {
        TRY_RETURN(find_place(run, command, verb->on, &place));
        if (!access_permits(run->principal, verb->action, &place)) {
            buf_clear(&run->rows);
            TRY_RETURN(access_explain(&run->rows, run->principal, verb->action, &place));
            return answer_error(run, buf_bytes(&run->rows));
        }
    }
    if ((textcmd_needs(command->verb) & TEXTCMD_NEEDS_DATABASE) != 0 && run->database[0] == '\0')
        return text_run_refuse(run, "no database selected (use USE <db>)");
    *passed = true;
    return OK;
}

/* Check and run; the reply is in `out` unless there is an error. */
static err_t
check_and_run(struct text_run *run, const struct textcmd *command)
{
    char room[TEXTCMD_CONCERN_TEXT_MAX];
    const char *text = textcmd_check_concerns(command, TEXT_RUN_NODES, room);
    bool passed = true;

    if (text != NULL)
        return text_run_refuse(run, "%s", text);
    if ((textcmd_needs(command->verb) & TEXTCMD_NEEDS_LOGIN) != 0)
        TRY_RETURN(check_rights(run, command, &passed));
    return passed ? verbs[command->verb].run(run, command) : OK; /* R1 */
}

/* Memory that one large command took goes back. */
static void
shrink(struct text_run *run)
{
    if (run->document.capacity + run->key.capacity + run->rows.capacity <= KEEP)
        return;
    buf_clear(&run->document);
    buf_clear(&run->key);
    buf_clear(&run->rows);
    buf_shrink(&run->document, KEEP);
    buf_shrink(&run->key, KEEP);
    buf_shrink(&run->rows, KEEP);
}

err_t
text_run_command(struct text_run *run, struct op *op, const struct textcmd *command)
{
    size_t before = run->out->size;
    err_t err;

    run->op = op;
    run->failed = false;
    err = check_and_run(run, command);
    if (err != OK && !run->broken) {
        run->out->size = before; /* R2 */
        err = text_run_refuse_err(run, err);
    }
    shrink(run);
    return err;
}
