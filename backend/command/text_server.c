/*
 * text_server.c - FLUSH, COMPACT, TOPOLOGY, SNAPSHOT_HLC, SCHEMA VERSION.
 */
#include "backend/command/text_server.h"

#include <stdio.h>

#include "backend/auth/nodeid.h"
#include "backend/command/text_scan.h"
#include "backend/command/verb_statement.h"
#include "base/clock.h"
#include "base/doc/bsonbuild.h"
#include "base/doc/jsonprint.h"
#include "storage/collection/vacuum.h"
#include "wal/checkpoint.h"

#define HLC_COUNTER_BITS 16

err_t
text_server_flush(struct text_run *run, const struct textcmd *command)
{
    bool exists;

    (void)command;
    TRY_RETURN(text_run_selected(run, &exists));
    if (!exists)
        return OK;
    TRY_RETURN(checkpoint_request(run->op, CHECKPOINT_FAST, true));
    return textreply_simple(run->out, "OK");
}

err_t
text_server_compact(struct text_run *run, const struct textcmd *command)
{
    struct verb_statement statement;
    uint64_t live, visible = 0;
    struct verb_ns ns;
    bool exists;
    char text[32];
    err_t err = OK;

    TRY_RETURN(text_run_ns(run, command->arg[0], &ns, &exists));
    if (!exists)
        return OK;
    TRY_RETURN(verb_statement_begin(run->op, &ns, NULL, &statement));
    exists = statement.collection != NULL;
    if (exists)
        err = text_scan_visible(run, statement.collection, txn_snapshot(statement.txn), &visible);
    TRY_RETURN(verb_statement_end(run->op, &statement, err, false));
    if (!exists)
        return text_run_missing(run, &ns);
    catalog_enter(); /* without a snapshot of its own, which would hold back what it removes */
    {
        const struct catalog_collection *collection;

        err = catalog_find(run->op, NULL, ns.tenant, ns.database, ns.collection, &collection);
        if (err == OK && collection != NULL)
            err = vacuum_collection(run->op, collection, &live);
    }
    catalog_leave();
    if (err != OK)
        return err;
    (void)snprintf(text, sizeof text, "OK %ju", (uintmax_t)visible);
    return textreply_simple(run->out, text);
}

err_t
text_server_topology(struct text_run *run, const struct textcmd *command)
{
    const struct config *config = run->config;
    const char *address =
        config->cluster_advertise[0] != '\0' ? config->cluster_advertise : config->server_bind;
    struct textreply_bulk bulk;
    struct bsonbuild build;
    struct bytes document;
    struct nodeid id;

    (void)command;
    TRY_RETURN(nodeid_read(config, &id));
    bsonbuild_begin_arena(&build, run->op->arena);
    bsonbuild_text(&build, "cluster_id", id.cluster_id);
    bsonbuild_text(&build, "local_node_id", id.node_id);
    bsonbuild_int32(&build, "n", TEXT_RUN_NODES);
    bsonbuild_array_begin(&build, "peers");
    bsonbuild_document_begin(&build, NULL);
    bsonbuild_text(&build, "addr", address);
    bsonbuild_int64(&build, "last_seen_at_unix", clock_wall_ms() / 1000);
    bsonbuild_text(&build, "node_id", id.node_id);
    bsonbuild_text(&build, "status", "up");
    bsonbuild_array_begin(&build, "vnode_assignments");
    for (int64_t i = 0; i < config->cluster_vnodes_per_node; i++)
        bsonbuild_int64(&build, NULL, i);
    bsonbuild_array_end(&build);
    bsonbuild_document_end(&build);
    bsonbuild_array_end(&build);
    bsonbuild_int64(&build, "vnodes_per_node", config->cluster_vnodes_per_node);
    bsonbuild_int64(&build, "write_ack_timeout_ms", config->cluster_write_ack_timeout_ms);
    bsonbuild_array_begin(&build, "writers");
    bsonbuild_array_end(&build);
    TRY_RETURN(bsonbuild_end(&build, &document));
    TRY_RETURN(textreply_bulk_begin(run->out, document.size, &bulk));
    TRY_RETURN(jsonprint_document(run->out, document, JSONPRINT_RELAXED));
    return textreply_bulk_end(run->out, &bulk);
}

/* Milliseconds in the upper bits; never less than this process gave before. */
err_t
text_server_snapshot_hlc(struct text_run *run, const struct textcmd *command)
{
    static _Thread_local int64_t last;
    int64_t now = clock_wall_ms() << HLC_COUNTER_BITS;
    bool exists;

    (void)command;
    TRY_RETURN(text_run_selected(run, &exists));
    if (!exists)
        return OK;
    if (now > last)
        last = now;
    return textreply_integer(run->out, last);
}

err_t
text_server_schema_version(struct text_run *run, const struct textcmd *command)
{
    (void)command;
    return textreply_integer(run->out, (int64_t)catalog_schema_version());
}
