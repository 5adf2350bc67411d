/*
 * mongo.c - finding a command and running it.
 */
#include "backend/command/mongo.h"

#include <string.h>

#include "base/doc/bsonwalk.h"
#include "base/hash.h"
#include "shmem/counters.h"

#define SLOT_COUNT 256 /* a power of two, well above the number of names */

static const struct command {
    const char *name;
    mongo_function run;
    unsigned flags;
} commands[] = {
#define MONGOCOMMAND(name, alias, function, flags, help) \
    { name, function, flags }, { alias, function, flags },
#include "base/lists/mongocommands.def"
#undef MONGOCOMMAND
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])
_Static_assert(2 * COMMAND_COUNT <= SLOT_COUNT, "lookups end soon");

/* Open addressing over the names; made at the first look-up. */
static _Thread_local uint8_t slots[SLOT_COUNT]; /* 1 + index into commands; 0: free */
static _Thread_local bool slots_made;
_Static_assert(COMMAND_COUNT < UINT8_MAX, "an index fits a slot");

static unsigned
slot_of(struct bytes name)
{
    return (unsigned)(hash_bytes(name.data, name.size, 0) & (SLOT_COUNT - 1));
}

static void
make_slots(void)
{
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        struct bytes name = bytes_of(commands[i].name);
        unsigned slot = slot_of(name);

        if (name.size == 0)
            continue;
        while (slots[slot] != 0)
            slot = (slot + 1) & (SLOT_COUNT - 1);
        slots[slot] = (uint8_t)(i + 1);
    }
    slots_made = true;
}

static const struct command *
find_command(struct bytes name)
{
    if (!slots_made)
        make_slots();
    for (unsigned slot = slot_of(name); slots[slot] != 0; slot = (slot + 1) & (SLOT_COUNT - 1)) {
        const struct command *command = &commands[slots[slot] - 1];

        if (bytes_is(name, command->name))
            return command;
    }
    return NULL;
}

static bool
first_field(const struct opmsg_request *message, struct bsonvalue *first)
{
    struct bsonwalk walk;

    return bsonwalk_begin(&walk, message->body) == OK && bsonwalk_next(&walk, first);
}

static void
append(char *text, size_t size, size_t *at, struct bytes part)
{
    size_t room = size - 1 - *at;

    if (part.size > room)
        part.size = room;
    if (part.size > 0)
        memcpy(text + *at, part.data, part.size);
    *at += part.size;
}

void
mongo_describe(const struct opmsg_request *message, char *text, size_t size)
{
    struct bsonvalue first;
    size_t at = 0;

    text[0] = '\0';
    if (!first_field(message, &first))
        return;
    append(text, size, &at, first.key);
    append(text, size, &at, bytes_of(" "));
    append(text, size, &at, message->database);
    if (first.type == BSONTYPE_STRING) {
        append(text, size, &at, bytes_of("."));
        append(text, size, &at, bsonvalue_string(&first));
    }
    text[at] = '\0';
}

/* ---- names of collections ---- */

static err_t
refuse_name(const struct mongo_request *request, struct bytes name)
{
    return err_set(ERR_INVALID_NAMESPACE, "Invalid namespace specified '%s.%.*s'",
        request->ns.database, (int)name.size, (const char *)name.data);
}

static bool
begins_with(struct bytes name, const char *prefix)
{
    size_t size = strlen(prefix);

    return name.size >= size && memcmp(name.data, prefix, size) == 0;
}

static err_t
set_collection(struct mongo_request *request)
{
    struct bytes name;
    bool writes = (request->flags & MONGO_WRITE) != 0;

    if (request->value.type != BSONTYPE_STRING)
        return err_set(ERR_INVALID_NAMESPACE, "collection name has invalid type %s",
            bsonvalue_type_name(request->value.type));
    name = bsonvalue_string(&request->value);
    if (name.size == 0 || memchr(name.data, '\0', name.size) != NULL || name.data[0] == '.' ||
        name.size + strlen(request->ns.database) + 1 > CATALOG_NAME_MAX)
        return refuse_name(request, name);
    if (writes && memchr(name.data, '$', name.size) != NULL)
        return refuse_name(request, name);
    if (writes && begins_with(name, "system."))
        return err_set(ERR_INVALID_NAMESPACE, "cannot write to '%s.%.*s'", request->ns.database,
            (int)name.size, (const char *)name.data);
    request->ns.collection = arena_string(request->op->arena, name);
    return request->ns.collection != NULL ? OK : ERR_MEMORY;
}

