/*
 * json_admin.h - what there is and how the server is, in the JSON-lines language.
 */
#ifndef BACKEND_COMMAND_JSON_ADMIN_H
#define BACKEND_COMMAND_JSON_ADMIN_H

#include "backend/command/json_verb.h"

json_verb_run json_admin_ping, json_admin_server_status, json_admin_metrics;
json_verb_run json_admin_create_database, json_admin_drop_database, json_admin_list_databases;
json_verb_run json_admin_create_collection, json_admin_drop_collection, json_admin_list_collections;
json_verb_run json_admin_database_stats, json_admin_compact;

#endif
