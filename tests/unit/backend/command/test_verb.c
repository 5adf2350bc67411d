/*
 * test_verb.c - what the verbs promise, whatever language asks.
 */
#include "tests/unit/backend/command/verbfixture.h"

static const struct verb_write alone = { .txn = NULL };
static const struct bytes nothing = { NULL, 0 };

static void
a_missing_id_is_made_and_an_id_moves_to_the_front(void **state)
{
    struct bytes documents[2], ids[2];
    struct verb_insert_result result;
    struct bsonbuild build;
    struct bsonvalue id;
    struct bsonwalk walk;
    struct buf out = buf_init(1 << 20);
    bool found;

    (void)state;
    bsonbuild_begin_arena(&build, op.arena);
    bsonbuild_int32(&build, "a", 1);
    bsonbuild_int32(&build, "_id", 7);
    bsonbuild_int32(&build, "b", 2);
    OKAY(bsonbuild_end(&build, &documents[0]));
    documents[1] = pair("a", 3);
    OKAY(verb_insert(&op, &ns, documents, 2, true, false, alone, ids, &result));
    assert_int_equal(result.inserted, 2);
    OKAY(bsonwalk_begin(&walk, ids[1]));
    assert_true(bsonwalk_next(&walk, &id));
    assert_int_equal(id.type, BSONTYPE_OBJECTID);

    OKAY(bsonwalk_begin(&walk, ids[0]));
    assert_true(bsonwalk_next(&walk, &id));
    OKAY(verb_get(&op, &ns, &id, NULL, &out, &found));
    assert_true(found);
    OKAY(bsonwalk_begin(&walk, buf_bytes(&out)));
    assert_true(bsonwalk_next(&walk, &id) && bytes_is(id.key, "_id"));
    assert_true(bsonwalk_next(&walk, &id) && bytes_is(id.key, "a"));
    assert_true(bsonwalk_next(&walk, &id) && bytes_is(id.key, "b"));
    assert_false(bsonwalk_next(&walk, &id));
    buf_fini(&out);
}

static void
a_refused_document_costs_no_other(void **state)
{
    struct bytes documents[5];
    struct verb_insert_result result;

    (void)state;
    put(2, 0, 0);
    for (int32_t i = 0; i < 5; i++)
        documents[i] = row(i, i, 0);
    OKAY(verb_insert(&op, &ns, documents, 5, false, false, alone, NULL, &result));
    assert_int_equal(result.inserted, 4);
    assert_int_equal(result.error_count, 1);
    assert_int_equal(result.error[0].index, 2);
    assert_int_equal(result.error[0].code, 11000);
    assert_true(result.error[0].info.size > 0);
    assert_int_equal(count(nothing), 5);
}

static void
an_ordered_insert_stops_and_keeps_what_went_before(void **state)
{
    struct bytes documents[5];
    struct verb_insert_result result;

    (void)state;
    put(2, 0, 0);
    for (int32_t i = 0; i < 5; i++)
        documents[i] = row(i, i, 0);
    OKAY(verb_insert(&op, &ns, documents, 5, true, false, alone, NULL, &result));
    assert_int_equal(result.inserted, 2);
    assert_int_equal(result.error_count, 1);
    assert_int_equal(count(nothing), 3);
}

static void
an_atomic_insert_is_all_or_nothing(void **state)
{
    struct bytes documents[5];
    struct verb_insert_result result;

    (void)state;
    put(4, 0, 0);
    for (int32_t i = 0; i < 5; i++)
        documents[i] = row(i, i, 0);
    assert_int_equal(
        verb_insert(&op, &ns, documents, 5, true, true, alone, NULL, &result), ERR_DUPLICATE_KEY);
    assert_int_equal(err_last_code(), 11000);
    assert_int_equal(count(nothing), 1);
}

static void
updates_change_one_or_all(void **state)
{
    struct verb_update update = {
        .filter = nested("a", "$gte", 5), .update = nested("$set", "b", 1), .rule = UPDATE_BY_SHAPE
    };
    struct verb_update_result result;
    uint64_t deleted;

    (void)state;
    for (int32_t i = 0; i < 10; i++)
        put(i, i, 0);
    OKAY(verb_update(&op, &ns, &update, alone, &result));
    assert_int_equal(result.matched, 1);
    assert_int_equal(count(pair("b", 1)), 1);
    update.multi = true;
    OKAY(verb_update(&op, &ns, &update, alone, &result));
    assert_int_equal(result.matched, 5);
    assert_int_equal(result.modified, 4);
    OKAY(verb_delete(&op, &ns, pair("b", 1), nothing, false, alone, &deleted));
    assert_int_equal(deleted, 1);
    OKAY(verb_delete(&op, &ns, pair("b", 1), nothing, true, alone, &deleted));
    assert_int_equal(deleted, 4);
    assert_int_equal(count(nothing), 5);
}

