/*
 * shellrun.c - running one command of the shell.
 *
 * The grammar: exit, quit, clear, help, use NAME; db.METHOD(…); db.COLLECTION.METHOD(…).  Methods
 * are rows of one table: what line of the text protocol they become, and how the reply is shown.
 */
#include "tools/shellrun.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/ids.h"
#include "tools/relaxed.h"
#include "tools/shellprint.h"

#define ARGUMENTS_MAX 3
#define REQUEST_MAX   ((size_t)64 << 20)

struct call {
    struct shellrun *run;
    char collection[256]; /* "": a method of the database */
    char method[64];
    struct bytes argument[ARGUMENTS_MAX]; /* trimmed, as typed */
    unsigned count;
    const struct method *row;
    struct link_reply reply;
    char id[IDS_TEXT_SIZE]; /* of the document concerned */
    bool good;
};

struct method {
    const char *name;
    unsigned least, most; /* arguments */
    err_t (*run)(struct call *call);
    const char *verb;  /* of the text protocol */
    const char *shown; /* embedded: what stands in the place of "OK"; %s: the first argument */
    bool of_database;
};

void
shellrun_init(struct shellrun *run)
{
    memset(run, 0, sizeof *run);
    run->link.fd = -1;
    run->link.in = buf_init(LINK_ANSWER_MAX);
    run->request = buf_init(REQUEST_MAX);
    run->scratch = buf_init(REQUEST_MAX);
}

void
shellrun_fini(struct shellrun *run)
{
    link_close(&run->link);
    buf_fini(&run->request);
    buf_fini(&run->scratch);
}

/* ---- asking ---- */

static err_t
ask(struct shellrun *run, struct link_reply *reply)
{
    if (run->local == NULL) {
        TRY_RETURN(link_send(&run->link, buf_bytes(&run->request)));
    } else {
        buf_clear(&run->link.in);
        run->link.at = 0;
        run->link.at_end = true;
        TRY_RETURN(local_ask(run->local, buf_bytes(&run->request), &run->link.in));
    }
    return link_read_reply(&run->link, reply);
}

err_t
shellrun_ask(struct shellrun *run, struct link_reply *reply, const char *format, ...)
{
    char line[1024];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    buf_clear(&run->request);
    TRY_RETURN(buf_append_text(&run->request, line));
    return ask(run, reply);
}

/* ---- saying ---- */

