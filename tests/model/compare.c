/*
 * compare.c - the engine's whole state beside the model's.
 */
#include "tests/model/compare.h"

#include <stdio.h>
#include <string.h>

#include "tests/model/drive.h"
#include "tests/model/stream.h"
#include "tests/model/world.h"

#define REPORT 4096

/* What the engine has, in short. */
struct state {
    bool there;
    uint32_t indexes;
    uint32_t size[MODEL_SLOTS];
    uint64_t hash[MODEL_SLOTS];
};
static struct state states[MODEL_COLLECTIONS];

static void
read_indexes(unsigned collection, struct state *state)
{
    const struct gneiss_bson *definitions;
    size_t count;

    if (gneiss_list_indexes(drive_collection[collection], &definitions, &count) != GNEISS_OK)
        world_fail(collection, MODEL_SLOTS, "listing indexes: %s", drive_message());
    for (size_t i = 0; i < count; i++) {
        char *text = gneiss_bson_to_json(definitions[i], GNEISS_RELAXED);
        bool known = false;

        for (unsigned k = 0; k < MODEL_INDEXES; k++) {
            char name[32];

            (void)snprintf(name, sizeof name, "\"name\":\"%s\"", model_indexes[k].name);
            if (strstr(text, name) == NULL)
                continue;
            known = true;
            state->indexes |= 1u << k;
        }
        if (!known)
            world_fail(collection, MODEL_SLOTS, "an index that nobody made: %s", text);
        gneiss_json_free(text);
    }
}

static void
read_documents(unsigned collection, struct state *state)
{
    struct gneiss_cursor *cursor;
    struct gneiss_bson document;
    bool found = true;

    if (gneiss_find(drive_collection[collection], NULL, &cursor) != GNEISS_OK)
        world_fail(collection, MODEL_SLOTS, "reading all: %s", drive_message());
    while (found) {
        unsigned slot;

        if (gneiss_find_next(cursor, &document, &found) != GNEISS_OK)
            world_fail(collection, MODEL_SLOTS, "reading all: %s", drive_message());
        if (!found)
            break;
        slot = drive_slot(document);
        if (slot >= MODEL_SLOTS || state->size[slot] != 0)
            world_fail(collection, slot, "reading all gave a document twice, or one never put in");
        state->size[slot] = (uint32_t)document.size;
        state->hash[slot] = model_hash(document.data, document.size);
    }
    gneiss_find_close(cursor);
}

static void
read_states(void)
{
    const char *const *names;
    size_t count;

    memset(states, 0, sizeof states);
    if (gneiss_list_collections(drive_session, "game", &names, &count) != GNEISS_OK)
        world_fail(0, MODEL_SLOTS, "listing collections: %s", drive_message());
    for (size_t i = 0; i < count; i++) {
        unsigned which = (unsigned)(names[i][1] - '0');

        if (names[i][0] != 'c' || which >= MODEL_COLLECTIONS || names[i][2] != '\0')
            world_fail(0, MODEL_SLOTS, "a collection that nobody made: %s", names[i]);
        states[which].there = true;
    }
    for (unsigned i = 0; i < MODEL_COLLECTIONS; i++) {
        if (states[i].there)
            read_indexes(i, &states[i]);
        read_documents(i, &states[i]);
    }
}

/* What differs first; *slot MODEL_SLOTS: not a document.  NULL: nothing. */
static const char *
difference(unsigned *collection, unsigned *slot)
{
    for (unsigned i = 0; i < MODEL_COLLECTIONS; i++) {
        const struct collection *model = &world->collection[i];

        *collection = i;
        *slot = MODEL_SLOTS;
        if (states[i].there != model->there)
            return states[i].there ? "it is there, and should not be" : "it is not there";
        if (states[i].indexes != model->indexes)
            return "it has other indexes";
        for (*slot = 0; *slot < MODEL_SLOTS; ++*slot) {
            const struct doc *doc = &model->doc[*slot];

            if (states[i].size[*slot] != (doc->there ? doc->size : 0) ||
                (doc->there && states[i].hash[*slot] != doc->hash))
                return !doc->there                  ? "a document is there, and should not be"
                       : states[i].size[*slot] == 0 ? "a document is missing"
                                                    : "a document has other contents";
        }
    }
    return NULL;
}

static const char *
in_words(unsigned collection, unsigned slot)
{
    struct gneiss_bson document;

    if (slot >= MODEL_SLOTS)
        return "-";
    document = drive_get(collection, slot);
    return document.size > 0 ? gneiss_bson_to_json(document, GNEISS_CANONICAL) : "nothing";
}

static void
compare_index(unsigned collection, unsigned index)
{
    static struct stream stream;
    static struct bson_out sort, hint;
    const struct filter all = { .count = 0 };
    const struct pattern *pattern = &model_indexes[index].pattern;
    struct gneiss_query query = { .limit = 0 };
    struct gneiss_cursor *cursor;
    size_t at;

    if (model_indexes[index].scalar_only) /* no query of MongoDB's reads it */
        return;
    sort.size = hint.size = 0;
    model_put_pattern(&sort, NULL, pattern);
    at = value_open(&hint, 0, NULL);
    value_put_text(&hint, "", model_indexes[index].name);
    value_close(&hint, at);
    query.sort = drive_bson(&sort);
    query.hint = drive_bson(&hint);
    stream_begin(&stream, collection, &all, pattern, index, 0, 0);
    if (gneiss_find(drive_collection[collection], &query, &cursor) != GNEISS_OK)
        world_fail(collection, MODEL_SLOTS, "reading index %s: %s", model_indexes[index].name,
            drive_message());
    stream_read(&stream, cursor, model_indexes[index].name);
}

static void
compare_structures(void)
{
    static char report[REPORT];
    uint64_t faults = drive_check(report, sizeof report);

    if (faults > 0)
        world_fail(0, MODEL_SLOTS, "%ju faults in the structures:\n%s", (uintmax_t)faults, report);
}

void
compare_all(void)
{
    const char *what;
    unsigned collection, slot;

    world->compares++;
    read_states();
    what = difference(&collection, &slot);
    if (what != NULL)
        world_fail(collection, slot, "comparing all: %s; the engine has: %s", what,
            in_words(collection, slot));
    for (unsigned i = 0; i < MODEL_COLLECTIONS; i++)
        for (unsigned index = 0; index < MODEL_INDEXES; index++)
            if ((world->collection[i].indexes >> index & 1) != 0)
                compare_index(i, index);
    compare_structures();
}

void
compare_settle(void)
{
    const char *what, *first = NULL;
    unsigned collection, slot, first_collection = 0, first_slot = 0;

    read_states();
    while ((what = difference(&collection, &slot)) != NULL) {
        if (first == NULL) {
            first = what;
            first_collection = collection;
            first_slot = slot;
        }
        if (!world_undo())
            world_fail(collection, slot,
                "after a kill the engine has no state that there was: with everything done, in "
                "c%u, "
                "slot %u, %s; with nothing that is not on disk for certain, %s; the engine has: %s",
                first_collection, first_slot, first, what, in_words(collection, slot));
        world->undone++;
    }
    world_forget_journal(); /* what was replayed is on disk */
    compare_all();
}
