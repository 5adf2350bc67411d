/*
 * opmsg.c - messages of the MongoDB wire protocol.
 *
 * A message:
 *      0 size   4 request id   8 response to   12 opcode
 *   OP_MSG:    16 flags, then sections (kind byte 0: one document; kind byte 1: size, name,
 *              NUL, documents), then a CRC-32C of all before it if the flags say so
 *   OP_QUERY:  16 flags, collection, NUL, skip, how many, document, [projection]
 *
 * INVARIANTS
 *   M1  A cursor never goes beyond its end, and every size is compared with what is left
 *       before it is used.
 *   M2  Every document in a request that is yielded has passed bsonwalk_validate.
 *   M3  A request has exactly one body, and no field of the body has a sequence's name.
 */
#include "base/wire/opmsg.h"

#include "base/crc32c.h"
#include "base/doc/bsonvalue.h"
#include "base/doc/bsonwalk.h"
#include "base/mutant.h"

#define REQUIRED_FLAGS 0xffffu
#define KNOWN_FLAGS    ((uint32_t)(OPMSG_CHECKSUM_PRESENT | OPMSG_MORE_TO_COME))
#define CHECKSUM_SIZE  4
#define DATABASE_MAX   63
#define BAD_NAME_BYTES "/\\. \"$*<>:|?"

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
};

static size_t
left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}

static bool
take32(struct cursor *c, uint32_t *word)
{
    if (left(c) < sizeof *word)
        return false;
    *word = bsonvalue_load32(c->at);
    c->at += sizeof *word;
    return true;
}

/* A text up to a NUL, without it. */
static bool
take_cstring(struct cursor *c, struct bytes *text)
{
    const uint8_t *nul = left(c) > 0 ? memchr(c->at, 0, left(c)) : NULL;

    if (nul == NULL)
        return false;
    *text = (struct bytes){ c->at, (size_t)(nul - c->at) };
    c->at = nul + 1;
    return true;
}

/* A BSON document by its length word; nothing else is looked at. */
static bool
take_document(struct cursor *c, struct bytes *document)
{
    uint32_t size;

    if (left(c) < BSONVALUE_DOCUMENT_SIZE_LEAST)
        return false;
    size = bsonvalue_load32(c->at);
    if (size < BSONVALUE_DOCUMENT_SIZE_LEAST || size > left(c))
        return false;
    *document = (struct bytes){ c->at, size };
    c->at += size;
    return true;
}

static enum opmsg_verdict
broken(const char *what)
{
    (void)err_set(ERR_PROTOCOL, "could not read the message: %s", what);
    return OPMSG_REFUSE_END;
}

enum opmsg_frame
opmsg_frame(struct bytes input, size_t size_max, struct bytes *frame, size_t *wanted)
{
    uint32_t size;

    *wanted = OPMSG_HEADER_SIZE;
    if (input.size < sizeof size)
        return OPMSG_MORE;
    size = bsonvalue_load32(input.data);
    if (size < OPMSG_HEADER_SIZE ||
        ((size > size_max || size > INT32_MAX) && !mutant(MUTANT_OPMSG_UNBOUNDED)))
        return OPMSG_BROKEN;
    *wanted = size;
    if (input.size < size)
        return OPMSG_MORE;
    *frame = (struct bytes){ input.data, size };
    return OPMSG_WHOLE;
}

/* M2.  The error that bsonwalk noted is the answer. */
static bool
is_valid(struct bytes document, size_t size_max, unsigned depth_max)
{
    const struct bsonwalk_limits limits = { size_max, depth_max };

    return bsonwalk_validate(document, &limits) == OK;
}

/* A name that a database may have; anything else is refused and the error noted. */
static bool
is_database(struct bytes name)
{
    bool good = name.size > 0 && name.size <= DATABASE_MAX;

    if (bytes_is(name, "$external")) /* where X.509 and LDAP users live */
        return true;
    for (size_t i = 0; good && i < name.size; i++)
        good = name.data[i] != 0 && strchr(BAD_NAME_BYTES, name.data[i]) == NULL;
    if (!good)
        (void)err_set(ERR_INVALID_NAMESPACE, "Invalid database name: '%.*s'",
            (int)(name.size < DATABASE_MAX ? name.size : DATABASE_MAX), (const char *)name.data);
    return good;
}

/* ---------------------------------------------------------------- OP_MSG */

