/*
 * test_lwlock.c - light locks, with threads as processes and with real processes that are killed.
 *
 * The storm kills workers at any instruction they may be at, undoes what they held, and starts
 * others in their place.  Afterwards nothing may be held, nothing may have been torn, nobody may
 * hang.
 */
#include "shmem/lwlock.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/crit.h"
#include "base/panic.h"
#include "shmem/ledger.h"
#include "shmem/proc.h"
#include "shmem/segment.h"

#define LOCKS   4
#define WORKERS 8

static struct {
    struct lwlock lock[LOCKS];
    struct lwlock low;                 /* RANK_CATALOG */
    struct lwlock high;                /* RANK_CONTROL */
    _Alignas(64) uint64_t a[LOCKS][8]; /* guard: lock[i]; a[i][0] == a[i][7] */
    _Atomic uint64_t operations[64];
    _Atomic uint32_t torn;
    _Atomic uint32_t stop;
    _Atomic uint32_t reading;
} * shared;

static size_t
region_size(const struct config *config)
{
    (void)config;
    return sizeof *shared;
}

static void
region_init(void *zeroed, const struct config *config)
{
    (void)config;
    shared = zeroed;
    for (int i = 0; i < LOCKS; i++)
        lwlock_init(&shared->lock[i], RANK_PAGE);
    lwlock_init(&shared->low, RANK_CATALOG);
    lwlock_init(&shared->high, RANK_CONTROL);
}

static const struct region region = { "test", region_size, region_init };

static int
set_up(void **state)
{
    const struct region *const regions[] = { &proc_region, &region };
    struct config config = { .server_max_connections = 32, .server_spare_backends_max = 4 };

    (void)state;
    return segment_create(regions, 2, &config, NULL) == OK ? 0 : -1;
}

static int
tear_down(void **state)
{
    (void)state;
    segment_destroy();
    return 0;
}

static uint32_t
next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* One turn of reading or writing under a random lock. */
static void
one_turn(uint32_t *seed)
{
    uint32_t r = next_random(seed);
    unsigned i = r % LOCKS;
    enum lwlock_mode mode = (r >> 4) % 3 == 0 ? LW_EXCLUSIVE : LW_SHARED;

    if ((r >> 8) % 8 == 0) {
        if (!lwlock_try(&shared->lock[i], mode))
            return;
    } else {
        lwlock_acquire(&shared->lock[i], mode);
    }
    if (shared->a[i][0] != shared->a[i][7])
        atomic_fetch_add(&shared->torn, 1);
    if (mode == LW_EXCLUSIVE) {
        crit_begin();
        shared->a[i][0]++;
        for (volatile int j = 0; j < 20; j++)
            ;
        shared->a[i][7]++;
        crit_end();
    } else if ((r >> 12) % 16 == 0) {
        unsigned other = (i + 1) % LOCKS;

        /* Two at once, the second by try or by order. */
        if (other > i) {
            lwlock_acquire(&shared->lock[other], LW_SHARED);
            if (shared->a[other][0] != shared->a[other][7])
                atomic_fetch_add(&shared->torn, 1);
            lwlock_release(&shared->lock[other]);
        }
    }
    lwlock_release(&shared->lock[i]);
}

static void *
turn_as_thread(void *argument)
{
    uint32_t seed = (uint32_t)(uintptr_t)argument;

    invariant(proc_attach(PROC_BACKEND) == OK);
    for (int i = 0; i < 20000; i++)
        one_turn(&seed);
    invariant(lwlock_none_held() && ledger_empty());
    proc_detach();
    return NULL;
}

static void
all_is_free(void)
{
    for (int i = 0; i < LOCKS; i++)
        assert_true(lwlock_free(&shared->lock[i]));
    assert_int_equal(ledger_total(LEDGER_LWLOCK_SHARED), 0);
    assert_int_equal(ledger_total(LEDGER_LWLOCK_EXCLUSIVE), 0);
    assert_int_equal(atomic_load(&shared->torn), 0);
}

static void
threads_never_see_half_a_change(void **state)
{
    pthread_t thread[WORKERS];

    (void)state;
    for (uintptr_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, turn_as_thread, (void *)(i + 1)), 0);
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    all_is_free();
}

