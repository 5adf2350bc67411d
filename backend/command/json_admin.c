/*
 * json_admin.c - what there is and how the server is, in the JSON-lines language.
 */
#include "backend/command/json_admin.h"

#include <inttypes.h>
#include <stdlib.h>

#include "backend/command/uptime.h"
#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/jsonprint.h"
#include "base/version.h"
#include "shmem/counters.h"
#include "shmem/proc.h"
#include "storage/collection/vacuum.h"
#include "wal/wal_insert.h"

/* A member as text; "" if it is absent. */
static struct bytes
text_of(const struct json_call *call, const char *member)
{
    struct bsonvalue value;

    return json_call_member(call, member, &value) ? bsonvalue_string(&value) : bytes_of("");
}

/* ---------------------------------------------------------------- the server */

err_t
json_admin_ping(struct json_call *call)
{
    return buf_append_text(call->out, "{\"pong\":true}");
}

/* Sessions at this moment. */
static uint64_t
count_sessions(void)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < proc_high_water(); i++) {
        const struct proc *proc = proc_at(i);

        if (atomic_load_explicit(&proc->kind, memory_order_relaxed) == PROC_BACKEND &&
            atomic_load_explicit(&proc->session_since_ns, memory_order_relaxed) != 0)
            count++;
    }
    return count;
}

/* The 17 that the protocol knows (11.6), in bytewise order of their names. */
static err_t
put_metrics(struct json_call *call)
{
    static const enum counter shown[] = { COUNTER_POOL_HITS, COUNTER_POOL_MISSES,
        COUNTER_BYTES_READ, COUNTER_BYTES_WRITTEN, COUNTER_COLLECTION_SCANS, COUNTER_CONNECTIONS,
        COUNTER_DELETES, COUNTER_ERRORS, COUNTER_INDEX_LOOKUPS, COUNTER_INSERTS, COUNTER_QUERIES,
        COUNTER_TXN_ABORTED, COUNTER_TXN_COMMITTED, COUNTER_TXN_STARTED, COUNTER_UPDATES,
        COUNTER_WAL_RECORDS };

    TRY_RETURN(buf_printf(call->out, "{\"active_connections\":%" PRIu64, count_sessions()));
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
        TRY_RETURN(buf_printf(
            call->out, ",\"%s\":%" PRIu64, counters_key(shown[i]), counters_total(shown[i])));
    return buf_append_byte(call->out, '}');
}

err_t
json_admin_metrics(struct json_call *call)
{
    return put_metrics(call);
}

/* ["a","b"] */
static err_t
put_names(struct json_call *call, const char *const *names, size_t count)
{
    TRY_RETURN(buf_append_byte(call->out, '['));
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            TRY_RETURN(buf_append_byte(call->out, ','));
        TRY_RETURN(jsonprint_string(call->out, bytes_of(names[i])));
    }
    return buf_append_byte(call->out, ']');
}

/* "db.collection" of all databases.  Sorted: a database's name has no '.', but letters below it. */
static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static err_t
add_namespaces(struct json_call *call, const char *database, const char ***all, size_t *count,
    size_t *capacity)
{
    const char *const *names;
    size_t more;

    TRY_RETURN(verb_list_collections(call->op, call->tenant, database, &names, &more));
    if (*count + more > *capacity) {
        size_t larger = 2 * (*count + more);
        const char **grown = arena_alloc(call->op->arena, larger * sizeof *grown);

        if (grown == NULL)
            return ERR_MEMORY;
        if (*count > 0)
            memcpy(grown, *all, *count * sizeof *grown);
        *all = grown;
        *capacity = larger;
    }
    for (size_t i = 0; i < more; i++) {
        (*all)[*count] = arena_printf(call->op->arena, "%s.%s", database, names[i]);
        if ((*all)[(*count)++] == NULL)
            return ERR_MEMORY;
    }
    return OK;
}

