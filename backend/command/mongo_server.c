/*
 * mongo_server.c - what drivers and shells ask about the server itself.
 */
#include "backend/command/mongo_fields.h"

#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "backend/command/cursors.h"
#include "backend/command/uptime.h"
#include "base/clock.h"
#include "base/doc/bsonwalk.h"
#include "base/version.h"
#include "shmem/counters.h"
#include "shmem/proc.h"
#include "storage/collection/heldcount.h"

/* One server is its own primary for ever: the same election in every answer. */
static const uint8_t election_id[12] = { 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1 };
#define SET_VERSION 1

static const char *
advertised(const struct mongo_client *client)
{
    const char *configured = client->config->mongo_advertise;

    return configured[0] != '\0' ? configured : client->local;
}

/* ---- hello ---- */

struct hello {
    bool hello_ok;
};

static const struct mongo_field hello_fields[] = {
    MONGO_FIELD("helloOk", MONGO_BOOLEAN, struct hello, hello_ok),
    { NULL, 0, 0, MONGO_IGNORED },
};

static void
put_persona(const struct mongo_client *client, struct bsonbuild *reply)
{
    const char *persona = client->config->mongo_persona;

    if (strcmp(persona, "mongos") == 0) {
        bsonbuild_text(reply, "msg", "isdbgrid");
    } else if (strcmp(persona, "standalone") != 0) {
        bsonbuild_text(reply, "setName", client->config->mongo_replica_set);
        bsonbuild_int32(reply, "setVersion", SET_VERSION);
        bsonbuild_bool(reply, "secondary", false);
        bsonbuild_array_begin(reply, "hosts");
        bsonbuild_text(reply, NULL, advertised(client));
        bsonbuild_array_end(reply);
        bsonbuild_text(reply, "primary", advertised(client));
        bsonbuild_text(reply, "me", advertised(client));
        bsonbuild_objectid(reply, "electionId", election_id);
    }
}

static err_t
put_hello(struct mongo_request *request, const char *writable, struct bsonbuild *reply)
{
    struct hello hello = { .hello_ok = false };

    TRY_RETURN(mongo_fields_parse_loosely(request, hello_fields, &hello));
    if (hello.hello_ok)
        bsonbuild_bool(reply, "helloOk", true);
    bsonbuild_bool(reply, writable, true);
    put_persona(request->client, reply);
    bsonbuild_int32(reply, "maxBsonObjectSize", (int32_t)BSONVALUE_DOCUMENT_SIZE_MAX);
    bsonbuild_int32(reply, "maxMessageSizeBytes", OPMSG_SIZE_MAX);
    bsonbuild_int32(reply, "maxWriteBatchSize", MONGO_BATCH_MAX);
    bsonbuild_date(reply, "localTime", clock_wall_ms());
    bsonbuild_int32(reply, "logicalSessionTimeoutMinutes", MONGO_SESSION_MINUTES);
    bsonbuild_int32(reply, "connectionId", request->client->connection_id);
    bsonbuild_int32(reply, "minWireVersion", 0);
    bsonbuild_int32(reply, "maxWireVersion", MONGO_WIRE_VERSION_MAX);
    bsonbuild_bool(reply, "readOnly", false);
    return OK;
}

err_t
mongo_server_hello(struct mongo_request *request, struct bsonbuild *reply)
{
    return put_hello(request, "isWritablePrimary", reply);
}

err_t
mongo_server_is_master(struct mongo_request *request, struct bsonbuild *reply)
{
    return put_hello(request, "ismaster", reply);
}

err_t
mongo_server_ping(struct mongo_request *request, struct bsonbuild *reply)
{
    (void)reply;
    return mongo_fields_parse(request, NULL, NULL);
}

/* ---- buildInfo, whatsmyuri, connectionStatus ---- */

