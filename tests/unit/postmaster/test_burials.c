/*
 * test_burials.c - the dead wait for an undertaker that dies itself, stands still, or only waits.
 *
 * The children are the test's own processes; how much time passes is told to burials_look, so that
 * nobody waits for it.
 */
#include "postmaster/burials.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "postmaster/children.h"
#include "postmaster/life.h"
#include "postmaster/undertaker.h"
#include "shmem/proc.h"
#include "shmem/segment.h"

#define DEAD      6
#define LOOK_NS   ((int64_t)BURIALS_LOOK_MS * 1000000)
#define ENOUGH    (10000 / BURIALS_LOOK_MS) /* looks that count, until it is given up */
#define LOOKS_MAX (10 * ENOUGH)

/* What the next child does; it has a copy from its fork. */
static void (*behave)(void);
static pid_t target;
static int64_t now_ns;
static pid_t dead[DEAD];

static int
run(const struct child_env *env)
{
    (void)env;
    behave();
    return 0;
}

static const struct child_main mains[CHILD_KIND_COUNT] = {
    [CHILD_UNDERTAKER] = { "undertaker", run, true, CHILD_DEATH_IS_INHERITED },
    [CHILD_BACKEND] = { "backend", run, false, CHILD_DEATH_IS_BURIED },
};

static void
prepare(enum child_kind kind)
{
    (void)kind;
    (void)signal(SIGUSR2, SIG_DFL); /* nothing outlives the test */
}

/* ---- what children do ---- */

static void
be_killed(void)
{
    (void)raise(SIGKILL);
}

static void
be_faulty(void)
{
    (void)signal(SIGSEGV, SIG_DFL);
    (void)raise(SIGSEGV);
}

static void
wait_without_end(void)
{
    for (;;)
        (void)pause();
}

static void
run_without_end(void)
{
    for (volatile uint64_t turns = 0;; turns++)
        ;
}

/* Only when nobody else wants the processor. */
static void
run_last(void)
{
    struct sched_param none = { 0 };

    if (sched_setscheduler(0, SCHED_IDLE, &none) == 0)
        run_without_end();
}

/* As whoever waits for a disk: uninterruptible, until its child has ended.  Then it waits like
   others. */
static void
wait_for_disk(void)
{
    pid_t self = getpid();

    if (syscall(SYS_clone, CLONE_VFORK | SIGCHLD, NULL, NULL, NULL, NULL) == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != self)
            _exit(0);
    }
    wait_without_end();
}

static void
tell(pid_t pid, enum undertaker_progress progress)
{
    struct undertaker_report report = { pid, (int)progress };

    (void)send(burials_undertaker_fd(), &report, sizeof report, 0);
}

static struct undertaker_order
next_order(void)
{
    struct undertaker_order order = { 0, 0, 0 };

    if (recv(burials_undertaker_fd(), &order, sizeof order, 0) != (ssize_t)sizeof order)
        _exit(1);
    return order;
}

/* Bury all until the target's turn comes, and die over that. */
static void
die_over_target(void)
{
    for (;;) {
        struct undertaker_order order = next_order();

        tell(order.pid, UNDERTAKER_BEGUN);
        if (order.pid == target)
            (void)raise(SIGKILL);
        tell(order.pid, UNDERTAKER_BURIED);
    }
}

/* Begin with the target, and get no further. */
static void
wait_over_target(void)
{
    while (next_order().pid != target)
        ;
    tell(target, UNDERTAKER_BEGUN);
    wait_without_end();
}

static void
doubt_and_die(void)
{
    tell(target, UNDERTAKER_BEGUN);
    tell(target, UNDERTAKER_DOUBT);
    be_killed();
}

/* ---- the postmaster's part ---- */

static pid_t
start(enum child_kind kind, void (*what)(void))
{
    struct child_env env = { NULL, 0 };
    const struct child *child;
    pid_t youngest = 0;
    size_t at = 0;

    behave = what;
    assert_int_equal(children_start(kind, &env), OK);
    while ((child = children_alive(&at)) != NULL)
        youngest = child->pid; /* it is the last on the list */
    return youngest;
}

/* Until this child has ended and is told of. */
static void
await_end(pid_t pid)
{
    struct child ended = { .pid = 0 };

    while (ended.pid != pid)
        if (!children_ended(&ended))
            (void)usleep(500);
}

static void
await_state(pid_t pid, char state)
{
    struct life life = { '?', 0 };

    while (life_read(pid, &life) && life.state != state && life.state != 'Z')
        (void)usleep(500);
    assert_int_equal(life.state, state);
}

/* Until it has run since then. */
static void
await_run(pid_t pid)
{
    struct life before, after;

    assert_true(life_read(pid, &before));
    do {
        (void)usleep(500);
        assert_true(life_read(pid, &after));
    } while (after.ran == before.ran && after.state != 'Z');
    assert_int_not_equal(after.state, 'Z');
}

static void
release(pid_t pid)
{
    struct child child;

    assert_true(children_release(pid, &child));
}

