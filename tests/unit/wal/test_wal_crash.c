/*
 * test_wal_crash.c - real processes killed while they insert, flush and make checkpoints.
 *
 * All processes of a round die together, so that each round ends in recovery.
 */
#include "walfixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/fault.h"
#include "wal/wal_segment.h"

#define WRITERS 3

struct promised {
    _Atomic uint64_t flushed[WRITERS]; /* each writer's last record that is certainly on disk */
};
static struct promised *promised;

static void
write_until_killed(unsigned who, uint64_t from)
{
    proc_self = NULL;
    if (proc_attach(PROC_EMBEDDED) != OK)
        _exit(1);
    for (uint64_t i = from;; i++) {
        lsn_t end = fixture_insert(who * 1000000 + i, (i * 37) % 900);

        if (i % 3 == 0) {
            wal_flush(end);
            atomic_store(&promised->flushed[who], i);
        }
        if (who == 0 && i % 500 == 0 && checkpoint_run(CHECKPOINT_FAST) != OK)
            _exit(2);
    }
}

/* Run writers for a while, kill them, and look what recovery finds. */
static void
round_of_kills(uint64_t from[WRITERS], unsigned sleep_us, bool wait_for_first)
{
    pid_t pid[WRITERS];

    for (unsigned i = 0; i < WRITERS; i++) {
        pid[i] = fork();
        if (pid[i] == 0)
            write_until_killed(i, from[i]);
        assert_true(pid[i] > 0);
    }
    if (wait_for_first)
        assert_true(waitpid(pid[0], NULL, 0) == pid[0]);
    else
        usleep(sleep_us);
    for (unsigned i = wait_for_first ? 1 : 0; i < WRITERS; i++)
        (void)kill(pid[i], SIGKILL);
    for (unsigned i = wait_for_first ? 1 : 0; i < WRITERS; i++)
        (void)waitpid(pid[i], NULL, 0);
}

/* Every acknowledged record that is not before the redo point must have been replayed, in order. */
static void
check_replayed(uint64_t from[WRITERS])
{
    uint64_t last[WRITERS] = { 0 };

    for (size_t i = 0; i < fixture_replayed_count; i++) {
        uint64_t who = fixture_replayed[i] / 1000000;
        uint64_t number = fixture_replayed[i] % 1000000;

        assert_true(who < WRITERS);
        assert_true(last[who] == 0 || number == last[who] + 1);
        last[who] = number;
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        uint64_t flushed = atomic_load(&promised->flushed[i]);

        assert_true(last[i] >= flushed || last[i] == 0);
        if (last[i] == 0)
            last[i] = flushed > from[i] ? flushed : from[i] - 1;
        from[i] = last[i] + 1;
    }
}

static void
recover_in_new_memory(void)
{
    lsn_t flushed = wal_flush_done();

    fixture_crash();
    fixture_open();
    assert_true(fixture_found.end >= flushed);
    assert_false(fixture_found.clean);
}

static void
killed_at_random_all_that_was_flushed_is_found(void **state)
{
    uint64_t from[WRITERS] = { 1, 1, 1 };
    struct rand rand;

    (void)state;
    rand_init(&rand, 42);
    for (int round = 0; round < 12; round++) {
        round_of_kills(from, 10000 + (unsigned)rand_below(&rand, 60000), false);
        recover_in_new_memory();
        check_replayed(from);
    }
}

static err_t
die(void)
{
    (void)raise(SIGKILL);
    return OK;
}

static err_t
live(void)
{
    return OK;
}

static const struct checkpoint_part deadly = { "deadly", NULL, NULL, die };
static const struct checkpoint_part harmless = { "harmless", NULL, NULL, live };
static const struct checkpoint_part *part[] = { &deadly };

static void
make_checkpoints(void)
{
    if (proc_attach(PROC_CHECKPOINTER) != OK)
        _exit(1);
    for (;;) {
        (void)checkpoint_round();
        usleep(1000);
    }
}