static void
shared_holders_share_and_keep_writers_out(void **state)
{
    struct proc *first;

    (void)state;
    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    lwlock_acquire(&shared->low, LW_SHARED);
    assert_true(lwlock_held(&shared->low, LW_SHARED));
    assert_false(lwlock_held(&shared->low, LW_EXCLUSIVE));
    assert_false(lwlock_try(&shared->low, LW_EXCLUSIVE));
    assert_true(lwlock_try(&shared->low, LW_SHARED));
    lwlock_release(&shared->low);
    lwlock_release(&shared->low);
    assert_true(lwlock_free(&shared->low));
    assert_int_equal(lwlock_owner(&shared->low), -1);
    lwlock_acquire(&shared->low, LW_EXCLUSIVE);
    assert_int_equal(lwlock_owner(&shared->low), proc_self->index);
    assert_false(lwlock_try(&shared->low, LW_SHARED));
    assert_true(lwlock_held(&shared->low, LW_SHARED));
    first = proc_self;
    lwlock_release(&shared->low);
    proc_detach();
    assert_int_equal(atomic_load(&first->pid), 0);
    all_is_free();
}

/* Run in a child; the signal that ended it. */
static int
signal_of(void (*run)(void))
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(3);
        signal(SIGABRT, SIG_DFL);
        if (proc_self != NULL) { /* the parent's slot, and its locks, are not the child's */
            lwlock_forget();
            proc_use(NULL);
        }
        if (proc_attach(PROC_BACKEND) != OK)
            _exit(2);
        run();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (proc_find(pid) >= 0) {
        assert_int_equal(ledger_release_dead((unsigned)proc_find(pid)), OK);
        proc_bury((unsigned)proc_find(pid));
    }
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void
take_downwards(void)
{
    lwlock_acquire(&shared->high, LW_SHARED);
    lwlock_acquire(&shared->low, LW_SHARED);
}

static void
take_twice(void)
{
    lwlock_acquire(&shared->low, LW_SHARED);
    lwlock_acquire(&shared->low, LW_SHARED);
}

static void
release_a_strangers(void)
{
    lwlock_release(&shared->low);
}

static void
take_upwards(void)
{
    lwlock_acquire(&shared->low, LW_EXCLUSIVE);
    lwlock_acquire(&shared->lock[0], LW_EXCLUSIVE);
    lwlock_acquire(&shared->lock[1], LW_EXCLUSIVE);
    lwlock_acquire(&shared->high, LW_EXCLUSIVE);
    raise(SIGKILL);
}

static void
a_wrong_order_of_ranks_is_a_panic(void **state)
{
    (void)state;
    assert_int_equal(signal_of(take_downwards), SIGABRT);
    assert_int_equal(signal_of(take_twice), SIGABRT);
    assert_int_equal(signal_of(release_a_strangers), SIGABRT);
    assert_int_equal(signal_of(take_upwards), SIGKILL);
    assert_true(lwlock_free(&shared->low) && lwlock_free(&shared->high));
    all_is_free();
}

static void
die_sharing(void)
{
    lwlock_acquire(&shared->low, LW_SHARED);
    raise(SIGKILL);
}

static void
die_after_taking_a_share(void)
{
    lwlock_acquire(&shared->low, LW_SHARED);
    ledger_doubt((unsigned)ledger_find(LEDGER_LWLOCK_SHARED, segment_offset(&shared->low)));
    raise(SIGKILL);
}

static void
die_before_taking_a_share(void)
{
    (void)ledger_intend(LEDGER_LWLOCK_SHARED, segment_offset(&shared->low));
    raise(SIGKILL);
}

static void
die_before_taking_all(void)
{
    (void)ledger_intend(LEDGER_LWLOCK_EXCLUSIVE, segment_offset(&shared->low));
    raise(SIGKILL);
}

