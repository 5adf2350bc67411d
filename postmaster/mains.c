/*
 * mains.c - what each kind of child does after fork.
 *
 * Signals of a child: TERM: end in order (a backend finishes its request first) · USR2: end the
 * request too (also sent by the kernel when the postmaster dies) · QUIT: exit at once · HUP: reread
 * the configuration · USR1: look at the latch · INT: ignored, so that Ctrl-C at a terminal reaches
 * the postmaster alone.
 */
#include "postmaster/mains.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/auth/auth.h"
#include "backend/command/cursors.h"
#include "backend/query/run.h"
#include "backend/session/backend.h"
#include "base/log.h"
#include "postmaster/title.h"
#include "postmaster/undertaker.h"
#include "shmem/interrupt.h"
#include "shmem/latch.h"
#include "shmem/proc.h"
#include "storage/collection/auxiliary.h"
#include "storage/collection/engine.h"
#include "storage/txn/txn.h"

#define STARTUP_MEMORY ((size_t)64 << 20)
#define EXIT_AT_ONCE   3

static enum interrupt on_term; /* const after mains_prepare */

static void
raise_on_term(int signal)
{
    (void)signal;
    interrupt_raise_self(on_term);
}

static void
raise_terminate(int signal)
{
    (void)signal;
    interrupt_raise_self(INTERRUPT_TERMINATE);
}

static void
raise_reload(int signal)
{
    (void)signal;
    interrupt_raise_self(INTERRUPT_RELOAD);
}

/* Whatever it holds is let go of by the undertaker: so not with 0, as one that ended in order. */
static void
exit_at_once(int signal)
{
    (void)signal;
    _exit(EXIT_AT_ONCE);
}

static void
handle(int signal, void (*handler)(int signal))
{
    struct sigaction action = { .sa_handler = handler };

    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(signal, &action, NULL);
}