static void
an_upsert_makes_what_it_did_not_find(void **state)
{
    const struct verb_update update = { .filter = pair("_id", 3),
        .update = nested("$inc", "n", 2),
        .rule = UPDATE_BY_SHAPE,
        .upsert = true };
    struct verb_update_result result;
    struct bytes document;

    (void)state;
    OKAY(verb_update(&op, &ns, &update, alone, &result));
    assert_true(result.upserted);
    assert_int_equal(number_of(result.upserted_id, ""), 3);
    OKAY(verb_modify(&op, &ns, &update, true, alone, &result, &document));
    assert_false(result.upserted);
    assert_int_equal(number_of(document, "n"), 4);
}

static err_t
amend(void *context, struct bytes before, struct bytes *after)
{
    struct bsonbuild build;

    *(bool *)context = before.size == 0;
    bsonbuild_begin_arena(&build, op.arena);
    bsonbuild_elements(&build, *after);
    bsonbuild_int32(&build, "amended", 1);
    return bsonbuild_end(&build, after);
}

static void
a_language_may_amend_what_is_written(void **state)
{
    bool fresh = false;
    const struct verb_update update = { .filter = pair("_id", 3),
        .update = nested("$inc", "n", 2),
        .rule = UPDATE_BY_SHAPE,
        .upsert = true,
        .amend = amend,
        .amend_context = &fresh };
    struct verb_update_result result;

    (void)state;
    OKAY(verb_update(&op, &ns, &update, alone, &result));
    assert_true(fresh);
    assert_int_equal(count(pair("amended", 1)), 1);
}

static void
a_missing_collection_finds_nothing_and_is_not_made(void **state)
{
    const struct verb_write existing = { .existing = true };
    struct bytes document = row(1, 1, 0);
    struct verb_insert_result result;
    uint64_t deleted;
    bool exists;

    (void)state;
    assert_int_equal(count(nothing), 0);
    OKAY(verb_delete(&op, &ns, nothing, nothing, true, alone, &deleted));
    assert_int_equal(deleted, 0);
    assert_int_equal(verb_insert(&op, &ns, &document, 1, true, true, existing, NULL, &result),
        ERR_NAMESPACE_NOT_FOUND);
    OKAY(verb_collection_exists(&op, &ns, NULL, &exists));
    assert_false(exists);
    assert_int_equal(
        verb_count(
            &op, &ns, &(struct run_query){ .filter = nested("a", "$nonsense", 1) }, NULL, &deleted),
        ERR_BAD_VALUE);
}

static void
a_given_transaction_decides_for_its_statements(void **state)
{
    struct bytes document = row(1, 1, 0);
    struct verb_insert_result result;
    struct verb_write write = alone;

    (void)state;
    put(0, 0, 0);
    OKAY(txn_begin(&op, TXN_SNAPSHOT, false, &write.txn));
    OKAY(verb_insert(&op, &ns, &document, 1, true, true, write, NULL, &result));
    assert_int_equal(count(nothing), 1);
    txn_abort(&op, write.txn);
    assert_int_equal(count(nothing), 1);
}

static void
a_past_deadline_ends_a_verb(void **state)
{
    const struct run_query query = { .filter = nothing };
    uint64_t n;

    (void)state;
    put(0, 0, 0);
    op.deadline_ns = 1;
    assert_int_equal(verb_count(&op, &ns, &query, NULL, &n), ERR_MAX_TIME);
    op.deadline_ns = 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_missing_id_is_made_and_an_id_moves_to_the_front),
        TEST(a_refused_document_costs_no_other),
        TEST(an_ordered_insert_stops_and_keeps_what_went_before),
        TEST(an_atomic_insert_is_all_or_nothing),
        TEST(updates_change_one_or_all),
        TEST(an_upsert_makes_what_it_did_not_find),
        TEST(a_language_may_amend_what_is_written),
        TEST(a_missing_collection_finds_nothing_and_is_not_made),
        TEST(a_given_transaction_decides_for_its_statements),
        TEST(a_past_deadline_ends_a_verb),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
