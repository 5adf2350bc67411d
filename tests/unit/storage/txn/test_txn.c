/*
 * test_txn.c - transactions of one process, and over a crash.
 */
#include "txn_fixture.h"

static int
open_small(void **state)
{
    (void)state;
    fixture_open(4096);
    return 0;
}

static int
close_it(void **state)
{
    (void)state;
    fixture_close();
    return 0;
}

static void
a_commit_is_seen_by_later_snapshots_only(void **state)
{
    struct txn *before = fixture_begin(false), *writer = fixture_begin(true), *after;
    xid_t xid = fixture_xid(writer);

    (void)state;
    assert_false(fixture_sees(txn_snapshot(before), xid));
    assert_int_equal(fixture_fate(xid), XID_RUNNING);
    assert_int_equal(txn_running(), 1);
    fixture_commit(writer);
    after = fixture_begin(true);
    assert_int_equal(fixture_fate(xid), XID_COMMITTED);
    assert_false(fixture_sees(txn_snapshot(before), xid));
    assert_true(fixture_sees(txn_snapshot(after), xid));
    txn_abort(NULL, before);
    fixture_commit(after);
}

static void
a_rollback_is_seen_by_nobody(void **state)
{
    struct txn *txn = fixture_begin(true);
    xid_t xid = fixture_xid(txn);

    (void)state;
    txn_abort(NULL, txn);
    assert_int_equal(fixture_fate(xid), XID_ABORTED);
    txn = fixture_begin(true);
    assert_false(fixture_sees(txn_snapshot(txn), xid));
    assert_int_equal(txn_xid_if_any(txn), 0);
    fixture_commit(txn);
}

static void
a_rollback_keeps_the_error_that_it_answers(void **state)
{
    struct txn *txn = fixture_begin(true);

    (void)state;
    (void)fixture_xid(txn);
    (void)err_set(ERR_DUPLICATE_KEY, "two of %d", 7);
    txn_abort(NULL, txn);
    assert_string_equal(err_message(), "two of 7");
    assert_int_equal(err_last_code(), 11000);
}

static void
statements_are_counted_and_read_committed_looks_again(void **state)
{
    struct txn *committed, *fixed;
    xid_t xid;

    (void)state;
    assert_int_equal(txn_begin(NULL, TXN_READ_COMMITTED, false, &committed), OK);
    assert_int_equal(txn_begin(NULL, TXN_REPEATABLE_READ, false, &fixed), OK);
    assert_int_equal(txn_command(fixed), 1);
    xid = fixture_burn(1);
    assert_int_equal(txn_next_statement(committed), OK);
    assert_int_equal(txn_next_statement(fixed), OK);
    assert_int_equal(txn_command(fixed), 2);
    assert_int_equal(txn_snapshot(fixed)->command, 2);
    assert_true(fixture_sees(txn_snapshot(committed), xid));
    assert_false(fixture_sees(txn_snapshot(fixed), xid));
    fixture_commit(committed);
    fixture_commit(fixed);
}

static void
serializable_is_refused(void **state)
{
    struct txn *txn;

    (void)state;
    assert_int_equal(txn_begin(NULL, TXN_SERIALIZABLE, true, &txn), ERR_COMMAND_NOT_SUPPORTED);
    assert_string_equal(err_message(), "serializable transactions are not offered yet");
}

/* A process that was stopped between drawing a number and storing it. */
static void
a_number_being_given_may_be_any_from_its_floor_on(void **state)
{
    struct place *place = txntable_own();
    xid_t next = txntable_next_xid();

    (void)state;
    assert_false(txntable_runs_between(next, next + 100));
    atomic_store(&place->xid, next | TXNTABLE_ASSIGNING);
    assert_true(txntable_runs_between(next, next + 100));
    assert_true(txntable_runs_between(next + 50, next + 100));
    assert_false(txntable_runs_between(next - 50, next));
    atomic_store(&place->xid, 0);
}

static void
an_xid_that_was_never_given_is_damage(void **state)
{
    enum xid_fate fate;
    csn_t csn;

    (void)state;
    assert_int_equal(snapshot_fate(UINT64_MAX / 2, &fate, &csn), ERR_CORRUPT);
    assert_int_equal(snapshot_fate(0, &fate, &csn), ERR_CORRUPT);
}

