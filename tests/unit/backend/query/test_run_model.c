/*
 * test_run_model.c - whatever plan is taken, a query gives what reading everything gives.
 *
 * Random documents, random filters and sorts, all indexes: the plan that is chosen, and each index
 * by hint, are compared with a list in memory; also saved and taken up again in the middle, after
 * updates that moved keys, and from snapshots taken before them.
 */
#include "tests/unit/backend/query/queryfixture.h"

#include "backend/query/sortkey.h"
#include "base/rand.h"

#define DOCUMENTS 160
#define QUERIES   400
#define CHANGES   60

static const char *const scalars[] = { "null", "1", "2", "2.5", "-3", "0",
    "{'$numberDouble':'NaN'}", "{'$numberDecimal':'2'}", "{'$numberLong':'7'}", "'a'", "'b'", "''",
    "true", "false", "{'$minKey':1}", "{'$maxKey':1}", "{'$date':{'$numberLong':'5'}}",
    "{'$timestamp':{'t':5,'i':1}}", "{'$undefined':true}", "{'x':1}", "{'x':2,'y':1}", "{}",
    "{'$oid':'0123456789abcdef01234567'}", "{'$binary':{'base64':'AAE=','subType':'00'}}" };
static const char *const arrays[] = { "[]", "[1]", "[1,2]", "[2,5]", "[1,'a',null]", "[[1,2]]",
    "[[]]", "['a','b']", "[{'x':1},{'x':2}]", "[{'x':1,'y':2},{'x':2,'y':1}]", "[5,{'x':2}]",
    "[{'x':[1,3]},{'y':2}]", "{'x':[1,2]}", "{'x':[]}", "[{}]", "[{'x':null}]", "[{'x':1},{}]",
    "[{'$undefined':true}]", "[[{'x':1}]]", "[0,3]", "[{'$minKey':1},{'$maxKey':1}]" };
#define COUNT_OF(list) (sizeof(list) / sizeof *(list))

static const char *const paths[] = { "a", "b", "c", "d", "d.x", "d.y", "a.x", "_id", "d.x", "d.y" };
static const char *const indexes[] = { "{'key':{'a':1},'name':'a'}", "{'key':{'b':-1},'name':'b'}",
    "{'key':{'a':1,'b':-1},'name':'ab'}", "{'key':{'b':1,'a':1,'c':1},'name':'bac'}",
    "{'key':{'d.x':1},'name':'dx'}", "{'key':{'d.x':-1,'d.y':1},'name':'dxy'}",
    "{'key':{'c':1},'name':'c_sparse','sparse':true}",
    "{'key':{'c':1,'b':1},'name':'cb_sparse','sparse':true}",
    "{'key':{'a.x':1,'b':1},'name':'axb'}",
    "{'key':{'d.y':1},'name':'dy_scalar','scalarOnly':true}" };
static const char *const hints[] = { "a", "b", "ab", "bac", "dx", "dxy", "axb", "_id_" };

static struct rand rng;
static struct bytes model[DOCUMENTS], older[DOCUMENTS]; /* size 0: deleted */
static struct answer answer;
static bool total; /* the sort leaves no choice */

static const char *
any_value(bool with_arrays)
{
    return with_arrays && rand_below(&rng, 4) == 0 ? arrays[rand_below(&rng, COUNT_OF(arrays))]
                                                   : scalars[rand_below(&rng, COUNT_OF(scalars))];
}

/* b stays a scalar, for indexes of two fields. */
static struct bytes
any_document(int32_t id, bool with_arrays)
{
    static const char *const names[] = { "a", "b", "c", "d" };
    char text[1024], *at = text;

    at += sprintf(at, "{'_id':%d", id);
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        if (rand_below(&rng, 6) == 0)
            continue;
        at += sprintf(at, ",'%s':%s", names[i], any_value(with_arrays && (i == 0 || i == 3)));
    }
    (void)sprintf(at, "}");
    return fixture_document(text);
}

/* What is often there, so that several conditions meet in one document. */
static const char *
likely_value(bool with_arrays)
{
    static const char *const likely[] = { "1", "2", "1", "2", "3", "0", "'a'" };

    return rand_below(&rng, 3) > 0 ? likely[rand_below(&rng, COUNT_OF(likely))]
                                   : any_value(with_arrays);
}