static struct child *
find(pid_t pid)
{
    struct child *child;
    size_t at = 0;

    while ((child = children_zombie(&at)) != NULL && child->pid != pid)
        ;
    assert_non_null(child);
    return child;
}

/* A look, and all that the undertaker has said; it doubts nothing. */
static bool
look(void)
{
    enum burials_answer answer;
    pid_t pid;

    burials_look(now_ns += LOOK_NS);
    if (burials_hopeless())
        return false;
    burials_order();
    while ((answer = burials_next(&pid)) != BURIALS_NONE) {
        assert_int_equal(answer, BURIALS_DONE);
        release(pid);
    }
    return true;
}

/* After how many looks all are to be restarted; 0: after none of many. */
static unsigned
given_up_after(void)
{
    for (unsigned looks = 1; looks <= LOOKS_MAX; looks++)
        if (!look())
            return looks;
    return 0;
}

/* The undertaker has ended, as the postmaster finds it, and is buried at once. */
static void
inherit(pid_t undertaker)
{
    await_end(undertaker);
    burials_take_back();
    release(undertaker);
}

static int
set_up(void **state)
{
    (void)state;
    children_set_mains(mains);
    children_set_prepare(prepare);
    if (burials_fd() < 0)
        assert_int_equal(burials_open(), OK);
    now_ns = clock_now_ns();
    for (unsigned i = 0; i < DEAD; i++) {
        dead[i] = start(CHILD_BACKEND, be_killed);
        await_end(dead[i]);
    }
    return 0;
}

static int
tear_down(void **state)
{
    struct child *child;
    size_t at = 0;

    (void)state;
    while ((child = children_alive(&at)) != NULL) {
        (void)kill(child->pid, SIGKILL);
        await_end(child->pid);
        at = 0;
    }
    burials_forget();
    at = 0;
    while ((child = children_zombie(&at)) != NULL) {
        release(child->pid);
        at = 0;
    }
    return 0;
}

/* ---- undertakers that die ---- */

/* An undertaker is told of all, and dies over this one; who waits goes on waiting. */
static void
die_over(pid_t pid)
{
    pid_t undertaker;

    target = pid;
    undertaker = start(CHILD_UNDERTAKER, die_over_target);
    burials_order();
    inherit(undertaker);
}

static void
only_the_one_it_died_over_is_blamed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DEAD; i++) {
        die_over(dead[i]);
        assert_false(burials_hopeless());
    }
    die_over(dead[3]);
    die_over(dead[3]);
    assert_false(burials_hopeless());
    die_over(dead[3]);
    assert_true(burials_hopeless()); /* the fourth */
}

static void
one_that_died_before_it_began_blames_nobody(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 15; i++) {
        pid_t undertaker = start(CHILD_UNDERTAKER, wait_without_end);

        burials_order();
        (void)kill(undertaker, SIGKILL);
        inherit(undertaker);
        assert_false(burials_hopeless());
    }
    for (unsigned i = 0; i < DEAD; i++)
        assert_int_equal(find(dead[i])->deaths, 0);
}

static void
undertakers_that_never_bury_anybody_are_given_up(void **state)
{
    unsigned deaths = 0;

    (void)state;
    while (!burials_hopeless() && deaths < 100) {
        inherit(start(CHILD_UNDERTAKER, be_killed));
        deaths++;
    }
    assert_int_equal(deaths, 16);
}

static void
one_that_doubts_and_dies_is_blamed_for_it(void **state)
{
    (void)state;
    target = dead[2];
    inherit(start(CHILD_UNDERTAKER, doubt_and_die));
    assert_int_equal(find(target)->deaths, 1); /* so that no check is begun a second time */
}

/* ---- undertakers that do not get on ---- */

static void
one_that_stands_is_given_up(void **state)
{
    (void)state;
    await_state(start(CHILD_UNDERTAKER, wait_without_end), 'S');
    assert_in_range(given_up_after(), ENOUGH, ENOUGH + 2);
}

static void
one_that_was_stopped_is_given_up_whatever_others_wait_for(void **state)
{
    pid_t undertaker = start(CHILD_UNDERTAKER, wait_without_end);

    (void)state;
    await_state(start(CHILD_BACKEND, wait_for_disk), 'D');
    (void)kill(undertaker, SIGSTOP);
    await_state(undertaker, 'T');
    assert_in_range(given_up_after(), ENOUGH, ENOUGH + 2);
}

static void
one_that_nobody_can_look_at_is_given_up(void **state)
{
    struct rlimit before, none;
    unsigned looks;

    (void)state;
    (void)start(CHILD_UNDERTAKER, wait_for_disk);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0; /* so that no file of /proc can be opened */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    looks = given_up_after();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_in_range(looks, ENOUGH, ENOUGH + 2);
}

static void
one_that_runs_in_circles_is_given_up(void **state)
{
    pid_t undertaker = start(CHILD_UNDERTAKER, run_without_end);
    unsigned looks = 0;

    (void)state;
    do {
        await_run(undertaker);
        looks++;
    } while (look() && looks < LOOKS_MAX);
    assert_in_range(looks, ENOUGH, ENOUGH + 2);
}

