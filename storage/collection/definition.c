/*
 * definition.c - what an index is to be: MongoDB's index specifications.
 *
 * Every field that MongoDB knows is understood or refused by name; none is silently left out that
 * would change which documents the index holds or refuses.
 */
#include "storage/collection/definition.h"

#include <inttypes.h>
#include <string.h>

#include "base/doc/bsonbuild.h"
#include "base/doc/bsonorder.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/docpath.h"
#include "base/doc/jsonprint.h"

#define EXPIRE_MAX INT32_MAX /* seconds */

enum use {
    USE_KEEP,    /* part of the stored definition as it is */
    USE_FLAG,    /* true or false; kept if true */
    USE_IGNORE,  /* means nothing here */
    USE_REFUSE,  /* would change what the index holds */
    USE_SPECIAL, /* looked at by hand */
};

static const struct known {
    const char *name;
    enum use use;
} known[] = {
    { "v", USE_IGNORE },
    { "key", USE_SPECIAL },
    { "name", USE_SPECIAL },
    { "ns", USE_IGNORE },
    { "background", USE_IGNORE },
    { "unique", USE_FLAG },
    { "sparse", USE_FLAG },
    { "hidden", USE_FLAG },
    { "scalarOnly", USE_FLAG },
    { "dropDups", USE_IGNORE },
    { "expireAfterSeconds", USE_SPECIAL },
    { "storageEngine", USE_IGNORE },
    { "collation", USE_SPECIAL },
    { "partialFilterExpression", USE_REFUSE },
    { "wildcardProjection", USE_REFUSE },
    { "weights", USE_REFUSE },
    { "default_language", USE_REFUSE },
    { "language_override", USE_REFUSE },
    { "textIndexVersion", USE_REFUSE },
    { "2dsphereIndexVersion", USE_REFUSE },
    { "bits", USE_REFUSE },
    { "min", USE_REFUSE },
    { "max", USE_REFUSE },
    { "bucketSize", USE_REFUSE },
    { "clustered", USE_REFUSE },
    { "prepareUnique", USE_REFUSE },
};
#define KNOWN_COUNT (sizeof known / sizeof known[0])

static const struct known *
look_up(struct bytes key)
{
    for (size_t i = 0; i < KNOWN_COUNT; i++) {
        if (bytes_is(key, known[i].name))
            return &known[i];
    }
    return NULL;
}

static err_t
read_name(struct arena *arena, const struct bsonvalue *value, struct definition *definition)
{
    struct bytes name;

    if (value->type != BSONTYPE_STRING)
        return err_set(ERR_TYPE_MISMATCH, "The field 'name' must be a string");
    name = bsonvalue_string(value);
    if (name.size == 0)
        return err_set(ERR_CANNOT_CREATE_INDEX, "index name cannot be empty");
    if (name.size > CATALOG_NAME_MAX || memchr(name.data, 0, name.size) != NULL)
        return err_set(ERR_CANNOT_CREATE_INDEX, "index name must be at most %d bytes without NUL",
            CATALOG_NAME_MAX);
    if (bytes_is(name, "*"))
        return err_set(ERR_BAD_VALUE, "The index name '*' is not valid.");
    definition->name = arena_string(arena, name);
    return definition->name != NULL ? OK : ERR_MEMORY;
}

static err_t
check_expire(const struct bsonvalue *value)
{
    int64_t seconds;

    if (!bsonvalue_is_number(value->type) || !bsonvalue_to_int64(value, true, &seconds))
        return err_set(
            ERR_CANNOT_CREATE_INDEX, "TTL index 'expireAfterSeconds' option must be numeric");
    if (seconds < 0 || seconds > EXPIRE_MAX)
        return err_set(ERR_CANNOT_CREATE_INDEX,
            "TTL index 'expireAfterSeconds' option must be within 0 and %d, not %" PRId64,
            EXPIRE_MAX, seconds);
    return OK;
}

