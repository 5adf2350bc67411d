/*
 * benchmongo.c - `gneiss bench` in MongoDB's wire protocol: OP_MSG, as drivers send it.
 *
 * Commands are built once with numbers in them that occur nowhere else; where those stand are the
 * marks.  All marks have a fixed size, so a message's length does not change.
 */
#include "tools/benchmongo.h"

#include <string.h>

#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"
#include "base/wire/opmsg.h"

#define BODY_AT (OPMSG_HEADER_SIZE + 5) /* header, flags, kind of the section */

#define MAGIC_ID       INT64_C(0x6b1d5a4e3f2c1b0d)
#define MAGIC_LENGTH   INT32_C(0x5c0f4b7e)
#define MAGIC_AGE      INT32_C(0x4a6e3d5f)
#define MAGIC_NAME     "user-987654321012"
#define MAGIC_NAME_END "user-987654321013"

static const enum bench_kind greeting[] = { BENCH_HELLO, BENCH_KIND_COUNT };
static const enum bench_kind setup[] = { BENCH_HELLO, BENCH_KIND_COUNT };

/* ---- shapes ---- */

static void
find_marks(struct benchwire_shape *shape)
{
    static const int64_t id = MAGIC_ID;
    static const int32_t length = MAGIC_LENGTH, age = MAGIC_AGE;
    static const struct {
        const void *magic;
        size_t skip, size; /* of the magic; of what is replaced */
        enum benchwire_mark mark;
    } sought[] = { { &id, 0, sizeof id, BENCHWIRE_ID },
        { &length, 0, sizeof length, BENCHWIRE_LENGTH }, { &age, 0, sizeof age, BENCHWIRE_AGE },
        { MAGIC_NAME, 5, BENCHDOC_NAME_SIZE, BENCHWIRE_NAME },
        { MAGIC_NAME_END, 5, BENCHDOC_NAME_SIZE, BENCHWIRE_NAME_END } };
    const struct bytes text = buf_bytes(&shape->text);

    for (size_t at = 4; at < text.size; at++)
        for (size_t i = 0; i < sizeof sought / sizeof sought[0]; i++) {
            size_t whole = sought[i].skip + sought[i].size;

            if (at + whole > text.size || memcmp(text.data + at, sought[i].magic, whole) != 0 ||
                shape->count == BENCHWIRE_MARKS_MAX)
                continue;
            shape->mark[shape->count].at = at + sought[i].skip;
            shape->mark[shape->count].size = sought[i].size;
            shape->mark[shape->count++].mark = sought[i].mark;
        }
}

static void
set_header(struct bytes message, uint8_t *data, uint32_t serial)
{
    const struct opmsg_header header = {
        .size = (int32_t)message.size, .request_id = (int32_t)serial, .opcode = OPMSG_OP_MSG
    };

    memcpy(data, &header, sizeof header);
}

/* A message around the command that `fill` builds. */
static err_t
shape(struct benchwire *wire, enum bench_kind kind,
    void (*fill)(const struct benchwire *wire, struct bsonbuild *build))
{
    struct benchwire_shape *shape = &wire->shape[kind];
    static const uint8_t front[BODY_AT];
    struct bsonbuild build;

    TRY_RETURN(buf_append(&shape->text, front, sizeof front));
    bsonbuild_begin(&build, &shape->text);
    fill(wire, &build);
    bsonbuild_text(&build, "$db", wire->place.database);
    TRY_RETURN(bsonbuild_end(&build, NULL));
    set_header(buf_bytes(&shape->text), shape->text.data, 0);
    shape->mark[0].at = offsetof(struct opmsg_header, request_id);
    shape->mark[0].size = sizeof(int32_t);
    shape->mark[0].mark = BENCHWIRE_SERIAL;
    shape->count = 1;
    find_marks(shape);
    return OK;
}

static void
fill_hello(const struct benchwire *wire, struct bsonbuild *build)
{
    (void)wire;
    bsonbuild_int32(build, "hello", 1);
}

static void
fill_drop(const struct benchwire *wire, struct bsonbuild *build)
{
    bsonbuild_text(build, "drop", wire->place.collection);
}

static void
fill_create(const struct benchwire *wire, struct bsonbuild *build)
{
    bsonbuild_text(build, "create", wire->place.collection);
}

static void
fill_index(const struct benchwire *wire, struct bsonbuild *build)
{
    bsonbuild_text(build, "createIndexes", wire->place.collection);
    bsonbuild_array_begin(build, "indexes");
    bsonbuild_document_begin(build, NULL);
    bsonbuild_document_begin(build, "key");
    bsonbuild_int32(build, "name", 1);
    bsonbuild_document_end(build);
    bsonbuild_text(build, "name", "by_name");
    bsonbuild_document_end(build);
    bsonbuild_array_end(build);
}

static void
put_id(struct bsonbuild *build, const char *key)
{
    bsonbuild_document_begin(build, key);
    bsonbuild_int64(build, "_id", MAGIC_ID);
    bsonbuild_document_end(build);
}