err_t
mongo_server_build_info(struct mongo_request *request, struct bsonbuild *reply)
{
    TRY_RETURN(mongo_fields_parse_loosely(request, NULL, NULL));
    bsonbuild_text(reply, "version", MONGO_VERSION);
    bsonbuild_text(reply, "gneissVersion", VERSION_TEXT);
    bsonbuild_text(reply, "gitVersion", "gneiss-" VERSION_TEXT);
    bsonbuild_array(reply, "modules", bsonvalue_empty_document);
    bsonbuild_text(reply, "allocator", "system");
    bsonbuild_text(reply, "javascriptEngine", "none");
    bsonbuild_text(reply, "sysInfo", "deprecated");
    bsonbuild_array_begin(reply, "versionArray");
    bsonbuild_int32(reply, NULL, MONGO_VERSION_MAJOR);
    bsonbuild_int32(reply, NULL, 0);
    bsonbuild_int32(reply, NULL, 0);
    bsonbuild_int32(reply, NULL, 0);
    bsonbuild_array_end(reply);
    bsonbuild_document(reply, "openssl", bsonvalue_empty_document);
    bsonbuild_document(reply, "buildEnvironment", bsonvalue_empty_document);
    bsonbuild_int32(reply, "bits", 64);
    bsonbuild_bool(reply, "debug", false);
    bsonbuild_int32(reply, "maxBsonObjectSize", (int32_t)BSONVALUE_DOCUMENT_SIZE_MAX);
    bsonbuild_array_begin(reply, "storageEngines");
    bsonbuild_text(reply, NULL, "gneiss");
    bsonbuild_array_end(reply);
    return OK;
}

err_t
mongo_server_whatsmyuri(struct mongo_request *request, struct bsonbuild *reply)
{
    TRY_RETURN(mongo_fields_parse(request, NULL, NULL));
    bsonbuild_text(reply, "you", request->client->peer);
    return OK;
}

struct status {
    bool show_privileges;
};

static const struct mongo_field status_fields[] = {
    MONGO_FIELD("showPrivileges", MONGO_BOOLEAN, struct status, show_privileges),
    { NULL, 0, 0, MONGO_IGNORED },
};

err_t
mongo_server_connection_status(struct mongo_request *request, struct bsonbuild *reply)
{
    struct status status = { .show_privileges = false };

    TRY_RETURN(mongo_fields_parse(request, status_fields, &status));
    bsonbuild_document_begin(reply, "authInfo");
    bsonbuild_array(reply, "authenticatedUsers", bsonvalue_empty_document);
    bsonbuild_array(reply, "authenticatedUserRoles", bsonvalue_empty_document);
    if (status.show_privileges)
        bsonbuild_array(reply, "authenticatedUserPrivileges", bsonvalue_empty_document);
    bsonbuild_document_end(reply);
    return OK;
}

/* ---- getParameter ---- */

static void
put_fcv(const struct mongo_client *client, struct bsonbuild *reply)
{
    (void)client;
    bsonbuild_document_begin(reply, "featureCompatibilityVersion");
    bsonbuild_text(reply, "version", "7.0");
    bsonbuild_document_end(reply);
}

static void
put_test_commands(const struct mongo_client *client, struct bsonbuild *reply)
{
    bsonbuild_bool(reply, "enableTestCommands", client->config->enable_test_commands);
}

static void
put_session_timeout(const struct mongo_client *client, struct bsonbuild *reply)
{
    (void)client;
    bsonbuild_int32(reply, "localLogicalSessionTimeoutMinutes", MONGO_SESSION_MINUTES);
}

static void
put_cursor_timeout(const struct mongo_client *client, struct bsonbuild *reply)
{
    bsonbuild_int64(reply, "cursorTimeoutMillis", client->config->mongo_cursor_timeout_secs * 1000);
}

static void
put_mechanisms(const struct mongo_client *client, struct bsonbuild *reply)
{
    (void)client;
    bsonbuild_array(reply, "authenticationMechanisms", bsonvalue_empty_document);
}

static const struct {
    const char *name;
    void (*put)(const struct mongo_client *client, struct bsonbuild *reply);
} parameters[] = {
    { "featureCompatibilityVersion", put_fcv },
    { "enableTestCommands", put_test_commands },
    { "localLogicalSessionTimeoutMinutes", put_session_timeout },
    { "cursorTimeoutMillis", put_cursor_timeout },
    { "authenticationMechanisms", put_mechanisms },
};