/* Whatever the dead process was at, the living one's share stands, and is the only one. */
static void
a_death_at_any_step_leaves_the_other_share(void **state)
{
    void (*const deaths[])(void) = { die_sharing, die_after_taking_a_share,
        die_before_taking_a_share, die_before_taking_all };

    (void)state;
    for (unsigned i = 0; i < sizeof deaths / sizeof *deaths; i++) {
        assert_int_equal(proc_attach(PROC_UNDERTAKER), OK);
        lwlock_acquire(&shared->low, LW_SHARED);
        assert_int_equal(signal_of(deaths[i]), SIGKILL);
        assert_false(lwlock_free(&shared->low));
        assert_false(lwlock_try(&shared->low, LW_EXCLUSIVE));
        lwlock_release(&shared->low);
        assert_true(lwlock_try(&shared->low, LW_EXCLUSIVE));
        lwlock_release(&shared->low);
        proc_detach();
        assert_true(lwlock_free(&shared->low));
    }
    all_is_free();
}

static void
what_is_held_in_the_own_slot_can_be_let_go(void **state)
{
    (void)state;
    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    lwlock_acquire(&shared->low, LW_EXCLUSIVE);
    lwlock_acquire(&shared->high, LW_SHARED);
    assert_int_equal(ledger_release_dead(proc_self->index), OK);
    assert_true(lwlock_none_held() && ledger_empty());
    proc_detach();
    all_is_free();
}

static void *
read_without_end(void *argument)
{
    (void)argument;
    invariant(proc_attach(PROC_BACKEND) == OK);
    while (atomic_load(&shared->stop) == 0) {
        lwlock_acquire(&shared->lock[0], LW_SHARED);
        for (volatile int j = 0; j < 300; j++)
            ;
        lwlock_release(&shared->lock[0]);
        atomic_fetch_add(&shared->reading, 1);
    }
    proc_detach();
    return NULL;
}

static void
a_stream_of_readers_does_not_starve_a_writer(void **state)
{
    pthread_t thread[6];
    int64_t worst = 0;

    (void)state;
    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, read_without_end, NULL), 0);
    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    while (atomic_load(&shared->reading) < 6000)
        (void)usleep(1000); /* all are at it */
    for (int i = 0; i < 50; i++) {
        int64_t begun = clock_now_ns();
        int64_t took;

        lwlock_acquire(&shared->lock[0], LW_EXCLUSIVE);
        took = clock_now_ns() - begun;
        lwlock_release(&shared->lock[0]);
        if (took > worst)
            worst = took;
        (void)usleep(500);
    }
    atomic_store(&shared->stop, 1);
    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    proc_detach();
    print_message("    worst wait of a writer among 6 readers: %ld us\n", (long)(worst / 1000));
    assert_true(worst < 2000000000);
    all_is_free();
}

/* Printed for whoever compares; no bar, the machine may be busy. */
static void
an_uncontended_lock_costs_nanoseconds(void **state)
{
    enum { ROUNDS = 1000000 };

    (void)state;
    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    for (int mode = LW_SHARED; mode <= LW_EXCLUSIVE; mode++) {
        int64_t begun = clock_now_ns();

        for (int i = 0; i < ROUNDS; i++) {
            lwlock_acquire(&shared->low, (enum lwlock_mode)mode);
            lwlock_release(&shared->low);
        }
        print_message("    %s: %.1f ns to take and let go\n",
            mode == LW_SHARED ? "shared" : "exclusive", (double)(clock_now_ns() - begun) / ROUNDS);
    }
    proc_detach();
}

/* ---- The storm ---- */

static pid_t
start_worker(uint32_t seed)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    proc_use(NULL); /* the parent's slot is not the child's */
    invariant(proc_attach(PROC_BACKEND) == OK);
    while (atomic_load_explicit(&shared->stop, memory_order_relaxed) == 0) {
        one_turn(&seed);
        atomic_fetch_add_explicit(&shared->operations[proc_self->index], 1, memory_order_relaxed);
    }
    proc_detach();
    _exit(0);
}

struct toll {
    unsigned exclusive, sharing, doubtful, waiting, critical;
};

