/*
 * mongo_fields.c - the fields of a command.
 */
#include "backend/command/mongo_fields.h"

#include <string.h>

#include "backend/command/verb_statement.h"
#include "base/clock.h"
#include "base/doc/bsonwalk.h"
#include "base/panic.h"

#define UUID_SIZE 16

/* ---- fields that every command may have ---- */

static err_t
wrong_type(const char *what, const struct bsonvalue *value, const char *expected)
{
    return err_set(ERR_TYPE_MISMATCH,
        "BSON field '%s.%.*s' is the wrong type '%s', expected type '%s'", what,
        (int)value->key.size, (const char *)value->key.data, bsonvalue_type_name(value->type),
        expected);
}

static err_t
take_lsid(struct mongo_request *request, const struct bsonvalue *value)
{
    struct bsonvalue id;
    uint8_t subtype;

    if (value->type != BSONTYPE_DOCUMENT)
        return wrong_type("lsid", value, "object");
    if (bsonwalk_get(value->raw, "id", &id) && id.type == BSONTYPE_BINARY) {
        struct bytes uuid = bsonvalue_binary(&id, &subtype);

        if (subtype == BSONSUBTYPE_UUID && uuid.size == UUID_SIZE) {
            request->session = bsonvalue_load64(uuid.data) ^ bsonvalue_load64(uuid.data + 8);
            request->session += request->session == 0;
            return OK;
        }
    }
    return err_set(ERR_TYPE_MISMATCH, "lsid.id must be a UUID");
}

static err_t
take_write_concern(struct mongo_request *request, const struct bsonvalue *value)
{
    struct bsonvalue field;
    int64_t nodes;

    if (value->type != BSONTYPE_DOCUMENT)
        return wrong_type("writeConcern", value, "object");
    if (bsonwalk_get(value->raw, "w", &field)) {
        if (bsonvalue_is_number(field.type)) {
            if (!bsonvalue_to_int64(&field, false, &nodes) || nodes < 0 || nodes > 50)
                return err_set(ERR_FAILED_TO_PARSE,
                    "w has to be a non-negative number and not greater than 50");
            if (nodes == 0)
                request->durable = false;
            if (nodes > 1) {
                request->concern_code = 100;
                request->concern_name = "UnsatisfiableWriteConcern";
                request->concern_message = "Not enough data-bearing nodes";
            }
        } else if (field.type != BSONTYPE_STRING && field.type != BSONTYPE_DOCUMENT &&
                   field.type != BSONTYPE_NULL) {
            return err_set(ERR_FAILED_TO_PARSE, "w has to be a number, string, or object");
        } else if (field.type == BSONTYPE_STRING &&
                   !bytes_is(bsonvalue_string(&field), "majority")) {
            request->concern_code = 79;
            request->concern_name = "UnknownReplWriteConcern";
            request->concern_message = "No such write concern mode in the replica set of one";
        }
    }
    if (bsonwalk_get(value->raw, "j", &field) && field.type != BSONTYPE_NULL) {
        if (field.type != BSONTYPE_BOOL && !bsonvalue_is_number(field.type))
            return wrong_type("writeConcern", &field, "bool");
        request->durable = bsonvalue_truth(&field);
    }
    return OK;
}

/* Times of a cluster mean nothing where one node is all there is; what is no time is refused. */
static err_t
check_read_concern(struct bytes concern)
{
    struct bsonwalk walk;
    struct bsonvalue field;

    TRY_RETURN(bsonwalk_begin(&walk, concern));
    while (bsonwalk_next(&walk, &field)) {
        bool is_time =
            bytes_is(field.key, "afterClusterTime") || bytes_is(field.key, "atClusterTime");

        if (is_time && field.type != BSONTYPE_TIMESTAMP && field.type != BSONTYPE_NULL)
            return wrong_type("readConcern", &field, "timestamp");
        if (!is_time && !bytes_is(field.key, "level") && !bytes_is(field.key, "provenance"))
            return err_set(ERR_UNKNOWN_FIELD, "BSON field 'readConcern.%s' is an unknown field.",
                (const char *)field.key.data);
    }
    return bsonwalk_end(&walk);
}