err_t
mongo_server_get_parameter(struct mongo_request *request, struct bsonbuild *reply)
{
    bool all =
        request->value.type == BSONTYPE_STRING && bytes_is(bsonvalue_string(&request->value), "*");
    bool any = false;

    TRY_RETURN(mongo_fields_parse_loosely(request, NULL, NULL));
    for (unsigned i = 0; i < sizeof parameters / sizeof parameters[0]; i++) {
        struct bsonvalue wanted;

        if (!all && !bsonwalk_get(request->message->body, parameters[i].name, &wanted))
            continue;
        parameters[i].put(request->client, reply);
        any = true;
    }
    if (!any)
        return err_set(ERR_INVALID_OPTIONS, "no option found to get");
    return OK;
}

/* ---- serverStatus ---- */

static void
put_connections(const struct mongo_client *client, struct bsonbuild *reply)
{
    int32_t current = 0, active = 0;
    int32_t most = (int32_t)client->config->server_max_connections;

    for (unsigned i = 0; i < proc_high_water(); i++) {
        const struct proc *proc = proc_at(i);

        if (atomic_load_explicit(&proc->pid, memory_order_relaxed) == 0 ||
            atomic_load_explicit(&proc->session_since_ns, memory_order_relaxed) == 0)
            continue;
        current++;
        active += atomic_load_explicit(&proc->verb_since_ns, memory_order_relaxed) != 0;
    }
    bsonbuild_document_begin(reply, "connections");
    bsonbuild_int32(reply, "current", current);
    bsonbuild_int32(reply, "available", most > current ? most - current : 0);
    bsonbuild_int64(reply, "totalCreated", (int64_t)counters_total(COUNTER_CONNECTIONS));
    bsonbuild_int32(reply, "active", active);
    bsonbuild_document_end(reply);
}

static void
put_counter(struct bsonbuild *reply, const char *key, enum counter counter)
{
    bsonbuild_int64(reply, key, (int64_t)counters_total(counter));
}

static void
put_memory(struct bsonbuild *reply)
{
    long virtual_pages = 0, resident_pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    long page_kib = sysconf(_SC_PAGESIZE) / 1024;

    if (file != NULL) {
        if (fscanf(file, "%ld %ld", &virtual_pages, &resident_pages) != 2)
            virtual_pages = resident_pages = 0;
        (void)fclose(file);
    }
    bsonbuild_document_begin(reply, "mem");
    bsonbuild_int32(reply, "bits", 64);
    bsonbuild_int32(reply, "resident", (int32_t)(resident_pages * page_kib / 1024));
    bsonbuild_int32(reply, "virtual", (int32_t)(virtual_pages * page_kib / 1024));
    bsonbuild_bool(reply, "supported", true);
    bsonbuild_document_end(reply);
}

static void
put_counters(struct bsonbuild *reply)
{
    bsonbuild_document_begin(reply, "opcounters");
    put_counter(reply, "insert", COUNTER_INSERTS);
    put_counter(reply, "query", COUNTER_QUERIES);
    put_counter(reply, "update", COUNTER_UPDATES);
    put_counter(reply, "delete", COUNTER_DELETES);
    put_counter(reply, "command", COUNTER_COMMANDS);
    bsonbuild_document_end(reply);
    bsonbuild_document_begin(reply, "network");
    put_counter(reply, "bytesIn", COUNTER_BYTES_READ);
    put_counter(reply, "bytesOut", COUNTER_BYTES_WRITTEN);
    put_counter(reply, "numRequests", COUNTER_COMMANDS);
    bsonbuild_document_end(reply);
    bsonbuild_document_begin(reply, "metrics");
    bsonbuild_document_begin(reply, "cursor");
    bsonbuild_document_begin(reply, "open");
    bsonbuild_int64(reply, "total", (int64_t)cursors_open_count());
    bsonbuild_document_end(reply);
    bsonbuild_document_end(reply);
    bsonbuild_document_end(reply);
    bsonbuild_document_begin(reply, "gneiss");
    for (unsigned i = 0; i < COUNTER_COUNT; i++)
        put_counter(reply, counters_key((enum counter)i), (enum counter)i);
    bsonbuild_document_end(reply);
}

