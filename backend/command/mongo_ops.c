/*
 * mongo_ops.c - what each process does at the moment: currentOp, killOp, $currentOp.
 *
 * One document a process, as MongoDB has it, and what only a house of processes can tell: `pid`,
 * and under `waitsFor` for what it waits, where, since when, and who holds it.  Listed are those
 * that run a command; idle sessions and the server's own processes too if $all or idleConnections
 * say so.
 *
 * An `opid` is the slot's number and the low bits of how many requests the slot has seen, so that
 * killOp does not hit a later request of the same session.
 */
#include "backend/command/mongo_ops.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/command/mongo_fields.h"
#include "backend/query/filter.h"
#include "base/clock.h"
#include "base/doc/bsonwalk.h"
#include "shmem/interrupt.h"
#include "storage/collection/waitgraph.h"

#define SLOT_BITS    15
#define SLOT_MASK    ((1u << SLOT_BITS) - 1)
#define REQUEST_MASK ((1u << (31 - SLOT_BITS)) - 1)
#define MATCHES_MAX  8

static int32_t
opid_of(unsigned slot)
{
    uint64_t requests = atomic_load_explicit(&proc_at(slot)->requests, memory_order_relaxed);

    return (int32_t)(((uint32_t)requests & REQUEST_MASK) << SLOT_BITS | ((slot + 1) & SLOT_MASK));
}

/* What a slot says of itself. */
struct seen {
    unsigned slot;
    int32_t pid, opid;
    enum proc_kind kind;
    int64_t verb_since_ns;
    char protocol[8], peer[PROC_TEXT_MAX], verb[PROC_TEXT_MAX];
};

static bool
look(unsigned slot, struct seen *seen)
{
    const struct proc *proc = proc_at(slot);

    *seen = (struct seen){ .slot = slot,
        .pid = atomic_load(&proc->pid),
        .opid = opid_of(slot),
        .kind = (enum proc_kind)atomic_load(&proc->kind),
        .verb_since_ns = atomic_load(&proc->verb_since_ns) };
    if (seen->pid == 0)
        return false;
    if (!proc_read_text(proc, seen->protocol, seen->peer, seen->verb)) /* dead in between */
        seen->protocol[0] = seen->peer[0] = seen->verb[0] = '\0';
    return true;
}

static const char *
type_of(const char *verb)
{
    static const struct {
        const char *verb, *op;
    } known[] = { { "find ", "query" }, { "getMore ", "getmore" }, { "insert ", "insert" },
        { "update ", "update" }, { "delete ", "remove" } };

    for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strncmp(verb, known[i].verb, strlen(known[i].verb)) == 0)
            return known[i].op;
    return verb[0] != '\0' ? "command" : "none";
}

static void
put_who(struct bsonbuild *build, const struct seen *seen)
{
    char text[64];

    (void)snprintf(text, sizeof text, "%s%u",
        seen->kind == PROC_BACKEND ? "conn" : proc_kind_title(seen->kind), seen->slot + 1);
    bsonbuild_text(build, "desc", seen->kind == PROC_BACKEND ? text : proc_kind_title(seen->kind));
    bsonbuild_int32(build, "connectionId", (int32_t)seen->slot + 1);
    bsonbuild_int32(build, "opid", seen->opid);
    bsonbuild_int32(build, "pid", seen->pid);
    if (seen->peer[0] != '\0')
        bsonbuild_text(build, "client", seen->peer);
}

static void
put_wait(struct bsonbuild *build, const struct waitgraph_wait *waits, int64_t now_ns)
{
    bsonbuild_document_begin(build, "waitsFor");
    bsonbuild_text(build, "what", proc_wait_text(waits->wait));
    if (waits->where[0] != '\0')
        bsonbuild_text(build, "where", waits->where);
    bsonbuild_int64(build, "object", (int64_t)waits->object);
    bsonbuild_int64(build, "secs", (now_ns - waits->since_ns) / 1000000000);
    bsonbuild_array_begin(build, "heldBy");
    for (unsigned i = 0; i < waits->holder_count; i++) {
        struct seen holder;

        if (!look(waits->holder[i], &holder))
            continue;
        bsonbuild_document_begin(build, NULL);
        put_who(build, &holder);
        bsonbuild_text(build, "verb", holder.verb);
        bsonbuild_document_end(build);
    }
    bsonbuild_array_end(build);
    bsonbuild_document_end(build);
}