static err_t
take_read_concern(struct mongo_request *request, const struct bsonvalue *value)
{
    static const char *const levels[] = { "local", "majority", "available", "linearizable",
        "snapshot" };
    struct bsonvalue level;

    (void)request;
    if (value->type != BSONTYPE_DOCUMENT)
        return wrong_type("readConcern", value, "object");
    TRY_RETURN(check_read_concern(value->raw));
    if (!bsonwalk_get(value->raw, "level", &level) || level.type == BSONTYPE_NULL)
        return OK;
    if (level.type != BSONTYPE_STRING)
        return wrong_type("readConcern", &level, "string");
    for (unsigned i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (bytes_is(bsonvalue_string(&level), levels[i]))
            return OK;
    return err_set(ERR_BAD_VALUE, "unknown readConcern level");
}

static err_t
take_max_time(struct mongo_request *request, const struct bsonvalue *value)
{
    int64_t ms;

    if (!bsonvalue_is_number(value->type))
        return wrong_type((const char *)request->name.data, value, "long");
    if (!bsonvalue_to_int64(value, false, &ms))
        return err_set(ERR_FAILED_TO_PARSE, "maxTimeMS must be a whole number of 64 bits");
    if (ms < 0 || ms > INT32_MAX)
        return err_set(
            ERR_BAD_VALUE, "%jd value for maxTimeMS is out of range [0, 2147483647]", (intmax_t)ms);
    if (ms > 0)
        request->op->deadline_ns = clock_now_ns() + ms * 1000000;
    return OK;
}

static err_t
take_collation(struct mongo_request *request, const struct bsonvalue *value)
{
    struct bsonvalue locale;

    (void)request;
    if (value->type != BSONTYPE_DOCUMENT)
        return wrong_type("collation", value, "object");
    if (value->raw.size == BSONVALUE_DOCUMENT_SIZE_LEAST)
        return OK;
    if (bsonwalk_get(value->raw, "locale", &locale) && locale.type == BSONTYPE_STRING &&
        bytes_is(bsonvalue_string(&locale), "simple"))
        return OK;
    return err_set(ERR_COMMAND_NOT_SUPPORTED, "collations other than simple are not supported yet");
}

static err_t
take_txn_number(struct mongo_request *request, const struct bsonvalue *value)
{
    if (value->type != BSONTYPE_INT64)
        return wrong_type("txnNumber", value, "long");
    request->retryable = true;
    return OK;
}

static err_t
take_autocommit(struct mongo_request *request, const struct bsonvalue *value)
{
    err_t err;

    (void)request;
    if (bsonvalue_truth(value))
        return OK;
    err = err_set(ERR_ILLEGAL_OPERATION, "multi-document transactions are not supported yet");
    err_set_mongo(263, "OperationNotSupportedInTransaction");
    return err;
}

static err_t
take_api_version(struct mongo_request *request, const struct bsonvalue *value)
{
    err_t err;

    (void)request;
    if (value->type == BSONTYPE_STRING && bytes_is(bsonvalue_string(value), "1"))
        return OK;
    err = err_set(ERR_BAD_VALUE, "API version must be \"1\"");
    err_set_mongo(322, "APIVersionError");
    return err;
}

static err_t
take_nothing(struct mongo_request *request, const struct bsonvalue *value)
{
    (void)request;
    (void)value;
    return OK;
}

#define GENERIC(name, take)          \
    {                                \
        name, sizeof(name) - 1, take \
    }
static const struct {
    const char *name;
    size_t size;
    err_t (*take)(struct mongo_request *request, const struct bsonvalue *value);
} generic[] = {
    GENERIC("lsid", take_lsid),
    GENERIC("$db", take_nothing),
    GENERIC("$clusterTime", take_nothing),
    GENERIC("$readPreference", take_nothing),
    GENERIC("txnNumber", take_txn_number),
    GENERIC("writeConcern", take_write_concern),
    GENERIC("readConcern", take_read_concern),
    GENERIC("maxTimeMS", take_max_time),
    GENERIC("comment", take_nothing),
    GENERIC("collation", take_collation),
    GENERIC("autocommit", take_autocommit),
    GENERIC("startTransaction", take_nothing), /* autocommit comes with it */
    GENERIC("stmtId", take_nothing),
    GENERIC("stmtIds", take_nothing),
    GENERIC("let", take_nothing), /* expressions, which would use it, are refused */
    GENERIC("apiVersion", take_api_version),
    GENERIC("apiStrict", take_nothing),
    GENERIC("apiDeprecationErrors", take_nothing),
    GENERIC("maxTimeMSOpOnly", take_nothing),
    GENERIC("mayBypassWriteBlocking", take_nothing),
    GENERIC("rawData", take_nothing),
    GENERIC("$audit", take_nothing),
    GENERIC("$client", take_nothing),
    GENERIC("$configServerState", take_nothing),
    GENERIC("$oplogQueryData", take_nothing),
    GENERIC("$queryOptions", take_nothing),
    GENERIC("$replData", take_nothing),
    GENERIC("$tenant", take_nothing),
    GENERIC("backpressure", take_nothing),
    GENERIC("help", take_nothing),
};

static err_t
take_generic(struct mongo_request *request, const struct bsonvalue *value, bool *known)
{
    *known = true;
    for (unsigned i = 0; i < sizeof generic / sizeof generic[0]; i++)
        if (value->key.size == generic[i].size &&
            memcmp(value->key.data, generic[i].name, generic[i].size) == 0)
            return value->type != BSONTYPE_NULL ? generic[i].take(request, value) : OK;
    *known = false;
    return OK;
}

/* ---- a command's own fields ---- */

static err_t
take_number(
    const char *what, const struct bsonvalue *value, const struct mongo_field *field, void *at)
{
    int64_t number;

    if (!bsonvalue_is_number(value->type))
        return wrong_type(what, value, "long");
    if (!bsonvalue_to_int64(value, false, &number))
        return err_set(ERR_BAD_VALUE, "BSON field '%s.%s' must be a whole number of 64 bits", what,
            field->name);
    if (field->kind == MONGO_COUNT && number < 0) {
        err_t err = err_set(ERR_BAD_VALUE, "BSON field '%s' value must be >= 0, actual value '%jd'",
            field->name, (intmax_t)number);

        err_set_mongo(51024, NULL);
        return err;
    }
    memcpy(at, &number, sizeof number);
    return OK;
}

static err_t
take_slice(const char *what, const struct bsonvalue *value, uint8_t type, void *at)
{
    struct bytes slice;

    if (value->type != type)
        return wrong_type(what, value, bsonvalue_type_name(type));
    slice = type == BSONTYPE_STRING ? bsonvalue_string(value) : value->raw;
    memcpy(at, &slice, sizeof slice);
    return OK;
}

static bool
says_nothing(const struct bsonvalue *value)
{
    if (value->type == BSONTYPE_DOCUMENT || value->type == BSONTYPE_ARRAY)
        return value->raw.size == BSONVALUE_DOCUMENT_SIZE_LEAST;
    return !bsonvalue_truth(value);
}

static err_t
take(const char *what, const struct bsonvalue *value, const struct mongo_field *field, void *into)
{
    void *at = into != NULL ? (char *)into + field->offset : NULL;
    bool truth;

    invariant(at != NULL || field->kind == MONGO_IGNORED || field->kind == MONGO_REFUSED);
    switch (field->kind) {
    case MONGO_IGNORED:
        return OK;
    case MONGO_DOCUMENT:
        return take_slice(what, value, BSONTYPE_DOCUMENT, at);
    case MONGO_ARRAY:
        return take_slice(what, value, BSONTYPE_ARRAY, at);
    case MONGO_TEXT:
        return take_slice(what, value, BSONTYPE_STRING, at);
    case MONGO_BOOLEAN:
        if (value->type != BSONTYPE_BOOL && value->type != BSONTYPE_NULL &&
            !bsonvalue_is_number(value->type))
            return wrong_type(what, value, "bool");
        truth = bsonvalue_truth(value);
        memcpy(at, &truth, sizeof truth);
        return OK;
    case MONGO_COUNT:
    case MONGO_NUMBER:
        return take_number(what, value, field, at);
    case MONGO_ANY:
        memcpy(at, value, sizeof *value);
        return OK;
    case MONGO_REFUSED:
        break;
    }
    if (says_nothing(value))
        return OK;
    return err_set(
        ERR_COMMAND_NOT_SUPPORTED, "the field '%s.%s' is not supported yet", what, field->name);
}

static const struct mongo_field *
find_field(const struct mongo_field *fields, struct bytes name)
{
    for (; fields != NULL && fields->name != NULL; fields++)
        if (fields->size == name.size && memcmp(fields->name, name.data, name.size) == 0)
            return fields;
    return NULL;
}

static err_t
unknown(const char *what, struct bytes name)
{
    return err_set(ERR_UNKNOWN_FIELD, "BSON field '%s.%.*s' is an unknown field.", what,
        (int)name.size, (const char *)name.data);
}

static err_t
parse(struct mongo_request *request, const struct mongo_field *fields, void *into, bool strict)
{
    const char *what = (const char *)request->name.data; /* a key: it has its NUL */
    struct bsonwalk walk;
    struct bsonvalue value;

    TRY_RETURN(bsonwalk_begin(&walk, request->message->body));
    (void)bsonwalk_next(&walk, &value); /* the command itself */
    while (bsonwalk_next(&walk, &value)) {
        const struct mongo_field *field = find_field(fields, value.key);
        bool known = true;

        if (field != NULL && (value.type != BSONTYPE_NULL || field->kind == MONGO_ANY))
            TRY_RETURN(take(what, &value, field, into));
        else if (field == NULL)
            TRY_RETURN(take_generic(request, &value, &known));
        if (!known && strict)
            return unknown(what, value.key);
    }
    return bsonwalk_end(&walk);
}

err_t
mongo_fields_parse(struct mongo_request *request, const struct mongo_field *fields, void *into)
{
    return parse(request, fields, into, true);
}

err_t
mongo_fields_parse_loosely(
    struct mongo_request *request, const struct mongo_field *fields, void *into)
{
    return parse(request, fields, into, false);
}

err_t
mongo_fields_parse_part(
    struct bytes document, const char *what, const struct mongo_field *fields, void *into)
{
    struct bsonwalk walk;
    struct bsonvalue value;

    TRY_RETURN(bsonwalk_begin(&walk, document));
    while (bsonwalk_next(&walk, &value)) {
        const struct mongo_field *field = find_field(fields, value.key);

        if (field != NULL)
            TRY_RETURN(take(what, &value, field, into));
        else if (bytes_is(value.key, "collation"))
            TRY_RETURN(take_collation(NULL, &value));
        else
            return unknown(what, value.key);
    }
    return bsonwalk_end(&walk);
}

struct listing {
    int64_t batch;
};

static const struct mongo_field listing_fields[] = {
    MONGO_FIELD("batchSize", MONGO_COUNT, struct listing, batch),
    { NULL, 0, 0, MONGO_IGNORED },
};

err_t
mongo_fields_cursor(struct mongo_request *request, struct bytes cursor)
{
    struct listing listing = { .batch = 0 };
    const char *what = (const char *)request->name.data;
    struct bsonvalue batch;

    if (cursor.size == 0)
        return OK;
    if (bsonwalk_get(cursor, "batchSize", &batch) && bsonvalue_is_number(batch.type) &&
        bsonvalue_to_int64(&batch, true, &listing.batch) && listing.batch < 0)
        return err_set(ERR_BAD_VALUE, "BSON field '%s.cursor.batchSize' value must be >= 0", what);
    return mongo_fields_parse_part(cursor, what, listing_fields, &listing);
}

err_t
mongo_fields_hint(struct op *op, const struct bsonvalue *hint, struct bytes *wrapped)
{
    *wrapped = (struct bytes){ NULL, 0 };
    if (hint->type == BSONTYPE_EOO ||
        (hint->type == BSONTYPE_DOCUMENT && hint->raw.size == BSONVALUE_DOCUMENT_SIZE_LEAST))
        return OK;
    if (hint->type != BSONTYPE_STRING && hint->type != BSONTYPE_DOCUMENT)
        return err_set(ERR_FAILED_TO_PARSE, "Hint must be a string or an object");
    return verb_statement_wrap(op, hint, wrapped);
}
