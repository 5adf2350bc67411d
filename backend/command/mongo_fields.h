/*
 * mongo_fields.h - the fields of a command: a table says which there may be and where they go.
 *
 *     static const struct mongo_field fields[] = {
 *         MONGO_FIELD("filter", MONGO_DOCUMENT, struct args, filter),
 *         …
 *         { NULL },
 *     };
 *     TRY(mongo_fields_parse(request, fields, &args));
 *
 * Fields that every command may have (lsid, writeConcern, maxTimeMS …) are known here and end up in
 * the request.  Any other field is error 40415, as MongoDB says it.
 */
#ifndef BACKEND_COMMAND_MONGO_FIELDS_H
#define BACKEND_COMMAND_MONGO_FIELDS_H

#include "backend/command/mongo.h"

enum mongo_kind {
    MONGO_IGNORED,  /* accepted, without meaning here */
    MONGO_DOCUMENT, /* struct bytes */
    MONGO_ARRAY,    /* struct bytes */
    MONGO_BOOLEAN,  /* bool; numbers are taken for their truth */
    MONGO_COUNT,    /* int64_t, whole, at least 0 */
    MONGO_NUMBER,   /* int64_t, whole */
    MONGO_TEXT,     /* struct bytes */
    MONGO_ANY,      /* struct bsonvalue; type BSONTYPE_EOO where it is missing */
    MONGO_REFUSED   /* not supported: an error unless false, null or empty */
};

struct mongo_field {
    const char *name; /* NULL: the end */
    uint16_t size;    /* of the name */
    uint16_t offset;
    enum mongo_kind kind;
};
#define MONGO_FIELD(name, kind, type, member)                                      \
    {                                                                              \
        name, (uint16_t)(sizeof(name) - 1), (uint16_t)offsetof(type, member), kind \
    }
#define MONGO_FIELD_NAMED(name, kind)               \
    {                                               \
        name, (uint16_t)(sizeof(name) - 1), 0, kind \
    }

/* The command's body; sets the op's deadline.  `fields` NULL: it has none of its own.  `into` has
   been given its defaults. */
err_t mongo_fields_parse(
    struct mongo_request *request, const struct mongo_field *fields, void *into) MUST_CHECK;
/* A command's body without regard to fields that are not known: for hello and its like, which must
   take whatever clients will send. */
err_t mongo_fields_parse_loosely(
    struct mongo_request *request, const struct mongo_field *fields, void *into) MUST_CHECK;
/* A document inside a command (an update statement …); `what`: "update.updates". */
err_t mongo_fields_parse_part(struct bytes document, const char *what,
    const struct mongo_field *fields, void *into) MUST_CHECK;

/* The field `cursor` of a listing, which comes in one batch: is it {batchSize: a number}?  `cursor`
   may be missing (size 0). */
err_t mongo_fields_cursor(struct mongo_request *request, struct bytes cursor) MUST_CHECK;

/* {"": value} of a hint, in the op's arena; size 0 for a missing one. */
err_t mongo_fields_hint(
    struct op *op, const struct bsonvalue *hint, struct bytes *wrapped) MUST_CHECK;

#endif
