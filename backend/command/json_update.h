/*
 * json_update.h - updates of the JSON-lines language as the engine takes them (6.5), and _metadata
 * in step with what they change (3.3).
 */
#ifndef BACKEND_COMMAND_JSON_UPDATE_H
#define BACKEND_COMMAND_JSON_UPDATE_H

#include "backend/command/json_call.h"

/* The member `update` as operators, in the op's arena. */
err_t json_update_of(struct json_call *call, struct bytes *update) MUST_CHECK;
/* The member `document` as a replacement, in the op's arena. */
err_t json_update_replacement(struct json_call *call, struct bytes *update) MUST_CHECK;

/* Whoever keeps _metadata in step: `amend` and its context, for struct verb_update. */
struct json_update_keeper {
    struct json_call *call;
    struct bytes filter, update;
    int64_t now_ms;
};
err_t json_update_amend(void *keeper, struct bytes before, struct bytes *after) MUST_CHECK;

#endif
