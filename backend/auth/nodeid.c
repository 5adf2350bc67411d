/*
 * nodeid.c - which node this is.
 *
 * Form: {"node_id": "<uuid>", "cluster_id": "<uuid>", "created_at_unix": n, "identity_version": 1}.
 * Written by file_replace: a crash leaves none or a whole one.
 */
#include "backend/auth/nodeid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/jsonparse.h"
#include "base/file.h"

#define FILE_SIZE_MAX ((size_t)64 << 10)
#define PATH_SIZE_MAX 4200

static err_t
get_uuid(const char *path, struct bytes document, const char *key, char text[IDS_TEXT_SIZE])
{
    struct bsonvalue value;
    struct uuid uuid;

    if (!bsonwalk_get(document, key, &value) || value.type != BSONTYPE_STRING ||
        !ids_parse(bsonvalue_string(&value), &uuid))
        return err_set(ERR_CONFIG, "%s: %s is no UUID", path, key);
    ids_format(&uuid, text);
    return OK;
}

static err_t
load(const char *path, struct nodeid *id, bool *found)
{
    struct buf room = buf_init(FILE_SIZE_MAX);
    struct bytes document;
    char *data = NULL;
    size_t size;
    err_t err;

    TRY(file_slurp(path, FILE_SIZE_MAX, &data, &size, found));
    if (!*found)
        goto out;
    err = jsonparse_document(
        &room, (struct bytes){ (const uint8_t *)data, size }, &jsonparse_lines, &document);
    if (err != OK && err != ERR_MEMORY)
        err = err_set(ERR_CONFIG, "%s: is damaged", path);
    TRY(err);
    TRY(get_uuid(path, document, "node_id", id->node_id));
    TRY(get_uuid(path, document, "cluster_id", id->cluster_id));
out:
    buf_fini(&room);
    free(data);
    return err;
}

static err_t
create(const struct config *config, const char *folder, const char *path)
{
    struct uuid node = ids_uuid(), cluster = ids_uuid();
    struct nodeid id;
    char text[512];
    bool made;
    int size;

    if (config->cluster_cluster_id[0] != '\0' &&
        !ids_parse(bytes_of(config->cluster_cluster_id), &cluster))
        return err_set(ERR_CONFIG, "cluster.cluster_id is no UUID");
    ids_format(&node, id.node_id);
    ids_format(&cluster, id.cluster_id);
    size = snprintf(text, sizeof text,
        "{\n  \"node_id\": \"%s\",\n  \"cluster_id\": \"%s\",\n  \"created_at_unix\": %jd,\n"
        "  \"identity_version\": 1\n}\n",
        id.node_id, id.cluster_id, (intmax_t)(clock_wall_ms() / 1000));
    TRY_RETURN(file_make_dir(folder, 0700, &made));
    return file_replace(path, text, (size_t)size, 0600);
}

err_t
nodeid_prepare(const struct config *config)
{
    char folder[PATH_SIZE_MAX], path[PATH_SIZE_MAX + 16];
    struct nodeid id;
    bool found;

    (void)snprintf(folder, sizeof folder, "%s/_cluster", config->server_data_dir);
    (void)snprintf(path, sizeof path, "%s/node.json", folder);
    TRY_RETURN(load(path, &id, &found));
    if (!found)
        return create(config, folder, path);
    if (config->cluster_cluster_id[0] != '\0' &&
        strcasecmp(config->cluster_cluster_id, id.cluster_id) != 0)
        return err_set(ERR_CONFIG,
            "cluster.cluster_id is %s, but this data directory belongs to cluster %s",
            config->cluster_cluster_id, id.cluster_id);
    return OK;
}

err_t
nodeid_read(const struct config *config, struct nodeid *id)
{
    char path[PATH_SIZE_MAX + 16];
    bool found;

    (void)snprintf(path, sizeof path, "%s/_cluster/node.json", config->server_data_dir);
    TRY_RETURN(load(path, id, &found));
    return found ? OK : err_set(ERR_CONFIG, "%s is missing", path);
}
