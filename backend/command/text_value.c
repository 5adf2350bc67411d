/*
 * text_value.c - what the text protocol calls a document, and how it is kept.
 *
 * Form, with E the size of the element _id (26 bytes for a binary, 46 for a text):
 *
 *     parse:  [ E bytes of room ][ length | members … 0 ]   the JSON parser writes behind the room
 *     kept:   [ length | _id … ][ members … 0 ]             one header moved, nothing copied
 *     print:  the other way round: the header is written over the end of _id
 *
 * INVARIANTS
 *   X1  text_value_print gives back the value that text_value_parse was given, whatever it was:
 *       escaping of names is one to one.
 */
#include "backend/command/text_value.h"

#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/jsonparse.h"
#include "base/doc/jsonprint.h"

#define ID_HEAD     5 /* type, "_id", NUL */
#define LENGTH_SIZE 4
#define UUID_SIZE   16

static void
store32(uint8_t *to, size_t number)
{
    uint32_t word = (uint32_t)number;

    memcpy(to, &word, sizeof word);
}

struct bsonvalue
text_value_id(const uint8_t uuid[16], enum text_value_key key, uint8_t room[TEXT_VALUE_ID_ROOM])
{
    if (key == TEXT_VALUE_BINARY) {
        store32(room, UUID_SIZE);
        room[4] = BSONSUBTYPE_UUID;
        memcpy(room + 5, uuid, UUID_SIZE);
        return bsonvalue_make(BSONTYPE_BINARY, (struct bytes){ room, 5 + UUID_SIZE });
    }
    store32(room, TEXTUUID_SIZE + 1);
    textuuid_print(uuid, (char *)room + 4);
    room[4 + TEXTUUID_SIZE] = '\0';
    return bsonvalue_make(BSONTYPE_STRING, (struct bytes){ room, 4 + TEXTUUID_SIZE + 1 });
}

/* Would a member of this name be mistaken for one of ours: any number of $ before _id, one or more
   before value? */
static bool
escapable(struct bytes name)
{
    size_t dollars = 0;

    while (dollars < name.size && name.data[dollars] == '$')
        dollars++;
    name = (struct bytes){ name.data + dollars, name.size - dollars };
    return bytes_is(name, "_id") || (dollars > 0 && bytes_is(name, "value"));
}

static inline bool
suspicious(struct bytes name)
{
    return name.size > 0 && (name.data[0] == '$' || name.data[0] == '_');
}

static err_t
escape(struct arena *arena, struct bytes name, struct bytes *escaped)
{
    uint8_t *copy;

    *escaped = name;
    if (!suspicious(name) || !escapable(name))
        return OK;
    copy = arena_alloc(arena, name.size + 1);
    if (copy == NULL)
        return ERR_MEMORY;
    copy[0] = '$';
    memcpy(copy + 1, name.data, name.size);
    *escaped = (struct bytes){ copy, name.size + 1 };
    return OK;
}

static struct bytes
unescape(struct bytes name)
{
    struct bytes rest = { name.data + 1, name.size > 0 ? name.size - 1 : 0 };

    return name.size > 0 && name.data[0] == '$' && escapable(rest) ? rest : name;
}

static bool
wants_escape(struct bytes document)
{
    struct bsonvalue member;
    struct bsonwalk walk;

    if (bsonwalk_begin(&walk, document) != OK)
        return false;
    while (bsonwalk_next(&walk, &member))
        if (suspicious(member.key) && escapable(member.key))
            return true;
    return false;
}

static err_t
check_size(size_t size)
{
    if (size > BSONVALUE_DOCUMENT_SIZE_MAX)
        return err_set(ERR_TOO_LARGE, "document too large: %zu bytes (max %u)", size,
            BSONVALUE_DOCUMENT_SIZE_MAX);
    return OK;
}

/* A value that is not an object, or one with names to be escaped: built anew. */
static err_t
rebuild(struct arena *arena, const struct bsonvalue *id, const struct bsonvalue *value,
    struct bytes *document)
{
    struct bsonbuild build;
    struct bsonvalue member;
    struct bsonwalk walk;
    struct bytes name;

    bsonbuild_begin_arena(&build, arena);
    bsonbuild_value(&build, "_id", id);
    if (value->type == BSONTYPE_DOCUMENT) {
        TRY_RETURN(bsonwalk_begin(&walk, value->raw));
        while (bsonwalk_next(&walk, &member)) {
            TRY_RETURN(escape(arena, member.key, &name));
            bsonbuild_value(&build, name, &member);
        }
    } else {
        bsonbuild_value(&build, "$value", value);
    }
    TRY_RETURN(bsonbuild_end(&build, document));
    return check_size(document->size);
}

