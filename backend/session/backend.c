/*
 * backend.c - the life of a backend.
 *
 * All backends wait on the same listening sockets, one epoll set each with EPOLLEXCLUSIVE, so that
 * a new client wakes one of them.  There are always spare ones beyond max_connections
 * (see the postmaster): when all places are taken, such a one accepts, and either gets a
 * place by ending the connection that has been silent longest, or turns the client away in its
 * own language.
 *
 * INVARIANTS
 *   B1  Whoever was woken for a client accepts before anything else: no other is woken for that
 *       one.  If it dies before, the postmaster sees to the client (its P5).
 */
#include "backend/session/backend.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "backend/session/scoreboard.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/net.h"
#include "shmem/interrupt.h"
#include "shmem/latch.h"

#define EVENTS_MAX      8
#define PARENT_TAG      UINT32_MAX
#define SILENT_LEAST_NS ((int64_t)100 * 1000000)
#define EVICT_WAIT_NS   ((int64_t)200 * 1000000)
#define EVICT_LOOK_NS   ((int64_t)5 * 1000000)
#define ACCEPT_PAUSE_NS ((int64_t)100 * 1000000)

static err_t
watch(int epoll_fd, int fd, uint32_t events, uint32_t tag)
{
    struct epoll_event event = { .events = events, .data.u32 = tag };

    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        return err_set_errno("could not watch a socket");
    return OK;
}

static err_t
open_epoll(const struct backend_env *env, int *epoll_fd)
{
    err_t err;

    *epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (*epoll_fd < 0)
        return err_set_errno("could not make an epoll set");
    for (unsigned i = 0; i < env->listener_count; i++)
        TRY(watch(*epoll_fd, env->listener[i].fd, EPOLLIN | EPOLLEXCLUSIVE, i));
    TRY(watch(*epoll_fd, env->parent_fd, EPOLLIN, PARENT_TAG));
out:
    if (err != OK)
        (void)close(*epoll_fd);
    return err;
}

static void
nudge(const struct backend_env *env)
{
    (void)!write(env->nudge_fd, "", 1); /* a full pipe is nudge enough */
}

/* Is there a place for one more, sessions and silent connections counted, the own not?  If not, try
   to win one from a silent connection; after a burst of them that means to wait a moment. */
static bool
win_place(const struct backend_env *env)
{
    unsigned most = (unsigned)env->config->server_max_connections;
    int64_t until_ns = clock_now_ns() + EVICT_WAIT_NS;
    struct scoreboard_sums sums;

    for (;;) {
        scoreboard_sum(&sums);
        if (sums.busy + sums.silent < most)
            return true;
        if (sums.silent == 0 || clock_now_ns() >= until_ns ||
            interrupt_pending(INTERRUPT_TERMINATE))
            return false;
        (void)scoreboard_evict_silent(SILENT_LEAST_NS); /* none may be ripe yet */
        (void)latch_wait(clock_now_ns() + EVICT_LOOK_NS);
        latch_clear();
    }
}

/* More idle backends than are wanted: this one may go. */
static bool
superfluous(const struct backend_env *env)
{
    struct scoreboard_sums sums;

    scoreboard_sum(&sums);
    return sums.idle > (unsigned)env->config->server_spare_backends_max;
}

/* Accept one client, if another backend was not quicker, and serve it. */
static void
serve_one(
    const struct backend_env *env, struct session *session, const struct backend_listener *listener)
{
    struct net_address peer;
    int fd;

    (void)fault_pass(FAULT_CLIENT_WAITS); /* nobody else was woken: B1 */
    if (net_accept(listener->fd, &fd, &peer) != OK) {
        log_error("%s", err_message());
        (void)latch_wait(clock_now_ns() + ACCEPT_PAUSE_NS); /* the client waits, too */
        return;
    }
    if (fd < 0)
        return; /* another backend was quicker */
    if (win_place(env)) {
        scoreboard_set(env->place, SCOREBOARD_SILENT);
        nudge(env);
        session_run(session, fd, listener->protocol);
    } else {
        session_turn_away(session, fd, listener->protocol, "too many connections");
    }
    scoreboard_set(env->place, SCOREBOARD_IDLE);
}

/* Wait for clients; false: it is time to end.  Signals come only inside epoll_pwait between looking
   at the interrupts and having slept: so no wake-up can slip through. */
static bool
wait_and_serve(const struct backend_env *env, struct session *session, int epoll_fd)
{
    struct epoll_event events[EVENTS_MAX];
    sigset_t wakers, before, none;
    bool ending, failed;
    int count;

    (void)sigemptyset(&wakers);
    (void)sigaddset(&wakers, SIGTERM);
    (void)sigaddset(&wakers, SIGUSR2);
    (void)sigprocmask(SIG_BLOCK, &wakers, &before);
    (void)sigemptyset(&none);
    latch_clear();
    interrupt_clear(INTERRUPT_CANCEL);
    ending = interrupt_pending(INTERRUPT_TERMINATE) || interrupt_pending(INTERRUPT_SHUTDOWN);
    count = ending ? 0 : epoll_pwait(epoll_fd, events, EVENTS_MAX, -1, &none);
    failed = count < 0 && errno != EINTR;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    if (ending || failed)
        return false;
    if (interrupt_take(INTERRUPT_RELOAD))
        env->reload();
    for (int i = 0; i < count; i++) {
        if (events[i].data.u32 == PARENT_TAG)
            return false;
        serve_one(env, session, &env->listener[events[i].data.u32]);
    }
    return true;
}

int
backend_run(const struct backend_env *env)
{
    struct session session = {
        .config = env->config, .place = env->place, .conn = { .fd = -1, .reload = env->reload }
    };
    int64_t sessions = 0;
    int epoll_fd;

    session.op.arena = arena_create("a request", (size_t)env->config->session_memory_max);
    if (session.op.arena == NULL || open_epoll(env, &epoll_fd) != OK) {
        log_error("a backend could not start: %s", err_message());
        return 1;
    }
    scoreboard_set_proc(env->place, proc_self->index);
    scoreboard_set(env->place, SCOREBOARD_IDLE);
    nudge(env);
    while (wait_and_serve(env, &session, epoll_fd) &&
           ++sessions < env->config->server_sessions_per_backend && !superfluous(env))
        ;
    scoreboard_set(env->place, SCOREBOARD_ENDING);
    nudge(env);
    conn_fini(&session.conn);
    arena_destroy(session.op.arena);
    (void)close(epoll_fd);
    return 0;
}
