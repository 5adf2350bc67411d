/*
 * test_collection_crash.c - killed at any moment: what was acknowledged is there, nothing else is.
 *
 * A child opens the directory and makes, drops, fills and indexes collections; before and after
 * each step it tells the parent by a pipe.  The parent kills it, opens the directory itself, and
 * compares with what it was told: the step under way may have happened or not.
 */
#include "tests/unit/storage/collection/collfixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/rand.h"
#include "storage/page/datafile.h"
#include "wal/checkpoint.h"

#define COLLECTIONS 3
#define ROUNDS      12

enum step { STEP_CREATE, STEP_DROP, STEP_INSERT, STEP_INDEX, STEP_CHECKPOINT };
struct told {
    enum step step;
    int collection;
    int id;
    bool done;
};

struct model {
    bool there[COLLECTIONS], indexed[COLLECTIONS];
    int next[COLLECTIONS]; /* ids below are in */
};

static const char *
name_of(int collection)
{
    static const char *const names[COLLECTIONS] = { "c0", "c1", "c2" };

    return names[collection];
}

static void
tell_parent(int pipe, struct told told)
{
    if (write(pipe, &told, sizeof told) != (ssize_t)sizeof told)
        _exit(1);
}

static struct told
choose(struct rand *rand, const struct model *model)
{
    struct told told = { STEP_INSERT, (int)rand_below(rand, COLLECTIONS), 0, false };
    unsigned dice = (unsigned)rand_below(rand, 100);

    if (!model->there[told.collection])
        told.step = STEP_CREATE;
    else if (dice == 0)
        told.step = STEP_DROP;
    else if (dice == 1 && !model->indexed[told.collection])
        told.step = STEP_INDEX;
    else if (dice == 2)
        told.step = STEP_CHECKPOINT;
    told.id = model->next[told.collection];
    return told;
}

static void
apply(struct model *model, const struct told *told)
{
    int c = told->collection;

    switch (told->step) {
    case STEP_CREATE:
        model->there[c] = true;
        model->indexed[c] = false;
        model->next[c] = 0;
        break;
    case STEP_DROP:
        model->there[c] = false;
        break;
    case STEP_INSERT:
        model->next[c]++;
        break;
    case STEP_INDEX:
        model->indexed[c] = true;
        break;
    case STEP_CHECKPOINT:
        break;
    }
}

static void
carry_out(const struct told *told)
{
    struct arena_mark mark = arena_mark(fixture_op.arena);
    const char *name = name_of(told->collection);
    struct txn *txn;
    bool found;

    switch (told->step) {
    case STEP_CREATE:
        txn = fixture_begin(TXN_READ_COMMITTED);
        OKAY(catalog_create_collection(
            &fixture_op, txn, TENANT, DATABASE, name, (struct bytes){ NULL, 0 }));
        OKAY(txn_commit(&fixture_op, txn, true));
        break;
    case STEP_DROP:
        txn = fixture_begin(TXN_READ_COMMITTED);
        OKAY(catalog_drop_collection(&fixture_op, txn, TENANT, DATABASE, name, &found));
        OKAY(txn_commit(&fixture_op, txn, true));
        break;
    case STEP_INSERT:
        txn = fixture_begin(TXN_READ_COMMITTED);
        OKAY(fixture_insert_in(txn, name,
            fixture_document(arena_printf(fixture_op.arena,
                "{'_id': %d, 'a': %d, 'm': [%d, 7], 't': 'some more text to fill pages'}", told->id,
                told->id % 10, told->id))));
        OKAY(txn_commit(&fixture_op, txn, true));
        break;
    case STEP_INDEX:
        OKAY(catalog_create_index(
            &fixture_op, TENANT, DATABASE, name, fixture_document("{'key': {'a': 1}}"), &found));
        break;
    case STEP_CHECKPOINT:
        OKAY(checkpoint_run(CHECKPOINT_FAST));
        break;
    }
    arena_rewind(fixture_op.arena, mark);
}

static void __attribute__((noreturn)) work(int pipe, struct model model, uint64_t seed)
{
    struct rand rand;

    rand_init(&rand, seed);
    fixture_open();
    for (;;) {
        struct told told = choose(&rand, &model);

        tell_parent(pipe, told);
        carry_out(&told);
        told.done = true;
        tell_parent(pipe, told);
        apply(&model, &told);
    }
}

/* What is there, as a model. */
static void
look(struct model *found)
{
    for (int c = 0; c < COLLECTIONS; c++) {
        const struct catalog_collection *collection;
        struct index_range all = { 0 };

        catalog_enter();
        OKAY(catalog_find(&fixture_op, NULL, TENANT, DATABASE, name_of(c), &collection));
        found->there[c] = collection != NULL;
        found->indexed[c] = collection != NULL && collection->index_count > 1;
        if (found->indexed[c])
            assert_int_equal(collection->index[1]->state, CATALOG_INDEX_READY);
        catalog_leave();
        found->next[c] = found->there[c] ? (int)fixture_count(name_of(c), NULL, NULL) : 0;
        if (found->indexed[c])
            assert_int_equal(fixture_count(name_of(c), "a_1", &all), found->next[c]);
    }
}

static bool
same(const struct model *a, const struct model *b)
{
    for (int c = 0; c < COLLECTIONS; c++) {
        if (a->there[c] != b->there[c])
            return false;
        if (a->there[c] && (a->indexed[c] != b->indexed[c] || a->next[c] != b->next[c]))
            return false;
    }
    return true;
}

static void
kill_one(struct model *model, struct rand *rand)
{
    struct model found, perhaps;
    struct told told, open = { .done = true };
    int ends[2], status;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(ends[0]);
        work(ends[1], *model, rand_u64(rand));
    }
    (void)close(ends[1]);
    (void)usleep((useconds_t)(20000 + rand_below(rand, 120000)));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    while (read(ends[0], &told, sizeof told) == (ssize_t)sizeof told) {
        open = told;
        if (told.done)
            apply(model, &told);
    }
    (void)close(ends[0]);
    perhaps = *model;
    if (!open.done)
        apply(&perhaps, &open);
    fixture_open();
    look(&found);
    if (!same(&found, model) && !same(&found, &perhaps))
        fail_msg("step %d on c%d: %d/%d/%d documents", open.step, open.collection, found.next[0],
            found.next[1], found.next[2]);
    *model = found;
    fixture_check(); /* orphans, too */
    if (rand_below(rand, 3) == 0) {
        fixture_close();
    } else {
        fixture_detach();
        engine_release();
    }
}

static void
what_was_acknowledged_is_there_and_nothing_half(void **state)
{
    const char *seed = getenv("TEST_SEED");
    struct model model = { { false }, { false }, { 0 } };
    struct rand rand;

    (void)state;
    rand_init(&rand, seed != NULL ? strtoull(seed, NULL, 10) : 7);
    fixture_make(8192);
    for (unsigned round = 0; round < ROUNDS; round++)
        kill_one(&model, &rand);
    fixture_remove();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_is_there_and_nothing_half),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
