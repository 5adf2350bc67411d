/*
 * play.c - operations at random, on the model and on the engine.
 *
 * Each is drawn, done to the model (world.h: with its journal), done to the engine, and the two
 * answers are compared.  What the model says is refused is taken back before the engine is asked.
 */
#include "tests/model/play.h"

#include <string.h>

#include "tests/model/compare.h"
#include "tests/model/cursors.h"
#include "tests/model/draw.h"
#include "tests/model/drive.h"
#include "tests/model/stream.h"
#include "tests/model/world.h"

#define BATCH_MAX    8
#define JOURNAL_FULL (WORLD_JOURNAL / 2)
#define FEW          12

/* What an answer must be. */
enum expected { WELL, TAKEN /* a unique key */, REFUSED, EITHER /* TAKEN or REFUSED */ };

static struct bson_out filter_bson, change_bson;
static unsigned collection; /* the operation's */
static bool durable;

static void
expect(int code, enum expected expected, unsigned slot, const char *what)
{
    bool is_refusal = code == GNEISS_BAD_VALUE || code == 14 || code == 28;
    bool right = expected == WELL      ? code == GNEISS_OK
                 : expected == TAKEN   ? code == GNEISS_DUPLICATE
                 : expected == REFUSED ? is_refusal
                                       : is_refusal || code == GNEISS_DUPLICATE;
    static const char *const words[] = { "done", "refused: a key is taken", "refused",
        "refused: a key is taken, or a type is wrong" };

    if (!right)
        world_fail(collection, slot, "%s should be %s; the engine says %d, %s", what,
            words[expected], code, code == GNEISS_OK ? "done" : drive_message());
    if (code == GNEISS_OK && durable && world_has_step()) /* who writes nothing waits for nothing */
        world_forget_journal();
    if (code != GNEISS_OK)
        world->conflicts++;
}

static void
expect_count(uint64_t came, uint64_t wanted, unsigned slot, const char *what)
{
    if (came != wanted)
        world_fail(
            collection, slot, "%s: %ju instead of %ju", what, (uintmax_t)came, (uintmax_t)wanted);
}

static struct collection *
model(void)
{
    return &world->collection[collection];
}

static void
put_doc(const struct doc *doc)
{
    change_bson.size = 0;
    model_bson(&change_bson, doc);
    world_note(1, &change_bson);
}

static void
put_filter(const struct filter *filter)
{
    filter_bson.size = 0;
    model_put_filter(&filter_bson, filter);
    world_note(0, &filter_bson);
}

static void
put_update(const struct update *update)
{
    change_bson.size = 0;
    model_put_update(&change_bson, update);
    world_note(1, &change_bson);
}

/* The first write makes the collection: a step of its own. */
static void
make_collection(void)
{
    if (model()->there)
        return;
    world_begin_step();
    world_set_there(collection, true);
    world_set_indexes(collection, 1);
}

/* ---- inserting ---- */

static void
insert_one(void)
{
    unsigned slot = (unsigned)draw_below(MODEL_SLOTS);
    struct doc doc = draw_doc(slot);
    bool taken = model()->doc[slot].there || model_clashes(model(), slot, &doc);

    world_tell("insert %u", slot);
    put_doc(&doc);
    make_collection();
    if (!taken) {
        world_begin_step();
        world_set_doc(collection, slot, &doc);
    }
    expect(gneiss_insert(drive_collection[collection], drive_bson(&change_bson), NULL),
        taken ? TAKEN : WELL, slot, "the insert");
}

static void
insert_many(void)
{
    static struct bson_out bson[BATCH_MAX];
    struct gneiss_bson given[BATCH_MAX];
    unsigned count = 1 + (unsigned)draw_below(BATCH_MAX), slot = 0;
    bool taken = false;

    world_tell("insert %u at once:", count);
    make_collection();
    world_begin_step();
    for (unsigned i = 0; i < count; i++) {
        struct doc doc;

        slot = (unsigned)draw_below(MODEL_SLOTS);
        doc = draw_doc(slot);
        world_tell(" %u", slot);
        bson[i].size = 0;
        model_bson(&bson[i], &doc);
        given[i] = drive_bson(&bson[i]);
        taken = taken || model()->doc[slot].there || model_clashes(model(), slot, &doc);
        if (!taken)
            world_set_doc(collection, slot, &doc);
    }
    if (taken && world_has_step())
        (void)world_undo();
    expect(gneiss_insert_many(drive_collection[collection], given, count), taken ? TAKEN : WELL,
        slot, "inserting many");
}

