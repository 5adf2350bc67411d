/*
 * session.h - one client's session, from accept to close, in one backend.
 *
 * The backend forgets everything about a session when it is over: what a dialect keeps (users,
 * selections, cursors, transactions) hangs in the session's arena or is ended by its `serve`.
 */
#ifndef BACKEND_SESSION_SESSION_H
#define BACKEND_SESSION_SESSION_H

#include <stdbool.h>

#include "backend/session/conn.h"
#include "base/config.h"
#include "base/op.h"

enum session_protocol { SESSION_TEXT, SESSION_JSON, SESSION_MONGO, SESSION_PROTOCOL_COUNT };

struct session {
    struct conn conn;
    enum session_protocol protocol;
    struct op op;        /* of the current request; its arena is reset after each */
    struct arena *arena; /* of the session */
    const struct config *config;
    unsigned place; /* on the scoreboard */
    uint64_t requests;
    bool heard; /* has sent a whole request */
};

/* A language: one row each in session_dialects. */
struct session_dialect {
    const char *name; /* "text", for logs, titles and counters */
    size_t (*request_max)(const struct config *config);
    /* Talk until the client leaves, an error ends the connection, or the session is told to end
       (then say so in the dialect's own words first).  Returns why it ended: OK: the client left.
     */
    err_t (*serve)(struct session *session);
    /* Tell a client that it cannot be served (all places taken, or the server stops), into
     * conn.out. */
    void (*refuse)(struct session *session, const char *why);
};
extern const struct session_dialect session_text_dialect, session_json_dialect,
    session_mongo_dialect;
const struct session_dialect *session_dialect(enum session_protocol protocol);

/* To be called by dialects: a whole request has come; begins its op (deadline none), counts, sets
   states and title. `verb`: static text. */
void session_request_begin(struct session *session, const char *verb);
/* Its reply is in conn.out: resets the op's arena, and checks that the request holds nothing any
 * more. */
void session_request_end(struct session *session);
/* Wait for more input, with the idle timeout in seconds (0: none), or for the first request with
   the deadline for silent connections.  As conn_receive. */
err_t session_receive(struct session *session, size_t want, int64_t idle_timeout_secs) MUST_CHECK;

/* Serve an accepted socket to the end. */
void session_run(struct session *session, int fd, enum session_protocol protocol);
/* Answer that there is no place, and close. */
void session_turn_away(
    struct session *session, int fd, enum session_protocol protocol, const char *why);

#endif
