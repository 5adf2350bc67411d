/*
 * session.c - one client's session.
 */
#include "backend/session/session.h"

#include <string.h>

#include "backend/session/scoreboard.h"
#include "base/clock.h"
#include "base/crit.h"
#include "base/log.h"
#include "base/panic.h"
#include "shmem/counters.h"
#include "shmem/interrupt.h"
#include "shmem/latch.h"
#include "shmem/ledger.h"
#include "shmem/lwlock.h"

#define SESSION_MEMORY ((size_t)64 << 20)

static const struct session_dialect *const dialects[SESSION_PROTOCOL_COUNT] = {
    [SESSION_TEXT] = &session_text_dialect,
    [SESSION_JSON] = &session_json_dialect,
    [SESSION_MONGO] = &session_mongo_dialect,
};

const struct session_dialect *
session_dialect(enum session_protocol protocol)
{
    return dialects[protocol];
}

void
session_request_begin(struct session *session, const char *verb)
{
    session->requests++;
    session->op.verb = verb;
    session->op.deadline_ns = 0;
    session->op.waits_since_ns = 0;
    arena_set_ceiling(session->op.arena, (size_t)session->config->session_memory_max);
    log_context.cmd = verb;
    if (!session->heard) {
        session->heard = true;
        scoreboard_set(session->place, SCOREBOARD_BUSY);
    }
    proc_set_state(PROC_BUSY);
    proc_begin_command(verb);
    interrupt_clear(INTERRUPT_CANCEL);
    counters_add(COUNTER_COMMANDS, 1);
}

void
session_request_end(struct session *session)
{
    invariant(ledger_empty());
    invariant(lwlock_none_held());
    invariant(!crit_active());
    arena_reset(session->op.arena);
    log_context.cmd = NULL;
    proc_end_command();
    proc_set_state(PROC_IDLE);
}

err_t
session_receive(struct session *session, size_t want, int64_t idle_timeout_secs)
{
    int64_t secs = session->heard ? idle_timeout_secs : session->config->server_login_timeout_secs;
    int64_t until_ns = secs > 0 ? clock_now_ns() + secs * 1000000000 : 0;
    err_t err;

    /* There is no request to be cancelled; only a silent connection is ended so. */
    do
        err = conn_receive(&session->conn, want, until_ns);
    while (err == ERR_INTERRUPTED && session->heard);
    return err;
}

static bool
begin(struct session *session, int fd, enum session_protocol protocol)
{
    const struct session_dialect *dialect = dialects[protocol];
    const struct config *config = session->config;

    session->protocol = protocol;
    session->heard = false;
    session->requests = 0;
    session->op.verb = "";
    session->op.deadline_ns = 0;
    if (conn_open(&session->conn, fd, dialect->request_max(config),
            (size_t)config->session_memory_max) != OK)
        return false;
    session->arena = arena_create("a session", SESSION_MEMORY);
    if (session->arena == NULL)
        return false;
    log_context.peer = session->conn.peer;
    log_context.protocol = dialect->name;
    proc_describe(dialect->name, session->conn.peer);
    return true;
}

static void
end(struct session *session)
{
    conn_close(&session->conn);
    arena_destroy(session->arena);
    session->arena = NULL;
    arena_reset(session->op.arena);
    log_context.peer = log_context.protocol = log_context.tenant = log_context.user = NULL;
    log_context.cmd = NULL;
    interrupt_clear(INTERRUPT_CANCEL);
    proc_describe("", "");
}

void
session_run(struct session *session, int fd, enum session_protocol protocol)
{
    err_t err;

    counters_add(COUNTER_CONNECTIONS, 1);
    if (begin(session, fd, protocol)) {
        log_debug("connected");
        err = dialects[protocol]->serve(session);
        if (err == ERR_MEMORY)
            log_warn("a session ends for want of memory: %s", err_message());
        else if (err != OK && err != ERR_HOST_UNREACHABLE)
            log_debug("disconnected: %s", err_message());
        else
            log_debug("disconnected after %ju requests", (uintmax_t)session->requests);
    } else {
        log_error("could not begin a session: %s", err_message());
    }
    end(session);
}

void
session_turn_away(struct session *session, int fd, enum session_protocol protocol, const char *why)
{
    if (begin(session, fd, protocol)) {
        log_warn("turned away: %s", why);
        dialects[protocol]->refuse(session, why);
    }
    end(session);
}