static void
count_dead(struct proc *proc, struct toll *toll)
{
    toll->critical += atomic_load(&proc->crit) > 0;
    for (unsigned i = 0; i < LEDGER_MAX; i++) {
        uint64_t word = atomic_load(&proc->ledger[i]);
        unsigned at = (unsigned)(word >> LEDGER_ID_BITS & 0xff);

        if (word == 0)
            continue;
        toll->waiting += at == LEDGER_WAITING;
        toll->doubtful += at == LEDGER_INTENT;
        toll->exclusive += at == LEDGER_HELD && word >> 56 == LEDGER_LWLOCK_EXCLUSIVE;
        toll->sharing += at == LEDGER_HELD && word >> 56 == LEDGER_LWLOCK_SHARED;
    }
}

/* What a restart from the log would do for a worker that died with a change half done. */
static void
mend_half_change(const struct proc *proc)
{
    for (unsigned i = 0; i < LOCKS; i++)
        if (lwlock_owner(&shared->lock[i]) == (int)proc->index)
            shared->a[i][7] = shared->a[i][0];
}

static void
kill_one(pid_t *pid, struct toll *toll)
{
    siginfo_t info;
    int slot;

    assert_int_equal(kill(*pid, SIGKILL), 0);
    /* As the postmaster: look at the zombie, clean up, and only then let its number go. */
    assert_int_equal(waitid(P_PID, (id_t)*pid, &info, WEXITED | WNOWAIT), 0);
    slot = proc_find(*pid);
    if (slot >= 0) {
        assert_true(proc_is_dead((unsigned)slot));
        count_dead(proc_at((unsigned)slot), toll);
        mend_half_change(proc_at((unsigned)slot));
        assert_int_equal(ledger_release_dead((unsigned)slot), OK);
        assert_int_equal(ledger_release_dead((unsigned)slot), OK); /* it may be repeated */
        proc_bury((unsigned)slot);
    }
    assert_int_equal(waitpid(*pid, NULL, 0), *pid);
}

static uint64_t
operations_done(void)
{
    uint64_t sum = 0;

    for (int i = 0; i < 64; i++)
        sum += atomic_load(&shared->operations[i]);
    return sum;
}

/* Everybody alive gets on: the storm waits at most ten seconds for a sign of it. */
static void
expect_progress(void)
{
    uint64_t before = operations_done();

    for (int i = 0; i < 1000 && operations_done() < before + 100; i++)
        (void)usleep(10000);
    assert_true(operations_done() >= before + 100);
}

static void
a_storm_of_kills_leaves_no_lock_held(void **state)
{
    const char *wanted = getenv("GNEISS_TEST_KILLS");
    int kills = wanted != NULL ? atoi(wanted) : 300;
    pid_t pid[WORKERS];
    struct toll toll = { 0 };
    uint32_t seed = 7;

    (void)state;
    assert_int_equal(proc_attach(PROC_UNDERTAKER), OK);
    for (uint32_t i = 0; i < WORKERS; i++)
        pid[i] = start_worker(i + 1);
    for (int n = 0; n < kills; n++) {
        unsigned victim = next_random(&seed) % WORKERS;

        (void)usleep(next_random(&seed) % 3000);
        kill_one(&pid[victim], &toll);
        pid[victim] = start_worker((uint32_t)n + 100);
        if (n % 100 == 99)
            expect_progress();
    }
    expect_progress();
    atomic_store(&shared->stop, 1);
    for (int i = 0; i < WORKERS; i++) {
        int status = -1;

        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_int_equal(status, 0);
    }
    proc_detach();
    print_message(
        "    %d kills: died holding exclusive %u, shared %u, in doubt %u, waiting %u, in a "
        "critical section %u\n",
        kills, toll.exclusive, toll.sharing, toll.doubtful, toll.waiting, toll.critical);
    all_is_free();
    for (unsigned i = 0; i < proc_count(); i++)
        assert_int_equal(atomic_load(&proc_at(i)->pid), 0);
}

/* After an internal fault: each thing that a ledger may say wrongly.  This process plays the dead
   one. */