/* What is held in shared memory; only if it is asked for, since every buffer is looked at. */
static void
put_held(struct bsonbuild *reply)
{
    struct heldcount counts;

    heldcount(&counts);
    bsonbuild_document_begin(reply, "held");
    bsonbuild_int64(reply, "locks", (int64_t)counts.locks);
    bsonbuild_int64(reply, "pins", (int64_t)counts.pins);
    bsonbuild_int64(reply, "pinsCounted", (int64_t)counts.pins_counted);
    bsonbuild_int64(reply, "io", (int64_t)counts.io);
    bsonbuild_int64(reply, "places", (int64_t)counts.places);
    bsonbuild_int64(reply, "transactions", (int64_t)counts.transactions);
    bsonbuild_int64(reply, "snapshots", (int64_t)counts.snapshots);
    bsonbuild_int64(reply, "critical", (int64_t)counts.critical);
    bsonbuild_int64(reply, "cursors", (int64_t)cursors_open_count());
    bsonbuild_int64(reply, "slots", (int64_t)counts.slots);
    bsonbuild_int64(reply, "slotsDead", (int64_t)counts.slots_dead);
    bsonbuild_int64(reply, "graves", (int64_t)counts.graves);
    bsonbuild_document_end(reply);
}

struct sections {
    bool held;
};

static const struct mongo_field sections_fields[] = {
    MONGO_FIELD("held", MONGO_BOOLEAN, struct sections, held),
    { NULL, 0, 0, MONGO_IGNORED },
};

err_t
mongo_server_status(struct mongo_request *request, struct bsonbuild *reply)
{
    struct sections sections = { .held = false };
    int64_t uptime = uptime_secs();

    TRY_RETURN(mongo_fields_parse_loosely(request, sections_fields, &sections));
    bsonbuild_text(reply, "host", advertised(request->client));
    bsonbuild_text(reply, "version", MONGO_VERSION);
    bsonbuild_text(reply, "process", "gneissd");
    bsonbuild_int64(reply, "pid", (int64_t)getppid());
    bsonbuild_double(reply, "uptime", (double)uptime);
    bsonbuild_int64(reply, "uptimeMillis", uptime * 1000);
    bsonbuild_int64(reply, "uptimeEstimate", uptime);
    bsonbuild_date(reply, "localTime", clock_wall_ms());
    put_connections(request->client, reply);
    put_counters(reply);
    put_memory(reply);
    if (sections.held)
        put_held(reply);
    bsonbuild_document_begin(reply, "storageEngine");
    bsonbuild_text(reply, "name", "gneiss");
    bsonbuild_bool(reply, "supportsCommittedReads", true);
    bsonbuild_bool(reply, "supportsSnapshotReadConcern", true);
    bsonbuild_bool(reply, "readOnly", false);
    bsonbuild_bool(reply, "persistent", true);
    bsonbuild_document_end(reply);
    return OK;
}

/* ---- hostInfo, getLog, getCmdLineOpts, replSetGetStatus ---- */

err_t
mongo_server_host_info(struct mongo_request *request, struct bsonbuild *reply)
{
    struct utsname name;
    struct sysinfo info;

    TRY_RETURN(mongo_fields_parse(request, NULL, NULL));
    if (uname(&name) != 0 || sysinfo(&info) != 0)
        return err_set(ERR_INTERNAL, "could not ask the system what it is");
    bsonbuild_document_begin(reply, "system");
    bsonbuild_date(reply, "currentTime", clock_wall_ms());
    bsonbuild_text(reply, "hostname", name.nodename);
    bsonbuild_int32(reply, "cpuAddrSize", 64);
    bsonbuild_int64(reply, "memSizeMB", (int64_t)(info.totalram * info.mem_unit >> 20));
    bsonbuild_int64(reply, "memLimitMB", (int64_t)(info.totalram * info.mem_unit >> 20));
    bsonbuild_int32(reply, "numCores", (int32_t)sysconf(_SC_NPROCESSORS_ONLN));
    bsonbuild_text(reply, "cpuArch", name.machine);
    bsonbuild_bool(reply, "numaEnabled", false);
    bsonbuild_document_end(reply);
    bsonbuild_document_begin(reply, "os");
    bsonbuild_text(reply, "type", name.sysname);
    bsonbuild_text(reply, "name", name.sysname);
    bsonbuild_text(reply, "version", name.release);
    bsonbuild_document_end(reply);
    bsonbuild_document_begin(reply, "extra");
    bsonbuild_text(reply, "versionString", name.version);
    bsonbuild_int64(reply, "pageSize", (int64_t)sysconf(_SC_PAGESIZE));
    bsonbuild_document_end(reply);
    return OK;
}

