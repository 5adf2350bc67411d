/*
 * benchjson.c - `gneiss bench` in JSON lines.
 */
#include "tools/benchjson.h"

#include <stdio.h>
#include <string.h>

#define METADATA_MOST 256 /* bytes between _id and the first member of ours */

static const enum bench_kind greeting[] = { BENCH_KIND_COUNT };
static const enum bench_kind setup[] = { BENCH_DATABASE, BENCH_KIND_COUNT };

#define BY_ID   "\"filter\":{\"_id\":" BENCHWIRE_PUT_ID "}"
#define BY_NAME "\"filter\":{\"name\":\"" BENCHWIRE_PUT_NAME "\"}"
#define BY_NAMES                                                                                  \
    "\"filter\":{\"name\":{\"$gte\":\"" BENCHWIRE_PUT_NAME "\",\"$lt\":\"" BENCHWIRE_PUT_NAME_END \
    "\"}}"

/* A command of the collection. */
static err_t
shape(struct benchwire *wire, enum bench_kind kind, const char *type, const char *members)
{
    bool changes = kind == BENCH_INSERT || kind == BENCH_UPDATE || kind == BENCH_DELETE;

    return benchwire_shape(wire, kind,
        "{\"request_id\":\"" BENCHWIRE_PUT_SERIAL "\",\"command\":{\"type\":\"%s\","
        "\"database\":\"%s\",\"%s\":\"%s\"%s%s%s}}",
        type, wire->place.database,
        kind == BENCH_DROP || kind == BENCH_COLLECTION ? "name" : "collection",
        wire->place.collection, members[0] != '\0' ? "," : "", members,
        changes && !wire->place.durable ? ",\"durable\":false" : "");
}

static err_t
prepare(struct benchwire *wire)
{
    struct buf room = buf_init(2 * BENCHDOC_SIZE_MOST);
    struct buf insert = buf_init(2 * BENCHDOC_SIZE_MOST);
    err_t err;

    TRY(benchwire_shape(wire, BENCH_DATABASE,
        "{\"request_id\":\"" BENCHWIRE_PUT_SERIAL "\",\"command\":{\"type\":\"create_database\","
        "\"name\":\"%s\"}}",
        wire->place.database));
    TRY(shape(wire, BENCH_DROP, "drop_collection", ""));
    TRY(shape(wire, BENCH_COLLECTION, "create_collection", ""));
    TRY(shape(wire, BENCH_MAKE_INDEX, "create_index",
        "\"name\":\"by_name\",\"fields\":[\"name\"],\"unique\":false,\"index_type\":\"btree\""));
    TRY(shape(wire, BENCH_GET, "find_one", BY_ID));
    TRY(buf_printf(&insert, "\"document\":%s", benchwire_document(wire, true, &room)));
    TRY(buf_append_byte(&insert, 0));
    TRY(shape(wire, BENCH_INSERT, "insert_one", (const char *)insert.data));
    TRY(shape(wire, BENCH_UPDATE, "update_one",
        BY_ID ",\"update\":{\"$set\":{\"age\":" BENCHWIRE_PUT_AGE "}}"));
    TRY(shape(wire, BENCH_DELETE, "delete_one", BY_ID));
    TRY(shape(wire, BENCH_SCAN, "find",
        "\"filter\":{\"_id\":{\"$gte\":" BENCHWIRE_PUT_ID "}},\"sort\":{\"_id\":1},"
        "\"limit\":" BENCHWIRE_PUT_LENGTH ",\"batch_size\":1000"));
    TRY(shape(wire, BENCH_INDEX, "find", BY_NAME ",\"batch_size\":1000"));
    TRY(shape(wire, BENCH_RANGE, "find", BY_NAMES ",\"batch_size\":1000"));
out:
    buf_fini(&room);
    buf_fini(&insert);
    return err;
}

static err_t
put(const struct bench_op *op, enum benchwire_mark mark, uint64_t number, struct buf *out)
{
    char digits[24];
    size_t at = sizeof digits;

    (void)op;
    (void)mark;
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    return buf_append(out, digits + at, sizeof digits - at);
}