static err_t
check_collation(const struct bsonvalue *value)
{
    struct bsonvalue locale;

    if (value->type != BSONTYPE_DOCUMENT)
        return err_set(ERR_TYPE_MISMATCH, "The field 'collation' must be an object");
    if (bsonwalk_get(value->raw, "locale", &locale) && locale.type == BSONTYPE_STRING &&
        bytes_is(bsonvalue_string(&locale), "simple"))
        return OK;
    return err_set(
        ERR_CANNOT_CREATE_INDEX, "an index with a collation other than 'simple' is not offered");
}

static err_t
read_special(struct arena *arena, const struct bsonvalue *value, struct definition *definition)
{
    if (bytes_is(value->key, "name"))
        return read_name(arena, value, definition);
    if (bytes_is(value->key, "expireAfterSeconds"))
        return check_expire(value);
    if (bytes_is(value->key, "collation"))
        return check_collation(value);
    if (value->type != BSONTYPE_DOCUMENT)
        return err_set(ERR_TYPE_MISMATCH, "The field 'key' must be an object");
    definition->key = value->raw;
    return OK;
}

static err_t
read_flag(const struct bsonvalue *value, struct definition *definition)
{
    bool truth = bsonvalue_truth(value);

    if (value->type != BSONTYPE_BOOL && !bsonvalue_is_number(value->type))
        return err_set(ERR_TYPE_MISMATCH, "The field '%.*s' must be a boolean",
            (int)value->key.size, (const char *)value->key.data);
    if (bytes_is(value->key, "unique"))
        definition->unique = truth;
    else if (bytes_is(value->key, "sparse"))
        definition->sparse = truth;
    else if (bytes_is(value->key, "scalarOnly"))
        definition->scalar_only = truth;
    return OK;
}

static err_t
read_field(struct arena *arena, const struct bsonvalue *value, struct definition *definition)
{
    const struct known *field = look_up(value->key);

    if (field == NULL)
        return err_set(ERR_INDEX_SPEC, "The field '%.*s' is not valid for an index specification",
            (int)(value->key.size < 100 ? value->key.size : 100), (const char *)value->key.data);
    switch (field->use) {
    case USE_SPECIAL:
        return read_special(arena, value, definition);
    case USE_FLAG:
        return read_flag(value, definition);
    case USE_REFUSE:
        return err_set(
            ERR_CANNOT_CREATE_INDEX, "the index option '%s' is not offered", field->name);
    case USE_KEEP:
    case USE_IGNORE:
        break;
    }
    return OK;
}

/* a_1_b_-1, as MongoDB's drivers name them. */
static err_t
make_name(struct arena *arena, struct definition *definition)
{
    struct buf buf = buf_init(CATALOG_NAME_MAX);
    struct bsonwalk walk;
    struct bsonvalue value;
    int64_t number;
    err_t err;

    TRY(bsonwalk_begin(&walk, definition->key));
    while (bsonwalk_next(&walk, &value)) {
        TRY(buf_printf(&buf, "%s%.*s_", buf.size > 0 ? "_" : "", (int)value.key.size,
            (const char *)value.key.data));
        if (value.type == BSONTYPE_STRING) {
            struct bytes text = bsonvalue_string(&value);

            TRY(buf_append(&buf, text.data, text.size));
        } else if (bsonvalue_to_int64(&value, true, &number)) {
            TRY(buf_printf(&buf, "%" PRId64, number));
        }
    }
    definition->name = arena_string(arena, buf_bytes(&buf));
    if (definition->name == NULL)
        err = ERR_MEMORY;
out:
    if (err == ERR_MEMORY && buf.size > 0)
        err = err_set(ERR_CANNOT_CREATE_INDEX,
            "the name made from the keys would be longer than %d bytes: give one",
            CATALOG_NAME_MAX);
    buf_fini(&buf);
    return err;
}

