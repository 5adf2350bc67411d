/*
 * mongo_inspect.c - distinct, dbStats, validate: what a collection holds, how large it is, and
 * whether it is sound.
 */
#include "backend/command/mongo_read.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/doc/bsonwalk.h"
#include "base/doc/docpath.h"
#include "base/doc/keystring.h"
#include "base/hash.h"
#include "storage/collection/check.h"

/* ---- distinct ---- */

#define SET_LEAST 64 /* slots; a power of two */

/* Values seen, by their keystrings: numbers that are equal are one value, whatever their types. */
struct seen {
    struct bytes *slot; /* open addressing; data NULL: free */
    size_t slots, count;
};

struct collecting {
    struct op *op;
    const struct docpath *path;
    struct seen seen;
    struct buf key;
    struct bsonbuild *reply;
    size_t start; /* size of the reply before the first value */
    err_t err;    /* of a visit */
};

struct distinct {
    struct bsonvalue key;
    struct bytes query;
    struct bsonvalue hint;
};

static const struct mongo_field distinct_fields[] = {
    MONGO_FIELD("key", MONGO_ANY, struct distinct, key),
    MONGO_FIELD("query", MONGO_DOCUMENT, struct distinct, query),
    MONGO_FIELD("hint", MONGO_ANY, struct distinct, hint),
    { NULL, 0, 0, MONGO_IGNORED },
};

static struct bytes *
seen_slot(const struct seen *seen, struct bytes key)
{
    size_t mask = seen->slots - 1;
    size_t at = (size_t)hash_bytes(key.data, key.size, 0) & mask;

    while (seen->slot[at].data != NULL && !bytes_equal(seen->slot[at], key))
        at = (at + 1) & mask;
    return &seen->slot[at];
}

/* At most half of the slots are taken, so that a search ends soon. */
static err_t
seen_make_room(struct arena *arena, struct seen *seen)
{
    struct seen larger = { .slots = seen->slots == 0 ? SET_LEAST : 2 * seen->slots,
        .count = seen->count };

    if (2 * (seen->count + 1) <= seen->slots)
        return OK;
    larger.slot = arena_zalloc(arena, larger.slots * sizeof *larger.slot);
    if (larger.slot == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < seen->slots; i++)
        if (seen->slot[i].data != NULL)
            *seen_slot(&larger, seen->slot[i]) = seen->slot[i];
    *seen = larger;
    return OK;
}

static err_t
collect_value(struct collecting *collecting, const struct bsonvalue *value)
{
    struct arena *arena = collecting->op->arena;
    struct bytes *slot;

    collecting->key.size = 0;
    TRY_RETURN(keystring_append(&collecting->key, value, false));
    TRY_RETURN(seen_make_room(arena, &collecting->seen));
    slot = seen_slot(&collecting->seen, buf_bytes(&collecting->key));
    if (slot->data != NULL)
        return OK;
    slot->data = arena_copy(arena, collecting->key.data, collecting->key.size);
    slot->size = collecting->key.size;
    if (slot->data == NULL)
        return ERR_MEMORY;
    collecting->seen.count++;
    bsonbuild_value(collecting->reply, NULL, value);
    if (collecting->reply->size - collecting->start > BSONVALUE_DOCUMENT_SIZE_MAX) {
        err_t err = err_set(ERR_TOO_LARGE, "distinct too big, 16mb cap");

        err_set_mongo(17217, NULL);
        return err;
    }
    return collecting->reply->err;
}

/* An array stands for its elements, and is no value itself unless it is one of them. */
static bool
visit(void *context, const struct docpath_hit *hit)
{
    struct collecting *collecting = context;

    if (hit->value == NULL || (hit->value->type == BSONTYPE_ARRAY && !hit->element))
        return false;
    collecting->err = collect_value(collecting, hit->value);
    return collecting->err != OK;
}

static err_t
collect_document(void *context, struct bytes document, bool *more)
{
    struct collecting *collecting = context;

    (void)more;
    TRY_RETURN(
        docpath_walk(collecting->path, document, DOCPATH_EXPAND_LEAF, visit, collecting, NULL));
    return collecting->err;
}

