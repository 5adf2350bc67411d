/*
 * test_wait.c - latches, conditions and interrupts: no wake is lost.
 */
#include "shmem/condition.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/panic.h"
#include "base/sanitizer.h"
#include "shmem/interrupt.h"
#include "shmem/latch.h"
#include "shmem/proc.h"
#include "shmem/segment.h"

#define ROUNDS 5000
#define WAKES  20000

static struct {
    struct condition condition;
    _Atomic uint32_t turn;
    _Atomic uint32_t ready;
    struct proc *_Atomic proc[2];
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
    condition_init(&shared->condition);
}

static const struct region region = { "test", region_size, region_init };

static int
set_up(void **state)
{
    const struct region *const regions[] = { &proc_region, &region };
    struct config config = { .server_max_connections = 16, .server_spare_backends_max = 1 };

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

static void
in_two_threads(void *(*run)(void *))
{
    pthread_t thread[2];

    for (uintptr_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, run, (void *)i), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
}

/* A ball goes to and fro; each lost wake costs 100 ms, the condition's own look. */
static void *
play_by_condition(void *argument)
{
    uint32_t me = (uint32_t)(uintptr_t)argument;

    invariant(proc_attach(PROC_BACKEND) == OK);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        for (;;) {
            uint32_t seen = condition_prepare(&shared->condition);

            if (atomic_load(&shared->turn) % 2 == me)
                break;
            invariant(condition_wait(NULL, &shared->condition, seen, WAIT_LATCH, 0) == OK);
        }
        atomic_fetch_add(&shared->turn, 1);
        condition_wake(&shared->condition);
    }
    proc_detach();
    return NULL;
}

static void
a_condition_loses_no_wake(void **state)
{
    int64_t begun = clock_now_ns();

    (void)state;
    in_two_threads(play_by_condition);
    assert_int_equal(atomic_load(&shared->turn), 2 * ROUNDS);
    print_message("    %.1f us a turn\n", (double)(clock_now_ns() - begun) / (2e3 * ROUNDS));
    assert_true(clock_now_ns() - begun < INT64_C(20000000000));
}

static void *
play_by_latch(void *argument)
{
    uint32_t me = (uint32_t)(uintptr_t)argument;

    invariant(proc_attach(PROC_BACKEND) == OK);
    atomic_store(&shared->proc[me], proc_self);
    while (atomic_load(&shared->proc[1 - me]) == NULL)
        (void)usleep(100);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        while (latch_clear(), atomic_load(&shared->turn) % 2 != me)
            invariant(latch_wait(clock_now_ns() + INT64_C(10000000000)));
        atomic_fetch_add(&shared->turn, 1);
        latch_set(atomic_load(&shared->proc[1 - me]));
    }
    atomic_fetch_add(&shared->ready, 1);
    while (atomic_load(&shared->ready) < 2)
        (void)usleep(100);
    proc_detach();
    return NULL;
}

static void
a_latch_loses_no_wake(void **state)
{
    (void)state;
    in_two_threads(play_by_latch);
    assert_int_equal(atomic_load(&shared->turn), 2 * ROUNDS);
}

/* What a process waits with: a line that stays silent, or nearly so. */
static void
poll_line(int fd)
{
    bool set = false;

    invariant(latch_wait_fd(fd, POLLIN, clock_now_ns() + INT64_C(5000000000), &set) == 0);
    invariant(set);
}

static void
receive_line(int fd)
{
    char byte;
    bool set = false;
    ssize_t got = latch_receive(fd, &byte, 1, &set);

    invariant(got < 0 && (errno == EAGAIN || errno == EINTR));
    invariant((fcntl(fd, F_GETFL) & O_NONBLOCK) == 0); /* it was put back */
}