/* ---- running ---- */

static err_t
prepare(struct mongo_request *request, const struct command **command)
{
    struct bsonvalue first;

    if (!first_field(request->message, &first))
        return err_set(ERR_FAILED_TO_PARSE, "the command document is empty");
    request->name = first.key;
    request->value = first;
    *command = find_command(first.key);
    if (*command == NULL)
        return err_set(ERR_COMMAND_NOT_FOUND, "no such command: '%.*s'", (int)first.key.size,
            (const char *)first.key.data);
    request->flags = (*command)->flags;
    request->ns.database = arena_string(request->op->arena, request->message->database);
    if (request->ns.database == NULL)
        return ERR_MEMORY;
    if ((request->flags & MONGO_ADMIN) != 0 && !bytes_is(request->message->database, "admin"))
        return err_set(
            ERR_UNAUTHORIZED, "%s may only be run against the admin database.", (*command)->name);
    return (request->flags & MONGO_COLLECTION) != 0 ? set_collection(request) : OK;
}

static err_t
append_concern(const struct mongo_request *request, struct bsonbuild *reply)
{
    if (request->concern_code == 0)
        return OK;
    bsonbuild_document_begin(reply, "writeConcernError");
    bsonbuild_int32(reply, "code", request->concern_code);
    bsonbuild_text(reply, "codeName", request->concern_name);
    bsonbuild_text(reply, "errmsg", request->concern_message);
    bsonbuild_document_end(reply);
    return OK;
}

err_t
mongo_run(struct op *op, const struct mongo_client *client, const struct opmsg_request *message,
    struct buf *out)
{
    struct mongo_request request = { .op = op,
        .client = client,
        .message = message,
        .durable = true,
        .ns = { .tenant = client->config->server_default_tenant } };
    const struct command *command;
    struct bsonbuild reply;
    err_t err;

    err = prepare(&request, &command);
    if (err != OK)
        return mongo_error(out, false);
    bsonbuild_begin(&reply, out);
    err = bsonbuild_reserve(&reply, MONGO_REPLY_TAIL);
    if (err == OK)
        err = command->run(&request, &reply);
    if (err == OK && (request.flags & MONGO_WRITE) != 0)
        err = append_concern(&request, &reply);
    if (err != OK) {
        bsonbuild_cancel(&reply);
        return mongo_error(out, request.retryable);
    }
    bsonbuild_double(&reply, "ok", 1.0);
    err = bsonbuild_end(&reply, NULL);
    return err == OK ? OK : mongo_error(out, request.retryable);
}

/* ---- errors ---- */

/* Codes after which a driver may send a write with a txnNumber again. */
static bool
code_is_retryable(int code)
{
    static const int codes[] = { 6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436 };

    for (unsigned i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i] == code)
            return true;
    return false;
}

#define CODE_OVERLOADED 462

err_t
mongo_error(struct buf *out, bool retryable)
{
    struct bsonbuild reply;
    struct bytes info = err_attached();
    int code = err_last_code();

    counters_add(COUNTER_ERRORS, 1);
    bsonbuild_begin(&reply, out);
    bsonbuild_double(&reply, "ok", 0.0);
    bsonbuild_text(&reply, "errmsg", err_message());
    bsonbuild_int32(&reply, "code", code);
    bsonbuild_text(&reply, "codeName", err_last_name());
    if (info.size > 0)
        bsonbuild_elements(&reply, info);
    if (code == CODE_OVERLOADED || (retryable && code_is_retryable(code))) {
        bsonbuild_array_begin(&reply, "errorLabels");
        if (code == CODE_OVERLOADED) {
            bsonbuild_text(&reply, NULL, "SystemOverloadedError");
            bsonbuild_text(&reply, NULL, "RetryableError");
        } else {
            bsonbuild_text(&reply, NULL, "RetryableWriteError");
        }
        bsonbuild_array_end(&reply);
    }
    return bsonbuild_end(&reply, NULL);
}