static err_t
put_namespaces(struct json_call *call, const char *const *databases, size_t count)
{
    const char **all = NULL;
    size_t found = 0, capacity = 0;

    for (size_t i = 0; i < count; i++)
        TRY_RETURN(add_namespaces(call, databases[i], &all, &found, &capacity));
    if (found > 0)
        qsort(all, found, sizeof all[0], compare_names);
    return put_names(call, all, found);
}

err_t
json_admin_server_status(struct json_call *call)
{
    const char *const *databases;
    size_t count;

    TRY_RETURN(verb_list_databases(call->op, call->tenant, &databases, &count));
    TRY_RETURN(buf_append_text(call->out, "{\"collections\":"));
    TRY_RETURN(put_namespaces(call, databases, count));
    TRY_RETURN(buf_append_text(call->out, ",\"databases\":"));
    TRY_RETURN(put_names(call, databases, count));
    TRY_RETURN(buf_append_text(call->out, ",\"metrics\":"));
    TRY_RETURN(put_metrics(call));
    return buf_printf(call->out,
        ",\"status\":\"running\",\"uptime_secs\":%" PRId64 ",\"version\":\"" VERSION_TEXT
        "\",\"wal_lsn\":%" PRIu64 "}",
        uptime_secs(), (uint64_t)wal_insert_position());
}

/* ---------------------------------------------------------------- databases */

err_t
json_admin_create_database(struct json_call *call)
{
    struct bytes name = text_of(call, "name");
    const char *text;
    err_t err;

    TRY_RETURN(json_call_check_database(call, name));
    TRY_RETURN(json_call_name(call, "name", &text));
    err = verb_create_database(call->op, call->tenant, text);
    if (err == ERR_NAMESPACE_EXISTS)
        return json_call_say(call, err, "Database already exists: %s", text);
    TRY_RETURN(err);
    return json_call_put_pair(call, "created", name);
}

err_t
json_admin_drop_database(struct json_call *call)
{
    const char *name;
    bool found;

    TRY_RETURN(json_call_name(call, "name", &name));
    if (name != NULL)
        TRY_RETURN(verb_drop_database(call->op, call->tenant, name, &found));
    return json_call_put_pair(call, "dropped", text_of(call, "name"));
}

err_t
json_admin_list_databases(struct json_call *call)
{
    const char *const *names;
    size_t count;

    TRY_RETURN(verb_list_databases(call->op, call->tenant, &names, &count));
    TRY_RETURN(buf_append_text(call->out, "{\"databases\":"));
    TRY_RETURN(put_names(call, names, count));
    return buf_append_byte(call->out, '}');
}

/* ---------------------------------------------------------------- collections */

err_t
json_admin_create_collection(struct json_call *call)
{
    struct bytes name = text_of(call, "name");
    err_t err;

    if (json_call_flag(call, "capped", false))
        TRY_RETURN(json_call_refuse(call, "capped"));
    TRY_RETURN(json_call_refuse(call, "max_documents"));
    TRY_RETURN(json_call_refuse(call, "max_bytes"));
    TRY_RETURN(json_call_refuse(call, "schema"));
    TRY_RETURN(json_call_check_collection(call, text_of(call, "database"), name));
    call->ns.tenant = call->tenant;
    TRY_RETURN(json_call_name(call, "database", &call->ns.database));
    TRY_RETURN(json_call_name(call, "name", &call->ns.collection));
    err = verb_create_collection(call->op, &call->ns, (struct bytes){ NULL, 0 });
    if (err == ERR_NAMESPACE_EXISTS)
        return json_call_say(call, err, "Collection already exists: %s", call->ns.collection);
    TRY_RETURN(err);
    return json_call_put_pair(call, "created", name);
}