static void
put_one_batch(struct bsonbuild *build)
{
    bsonbuild_int32(build, "batchSize", 1000);
    bsonbuild_bool(build, "singleBatch", true);
}

static void
fill_get(const struct benchwire *wire, struct bsonbuild *build)
{
    bsonbuild_text(build, "find", wire->place.collection);
    put_id(build, "filter");
    bsonbuild_int32(build, "limit", 1);
    bsonbuild_bool(build, "singleBatch", true);
}

static void
fill_scan(const struct benchwire *wire, struct bsonbuild *build)
{
    bsonbuild_text(build, "find", wire->place.collection);
    bsonbuild_document_begin(build, "filter");
    bsonbuild_document_begin(build, "_id");
    bsonbuild_int64(build, "$gte", MAGIC_ID);
    bsonbuild_document_end(build);
    bsonbuild_document_end(build);
    bsonbuild_document_begin(build, "sort");
    bsonbuild_int32(build, "_id", 1);
    bsonbuild_document_end(build);
    bsonbuild_int32(build, "limit", MAGIC_LENGTH);
    put_one_batch(build);
}

static void
fill_equal(const struct benchwire *wire, struct bsonbuild *build)
{
    bsonbuild_text(build, "find", wire->place.collection);
    bsonbuild_document_begin(build, "filter");
    bsonbuild_text(build, "name", MAGIC_NAME);
    bsonbuild_document_end(build);
    put_one_batch(build);
}

static void
fill_range(const struct benchwire *wire, struct bsonbuild *build)
{
    bsonbuild_text(build, "find", wire->place.collection);
    bsonbuild_document_begin(build, "filter");
    bsonbuild_document_begin(build, "name");
    bsonbuild_text(build, "$gte", MAGIC_NAME);
    bsonbuild_text(build, "$lt", MAGIC_NAME_END);
    bsonbuild_document_end(build);
    bsonbuild_document_end(build);
    put_one_batch(build);
}

static void
put_concern(const struct benchwire *wire, struct bsonbuild *build)
{
    if (wire->place.durable)
        return;
    bsonbuild_document_begin(build, "writeConcern");
    bsonbuild_int32(build, "w", 1);
    bsonbuild_bool(build, "j", false);
    bsonbuild_document_end(build);
}

static void
fill_insert(const struct benchwire *wire, struct bsonbuild *build)
{
    struct buf room = buf_init(2 * BENCHDOC_SIZE_MOST);
    int32_t age = MAGIC_AGE;

    if (benchdoc_append_bson(&wire->doc, &room, (uint64_t)MAGIC_ID, 0, 0) == OK) {
        memcpy(room.data + wire->doc.bson_age_at, &age, sizeof age);
        memcpy(room.data + wire->doc.bson_name_at, &MAGIC_NAME[5], BENCHDOC_NAME_SIZE);
    } else {
        build->err = ERR_MEMORY;
    }
    bsonbuild_text(build, "insert", wire->place.collection);
    bsonbuild_array_begin(build, "documents");
    bsonbuild_document(build, NULL, buf_bytes(&room));
    bsonbuild_array_end(build);
    put_concern(wire, build);
    buf_fini(&room);
}

static void
fill_update(const struct benchwire *wire, struct bsonbuild *build)
{
    bsonbuild_text(build, "update", wire->place.collection);
    bsonbuild_array_begin(build, "updates");
    bsonbuild_document_begin(build, NULL);
    put_id(build, "q");
    bsonbuild_document_begin(build, "u");
    bsonbuild_document_begin(build, "$set");
    bsonbuild_int32(build, "age", MAGIC_AGE);
    bsonbuild_document_end(build);
    bsonbuild_document_end(build);
    bsonbuild_document_end(build);
    bsonbuild_array_end(build);
    put_concern(wire, build);
}

static void
fill_delete(const struct benchwire *wire, struct bsonbuild *build)
{
    bsonbuild_text(build, "delete", wire->place.collection);
    bsonbuild_array_begin(build, "deletes");
    bsonbuild_document_begin(build, NULL);
    put_id(build, "q");
    bsonbuild_int32(build, "limit", 1);
    bsonbuild_document_end(build);
    bsonbuild_array_end(build);
    put_concern(wire, build);
}

static err_t
prepare(struct benchwire *wire)
{
    TRY_RETURN(shape(wire, BENCH_HELLO, fill_hello));
    TRY_RETURN(shape(wire, BENCH_DROP, fill_drop));
    TRY_RETURN(shape(wire, BENCH_COLLECTION, fill_create));
    TRY_RETURN(shape(wire, BENCH_MAKE_INDEX, fill_index));
    TRY_RETURN(shape(wire, BENCH_GET, fill_get));
    TRY_RETURN(shape(wire, BENCH_SCAN, fill_scan));
    TRY_RETURN(shape(wire, BENCH_INDEX, fill_equal));
    TRY_RETURN(shape(wire, BENCH_RANGE, fill_range));
    TRY_RETURN(shape(wire, BENCH_INSERT, fill_insert));
    TRY_RETURN(shape(wire, BENCH_UPDATE, fill_update));
    return shape(wire, BENCH_DELETE, fill_delete);
}

