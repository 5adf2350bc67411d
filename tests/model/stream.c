/*
 * stream.c - what a query has to give, and whether it does.
 */
#include "tests/model/stream.h"

#include <stdlib.h>
#include <string.h>

#include "tests/model/drive.h"
#include "tests/model/world.h"

static const struct pattern *sorting;

static int
by_place(const void *a, const void *b)
{
    return model_compare(
        sorting, &((const struct wanted *)a)->place, &((const struct wanted *)b)->place);
}

void
stream_begin(struct stream *stream, unsigned collection, const struct filter *filter,
    const struct pattern *sort, unsigned index, uint64_t skip, uint64_t limit)
{
    const struct collection *there = &world->collection[collection];

    stream->collection = collection;
    stream->sort = *sort;
    stream->count = stream->taken = 0;
    memset(stream->at, 0, sizeof stream->at);
    for (unsigned slot = 0; slot < MODEL_SLOTS; slot++) {
        const struct doc *doc = &there->doc[slot];
        struct wanted *wanted = &stream->wanted[stream->count];

        if (!model_match(doc, filter) ||
            (index < MODEL_INDEXES && !model_holds(&model_indexes[index], doc)))
            continue;
        wanted->slot = slot;
        wanted->size = doc->size;
        wanted->hash = doc->hash;
        if (sort->count > 0)
            model_place(doc, sort, &wanted->place);
        stream->count++;
    }
    sorting = &stream->sort;
    if (sort->count > 0)
        qsort(stream->wanted, stream->count, sizeof *stream->wanted, by_place);
    for (unsigned i = 0; i < stream->count; i++)
        stream->at[stream->wanted[i].slot] = (uint16_t)(i + 1);
    stream->first = skip < stream->count ? (unsigned)skip : stream->count;
    stream->last = limit > 0 && limit < stream->count - stream->first
                       ? stream->first + (unsigned)limit
                       : stream->count;
}

void
stream_take(struct stream *stream, struct gneiss_bson document, const char *what)
{
    unsigned slot = drive_slot(document), at;
    const struct wanted *wanted;

    if (slot >= MODEL_SLOTS)
        world_fail(
            stream->collection, MODEL_SLOTS, "%s gave a document that was never put in", what);
    if (stream->first + stream->taken >= stream->last)
        world_fail(stream->collection, slot, "%s gave more than the %u documents wanted", what,
            stream->last - stream->first);
    at = stream->at[slot];
    if (at == 0)
        world_fail(
            stream->collection, slot, "%s gave a document twice, or one that does not match", what);
    wanted = &stream->wanted[at - 1];
    if (wanted->size != document.size || wanted->hash != model_hash(document.data, document.size))
        world_fail(stream->collection, slot, "%s gave a document with other contents: %s", what,
            gneiss_bson_to_json(document, GNEISS_CANONICAL));
    if (stream->sort.count > 0 && model_compare(&stream->sort, &wanted->place,
                                      &stream->wanted[stream->first + stream->taken].place) != 0)
        world_fail(stream->collection, slot, "%s gave a document out of its order, as number %u",
            what, stream->taken);
    stream->at[slot] = 0;
    stream->taken++;
}

void
stream_end(const struct stream *stream, const char *what)
{
    unsigned missing = stream->first + stream->taken, slot = MODEL_SLOTS;

    if (missing == stream->last)
        return;
    for (unsigned i = stream->count; i-- > 0;)
        if (stream->at[stream->wanted[i].slot] != 0)
            slot = stream->wanted[i].slot;
    world_fail(stream->collection, slot, "%s gave %u documents instead of %u", what, stream->taken,
        stream->last - stream->first);
}

void
stream_read(struct stream *stream, struct gneiss_cursor *cursor, const char *what)
{
    struct gneiss_bson document;
    bool found = true;

    while (found) {
        if (gneiss_find_next(cursor, &document, &found) != GNEISS_OK)
            world_fail(stream->collection, MODEL_SLOTS, "%s: %s", what, drive_message());
        if (found)
            stream_take(stream, document, what);
    }
    gneiss_find_close(cursor);
    stream_end(stream, what);
}
