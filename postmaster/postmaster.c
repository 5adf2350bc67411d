/*
 * postmaster.c - the roof.
 *
 * STATES
 *
 *   STARTING ──startup done──▶ RUNNING ──TERM, INT──▶ DRAINING ──no backends──▶ SETTLING
 *      ▲                          │                                                │ no workers
 *      │                     child died badly                                      ▼
 *      └──all gone, memory anew── CRASHED                                       CLOSING ──▶ exit 0
 *
 *   QUIT in any state: children are killed, exit 0; the next start recovers.
 *   TERM while STARTING or CRASHED: as QUIT, there is nothing to be finished.
 *   A death while RUNNING or DRAINING is the undertaker's business; only what it cannot put right
 *   leads to CRASHED, or, when the server is stopping anyway, to an exit with 1 without a last
 *   checkpoint.  So does a bad death while SETTLING.
 *
 * INVARIANTS
 *   P1  Sockets that listen stay open through CRASHED and STARTING: clients wait in the backlog.
 *   P2  Shared memory is made anew only when no child is left.
 *   P3  There are always idle backends, up to spare_backends beyond max_connections, so that even
 *       the client that cannot be served is told so.
 *   P4  A fork that fails ends nothing: it is tried again, FORK_PAUSE_NS later.
 *   P5  No client waits for long while backends idle.  One that has woken a backend, which died or
 *       was stopped before it accepted (B1), wakes no other: a new backend finds him.
 */
#include "postmaster/postmaster.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "backend/command/cursors.h"
#include "backend/command/uptime.h"
#include "backend/session/scoreboard.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mutant.h"
#include "base/panic.h"
#include "postmaster/burials.h"
#include "postmaster/children.h"
#include "postmaster/mains.h"
#include "postmaster/title.h"
#include "postmaster/undertaker.h"
#include "storage/collection/engine.h"

/* For the lock and the addresses of a server that is just dying. */
#define START_WAIT_MS  10000
#define KILL_AFTER_NS  ((int64_t)5 * 1000000000)
#define FORK_PAUSE_NS  ((int64_t)1000000000)
#define DEATH_PAUSE_NS ((int64_t)100000000)  /* after a child that died young */
#define YOUNG_NS       ((int64_t)1000000000) /* and by itself */
#define STARTUPS_MAX   5u /* that may be killed in a row before the server gives up */
#define LOOK_MS        1000
#define MALLOC_LARGE   (256 << 10)
#define FILES_LEAST    64u   /* open at once in a process: below, nothing works for long */
#define FILES_WANTED   1024u /* more are no use */

enum state { STARTING, RUNNING, DRAINING, SETTLING, CLOSING, CRASHED, DONE };

static const char *const state_names[] = { "starting", "running", "draining", "settling", "closing",
    "recovering", "stopped" };

static const bool allowed[DONE + 1][DONE + 1] = {
    [STARTING] = { [RUNNING] = true, [CRASHED] = true, [DONE] = true },
    [RUNNING] = { [DRAINING] = true, [CRASHED] = true, [DONE] = true },
    [DRAINING] = { [SETTLING] = true, [DONE] = true },
    [SETTLING] = { [CLOSING] = true, [DONE] = true },
    [CLOSING] = { [DONE] = true },
    [CRASHED] = { [STARTING] = true, [DONE] = true },
};

static struct {
    const struct postmaster_options *options;
    struct listeners listeners;
    enum state state;
    int exit_code;
    int signal_fd;
    int nudge[2];
    int64_t fork_from_ns; /* nothing is forked before; P4 */
    bool fork_fails;      /* the last fork did, and that was said */
    unsigned startups;    /* killed in a row */
    bool backend_ended;   /* since it was last looked whether clients wait; P5 */
    bool clients_waited;  /* when that was */
    int64_t look_ns;      /* when to do so again, if none ends */
    int alive[2]; /* children hold the reading end; its end of file says that the parent is gone */
    int64_t drain_until_ns; /* then commands that still run are ended */
    int64_t kill_at_ns;     /* and then their processes */
} pm;

