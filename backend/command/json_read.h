/*
 * json_read.h - reading documents in the JSON-lines language.
 */
#ifndef BACKEND_COMMAND_JSON_READ_H
#define BACKEND_COMMAND_JSON_READ_H

#include "backend/command/json_verb.h"

json_verb_run json_read_find, json_read_find_one, json_read_count, json_read_get_more,
    json_read_kill_cursor;

/* The member `hint` as the engine takes it; size 0: none. */
err_t json_read_hint(struct json_call *call, struct bytes *hint) MUST_CHECK;

#endif