static err_t
check_key(const struct bsonvalue *key)
{
    struct bytes text;

    if (key->type == BSONTYPE_EOO)
        return err_set(
            ERR_MISSING_FIELD, "BSON field 'distinct.key' is missing but a required field");
    if (key->type != BSONTYPE_STRING)
        return err_set(ERR_TYPE_MISMATCH,
            "BSON field 'distinct.key' is the wrong type '%s', expected type 'string'",
            bsonvalue_type_name(key->type));
    text = bsonvalue_string(key);
    if (memchr(text.data, '\0', text.size) != NULL) {
        err_t err = err_set(ERR_BAD_VALUE, "Key field cannot contain an embedded null byte");

        err_set_mongo(31032, NULL);
        return err;
    }
    return OK;
}

err_t
mongo_inspect_distinct(struct mongo_request *request, struct bsonbuild *reply)
{
    struct distinct args = { .key = { .type = BSONTYPE_EOO } };
    struct collecting collecting = {
        .op = request->op, .key = buf_init(BSONVALUE_DOCUMENT_SIZE_MAX * 2), .reply = reply
    };
    struct run_query query = { .skip = 0 };
    err_t err;

    TRY(mongo_fields_parse(request, distinct_fields, &args));
    TRY(check_key(&args.key));
    TRY(docpath_compile(request->op->arena, bsonvalue_string(&args.key), &collecting.path));
    query.filter = args.query;
    TRY(mongo_fields_hint(request->op, &args.hint, &query.hint));
    bsonbuild_array_begin(reply, "values");
    collecting.start = reply->size;
    TRY(verb_find(request->op, &request->ns, &query, NULL, collect_document, &collecting));
    bsonbuild_array_end(reply);
out:
    buf_fini(&collecting.key);
    return err;
}

/* ---- dbStats ---- */

struct sizes {
    struct bsonvalue scale;
};

static const struct mongo_field sizes_fields[] = {
    MONGO_FIELD("scale", MONGO_ANY, struct sizes, scale),
    MONGO_FIELD_NAMED("freeStorage", MONGO_IGNORED),
    { NULL, 0, 0, MONGO_IGNORED },
};

struct totals {
    uint64_t collections, indexes, rows, heap_bytes, index_bytes;
};

static err_t
add_collection(struct mongo_request *request, const char *name, struct totals *totals)
{
    struct verb_ns ns = { request->ns.tenant, request->ns.database, name };
    struct collection_stats stats;
    const struct bytes *definitions;
    size_t indexes;
    bool found;

    TRY_RETURN(verb_list_indexes(request->op, &ns, &definitions, &indexes, &found));
    if (found)
        TRY_RETURN(verb_stats(request->op, &ns, &stats, &found));
    if (!found) /* dropped meanwhile */
        return OK;
    totals->collections++;
    totals->indexes += indexes;
    totals->rows += stats.rows;
    totals->heap_bytes += stats.heap_bytes;
    totals->index_bytes += stats.index_bytes;
    return OK;
}

static err_t
read_scale(const struct bsonvalue *value, int64_t *scale)
{
    *scale = 1;
    if (value->type == BSONTYPE_EOO || value->type == BSONTYPE_NULL)
        return OK;
    if (!bsonvalue_is_number(value->type))
        return err_set(ERR_TYPE_MISMATCH,
            "BSON field 'dbStats.scale' is the wrong type '%s', expected type 'number'",
            bsonvalue_type_name(value->type));
    if (!bsonvalue_to_int64(value, true, scale) || *scale < 1 || *scale > INT32_MAX)
        return err_set(ERR_BAD_VALUE, "BSON field 'dbStats.scale' value must be >= 1");
    return OK;
}