static char *
add_condition(char *at)
{
    static const char *const operators[] = { "$gt", "$gte", "$lt", "$lte" };
    static const char *const others[] = { "{'$exists':true}", "{'$exists':false}", "{'$ne':2}",
        "{'$type':'number'}", "{'$size':2}", "{'$elemMatch':{'$gt':0,'$lt':3}}",
        "{'$elemMatch':{'x':1,'y':2}}", "{'$not':{'$gt':1}}", "{'$nin':[1,null]}", "{'$all':[1,2]}",
        "{'$in':[]}", "{'$in':[{'$regularExpression':{'pattern':'^a','options':''}},1]}",
        "{'$regularExpression':{'pattern':'a','options':''}}", "{'$mod':[2,1]}" };
    unsigned kind = (unsigned)rand_below(&rng, 10);

    if (kind < 3)
        return at + sprintf(at, "{'$eq':%s}", likely_value(true));
    if (kind < 5) {
        unsigned count = (unsigned)rand_below(&rng, 4);

        at += sprintf(at, "{'$in':[%s", likely_value(true));
        while (count-- > 0)
            at += sprintf(at, ",%s", likely_value(true));
        return at + sprintf(at, "]}");
    }
    if (kind < 7)
        return at + sprintf(at, "{'%s':%s}", operators[rand_below(&rng, 4)], likely_value(true));
    if (kind < 9)
        return at + sprintf(at, "{'%s':%s,'%s':%s}", operators[rand_below(&rng, 2)],
                        likely_value(false), operators[2 + rand_below(&rng, 2)],
                        likely_value(false));
    return at + sprintf(at, "%s", others[rand_below(&rng, COUNT_OF(others))]);
}

static void
any_filter(char *text)
{
    unsigned count = (unsigned)rand_below(&rng, 4);
    char *at = text + sprintf(text, "{'$and':[{}");

    for (unsigned i = 0; i < count; i++) {
        bool either = rand_below(&rng, 12) == 0;

        at += sprintf(at, either ? ",{'$or':[{'b':1},{'%s':" : ",{'%s':",
            paths[rand_below(&rng, COUNT_OF(paths))]);
        at = add_condition(at);
        at += sprintf(at, either ? "}]}" : "}");
    }
    (void)sprintf(at, "]}");
}

/* Mostly ends in _id, so that there is one right order only. */
static bool
any_sort(char *text)
{
    unsigned count = (unsigned)rand_below(&rng, 3), used = 0;
    char *at = text + sprintf(text, "{");

    if (rand_below(&rng, 3) == 0)
        return false;
    for (unsigned i = 0; i < count; i++) {
        unsigned path = (unsigned)rand_below(&rng, 7);

        if ((used >> path & 1) == 0)
            at += sprintf(at, "'%s':%d,", paths[path], rand_below(&rng, 2) == 0 ? 1 : -1);
        used |= 1u << path;
    }
    total = used == 0 || rand_below(&rng, 3) > 0;
    if (total)
        (void)sprintf(at, "'_id':%d}", rand_below(&rng, 2) == 0 ? 1 : -1);
    else
        (void)strcpy(at - 1, "}");
    return true;
}

/* ---- what is right ---- */

struct expected {
    unsigned count;
    int32_t id[DOCUMENTS];
    struct bytes key[DOCUMENTS];    /* while it is made */
    struct bytes key_of[DOCUMENTS]; /* of the document with this _id */
};

static struct expected expected;

static int
by_key(const void *a, const void *b)
{
    return bytes_compare(expected.key[*(const unsigned *)a], expected.key[*(const unsigned *)b]);
}

/* False: it has no answer (undefined cannot be looked for; arrays side by side cannot be sorted).
 */
static bool
expect(const struct run_query *query, const struct bytes *documents)
{
    unsigned order[DOCUMENTS];
    int32_t id[DOCUMENTS];
    const struct sortkey *sortkey;
    const struct filter *filter;
    bool matches;

    if (filter_compile(fixture_op.arena, query->filter, &filter) != OK)
        return false;
    OKAY(sortkey_compile(fixture_op.arena, query->sort, &sortkey));
    expected.count = 0;
    for (int32_t i = 0; i < DOCUMENTS; i++) {
        struct buf key = buf_init(1 << 20);

        if (documents[i].size == 0)
            continue;
        OKAY(filter_match(filter, documents[i], &matches));
        if (!matches)
            continue;
        if (sortkey != NULL && sortkey_append(sortkey, documents[i], &key) != OK)
            return false;
        expected.key[expected.count].data =
            arena_copy(fixture_op.arena, key.size > 0 ? key.data : (uint8_t *)"", key.size);
        expected.key[expected.count].size = key.size;
        buf_fini(&key);
        expected.key_of[i] = expected.key[expected.count];
        expected.id[expected.count] = i;
        order[expected.count] = expected.count;
        expected.count++;
    }
    if (sortkey != NULL)
        qsort(order, expected.count, sizeof *order, by_key);
    for (unsigned i = 0; i < expected.count; i++)
        id[i] = expected.id[order[i]];
    memcpy(expected.id, id, expected.count * sizeof *id);
    return true;
}

static int
by_number(const void *a, const void *b)
{
    return *(const int32_t *)a < *(const int32_t *)b ? -1 : 1;
}

static void
complain(const struct run_query *query, const char *what, const char *filter, const char *sort)
{
    fail_msg("%s: %u documents instead of %u\nfilter %s\nsort %s skip %d limit %d\nplan %s", what,
        answer.count, expected.count, filter, sort != NULL ? sort : "-", (int)query->skip,
        (int)query->limit, query_plan("m", query));
}