err_t
text_value_parse(struct buf *out, struct arena *arena, const uint8_t uuid[16],
    enum text_value_key key, struct bytes json, struct bytes *document)
{
    struct jsonparse_options options = jsonparse_text;
    struct jsonparse_result result;
    uint8_t room[TEXT_VALUE_ID_ROOM];
    struct bsonvalue id = text_value_id(uuid, key, room);
    size_t id_size = ID_HEAD + id.raw.size;

    options.size_max = BSONVALUE_DOCUMENT_SIZE_MAX;
    buf_clear(out);
    TRY_RETURN(buf_reserve(out, id_size + json.size + 64));
    out->size = id_size;
    TRY_RETURN(jsonparse_value(out, json, &options, &result));
    if (result.value.type != BSONTYPE_DOCUMENT || wants_escape(result.value.raw))
        return rebuild(arena, &id, &result.value, document);
    store32(out->data, out->size);
    out->data[LENGTH_SIZE] = id.type;
    memcpy(out->data + LENGTH_SIZE + 1, "_id", 4);
    memcpy(out->data + LENGTH_SIZE + ID_HEAD, id.raw.data, id.raw.size);
    *document = buf_bytes(out);
    return check_size(document->size);
}

/* The text of a UUID as this house writes it: nothing else is seen as one. */
static bool
parse_canonical(struct bytes text, uint8_t uuid[16])
{
    char canonical[TEXTUUID_SIZE];

    if (text.size != TEXTUUID_SIZE || !textuuid_parse(text, uuid))
        return false;
    textuuid_print(uuid, canonical);
    return memcmp(canonical, text.data, TEXTUUID_SIZE) == 0;
}

bool
text_value_key(struct bytes document, uint8_t uuid[16], enum text_value_key *key)
{
    struct bsonwalk walk;
    struct bsonvalue id;
    struct bytes binary;
    uint8_t subtype;

    if (bsonwalk_begin(&walk, document) != OK || !bsonwalk_next(&walk, &id) ||
        !bytes_is(id.key, "_id"))
        return false;
    if (id.type == BSONTYPE_STRING) {
        *key = TEXT_VALUE_STRING;
        return parse_canonical(bsonvalue_string(&id), uuid);
    }
    if (id.type != BSONTYPE_BINARY)
        return false;
    binary = bsonvalue_binary(&id, &subtype);
    if (subtype != BSONSUBTYPE_UUID || binary.size != UUID_SIZE)
        return false;
    memcpy(uuid, binary.data, UUID_SIZE);
    *key = TEXT_VALUE_BINARY;
    return true;
}

/* Members with their own names again. */
static err_t
print_unescaped(struct buf *out, struct arena *arena, struct bytes members)
{
    struct bsonbuild build;
    struct bsonvalue member;
    struct bsonwalk walk;
    struct bytes document;

    bsonbuild_begin_arena(&build, arena);
    TRY_RETURN(bsonwalk_begin(&walk, members));
    while (bsonwalk_next(&walk, &member))
        bsonbuild_value(&build, unescape(member.key), &member);
    TRY_RETURN(bsonwalk_end(&walk));
    TRY_RETURN(bsonbuild_end(&build, &document));
    return jsonprint_document(out, document, JSONPRINT_WIRE);
}

err_t
text_value_print(struct buf *out, struct arena *arena, uint8_t *document, size_t size)
{
    struct bsonvalue member, alone;
    struct bytes members;
    struct bsonwalk walk;
    bool escaped = false;
    size_t count = 0, id_size;

    TRY_RETURN(bsonwalk_begin(&walk, (struct bytes){ document, size }));
    if (!bsonwalk_next(&walk, &member) || !bytes_is(member.key, "_id"))
        return err_set(ERR_CORRUPT, "a document does not begin with _id");
    while (bsonwalk_next(&walk, &alone)) {
        escaped |= alone.key.size > 0 && alone.key.data[0] == '$';
        count++;
    }
    TRY_RETURN(bsonwalk_end(&walk));
    if (count == 1 && bytes_is(alone.key, "$value"))
        return jsonprint_value(out, &alone, JSONPRINT_WIRE);
    id_size = ID_HEAD + member.raw.size;
    members = (struct bytes){ document + id_size, size - id_size };
    store32(document + id_size, members.size);
    return escaped ? print_unescaped(out, arena, members)
                   : jsonprint_document(out, members, JSONPRINT_WIRE);
}

err_t
text_value_path(struct arena *arena, struct bytes path, struct bytes *kept)
{
    const uint8_t *dot = path.size > 0 ? memchr(path.data, '.', path.size) : NULL;
    size_t first = dot != NULL ? (size_t)(dot - path.data) : path.size;
    char *copy;

    *kept = path;
    if (!escapable((struct bytes){ path.data, first }))
        return OK;
    copy = arena_printf(arena, "$%.*s", (int)path.size, (const char *)path.data);
    if (copy == NULL)
        return ERR_MEMORY;
    *kept = bytes_of(copy);
    return OK;
}