static err_t
make_stored(struct arena *arena, struct bytes given, struct definition *definition)
{
    struct bsonbuild build;
    struct bsonvalue value;

    bsonbuild_begin_arena(&build, arena);
    bsonbuild_int32(&build, "v", 2);
    bsonbuild_document(&build, "key", definition->key);
    bsonbuild_text(&build, "name", definition->name);
    for (size_t i = 0; i < KNOWN_COUNT; i++) {
        if (!bsonwalk_get(given, known[i].name, &value))
            continue;
        if (known[i].use == USE_FLAG && bsonvalue_truth(&value))
            bsonbuild_bool(&build, known[i].name, true);
        else if (strcmp(known[i].name, "expireAfterSeconds") == 0)
            bsonbuild_value(&build, known[i].name, &value);
    }
    return bsonbuild_end(&build, &definition->stored);
}

/* What compiling and being a hash index or a TTL index want. */
static err_t
check_keys(struct arena *arena, struct bytes given, struct definition *definition)
{
    struct indexkey_spec spec;
    struct bsonvalue value;
    bool is_id = false;

    TRY_RETURN(indexkey_spec_parse(arena, definition->key, &spec));
    definition->kind = spec.hashed ? INDEX_HASH : INDEX_BTREE;
    if (index_methods(definition->kind) == NULL)
        return err_set(ERR_CANNOT_CREATE_INDEX, "hashed indexes are not offered");
    if (spec.hashed && definition->unique)
        return err_set(ERR_CANNOT_CREATE_INDEX, "a hashed index cannot be unique");
    if (definition->scalar_only && spec.count != 1)
        return err_set(ERR_CANNOT_CREATE_INDEX, "a scalarOnly index has one field");
    is_id =
        spec.count == 1 && bytes_is(spec.field[0].path->text, "_id") && !spec.field[0].descending;
    if (is_id && (definition->sparse || definition->scalar_only))
        return err_set(ERR_INDEX_SPEC, "the index on _id cannot have options");
    if (bsonwalk_get(given, "expireAfterSeconds", &value) && (spec.count != 1 || is_id))
        return err_set(ERR_CANNOT_CREATE_INDEX,
            "TTL indexes are single-field indexes on other fields than _id");
    return OK;
}

err_t
definition_read(struct arena *arena, struct bytes bytes, struct definition *definition)
{
    struct bsonwalk walk;
    struct bsonvalue value;

    memset(definition, 0, sizeof *definition);
    TRY_RETURN(bsonwalk_begin(&walk, bytes));
    while (bsonwalk_next(&walk, &value))
        TRY_RETURN(read_field(arena, &value, definition));
    TRY_RETURN(bsonwalk_end(&walk));
    if (definition->key.size == 0)
        return err_set(ERR_FAILED_TO_PARSE,
            "The 'key' field is a required property of an index specification");
    TRY_RETURN(check_keys(arena, bytes, definition));
    if (definition->name == NULL)
        TRY_RETURN(make_name(arena, definition));
    return make_stored(arena, bytes, definition);
}

err_t
definition_of_id(struct arena *arena, struct definition *definition)
{
    struct bsonbuild build;

    memset(definition, 0, sizeof *definition);
    bsonbuild_begin_arena(&build, arena);
    bsonbuild_int32(&build, "_id", 1);
    TRY_RETURN(bsonbuild_end(&build, &definition->key));
    definition->name = "_id_";
    definition->unique = true;
    definition->kind = INDEX_BTREE;
    return make_stored(arena, bsonvalue_empty_document, definition);
}

static bool
flag(struct bytes definition, const char *name)
{
    struct bsonvalue value;

    return bsonwalk_get(definition, name, &value) && bsonvalue_truth(&value);
}

