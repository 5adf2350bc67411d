/*
 * benchwire.c - requests and replies of `gneiss bench`: what the languages share.
 */
#include "tools/benchwire.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/benchjson.h"
#include "tools/benchmongo.h"
#include "tools/benchtext.h"

#define REQUEST_MAX ((size_t)256 << 20)

static const struct benchwire_language *const languages[] = { &benchtext_language,
    &benchjson_language, &benchmongo_language };

const struct benchwire_language *
benchwire_language(const char *scheme)
{
    for (size_t i = 0; i < sizeof languages / sizeof languages[0]; i++)
        if (strcmp(languages[i]->scheme, scheme) == 0)
            return languages[i];
    return NULL;
}

err_t
benchwire_init(struct benchwire *wire, size_t document_size)
{
    for (size_t i = 0; i < BENCH_KIND_COUNT; i++)
        wire->shape[i].text = buf_init(REQUEST_MAX);
    TRY_RETURN(benchdoc_init(&wire->doc, document_size));
    return wire->language->prepare(wire);
}

void
benchwire_fini(struct benchwire *wire)
{
    for (size_t i = 0; i < BENCH_KIND_COUNT; i++)
        buf_fini(&wire->shape[i].text);
    benchdoc_fini(&wire->doc);
}

/* ---- requests ---- */

err_t
benchwire_shape(struct benchwire *wire, enum bench_kind kind, const char *format, ...)
{
    struct benchwire_shape *shape = &wire->shape[kind];
    char *text = NULL;
    va_list list;
    int size;
    err_t err;

    va_start(list, format);
    size = vasprintf(&text, format, list);
    va_end(list);
    if (size < 0)
        return err_set(ERR_MEMORY, "out of memory");
    buf_clear(&shape->text);
    shape->count = 0;
    err = buf_append(&shape->text, text, (size_t)size);
    if (err == OK)
        err = buf_append_text(&shape->text, "\r\n");
    for (size_t i = 0; i < (size_t)size && shape->count < BENCHWIRE_MARKS_MAX; i++) {
        if (text[i] < 1 || text[i] > BENCHWIRE_MARK_COUNT)
            continue;
        shape->mark[shape->count].at = i;
        shape->mark[shape->count].size = 1;
        shape->mark[shape->count++].mark = (enum benchwire_mark)(text[i] - 1);
    }
    free(text);
    return err;
}

const char *
benchwire_document(const struct benchwire *wire, bool id, struct buf *room)
{
    const struct benchdoc *doc = &wire->doc;
    const char *json = (const char *)doc->json.data;
    size_t rest_at = doc->name_at + BENCHDOC_NAME_SIZE;

    if (buf_printf(room, "{%s%.*s" BENCHWIRE_PUT_AGE "%.*s\4%.*s",
            id ? "\"_id\":" BENCHWIRE_PUT_ID "," : "", (int)doc->age_at - 1, json + 1,
            (int)(doc->name_at - doc->age_at - 2), json + doc->age_at + 2,
            (int)(doc->json.size - rest_at), json + rest_at) != OK ||
        buf_append_byte(room, 0) != OK)
        return "";
    return (const char *)room->data;
}

static uint64_t
number_of(const struct bench_op *op, enum benchwire_mark mark)
{
    switch (mark) {
    case BENCHWIRE_ID:
        return op->id;
    case BENCHWIRE_LAST_ID:
        return op->id + op->length - 1;
    case BENCHWIRE_LENGTH:
        return op->length;
    case BENCHWIRE_NAME:
        return op->name;
    case BENCHWIRE_NAME_END:
        return op->name + op->length;
    case BENCHWIRE_AGE:
        return op->age;
    case BENCHWIRE_SERIAL:
    case BENCHWIRE_MARK_COUNT:
        break;
    }
    return op->serial;
}

err_t
benchwire_ask(const struct benchwire *wire, const struct bench_op *op, struct buf *out)
{
    const struct benchwire_shape *shape = &wire->shape[op->kind];
    size_t at = 0;

    if (op->kind == BENCH_LOAD)
        return wire->language->load(wire, op, out);
    for (unsigned i = 0; i < shape->count; i++) {
        enum benchwire_mark mark = shape->mark[i].mark;

        TRY_RETURN(buf_append(out, shape->text.data + at, shape->mark[i].at - at));
        at = shape->mark[i].at + shape->mark[i].size;
        if (mark == BENCHWIRE_NAME || mark == BENCHWIRE_NAME_END) {
            uint8_t digits[BENCHDOC_NAME_SIZE];

            benchdoc_print_name(number_of(op, mark), digits);
            TRY_RETURN(buf_append(out, digits, sizeof digits));
        } else {
            TRY_RETURN(wire->language->put(op, mark, number_of(op, mark), out));
        }
    }
    return buf_append(out, shape->text.data + at, shape->text.size - at);
}

/* ---- replies ---- */

void
benchwire_blame(struct benchwire_verdict *verdict, const char *what, struct bytes reply)
{
    size_t shown = 0;

    if (!verdict->good)
        return;
    verdict->good = false;
    (void)snprintf(verdict->why, sizeof verdict->why, "%s: ", what);
    for (size_t at = strlen(verdict->why); at + 1 < sizeof verdict->why && shown < reply.size;
         at++, shown++) {
        uint8_t byte = reply.data[shown];

        verdict->why[at] = (char)(byte >= ' ' && byte < 0x7f ? byte : '.');
        verdict->why[at + 1] = '\0';
    }
}

bool
benchwire_see(struct benchwire_verdict *verdict, uint64_t id, uint64_t name)
{
    const struct benchplan *plan = &verdict->wire->plan;
    const struct bench_op *op = verdict->op;
    uint64_t nth = verdict->documents++;

    switch (op->kind) {
    case BENCH_SCAN: /* what was inserted has other numbers */
        if (op->id + nth < plan->docs && id != op->id + nth)
            return false;
        return name == benchplan_name(plan, id);
    case BENCH_INDEX:
        return name == op->name && benchplan_name(plan, id) == name;
    case BENCH_RANGE:
        return name >= op->name && name < op->name + op->length && benchplan_name(plan, id) == name;
    default:
        return id == op->id && name == op->name;
    }
}

/* As many documents as there are? */
static bool
enough(const struct benchwire *wire, const struct bench_op *op, uint64_t documents)
{
    uint64_t loaded = op->id < wire->plan.docs ? wire->plan.docs - op->id : 0;

    switch (op->kind) {
    case BENCH_GET:
        return documents == 1;
    case BENCH_SCAN:
        return documents <= op->length && documents >= (loaded < op->length ? loaded : op->length);
    case BENCH_INDEX:
        return documents == benchplan_namesakes(&wire->plan, op->name, 1);
    case BENCH_RANGE:
        return documents == benchplan_namesakes(&wire->plan, op->name, op->length);
    default:
        return true;
    }
}

size_t
benchwire_reply(struct benchwire *wire, const struct bench_op *op, struct bytes in,
    struct benchwire_verdict *verdict)
{
    size_t size;

    *verdict = (struct benchwire_verdict){ .wire = wire, .op = op, .good = true };
    size = wire->language->reply(wire, in, verdict);
    if (size > 0 && verdict->good && !enough(wire, op, verdict->documents)) {
        char what[64];

        (void)snprintf(what, sizeof what, "%ju documents came back, a wrong number",
            (uintmax_t)verdict->documents);
        benchwire_blame(verdict, what, (struct bytes){ in.data, size });
    }
    return size;
}