/* Before a process has its slot there is nowhere to note a signal: until then they wait. */
static void
let_signals_in(void)
{
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

void
mains_prepare(enum child_kind kind)
{
    on_term = kind == CHILD_BACKEND ? INTERRUPT_SHUTDOWN : INTERRUPT_TERMINATE;
    handle(SIGTERM, raise_on_term);
    handle(SIGUSR2, raise_terminate);
    handle(SIGHUP, raise_reload);
    handle(SIGQUIT, exit_at_once);
    handle(SIGINT, SIG_IGN);
    handle(SIGPIPE, SIG_IGN);
    handle(SIGCHLD, SIG_DFL);
    latch_use_signal();
    if (kind == CHILD_STARTUP || kind == CHILD_CLOSER)
        let_signals_in();
}

static const struct mains_context *
enter(const struct child_env *env)
{
    const struct mains_context *context = env->context;

    for (unsigned i = 0; i < MAINS_PRIVATE_FDS; i++)
        (void)close(context->private_fd[i]);
    /* The descriptor of the directory's lock stays open: that is how a child keeps it locked. */
    return context;
}

/* The listening sockets are the backends' alone. */
static const struct mains_context *
enter_without_listeners(const struct child_env *env)
{
    const struct mains_context *context = enter(env);

    for (unsigned i = 0; i < context->listeners->count; i++)
        (void)close(context->listeners->listener[i].fd);
    return context;
}

/* Identity, keys, and an administrator: what the first login needs. */
static err_t
prepare_logins(const struct mains_context *context)
{
    struct op op = { .verb = "startup" };
    err_t err;

    TRY_RETURN(proc_attach(PROC_STARTUP));
    op.arena = arena_create("startup", STARTUP_MEMORY);
    err = op.arena != NULL ? auth_boot(&op, context->config, context->bootstrap_password)
                           : ERR_MEMORY;
    arena_destroy(op.arena);
    proc_detach();
    return err;
}

static int
run_startup(const struct child_env *env)
{
    const struct mains_context *context = enter_without_listeners(env);
    struct engine_info info;

    if (engine_recover(context->config, &info) != OK) {
        (void)fprintf(stderr, "Error: %s\n", err_message());
        return 1;
    }
    if (info.recovery.clean)
        log_info("the data directory had been closed in order");
    else
        log_info("recovered %ju log records (%ju bytes) in %jd ms%s",
            (uintmax_t)info.recovery.records, (uintmax_t)info.recovery.bytes,
            (intmax_t)(info.recovery.elapsed_ns / 1000000),
            info.recovery.torn_tail ? "; a half-written last record was left out" : "");
    if (info.recovery.compared > 0)
        log_info("wal.check: %ju replayed pages are as they were logged",
            (uintmax_t)info.recovery.compared);
    if (info.orphans > 0)
        log_info("removed %ju files that belonged to nobody", (uintmax_t)info.orphans);
    if (prepare_logins(context) != OK) {
        (void)fprintf(stderr, "Error: %s\n", err_message());
        return 1;
    }
    return 0;
}

static int
run_closer(const struct child_env *env)
{
    (void)enter_without_listeners(env);
    if (engine_close() != OK) {
        log_error("the last checkpoint failed, the next start recovers: %s", err_message());
        return 1;
    }
    return 0;
}

static const struct mains_context *settings;

/* Settings that a room below keeps a copy of. */
static void
hand_down(const struct config *config)
{
    run_configure((size_t)config->work_mem);
    txn_set_deadlock_timeout_ms(config->deadlock_timeout_ms);
}

static void
reload_settings(void)
{
    struct config *fresh = NULL;

    if (settings->load(&fresh) != OK || config_reload(settings->config, fresh) != OK)
        log_warn("the configuration stays as it is: %s", err_message());
    else
        settings->apply(settings->config);
    hand_down(settings->config);
    config_destroy(fresh);
    auth_reload();
}

static int
attach(enum proc_kind kind)
{
    if (proc_attach(kind) != OK) {
        log_error("%s", err_message());
        return 1;
    }
    let_signals_in();
    return 0;
}

static int
run_worker(const struct child_env *env, enum proc_kind kind, void (*work)(void))
{
    settings = enter_without_listeners(env);
    if (attach(kind) != 0)
        return 1;
    auxiliary_configure(settings->config, reload_settings);
    work();
    proc_detach();
    return 0;
}

static int
run_checkpointer(const struct child_env *env)
{
    return run_worker(env, PROC_CHECKPOINTER, auxiliary_checkpointer);
}

static int
run_wal_writer(const struct child_env *env)
{
    return run_worker(env, PROC_WAL_WRITER, auxiliary_wal_writer);
}

static int
run_buffer_writer(const struct child_env *env)
{
    return run_worker(env, PROC_BUFFER_WRITER, auxiliary_buffer_writer);
}

static int
run_undertaker(const struct child_env *env)
{
    settings = enter_without_listeners(env);
    if (attach(PROC_UNDERTAKER) != 0)
        return 1;
    undertaker_run(settings->orders_fd, settings->config, reload_settings);
    proc_detach();
    return 0;
}

/* Cursors that nobody comes back for hold vacuum back, so they end before its rounds. */
static void
end_idle_cursors(void)
{
    cursors_expire(settings->config->mongo_cursor_timeout_secs * 1000000000);
}

static int
run_autovacuum(const struct child_env *env)
{
    auxiliary_set_chore(end_idle_cursors);
    return run_worker(env, PROC_AUTOVACUUM, auxiliary_autovacuum);
}

static int
run_backend(const struct child_env *env)
{
    struct backend_env backend;
    int code;

    settings = enter(env);
    if (attach(PROC_BACKEND) != 0)
        return 1;
    proc_set_title_hook(title_amend);
    proc_set_state(PROC_IDLE);
    proc_describe("", "");
    hand_down(settings->config);
    backend = (struct backend_env){
        .config = settings->config,
        .listener = settings->listeners->listener,
        .listener_count = settings->listeners->count,
        .place = env->place,
        .parent_fd = settings->parent_fd,
        .nudge_fd = settings->nudge_fd,
        .reload = reload_settings,
    };
    code = backend_run(&backend);
    proc_detach();
    return code;
}

const struct child_main mains_table[CHILD_KIND_COUNT] = {
    [CHILD_STARTUP] = { "startup", run_startup, false, CHILD_DEATH_IS_FINAL },
    [CHILD_CLOSER] = { "closer", run_closer, false, CHILD_DEATH_IS_FINAL },
    [CHILD_CHECKPOINTER] = { "checkpointer", run_checkpointer, true, CHILD_DEATH_IS_BURIED },
    [CHILD_WAL_WRITER] = { "wal writer", run_wal_writer, true, CHILD_DEATH_IS_BURIED },
    [CHILD_BUFFER_WRITER] = { "buffer writer", run_buffer_writer, true, CHILD_DEATH_IS_BURIED },
    [CHILD_AUTOVACUUM] = { "autovacuum", run_autovacuum, true, CHILD_DEATH_IS_BURIED },
    [CHILD_UNDERTAKER] = { "undertaker", run_undertaker, true, CHILD_DEATH_IS_INHERITED },
    [CHILD_BACKEND] = { "backend", run_backend, false, CHILD_DEATH_IS_BURIED },
};
