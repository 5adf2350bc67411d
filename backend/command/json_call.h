/*
 * json_call.h - one request of the JSON-lines language while it is being answered.
 *
 * What all its verbs share: members of the command in the types they need, names and what is
 * missing under them, errors in the protocol's words.  Belongs to one process; lives as long as
 * the request.  Memory: the op's arena.
 */
#ifndef BACKEND_COMMAND_JSON_CALL_H
#define BACKEND_COMMAND_JSON_CALL_H

#include "backend/command/verb.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/doc/bsonvalue.h"
#include "base/wire/jsonline.h"

/* Bytes of a reply for what is told of work that was done: there is room before it is. */
#define JSON_CALL_TAIL 1024

struct json_call {
    struct op *op;
    const struct config *config;
    const char *tenant;
    uint64_t owner; /* the session's key for its cursors */
    enum jsonline_verb verb;
    struct bytes command; /* BSON; members checked by jsonline */
    struct buf *out;      /* the JSON of `data` goes here */
    struct buf *scratch;  /* of the session, for documents being changed; the verb's alone */
    struct verb_ns ns;    /* what it concerns, for errors; NULL parts: it names none */
    struct bytes filter;  /* as the engine got it; size 0: none.  To tell its errors apart */
    bool keeps_cursor;    /* a cursor was left open for later requests */
    bool worded;          /* the error's message is the text that the client gets */
};

/* An error whose message is the whole text for the client. */
#define json_call_say(call, code, ...) \
    ((call)->worded = true, err_note((code), __FILE__, __LINE__, __VA_ARGS__), (code))

/* A member; false: absent or null. */
bool json_call_member(const struct json_call *call, const char *name, struct bsonvalue *value);
bool json_call_flag(const struct json_call *call, const char *name, bool otherwise);
int64_t json_call_number(const struct json_call *call, const char *name, int64_t otherwise);

/* Refuse a member that is given. Errors: "Query execution error: <name> is not offered yet". */
err_t json_call_refuse(struct json_call *call, const char *name) MUST_CHECK;

/* A name as a C string.  *name NULL: nothing can have this name (empty, too long, a NUL in it). */
err_t json_call_name(struct json_call *call, const char *member, const char **name) MUST_CHECK;

/* May something be created under this name (3.7)?  Errors: "Invalid name: <reason>". */
err_t json_call_check_database(struct json_call *call, struct bytes name) MUST_CHECK;
err_t json_call_check_collection(
    struct json_call *call, struct bytes database, struct bytes name) MUST_CHECK;

/* Fill call->ns from the members `database` and `collection`, and look (5.3). */
enum json_call_access {
    JSON_CALL_READ,   /* *there false: the database is missing; "Collection not found: C" */
    JSON_CALL_CHANGE, /* also "Database not found: DB" */
    JSON_CALL_MAKE,   /* nothing need be there; the names must be good */
};
err_t json_call_resolve(
    struct json_call *call, enum json_call_access access, bool *there) MUST_CHECK;
/* The same for the database alone. */
err_t json_call_database(struct json_call *call, const char *member, bool *there) MUST_CHECK;

/* `durable`, outside a transaction. */
struct verb_write json_call_write(const struct json_call *call);

/* {"key":"value"} */
err_t json_call_put_pair(struct json_call *call, const char *key, struct bytes value) MUST_CHECK;

#endif