static void
a_ledger_that_does_not_agree_with_the_locks_is_told(void **state)
{
    struct lwlock *lock = &shared->lock[0];
    unsigned slot, entry;
    uint32_t word;

    (void)state;
    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    slot = proc_self->index;
    lwlock_acquire(lock, LW_EXCLUSIVE);
    assert_int_equal(ledger_verify_dead(slot), OK);
    word = atomic_exchange(&lock->state, 0); /* said to be held, and is not */
    assert_int_equal(ledger_verify_dead(slot), ERR_INTERNAL);
    assert_non_null(strstr(err_message(), "different owners"));
    atomic_store(&lock->state, 0xffffffff);
    assert_int_equal(ledger_verify_dead(slot), ERR_INTERNAL);
    assert_non_null(strstr(err_message(), "is damaged"));
    atomic_store(&lock->state, word);
    lwlock_release(lock);
    lwlock_acquire(lock, LW_SHARED);
    word = atomic_exchange(&lock->state, 0);
    assert_int_equal(ledger_verify_dead(slot), ERR_INTERNAL);
    assert_non_null(strstr(err_message(), "nobody shares"));
    atomic_store(&lock->state, word);
    lwlock_release(lock);
    entry = ledger_intend(LEDGER_LWLOCK_SHARED, 12345); /* no lock stands there */
    assert_int_equal(ledger_verify_dead(slot), ERR_INTERNAL);
    ledger_clear(entry);
    atomic_store(&proc_self->ledger[5], UINT64_MAX);
    assert_int_equal(ledger_verify_dead(slot), ERR_INTERNAL);
    atomic_store(&proc_self->ledger[5], 0);
    assert_int_equal(ledger_verify_dead(slot), OK);
    assert_int_equal(proc_verify(slot), OK);
    proc_self->verb[PROC_TEXT_MAX - 1] = 'x';
    assert_int_equal(proc_verify(slot), ERR_INTERNAL);
    proc_self->verb[PROC_TEXT_MAX - 1] = '\0';
    proc_detach();
}

/* A process that takes `low`, and then waits to be killed, or lets go. */
static pid_t
start_taking(bool keep)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    lwlock_forget();
    proc_use(NULL);
    invariant(proc_attach(PROC_BACKEND) == OK);
    lwlock_acquire(&shared->low, LW_EXCLUSIVE);
    while (keep)
        (void)pause();
    lwlock_release(&shared->low);
    proc_detach();
    _exit(0);
}

static bool
waits_for_low(pid_t pid)
{
    int slot = proc_find(pid);

    return slot >= 0 && atomic_load(&proc_at((unsigned)slot)->wait) == WAIT_LWLOCK;
}

static void
who_sleeps_is_woken_when_the_holder_is_buried(void **state)
{
    pid_t holder, sleeper;
    int status = -1;

    (void)state;
    assert_int_equal(proc_attach(PROC_UNDERTAKER), OK);
    holder = start_taking(true);
    while (!ledger_total(LEDGER_LWLOCK_EXCLUSIVE))
        (void)usleep(1000);
    sleeper = start_taking(false);
    while (!waits_for_low(sleeper))
        (void)usleep(1000);
    (void)usleep(20000); /* asleep by then, or about to look once more */
    assert_int_equal(kill(holder, SIGKILL), 0);
    assert_int_equal(waitpid(holder, NULL, 0), holder);
    assert_int_equal(ledger_release_dead((unsigned)proc_find(holder)), OK);
    for (int i = 0; i < 20000 && waitpid(sleeper, &status, WNOHANG) == 0; i++)
        (void)usleep(1000);
    if (status == -1)
        (void)kill(sleeper, SIGKILL);
    assert_int_equal(status, 0);
    proc_bury((unsigned)proc_find(holder));
    all_is_free();
    proc_detach();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            shared_holders_share_and_keep_writers_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_never_see_half_a_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wrong_order_of_ranks_is_a_panic, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_death_at_any_step_leaves_the_other_share, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            what_is_held_in_the_own_slot_can_be_let_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_stream_of_readers_does_not_starve_a_writer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_ledger_that_does_not_agree_with_the_locks_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            who_sleeps_is_woken_when_the_holder_is_buried, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_uncontended_lock_costs_nanoseconds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_storm_of_kills_leaves_no_lock_held, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