err_t
json_admin_drop_collection(struct json_call *call)
{
    struct bytes database = text_of(call, "database"), name = text_of(call, "name");
    bool there, found = false;

    TRY_RETURN(json_call_database(call, "database", &there));
    if (!there)
        return json_call_say(call, ERR_DATABASE_NOT_FOUND, "Database not found: %.*s",
            (int)database.size, (const char *)database.data);
    TRY_RETURN(json_call_name(call, "name", &call->ns.collection));
    if (call->ns.collection != NULL)
        TRY_RETURN(verb_drop_collection(call->op, &call->ns, &found));
    if (!found)
        return json_call_say(call, ERR_NAMESPACE_NOT_FOUND, "Collection not found: %.*s",
            (int)name.size, (const char *)name.data);
    return json_call_put_pair(call, "dropped", name);
}

err_t
json_admin_list_collections(struct json_call *call)
{
    const char *const *names = NULL;
    const char *database;
    size_t count = 0;

    TRY_RETURN(json_call_name(call, "database", &database));
    if (database != NULL)
        TRY_RETURN(verb_list_collections(call->op, call->tenant, database, &names, &count));
    TRY_RETURN(buf_append_text(call->out, "{\"collections\":"));
    TRY_RETURN(put_names(call, names, count));
    return buf_append_byte(call->out, '}');
}

/* ---------------------------------------------------------------- statistics */

static err_t
put_collection_count(struct json_call *call, const char *name, bool first, uint64_t *total)
{
    struct run_query all = { .limit = 0 };
    const struct bytes *definitions;
    size_t indexes;
    uint64_t count;
    bool found;

    call->ns.collection = name;
    TRY_RETURN(verb_count(call->op, &call->ns, &all, NULL, &count));
    TRY_RETURN(verb_list_indexes(call->op, &call->ns, &definitions, &indexes, &found));
    *total += count;
    TRY_RETURN(buf_printf(call->out,
        "%s{\"document_count\":%" PRIu64 ",\"index_count\":%zu,\"name\":", first ? "" : ",", count,
        indexes));
    TRY_RETURN(jsonprint_string(call->out, bytes_of(name)));
    return buf_append_byte(call->out, '}');
}

err_t
json_admin_database_stats(struct json_call *call)
{
    struct bytes database = text_of(call, "database");
    const char *const *names;
    uint64_t total = 0;
    size_t count;
    bool there;

    TRY_RETURN(json_call_database(call, "database", &there));
    if (!there)
        return json_call_say(call, ERR_DATABASE_NOT_FOUND, "Database not found: %.*s",
            (int)database.size, (const char *)database.data);
    TRY_RETURN(verb_list_collections(call->op, call->tenant, call->ns.database, &names, &count));
    TRY_RETURN(buf_printf(call->out, "{\"collection_count\":%zu,\"collections\":[", count));
    for (size_t i = 0; i < count; i++)
        TRY_RETURN(put_collection_count(call, names[i], i == 0, &total));
    TRY_RETURN(buf_append_text(call->out, "],\"name\":"));
    TRY_RETURN(jsonprint_string(call->out, database));
    return buf_printf(call->out, ",\"total_documents\":%" PRIu64 "}", total);
}

err_t
json_admin_compact(struct json_call *call)
{
    const struct catalog_collection *collection = NULL;
    const struct run_query all = { .limit = 0 };
    uint64_t kept, count; /* kept: rows that some snapshot may still see count as well */
    bool there;
    err_t err;

    TRY_RETURN(json_call_resolve(call, JSON_CALL_CHANGE, &there));
    catalog_enter();
    err = catalog_find(
        call->op, NULL, call->ns.tenant, call->ns.database, call->ns.collection, &collection);
    if (err == OK && collection != NULL)
        err = vacuum_collection(call->op, collection, &kept);
    catalog_leave();
    TRY_RETURN(err);
    TRY_RETURN(verb_count(call->op, &call->ns, &all, NULL, &count));
    return buf_printf(call->out, "{\"documents\":%" PRIu64 "}", count);
}
