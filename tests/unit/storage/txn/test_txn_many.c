/*
 * test_txn_many.c - many at once: threads as processes, and real processes that are killed.
 */
#include "txn_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "storage/txn/clog.h"
#include "storage/txn/deadlock.h"

#define ROWS     8
#define VERSIONS 4096
#define WRITERS  3
#define READERS  2
#define PER_ROW  1000

/* A row: versions, newest last; written under its mutex until the writer has ended. */
static struct row {
    pthread_mutex_t lock;
    _Atomic unsigned count;
    struct {
        xid_t xid;
        int64_t value;
    } version[VERSIONS];
} rows[ROWS];
static _Atomic bool stop;
static _Atomic unsigned wrong;

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
attach(void)
{
    assert_int_equal(proc_attach(PROC_BACKEND), OK);
}

static void
detach(void)
{
    txn_forget_private();
    proc_detach();
}

static int64_t
newest(const struct row *row)
{
    for (unsigned i = atomic_load(&row->count); i-- > 1;) {
        if (fixture_fate(row->version[i].xid) == XID_COMMITTED)
            return row->version[i].value;
    }
    return row->version[0].value;
}

static void
append(struct row *row, xid_t xid, int64_t value)
{
    unsigned count = atomic_load(&row->count);

    row->version[count].xid = xid;
    row->version[count].value = value;
    atomic_store(&row->count, count + 1);
}

static int64_t
sum_seen(const struct snapshot *snapshot)
{
    int64_t sum = 0;

    for (int r = 0; r < ROWS; r++) {
        unsigned i = atomic_load(&rows[r].count) - 1;

        while (i > 0 && !fixture_sees(snapshot, rows[r].version[i].xid))
            i--;
        sum += rows[r].version[i].value;
    }
    return sum;
}

static void *
transfer(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument;

    attach();
    while (!atomic_load(&stop)) {
        unsigned a = (unsigned)rand_r(&seed) % (ROWS - 1);
        unsigned b = a + 1 + (unsigned)rand_r(&seed) % (ROWS - 1 - a);
        int64_t amount = rand_r(&seed) % 10;
        struct txn *txn = fixture_begin(true);
        xid_t xid = fixture_xid(txn);

        pthread_mutex_lock(&rows[a].lock);
        pthread_mutex_lock(&rows[b].lock);
        if (atomic_load(&rows[a].count) == VERSIONS || atomic_load(&rows[b].count) == VERSIONS)
            atomic_store(&stop, true);
        if (!atomic_load(&stop)) {
            append(&rows[a], xid, newest(&rows[a]) - amount);
            append(&rows[b], xid, newest(&rows[b]) + amount);
        }
        if (amount == 0)
            txn_abort(NULL, txn);
        else
            fixture_commit(txn);
        pthread_mutex_unlock(&rows[b].lock);
        pthread_mutex_unlock(&rows[a].lock);
    }
    detach();
    return NULL;
}

static void *
read_sums(void *argument)
{
    (void)argument;
    attach();
    while (!atomic_load(&stop)) {
        struct txn *txn = fixture_begin(true);

        for (int i = 0; i < 3; i++) /* the same again, whatever commits in between */
            if (sum_seen(txn_snapshot(txn)) != ROWS * PER_ROW)
                atomic_fetch_add(&wrong, 1);
        if (snapshot_horizon(false) > txn_snapshot(txn)->csn)
            atomic_fetch_add(&wrong, 1);
        fixture_commit(txn);
    }
    detach();
    return NULL;
}

static void
no_snapshot_sees_half_of_a_commit(void **state)
{
    pthread_t thread[WRITERS + READERS];
    xid_t first = fixture_burn(1);
    struct txn *old = fixture_begin(false);

    (void)state;
    atomic_store(&stop, false);
    for (int r = 0; r < ROWS; r++) {
        pthread_mutex_init(&rows[r].lock, NULL);
        atomic_store(&rows[r].count, 0);
        append(&rows[r], 0, PER_ROW);
    }
    for (uintptr_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, transfer, (void *)(i + 1)), 0);
    for (int i = WRITERS; i < WRITERS + READERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, read_sums, NULL), 0);
    for (int i = 0; i < WRITERS + READERS; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_true(csn_ring_low() > first + 2048); /* some of it was spilled */
    assert_true(datafile_exists(DATAFILE_CSN));
    for (int r = 0; r < ROWS; r++)
        for (unsigned i = 1; i < atomic_load(&rows[r].count); i++)
            assert_false(fixture_sees(txn_snapshot(old), rows[r].version[i].xid));
    fixture_commit(old);
}

/* ---- horizon ---- */