/* Every fate that a held snapshot may ask for is right after the ring went round several times. */
static void
what_falls_out_of_the_ring_is_kept_for_old_snapshots(void **state)
{
    struct txn *straggler, *loser, *running, *old, *txn;
    xid_t before = fixture_burn(1), first, last, later, strays, lost, runs;

    (void)state;
    straggler = fixture_begin(false);
    loser = fixture_begin(false);
    running = fixture_begin(false);
    strays = fixture_xid(straggler);
    lost = fixture_xid(loser);
    runs = fixture_xid(running);
    old = fixture_begin(false);
    first = fixture_burn(1);
    last = fixture_burn(3 * 4096);
    assert_true(csn_ring_low() > first);
    assert_true(fixture_sees(txn_snapshot(old), before));
    for (xid_t xid = first; xid <= last; xid++)
        assert_false(fixture_sees(txn_snapshot(old), xid));
    assert_int_equal(fixture_fate(strays), XID_RUNNING);
    fixture_commit(straggler);
    txn_abort(NULL, loser);
    later = fixture_burn(4096);
    assert_int_equal(fixture_fate(strays), XID_COMMITTED);
    assert_int_equal(fixture_fate(lost), XID_ABORTED);
    assert_int_equal(fixture_fate(runs), XID_RUNNING);
    assert_false(fixture_sees(txn_snapshot(old), strays));
    txn = fixture_begin(true);
    assert_true(fixture_sees(txn_snapshot(txn), strays));
    assert_true(fixture_sees(txn_snapshot(txn), first));
    assert_true(fixture_sees(txn_snapshot(txn), later));
    fixture_commit(txn);
    txn_abort(NULL, running);
    fixture_commit(old);
    /* And when nobody needs it any more, all is told without the spill. */
    (void)snapshot_horizon(true);
    (void)snapshot_horizon(true);
    assert_true(snapshot_horizon_xid() > later);
    assert_int_equal(fixture_fate(first), XID_COMMITTED);
    assert_int_equal(fixture_fate(runs), XID_ABORTED);
}

/* Its snapshot moves on with each statement, so nothing but its running keeps its entry. */
static void
a_writer_that_outlives_the_ring_still_runs(void **state)
{
    struct txn *writer, *old, *loser;
    xid_t xid, lost;

    (void)state;
    assert_int_equal(txn_begin(NULL, TXN_READ_COMMITTED, false, &writer), OK);
    assert_int_equal(txn_begin(NULL, TXN_READ_COMMITTED, false, &loser), OK);
    xid = fixture_xid(writer);
    lost = fixture_xid(loser);
    for (int i = 0; i < 24; i++) {
        (void)fixture_burn(512);
        assert_int_equal(txn_next_statement(writer), OK);
        assert_int_equal(txn_next_statement(loser), OK);
        assert_int_equal(fixture_fate(xid), XID_RUNNING);
        assert_int_equal(fixture_fate(lost), XID_RUNNING);
    }
    assert_true(csn_ring_low() > lost);
    old = fixture_begin(false);
    fixture_commit(writer);
    txn_abort(NULL, loser);
    assert_int_equal(fixture_fate(xid), XID_COMMITTED);
    assert_int_equal(fixture_fate(lost), XID_ABORTED);
    assert_false(fixture_sees(txn_snapshot(old), xid));
    fixture_commit(old);
    old = fixture_begin(true);
    assert_true(fixture_sees(txn_snapshot(old), xid));
    fixture_commit(old);
}

static void
nothing_is_spilled_for_nobody(void **state)
{
    xid_t first = fixture_burn(1);

    (void)state;
    (void)fixture_burn(3 * 4096);
    assert_true(csn_ring_low() > first);
    assert_false(datafile_exists(DATAFILE_CSN));
    assert_int_equal(fixture_fate(first), XID_COMMITTED);
}