static err_t
put(const struct bench_op *op, enum benchwire_mark mark, uint64_t number, struct buf *out)
{
    (void)op;
    return buf_append(out, &number, mark == BENCHWIRE_ID ? sizeof number : sizeof(uint32_t));
}

/* The documents go in a section of their own, as drivers send them. */
static err_t
load(const struct benchwire *wire, const struct bench_op *op, struct buf *out)
{
    static const uint8_t front[BODY_AT];
    size_t start = out->size, section;
    struct bsonbuild build;
    uint32_t size;

    TRY_RETURN(buf_append(out, front, sizeof front));
    bsonbuild_begin(&build, out);
    bsonbuild_text(&build, "insert", wire->place.collection);
    bsonbuild_text(&build, "$db", wire->place.database);
    TRY_RETURN(bsonbuild_end(&build, NULL));
    TRY_RETURN(buf_append_byte(out, 1));
    section = out->size;
    TRY_RETURN(buf_append(out, &(uint32_t){ 0 }, sizeof(uint32_t)));
    TRY_RETURN(buf_append(out, "documents", sizeof "documents"));
    for (uint32_t i = 0; i < op->length; i++)
        TRY_RETURN(benchdoc_append_bson(&wire->doc, out, op->id + i,
            benchplan_name(&wire->plan, op->id + i), (uint8_t)(10 + i % 90)));
    size = (uint32_t)(out->size - section);
    memcpy(out->data + section, &size, sizeof size);
    set_header(
        (struct bytes){ out->data + start, out->size - start }, out->data + start, op->serial);
    return OK;
}

/* ---- replies ---- */

/* Every document of cursor.firstBatch. */
static bool
see_batch(struct bytes body, struct benchwire_verdict *verdict)
{
    struct bsonvalue value;
    struct bsonwalk walk;

    if (!bsonwalk_get(body, "cursor", &value) || !bsonwalk_get(value.raw, "firstBatch", &value) ||
        bsonwalk_begin(&walk, value.raw) != OK)
        return false;
    while (bsonwalk_next(&walk, &value)) {
        uint64_t id, name;

        if (!benchdoc_match_bson(&verdict->wire->doc, value.raw, &id, &name) ||
            !benchwire_see(verdict, id, name))
            return false;
    }
    return bsonwalk_end(&walk) == OK;
}

static bool
says_n(struct bytes body, uint32_t wanted)
{
    struct bsonvalue value;
    uint32_t n;

    if (!bsonwalk_get(body, "n", &value) || value.type != BSONTYPE_INT32)
        return false;
    memcpy(&n, value.raw.data, sizeof n);
    return n == wanted && !bsonwalk_get(body, "writeErrors", &value) &&
           !bsonwalk_get(body, "writeConcernError", &value);
}

static void
judge(struct bytes body, struct benchwire_verdict *verdict)
{
    struct bsonvalue value;
    bool right = true;

    if (!bsonwalk_get(body, "ok", &value) || !bsonvalue_truth(&value)) {
        benchwire_blame(verdict, "refused",
            bsonwalk_get(body, "errmsg", &value) ? bsonvalue_string(&value) : body);
        return;
    }
    switch (verdict->op->kind) {
    case BENCH_GET:
    case BENCH_SCAN:
    case BENCH_INDEX:
    case BENCH_RANGE:
        right = see_batch(body, verdict);
        break;
    case BENCH_INSERT:
    case BENCH_UPDATE:
    case BENCH_DELETE:
        right = says_n(body, 1);
        break;
    case BENCH_LOAD:
        right = says_n(body, verdict->op->length);
        break;
    default:
        break;
    }
    if (!right)
        benchwire_blame(verdict, "a wrong answer", body);
}

static size_t
reply(struct benchwire *wire, struct bytes in, struct benchwire_verdict *verdict)
{
    struct opmsg_header header;
    struct bytes body;

    (void)wire;
    if (in.size < sizeof header)
        return 0;
    memcpy(&header, in.data, sizeof header);
    if (header.size < BODY_AT || header.size > OPMSG_SIZE_MAX) {
        benchwire_blame(verdict, "no message", in);
        return in.size;
    }
    if (in.size < (size_t)header.size)
        return 0;
    body = (struct bytes){ in.data + BODY_AT, (size_t)header.size - BODY_AT };
    if (header.opcode != OPMSG_OP_MSG || header.response_to != (int32_t)verdict->op->serial)
        benchwire_blame(verdict, "an answer to another request", body);
    else
        judge(body, verdict);
    return (size_t)header.size;
}

const struct benchwire_language benchmongo_language = { .scheme = "mongodb",
    .port = 27017,
    .may_hurry = true,
    .queries = true,
    .greeting = greeting,
    .setup = setup,
    .prepare = prepare,
    .put = put,
    .load = load,
    .reply = reply };