/* The undertaker, and then the next checkpointer. */
static void *
bury_and_replace(void *child)
{
    pid_t pid = *(pid_t *)child;
    int slot = proc_find(pid);

    while (slot < 0)
        slot = proc_find(pid);
    invariant(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT) == 0);
    invariant(ledger_release_dead((unsigned)slot) == OK);
    proc_bury((unsigned)slot);
    invariant(waitpid(pid, NULL, 0) == pid);
    part[0] = &harmless;
    invariant(proc_attach(PROC_CHECKPOINTER) == OK);
    for (int i = 0; i < 1500; i++) {
        struct checkpoint_status status;

        (void)checkpoint_round();
        checkpoint_status(&status);
        if (status.completed > 0)
            break;
        usleep(2000);
    }
    proc_detach();
    return NULL;
}

static void
who_waits_for_a_checkpoint_asks_again_when_the_checkpointer_dies(void **state)
{
    pthread_t undertaker;
    pid_t pid;

    (void)state;
    checkpoint_set_parts(part, 1);
    part[0] = &deadly;
    wal_flush(fixture_insert(1, 100));
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        proc_self = NULL;
        make_checkpoints();
    }
    while (proc_find(pid) < 0)
        usleep(100);
    pthread_create(&undertaker, NULL, bury_and_replace, &pid);
    (void)alarm(20);
    assert_int_equal(checkpoint_request(NULL, CHECKPOINT_FAST, true), OK);
    (void)alarm(0);
    pthread_join(undertaker, NULL);
    checkpoint_set_parts(NULL, 0);
}

#ifdef GNEISS_FAULTS
static void
killed_at_each_step_all_that_was_flushed_is_found(void **state)
{
    static const char *const steps[] = { "wal_write", "wal_sync", "wal_reserved", "wal_copied",
        "wal_written", "wal_synced", "wal_hint", "checkpoint_redo", "checkpoint_flushed",
        "checkpoint_logged", "control_write", "control_sync", "checkpoint_control" };
    uint64_t from[WRITERS] = { 1, 1, 1 };

    (void)state;
    log_context.process = "embedded";
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        for (int torn = 0; torn < 2; torn++) {
            char text[64];

            (void)snprintf(text, sizeof text, "%s=%s:%d:first", steps[i], torn ? "torn" : "kill",
                strncmp(steps[i], "wal", 3) == 0 ? 40 : 1);
            if (torn && strstr(steps[i], "write") == NULL)
                continue;
            *strrchr(text, ':') =
                '\0'; /* any process: the first that passes dies, then the others */
            assert_true(fault_arm(text));
            round_of_kills(from, 150000, false);
            assert_true(fault_arm("wal_write=off,wal_sync=off,wal_reserved=off,wal_copied=off,"
                                  "wal_written=off,wal_synced=off,wal_hint=off"));
            assert_true(fault_arm("checkpoint_redo=off,checkpoint_flushed=off,checkpoint_logged="
                                  "off,control_write=off,control_sync=off,checkpoint_control=off"));
            recover_in_new_memory();
            check_replayed(from);
        }
    }
    log_context.process = NULL;
}