static const char *
find_namespace(const char *verb)
{
    const char *space = strchr(verb, ' ');

    return space != NULL ? space + 1 : "";
}

static void
put_op(struct bsonbuild *build, const struct mongo_client *client, const struct seen *seen)
{
    int64_t now_ns = clock_now_ns();
    struct waitgraph_wait waits;

    waitgraph_look(seen->slot, &waits);
    bsonbuild_text(build, "type", "op");
    bsonbuild_text(build, "host", client->local);
    put_who(build, seen);
    bsonbuild_bool(build, "active", seen->verb_since_ns != 0);
    if (seen->protocol[0] != '\0')
        bsonbuild_text(build, "protocol", seen->protocol);
    bsonbuild_text(build, "op", type_of(seen->verb));
    bsonbuild_text(build, "ns", find_namespace(seen->verb));
    bsonbuild_text(build, "verb", seen->verb);
    bsonbuild_document_begin(build, "command");
    bsonbuild_document_end(build);
    if (seen->verb_since_ns != 0) {
        bsonbuild_int64(build, "secs_running", (now_ns - seen->verb_since_ns) / 1000000000);
        bsonbuild_int64(build, "microsecs_running", (now_ns - seen->verb_since_ns) / 1000);
    }
    bsonbuild_bool(build, "waitingForLock", waits.wait == WAIT_LWLOCK || waits.wait == WAIT_XID);
    bsonbuild_bool(build, "killPending",
        (atomic_load(&proc_at(seen->slot)->interrupts) & INTERRUPT_CANCEL) != 0);
    if (waits.wait != WAIT_NONE && waits.wait != WAIT_CLIENT)
        put_wait(build, &waits, now_ns);
}

struct wanted {
    bool all; /* idle sessions and the server's own processes */
    unsigned matches;
    const struct filter *match[MATCHES_MAX];
};

static err_t
add_match(struct mongo_request *request, struct wanted *wanted, struct bytes filter)
{
    if (wanted->matches == MATCHES_MAX)
        return err_set(ERR_COMMAND_NOT_SUPPORTED, "$currentOp: more than %d stages", MATCHES_MAX);
    return filter_compile(request->op->arena, filter, &wanted->match[wanted->matches++]);
}

/* The documents that are wanted, into an array that is open. */
static err_t
put_all(struct mongo_request *request, const struct wanted *wanted, struct bsonbuild *reply)
{
    unsigned end = proc_high_water();

    for (unsigned slot = 0; slot < end; slot++) {
        bool good = true;
        struct bytes document;
        struct bsonbuild build;
        struct seen seen;

        if (!look(slot, &seen) || (!wanted->all && seen.verb_since_ns == 0))
            continue;
        bsonbuild_begin_arena(&build, request->op->arena);
        put_op(&build, request->client, &seen);
        TRY_RETURN(bsonbuild_end(&build, &document));
        for (unsigned i = 0; i < wanted->matches && good; i++)
            TRY_RETURN(filter_match(wanted->match[i], document, &good));
        if (good)
            bsonbuild_document(reply, NULL, document);
    }
    return OK;
}

/* ---- the commands ---- */

static bool
is_true(const struct bsonvalue *value)
{
    int64_t number;

    if (value->type == BSONTYPE_BOOL)
        return value->raw.size > 0 && value->raw.data[0] != 0;
    return bsonvalue_to_int64(value, true, &number) && number != 0;
}