/* The log goes to the standard output; none of it is kept here. */
err_t
mongo_server_get_log(struct mongo_request *request, struct bsonbuild *reply)
{
    struct bytes name;

    TRY_RETURN(mongo_fields_parse(request, NULL, NULL));
    if (request->value.type != BSONTYPE_STRING)
        return err_set(ERR_TYPE_MISMATCH, "Argument to getLog must be of type String; found %s",
            bsonvalue_type_name(request->value.type));
    name = bsonvalue_string(&request->value);
    if (bytes_is(name, "*")) {
        bsonbuild_array_begin(reply, "names");
        bsonbuild_text(reply, NULL, "global");
        bsonbuild_text(reply, NULL, "startupWarnings");
        bsonbuild_array_end(reply);
        return OK;
    }
    if (!bytes_is(name, "global") && !bytes_is(name, "startupWarnings"))
        return err_set(
            ERR_OPERATION_FAILED, "No log named '%.*s'", (int)name.size, (const char *)name.data);
    bsonbuild_int32(reply, "totalLinesWritten", 0);
    bsonbuild_array(reply, "log", bsonvalue_empty_document);
    return OK;
}

err_t
mongo_server_get_cmd_line_opts(struct mongo_request *request, struct bsonbuild *reply)
{
    const struct config *config = request->client->config;

    TRY_RETURN(mongo_fields_parse(request, NULL, NULL));
    bsonbuild_array_begin(reply, "argv");
    bsonbuild_text(reply, NULL, "gneissd");
    bsonbuild_array_end(reply);
    bsonbuild_document_begin(reply, "parsed");
    bsonbuild_document_begin(reply, "net");
    bsonbuild_text(reply, "bindIp", config->mongo_bind);
    bsonbuild_document_end(reply);
    bsonbuild_document_begin(reply, "storage");
    bsonbuild_text(reply, "dbPath", config->server_data_dir);
    bsonbuild_document_end(reply);
    bsonbuild_document_end(reply);
    return OK;
}

err_t
mongo_server_repl_status(struct mongo_request *request, struct bsonbuild *reply)
{
    const struct config *config = request->client->config;

    TRY_RETURN(mongo_fields_parse_loosely(request, NULL, NULL));
    if (strcmp(config->mongo_persona, "replicaset") != 0) {
        err_t err = err_set(ERR_ILLEGAL_OPERATION, "not running with --replSet");

        err_set_mongo(76, "NoReplicationEnabled");
        return err;
    }
    bsonbuild_text(reply, "set", config->mongo_replica_set);
    bsonbuild_date(reply, "date", clock_wall_ms());
    bsonbuild_int32(reply, "myState", 1);
    bsonbuild_int64(reply, "term", 1);
    bsonbuild_int32(reply, "majorityVoteCount", 1);
    bsonbuild_int32(reply, "writeMajorityCount", 1);
    bsonbuild_array_begin(reply, "members");
    bsonbuild_document_begin(reply, NULL);
    bsonbuild_int32(reply, "_id", 0);
    bsonbuild_text(reply, "name", advertised(request->client));
    bsonbuild_double(reply, "health", 1.0);
    bsonbuild_int32(reply, "state", 1);
    bsonbuild_text(reply, "stateStr", "PRIMARY");
    bsonbuild_int64(reply, "uptime", uptime_secs());
    bsonbuild_bool(reply, "self", true);
    bsonbuild_document_end(reply);
    bsonbuild_array_end(reply);
    return OK;
}
