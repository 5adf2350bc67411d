/*
 * stream.h - what a query has to give, and whether it does, document by document.
 *
 * What is wanted is noted with hashes when the query begins, so a cursor may be read long after
 * the model has gone on.
 */
#ifndef TESTS_MODEL_STREAM_H
#define TESTS_MODEL_STREAM_H

#include "client/gneiss.h"
#include "tests/model/model.h"

struct wanted {
    unsigned slot;
    uint32_t size;
    uint64_t hash;
    struct model_key place;
};
struct stream {
    unsigned collection;
    struct pattern sort;  /* count 0: any order */
    unsigned count;       /* of all that match, in order */
    unsigned first, last; /* what is between skip and limit */
    unsigned taken;
    struct wanted wanted[MODEL_SLOTS];
    uint16_t at[MODEL_SLOTS]; /* of a slot, its place in `wanted` + 1; 0: none, or given already */
};

/* `index` MODEL_INDEXES: all documents, else those that it holds. */
void stream_begin(struct stream *stream, unsigned collection, const struct filter *filter,
    const struct pattern *sort, unsigned index, uint64_t skip, uint64_t limit);
/* Look at the next document that came; what is wrong ends the process, with a story. */
void stream_take(struct stream *stream, struct gneiss_bson document, const char *what);
void stream_end(const struct stream *stream, const char *what);
/* Read a cursor to its end, and close it. */
void stream_read(struct stream *stream, struct gneiss_cursor *cursor, const char *what);

#endif
