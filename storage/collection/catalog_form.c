/*
 * catalog_form.c - what the catalog's rows say: BSON both ways.
 */
#include "storage/collection/catalog_form.h"

#include <string.h>

#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"

/* ---- making ---- */

static struct bytes
or_empty(struct bytes document)
{
    return document.size > 0 ? document : bsonvalue_empty_document;
}

err_t
catalog_form_make_collection(
    struct arena *arena, const struct catalog_form_collection *collection, struct bytes *row)
{
    struct bsonbuild build;

    bsonbuild_begin_arena(&build, arena);
    bsonbuild_int64(&build, "oid", (int64_t)collection->oid);
    bsonbuild_string(&build, "tenant", collection->tenant);
    bsonbuild_string(&build, "database", collection->database);
    bsonbuild_string(&build, "name", collection->name);
    bsonbuild_binary(&build, "uuid", BSONSUBTYPE_UUID,
        ((struct bytes){ collection->uuid, sizeof collection->uuid }));
    bsonbuild_int64(&build, "heap", collection->heap.file);
    bsonbuild_int64(&build, "map", collection->heap.map);
    bsonbuild_document(&build, "options", or_empty(collection->options));
    bsonbuild_bool(&build, "stringKeys", collection->string_keys);
    return bsonbuild_end(&build, row);
}

err_t
catalog_form_make_index(
    struct arena *arena, const struct catalog_form_index *index, struct bytes *row)
{
    struct bsonbuild build;

    bsonbuild_begin_arena(&build, arena);
    bsonbuild_int64(&build, "oid", (int64_t)index->oid);
    bsonbuild_int64(&build, "collection", (int64_t)index->collection);
    bsonbuild_string(&build, "name", index->name);
    bsonbuild_document(&build, "definition", or_empty(index->definition));
    bsonbuild_int64(&build, "file", index->index.file);
    bsonbuild_int32(&build, "kind", (int32_t)index->index.kind);
    bsonbuild_bool(&build, "unique", index->index.unique);
    bsonbuild_int32(&build, "state", (int32_t)index->state);
    bsonbuild_bool(&build, "multikey", index->multikey);
    bsonbuild_int64(&build, "usableFrom", (int64_t)index->usable_from);
    bsonbuild_int64(&build, "life", (int64_t)index->life);
    return bsonbuild_end(&build, row);
}

err_t
catalog_form_make_place(
    struct arena *arena, const struct catalog_form_place *place, struct bytes *row)
{
    struct bsonbuild build;

    bsonbuild_begin_arena(&build, arena);
    bsonbuild_string(&build, "tenant", place->tenant);
    bsonbuild_string(&build, "database", place->database);
    bsonbuild_string(&build, "name", place->name);
    return bsonbuild_end(&build, row);
}

err_t
catalog_form_make_name(
    struct arena *arena, const char *name, struct bytes options, struct bytes *row)
{
    struct bsonbuild build;

    bsonbuild_begin_arena(&build, arena);
    bsonbuild_text(&build, "name", name);
    bsonbuild_document(&build, "options", or_empty(options));
    return bsonbuild_end(&build, row);
}

/* ---- reading ---- */

/* A row being read; the first thing that is missing or of another type makes it bad. */
struct reading {
    struct bytes row;
    bool bad;
};

static struct bsonvalue
field(struct reading *reading, const char *key, uint8_t type)
{
    struct bsonvalue value;

    if (reading->bad || !bsonwalk_get(reading->row, key, &value) || value.type != type) {
        reading->bad = true;
        return bsonvalue_null;
    }
    return value;
}

static uint64_t
number(struct reading *reading, const char *key)
{
    struct bsonvalue value = field(reading, key, BSONTYPE_INT64);

    return reading->bad ? 0 : (uint64_t)bsonvalue_int64(&value);
}

static uint32_t
small_number(struct reading *reading, const char *key)
{
    struct bsonvalue value = field(reading, key, BSONTYPE_INT32);

    return reading->bad ? 0 : (uint32_t)bsonvalue_int32(&value);
}

static fileno_t
file_number(struct reading *reading, const char *key)
{
    uint64_t file = number(reading, key);

    if (file == 0 || file > UINT32_MAX)
        reading->bad = true;
    return (fileno_t)file;
}

static bool
truth(struct reading *reading, const char *key)
{
    struct bsonvalue value = field(reading, key, BSONTYPE_BOOL);

    return !reading->bad && bsonvalue_bool(&value);
}

static struct bytes
text(struct reading *reading, const char *key)
{
    struct bsonvalue value = field(reading, key, BSONTYPE_STRING);

    return reading->bad ? (struct bytes){ NULL, 0 } : bsonvalue_string(&value);
}

static struct bytes
document(struct reading *reading, const char *key)
{
    struct bsonvalue value = field(reading, key, BSONTYPE_DOCUMENT);

    return reading->bad ? (struct bytes){ NULL, 0 } : value.raw;
}

static void
uuid(struct reading *reading, uint8_t out[16])
{
    struct bsonvalue value = field(reading, "uuid", BSONTYPE_BINARY);
    struct bytes bytes = { NULL, 0 };
    uint8_t subtype;

    if (!reading->bad)
        bytes = bsonvalue_binary(&value, &subtype);
    if (bytes.size != 16)
        reading->bad = true;
    else
        memcpy(out, bytes.data, 16);
}

static err_t
read_all(const struct reading *reading, const char *what)
{
    return reading->bad ? err_set(ERR_CORRUPT, "a row of the catalog does not describe %s", what)
                        : OK;
}

err_t
catalog_form_collection(struct bytes row, struct catalog_form_collection *collection)
{
    struct reading reading = { row, false };

    collection->oid = number(&reading, "oid");
    collection->tenant = text(&reading, "tenant");
    collection->database = text(&reading, "database");
    collection->name = text(&reading, "name");
    uuid(&reading, collection->uuid);
    collection->heap.file = file_number(&reading, "heap");
    collection->heap.map = file_number(&reading, "map");
    collection->options = document(&reading, "options");
    collection->string_keys = truth(&reading, "stringKeys");
    return read_all(&reading, "a collection");
}

err_t
catalog_form_index(struct bytes row, struct catalog_form_index *index)
{
    struct reading reading = { row, false };

    index->oid = number(&reading, "oid");
    index->collection = number(&reading, "collection");
    index->name = text(&reading, "name");
    index->definition = document(&reading, "definition");
    index->index.file = file_number(&reading, "file");
    index->index.kind = (enum index_kind)small_number(&reading, "kind");
    index->index.unique = truth(&reading, "unique");
    index->state = (enum catalog_index_state)small_number(&reading, "state");
    index->multikey = truth(&reading, "multikey");
    index->usable_from = number(&reading, "usableFrom");
    index->life = number(&reading, "life");
    if (index->state > CATALOG_INDEX_READY || index_methods(index->index.kind) == NULL)
        reading.bad = true;
    return read_all(&reading, "an index");
}

err_t
catalog_form_place(struct bytes row, struct catalog_form_place *place)
{
    struct reading reading = { row, false };

    place->tenant = text(&reading, "tenant");
    place->database = text(&reading, "database");
    place->name = text(&reading, "name");
    return read_all(&reading, "the place of a collection");
}

err_t
catalog_form_name(struct bytes row, struct bytes *name, struct bytes *options)
{
    struct reading reading = { row, false };

    *name = text(&reading, "name");
    *options = document(&reading, "options");
    return read_all(&reading, "a tenant or database");
}