static void
a_held_snapshot_holds_the_horizon(void **state)
{
    struct txn *txn = fixture_begin(true);
    struct snapshot snapshot = *txn_snapshot(txn);
    uint32_t place;

    (void)state;
    assert_int_equal(snapshot_hold(&snapshot, &place), OK);
    fixture_commit(txn);
    (void)fixture_burn(10);
    assert_int_equal(snapshot_horizon(true), snapshot.csn);
    assert_false(ledger_empty());
    snapshot_pass(place);
    assert_true(ledger_empty());
    assert_int_equal(snapshot_horizon(true), snapshot.csn);
    snapshot_let_go(place);
    assert_true(snapshot_horizon(true) > snapshot.csn);
}

static void
places_run_out_with_a_clear_error_and_come_back(void **state)
{
    struct txn *txn[64], *more;

    (void)state;
    for (int i = 0; i < 60; i++)
        txn[i] = fixture_begin(false);
    for (int i = 60; i < 64; i++) {
        struct snapshot snapshot = *txn_snapshot(txn[0]);
        uint32_t place;

        assert_int_equal(snapshot_hold(&snapshot, &place), OK);
        snapshot_pass(place);
        txn[i] = (struct txn *)(uintptr_t)place;
    }
    assert_int_equal(txn_begin(NULL, TXN_SNAPSHOT, false, &more), ERR_TOO_MANY);
    for (int i = 0; i < 60; i++)
        fixture_commit(txn[i]);
    for (int i = 60; i < 64; i++)
        snapshot_let_go((uint32_t)(uintptr_t)txn[i]);
    more = fixture_begin(false);
    fixture_commit(more);
}

static void
a_parked_transaction_goes_on_once(void **state)
{
    struct txn *txn = fixture_begin(false), *again;
    struct snapshot snapshot;
    xid_t xid = fixture_xid(txn);
    uint64_t ticket, stale;
    uint32_t place;
    bool found;

    (void)state;
    assert_int_equal(txn_next_statement(txn), OK);
    snapshot = *txn_snapshot(txn);
    assert_int_equal(txn_park(txn, &place, &ticket), OK);
    assert_true(ledger_empty());
    (void)fixture_burn(3);
    assert_int_equal(fixture_fate(xid), XID_RUNNING);
    assert_int_equal(txn_unpark(NULL, place, ticket, &txn, &found), OK);
    assert_true(found);
    assert_memory_equal(txn_snapshot(txn), &snapshot, sizeof snapshot);
    assert_int_equal(txn_unpark(NULL, place, ticket, &again, &found), OK);
    assert_false(found);
    stale = ticket;
    assert_int_equal(txn_park(txn, &place, &ticket), OK);
    assert_int_equal(txn_unpark(NULL, place, stale, &again, &found), OK);
    assert_false(found);
    assert_int_equal(txn_unpark(NULL, place, ticket, &txn, &found), OK);
    assert_true(found);
    fixture_commit(txn);
    assert_int_equal(fixture_fate(xid), XID_COMMITTED);
    assert_int_equal(txn_unpark(NULL, place, ticket, &txn, &found), OK);
    assert_false(found);
}

static void
note_end(void *context, bool committed)
{
    *(int *)context = committed ? 1 : -1;
}

static fileno_t
make_file(struct txn *txn)
{
    fileno_t file;

    assert_int_equal(datafile_next(&file), OK);
    assert_int_equal(datafile_create(file, fixture_xid(txn)), OK);
    return file;
}

static void
files_go_at_the_end_that_was_named(void **state)
{
    struct txn *txn = fixture_begin(true);
    fileno_t made = make_file(txn), kept = make_file(txn);
    int ended = 0;

    (void)state;
    assert_int_equal(txn_unlink_at_commit(txn, made), OK);
    assert_int_equal(txn_unlink_at_abort(txn, kept), OK);
    assert_int_equal(txn_at_end(txn, note_end, &ended), OK);
    fixture_commit(txn);
    assert_int_equal(ended, 1);
    assert_false(datafile_exists(made));
    assert_true(datafile_exists(kept));
    txn = fixture_begin(true);
    assert_int_equal(txn_unlink_at_abort(txn, kept), OK);
    assert_int_equal(txn_at_end(txn, note_end, &ended), OK);
    txn_abort(NULL, txn);
    assert_int_equal(ended, -1);
    assert_false(datafile_exists(kept));
}

