/*
 * json_document.c - documents as the JSON-lines language has them.
 *
 * INVARIANT
 *   M1  _metadata is made only here, of the document that is stored with it: its size_bytes is
 *       true of the fields beside it, and its version counts the changes made in this language.
 */
#include "backend/command/json_document.h"

#include <stdlib.h>

#include "base/doc/bsonwalk.h"
#include "base/doc/jsonprint.h"
#include "base/ids.h"

#define FEW_MEMBERS 24 /* sorted by insertion */

/* Members of a document, in order. */
struct members {
    struct bsonvalue *member;
    size_t count;
};

static int
compare_members(const void *a, const void *b)
{
    const struct bsonvalue *left = a, *right = b;
    int order = bytes_compare(left->key, right->key);

    return order != 0 ? order
                      : (left->key.data > right->key.data) - (left->key.data < right->key.data);
}

/* Nearly always they are in order already: stored documents are, but for what updates added. */
static void
sort_members(struct members *members)
{
    if (members->count > FEW_MEMBERS) {
        qsort(members->member, members->count, sizeof members->member[0], compare_members);
        return;
    }
    for (size_t i = 1; i < members->count; i++) {
        struct bsonvalue moving = members->member[i];
        size_t at = i;

        for (; at > 0 && compare_members(&members->member[at - 1], &moving) > 0; at--)
            members->member[at] = members->member[at - 1];
        members->member[at] = moving;
    }
}

/* `room`: FEW_MEMBERS places for the usual case; more are malloced. */
static err_t
collect(struct bytes document, struct bsonvalue *room, struct members *members)
{
    struct bsonwalk walk;
    struct bsonvalue value;
    size_t count = bsonwalk_count(document);

    members->member = room;
    members->count = 0;
    TRY_RETURN(bsonwalk_begin(&walk, document));
    if (count > FEW_MEMBERS) {
        members->member = malloc(count * sizeof value);
        if (members->member == NULL)
            return err_set(ERR_MEMORY, "could not allocate %zu members", count);
    }
    while (members->count < count && bsonwalk_next(&walk, &value))
        members->member[members->count++] = value;
    sort_members(members);
    return OK;
}

static void
let_go(struct members *members, const struct bsonvalue *room)
{
    if (members->member != room)
        free(members->member);
}

/* Recursion is bounded: bsonbuild refuses more than BSONVALUE_DEPTH_MAX levels. */
void
json_document_put_sorted(struct bsonbuild *build, const struct bsonvalue *value)
{
    struct bsonwalk walk;
    struct bsonvalue item;

    if (value->type == BSONTYPE_DOCUMENT) {
        bsonbuild_document_begin(build, value->key);
        bsonbuild_elements_sorted(build, value->raw);
        bsonbuild_document_end(build);
    } else if (value->type == BSONTYPE_ARRAY && bsonwalk_begin(&walk, value->raw) == OK) {
        bsonbuild_array_begin(build, value->key);
        while (build->err == OK && bsonwalk_next(&walk, &item))
            json_document_put_sorted(build, &item);
        bsonbuild_array_end(build);
    } else
        bsonbuild_element(build, value);
}

/* ---------------------------------------------------------------- size_bytes */

static uint64_t value_size(const struct bsonvalue *value);

static uint64_t
fields_size(struct bytes document, bool named)
{
    struct bsonwalk walk;
    struct bsonvalue value;
    uint64_t size = 8;

    if (bsonwalk_begin(&walk, document) != OK)
        return size;
    while (bsonwalk_next(&walk, &value))
        size += (named ? 8 + value.key.size : 0) + value_size(&value);
    return size;
}

static uint64_t
date_size(int64_t ms)
{
    char text[JSONPRINT_DATE_MAX];

    return 8 + jsonprint_date(ms, "+00:00", text);
}

/* Without the 4 bytes that every value has.  Recursion is bounded by the document's depth. */
static uint64_t
payload_size(const struct bsonvalue *value)
{
    switch (value->type) {
    case BSONTYPE_NULL:
    case BSONTYPE_UNDEFINED:
    case BSONTYPE_MINKEY:
    case BSONTYPE_MAXKEY:
        return 0;
    case BSONTYPE_BOOL:
        return 1;
    case BSONTYPE_INT32:
        return 4;
    case BSONTYPE_INT64:
    case BSONTYPE_DOUBLE:
        return 8;
    case BSONTYPE_STRING:
    case BSONTYPE_SYMBOL:
    case BSONTYPE_CODE:
        return 8 + bsonvalue_string(value).size;
    case BSONTYPE_DOCUMENT:
        return fields_size(value->raw, true);
    case BSONTYPE_ARRAY:
        return fields_size(value->raw, false);
    case BSONTYPE_BINARY:
        return 8 + value->raw.size - 5;
    case BSONTYPE_OBJECTID:
        return 8 + 24;
    case BSONTYPE_DATE:
        return date_size(bsonvalue_int64(value));
    case BSONTYPE_TIMESTAMP:
        return 12;
    case BSONTYPE_REGEX:
        return 16 + value->raw.size - 2; /* two texts with their NULs */
    default:
        return value->raw.size;
    }
}