err_t
definition_compile(struct arena *arena, struct catalog_index *index)
{
    struct indexkey_spec *spec = arena_zalloc(arena, sizeof *spec);
    struct bsonvalue key, value;

    if (spec == NULL)
        return ERR_MEMORY;
    if (!bsonwalk_get(index->definition, "key", &key) || key.type != BSONTYPE_DOCUMENT)
        return err_set(ERR_CORRUPT, "the definition of an index has no key");
    index->key_pattern = key.raw;
    TRY_RETURN(indexkey_spec_parse(arena, key.raw, spec));
    index->sparse = flag(index->definition, "sparse");
    index->scalar_only = flag(index->definition, "scalarOnly");
    index->special = bsonwalk_get(index->definition, "partialFilterExpression", &value) ||
                     bsonwalk_get(index->definition, "collation", &value);
    spec->size_max = INDEX_KEY_MAX;
    spec->sparse = index->sparse;
    spec->scalar_only = index->scalar_only;
    index->spec = spec;
    return OK;
}

/* The same fields in the same order and directions. */
static bool
same_keys(struct bytes a, struct bytes b)
{
    return bsonorder_compare_documents(a, b) == 0;
}

static bool
same_options(struct bytes a, struct bytes b)
{
    struct bsonvalue x, y;

    for (size_t i = 0; i < KNOWN_COUNT; i++) {
        bool in_a, in_b;

        if (known[i].use != USE_FLAG && strcmp(known[i].name, "expireAfterSeconds") != 0)
            continue;
        in_a = bsonwalk_get(a, known[i].name, &x);
        in_b = bsonwalk_get(b, known[i].name, &y);
        if (in_a != in_b || (in_a && bsonorder_compare(&x, &y) != 0))
            return false;
    }
    return true;
}

static err_t
conflict(err_t code, const char *what, const struct definition *definition,
    const struct catalog_index *there)
{
    struct buf text = buf_init(4096);
    err_t err;

    TRY(jsonprint_document(&text, definition->stored, JSONPRINT_RELAXED));
    TRY(buf_append_text(&text, ", existing index: "));
    TRY(jsonprint_document(&text, there->definition, JSONPRINT_RELAXED));
out:
    if (err != OK)
        text.size = 0;
    err = err_set(code, "%s. Requested index: %.*s", what, (int)text.size,
        text.size > 0 ? (const char *)text.data : "");
    buf_fini(&text);
    return err;
}

static err_t
compare_one(const struct catalog_index *there, const struct definition *definition, bool *existed)
{
    bool is_name = strcmp(there->name, definition->name) == 0;
    bool is_key = same_keys(there->key_pattern, definition->key);
    bool is_id = strcmp(there->name, "_id_") == 0;

    /* Whoever asks for an index on _id under whatever name has it. */
    if (is_key && is_id) {
        *existed = true;
        return OK;
    }
    if (!is_name && !is_key)
        return OK;
    if (is_name && !is_key)
        return conflict(ERR_INDEX_KEY_SPECS,
            "An existing index has the same name as the requested index. When index names are not "
            "specified, they are auto generated and can cause conflicts",
            definition, there);
    if (!is_name)
        return err_set(
            ERR_INDEX_OPTIONS, "Index already exists with a different name: %s", there->name);
    if (!same_options(there->definition, definition->stored))
        return conflict(ERR_INDEX_OPTIONS,
            "An equivalent index already exists with the same name but different options",
            definition, there);
    *existed = true;
    return OK;
}

err_t
definition_compare(
    const struct catalog_collection *collection, const struct definition *definition, bool *existed)
{
    *existed = false;
    for (unsigned i = 0; i < collection->index_count && !*existed; i++)
        TRY_RETURN(compare_one(collection->index[i], definition, existed));
    if (!*existed && strcmp(definition->name, "_id_") == 0)
        return err_set(ERR_CANNOT_CREATE_INDEX,
            "The index name '_id_' is reserved for the _id index, which must have key pattern "
            "{_id: 1}");
    if (!*existed && collection->index_count >= CATALOG_INDEXES_MAX)
        return err_set(ERR_CANNOT_CREATE_INDEX, "add index fails, too many indexes for %s.%s",
            collection->database, collection->name);
    return OK;
}
