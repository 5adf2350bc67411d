/*
 * json_verb.c - the commands of the JSON-lines protocol, one table.
 */
#include "backend/command/json_verb.h"

#include "backend/command/json_admin.h"
#include "backend/command/json_index.h"
#include "backend/command/json_read.h"
#include "backend/command/json_write.h"
#include "base/clock.h"
#include "shmem/interrupt.h"

#define MAX_TIME_MS_MOST ((int64_t)INT32_MAX)

/* A type without a row is known, but not offered. */
static json_verb_run *const verbs[JSONLINE_VERB_COUNT] = {
    [JSONLINE_PING] = json_admin_ping,
    [JSONLINE_SERVER_STATUS] = json_admin_server_status,
    [JSONLINE_METRICS] = json_admin_metrics,
    [JSONLINE_CREATE_DATABASE] = json_admin_create_database,
    [JSONLINE_DROP_DATABASE] = json_admin_drop_database,
    [JSONLINE_LIST_DATABASES] = json_admin_list_databases,
    [JSONLINE_DATABASE_STATS] = json_admin_database_stats,
    [JSONLINE_CREATE_COLLECTION] = json_admin_create_collection,
    [JSONLINE_DROP_COLLECTION] = json_admin_drop_collection,
    [JSONLINE_LIST_COLLECTIONS] = json_admin_list_collections,
    [JSONLINE_COMPACT] = json_admin_compact,
    [JSONLINE_CREATE_INDEX] = json_index_create,
    [JSONLINE_DROP_INDEX] = json_index_drop,
    [JSONLINE_LIST_INDEXES] = json_index_list,
    [JSONLINE_INSERT_ONE] = json_write_insert_one,
    [JSONLINE_INSERT_MANY] = json_write_insert_many,
    [JSONLINE_UPDATE_ONE] = json_write_update_one,
    [JSONLINE_UPDATE_MANY] = json_write_update_many,
    [JSONLINE_REPLACE_ONE] = json_write_replace_one,
    [JSONLINE_DELETE_ONE] = json_write_delete_one,
    [JSONLINE_DELETE_MANY] = json_write_delete_many,
    [JSONLINE_FIND] = json_read_find,
    [JSONLINE_FIND_ONE] = json_read_find_one,
    [JSONLINE_COUNT] = json_read_count,
    [JSONLINE_GET_MORE] = json_read_get_more,
    [JSONLINE_KILL_CURSOR] = json_read_kill_cursor,
};

bool
json_verb_is_open(enum jsonline_verb verb)
{
    return verb == JSONLINE_PING || verb == JSONLINE_AUTHENTICATE || verb == JSONLINE_REFRESH_TOKEN;
}

/* No transaction has been begun, so nobody's id is known. */
static err_t
refuse_txn(struct json_call *call)
{
    struct bsonvalue value;
    struct bytes id;

    if (!json_call_member(call, "txn_id", &value))
        return OK;
    id = bsonvalue_string(&value);
    return json_call_say(call, ERR_NO_SUCH_TXN, "Transaction aborted: Txn %.*s not found",
        (int)id.size, (const char *)id.data);
}

err_t
json_verb_answer(struct json_call *call)
{
    json_verb_run *run = verbs[call->verb];
    int64_t max_time_ms = json_call_number(call, "max_time_ms", 0);

    if (run == NULL)
        return json_call_say(call, ERR_COMMAND_NOT_SUPPORTED,
            "Query execution error: %s is not offered yet", jsonline_type(call->verb));
    TRY_RETURN(refuse_txn(call));
    if (max_time_ms > MAX_TIME_MS_MOST)
        max_time_ms = MAX_TIME_MS_MOST;
    if (max_time_ms > 0)
        call->op->deadline_ns = clock_now_ns() + max_time_ms * 1000000;
    TRY_RETURN(interrupt_check(call->op));
    TRY_RETURN(buf_reserve(call->out, JSON_CALL_TAIL));
    return run(call);
}
