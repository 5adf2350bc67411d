/*
 * json_error.c - the engine's errors in the words of the JSON-lines protocol.
 */
#include "backend/command/json_error.h"

#include "backend/command/json_document.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/jsonprint.h"

/* What stands before the engine's message. */
static const struct {
    err_t err;
    const char *prefix;
} prefixes[] = {
    { ERR_FAILED_TO_PARSE, "Query parse error" },
    { ERR_VALIDATION, "Document validation failed" },
    { ERR_INVALID_ID_FIELD, "Document validation failed" },
    { ERR_TOO_LARGE, "Document validation failed" },
    { ERR_DOLLAR_PREFIX, "Document validation failed" },
    { ERR_EMPTY_FIELD_NAME, "Document validation failed" },
    { ERR_INVALID_BSON, "Invalid BSON value" },
    { ERR_NAMESPACE_NOT_FOUND, "Collection not found" },
    { ERR_DATABASE_NOT_FOUND, "Database not found" },
    { ERR_NAMESPACE_EXISTS, "Collection already exists" },
    { ERR_INVALID_NAMESPACE, "Invalid name" },
    { ERR_INDEX_NOT_FOUND, "Index not found" },
    { ERR_CANNOT_CREATE_INDEX, "Index build failed" },
    { ERR_WRITE_CONFLICT, "Transaction aborted" },
    { ERR_DEADLOCK, "Transaction aborted" },
    { ERR_AUTHENTICATION, "Authentication failed" },
    { ERR_USER_NOT_FOUND, "User not found" },
    { ERR_USER_EXISTS, "User already exists" },
    { ERR_MAX_TIME, "Operation timed out" },
    { ERR_DISK_FULL, "Storage error" },
    { ERR_CORRUPT, "Storage error" },
    { ERR_IO, "I/O error" },
    { ERR_SHUTDOWN, "Network error" },
    { ERR_TERMINATED, "Network error" },
    { ERR_PROTOCOL, "Protocol error" },
    { ERR_INTERNAL, "Internal error" },
};

static const char *
prefix_of(err_t err)
{
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (prefixes[i].err == err)
            return prefixes[i].prefix;
    return "Query execution error";
}

/* The type that a message of the engine ends with ("long", "{field: long}"), as this protocol names
   it. */
static struct bytes
type_after(const char *text)
{
    static const struct {
        const char *engine, *ours;
    } names[] = { { "bool", "boolean" }, { "int", "int32" }, { "long", "int64" },
        { "object", "document" }, { "binData", "binary" }, { "date", "datetime" } };
    const char *inner = text[0] == '{' ? strstr(text, ": ") : NULL;
    struct bytes word = bytes_of(inner != NULL ? inner + 2 : text);

    word.size = strspn(
        (const char *)word.data, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (bytes_is(word, names[i].engine))
            return bytes_of(names[i].ours);
    return word;
}

/* Operators that the engine does not know, and values that an operator cannot work on, have texts
   of their own.  NULL: this is neither. */
static const char *
find_text(struct json_call *call, const char *message)
{
    static const struct {
        const char *sign, *expected; /* NULL: an operator follows */
    } signs[] = { { "unknown operator: ", NULL }, { "unknown top level operator: ", NULL },
        { "Unknown modifier: ", NULL }, { "of non-numeric type ", "number" },
        { "non-numeric argument: ", "number" }, { "must be an array but is of type ", "array" } };

    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        const char *found = strstr(message, signs[i].sign);
        struct bytes type;

        if (found == NULL)
            continue;
        found += strlen(signs[i].sign);
        if (signs[i].expected == NULL)
            return arena_printf(
                call->op->arena, "Invalid operator: %.*s", (int)strcspn(found, " .,\n"), found);
        type = type_after(found);
        return arena_printf(call->op->arena, "Type mismatch in query: expected %s, got %.*s",
            signs[i].expected, (int)type.size, (const char *)type.data);
    }
    return NULL;
}

/* {"a":1,"b":"x"} of the document that goes with a duplicate key. */
static err_t
print_key(struct json_call *call, struct buf *text)
{
    struct bsonvalue keys, value;
    struct bsonwalk walk;
    bool first = true;

    TRY_RETURN(buf_printf(text, "Duplicate key: collection=%s.%s, key={",
        call->ns.database != NULL ? call->ns.database : "",
        call->ns.collection != NULL ? call->ns.collection : ""));
    if (bsonwalk_get(err_attached(), "keyValue", &keys) && keys.type == BSONTYPE_DOCUMENT) {
        TRY_RETURN(bsonwalk_begin(&walk, keys.raw));
        while (bsonwalk_next(&walk, &value)) {
            TRY_RETURN(buf_append_text(text, first ? "" : ","));
            TRY_RETURN(jsonprint_string(text, value.key));
            TRY_RETURN(buf_append_byte(text, ':'));
            TRY_RETURN(json_document_print_id(text, &value));
            first = false;
        }
    }
    return buf_append_byte(text, '}');
}

static struct bytes
duplicate_key(struct json_call *call)
{
    struct buf *text = call->scratch;
    uint8_t *copy;

    buf_clear(text);
    if (print_key(call, text) != OK)
        return bytes_of("Duplicate key");
    copy = arena_copy(call->op->arena, text->data, text->size);
    return copy != NULL ? (struct bytes){ copy, text->size } : bytes_of("Duplicate key");
}

/* Was it the filter that the engine could not read? */
static bool
is_filter_bad(struct json_call *call)
{
    const struct filter *filter;

    return call->filter.size > 0 && filter_compile(call->op->arena, call->filter, &filter) != OK;
}

struct bytes
json_error_text(struct json_call *call, err_t err)
{
    const char *message = arena_string(call->op->arena, bytes_of(err_message()));
    const char *text = message;

    if (message == NULL)
        return bytes_of("Query execution error: out of memory");
    if (err == ERR_DUPLICATE_KEY && !call->worded)
        return duplicate_key(call);
    if (!call->worded) {
        text = find_text(call, message);
        if (text == NULL && err == ERR_BAD_VALUE && is_filter_bad(call))
            err = ERR_FAILED_TO_PARSE;
        if (text == NULL)
            text = arena_printf(call->op->arena, "%s: %s", prefix_of(err), message);
    }
    return text != NULL ? bytes_of(text) : bytes_of("Query execution error: out of memory");
}