static void
move(enum state to)
{
    invariant(allowed[pm.state][to]);
    pm.state = to;
    title_set(state_names[to]);
    log_debug("postmaster: %s", state_names[to]);
}

static void
stop_now(int exit_code)
{
    children_signal_all(SIGKILL);
    listeners_close(&pm.listeners);
    pm.exit_code = exit_code;
    move(DONE);
}

/* --- children --- */

static bool
start(enum child_kind kind, unsigned place)
{
    struct mains_context context = {
        .config = pm.options->config,
        .load = pm.options->load,
        .apply = pm.options->apply,
        .bootstrap_password = pm.options->bootstrap_password,
        .listeners = &pm.listeners,
        .parent_fd = pm.alive[0],
        .nudge_fd = pm.nudge[1],
        .orders_fd = burials_undertaker_fd(),
        .private_fd = { pm.signal_fd, pm.nudge[0], pm.alive[1], burials_fd() },
    };
    struct child_env env = { .context = &context, .place = place };

    if (clock_now_ns() < pm.fork_from_ns)
        return false;
    if (children_start(kind, &env) != OK) {
        if (!pm.fork_fails)
            log_error("%s; trying again until it can be started", err_message());
        pm.fork_fails = true;
        pm.fork_from_ns = clock_now_ns() + FORK_PAUSE_NS;
        return false;
    }
    if (pm.fork_fails)
        log_info("processes can be started again");
    pm.fork_fails = false;
    return true;
}

/* One of those that there is one of, unless a dead one still has its place. */
static void
keep(enum child_kind kind)
{
    unsigned there = children_main(kind)->death == CHILD_DEATH_IS_INHERITED ? children_living(kind)
                                                                            : children_count(kind);

    if (there == 0)
        (void)start(kind, 0);
}

static void
keep_workers(void)
{
    for (unsigned kind = 0; kind < CHILD_KIND_COUNT; kind++)
        if (children_main((enum child_kind)kind)->worker)
            keep((enum child_kind)kind);
}

/* P5: at the end of a backend, and once a second: then those that waited the last time, too. */
static bool
clients_are_unheard(void)
{
    int64_t now_ns = clock_now_ns();
    bool waiting, unheard;

    if (!pm.backend_ended && now_ns < pm.look_ns)
        return false;
    waiting = listeners_pending(&pm.listeners);
    unheard = waiting && (pm.backend_ended || pm.clients_waited);
    pm.backend_ended = false;
    pm.clients_waited = waiting;
    pm.look_ns = now_ns + (int64_t)LOOK_MS * 1000000;
    return unheard;
}

/* P3. */
static void
keep_backends(void)
{
    unsigned wanted = (unsigned)pm.options->config->server_spare_backends_min;
    struct scoreboard_sums sums;
    unsigned ready;

    scoreboard_sum(&sums);
    ready = sums.idle + sums.starting;
    if (clients_are_unheard() && ready >= wanted &&
        ready <= (unsigned)pm.options->config->server_spare_backends_max)
        wanted = ready + 1;
    for (unsigned place = 0; ready < wanted && place < scoreboard_places(); place++) {
        if (scoreboard_get(place) != SCOREBOARD_EMPTY)
            continue;
        scoreboard_set(place, SCOREBOARD_STARTING);
        if (!start(CHILD_BACKEND, place)) {
            scoreboard_set(place, SCOREBOARD_EMPTY);
            return;
        }
        ready++;
    }
}

static void
begin_recovery(void)
{
    move(STARTING);
    keep(CHILD_STARTUP);
}

static void
begin_running(void)
{
    if (listeners_listen(&pm.listeners) != OK) {
        (void)fprintf(stderr, "Error: %s\n", err_message());
        stop_now(1);
        return;
    }
    pm.startups = 0;
    move(RUNNING);
    keep_workers();
    keep_backends();
    log_info("ready");
}

/* --- deaths --- */

static bool
ended_well(const struct child *child)
{
    return !child->by_signal && child->code == 0;
}

