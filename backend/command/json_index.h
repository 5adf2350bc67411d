/*
 * json_index.h - indexes in the JSON-lines language (section 8).
 */
#ifndef BACKEND_COMMAND_JSON_INDEX_H
#define BACKEND_COMMAND_JSON_INDEX_H

#include "backend/command/json_verb.h"

json_verb_run json_index_create, json_index_drop, json_index_list;

#endif