/* A real process, waiting for a silent line, is woken by the signal each time. */
static void
wake_each_time(void (*wait_for_line)(int fd))
{
    int silent[2];
    int status;
    pid_t pid;
    int64_t begun = clock_now_ns();

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, silent), 0);
    atomic_store(&shared->proc[0], NULL);
    atomic_store(&shared->turn, 0);
    atomic_store(&shared->ready, 0);
    pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        latch_use_signal();
        invariant(proc_attach(PROC_BACKEND) == OK);
        atomic_store(&shared->proc[0], proc_self);
        for (uint32_t i = 1; i <= WAKES; i++) {
            while (latch_clear(), atomic_load(&shared->turn) < i)
                wait_for_line(silent[0]);
            atomic_store(&shared->ready, i);
        }
        proc_detach();
        _exit(0);
    }
    while (atomic_load(&shared->proc[0]) == NULL)
        (void)usleep(100);
    for (uint32_t i = 1; i <= WAKES; i++) {
        for (uint32_t spin = i % 64; spin > 0; spin--) /* to come at any moment */
            __builtin_ia32_pause();
        atomic_store(&shared->turn, i);
        latch_set(atomic_load(&shared->proc[0]));
        while (atomic_load(&shared->ready) < i)
            invariant(clock_now_ns() - begun < INT64_C(20000000000));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    (void)close(silent[0]);
    (void)close(silent[1]);
}

static void
a_poll_is_ended_by_the_latch(void **state)
{
    (void)state;
    wake_each_time(poll_line);
}

/* The thread sanitizer keeps a signal back while recv is not in the kernel yet: T3's very moment.
 */
static void
a_receive_is_ended_by_the_latch(void **state)
{
    (void)state;
    if (!SANITIZER_THREAD)
        wake_each_time(receive_line);
}

static void
a_ready_file_ends_the_poll(void **state)
{
    int line[2];
    bool set = true;

    (void)state;
    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    assert_int_equal(pipe(line), 0);
    assert_int_equal(latch_wait_fd(line[0], POLLIN, clock_now_ns() + 1000000, &set), 0);
    assert_false(set);
    assert_int_equal(write(line[1], "x", 1), 1);
    assert_int_equal(latch_wait_fd(line[0], POLLIN, 0, &set), POLLIN);
    latch_set(proc_self);
    assert_int_equal(latch_wait_fd(line[0], POLLIN, 0, &set), POLLIN);
    assert_true(set);
    latch_clear();
    assert_false(latch_wait(clock_now_ns() + 1000000));
    (void)close(line[0]);
    (void)close(line[1]);
    proc_detach();
}

static void
interrupts_end_requests_and_waits(void **state)
{
    struct op op = { .deadline_ns = 0 };

    (void)state;
    assert_int_equal(interrupt_check(NULL), OK); /* without a slot */
    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    assert_int_equal(interrupt_check(&op), OK);
    interrupt_raise_self(INTERRUPT_CANCEL);
    assert_true(latch_wait(0));
    assert_int_equal(interrupt_check(&op), ERR_INTERRUPTED);
    assert_int_equal(interrupt_check(&op), OK);
    interrupt_raise(proc_self, INTERRUPT_RELOAD);
    assert_int_equal(interrupt_check(&op), OK);
    assert_true(interrupt_pending(INTERRUPT_RELOAD));
    interrupt_clear(INTERRUPT_RELOAD);
    assert_false(interrupt_pending(INTERRUPT_RELOAD));
    op.deadline_ns = clock_now_ns() + 20000000;
    assert_int_equal(
        condition_wait(&op, &shared->condition, condition_prepare(&shared->condition), WAIT_XID, 1),
        ERR_MAX_TIME);
    op.deadline_ns = 0;
    interrupt_raise_self(INTERRUPT_TERMINATE);
    assert_int_equal(interrupt_check(&op), ERR_TERMINATED);
    assert_int_equal(interrupt_check(&op), ERR_TERMINATED);
    interrupt_clear(INTERRUPT_TERMINATE);
    proc_detach();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_condition_loses_no_wake, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_latch_loses_no_wake, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_poll_is_ended_by_the_latch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_receive_is_ended_by_the_latch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_ready_file_ends_the_poll, set_up, tear_down),
        cmocka_unit_test_setup_teardown(interrupts_end_requests_and_waits, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