static void
report_death(const struct child *child)
{
    const char *title = children_main(child->kind)->title;

    if (child->by_signal)
        log_error("%s (process %ld) was ended by signal %d (%s)", title, (long)child->pid,
            child->code, strsignal(child->code));
    else
        log_error("%s (process %ld) exited with code %d", title, (long)child->pid, child->code);
}

/* What a child held in shared memory is in doubt. */
static void
crash(void)
{
    if (pm.state == DRAINING || pm.state == SETTLING) {
        log_error("stopping without a last checkpoint; the next start recovers");
        stop_now(1);
        return;
    }
    log_error("restarting all processes from the log");
    children_signal_all(SIGKILL);
    move(CRASHED);
}

/* Let the zombie go; its place may be given to another backend. */
static void
release(pid_t pid)
{
    struct child child;

    if (children_release(pid, &child) && child.kind == CHILD_BACKEND && pm.state != CRASHED &&
        !mutant(MUTANT_LEFT_SEAT))
        scoreboard_set(child.place, SCOREBOARD_EMPTY);
}

/* Those that waited for an undertaker who will not come. */
static void
release_zombies(void)
{
    const struct child *child;
    size_t at = 0;

    burials_forget();
    while ((child = children_zombie(&at)) != NULL) {
        release(child->pid);
        at = 0;
    }
}

/* Have the dead buried, and take note of who is. */
static void
bury(void)
{
    enum burials_answer answer;
    pid_t pid;

    burials_look(clock_now_ns());
    if (burials_hopeless()) {
        crash();
        return;
    }
    burials_order();
    while ((answer = burials_next(&pid)) != BURIALS_NONE) {
        if (answer == BURIALS_DOUBT) {
            crash();
            return;
        }
        release(pid);
    }
    burials_hurry();
}

/* The startup process.  Recovery can begin anew as often as it is killed. */
static void
handle_end_of_startup(const struct child *child)
{
    release(child->pid);
    if (ended_well(child)) {
        begin_running();
    } else if (child->by_signal && !undertaker_is_internal(child->code) &&
               ++pm.startups < STARTUPS_MAX) {
        report_death(child);
        move(CRASHED);
    } else {
        if (child->by_signal)
            report_death(child);
        stop_now(1); /* it said why */
    }
}

static void
handle_end_of_closer(const struct child *child)
{
    bool well = ended_well(child);

    if (!well)
        report_death(child);
    release(child->pid);
    pm.exit_code = well ? 0 : 1;
    move(DONE);
}

/* One that died as soon as it lived, and not because it was killed, may do so again: not in a
   circle that takes the whole processor. */
static void
note_young(const struct child *child)
{
    int64_t now_ns = clock_now_ns();
    bool killed = child->by_signal && !undertaker_is_internal(child->code);

    if (!killed && child->ended_ns - child->started_ns < YOUNG_NS &&
        pm.fork_from_ns < now_ns + DEATH_PAUSE_NS)
        pm.fork_from_ns = now_ns + DEATH_PAUSE_NS;
}

static void
handle_end_of(const struct child *child)
{
    bool well = ended_well(child);

    if (pm.state == CRASHED || pm.state == DONE) {
        release(child->pid);
        return;
    }
    if (child->kind == CHILD_STARTUP) {
        handle_end_of_startup(child);
        return;
    }
    if (child->kind == CHILD_CLOSER) {
        handle_end_of_closer(child);
        return;
    }
    if (!well) {
        report_death(child);
        note_young(child);
    }
    if (pm.state == SETTLING) { /* there is no undertaker any more, or it is just leaving */
        release(child->pid);
        if (!well)
            crash();
        return;
    }
    if (child->kind == CHILD_BACKEND)
        pm.backend_ended = true;
    /* Also one that ended well is looked at: whoever ends it may be wrong about that. */
    if (child->kind == CHILD_UNDERTAKER) {
        burials_take_back();
        if (child->by_signal && undertaker_is_internal(child->code))
            crash();
    }
}

static void
look_for_ends(void)
{
    struct child child;

    while (children_ended(&child))
        handle_end_of(&child);
}

/* --- stopping --- */