/* {currentOp: 1, $all: …, and what else the documents must be}. */
err_t
mongo_ops_current(struct mongo_request *request, struct bsonbuild *reply)
{
    static const char *const others[] = { "currentOp", "$db", "$all", "$ownOps", "lsid",
        "$clusterTime", "$readPreference", "comment", "maxTimeMS", "apiVersion", "apiStrict",
        "readConcern" };
    struct wanted wanted = { .all = false };
    struct bsonbuild rest;
    struct bsonvalue field;
    struct bsonwalk walk;
    struct bytes filter;

    TRY_RETURN(mongo_fields_parse_loosely(request, NULL, NULL));
    bsonbuild_begin_arena(&rest, request->op->arena);
    TRY_RETURN(bsonwalk_begin(&walk, request->message->body));
    while (bsonwalk_next(&walk, &field)) {
        bool known = false;

        for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++)
            known = known || bytes_is(field.key, others[i]);
        if (bytes_is(field.key, "$all"))
            wanted.all = is_true(&field);
        if (!known)
            bsonbuild_element(&rest, &field);
    }
    TRY_RETURN(bsonbuild_end(&rest, &filter));
    TRY_RETURN(add_match(request, &wanted, filter));
    bsonbuild_array_begin(reply, "inprog");
    TRY_RETURN(put_all(request, &wanted, reply));
    bsonbuild_array_end(reply);
    return OK;
}

/* {killOp: 1, op: …}. */
err_t
mongo_ops_kill(struct mongo_request *request, struct bsonbuild *reply)
{
    struct {
        struct bsonvalue op;
    } args = { .op.type = BSONTYPE_EOO };
    static const struct mongo_field fields[] = {
        { "op", 2, 0, MONGO_ANY },
        { NULL, 0, 0, MONGO_IGNORED },
    };
    unsigned slot;
    int64_t opid;

    TRY_RETURN(mongo_fields_parse(request, fields, &args));
    if (!bsonvalue_to_int64(&args.op, false, &opid))
        return err_set(ERR_TYPE_MISMATCH, "killOp wants the number of an operation: op");
    slot = ((unsigned)opid & SLOT_MASK) - 1;
    if (opid > 0 && opid <= INT32_MAX && slot < proc_count() && opid_of(slot) == (int32_t)opid &&
        atomic_load(&proc_at(slot)->kind) == PROC_BACKEND &&
        atomic_load(&proc_at(slot)->verb_since_ns) != 0)
        interrupt_raise(proc_at(slot), INTERRUPT_CANCEL);
    bsonbuild_text(reply, "info", "attempting to kill op");
    return OK;
}

/* ---- the stage ---- */

static bool
next_stage(struct bsonwalk *walk, struct bsonvalue *stage)
{
    struct bsonvalue outer;
    struct bsonwalk inner;

    return bsonwalk_next(walk, &outer) && outer.type == BSONTYPE_DOCUMENT &&
           bsonwalk_begin(&inner, outer.raw) == OK && bsonwalk_next(&inner, stage) &&
           stage->type == BSONTYPE_DOCUMENT;
}

bool
mongo_ops_is_pipeline(struct bytes pipeline)
{
    struct bsonvalue stage;
    struct bsonwalk walk;

    return pipeline.size > 0 && bsonwalk_begin(&walk, pipeline) == OK &&
           next_stage(&walk, &stage) && bytes_is(stage.key, "$currentOp");
}

err_t
mongo_ops_pipeline(struct mongo_request *request, struct bytes pipeline, struct bsonbuild *reply)
{
    struct wanted wanted = { .all = false };
    struct bsonvalue stage, idle;
    struct bsonwalk walk;

    if (!bytes_is(request->message->database, "admin"))
        return err_set(ERR_INVALID_NAMESPACE,
            "$currentOp must be run against the 'admin' database with {aggregate: 1}");
    TRY_RETURN(bsonwalk_begin(&walk, pipeline));
    if (next_stage(&walk, &stage) && bsonwalk_get(stage.raw, "idleConnections", &idle))
        wanted.all = is_true(&idle);
    while (next_stage(&walk, &stage)) {
        if (!bytes_is(stage.key, "$match"))
            return err_set(ERR_COMMAND_NOT_SUPPORTED,
                "aggregation: behind $currentOp only $match is supported yet");
        TRY_RETURN(add_match(request, &wanted, stage.raw));
    }
    bsonbuild_document_begin(reply, "cursor");
    bsonbuild_array_begin(reply, "firstBatch");
    TRY_RETURN(put_all(request, &wanted, reply));
    bsonbuild_array_end(reply);
    bsonbuild_int64(reply, "id", 0);
    bsonbuild_text(reply, "ns", "admin.$cmd.aggregate");
    bsonbuild_document_end(reply);
    return OK;
}
