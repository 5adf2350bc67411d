/*
 * benchwire.h - requests and replies of `gneiss bench`, in each of the three languages.
 *
 * A request is a text made once, with marks where a number goes; sending one is copying it.  A
 * reply is looked at just enough to know that it is the right one: every document that comes back
 * is compared, and documents are counted.
 */
#ifndef TOOLS_BENCHWIRE_H
#define TOOLS_BENCHWIRE_H

#include "base/buf.h"
#include "base/err.h"
#include "tools/benchdoc.h"
#include "tools/benchplan.h"

/* What is put in place of a mark. */
enum benchwire_mark {
    BENCHWIRE_ID,
    BENCHWIRE_LAST_ID, /* of a scan, itself included */
    BENCHWIRE_LENGTH,
    BENCHWIRE_NAME,     /* twelve digits */
    BENCHWIRE_NAME_END, /* of a range, itself excluded */
    BENCHWIRE_AGE,
    BENCHWIRE_SERIAL,
    BENCHWIRE_MARK_COUNT
};

#define BENCHWIRE_MARKS_MAX 8

struct benchwire_shape {
    struct buf text;
    unsigned count;
    struct {
        size_t at, size; /* of the bytes that are replaced */
        enum benchwire_mark mark;
    } mark[BENCHWIRE_MARKS_MAX]; /* in the order of their places */
};

struct benchwire_place {
    const char *address, *tenant, *user, *password; /* user NULL: no login */
    const char *database, *collection;
    bool durable;
};

struct benchwire_language;

struct benchwire {
    const struct benchwire_language *language;
    struct benchwire_place place;
    struct benchplan plan;
    struct benchdoc doc;
    struct benchwire_shape shape[BENCH_KIND_COUNT];
};

/* What a reply says. */
struct benchwire_verdict {
    const struct benchwire *wire;
    const struct bench_op *op;
    uint64_t documents; /* that came back */
    bool good;
    char why[160]; /* if not */
};

struct benchwire_language {
    const char *scheme;
    unsigned port;
    bool logs_in;   /* takes user and password */
    bool may_hurry; /* can acknowledge before the disk has it */
    bool queries;   /* can ask by an index; the server's text listener has no QUERY yet */
    /* What a connection begins with, and what the first one asks for besides; BENCH_KIND_COUNT
     * ends.
     */
    const enum bench_kind *greeting, *setup;
    err_t (*prepare)(struct benchwire *wire);
    err_t (*put)(
        const struct bench_op *op, enum benchwire_mark mark, uint64_t number, struct buf *out);
    /* Many documents at once; op->length from op->id on. */
    err_t (*load)(const struct benchwire *wire, const struct bench_op *op, struct buf *out);
    /* The bytes of the reply to verdict->op at the front of `in`; 0: it is not whole yet. */
    size_t (*reply)(struct benchwire *wire, struct bytes in, struct benchwire_verdict *verdict);
};

const struct benchwire_language *benchwire_language(const char *scheme); /* NULL: unknown */

/* `language`, `place` and `plan` are filled in already.  After OK or an error benchwire_fini. */
err_t benchwire_init(struct benchwire *wire, size_t document_size) MUST_CHECK;
void benchwire_fini(struct benchwire *wire);

err_t benchwire_ask(
    const struct benchwire *wire, const struct bench_op *op, struct buf *out) MUST_CHECK;
/* As the language's `reply`, and the documents are counted. */
size_t benchwire_reply(struct benchwire *wire, const struct bench_op *op, struct bytes in,
    struct benchwire_verdict *verdict);

/* ---- for the languages ---- */

/* A shape of text, with `what` and a line's end; in it \1, \2, … are the marks. */
#define BENCHWIRE_PUT_ID       "\1"
#define BENCHWIRE_PUT_LAST_ID  "\2"
#define BENCHWIRE_PUT_LENGTH   "\3"
#define BENCHWIRE_PUT_NAME     BENCHDOC_NAME_START "\4"
#define BENCHWIRE_PUT_NAME_END BENCHDOC_NAME_START "\5"
#define BENCHWIRE_PUT_AGE      "\6"
#define BENCHWIRE_PUT_SERIAL   "\7"
err_t benchwire_shape(struct benchwire *wire, enum bench_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4))) MUST_CHECK;
/* A document's text with marks for name and age; `id`: in front, as a member. */
const char *benchwire_document(const struct benchwire *wire, bool id, struct buf *room);

/* A document came back, the n-th of its reply.  False: it is another than was asked for. */
bool benchwire_see(struct benchwire_verdict *verdict, uint64_t id, uint64_t name);
/* The reply is wrong; `reply` is shown. */
void benchwire_blame(struct benchwire_verdict *verdict, const char *what, struct bytes reply);

#endif
