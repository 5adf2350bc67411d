/*
 * language_mongo.c - MongoDB's protocol: OP_MSG with a command of BSON, as drivers send it, into
 * database `bench`.
 */
#include <string.h>

#include "bench/die.h"
#include "bench/language.h"

#define OP_MSG      2013
#define HEADER      16
#define BODY_AT     21 /* header, flags, kind of the section */
#define OPCODE_AT   12
#define ALL_AT_ONCE 1000

struct out {
    uint8_t *to;
    size_t at;
};

static void
put(struct out *out, const void *data, size_t size)
{
    memcpy(out->to + out->at, data, size);
    out->at += size;
}

static void
put_name(struct out *out, uint8_t type, const char *name)
{
    out->to[out->at++] = type;
    put(out, name, strlen(name) + 1);
}

static void
put_int32(struct out *out, const char *name, int32_t value)
{
    put_name(out, 0x10, name);
    put(out, &value, sizeof value);
}

static void
put_int64(struct out *out, const char *name, int64_t value)
{
    put_name(out, 0x12, name);
    put(out, &value, sizeof value);
}

static void
put_text(struct out *out, const char *name, const char *value)
{
    int32_t size = (int32_t)strlen(value) + 1;

    put_name(out, 0x02, name);
    put(out, &size, sizeof size);
    put(out, value, (size_t)size);
}

static size_t
begin(struct out *out, uint8_t type, const char *name)
{
    put_name(out, type, name);
    out->at += sizeof(int32_t);
    return out->at - sizeof(int32_t);
}

static void
end(struct out *out, size_t start)
{
    int32_t size;

    out->to[out->at++] = '\0';
    size = (int32_t)(out->at - start);
    memcpy(out->to + start, &size, sizeof size);
}

static void
put_find(struct out *out, const struct language_work *work)
{
    size_t filter, range;

    put_text(out, "find", work->table);
    filter = begin(out, 0x03, "filter");
    if (work->verb == LANGUAGE_GET)
        put_int64(out, "_id", work->id);
    else if (work->low == work->high)
        put_int32(out, "age", work->low);
    else {
        range = begin(out, 0x03, "age");
        put_int32(out, "$gte", work->low);
        put_int32(out, "$lte", work->high);
        end(out, range);
    }
    end(out, filter);
    if (work->verb == LANGUAGE_GET) {
        put_int32(out, "limit", 1);
        put_name(out, 0x08, "singleBatch");
        out->to[out->at++] = 1;
    } else
        put_int32(out, "batchSize", ALL_AT_ONCE);
}

static void
put_insert(struct out *out, const struct language_work *work, const struct documents *documents)
{
    size_t list;

    put_text(out, "insert", work->table);
    list = begin(out, 0x04, "documents");
    put_name(out, 0x03, "0");
    documents_make(documents, work->id, out->to + out->at);
    out->at += documents->size;
    end(out, list);
}

static void
put_update(struct out *out, const struct language_work *work)
{
    size_t list, one, part, set;

    put_text(out, "update", work->table);
    list = begin(out, 0x04, "updates");
    one = begin(out, 0x03, "0");
    part = begin(out, 0x03, "q");
    put_int64(out, "_id", work->id);
    end(out, part);
    part = begin(out, 0x03, "u");
    set = begin(out, 0x03, "$set");
    put_int32(out, "age", work->low);
    end(out, set);
    end(out, part);
    end(out, one);
    end(out, list);
}

static size_t
finish(struct out *out)
{
    const int32_t opcode = OP_MSG;
    int32_t size;

    put_text(out, "$db", "bench");
    end(out, BODY_AT);
    size = (int32_t)out->at;
    memcpy(out->to, &size, sizeof size);
    memcpy(out->to + OPCODE_AT, &opcode, sizeof opcode);
    return out->at;
}

size_t
language_ask(const struct language_work *work, const struct documents *documents, uint8_t *to)
{
    struct out out = { to, BODY_AT + sizeof(int32_t) };

    memset(to, 0, BODY_AT);
    if (work->verb == LANGUAGE_INSERT)
        put_insert(&out, work, documents);
    else if (work->verb == LANGUAGE_UPDATE)
        put_update(&out, work);
    else
        put_find(&out, work);
    return finish(&out);
}

static int32_t
int32_at(const uint8_t *data)
{
    int32_t value;

    memcpy(&value, data, sizeof value);
    return value;
}

/* Elements of the array firstBatch: type, digits, NUL, a document. */
static uint64_t
count_batch(const uint8_t *array)
{
    const uint8_t *stop = array + int32_at(array) - 1, *at = array + sizeof(int32_t);
    uint64_t found = 0;

    for (; at < stop; found++) {
        at = (const uint8_t *)memchr(at + 1, '\0', (size_t)(stop - at)) + 1;
        at += int32_at(at);
    }
    return found;
}

size_t
language_answer(const uint8_t *data, size_t size, uint64_t *documents)
{
    static const char batch[] = "\x04"
                                "firstBatch",
                      good[] = "\x01ok\0\0\0\0\0\0\0\xf0\x3f";
    const uint8_t *found;
    size_t whole;

    if (size < HEADER || (whole = (size_t)int32_at(data)) > size)
        return 0;
    if (memmem(data + BODY_AT, whole - BODY_AT, good, sizeof good - 1) == NULL ||
        memmem(data + BODY_AT, whole - BODY_AT, "writeErrors", 11) != NULL)
        die("a command failed: %.*s", (int)(whole - BODY_AT), (const char *)data + BODY_AT);
    found = memmem(data + BODY_AT, whole - BODY_AT, batch, sizeof batch);
    if (found != NULL)
        *documents += count_batch(found + sizeof batch);
    return whole;
}

/* A driver asks first who is there. */
void
language_greet(int fd, bool brief)
{
    uint8_t room[LANGUAGE_ASK_MAX] = { 0 };
    struct out out = { room, BODY_AT + sizeof(int32_t) };

    (void)brief;
    put_int32(&out, "hello", 1);
    language_send(fd, room, finish(&out));
    language_await(fd, 1);
}