static void *
take_snapshots(void *argument)
{
    (void)argument;
    attach();
    while (!atomic_load(&stop)) {
        struct txn *txn = fixture_begin(true);
        struct snapshot snapshot = *txn_snapshot(txn);
        uint32_t place;

        if (txntable_horizon() > snapshot.csn)
            atomic_fetch_add(&wrong, 1);
        if (snapshot_hold(&snapshot, &place) != OK)
            abort();
        fixture_commit(txn);
        if (txntable_horizon() > snapshot.csn)
            atomic_fetch_add(&wrong, 1);
        snapshot_let_go(place);
    }
    detach();
    return NULL;
}

static void *
raise_horizon(void *argument)
{
    (void)argument;
    attach();
    while (!atomic_load(&stop))
        (void)snapshot_horizon(true);
    detach();
    return NULL;
}

static void
the_horizon_is_never_above_a_snapshot_in_use(void **state)
{
    pthread_t thread[4];

    (void)state;
    atomic_store(&stop, false);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, take_snapshots, NULL), 0);
    assert_int_equal(pthread_create(&thread[3], NULL, raise_horizon, NULL), 0);
    (void)fixture_burn(6000);
    atomic_store(&stop, true);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(atomic_load(&wrong), 0);
}

/* ---- deadlock ---- */

static struct circle {
    unsigned count;
    pthread_barrier_t begun;
    xid_t xid[8];
    _Atomic unsigned victims, through;
    unsigned last; /* whose request began to wait last */
} circle;

static void *
wait_in_circle(void *argument)
{
    unsigned i = (unsigned)(uintptr_t)argument;
    struct op op = { .waits_since_ns = i == circle.last ? 3 : 2 };
    struct txn *txn;
    err_t err;

    attach();
    txn = fixture_begin(true);
    circle.xid[i] = fixture_xid(txn);
    pthread_barrier_wait(&circle.begun);
    err = txn_wait(&op, txn, circle.xid[(i + 1) % circle.count]);
    if (err == ERR_DEADLOCK && i == circle.last &&
        txn_lost_to(txn) == circle.xid[(i + 1) % circle.count])
        atomic_fetch_add(&circle.victims, 1);
    else if (err == OK)
        atomic_fetch_add(&circle.through, 1);
    txn_abort(NULL, txn);
    detach();
    return NULL;
}

static void
the_last_of_a_circle_gives_way(void **state)
{
    static const unsigned sizes[] = { 2, 3, 5 };

    (void)state;
    for (size_t s = 0; s < 9; s++) {
        pthread_t thread[8];
        int64_t began = clock_now_ns();

        circle.count = sizes[s % 3];
        circle.last = (unsigned)(s / 3) % circle.count;
        atomic_store(&circle.victims, 0);
        atomic_store(&circle.through, 0);
        pthread_barrier_init(&circle.begun, NULL, circle.count);
        for (uintptr_t i = 0; i < circle.count; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, wait_in_circle, (void *)i), 0);
        for (unsigned i = 0; i < circle.count; i++)
            pthread_join(thread[i], NULL);
        pthread_barrier_destroy(&circle.begun);
        assert_int_equal(atomic_load(&circle.victims), 1);
        assert_int_equal(atomic_load(&circle.through), circle.count - 1);
        assert_true(clock_now_ns() - began < 1500000000);
    }
}

static void
a_wait_ends_at_the_deadline(void **state)
{
    struct txn *other = fixture_begin(false), *txn = fixture_begin(true);
    struct op op = { .deadline_ns = clock_now_ns() + 30000000 };

    (void)state;
    assert_int_equal(txn_wait(&op, txn, fixture_xid(other)), ERR_MAX_TIME);
    txn_abort(NULL, txn);
    txn_abort(NULL, other);
}

/* ---- killed processes ---- */

enum where {
    DIES_READING,
    DIES_BEING_GIVEN,
    DIES_WITH_XID,
    DIES_LOGGED,
    DIES_FLUSHED,
    DIES_WITH_PLACES,
    DIES_WAITING,
    DIES_PARKED,
    DIES_COUNT
};

static struct child {
    _Atomic unsigned slot;
    _Atomic uint64_t xid, ticket;
    _Atomic uint32_t place;
} * child;

static void
log_commit(xid_t xid)
{
    struct {
        int64_t time_ms;
        uint32_t file_count, zero;
    } record = { 1, 0, 0 };
    buffer_t buffer;

    if (wal_insert_reserve(sizeof record) != OK || clog_pin(xid, &buffer) != OK)
        abort();
    (void)clog_set(buffer, xid, XID_COMMITTED, WAL_COMMIT, &record, sizeof record);
}

