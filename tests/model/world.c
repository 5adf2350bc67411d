/*
 * world.c - what outlives the process that plays.
 */
#include "tests/model/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/gneiss.h"

#define LINE_MAX_CHARS 2000

struct world *world;

void
world_make(uint64_t seed)
{
    world = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (world == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    world->seed = seed;
}

/* ---- the model, with its journal ---- */

void
world_begin_step(void)
{
    world->step++;
}

static struct entry *
add_entry(enum entry_kind kind, unsigned collection)
{
    struct entry *entry;

    if (world->journal_count == WORLD_JOURNAL) {
        (void)fprintf(stderr, "the journal is full\n");
        abort();
    }
    entry = &world->journal[world->journal_count];
    entry->step = world->step;
    entry->kind = kind;
    entry->collection = collection;
    return entry;
}

void
world_set_doc(unsigned collection, unsigned slot, const struct doc *doc)
{
    struct doc *at = &world->collection[collection].doc[slot];
    struct entry *entry = add_entry(ENTRY_DOC, collection);
    uint64_t story[MODEL_STORY];

    entry->slot = slot;
    entry->before = *at;
    world->journal_count++;
    memcpy(story + 1, at->story, sizeof story - sizeof *story);
    story[0] = world->operation;
    world->collection[collection].count += (unsigned)doc->there - at->there;
    *at = *doc;
    memcpy(at->story, story, sizeof story);
    world->changes++;
}

void
world_set_indexes(unsigned collection, uint32_t indexes)
{
    add_entry(ENTRY_INDEXES, collection)->indexes = world->collection[collection].indexes;
    world->journal_count++;
    world->collection[collection].indexes = indexes;
}

void
world_set_there(unsigned collection, bool there)
{
    add_entry(ENTRY_THERE, collection)->there = world->collection[collection].there;
    world->journal_count++;
    world->collection[collection].there = there;
}

bool
world_has_step(void)
{
    return world->journal_count > 0 && world->journal[world->journal_count - 1].step == world->step;
}

bool
world_undo(void)
{
    uint64_t step;

    if (world->journal_count == 0)
        return false;
    step = world->journal[world->journal_count - 1].step;
    while (world->journal_count > 0 && world->journal[world->journal_count - 1].step == step) {
        const struct entry *entry = &world->journal[world->journal_count - 1];
        struct collection *collection = &world->collection[entry->collection];

        if (entry->kind == ENTRY_DOC) {
            uint64_t story[MODEL_STORY];

            memcpy(story, collection->doc[entry->slot].story, sizeof story);
            collection->count += (unsigned)entry->before.there - collection->doc[entry->slot].there;
            collection->doc[entry->slot] = entry->before;
            memcpy(collection->doc[entry->slot].story, story, sizeof story);
        } else if (entry->kind == ENTRY_INDEXES) {
            collection->indexes = entry->indexes;
        } else {
            collection->there = entry->there;
        }
        world->journal_count--;
    }
    return true;
}

void
world_forget_journal(void)
{
    world->journal_count = 0;
}

/* ---- the story ---- */

static struct operation *
this_operation(void)
{
    struct operation *now = &world->story[world->operation % WORLD_STORY];

    if (now->number != world->operation) {
        now->number = world->operation;
        now->note[0] = '\0';
        memset(now->size, 0, sizeof now->size);
    }
    return now;
}

void
world_note(unsigned part, const struct bson_out *bson)
{
    struct operation *now = this_operation();

    now->size[part] = 0;
    if (bson->size > WORLD_BYTES)
        return;
    memcpy(now->data[part], bson->data, bson->size);
    now->size[part] = (uint32_t)bson->size;
}

void
world_tell(const char *format, ...)
{
    struct operation *now = this_operation();
    size_t used = strlen(now->note);
    va_list list;

    va_start(list, format);
    (void)vsnprintf(now->note + used, sizeof now->note - used, format, list);
    va_end(list);
}

static void
print_operation(const struct operation *operation)
{
    static const char *const parts[] = { "filter", "with", "sort" };

    (void)fprintf(stderr, "  %" PRIu64 ": %s\n", operation->number, operation->note);
    for (unsigned i = 0; i < 3; i++) {
        char *text;

        if (operation->size[i] == 0)
            continue;
        text = gneiss_bson_to_json(
            (struct gneiss_bson){ operation->data[i], operation->size[i] }, GNEISS_CANONICAL);
        (void)fprintf(stderr, "      %s %.*s\n", parts[i], LINE_MAX_CHARS, text ? text : "?");
        gneiss_json_free(text);
    }
}

void
world_print_last(unsigned count)
{
    uint64_t first = world->operation >= count ? world->operation - count + 1 : 0;

    (void)fprintf(stderr, "the last operations:\n");
    for (uint64_t number = first; number <= world->operation; number++)
        if (world->story[number % WORLD_STORY].number == number)
            print_operation(&world->story[number % WORLD_STORY]);
}

static void
print_document(unsigned collection, unsigned slot)
{
    const struct doc *doc = &world->collection[collection].doc[slot];
    struct bson_out out = { NULL, 0, 0 };
    char *text = NULL;

    if (doc->there) {
        model_bson(&out, doc);
        text = gneiss_bson_to_json((struct gneiss_bson){ out.data, out.size }, GNEISS_CANONICAL);
    }
    (void)fprintf(stderr, "the model has: %.*s\n", LINE_MAX_CHARS, text ? text : "no document");
    gneiss_json_free(text);
    free(out.data);
    (void)fprintf(stderr, "operations that changed it last:\n");
    for (unsigned i = MODEL_STORY; i-- > 0;) {
        const struct operation *one = &world->story[doc->story[i] % WORLD_STORY];

        if (doc->story[i] == 0)
            continue;
        if (one->number == doc->story[i])
            print_operation(one);
        else
            (void)fprintf(stderr, "  %" PRIu64 ": (too long ago)\n", doc->story[i]);
    }
}

void
world_fail(unsigned collection, unsigned slot, const char *format, ...)
{
    va_list list;

    (void)fprintf(stderr,
        "DIFFERENCE at operation %" PRIu64 " of seed %" PRIu64 ", collection c%u: ",
        world->operation, world->seed, collection);
    va_start(list, format);
    (void)vfprintf(stderr, format, list);
    va_end(list);
    (void)fprintf(stderr, "\n");
    if (slot < MODEL_SLOTS)
        print_document(collection, slot);
    world_print_last(3);
    _exit(1);
}