static void
one_that_has_no_processor_is_waited_for(void **state)
{
    cpu_set_t before, one;
    pid_t undertaker;
    unsigned looks;

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (size_t cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &before))
            CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0); /* and its children */
    undertaker = start(CHILD_UNDERTAKER, run_last);
    await_state(undertaker, 'R');
    looks = given_up_after(); /* without a pause: who looks has the processor */
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(looks, 0);
}

static void
one_that_waits_for_the_disk_is_waited_for(void **state)
{
    (void)state;
    await_state(start(CHILD_UNDERTAKER, wait_for_disk), 'D');
    assert_int_equal(given_up_after(), 0);
}

static void
one_is_waited_for_while_another_waits_for_the_disk(void **state)
{
    pid_t leader = start(CHILD_BACKEND, wait_for_disk);

    (void)state;
    await_state(start(CHILD_UNDERTAKER, wait_without_end), 'S');
    await_state(leader, 'D');
    assert_int_equal(given_up_after(), 0);
    (void)kill(leader, SIGKILL);
    await_end(leader);
    assert_in_range(given_up_after(), ENOUGH - 2, ENOUGH + 2);
}

static void
nobody_is_given_up_who_is_not_there(void **state)
{
    (void)state;
    assert_int_equal(given_up_after(), 0);
}

/* ---- undertakers that are replaced ---- */

/* Looks that are enough to replace an undertaker; then it is ended by SIGUSR2.  Which signal did
   it: a SIGKILL that came before has its way. */
static int
signal_that_ended(pid_t undertaker)
{
    int code;

    for (unsigned i = 0; i < 10; i++) {
        assert_true(look());
        burials_hurry();
    }
    (void)kill(undertaker, SIGUSR2);
    await_end(undertaker);
    code = find(undertaker)->code;
    burials_take_back();
    release(undertaker);
    return code;
}

static void
one_that_waits_while_orders_lie_unread_is_replaced_and_nobody_blamed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        pid_t undertaker = start(CHILD_UNDERTAKER, wait_without_end);

        await_state(undertaker, 'S');
        assert_int_equal(signal_that_ended(undertaker), SIGKILL);
    }
    for (unsigned i = 0; i < DEAD; i++)
        assert_int_equal(find(dead[i])->deaths, 0);
}

static void
one_that_is_at_a_check_is_not_replaced(void **state)
{
    struct pollfd begun = { .fd = burials_fd(), .events = POLLIN };
    pid_t undertaker;

    (void)state;
    target = start(CHILD_BACKEND, be_faulty);
    await_end(target);
    undertaker = start(CHILD_UNDERTAKER, wait_over_target);
    burials_order();
    assert_int_equal(poll(&begun, 1, -1), 1);
    await_state(undertaker, 'S');
    dead[0] = start(CHILD_BACKEND, be_killed); /* an order that it does not read */
    await_end(dead[0]);
    assert_int_equal(signal_that_ended(undertaker), SIGUSR2);
}

static void
one_that_waits_for_the_disk_or_runs_is_not_replaced(void **state)
{
    pid_t undertaker = start(CHILD_UNDERTAKER, wait_for_disk);

    (void)state;
    await_state(undertaker, 'D');
    assert_int_equal(signal_that_ended(undertaker), SIGUSR2);
    undertaker = start(CHILD_UNDERTAKER, run_without_end);
    await_state(undertaker, 'R');
    assert_int_equal(signal_that_ended(undertaker), SIGUSR2);
}

/* Where a dead child's slot would be looked for. */
static int
make_segment(void **state)
{
    static const struct config config = { .server_max_connections = 4,
        .server_spare_backends_max = 2 };
    const struct region *const regions[] = { &proc_region };
    char name[64];

    (void)state;
    (void)snprintf(name, sizeof name, "/gneiss-test-%d", (int)getpid());
    return segment_create(regions, 1, &config, name) == OK ? 0 : -1;
}

static int
drop_segment(void **state)
{
    (void)state;
    segment_destroy();
    return 0;
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(only_the_one_it_died_over_is_blamed),
        WITH(one_that_died_before_it_began_blames_nobody),
        WITH(undertakers_that_never_bury_anybody_are_given_up),
        WITH(one_that_doubts_and_dies_is_blamed_for_it),
        WITH(one_that_stands_is_given_up),
        WITH(one_that_was_stopped_is_given_up_whatever_others_wait_for),
        WITH(one_that_nobody_can_look_at_is_given_up),
        WITH(one_that_runs_in_circles_is_given_up),
        WITH(one_that_has_no_processor_is_waited_for),
        WITH(one_that_waits_for_the_disk_is_waited_for),
        WITH(one_is_waited_for_while_another_waits_for_the_disk),
        WITH(nobody_is_given_up_who_is_not_there),
        WITH(one_that_waits_while_orders_lie_unread_is_replaced_and_nobody_blamed),
        WITH(one_that_is_at_a_check_is_not_replaced),
        WITH(one_that_waits_for_the_disk_or_runs_is_not_replaced),
    };

    return cmocka_run_group_tests(tests, make_segment, drop_segment);
}