/* ---- updating ---- */

/* By _id: one document, or an upsert. */
static void
update_one(void)
{
    unsigned slot = (unsigned)draw_below(MODEL_SLOTS);
    struct filter filter = draw_id_filter(slot);
    struct update update = draw_update(slot, false);
    bool upsert = draw_once_in(4), there = model()->doc[slot].there, taken = false;
    struct doc before = model()->doc[slot], after;
    struct gneiss_update_result result = { 0, 0, false };
    enum outcome outcome = OUTCOME_DONE;
    bool changed;

    if (!there && upsert) {
        memset(&before, 0, sizeof before);
        before.there = true;
        model_set(&before, FIELD_ID, &filter.condition[0].value[0]);
    }
    if (there || upsert)
        outcome = model_update(&before, &update, &after);
    if (outcome == OUTCOME_BEYOND)
        return;
    world_tell("%s %u", upsert ? "upsert" : "update", slot);
    put_filter(&filter);
    put_update(&update);
    changed = (there && outcome == OUTCOME_DONE &&
                  (after.size != before.size || after.hash != before.hash)) ||
              (!there && upsert && outcome == OUTCOME_DONE);
    if (changed)
        taken = model_clashes(model(), slot, &after);
    if (upsert)
        make_collection();
    if (changed && !taken) {
        world_begin_step();
        world_set_doc(collection, slot, &after);
    }
    expect(gneiss_update(drive_collection[collection], drive_bson(&filter_bson),
               drive_bson(&change_bson), upsert ? GNEISS_UPSERT : GNEISS_ONE, &result),
        taken                        ? TAKEN
        : outcome == OUTCOME_REFUSED ? REFUSED
                                     : WELL,
        slot, "the update");
    if (taken || outcome == OUTCOME_REFUSED)
        return;
    expect_count(result.matched, there, slot, "matched");
    expect_count(result.modified, there && changed, slot, "modified");
    expect_count(result.upserted, !there && upsert, slot, "upserted");
}

/* All that match: done whole, or not at all. */
static void
update_many(void)
{
    struct filter filter = draw_filter();
    struct update update = draw_update(0, true);
    struct gneiss_update_result result = { 0, 0, false };
    static struct doc after[MODEL_SLOTS];
    unsigned matched = 0, modified = 0, slot = MODEL_SLOTS;
    bool changed[MODEL_SLOTS] = { false }, taken = false, refused = false;

    for (unsigned i = 0; i < MODEL_SLOTS; i++) {
        const struct doc *doc = &model()->doc[i];
        enum outcome outcome;

        if (!model_match(doc, &filter))
            continue;
        matched++;
        outcome = model_update(doc, &update, &after[i]);
        if (outcome == OUTCOME_BEYOND)
            return;
        refused = refused || outcome == OUTCOME_REFUSED;
        changed[i] =
            outcome == OUTCOME_DONE && (after[i].size != doc->size || after[i].hash != doc->hash);
        modified += changed[i];
    }
    world_tell("update all of %u", matched);
    put_filter(&filter);
    put_update(&update);
    world_begin_step();
    for (unsigned i = 0; i < MODEL_SLOTS; i++)
        if (changed[i])
            world_set_doc(collection, slot = i, &after[i]);
    for (unsigned i = 0; i < MODEL_SLOTS; i++)
        taken = taken || (changed[i] && model_clashes(model(), i, &after[i]));
    if ((taken || refused) && world_has_step())
        (void)world_undo();
    expect(gneiss_update(drive_collection[collection], drive_bson(&filter_bson),
               drive_bson(&change_bson), GNEISS_ALL, &result),
        taken && refused ? EITHER
        : taken          ? TAKEN
        : refused        ? REFUSED
                         : WELL,
        slot, "the update of all");
    if (taken || refused)
        return;
    expect_count(result.matched, matched, slot, "matched");
    expect_count(result.modified, modified, slot, "modified");
}