static void
begin_draining(void)
{
    int64_t now_ns = clock_now_ns();

    log_info("stopping");
    listeners_close(&pm.listeners);
    pm.drain_until_ns =
        now_ns + pm.options->config->server_shutdown_timeout_secs * (int64_t)1000000000;
    pm.kill_at_ns = pm.drain_until_ns + KILL_AFTER_NS;
    children_signal(CHILD_BACKEND, SIGTERM);
    move(DRAINING);
}

static void
hurry(void)
{
    int64_t now_ns = clock_now_ns();

    if (now_ns >= pm.kill_at_ns) {
        log_error("processes that do not end are killed; the next start recovers");
        stop_now(1);
    } else if (now_ns >= pm.drain_until_ns) {
        if (pm.state == DRAINING)
            children_signal(CHILD_BACKEND, SIGUSR2); /* the undertaker is needed still */
        else
            children_signal_all(SIGUSR2);
    }
}

/* What the present state is waiting for may have come. */
static void
advance(void)
{
    switch (pm.state) {
    case RUNNING:
        keep_workers(); /* the undertaker, who is told what there is to do */
        bury();
        if (pm.state == RUNNING)
            keep_backends();
        break;
    case DRAINING:
        keep(CHILD_UNDERTAKER);
        bury();
        if (pm.state != DRAINING)
            break;
        if (children_count(CHILD_BACKEND) > 0 || children_zombie(&(size_t){ 0 }) != NULL) {
            hurry();
            break;
        }
        children_signal_all(SIGTERM);
        move(SETTLING);
        break;
    case SETTLING:
        if (children_count_all() > 0) {
            hurry();
            break;
        }
        move(CLOSING);
        keep(CHILD_CLOSER);
        break;
    case CRASHED:
        release_zombies();
        if (children_count_all() > 0)
            break;
        if (engine_reset(pm.options->config) != OK) { /* P2 */
            log_fatal("%s", err_message());
            stop_now(1);
            break;
        }
        begin_recovery();
        break;
    case STARTING:
        keep(CHILD_STARTUP);
        break;
    case CLOSING:
        keep(CHILD_CLOSER);
        break;
    case DONE:
        break;
    }
}

/* --- signals --- */

static void
reload(void)
{
    struct config *fresh = NULL;

    if (pm.options->load(&fresh) != OK || config_reload(pm.options->config, fresh) != OK) {
        log_error("the configuration stays as it is: %s", err_message());
    } else {
        pm.options->apply(pm.options->config);
        config_warn_unchanged(pm.options->config, fresh);
        log_info("configuration reloaded");
        children_signal_all(SIGHUP);
    }
    config_destroy(fresh);
}

static void
handle_signal(int signal)
{
    switch (signal) {
    case SIGTERM:
    case SIGINT:
        if (pm.state == RUNNING)
            begin_draining();
        else if (pm.state == STARTING || pm.state == CRASHED)
            stop_now(0);
        break;
    case SIGQUIT:
        log_info("stopping at once");
        if (pm.state != DONE)
            stop_now(0);
        break;
    case SIGHUP:
        reload();
        break;
    default: /* SIGCHLD: reap looks */
        break;
    }
}