/* The answer is what is expected; without a sort in any order, and of a limit's any. */
static void
compare(const struct run_query *query, const char *what, const char *filter, const char *sort)
{
    unsigned skip = (unsigned)query->skip, want = expected.count;
    int32_t right[DOCUMENTS];

    memcpy(right, expected.id, sizeof right);
    want = want > skip ? want - skip : 0;
    if (query->limit > 0 && want > query->limit)
        want = (unsigned)query->limit;
    if (answer.count != want)
        complain(query, what, filter, sort);
    if (sort != NULL && !total)
        for (unsigned i = 0; i < want; i++)
            if (!bytes_equal(expected.key_of[answer.id[i]], expected.key_of[expected.id[skip + i]]))
                complain(query, "order", filter, sort);
    if ((sort == NULL || !total) && (query->skip > 0 || query->limit > 0))
        return;
    if (sort == NULL || !total) {
        qsort(right, expected.count, sizeof *right, by_number);
        qsort(answer.id, answer.count, sizeof *answer.id, by_number);
    }
    if (want > 0 && memcmp(answer.id, right + skip, want * sizeof *answer.id) != 0)
        complain(query, what, filter, sort);
}

static void
try_query(const struct snapshot *snapshot, const struct bytes *documents, bool hinting)
{
    struct arena_mark mark = arena_mark(fixture_op.arena);
    char filter[4096], sort_text[256], hint[64];
    const char *sort;
    struct run_query query;

    any_filter(filter);
    sort = any_sort(sort_text) ? sort_text : NULL;
    query = query_of(filter, sort, NULL);
    if (!expect(&query, documents))
        return;
    if (rand_below(&rng, 3) == 0)
        query.skip = (int64_t)rand_below(&rng, 5);
    if (rand_below(&rng, 3) == 0)
        query.limit = (int64_t)rand_below(&rng, 9);
    OKAY(query_at("m", &query, snapshot, 0, &answer));
    compare(&query, "chosen", filter, sort);
    OKAY(query_at("m", &query, snapshot, 1 + (unsigned)rand_below(&rng, 5), &answer));
    compare(&query, "taken up", filter, sort);
    query.hint = query_part("{'':{'$natural':1}}");
    OKAY(query_at("m", &query, snapshot, 0, &answer));
    compare(&query, "natural", filter, sort);
    for (unsigned i = 0; hinting && i < COUNT_OF(hints); i++) {
        (void)sprintf(hint, "{'':'%s'}", hints[i]);
        query.hint = query_part(hint);
        OKAY(query_at("m", &query, snapshot, (unsigned)rand_below(&rng, 4), &answer));
        compare(&query, hints[i], filter, sort);
    }
    arena_rewind(fixture_op.arena, mark);
}

static void
fill(bool with_arrays)
{
    fixture_create("m");
    for (unsigned i = 0; i < COUNT_OF(indexes); i++)
        query_index("m", indexes[i]);
    for (int32_t i = 0; i < DOCUMENTS; i++) {
        struct txn *txn = fixture_begin(TXN_READ_COMMITTED);

        model[i] = any_document(i, with_arrays);
        OKAY(fixture_insert_in(txn, "m", model[i]));
        fixture_commit(txn);
    }
}

static void
change_some(bool with_arrays)
{
    memcpy(older, model, sizeof model);
    for (unsigned i = 0; i < CHANGES; i++) {
        int32_t id = (int32_t)rand_below(&rng, DOCUMENTS);

        if (model[id].size == 0)
            continue;
        if (rand_below(&rng, 5) == 0) {
            query_delete("m", id);
            model[id].size = 0;
        } else {
            model[id] = any_document(id, with_arrays);
            query_replace("m", id, model[id]);
        }
    }
}

static void
play(uint64_t seed, bool with_arrays)
{
    struct txn *before;
    struct txn *after;

    rand_init(&rng, seed);
    fill(with_arrays);
    before = fixture_begin(TXN_SNAPSHOT);
    for (unsigned i = 0; i < QUERIES; i++)
        try_query(txn_snapshot(before), model, true);
    change_some(with_arrays);
    after = fixture_begin(TXN_SNAPSHOT);
    for (unsigned i = 0; i < QUERIES / 2; i++) {
        try_query(txn_snapshot(before), older, true);
        try_query(txn_snapshot(after), model, true);
    }
    txn_abort(&fixture_op, before);
    txn_abort(&fixture_op, after);
}

static uint64_t
seed(void)
{
    const char *text = getenv("TEST_SEED");

    return text != NULL ? strtoull(text, NULL, 10) : 1;
}

static void
every_plan_gives_what_reading_all_gives(void **state)
{
    (void)state;
    play(seed(), false);
}

static void
every_plan_gives_what_reading_all_gives_with_arrays(void **state)
{
    (void)state;
    play(seed() + 1000, true);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            every_plan_gives_what_reading_all_gives, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            every_plan_gives_what_reading_all_gives_with_arrays, fixture_setup, fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
