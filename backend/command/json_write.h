/*
 * json_write.h - changing documents in the JSON-lines language.
 */
#ifndef BACKEND_COMMAND_JSON_WRITE_H
#define BACKEND_COMMAND_JSON_WRITE_H

#include "backend/command/json_verb.h"

json_verb_run json_write_insert_one, json_write_insert_many, json_write_update_one,
    json_write_update_many, json_write_replace_one, json_write_delete_one, json_write_delete_many;

#endif