static void
live_and_die(enum where where, xid_t blocker)
{
    struct txn *txn;
    uint32_t place;
    uint64_t ticket;

    proc_use(NULL);
    if (proc_attach(PROC_BACKEND) != OK)
        abort();
    atomic_store(&child->slot, proc_self->index);
    txn = fixture_begin(where != DIES_WITH_PLACES && where != DIES_PARKED);
    if (where != DIES_READING && where != DIES_BEING_GIVEN)
        atomic_store(&child->xid, fixture_xid(txn));
    if (where == DIES_BEING_GIVEN)
        atomic_store(&txntable_own()->xid, txntable_next_xid() | TXNTABLE_ASSIGNING);
    if (where == DIES_LOGGED || where == DIES_FLUSHED)
        log_commit(txn_xid_if_any(txn));
    if (where == DIES_FLUSHED)
        wal_flush(wal_insert_position());
    if (where == DIES_WITH_PLACES && snapshot_hold(txn_snapshot(txn), &place) != OK)
        abort();
    if (where == DIES_PARKED) {
        if (txn_park(txn, &place, &ticket) != OK)
            abort();
        atomic_store(&child->place, place);
        atomic_store(&child->ticket, ticket);
    }
    if (where == DIES_WAITING) {
        struct op op = { .deadline_ns = clock_now_ns() + 30000000 };

        if (txn_wait(&op, txn, blocker) == OK)
            abort();
        deadlock_waits_for(blocker, 1); /* killed in the middle of it */
    }
    (void)raise(SIGKILL);
}

static void
bury(unsigned slot)
{
    assert_int_equal(ledger_release_dead(slot), OK);
    assert_int_equal(txn_end_dead(slot), OK);
    assert_int_equal(txn_end_dead(slot), OK); /* as often as one likes */
    proc_bury(slot);
}

static void
a_killed_process_is_ended_in_every_state(void **state)
{
    struct txn *blocker = fixture_begin(false);
    xid_t blocking = fixture_xid(blocker);

    (void)state;
    child = mmap(NULL, sizeof *child, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(child != MAP_FAILED);
    for (enum where where = 0; where < DIES_COUNT; where++) {
        enum xid_fate want =
            where == DIES_LOGGED || where == DIES_FLUSHED ? XID_COMMITTED : XID_ABORTED;
        struct snapshot before;
        struct txn *txn;
        xid_t xid;
        pid_t pid;
        bool found;
        int status;

        atomic_store(&child->xid, 0);
        pid = fork();
        if (pid == 0)
            live_and_die(where, blocking);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        xid = atomic_load(&child->xid);
        txn = fixture_begin(true);
        before = *txn_snapshot(txn);
        if (xid != 0)
            assert_int_equal(fixture_fate(xid), XID_RUNNING); /* also when its bits are set */
        bury(atomic_load(&child->slot));
        assert_int_equal(atomic_load(&txntable_place(atomic_load(&child->slot))->waits_for), 0);
        if (where == DIES_PARKED) {
            struct txn *parked;

            assert_int_equal(fixture_fate(xid), XID_RUNNING);
            assert_int_equal(txn_unpark(NULL, atomic_load(&child->place),
                                 atomic_load(&child->ticket), &parked, &found),
                OK);
            assert_true(found);
            txn_abort(NULL, parked);
        }
        if (xid != 0) {
            assert_int_equal(fixture_fate(xid), want);
            assert_false(fixture_sees(&before, xid));
        }
        assert_int_equal(txn_running(), 1);
        fixture_commit(txn);
        assert_int_equal(txn_snapshots(), 1);
        assert_int_equal(snapshot_horizon(true), txn_snapshot(blocker)->csn);
    }
    txn_abort(NULL, blocker);
    assert_int_equal(snapshot_horizon(true), txntable_next_csn());
    assert_int_equal(munmap(child, sizeof *child), 0);
}

/* Taking one looks at no other place: with 50 in use the same few lines are touched.  Counted:
   nothing but the own place has changed. */
static void
taking_a_snapshot_writes_the_own_place_only(void **state)
{
    struct txn *others[30], *txn;
    struct place copy[128];
    uint32_t count = txntable_count();

    (void)state;
    for (int i = 0; i < 30; i++)
        others[i] = fixture_begin(false);
    assert_true(count <= 400);
    for (uint32_t i = 0; i < 128 && i < count; i++)
        memcpy(&copy[i], txntable_place(i), sizeof copy[i]);
    txn = fixture_begin(true);
    for (uint32_t i = 0; i < 128 && i < count; i++)
        if (i != proc_self->index)
            assert_memory_equal(&copy[i], txntable_place(i), sizeof copy[i]);
    fixture_commit(txn);
    assert_memory_equal(&copy[proc_self->index], txntable_place(proc_self->index), sizeof copy[0]);
    for (int i = 0; i < 30; i++)
        fixture_commit(others[i]);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, open_small, close_it)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(no_snapshot_sees_half_of_a_commit),
        WITH(the_horizon_is_never_above_a_snapshot_in_use),
        WITH(the_last_of_a_circle_gives_way),
        WITH(a_wait_ends_at_the_deadline),
        WITH(a_killed_process_is_ended_in_every_state),
        WITH(taking_a_snapshot_writes_the_own_place_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