static enum opmsg_verdict
decode_sequence(struct cursor *c, struct opmsg_request *request)
{
    struct opmsg_sequence *sequence;
    struct cursor section;
    struct bytes name, document;
    uint32_t size;
    unsigned depth_max = OPMSG_DEPTH_MAX;

    if (!take32(c, &size) || size < sizeof size + 1 || size - sizeof size > left(c))
        return broken("a document sequence has a wrong size");
    section = (struct cursor){ c->at, c->at + (size - sizeof size) };
    c->at = section.end;
    if (!take_cstring(&section, &name))
        return broken("a document sequence has no name");
    if (opmsg_sequence(request, (const char *)name.data) != NULL) {
        (void)err_set(ERR_PROTOCOL, "duplicate document sequence '%.64s'", (const char *)name.data);
        return OPMSG_REFUSE;
    }
    if (request->sequence_count == OPMSG_SEQUENCES_MAX) {
        (void)err_set(ERR_PROTOCOL, "more than %d document sequences", OPMSG_SEQUENCES_MAX);
        return OPMSG_REFUSE;
    }
    sequence = &request->sequence[request->sequence_count++];
    *sequence = (struct opmsg_sequence){ name, { section.at, left(&section) }, 0 };
    if (bytes_is(name, "documents"))
        depth_max = BSONVALUE_MONGO_DEPTH_MAX;
    while (left(&section) > 0) {
        if (!take_document(&section, &document)) {
            (void)err_set(ERR_INVALID_BSON, "a document of sequence '%.64s' has a wrong length",
                (const char *)name.data);
            return OPMSG_REFUSE;
        }
        if (!is_valid(document, BSONVALUE_INTERNAL_SIZE_MAX, depth_max))
            return OPMSG_REFUSE;
        sequence->count++;
    }
    return OPMSG_RUN;
}

static enum opmsg_verdict
decode_body(struct cursor *c, struct opmsg_request *request)
{
    if (request->body.size > 0)
        return broken("more than one section of kind 0");
    if (!take_document(c, &request->body))
        return broken("the body has a wrong length");
    return is_valid(request->body, OPMSG_SIZE_MAX, OPMSG_DEPTH_MAX) ? OPMSG_RUN : OPMSG_REFUSE;
}

static enum opmsg_verdict
decode_sections(struct cursor *c, struct opmsg_request *request)
{
    enum opmsg_verdict verdict = OPMSG_RUN;

    while (left(c) > 0 && verdict == OPMSG_RUN) {
        uint8_t kind = *c->at++;

        if (kind == 0)
            verdict = decode_body(c, request);
        else if (kind == 1)
            verdict = decode_sequence(c, request);
        else
            verdict = broken("a section of an unknown kind");
    }
    return verdict;
}

/* One walk over the body: find $db, and M3. */
static enum opmsg_verdict
check_body(struct opmsg_request *request)
{
    struct bsonvalue value;
    struct bsonwalk walk;
    bool found = false;

    if (bsonwalk_begin(&walk, request->body) != OK)
        return OPMSG_REFUSE;
    while (bsonwalk_next(&walk, &value)) {
        for (uint32_t i = 0; i < request->sequence_count; i++)
            if (bytes_equal(value.key, request->sequence[i].name)) {
                (void)err_set(ERR_PROTOCOL, "field '%.64s' is also a document sequence",
                    (const char *)value.key.data);
                return OPMSG_REFUSE;
            }
        if (!bytes_is(value.key, "$db"))
            continue;
        if (found || value.type != BSONTYPE_STRING) {
            (void)err_set(ERR_TYPE_MISMATCH, "$db must be given once, as a string");
            return OPMSG_REFUSE;
        }
        request->database = bsonvalue_string(&value);
        found = true;
    }
    if (!found) {
        (void)err_set(ERR_PROTOCOL, "OP_MSG requests require a $db argument");
        err_set_mongo(40571, NULL);
        return OPMSG_REFUSE;
    }
    return is_database(request->database) ? OPMSG_RUN : OPMSG_REFUSE;
}

static enum opmsg_verdict
decode_msg(struct cursor *c, struct bytes frame, struct opmsg_request *request)
{
    enum opmsg_verdict verdict;
    uint32_t flags;

    if (!take32(c, &flags))
        return broken("no flags");
    request->more_to_come = (flags & OPMSG_MORE_TO_COME) != 0;
    request->exhaust_allowed = (flags & OPMSG_EXHAUST_ALLOWED) != 0;
    if ((flags & REQUIRED_FLAGS & ~KNOWN_FLAGS) != 0) {
        (void)err_set(ERR_MSG_FLAGS, "message has illegal flag bits: 0x%x", flags);
        return OPMSG_REFUSE_END;
    }
    if ((flags & OPMSG_CHECKSUM_PRESENT) != 0) {
        if (left(c) < CHECKSUM_SIZE)
            return broken("no room for its checksum");
        c->end -= CHECKSUM_SIZE;
        if (crc32c(0, frame.data, frame.size - CHECKSUM_SIZE) != bsonvalue_load32(c->end))
            return broken("its checksum is wrong");
        request->checksum = true;
    }
    verdict = decode_sections(c, request);
    if (verdict != OPMSG_RUN)
        return verdict;
    return request->body.size > 0 ? check_body(request) : broken("no section of kind 0");
}

