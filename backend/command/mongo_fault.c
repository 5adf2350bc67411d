/*
 * mongo_fault.c - faultPoint: arm fault points of a running server, and read their passes.  Only in
 * a server that was built with them.
 *
 *     {faultPoint: "DATA_WRITE=eio:3:backend,WAL_SYNC=off"}   arms; base/fault.c has the form
 *     {faultPoint: ""}   answers points: {NAME: {kind, what, actions, passes, hits}}
 *     {faultPoint: "", only: "DATA_WRITE"}   the same of one point
 */
#include "backend/command/mongo_fields.h"

#ifdef GNEISS_FAULTS

#include <string.h>

#include "base/doc/bsonwalk.h"
#include "base/fault.h"

struct asked {
    struct bytes only;
};

static const struct mongo_field asked_fields[] = {
    MONGO_FIELD("only", MONGO_TEXT, struct asked, only),
    { NULL, 0, 0, MONGO_IGNORED },
};

static void
put_point(struct bsonbuild *reply, enum fault point)
{
    bsonbuild_document_begin(reply, fault_name(point));
    bsonbuild_text(reply, "kind", fault_kind(point));
    bsonbuild_text(reply, "what", fault_what(point));
    bsonbuild_text(reply, "actions", fault_actions(point));
    bsonbuild_int64(reply, "passes", (int64_t)fault_passes(point));
    bsonbuild_int64(reply, "hits", (int64_t)fault_hits(point));
    bsonbuild_document_end(reply);
}

err_t
mongo_fault_point(struct mongo_request *request, struct bsonbuild *reply)
{
    struct asked asked = { .only = { NULL, 0 } };
    const char *text;

    TRY_RETURN(mongo_fields_parse(request, asked_fields, &asked));
    if (request->value.type != BSONTYPE_STRING)
        return err_set(ERR_TYPE_MISMATCH, "faultPoint: the value must be a text");
    text = arena_string(request->op->arena, bsonvalue_string(&request->value));
    if (text == NULL)
        return ERR_MEMORY;
    if (!fault_arm(text))
        return err_set(ERR_BAD_VALUE, "could not understand the fault points '%s'", text);
    if (text[0] != '\0')
        return OK;
    bsonbuild_document_begin(reply, "points");
    for (enum fault point = FAULT_NONE + 1; point < FAULT_COUNT; point++)
        if (asked.only.size == 0 || bytes_is(asked.only, fault_name(point)))
            put_point(reply, point);
    bsonbuild_document_end(reply);
    return OK;
}

#endif