err_t
mongo_inspect_database(struct mongo_request *request, struct bsonbuild *reply)
{
    struct sizes sizes = { .scale = { .type = BSONTYPE_EOO } };
    struct totals totals = { .rows = 0 };
    const char *const *names;
    struct statvfs disk;
    int64_t scale;
    size_t count;
    double unit, rows;

    TRY_RETURN(mongo_fields_parse(request, sizes_fields, &sizes));
    TRY_RETURN(read_scale(&sizes.scale, &scale));
    TRY_RETURN(verb_list_collections(
        request->op, request->ns.tenant, request->ns.database, &names, &count));
    for (size_t i = 0; i < count; i++)
        TRY_RETURN(add_collection(request, names[i], &totals));
    unit = (double)scale;
    rows = (double)totals.rows;
    bsonbuild_text(reply, "db", request->ns.database);
    bsonbuild_int64(reply, "collections", (int64_t)totals.collections);
    bsonbuild_int64(reply, "views", 0);
    bsonbuild_int64(reply, "objects", (int64_t)totals.rows);
    bsonbuild_double(reply, "avgObjSize", totals.rows > 0 ? (double)totals.heap_bytes / rows : 0.0);
    bsonbuild_double(reply, "dataSize", (double)totals.heap_bytes / unit);
    bsonbuild_double(reply, "storageSize", (double)totals.heap_bytes / unit);
    bsonbuild_int64(reply, "indexes", (int64_t)totals.indexes);
    bsonbuild_double(reply, "indexSize", (double)totals.index_bytes / unit);
    bsonbuild_double(reply, "totalSize", (double)(totals.heap_bytes + totals.index_bytes) / unit);
    bsonbuild_int64(reply, "scaleFactor", scale);
    if (statvfs(request->client->config->server_data_dir, &disk) == 0) {
        double block = (double)disk.f_frsize;

        bsonbuild_double(
            reply, "fsUsedSize", (double)(disk.f_blocks - disk.f_bfree) * block / unit);
        bsonbuild_double(reply, "fsTotalSize", (double)disk.f_blocks * block / unit);
    }
    return OK;
}

/* ---- validate ---- */

static const struct mongo_field validate_fields[] = {
    MONGO_FIELD_NAMED("full", MONGO_IGNORED), /* it always is */
    MONGO_FIELD_NAMED("scandata", MONGO_IGNORED),
    MONGO_FIELD_NAMED("background", MONGO_IGNORED),
    MONGO_FIELD_NAMED("checkBSONConformance", MONGO_IGNORED),
    MONGO_FIELD_NAMED("repair", MONGO_REFUSED),
    MONGO_FIELD_NAMED("fixMultikey", MONGO_REFUSED),
    MONGO_FIELD_NAMED("metadata", MONGO_REFUSED),
    { NULL, 0, 0, MONGO_IGNORED },
};

/* Each line of the check's report is one error. */
static void
put_faults(struct bsonbuild *reply, const char *text)
{
    bsonbuild_array_begin(reply, "errors");
    while (*text != '\0') {
        size_t size = strcspn(text, "\n");

        bsonbuild_string(reply, NULL, ((struct bytes){ (const uint8_t *)text, size }));
        text += size + (text[size] == '\n');
    }
    bsonbuild_array_end(reply);
}

static err_t
run_check(struct mongo_request *request, char **text, struct check_result *result, bool *found)
{
    size_t size;
    FILE *lines = open_memstream(text, &size);
    bool incomplete;
    err_t err;

    if (lines == NULL)
        return err_set_errno("could not take memory for a report");
    err = verb_check(request->op, &request->ns, lines, result, found);
    incomplete = ferror(lines) != 0;
    incomplete |= fclose(lines) != 0 || *text == NULL;
    if (incomplete && err == OK)
        err = err_set(ERR_MEMORY, "could not take memory for a report");
    return err;
}

err_t
mongo_inspect_validate(struct mongo_request *request, struct bsonbuild *reply)
{
    struct check_result result = { .faults = 0 };
    char *text = NULL;
    const char *ns;
    bool found;
    err_t err;

    TRY(mongo_fields_parse(request, validate_fields, NULL));
    TRY(run_check(request, &text, &result, &found));
    if (!found)
        TRY(err_set(ERR_NAMESPACE_NOT_FOUND, "Collection '%s.%s' does not exist to validate.",
            request->ns.database, request->ns.collection));
    ns = arena_printf(request->op->arena, "%s.%s", request->ns.database, request->ns.collection);
    if (ns == NULL)
        TRY(ERR_MEMORY);
    bsonbuild_text(reply, "ns", ns);
    mongo_read_put_count(reply, "nrecords", result.documents);
    mongo_read_put_count(reply, "nIndexes", result.indexes);
    mongo_read_put_count(reply, "nEntries", result.entries);
    mongo_read_put_count(reply, "nPages", result.pages);
    bsonbuild_bool(reply, "valid", result.faults == 0);
    bsonbuild_bool(reply, "repaired", false);
    bsonbuild_array(reply, "warnings", bsonvalue_empty_document);
    put_faults(reply, text);
    err = OK;
out:
    free(text);
    return err;
}