/* ---------------------------------------------------------------- OP_QUERY */

/* {$query: {command}, $readPreference: {…}} becomes the command and what stands beside it. */
static enum opmsg_verdict
unwrap_query(struct opmsg_request *request)
{
    struct bsonvalue value;

    if (!bsonwalk_get(request->body, "$query", &value))
        return OPMSG_RUN;
    if (value.type != BSONTYPE_DOCUMENT) {
        (void)err_set(ERR_TYPE_MISMATCH, "$query must be a document");
        return OPMSG_REFUSE;
    }
    struct bytes inner = value.raw;

    if (bsonwalk_get(request->body, "$readPreference", &value)) {
        if (value.type != BSONTYPE_DOCUMENT) {
            (void)err_set(ERR_TYPE_MISMATCH, "$readPreference must be a document");
            return OPMSG_REFUSE;
        }
        request->read_preference = value.raw;
    }
    request->body = inner;
    return OPMSG_RUN;
}

static enum opmsg_verdict
decode_query(struct cursor *c, struct opmsg_request *request)
{
    static const char suffix[] = ".$cmd";
    const size_t suffix_size = sizeof suffix - 1;
    struct bytes name, projection;
    uint32_t ignored;

    request->legacy = true;
    if (!take32(c, &ignored) || !take_cstring(c, &name) || !take32(c, &ignored) ||
        !take32(c, &ignored) || !take_document(c, &request->body))
        return broken("OP_QUERY is too short");
    if (left(c) > 0 && (!take_document(c, &projection) || left(c) > 0))
        return broken("OP_QUERY has bytes behind its end");
    if (name.size <= suffix_size ||
        memcmp(name.data + name.size - suffix_size, suffix, suffix_size) != 0) {
        (void)err_set(ERR_COMMAND_NOT_SUPPORTED,
            "Unsupported OP_QUERY command: only commands on *.$cmd are served; use OP_MSG");
        err_set_mongo(352, "UnsupportedOpQueryCommand");
        return OPMSG_REFUSE;
    }
    request->database = (struct bytes){ name.data, name.size - suffix_size };
    if (!is_database(request->database) ||
        !is_valid(request->body, OPMSG_SIZE_MAX, OPMSG_DEPTH_MAX))
        return OPMSG_REFUSE;
    return unwrap_query(request);
}

/* ---------------------------------------------------------------- any message */

enum opmsg_verdict
opmsg_decode(struct bytes frame, struct opmsg_request *request)
{
    struct cursor c = { frame.data + OPMSG_HEADER_SIZE, frame.data + frame.size };

    request->legacy = false;
    request->more_to_come = false;
    request->exhaust_allowed = false;
    request->checksum = false;
    request->body = (struct bytes){ NULL, 0 };
    request->database = (struct bytes){ NULL, 0 };
    request->read_preference = (struct bytes){ NULL, 0 };
    request->sequence_count = 0;
    memcpy(&request->header, frame.data, sizeof request->header);
    switch (request->header.opcode) {
    case OPMSG_OP_MSG:
        return decode_msg(&c, frame, request);
    case OPMSG_OP_QUERY:
        return decode_query(&c, request);
    case OPMSG_OP_COMPRESSED:
        return broken("compression was not agreed");
    default:
        (void)err_set(ERR_PROTOCOL, "unsupported opcode %d", request->header.opcode);
        return OPMSG_DROP;
    }
}

const struct opmsg_sequence *
opmsg_sequence(const struct opmsg_request *request, const char *name)
{
    for (uint32_t i = 0; i < request->sequence_count; i++)
        if (bytes_is(request->sequence[i].name, name))
            return &request->sequence[i];
    return NULL;
}

bool
opmsg_next_document(struct bytes *documents, struct bytes *document)
{
    struct cursor c = { documents->data, documents->data + documents->size };

    if (!take_document(&c, document))
        return false;
    *documents = (struct bytes){ c.at, left(&c) };
    return true;
}