static uint64_t
value_size(const struct bsonvalue *value)
{
    return 4 + payload_size(value);
}

static bool
is_own(struct bytes key)
{
    return bytes_is(key, "_id") || bytes_is(key, "_metadata");
}

uint64_t
json_document_size(struct bytes document)
{
    struct bsonwalk walk;
    struct bsonvalue value;
    uint64_t size = 8;

    if (bsonwalk_begin(&walk, document) != OK)
        return size;
    while (bsonwalk_next(&walk, &value))
        if (!is_own(value.key))
            size += 8 + value.key.size + value_size(&value);
    return size;
}

/* ---------------------------------------------------------------- storing */

struct metadata {
    int64_t created_ms, updated_ms, version;
    bool expires;
    int64_t expires_ms;
};

static void
put_metadata(struct bsonbuild *build, const struct metadata *metadata, struct bytes document)
{
    bsonbuild_document_begin(build, "_metadata");
    bsonbuild_date(build, "created_at", metadata->created_ms);
    if (metadata->expires)
        bsonbuild_date(build, "expires_at", metadata->expires_ms);
    bsonbuild_int32(build, "size_bytes", (int32_t)json_document_size(document));
    bsonbuild_date(build, "updated_at", metadata->updated_ms);
    bsonbuild_int64(build, "version", metadata->version);
    bsonbuild_document_end(build);
}

static bool
date_member(struct bytes document, const char *key, int64_t *ms)
{
    struct bsonvalue value;

    if (!bsonwalk_get(document, key, &value) || value.type != BSONTYPE_DATE)
        return false;
    *ms = bsonvalue_int64(&value);
    return true;
}

/* What this language keeps; false: another one's document, or none of our making. */
static bool
read_metadata(struct bytes document, struct metadata *metadata)
{
    struct bsonvalue kept, version;

    if (!bsonwalk_get(document, "_metadata", &kept) || kept.type != BSONTYPE_DOCUMENT ||
        !date_member(kept.raw, "created_at", &metadata->created_ms) ||
        !date_member(kept.raw, "updated_at", &metadata->updated_ms) ||
        !bsonwalk_get(kept.raw, "version", &version) ||
        !bsonvalue_to_int64(&version, false, &metadata->version))
        return false;
    metadata->expires = date_member(kept.raw, "expires_at", &metadata->expires_ms);
    return true;
}

static void
put_new_id(struct bsonbuild *build)
{
    struct uuid uuid = ids_uuid();
    char text[IDS_TEXT_SIZE];

    ids_format(&uuid, text);
    bsonbuild_text(build, "_id", text);
}

/* Everything but _id and _metadata, in order at every level. */
static void
put_fields(struct bsonbuild *build, struct bytes document)
{
    struct bsonvalue room[FEW_MEMBERS];
    struct members members;

    if (build->err == OK)
        build->err = collect(document, room, &members);
    if (build->err != OK)
        return;
    for (size_t i = 0; i < members.count && build->err == OK; i++)
        if (!is_own(members.member[i].key))
            json_document_put_sorted(build, &members.member[i]);
    let_go(&members, room);
}

err_t
json_document_insert(
    struct arena *arena, struct bytes document, bool metadata, int64_t now_ms, struct bytes *stored)
{
    struct metadata fresh = { now_ms, now_ms, 1, false, 0 };
    struct bsonbuild build;
    struct bsonvalue id;
    bool given = bsonwalk_get(document, "_id", &id);

    if (given && (id.type == BSONTYPE_ARRAY || id.type == BSONTYPE_REGEX))
        return err_set(ERR_INVALID_ID_FIELD, "_id cannot be %s",
            id.type == BSONTYPE_ARRAY ? "an array" : "a regular expression");
    bsonbuild_begin_arena(&build, arena);
    if (given)
        json_document_put_sorted(&build, &id);
    else
        put_new_id(&build);
    if (metadata)
        put_metadata(&build, &fresh, document);
    put_fields(&build, document);
    return bsonbuild_end(&build, stored);
}

static err_t
rebuild(struct buf *out, const struct bsonvalue *id, const struct metadata *metadata,
    struct bytes fields, struct bytes *stored)
{
    struct bsonbuild build;

    buf_clear(out);
    bsonbuild_begin(&build, out);
    bsonbuild_element(&build, id);
    put_metadata(&build, metadata, fields);
    put_fields(&build, fields);
    return bsonbuild_end(&build, stored);
}

err_t
json_document_renew(
    struct buf *out, struct bytes before, struct bytes after, int64_t now_ms, struct bytes *stored)
{
    struct metadata kept;
    struct bsonvalue id, metadata;