/* A new segment's own sync may fail: none is there, and it is made anew.  Its folder's may not. */
static void
a_segment_that_cannot_be_synced_is_made_anew_and_its_folder_is_a_panic(void **state)
{
    char folder[WAL_SEGMENT_PATH_MAX];
    int status = 0;
    bool found;
    pid_t pid;
    int fd;

    (void)state;
    assert_int_equal(wal_segment_folder(control_data_dir(), folder), OK);
    assert_true(fault_arm("wal_create_sync=eio:1"));
    assert_int_equal(wal_segment_create(folder, 100), ERR_IO);
    assert_int_equal(wal_segment_open(folder, 100, false, &fd, &found), OK);
    assert_false(found);
    assert_int_equal(wal_segment_create(folder, 100), OK);
    for (int recycle = 0; recycle < 2; recycle++) {
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            (void)signal(SIGABRT, SIG_DFL);
            proc_self = NULL;
            invariant(proc_attach(PROC_EMBEDDED) == OK);
            invariant(fault_arm("dir_sync=eio:1"));
            _exit((recycle ? wal_segment_recycle(folder, 100, 102)
                           : wal_segment_create(folder, 101)) == OK
                      ? 0
                      : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        if (proc_find(pid) >= 0)
            proc_bury((unsigned)proc_find(pid));
    }
    assert_true(fault_arm("dir_sync=off,wal_create_sync=off"));
}

static void
a_full_disk_refuses_writes_and_lets_them_go_on_when_there_is_room(void **state)
{
    uint64_t count = 0;
    err_t err = OK;

    (void)state;
    assert_true(fault_arm("wal_create=enospc"));
    for (count = 1; count < 5000 && err == OK; count++) {
        err = wal_insert_reserve(10000);
        if (err == OK)
            (void)fixture_insert(count, 10000);
    }
    assert_int_equal(err, ERR_DISK_FULL);
    wal_flush(wal_insert_position());
    assert_false(wal_flush_make_room());
    assert_true(fault_arm("wal_create=off"));
    usleep(120000);
    assert_true(wal_flush_make_room());
    wal_flush(fixture_insert(count, 10000));
    fixture_crash();
    fixture_open();
    assert_int_equal(fixture_replayed[fixture_replayed_count - 1], count);
}

/* As fixture_insert, with a promise that was given. */
static void
insert_promised(uint64_t xid)
{
    static uint8_t data[10000];

    crit_begin();
    wal_insert_begin();
    wal_insert_data(data, sizeof data);
    (void)wal_insert(WAL_NUMBERS, xid);
    crit_end();
}

/* Insert until a promise of this kind is refused; yields how many went in. */
static uint64_t
insert_until_full(err_t (*reserve)(size_t size), uint64_t from)
{
    uint64_t count = 0;

    while (count < 10000 && reserve(10000) == OK)
        insert_promised(from + ++count);
    assert_int_equal(err_last_code(), 14031);
    return count;
}

static void
on_a_full_disk_deletes_and_checkpoints_live_on_what_was_kept(void **state)
{
    uint64_t count = 0;

    (void)state;
    checkpoint_set_parts(NULL, 0);
    while (wal_insert_position() < 2 * (lsn_t)WAL_SEGMENT_SIZE + WAL_SEGMENT_SIZE / 2) {
        assert_int_equal(wal_insert_reserve(10000), OK);
        (void)fixture_insert(++count, 10000);
    }
    assert_true(fault_arm("wal_create=enospc"));
    count += insert_until_full(wal_insert_reserve, count);
    assert_true(insert_until_full(wal_insert_reserve_shrink, count) > 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(checkpoint_run(CHECKPOINT_FAST), OK);
        /* The old segments are enough to go on with. */
        assert_int_equal(wal_insert_reserve(10000), OK);
        count += insert_until_full(wal_insert_reserve, count);
    }
    assert_true(fault_arm("wal_create=off"));
}
#endif

static int
setup(void **state)
{
    promised =
        mmap(NULL, sizeof *promised, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(promised != MAP_FAILED);
    return fixture_setup(state);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            killed_at_random_all_that_was_flushed_is_found, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            who_waits_for_a_checkpoint_asks_again_when_the_checkpointer_dies, setup,
            fixture_teardown),
#ifdef GNEISS_FAULTS
        cmocka_unit_test_setup_teardown(
            a_segment_that_cannot_be_synced_is_made_anew_and_its_folder_is_a_panic, setup,
            fixture_teardown),
        cmocka_unit_test_setup_teardown(
            killed_at_each_step_all_that_was_flushed_is_found, setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            a_full_disk_refuses_writes_and_lets_them_go_on_when_there_is_room, setup,
            fixture_teardown),
        cmocka_unit_test_setup_teardown(
            on_a_full_disk_deletes_and_checkpoints_live_on_what_was_kept, setup, fixture_teardown),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