/* Of several that match the engine takes one: which one is seen afterwards. */
static bool
looks_like(unsigned slot, const struct doc *doc)
{
    struct gneiss_bson there = drive_get(collection, slot);

    if (doc == NULL || there.size == 0)
        return doc == NULL && there.size == 0;
    return there.size == doc->size && model_hash(there.data, there.size) == doc->hash;
}

static void
update_some_one(void)
{
    struct filter filter = draw_filter();
    struct update update = draw_update(0, true);
    struct gneiss_update_result result = { 0, 0, false };
    static struct doc after[MODEL_SLOTS];
    unsigned matched = 0, modified = 0, chosen = MODEL_SLOTS;
    bool match[MODEL_SLOTS] = { false }, may_fail = false, may_rest = false;
    int code;

    for (unsigned i = 0; i < MODEL_SLOTS; i++) {
        const struct doc *doc = &model()->doc[i];
        enum outcome outcome;

        if (!model_match(doc, &filter))
            continue;
        matched++;
        outcome = model_update(doc, &update, &after[i]);
        if (outcome == OUTCOME_BEYOND)
            return;
        match[i] = outcome == OUTCOME_DONE;
        may_fail = may_fail || outcome != OUTCOME_DONE || model_clashes(model(), i, &after[i]);
        may_rest = may_rest || (match[i] && after[i].hash == doc->hash);
    }
    world_tell("update one of %u", matched);
    put_filter(&filter);
    put_update(&update);
    code = gneiss_update(drive_collection[collection], drive_bson(&filter_bson),
        drive_bson(&change_bson), GNEISS_ONE, &result);
    if (code != GNEISS_OK && may_fail) {
        expect(code, EITHER, MODEL_SLOTS, "the update of one");
        return;
    }
    expect_count(result.matched, matched > 0, MODEL_SLOTS, "matched");
    for (unsigned i = 0; i < MODEL_SLOTS && result.modified > 0; i++) {
        if (!match[i] || after[i].hash == model()->doc[i].hash || !looks_like(i, &after[i]))
            continue;
        modified++;
        world_tell(", it was %u", chosen = i);
    }
    expect_count(result.modified, modified, chosen, "modified");
    if (modified == 0 && matched > 0 && !may_rest)
        world_fail(collection, MODEL_SLOTS, "the update of one changed nothing");
    world_begin_step();
    if (modified > 0)
        world_set_doc(collection, chosen, &after[chosen]);
    expect(code, WELL, chosen, "the update of one");
}

/* How many of the model's documents match. */
static unsigned
count_matching(const struct filter *filter)
{
    unsigned count = 0;

    for (unsigned i = 0; i < MODEL_SLOTS; i++)
        count += model_match(&model()->doc[i], filter);
    return count;
}

/* ---- deleting ---- */

static void
delete_one(void)
{
    unsigned slot = (unsigned)draw_below(MODEL_SLOTS);
    struct filter filter = draw_id_filter(slot);
    const struct doc none = { .there = false };
    bool there = model()->doc[slot].there;
    uint64_t deleted = 0;

    world_tell("delete %u", slot);
    put_filter(&filter);
    world_begin_step();
    if (there)
        world_set_doc(collection, slot, &none);
    expect(
        gneiss_delete(drive_collection[collection], drive_bson(&filter_bson), GNEISS_ONE, &deleted),
        WELL, slot, "the delete");
    expect_count(deleted, there, slot, "deleted");
}

static void
delete_many(void)
{
    struct filter filter = draw_filter();
    const struct doc none = { .there = false };
    unsigned matched = count_matching(&filter), slot = MODEL_SLOTS;
    uint64_t deleted = 0;

    if (matched > MODEL_SLOTS / 8 && !draw_once_in(30))
        return; /* mostly there should be documents */
    world_tell("delete all of %u", matched);
    put_filter(&filter);
    world_begin_step();
    for (unsigned i = 0; i < MODEL_SLOTS; i++)
        if (model_match(&model()->doc[i], &filter))
            world_set_doc(collection, slot = i, &none);
    expect(
        gneiss_delete(drive_collection[collection], drive_bson(&filter_bson), GNEISS_ALL, &deleted),
        WELL, slot, "the delete of all");
    expect_count(deleted, matched, slot, "deleted");
}