static err_t
load(const struct benchwire *wire, const struct bench_op *op, struct buf *out)
{
    TRY_RETURN(buf_printf(out,
        "{\"request_id\":\"%u\",\"command\":{\"type\":\"insert_many\",\"database\":\"%s\","
        "\"collection\":\"%s\",\"documents\":[",
        op->serial, wire->place.database, wire->place.collection));
    for (uint32_t i = 0; i < op->length; i++) {
        uint64_t id = op->id + i;

        TRY_RETURN(buf_printf(out, "%s{\"_id\":%ju,", i > 0 ? "," : "", (uintmax_t)id));
        TRY_RETURN(benchdoc_append_members(
            &wire->doc, out, benchplan_name(&wire->plan, id), (uint8_t)(10 + i % 90)));
    }
    return buf_append_text(out, "]}}\n");
}

/* ---- replies ---- */

static bool
begins(struct bytes text, const char *with)
{
    return text.size >= strlen(with) && memcmp(text.data, with, strlen(with)) == 0;
}

static void
skip(struct bytes *text, size_t size)
{
    text->data += size;
    text->size -= size;
}

/* {"_id":7,"_metadata":{…},"active":…}, taken off the front. */
static bool
take_document(struct bytes *text, struct benchwire_verdict *verdict)
{
    const struct benchdoc *doc = &verdict->wire->doc;
    uint64_t id = 0, name;
    const uint8_t *start;

    if (!begins(*text, "{\"_id\":"))
        return false;
    skip(text, 7);
    for (; text->size > 0 && text->data[0] >= '0' && text->data[0] <= '9'; skip(text, 1))
        id = id * 10 + (uint64_t)(text->data[0] - '0');
    start = memmem(text->data, text->size < METADATA_MOST ? text->size : METADATA_MOST,
        doc->json.data + 1, doc->age_at - 1);
    if (start == NULL)
        return false;
    skip(text, (size_t)(start - text->data));
    if (!benchdoc_match_members(doc, *text, &name))
        return false;
    skip(text, doc->json.size - 1);
    return benchwire_see(verdict, id, name);
}

static bool
take_documents(struct bytes text, const char *before, struct benchwire_verdict *verdict)
{
    const uint8_t *start = memmem(text.data, text.size, before, strlen(before));

    if (start == NULL)
        return false;
    skip(&text, (size_t)(start - text.data) + strlen(before));
    while (begins(text, "{") || begins(text, ",{")) {
        skip(&text, text.data[0] == ',');
        if (!take_document(&text, verdict))
            return false;
    }
    return true;
}

/* Is `what` in it, as behind every change of one document? */
static bool
says(struct bytes line, const char *what)
{
    return memmem(line.data, line.size, what, strlen(what)) != NULL;
}

static void
judge(struct bytes line, struct benchwire_verdict *verdict)
{
    bool right = true;

    switch (verdict->op->kind) {
    case BENCH_GET:
        right = take_documents(line, "\"document\":", verdict);
        break;
    case BENCH_SCAN:
    case BENCH_INDEX:
    case BENCH_RANGE:
        right = take_documents(line, "\"documents\":[", verdict);
        break;
    case BENCH_UPDATE:
        right = says(line, "\"matched_count\":1,");
        break;
    case BENCH_DELETE:
        right = says(line, "\"deleted_count\":1}");
        break;
    default:
        break;
    }
    if (!right)
        benchwire_blame(verdict, "a wrong answer", line);
}

static size_t
reply(struct benchwire *wire, struct bytes in, struct benchwire_verdict *verdict)
{
    const uint8_t *end = in.size > 0 ? memchr(in.data, '\n', in.size) : NULL;
    struct bytes line = { in.data, end != NULL ? (size_t)(end - in.data) : 0 };
    char start[48];

    (void)wire;
    if (end == NULL)
        return 0;
    (void)snprintf(start, sizeof start, "{\"request_id\":\"%u\",", verdict->op->serial);
    if (!begins(line, start))
        benchwire_blame(verdict, "an answer to another request", line);
    else if (!begins((struct bytes){ line.data + strlen(start), line.size - strlen(start) },
                 "\"ok\":true,"))
        benchwire_blame(verdict, "refused", line);
    else
        judge(line, verdict);
    return line.size + 1;
}

const struct benchwire_language benchjson_language = { .scheme = "json",
    .port = 6382,
    .may_hurry = true,
    .queries = true,
    .greeting = greeting,
    .setup = setup,
    .prepare = prepare,
    .put = put,
    .load = load,
    .reply = reply };
