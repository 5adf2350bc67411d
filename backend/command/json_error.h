/*
 * json_error.h - the engine's errors in the words of the JSON-lines protocol (section 14).
 */
#ifndef BACKEND_COMMAND_JSON_ERROR_H
#define BACKEND_COMMAND_JSON_ERROR_H

#include "backend/command/json_call.h"

/* The text for the client of the last error, `err`.  In the op's arena, or static where that has no
   room left. */
struct bytes json_error_text(struct json_call *call, err_t err);

#endif