static void
delete_some_one(void)
{
    struct filter filter = draw_filter();
    const struct doc none = { .there = false };
    unsigned matched = 0, gone = MODEL_SLOTS;
    uint64_t deleted = 0;
    int code;

    put_filter(&filter);
    code =
        gneiss_delete(drive_collection[collection], drive_bson(&filter_bson), GNEISS_ONE, &deleted);
    for (unsigned i = 0; i < MODEL_SLOTS; i++) {
        if (!model_match(&model()->doc[i], &filter))
            continue;
        matched++;
        if (deleted > 0 && gone == MODEL_SLOTS && looks_like(i, NULL))
            gone = i;
    }
    world_tell("delete one of %u, it was %u", matched, gone);
    expect_count(deleted, matched > 0, gone, "deleted");
    world_begin_step();
    if (gone < MODEL_SLOTS)
        world_set_doc(collection, gone, &none);
    else if (deleted > 0)
        world_fail(collection, MODEL_SLOTS, "a document that did not match was deleted");
    expect(code, WELL, gone, "the delete of one");
}

/* ---- reading ---- */

static void
get_one(void)
{
    unsigned slot = (unsigned)draw_below(MODEL_SLOTS);
    const struct doc *doc = &model()->doc[slot];

    world_tell("get %u", slot);
    if (!looks_like(slot, doc->there ? doc : NULL))
        world_fail(collection, slot, "get gave other contents");
}

static void
count_some(void)
{
    struct filter filter = draw_filter();
    uint64_t came;
    struct gneiss_bson given;

    world_tell("count");
    put_filter(&filter);
    given = drive_bson(&filter_bson);
    if (gneiss_count(drive_collection[collection],
            filter.count == 0 && draw_once_in(2) ? NULL : &given, &came) != GNEISS_OK)
        world_fail(collection, MODEL_SLOTS, "count: %s", drive_message());
    expect_count(came, count_matching(&filter), MODEL_SLOTS, "count");
}

/* ---- definitions ---- */

static void
create_collection(void)
{
    bool there = model()->there;
    int code;

    world_tell("create the collection");
    make_collection();
    code = gneiss_create_collection(drive_collection[collection], NULL);
    if (code != (there ? GNEISS_EXISTS : GNEISS_OK))
        world_fail(collection, MODEL_SLOTS, "creating the collection: %d, %s", code,
            code == GNEISS_OK ? "done" : drive_message());
}

static void
create_index(void)
{
    unsigned index = 1 + (unsigned)draw_below(MODEL_INDEXES - 1);
    bool there = (model()->indexes >> index & 1) != 0, taken = false, existed = false;

    if (!model()->there) {
        create_collection();
        return;
    }
    world_tell("create index %s", model_indexes[index].name);
    for (unsigned i = 0; i < MODEL_SLOTS && !there && !taken; i++)
        taken = model()->doc[i].there && model_clashes_in(model(), index, i, &model()->doc[i]);
    if (!there && !taken) {
        world_begin_step();
        world_set_indexes(collection, model()->indexes | 1u << index);
        world->built++;
    }
    change_bson.size = 0;
    model_put_index(&change_bson, &model_indexes[index]);
    expect(gneiss_create_index(drive_collection[collection], drive_bson(&change_bson), &existed),
        taken ? TAKEN : WELL, MODEL_SLOTS, "making the index");
    expect_count(existed, there, MODEL_SLOTS, "existed");
}

static void
drop_index(void)
{
    unsigned index = 1 + (unsigned)draw_below(MODEL_INDEXES - 1);
    bool there = (model()->indexes >> index & 1) != 0, found = false;

    if (!model()->there || !there)
        return;
    world_tell("drop index %s", model_indexes[index].name);
    cursors_doom(collection);
    world_begin_step();
    world_set_indexes(collection, model()->indexes & ~(1u << index));
    expect(gneiss_drop_index(drive_collection[collection], model_indexes[index].name, &found), WELL,
        MODEL_SLOTS, "dropping the index");
    expect_count(found, true, MODEL_SLOTS, "found");
}

