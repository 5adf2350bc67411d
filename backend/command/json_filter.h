/*
 * json_filter.h - filters of the JSON-lines language as the engine takes them (section 6).
 *
 * The engine's filters are MongoDB's.  Here: names of types, a whole filter negated by $not, UUIDs
 * as keys in both forms, members in bytewise order, and what is wrong in this protocol's words.
 */
#ifndef BACKEND_COMMAND_JSON_FILTER_H
#define BACKEND_COMMAND_JSON_FILTER_H

#include "backend/command/json_call.h"

/* The member `name` as a filter, in the op's arena; also kept in call->filter.  Null: everything,
   if `reads`, else an error like all that are no objects (J12). */
err_t json_filter_of(
    struct json_call *call, const char *name, bool reads, struct bytes *filter) MUST_CHECK;

/* Does the filter want as _id what a UUID's text means?  Then its two forms. */
bool json_filter_uuid(struct bytes filter, struct bsonvalue *text, struct bsonvalue *binary);

/* A filter that is nothing else, as two equalities on _id, for two look-ups by key: they beat one
   search for either.  *count: 2, or 1: the filter itself. */
err_t json_filter_split(
    struct json_call *call, struct bytes filter, struct bytes each[2], unsigned *count) MUST_CHECK;

#endif
