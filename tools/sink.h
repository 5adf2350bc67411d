/*
 * sink.h - where imported documents go: a data directory, or the JSON listener of a server.
 *
 * Documents are gathered into batches; a batch is inserted whole or not at all.  One thread.
 */
#ifndef TOOLS_SINK_H
#define TOOLS_SINK_H

#include "base/buf.h"
#include "base/err.h"
#include "client/gneiss.h"
#include "client/link.h"

#define SINK_BATCH_COUNT 1000
#define SINK_BATCH_BYTES ((size_t)4 << 20)
#define SINK_IN_FLIGHT   4 /* batches sent and not yet answered */

struct sink_place {
    const char *data_dir; /* NULL: `address` */
    const char *address;  /* host:port of a JSON listener */
    const char *database, *collection;
};

struct sink_batch {
    uint64_t first_line, last_line; /* of the file */
    size_t count;
};

struct sink {
    struct sink_place place;
    struct gneiss *db;
    struct gneiss_session *session;
    struct gneiss_collection *collection;
    struct link link;
    struct buf text; /* the batch: BSON, one document behind the other; or a request */
    struct sink_batch batch;
    struct gneiss_bson slice[SINK_BATCH_COUNT];
    size_t start[SINK_BATCH_COUNT];
    struct sink_batch flight[SINK_IN_FLIGHT]; /* a ring */
    unsigned flight_first, flight_count;
    uint64_t inserted; /* documents known to be kept */
};

/* After OK or an error sink_close. */
err_t sink_open(struct sink *sink, const struct sink_place *place) MUST_CHECK;
err_t sink_drop(struct sink *sink) MUST_CHECK; /* the collection, if there is one */
/* `json`: the text it came from; `bson`: what it is. */
err_t sink_put(struct sink *sink, struct bytes json, struct bytes bson, uint64_t line) MUST_CHECK;
/* Everything is in, and on disk.  Errors: name the lines of the batch that was refused; batches
   before it, and perhaps behind it, are in: see `inserted`. */
err_t sink_finish(struct sink *sink) MUST_CHECK;
void sink_close(struct sink *sink);

#endif
