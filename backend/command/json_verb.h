/*
 * json_verb.h - the commands of the JSON-lines protocol, one function each.
 *
 * Each appends the JSON of `data` to call->out, or fails; then whoever called it takes back what
 * was appended, and says json_error_text.
 */
#ifndef BACKEND_COMMAND_JSON_VERB_H
#define BACKEND_COMMAND_JSON_VERB_H

#include "backend/command/json_call.h"

typedef err_t json_verb_run(struct json_call *call);

/* Answer a request of a caller who may ask it. */
err_t json_verb_answer(struct json_call *call) MUST_CHECK;

/* May it be asked by whoever has not said who he is (4.3)? */
bool json_verb_is_open(enum jsonline_verb verb);

#endif