    *stored = before;
    if (bytes_equal(before, after))
        return OK;
    *stored = after;
    if (!read_metadata(before, &kept) || !bsonwalk_get(after, "_id", &id))
        return OK;
    if (!bsonwalk_get(after, "_metadata", &metadata)) { /* a replacement: is it the same? */
        TRY_RETURN(rebuild(out, &id, &kept, after, stored));
        if (bytes_equal(before, *stored))
            return OK;
    }
    kept.version++;
    kept.updated_ms = now_ms;
    return rebuild(out, &id, &kept, after, stored);
}

err_t
json_document_upsert(struct buf *out, struct bytes made, const struct bsonvalue *id, bool metadata,
    int64_t now_ms, struct bytes *stored)
{
    struct metadata fresh = { now_ms, now_ms, 1, false, 0 };
    struct bsonbuild build;
    struct bsonvalue key;

    buf_clear(out);
    bsonbuild_begin(&build, out);
    if (id != NULL) {
        key = *id;
        key.key = bytes_of("_id");
        json_document_put_sorted(&build, &key);
    } else
        put_new_id(&build);
    if (metadata)
        put_metadata(&build, &fresh, made);
    put_fields(&build, made);
    return bsonbuild_end(&build, stored);
}

/* ---------------------------------------------------------------- printing */

err_t
json_document_print_id(struct buf *out, const struct bsonvalue *id)
{
    struct uuid uuid;
    char text[IDS_TEXT_SIZE];
    struct bytes data;
    uint8_t subtype;

    if (id->type != BSONTYPE_BINARY)
        return jsonprint_value(out, id, JSONPRINT_WIRE);
    data = bsonvalue_binary(id, &subtype);
    if (subtype != BSONSUBTYPE_UUID || data.size != sizeof uuid.bytes)
        return jsonprint_value(out, id, JSONPRINT_WIRE);
    memcpy(uuid.bytes, data.data, sizeof uuid.bytes);
    ids_format(&uuid, text);
    return buf_printf(out, "\"%s\"", text);
}

bool
json_document_is_uuid(const struct bsonvalue *value, uint8_t uuid[16])
{
    struct uuid parsed;
    char text[IDS_TEXT_SIZE];
    struct bytes given;

    if (value->type != BSONTYPE_STRING)
        return false;
    given = bsonvalue_string(value);
    if (given.size != IDS_TEXT_SIZE - 1 || !ids_parse(given, &parsed))
        return false;
    ids_format(&parsed, text);
    memcpy(uuid, parsed.bytes, sizeof parsed.bytes);
    return bytes_is(given, text);
}

static err_t
print_member(struct buf *out, const struct bsonvalue *value, bool *first)
{
    if (!*first)
        TRY_RETURN(buf_append_byte(out, ','));
    *first = false;
    TRY_RETURN(jsonprint_string(out, value->key));
    return buf_append_byte(out, ':');
}

/* Dates as texts, without what is hidden.  Stored in order, so printed as it stands. */
static err_t
print_metadata(struct buf *out, struct bytes metadata)
{
    struct bsonwalk walk;
    struct bsonvalue value;
    bool first = true;

    TRY_RETURN(buf_append_byte(out, '{'));
    TRY_RETURN(bsonwalk_begin(&walk, metadata));
    while (bsonwalk_next(&walk, &value)) {
        char text[JSONPRINT_DATE_MAX];
        size_t size = 0;

        if (bytes_is(value.key, "expires_at"))
            continue;
        TRY_RETURN(print_member(out, &value, &first));
        if (value.type == BSONTYPE_DATE)
            size = jsonprint_date(bsonvalue_int64(&value), "+00:00", text);
        if (size > 0)
            TRY_RETURN(buf_printf(out, "\"%.*s\"", (int)size, text));
        else
            TRY_RETURN(jsonprint_value(out, &value, JSONPRINT_WIRE));
    }
    return buf_append_byte(out, '}');
}

static err_t
print_field(struct buf *out, const struct bsonvalue *value, bool metadata, bool *first)
{
    bool kept = bytes_is(value->key, "_metadata") && value->type == BSONTYPE_DOCUMENT;

    if (kept && !metadata)
        return OK;
    TRY_RETURN(print_member(out, value, first));
    if (kept)
        return print_metadata(out, value->raw);
    if (bytes_is(value->key, "_id"))
        return json_document_print_id(out, value);
    return jsonprint_value(out, value, JSONPRINT_WIRE);
}

err_t
json_document_print(struct buf *out, struct bytes document, bool metadata)
{
    struct bsonvalue room[FEW_MEMBERS];
    struct members members;
    bool first = true;
    err_t err;

    TRY_RETURN(collect(document, room, &members));
    TRY(buf_append_byte(out, '{'));
    for (size_t i = 0; i < members.count; i++)
        TRY(print_field(out, &members.member[i], metadata, &first));
    TRY(buf_append_byte(out, '}'));
out:
    let_go(&members, room);
    return err;
}
