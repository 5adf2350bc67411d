/*
 * benchtext.c - `gneiss bench` in the text protocol.
 *
 * A document's number is its UUID's last twelve hexadecimal digits and the four of its second
 * group, so UUIDs have the numbers' order.
 */
#include "tools/benchtext.h"

#include <string.h>

#define UUID_SIZE 36

static const enum bench_kind greeting[] = { BENCH_BANNER, BENCH_TOKEN, BENCH_USE,
    BENCH_KIND_COUNT };
static const enum bench_kind setup[] = { BENCH_BANNER, BENCH_LOGIN, BENCH_DATABASE, BENCH_USE,
    BENCH_KIND_COUNT };

static void
print_uuid(uint64_t number, uint8_t text[UUID_SIZE])
{
    static const char hex[] = "0123456789abcdef";

    memcpy(text, "00000000-0000-8000-8000-000000000000", UUID_SIZE);
    for (unsigned i = 0; i < 12; i++)
        text[UUID_SIZE - 1 - i] = (uint8_t)hex[number >> (4 * i) & 15];
    for (unsigned i = 0; i < 4; i++)
        text[12 - i] = (uint8_t)hex[number >> (48 + 4 * i) & 15];
}

static bool
read_uuid(const uint8_t text[UUID_SIZE], uint64_t *number)
{
    uint8_t printed[UUID_SIZE];
    uint64_t read = 0;

    for (unsigned i = 9; i < UUID_SIZE; i = i == 12 ? 24 : i + 1) {
        uint8_t digit = text[i];

        read = read << 4 | (uint64_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
    }
    print_uuid(read, printed);
    *number = read;
    return memcmp(printed, text, UUID_SIZE) == 0;
}

static err_t
prepare(struct benchwire *wire)
{
    const struct benchwire_place *place = &wire->place;
    const char *name = place->collection;
    struct buf room = buf_init(2 * BENCHDOC_SIZE_MOST);
    const char *document = benchwire_document(wire, false, &room);
    err_t err;

    TRY(benchwire_shape(wire, BENCH_LOGIN, "LOGIN %s %s %s", place->tenant,
        place->user != NULL ? place->user : "", place->password));
    TRY(benchwire_shape(wire, BENCH_DATABASE, "CREATE DATABASE %s", place->database));
    TRY(benchwire_shape(wire, BENCH_USE, "USE %s", place->database));
    TRY(benchwire_shape(wire, BENCH_DROP, "DROP COLLECTION %s", name));
    TRY(benchwire_shape(wire, BENCH_COLLECTION, "CREATE COLLECTION %s", name));
    TRY(benchwire_shape(wire, BENCH_MAKE_INDEX, "CREATE INDEX %s by_name name", name));
    TRY(benchwire_shape(wire, BENCH_GET, "GET %s " BENCHWIRE_PUT_ID, name));
    TRY(benchwire_shape(wire, BENCH_INSERT, "INSERT %s " BENCHWIRE_PUT_ID " %s", name, document));
    TRY(benchwire_shape(wire, BENCH_UPDATE, "UPDATE %s " BENCHWIRE_PUT_ID " %s", name, document));
    TRY(benchwire_shape(wire, BENCH_DELETE, "DELETE %s " BENCHWIRE_PUT_ID, name));
    TRY(benchwire_shape(
        wire, BENCH_SCAN, "SCAN %s " BENCHWIRE_PUT_ID " " BENCHWIRE_PUT_LAST_ID, name));
    TRY(benchwire_shape(wire, BENCH_INDEX, "QUERY %s by_name \"" BENCHWIRE_PUT_NAME "\"", name));
    TRY(benchwire_shape(wire, BENCH_RANGE,
        "QUERYRANGE %s by_name \"" BENCHWIRE_PUT_NAME "\" \"" BENCHWIRE_PUT_NAME_END "\"", name));
out:
    buf_fini(&room);
    return err;
}

static err_t
put(const struct bench_op *op, enum benchwire_mark mark, uint64_t number, struct buf *out)
{
    uint8_t uuid[UUID_SIZE];

    (void)op;
    if (mark != BENCHWIRE_ID && mark != BENCHWIRE_LAST_ID)
        return buf_printf(out, "%ju", (uintmax_t)number);
    print_uuid(number, uuid);
    return buf_append(out, uuid, sizeof uuid);
}

static err_t
load(const struct benchwire *wire, const struct bench_op *op, struct buf *out)
{
    for (uint32_t i = 0; i < op->length; i++) {
        struct bench_op one = { .kind = BENCH_INSERT, .age = (uint8_t)(10 + i % 90) };

        one.id = op->id + i;
        one.name = benchplan_name(&wire->plan, one.id);
        TRY_RETURN(benchwire_ask(wire, &one, out));
    }
    return OK;
}

/* ---- replies ---- */

/* The line at the front, without its end; *size with it, 0: it is not whole. */
static struct bytes
cut_line(struct bytes in, size_t *size)
{
    const uint8_t *end = in.size > 0 ? memchr(in.data, '\n', in.size) : NULL;
    struct bytes line = { in.data, 0 };

    *size = end != NULL ? (size_t)(end - in.data) + 1 : 0;
    if (*size > 0)
        line.size = *size - (*size > 1 && end[-1] == '\r' ? 2 : 1);
    return line;
}

static int64_t
number_in(struct bytes line)
{
    int64_t number = 0;

    if (line.size > 1 && line.data[1] == '-')
        return -1;
    for (size_t i = 1; i < line.size; i++)
        number = number * 10 + (line.data[i] - '0');
    return number;
}

static bool
see_document(struct benchwire_verdict *verdict, struct bytes text, bool listed)
{
    uint64_t id = verdict->op->id, name;

    if (listed) {
        if (text.size <= UUID_SIZE || !read_uuid(text.data, &id))
            return false;
        text.data += UUID_SIZE + 1;
        text.size -= UUID_SIZE + 1;
    }
    return text.size == verdict->wire->doc.json.size && text.data[0] == '{' &&
           benchdoc_match_members(
               &verdict->wire->doc, (struct bytes){ text.data + 1, text.size - 1 }, &name) &&
           benchwire_see(verdict, id, name);
}

/* A bulk at the front; its bytes, 0: it is not whole. */
static size_t
take_bulk(struct bytes in, bool listed, struct benchwire_verdict *verdict)
{
    size_t head;
    struct bytes line = cut_line(in, &head);
    int64_t size = head > 0 ? number_in(line) : 0;

    if (head == 0)
        return 0;
    if (line.data[0] != '$') {
        benchwire_blame(verdict, "no document", line);
        return head;
    }
    if (size < 0)
        return head; /* null: `documents` will be too few */
    if (in.size < head + (size_t)size + 2)
        return 0;
    if (!see_document(verdict, (struct bytes){ in.data + head, (size_t)size }, listed))
        benchwire_blame(
            verdict, "a wrong document", (struct bytes){ in.data + head, (size_t)size });
    return head + (size_t)size + 2;
}

static size_t
take_array(struct bytes in, struct benchwire_verdict *verdict)
{
    size_t at;
    struct bytes line = cut_line(in, &at);
    int64_t count = at > 0 ? number_in(line) : 0;

    if (at == 0)
        return 0;
    if (line.data[0] != '*') {
        benchwire_blame(verdict, "refused", line);
        return at;
    }
    for (int64_t i = 0; i < count; i++) {
        size_t size = take_bulk((struct bytes){ in.data + at, in.size - at }, true, verdict);

        if (size == 0)
            return 0;
        at += size;
    }
    return at;
}

/* So many lines of +OK, one for each document. */
static size_t
take_many(struct bytes in, struct benchwire_verdict *verdict)
{
    size_t at = 0;

    for (uint32_t i = 0; i < verdict->op->length; i++) {
        size_t size;
        struct bytes line = cut_line((struct bytes){ in.data + at, in.size - at }, &size);

        if (size == 0)
            return 0;
        if (line.size == 0 || line.data[0] != '+')
            benchwire_blame(verdict, "refused", line);
        at += size;
    }
    return at;
}

/* "+TOKEN access refresh": other connections come in by the access token. */
static void
keep_token(struct benchwire *wire, struct bytes line, struct benchwire_verdict *verdict)
{
    const uint8_t *token = line.data + strlen("+TOKEN ");
    const uint8_t *end;

    if (!bytes_is((struct bytes){ line.data, line.size < 7 ? line.size : 7 }, "+TOKEN ")) {
        benchwire_blame(verdict, "could not log in", line);
        return;
    }
    end = memchr(token, ' ', line.size - 7);
    if (end == NULL)
        end = line.data + line.size;
    if (benchwire_shape(wire, BENCH_TOKEN, "TOKEN %.*s", (int)(end - token), (const char *)token) !=
        OK)
        benchwire_blame(verdict, "out of memory", line);
}

static size_t
reply(struct benchwire *wire, struct bytes in, struct benchwire_verdict *verdict)
{
    struct bytes line;
    size_t size;

    switch (verdict->op->kind) {
    case BENCH_GET:
        return take_bulk(in, false, verdict);
    case BENCH_SCAN:
    case BENCH_INDEX:
    case BENCH_RANGE:
        return take_array(in, verdict);
    case BENCH_LOAD:
        return take_many(in, verdict);
    default:
        break;
    }
    line = cut_line(in, &size);
    if (size == 0)
        return 0;
    if (verdict->op->kind == BENCH_LOGIN)
        keep_token(wire, line, verdict);
    else if (line.size == 0 || line.data[0] != '+')
        benchwire_blame(verdict, "refused", line);
    return size;
}

const struct benchwire_language benchtext_language = { .scheme = "text",
    .port = 6380,
    .logs_in = true,
    .greeting = greeting,
    .setup = setup,
    .prepare = prepare,
    .put = put,
    .load = load,
    .reply = reply };