static err_t refuse(struct call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static err_t
refuse(struct call *call, const char *format, ...)
{
    va_list args;

    (void)fputs("Error: ", stdout);
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    (void)fputc('\n', stdout);
    call->good = false;
    return OK;
}

/* True: the reply is an error, and has been shown. */
static bool
is_error(struct call *call)
{
    if (call->reply.kind != LINK_ERROR)
        return false;
    (void)refuse(call, "%.*s", (int)call->reply.text.size, (const char *)call->reply.text.data);
    return true;
}

/* An argument that is a name or an id: in quotes or bare. */
static struct bytes
plain(struct bytes argument)
{
    if (argument.size >= 2 && relaxed_string_size(argument) == argument.size)
        return (struct bytes){ argument.data + 1, argument.size - 2 };
    return argument;
}

/* ---- methods ---- */

static err_t
begin_request(struct call *call)
{
    buf_clear(&call->run->request);
    TRY_RETURN(buf_append_text(&call->run->request, call->row->verb));
    if (call->collection[0] == '\0')
        return OK;
    return buf_printf(&call->run->request, " %s", call->collection);
}

static err_t
add_plain(struct call *call, unsigned index)
{
    struct bytes text = plain(call->argument[index]);

    TRY_RETURN(buf_append_byte(&call->run->request, ' '));
    return buf_append(&call->run->request, text.data, text.size);
}

static err_t
add_json(struct call *call, unsigned index)
{
    TRY_RETURN(buf_append_byte(&call->run->request, ' '));
    return relaxed_strict(&call->run->request, call->argument[index]);
}

static void
show_done(const struct call *call)
{
    struct bytes first = call->count > 0 ? plain(call->argument[0]) : bytes_of("");
    struct bytes second = call->count > 1 ? plain(call->argument[1]) : bytes_of("");

    if (call->run->local == NULL || call->row->shown == NULL) {
        (void)printf("%.*s\n", (int)call->reply.text.size, (const char *)call->reply.text.data);
        return;
    }
    for (const char *at = call->row->shown; *at != '\0'; at++) {
        struct bytes part = *at == '1' ? first : second;

        if (*at == '1' || *at == '2')
            (void)printf("%.*s", (int)part.size, (const char *)part.data);
        else
            (void)fputc(*at, stdout);
    }
    (void)fputc('\n', stdout);
}

/* VERB [collection] name…: answered with OK. */
static err_t
run_names(struct call *call)
{
    TRY_RETURN(begin_request(call));
    for (unsigned i = 0; i < call->count; i++)
        TRY_RETURN(add_plain(call, i));
    TRY_RETURN(ask(call->run, &call->reply));
    if (!is_error(call))
        show_done(call);
    return OK;
}

static err_t
run_compact(struct call *call)
{
    TRY_RETURN(begin_request(call));
    TRY_RETURN(ask(call->run, &call->reply));
    if (is_error(call))
        return OK;
    if (call->run->local != NULL && call->reply.text.size > 3)
        (void)printf("Compacted: %.*s documents preserved\n", (int)call->reply.text.size - 3,
            (const char *)call->reply.text.data + 3);
    else
        show_done(call);
    return OK;
}

static err_t
run_count(struct call *call)
{
    TRY_RETURN(begin_request(call));
    TRY_RETURN(ask(call->run, &call->reply));
    if (!is_error(call))
        (void)printf("%jd\n", (intmax_t)call->reply.number);
    return OK;
}

static err_t
run_insert(struct call *call)
{
    struct uuid uuid = ids_uuid();

    ids_format(&uuid, call->id);
    for (unsigned attempt = 0; attempt < 2; attempt++) {
        static const char missing[] = "collection not found: ";

        TRY_RETURN(begin_request(call));
        TRY_RETURN(buf_printf(&call->run->request, " %s", call->id));
        TRY_RETURN(add_json(call, 0));
        TRY_RETURN(ask(call->run, &call->reply));
        if (attempt > 0 || call->reply.kind != LINK_ERROR ||
            call->reply.text.size < sizeof missing - 1 ||
            memcmp(call->reply.text.data, missing, sizeof missing - 1) != 0)
            break;
        TRY_RETURN(shellrun_ask(call->run, &call->reply, "CREATE COLLECTION %s", call->collection));
    }
    if (!is_error(call))
        (void)printf("Inserted: %s\n", call->id);
    return OK;
}

/* VERB collection id [json]. */
static err_t
run_change(struct call *call)
{
    struct bytes id = plain(call->argument[0]);

    TRY_RETURN(begin_request(call));
    TRY_RETURN(add_plain(call, 0));
    if (call->count > 1)
        TRY_RETURN(add_json(call, 1));
    TRY_RETURN(ask(call->run, &call->reply));
    if (is_error(call))
        return OK;
    if (call->run->local == NULL)
        show_done(call);
    else
        (void)printf("%s: %.*s\n", call->row->shown, (int)id.size, (const char *)id.data);
    return OK;
}

/* Documents "<uuid> <json>" as one JSON array. */
static err_t
show_documents(struct call *call)
{
    int64_t count = call->reply.number;

    if (is_error(call))
        return OK;
    if (call->reply.kind != LINK_ARRAY)
        return refuse(call, "the answer cannot be understood");
    (void)fputs(count == 0 ? "[]" : "[\n", stdout);
    for (int64_t i = 0; i < count; i++) {
        struct link_reply row;

        TRY_RETURN(link_read_reply(&call->run->link, &row));
        TRY_RETURN(shellprint_row(&call->run->scratch, row.text));
        (void)fputs(i + 1 < count ? ",\n" : "\n]", stdout);
    }
    (void)fputc('\n', stdout);
    return OK;
}

static err_t
run_find(struct call *call)
{
    if (call->count == 0) {
        TRY_RETURN(shellrun_ask(call->run, &call->reply, "SCAN %s", call->collection));
        return show_documents(call);
    }
    TRY_RETURN(begin_request(call));
    TRY_RETURN(add_json(call, 0));
    TRY_RETURN(ask(call->run, &call->reply));
    return show_documents(call);
}

static err_t
run_query(struct call *call)
{
    TRY_RETURN(begin_request(call));
    TRY_RETURN(add_plain(call, 0));
    for (unsigned i = 1; i < call->count; i++)
        TRY_RETURN(add_json(call, i));
    TRY_RETURN(ask(call->run, &call->reply));
    return show_documents(call);
}

static err_t
run_list(struct call *call)
{
    int64_t count;

    TRY_RETURN(begin_request(call));
    TRY_RETURN(ask(call->run, &call->reply));
    if (is_error(call))
        return OK;
    count = call->reply.number;
    (void)fputs(count == 0 ? "[]" : "[\n", stdout);
    for (int64_t i = 0; i < count; i++) {
        struct link_reply name;

        TRY_RETURN(link_read_reply(&call->run->link, &name));
        (void)printf("  \"%.*s\"%s", (int)name.text.size, (const char *)name.text.data,
            i + 1 < count ? ",\n" : "\n]");
    }
    (void)fputc('\n', stdout);
    return OK;
}

static err_t
run_json(struct call *call)
{
    TRY_RETURN(begin_request(call));
    if (call->count > 0)
        TRY_RETURN(add_plain(call, 0));
    if (call->count > 1)
        TRY_RETURN(add_plain(call, 1));
    else if (strcmp(call->method, "resolveDeep") == 0)
        TRY_RETURN(buf_append_text(&call->run->request, " 16"));
    TRY_RETURN(ask(call->run, &call->reply));
    return is_error(call) ? OK : shellprint_value(&call->run->scratch, call->reply.text);
}

/* Hex digits and hyphens, shorter than a whole id. */
static bool
is_prefix(struct bytes id)
{
    for (size_t i = 0; i < id.size; i++)
        if (!isxdigit(id.data[i]) && id.data[i] != '-')
            return false;
    return id.size > 0 && id.size < 32;
}

/* The prefix, filled up to a whole id with one digit. */
static void
fill_up(struct bytes prefix, char digit, char id[IDS_TEXT_SIZE])
{
    char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    size_t used = 0;

    for (size_t i = 0; i < IDS_TEXT_SIZE - 1; i++) {
        if (form[i] == '-') {
            id[i] = '-';
            used += used < prefix.size && prefix.data[used] == '-';
        } else {
            id[i] = used < prefix.size ? (char)tolower(prefix.data[used++]) : digit;
        }
    }
    id[IDS_TEXT_SIZE - 1] = '\0';
}

static err_t
get_by_prefix(struct call *call, struct bytes prefix)
{
    char low[IDS_TEXT_SIZE], high[IDS_TEXT_SIZE];
    struct link_reply row = { .kind = LINK_NULL };
    int64_t count;

    fill_up(prefix, '0', low);
    fill_up(prefix, 'f', high);
    TRY_RETURN(shellrun_ask(call->run, &call->reply, "SCAN %s %s %s", call->collection, low, high));
    if (is_error(call))
        return OK;
    count = call->reply.number;
    for (int64_t i = 0; i < count; i++)
        TRY_RETURN(link_read_reply(&call->run->link, &row));
    if (count > 1)
        return refuse(call, "ambiguous ID prefix '%.*s': %jd matches", (int)prefix.size,
            (const char *)prefix.data, (intmax_t)count);
    if (count == 0) {
        (void)fputs("null\n", stdout);
        return OK;
    }
    return shellprint_only_row(&call->run->scratch, row.text);
}

static err_t
run_get(struct call *call)
{
    struct bytes id = plain(call->argument[0]);

    if (is_prefix(id))
        return get_by_prefix(call, id);
    TRY_RETURN(begin_request(call));
    TRY_RETURN(add_plain(call, 0));
    TRY_RETURN(ask(call->run, &call->reply));
    if (is_error(call))
        return OK;
    if (call->reply.kind == LINK_NULL) {
        (void)fputs("null\n", stdout);
        return OK;
    }
    return shellprint_document(&call->run->scratch, id, call->reply.text);
}

static const struct method methods[] = {
    { "createCollection", 1, 1, run_names, "CREATE COLLECTION", "Collection \"1\" created", true },
    { "dropCollection", 1, 1, run_names, "DROP COLLECTION", "Collection \"1\" dropped", true },
    { "collections", 0, 0, run_list, "LIST COLLECTIONS", NULL, true },
    { "flush", 0, 0, run_names, "FLUSH", "Flushed", true },
    { "insert", 1, 1, run_insert, "INSERT", NULL, false },
    { "get", 1, 1, run_get, "GET", NULL, false },
    { "find", 0, 1, run_find, "FIND", NULL, false },
    { "count", 0, 0, run_count, "COUNT", NULL, false },
    { "update", 2, 2, run_change, "UPDATE", "Updated", false },
    { "delete", 1, 1, run_change, "DELETE", "Deleted", false },
    { "createIndex", 2, 2, run_names, "CREATE INDEX", "Index \"1\" created on field \"2\"", false },
    { "dropIndex", 1, 1, run_names, "DROP INDEX", "Index \"1\" dropped", false },
    { "query", 2, 2, run_query, "QUERY", NULL, false },
    { "queryRange", 3, 3, run_query, "QUERYRANGE", NULL, false },
    { "indexes", 0, 0, run_list, "LIST INDEXES", NULL, false },
    { "compact", 0, 0, run_compact, "COMPACT", NULL, false },
    { "stats", 0, 0, run_json, "STATS", NULL, false },
    { "resolve", 1, 1, run_json, "RESOLVE", NULL, false },
    { "resolveDeep", 1, 2, run_json, "RESOLVE", NULL, false },
};
#define METHOD_COUNT (sizeof methods / sizeof methods[0])

static const struct method *
find_method(const struct call *call)
{
    for (size_t i = 0; i < METHOD_COUNT; i++)
        if (methods[i].of_database == (call->collection[0] == '\0') &&
            strcmp(methods[i].name, call->method) == 0)
            return &methods[i];
    return NULL;
}

/* ---- the grammar ---- */

static struct bytes
trim(struct bytes text)
{
    while (text.size > 0 && isspace(text.data[text.size - 1]))
        text.size--;
    while (text.size > 0 && isspace(text.data[0])) {
        text.data++;
        text.size--;
    }
    return text;
}

static bool
copy_name(char *room, size_t room_size, struct bytes name)
{
    if (name.size >= room_size || memchr(name.data, '\0', name.size) != NULL)
        return false;
    memcpy(room, name.data, name.size);
    room[name.size] = '\0';
    return true;
}

/* "db.users.find(…)" taken apart.  False: it is no such thing. */
static bool
take_apart(struct bytes command, struct call *call)
{
    const uint8_t *open = memchr(command.data, '(', command.size);
    struct bytes path, inside;
    size_t dot;

    if (command.size < 3 || memcmp(command.data, "db.", 3) != 0 || open == NULL ||
        command.data[command.size - 1] != ')')
        return false;
    path = (struct bytes){ command.data + 3, (size_t)(open - command.data) - 3 };
    for (dot = path.size; dot > 0 && path.data[dot - 1] != '.'; dot--)
        ;
    if (!copy_name(call->collection, sizeof call->collection,
            (struct bytes){ path.data, dot > 0 ? dot - 1 : 0 }) ||
        !copy_name(call->method, sizeof call->method,
            trim((struct bytes){ path.data + dot, path.size - dot })))
        return false;
    inside = (struct bytes){ open + 1, command.size - (size_t)(open - command.data) - 2 };
    while (trim(inside).size > 0) {
        size_t cut = relaxed_cut(inside, ',');

        if (call->count == ARGUMENTS_MAX)
            return false;
        call->argument[call->count++] = trim((struct bytes){ inside.data, cut });
        cut += cut < inside.size;
        inside = (struct bytes){ inside.data + cut, inside.size - cut };
    }
    return true;
}

static err_t
run_call(struct shellrun *run, struct bytes command, bool *good)
{
    struct call call = { .run = run, .good = true };
    err_t err;

    if (!take_apart(command, &call) || (call.row = find_method(&call)) == NULL) {
        (void)printf(
            "Error: unknown method: %.*s\n", (int)command.size, (const char *)command.data);
        *good = false;
        return OK;
    }
    if (run->database[0] == '\0') {
        (void)puts("No database selected. Use: use <database_name>");
        *good = false;
        return OK;
    }
    if (call.count < call.row->least || call.count > call.row->most) {
        *good = false;
        return refuse(
            &call, "%s takes %u to %u arguments", call.row->name, call.row->least, call.row->most);
    }
    err = call.row->run(&call);
    *good = call.good && err == OK;
    return err;
}

static err_t
use(struct shellrun *run, struct bytes name, bool *good)
{
    struct call call = { .run = run, .good = true };

    if (name.size == 0 || name.size >= sizeof run->database) {
        *good = false;
        return refuse(&call, "use wants the name of a database");
    }
    TRY_RETURN(shellrun_ask(run, &call.reply, "USE %.*s", (int)name.size, (const char *)name.data));
    *good = !is_error(&call);
    if (*good) {
        (void)copy_name(run->database, sizeof run->database, name);
        (void)printf("Switched to database \"%s\"\n", run->database);
    }
    return OK;
}

err_t
shellrun_command(struct shellrun *run, struct bytes command, bool *good)
{
    size_t word = 0;

    *good = true;
    command = trim(command);
    while (word < command.size && !isspace(command.data[word]))
        word++;
    if (command.size == 0)
        return OK;
    if (bytes_is(command, "exit") || bytes_is(command, "quit"))
        run->leaving = true;
    else if (bytes_is(command, "clear"))
        (void)fputs("\033[H\033[2J", stdout);
    else if (bytes_is((struct bytes){ command.data, word }, "help"))
        *good = shellprint_help(trim((struct bytes){ command.data + word, command.size - word }));
    else if (bytes_is((struct bytes){ command.data, word }, "use"))
        return use(run, trim((struct bytes){ command.data + word, command.size - word }), good);
    else if (command.size >= 3 && memcmp(command.data, "db.", 3) == 0)
        return run_call(run, command, good);
    else {
        (void)printf(
            "Error: unknown command: %.*s\n", (int)command.size, (const char *)command.data);
        *good = false;
    }
    return OK;
}
