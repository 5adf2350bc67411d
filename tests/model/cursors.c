/*
 * cursors.c - queries, and cursors that go on while the collection changes.
 */
#include "tests/model/cursors.h"

#include <stddef.h>

#include "tests/model/draw.h"
#include "tests/model/drive.h"
#include "tests/model/stream.h"
#include "tests/model/world.h"

#define OPEN_MAX    4
#define READ_MAX    40
#define GONE        26 /* codes of a cursor whose collection or index was dropped */
#define PLAN_KILLED 175

struct open_cursor {
    struct gneiss_cursor *cursor; /* NULL: the place is free */
    bool doomed;
    struct stream stream;
};
static struct open_cursor open_cursors[OPEN_MAX];
static unsigned collection;

void
cursors_use(unsigned which)
{
    collection = which;
}

/* An index of the collection to be hinted, or MODEL_INDEXES. */
static unsigned
any_hint(void)
{
    unsigned first = (unsigned)draw_below(MODEL_INDEXES);

    for (unsigned i = 0; i < MODEL_INDEXES && !draw_once_in(20); i++) {
        unsigned index = (first + i) % MODEL_INDEXES;

        if ((world->collection[collection].indexes >> index & 1) != 0 &&
            !model_indexes[index].scalar_only)
            return index;
    }
    return MODEL_INDEXES;
}

static void
put_hint(struct bson_out *hint, unsigned index)
{
    size_t at = value_open(hint, 0, NULL), natural;

    if (index < MODEL_INDEXES) {
        value_put_text(hint, "", model_indexes[index].name);
    } else {
        natural = value_open(hint, 0x03, "");
        value_put_scalar(hint, "$natural", value_int(1));
        value_close(hint, natural);
    }
    value_close(hint, at);
    world_tell(" hint %s", index < MODEL_INDEXES ? model_indexes[index].name : "$natural");
}

static struct gneiss_cursor *
begin(struct stream *stream)
{
    static struct bson_out filter_bson, sort_bson, hint_bson;
    struct filter filter = draw_filter();
    struct pattern sort = { .count = 0 };
    struct gneiss_query query = { .limit = 0 };
    unsigned index = MODEL_INDEXES;
    struct gneiss_cursor *cursor;
    bool total;

    world_tell("find");
    if (draw_once_in(6)) /* by _id */
        filter = draw_id_filter((unsigned)draw_below(MODEL_SLOTS));
    filter_bson.size = sort_bson.size = hint_bson.size = 0;
    model_put_filter(&filter_bson, &filter);
    world_note(0, &filter_bson);
    query.filter = drive_bson(&filter_bson);
    if (draw_below(5) > 1)
        sort = draw_sort(&filter, &total);
    if (sort.count > 0) {
        model_put_pattern(&sort_bson, NULL, &sort);
        world_note(2, &sort_bson);
        query.sort = drive_bson(&sort_bson);
    }
    if (draw_once_in(3)) {
        index = any_hint();
        put_hint(&hint_bson, index);
        query.hint = drive_bson(&hint_bson);
    }
    if (draw_once_in(4))
        query.skip = draw_below(6);
    if (draw_once_in(3))
        query.limit = 1 + draw_below(10);
    world_tell(" skip %u limit %u", (unsigned)query.skip, (unsigned)query.limit);
    stream_begin(stream, collection, &filter, &sort, index, query.skip, query.limit);
    if (gneiss_find(drive_collection[collection], &query, &cursor) != GNEISS_OK)
        world_fail(collection, MODEL_SLOTS, "the query: %s", drive_message());
    return cursor;
}

void
cursors_find(void)
{
    static struct stream stream;
    struct gneiss_cursor *cursor = begin(&stream);

    stream_read(&stream, cursor, "the query");
    world->found += stream.taken;
}

void
cursors_open(void)
{
    for (unsigned i = 0; i < OPEN_MAX; i++) {
        if (open_cursors[i].cursor != NULL)
            continue;
        open_cursors[i].doomed = false;
        open_cursors[i].cursor = begin(&open_cursors[i].stream);
        world->cursors++;
        return;
    }
}

static void
end(struct open_cursor *open)
{
    gneiss_find_close(open->cursor);
    open->cursor = NULL;
}

void
cursors_go_on(void)
{
    struct open_cursor *open = &open_cursors[draw_below(OPEN_MAX)];
    unsigned count = (unsigned)draw_below(READ_MAX);
    struct gneiss_bson document;
    bool found = true;
    int code;

    if (open->cursor == NULL)
        return;
    world_tell("go on with a cursor of c%u", open->stream.collection);
    for (unsigned i = 0; i < count; i++) {
        code = gneiss_find_next(open->cursor, &document, &found);
        if (code != GNEISS_OK && open->doomed && (code == GONE || code == PLAN_KILLED)) {
            end(open);
            return;
        }
        if (code != GNEISS_OK)
            world_fail(open->stream.collection, MODEL_SLOTS, "going on with a cursor: %d, %s", code,
                drive_message());
        if (!found) {
            stream_end(&open->stream, "the cursor");
            end(open);
            return;
        }
        stream_take(&open->stream, document, "the cursor");
        world->found++;
    }
}

void
cursors_doom(unsigned which)
{
    for (unsigned i = 0; i < OPEN_MAX; i++)
        if (open_cursors[i].stream.collection == which)
            open_cursors[i].doomed = true;
}

void
cursors_close(void)
{
    for (unsigned i = 0; i < OPEN_MAX; i++)
        if (open_cursors[i].cursor != NULL)
            end(&open_cursors[i]);
}