static void
take_signals(void)
{
    struct signalfd_siginfo info;

    while (read(pm.signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        handle_signal((int)info.ssi_signo);
}

static void
drain_nudges(void)
{
    char bytes[256];

    while (read(pm.nudge[0], bytes, sizeof bytes) > 0)
        ;
}

/* How long to sleep if nothing happens. */
static int
pause_ms(void)
{
    int64_t rest_ms = (pm.fork_from_ns - clock_now_ns()) / 1000000 + 1;
    int look_ms = children_zombie(&(size_t){ 0 }) != NULL ? BURIALS_LOOK_MS : LOOK_MS;

    return rest_ms > 0 && rest_ms < look_ms ? (int)rest_ms : look_ms;
}

static void
loop(void)
{
    struct pollfd wait_for[] = {
        { .fd = pm.signal_fd, .events = POLLIN },
        { .fd = pm.nudge[0], .events = POLLIN },
        { .fd = burials_fd(), .events = POLLIN },
    };

    while (pm.state != DONE) {
        (void)poll(wait_for, sizeof wait_for / sizeof wait_for[0], pause_ms());
        drain_nudges();
        take_signals();
        look_for_ends();
        advance();
    }
    children_signal_all(SIGKILL);
    while (children_count_all() > 0) { /* zombies waiting for the undertaker included */
        struct child child;

        if (!children_ended(&child))
            (void)usleep(1000);
        release_zombies();
    }
}

/* --- bring-up --- */

/* What a large request took goes back to the system when it is freed.  Left alone, glibc keeps up
 * to 64 MiB in each process that has once freed a block of 32 MiB. */
static void
give_memory_back(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, MALLOC_LARGE);
    (void)mallopt(M_TRIM_THRESHOLD, MALLOC_LARGE);
}

static err_t
catch_signals(void)
{
    sigset_t set, ours;

    /* Children begin with these blocked, until they have handlers and a slot (let_signals_in); and
       a stray one does not end the postmaster. */
    (void)sigemptyset(&ours);
    (void)sigaddset(&ours, SIGUSR1);
    (void)sigaddset(&ours, SIGUSR2);
    (void)sigprocmask(SIG_BLOCK, &ours, NULL);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGQUIT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    pm.signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (pm.signal_fd < 0)
        return err_set_errno("could not wait for signals");
    return OK;
}

/* Whoever asks for protection that is not there yet must not believe to have it. */
static err_t
check_offered(const struct config *config)
{
    if (config->tls_enabled || config->json_tls)
        return err_set(ERR_CONFIG, "%s: TLS is not offered yet",
            config->tls_enabled ? "tls.enabled" : "json.tls");
    return OK;
}

/* As many open files as are of use, if they can be had. */
static err_t
check_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return OK; /* then we shall see */
    if (limit.rlim_cur < FILES_WANTED && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max < FILES_WANTED ? limit.rlim_max : FILES_WANTED;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < FILES_LEAST)
        return err_set(ERR_TOO_MANY,
            "could not start with %ju open files a process, %u are needed at least: raise the "
            "limit "
            "(ulimit -n)",
            (uintmax_t)limit.rlim_cur, FILES_LEAST);
    return OK;
}

static err_t
bring_up(const struct postmaster_options *options)
{
    const struct config *config = options->config;
    const struct region *const more[] = { &scoreboard_region, &cursors_region, &uptime_region };

    TRY_RETURN(check_offered(config));
    TRY_RETURN(check_files());
    if (!engine_exists(config->server_data_dir)) {
        TRY_RETURN(engine_create(config->server_data_dir, (uint32_t)config->page_size));
        log_info("made the data directory '%s'", config->server_data_dir);
    }
    TRY_RETURN(catch_signals());
    if (pipe2(pm.nudge, O_NONBLOCK | O_CLOEXEC) != 0 || pipe2(pm.alive, O_CLOEXEC) != 0)
        return err_set_errno("could not make a pipe");
    TRY_RETURN(burials_open());
    TRY_RETURN(engine_open(
        config, config->server_data_dir, more, sizeof more / sizeof more[0], START_WAIT_MS, true));
    return listeners_bind(&pm.listeners, config, options->given, START_WAIT_MS);
}

int
postmaster_run(const struct postmaster_options *options)
{
    pm.options = options;
    log_context.process = "postmaster";
    give_memory_back();
    (void)signal(SIGPIPE, SIG_IGN); /* also whoever read the log may go away */
    (void)signal(SIGXFSZ, SIG_IGN); /* ulimit -f is an error like a full disk, told by EFBIG */
    if (bring_up(options) != OK) {
        (void)fprintf(stderr, "Error: %s\n", err_message());
        return 1;
    }
    children_set_mains(mains_table);
    children_set_prepare(mains_prepare);
    title_set(state_names[STARTING]);
    keep(CHILD_STARTUP); /* P4 */
    loop();
    engine_release();
    log_info("stopped");
    return pm.exit_code;
}
