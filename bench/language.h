/*
 * language.h - how a client asks a server; the face that each language_NAME.c shows.
 *
 * A program wire-NAME is wire.c linked with one of them.  All clients are the same loop; a
 * language only writes requests and finds the end of replies, and each does so as sparingly as
 * the others.  What fails ends the program (die.h).
 */
#ifndef BENCH_LANGUAGE_H
#define BENCH_LANGUAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/documents.h"

#define LANGUAGE_ASK_MAX 1024

enum language_verb { LANGUAGE_GET, LANGUAGE_INSERT, LANGUAGE_UPDATE, LANGUAGE_RANGE };

struct language_work {
    enum language_verb verb;
    const char *table; /* docs, indexed, grow */
    int64_t id;
    int32_t low, high; /* ages; equal: the same */
    bool brief;        /* the first and last request of its connection */
};

/* Bytes of a request, at most LANGUAGE_ASK_MAX, written to `out`. */
size_t language_ask(
    const struct language_work *work, const struct documents *documents, uint8_t *out);

/* Bytes of the whole reply at the front; 0: it is not complete.  `documents` is raised by those in
   it. */
size_t language_answer(const uint8_t *data, size_t size, uint64_t *documents);

/* What has to be said on a new connection.  `brief`: for one request only. */
void language_greet(int fd, bool brief);

/* ---- for languages ---- */
void language_send(int fd, const void *data, size_t size);
/* Read replies, without a look at what they say, until `count` have come. */
void language_await(int fd, unsigned count);
/* The document as JSON; yields its length. */
size_t language_json(const struct documents *documents, int64_t id, int32_t age, char *out);

#endif