static void
empty_collection(unsigned which)
{
    const struct doc none = { .there = false };

    cursors_doom(which);
    for (unsigned i = 0; i < MODEL_SLOTS; i++)
        if (world->collection[which].doc[i].there)
            world_set_doc(which, i, &none);
    world_set_indexes(which, 0);
    world_set_there(which, false);
}

static void
drop_collection(void)
{
    bool found, there = model()->there;

    if (!draw_once_in(3))
        return;
    world_tell("drop the collection");
    world_begin_step();
    if (there)
        empty_collection(collection);
    expect(gneiss_drop_collection(drive_collection[collection], &found), WELL, MODEL_SLOTS,
        "dropping the collection");
    expect_count(found, there, MODEL_SLOTS, "found");
}

static void
drop_database(void)
{
    if (!draw_once_in(6))
        return;
    world_tell("drop the database");
    world_begin_step();
    for (unsigned i = 0; i < MODEL_COLLECTIONS; i++)
        if (world->collection[i].there)
            empty_collection(i);
    expect(gneiss_drop_database(drive_session, "game", NULL), WELL, MODEL_SLOTS,
        "dropping the database");
}

/* ---- what changes nothing that one sees ---- */

static void
vacuum(void)
{
    world_tell("vacuum");
    drive_vacuum();
    world->vacuums++;
}

static void
checkpoint(void)
{
    world_tell("checkpoint");
    if (gneiss_checkpoint(drive_session) != GNEISS_OK)
        world_fail(collection, MODEL_SLOTS, "checkpoint: %s", drive_message());
    world_forget_journal();
    world->checkpoints++;
}

void
play_rest(void)
{
    cursors_close();
    if (gneiss_flush(drive_session) != GNEISS_OK)
        world_fail(collection, MODEL_SLOTS, "flush: %s", drive_message());
    world_forget_journal();
}

/* ---- which ---- */

struct choice {
    unsigned weight;
    void (*play)(void);
    bool unsure; /* after a kill in it one could not say what it did */
};

static const struct choice choices[] = {
    { 1600, insert_one, false },
    { 200, insert_many, false },
    { 1800, update_one, false },
    { 250, update_many, false },
    { 250, update_some_one, true },
    { 500, delete_one, false },
    { 100, delete_many, false },
    { 150, delete_some_one, true },
    { 2000, get_one, false },
    { 500, count_some, false },
    { 1600, cursors_find, false },
    { 150, cursors_open, false },
    { 800, cursors_go_on, false },
    { 100, create_index, false },
    { 25, drop_index, false },
    { 1, drop_collection, false },
    { 1, drop_database, false },
    { 2, create_collection, false },
    { 10, vacuum, false },
    { 5, checkpoint, false },
};
#define CHOICES (sizeof choices / sizeof *choices)
#define SELDOM  13 /* the first of those that a life that is to end does more often */

static const struct choice *
choose(void)
{
    unsigned total = 0;
    uint64_t drawn;

    if (model()->count < FEW && draw_once_in(3)) /* so that all comes after the indexes */
        return &choices[SELDOM];
    if (world->armed && draw_once_in(12))
        return &choices[SELDOM + draw_below(CHOICES - SELDOM)];
    for (size_t i = 0; i < CHOICES; i++)
        total += choices[i].weight;
    drawn = draw_below(total);
    for (size_t i = 0;; i++) {
        if (drawn < choices[i].weight)
            return &choices[i];
        drawn -= choices[i].weight;
    }
}

void
play_operation(void)
{
    const struct choice *choice;

    draw_seed(world->seed, world->operation);
    collection = draw_once_in(4) ? 1 : 0;
    cursors_use(collection);
    durable = draw_once_in(16);
    world_begin_step();
    gneiss_session_set_durable(drive_session, durable);
    world_tell("c%u%s: ", collection, durable ? ", durable" : "");
    choice = choose();
    if (choice->unsure && world->armed)
        return;
    if (world->journal_count > JOURNAL_FULL) {
        if (gneiss_flush(drive_session) != GNEISS_OK)
            world_fail(collection, MODEL_SLOTS, "flush: %s", drive_message());
        world_forget_journal();
    }
    choice->play();
}
