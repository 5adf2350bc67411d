/*
 * language_postgres.c - PostgreSQL's protocol, version 3: statements prepared once a connection,
 * parameters and results binary, Bind, Execute and Sync in one write.
 *
 * Tables are (id bigint primary key, doc jsonb).  No login: pg_hba.conf says trust.
 */
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "bench/die.h"
#include "bench/language.h"

#define VERSION (3 << 16)

static const char *const statements[][2] = {
    { "docs0", "SELECT doc FROM docs WHERE id = $1" },
    { "docs1", "INSERT INTO docs VALUES($1, $2)" },
    { "docs2", "UPDATE docs SET doc = jsonb_set(doc, '{age}', $2) WHERE id = $1" },
    { "indexed1", "INSERT INTO indexed VALUES($1, $2)" },
    { "indexed3", "SELECT doc FROM indexed WHERE (doc->>'age')::int = $1" },
    { "indexed4", "SELECT doc FROM indexed WHERE (doc->>'age')::int BETWEEN $1 AND $2" },
    { "grow1", "INSERT INTO grow VALUES($1, $2)" },
};
#define STATEMENTS (sizeof statements / sizeof statements[0])

struct out {
    uint8_t *to;
    size_t at, start; /* of the message that is being written: its size */
};

static void
put(struct out *out, const void *data, size_t size)
{
    memcpy(out->to + out->at, data, size);
    out->at += size;
}

static void
put16(struct out *out, uint16_t value)
{
    value = htobe16(value);
    put(out, &value, sizeof value);
}

static void
put32(struct out *out, uint32_t value)
{
    value = htobe32(value);
    put(out, &value, sizeof value);
}

static void
put_name(struct out *out, const char *name)
{
    put(out, name, strlen(name) + 1);
}

static void
begin(struct out *out, char type)
{
    if (type != 0)
        out->to[out->at++] = (uint8_t)type;
    out->start = out->at;
    out->at += sizeof(uint32_t);
}

static void
end(struct out *out)
{
    uint32_t size = htobe32((uint32_t)(out->at - out->start));

    memcpy(out->to + out->start, &size, sizeof size);
}

static void
put_id(struct out *out, int64_t id)
{
    uint64_t order = htobe64((uint64_t)id);

    put32(out, sizeof order);
    put(out, &order, sizeof order);
}

static void
put_jsonb(struct out *out, const char *text, size_t size)
{
    put32(out, (uint32_t)size + 1);
    out->to[out->at++] = 1; /* the version of the form */
    put(out, text, size);
}

static void
put_parameters(struct out *out, const struct language_work *work, const struct documents *documents)
{
    char text[256];
    size_t size;

    put16(
        out, work->verb == LANGUAGE_GET || (work->verb == LANGUAGE_RANGE && work->low == work->high)
                 ? 1
                 : 2);
    if (work->verb == LANGUAGE_RANGE) {
        put32(out, sizeof(uint32_t));
        put32(out, (uint32_t)work->low);
        if (work->low != work->high) {
            put32(out, sizeof(uint32_t));
            put32(out, (uint32_t)work->high);
        }
        return;
    }
    put_id(out, work->id);
    if (work->verb == LANGUAGE_INSERT) {
        size = language_json(documents, work->id, documents_age(documents, work->id), text);
        put_jsonb(out, text, size);
    } else if (work->verb == LANGUAGE_UPDATE) {
        size = (size_t)snprintf(text, sizeof text, "%d", work->low);
        put_jsonb(out, text, size);
    }
}

static void
put_parse(struct out *out, const char *name, const char *sql)
{
    begin(out, 'P');
    put_name(out, name);
    put_name(out, sql);
    put16(out, 0);
    end(out);
}

static void
put_sync(struct out *out)
{
    begin(out, 'S');
    end(out);
}

size_t
language_ask(const struct language_work *work, const struct documents *documents, uint8_t *to)
{
    unsigned kind = (unsigned)work->verb + (work->low != work->high);
    struct out out = { to, 0, 0 };
    char name[32];

    (void)snprintf(name, sizeof name, "%s%u", work->table, kind);
    if (work->brief) {
        name[0] = '\0';
        put_parse(&out, name, statements[0][1]);
    }
    begin(&out, 'B');
    put_name(&out, ""); /* portal */
    put_name(&out, name);
    put16(&out, 1); /* all parameters are */
    put16(&out, 1); /* binary */
    put_parameters(&out, work, documents);
    put16(&out, 1);
    put16(&out, 1);
    end(&out);
    begin(&out, 'E');
    put_name(&out, "");
    put32(&out, 0);
    end(&out);
    put_sync(&out);
    return out.at;
}

/* Messages up to ReadyForQuery. */
size_t
language_answer(const uint8_t *data, size_t size, uint64_t *documents)
{
    uint64_t rows = 0;

    for (size_t at = 0; at + 5 <= size;) {
        uint32_t length;

        memcpy(&length, data + at + 1, sizeof length);
        length = be32toh(length);
        if (at + 1 + length > size)
            return 0;
        if (data[at] == 'E')
            die("the server says: %.*s", (int)length, (const char *)data + at + 5);
        rows += data[at] == 'D';
        if (data[at] == 'Z') {
            *documents += rows;
            return at + 1 + length;
        }
        at += 1 + length;
    }
    return 0;
}

void
language_greet(int fd, bool brief)
{
    uint8_t room[LANGUAGE_ASK_MAX * 4];
    struct out out = { room, 0, 0 };

    begin(&out, 0);
    put32(&out, VERSION);
    put_name(&out, "user");
    put_name(&out, "bench");
    put_name(&out, "database");
    put_name(&out, "bench");
    put_name(&out, "");
    end(&out);
    language_send(fd, room, out.at);
    language_await(fd, 1);
    if (brief)
        return;
    out.at = 0;
    for (size_t i = 0; i < STATEMENTS; i++)
        put_parse(&out, statements[i][0], statements[i][1]);
    put_sync(&out);
    language_send(fd, room, out.at);
    language_await(fd, 1);
}