static void
recovery_keeps_what_committed_and_fails_the_rest(void **state)
{
    struct txn *running, *txn;
    xid_t committed, aborted, unknown;
    fileno_t file;

    (void)state;
    txn = fixture_begin(true);
    file = make_file(txn);
    fixture_commit(txn);
    running = fixture_begin(false);
    unknown = fixture_xid(running);
    txn = fixture_begin(true);
    aborted = fixture_xid(txn);
    txn_abort(NULL, txn);
    txn = fixture_begin(true);
    committed = fixture_xid(txn);
    assert_int_equal(txn_unlink_at_commit(txn, file), OK);
    assert_int_equal(txn_commit(NULL, txn, true), OK);
    wal_flush(wal_insert_position());
    fixture_crash();
    free(running); /* it went with the crash */
    assert_int_equal(fixture_fate(committed), XID_COMMITTED);
    assert_int_equal(fixture_fate(aborted), XID_ABORTED);
    assert_int_equal(fixture_fate(unknown), XID_ABORTED);
    assert_false(datafile_exists(file));
    assert_int_equal(txn_running(), 0);
    assert_true(fixture_burn(1) > committed);
}

/* Over checkpoints and crashes, also of xids that left no trace but a record of their bound. */
static void
no_xid_is_given_twice(void **state)
{
    xid_t last = 0;

    (void)state;
    for (int life = 0; life < 6; life++) {
        struct txn *txn = fixture_begin(true);
        xid_t first = fixture_xid(txn);

        assert_true(first > last);
        fixture_commit(txn);
        last = fixture_burn(700);
        if (life % 2 == 0)
            assert_int_equal(checkpoint_run(CHECKPOINT_FAST), OK);
        wal_flush(wal_insert_position());
        fixture_crash();
        assert_int_equal(fixture_fate(last), XID_COMMITTED);
        assert_int_equal(fixture_fate(first), XID_COMMITTED);
    }
}

static void
the_spill_of_an_earlier_life_is_not_believed(void **state)
{
    struct txn *old = fixture_begin(false), *txn;
    xid_t first = fixture_burn(1), last = fixture_burn(2 * 4096);

    (void)state;
    assert_true(datafile_exists(DATAFILE_CSN));
    assert_false(fixture_sees(txn_snapshot(old), first));
    assert_int_equal(pool_write_all(), OK);
    wal_flush(wal_insert_position());
    fixture_crash();
    free(old); /* it went with the crash */
    txn = fixture_begin(false);
    assert_true(fixture_sees(txn_snapshot(txn), first));
    assert_true(fixture_sees(txn_snapshot(txn), last));
    first = fixture_burn(1);
    (void)fixture_burn(2 * 4096);
    assert_false(fixture_sees(txn_snapshot(txn), first));
    assert_true(fixture_sees(txn_snapshot(txn), last));
    fixture_commit(txn);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, open_small, close_it)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(a_commit_is_seen_by_later_snapshots_only),
        WITH(a_rollback_is_seen_by_nobody),
        WITH(a_rollback_keeps_the_error_that_it_answers),
        WITH(statements_are_counted_and_read_committed_looks_again),
        WITH(serializable_is_refused),
        WITH(a_number_being_given_may_be_any_from_its_floor_on),
        WITH(an_xid_that_was_never_given_is_damage),
        WITH(what_falls_out_of_the_ring_is_kept_for_old_snapshots),
        WITH(a_writer_that_outlives_the_ring_still_runs),
        WITH(nothing_is_spilled_for_nobody),
        WITH(a_held_snapshot_holds_the_horizon),
        WITH(places_run_out_with_a_clear_error_and_come_back),
        WITH(a_parked_transaction_goes_on_once),
        WITH(files_go_at_the_end_that_was_named),
        WITH(recovery_keeps_what_committed_and_fails_the_rest),
        WITH(no_xid_is_given_twice),
        WITH(the_spill_of_an_earlier_life_is_not_believed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
