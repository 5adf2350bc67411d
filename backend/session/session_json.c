/*
 * session_json.c - the JSON-lines language: lines in, one reply each.
 *
 * All requests that have come in are answered before anything is sent, so that a pipeline costs one
 * write; a reply that has grown large leaves at once.  The server never speaks first.
 *
 * INVARIANTS
 *   S1  Each line that is not blank is answered with exactly one line, in order; but for a line
 *       that is not UTF-8, which ends the connection.
 *   S2  Nothing but json_verb_is_open's verbs runs for a peer that is not trusted (4.2, 4.3).
 *
 * IF A PROCESS DIES: the client sees its connection end; what the request changed is decided by
 * its commit record.  Cursors of the session are ended by their timeout.
 */
#include <string.h>

#include "backend/command/cursors.h"
#include "backend/command/json_error.h"
#include "backend/command/json_verb.h"
#include "backend/session/session.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/wire/jsonline.h"
#include "base/wire/jsonreply.h"
#include "shmem/interrupt.h"

#define LINE_END       1               /* a newline beside the request */
#define RECEIVE_MARGIN ((size_t)65536) /* what may come in behind an unfinished request */
#define SCRATCH_KEEP   ((size_t)65536)

static const struct bytes unknown_id = { (const uint8_t *)"unknown", 7 };

/* One client's conversation. */
struct talk {
    struct session *session;
    struct textline framer;
    struct buf decoded; /* the request as BSON, or why it is none */
    struct buf scratch; /* the verbs' */
    bool trusted;
    bool keeps_cursors;
    uint64_t owner; /* key of its cursors */
};

static size_t
line_max(const struct config *config)
{
    return (size_t)config->json_max_request_bytes + LINE_END;
}

static size_t
request_max(const struct config *config)
{
    return line_max(config) + RECEIVE_MARGIN;
}

static uint64_t
since_us(int64_t began_ns)
{
    return (uint64_t)(clock_now_ns() - began_ns) / 1000;
}

/* S1: where there is no room for a reply beside those that wait, they are sent first. */
static err_t
put_error(struct talk *talk, struct bytes id, struct bytes text, uint64_t time_us)
{
    struct conn *conn = &talk->session->conn;

    counters_add(COUNTER_ERRORS, 1);
    if (jsonreply_error(&conn->out, id, text, time_us) == OK)
        return OK;
    TRY_RETURN(conn_flush(conn));
    return jsonreply_error(&conn->out, id, text, time_us);
}

/* Why this peer may not ask this now; NULL: it may. */
static const char *
refusal(const struct talk *talk, const struct jsonline_request *request)
{
    if (request->has_auth_token)
        return "Authentication failed: tokens are not offered yet";
    if (!talk->trusted && !json_verb_is_open(request->verb)) /* S2 */
        return "Authentication failed: authentication required";
    return NULL;
}

static err_t
answer(struct talk *talk, const struct jsonline_request *request, int64_t began_ns)
{
    struct session *session = talk->session;
    struct buf *out = &session->conn.out;
    struct json_call call = { .op = &session->op,
        .config = session->config,
        .tenant = session->config->server_default_tenant,
        .owner = talk->owner,
        .verb = request->verb,
        .command = request->command,
        .out = out,
        .scratch = &talk->scratch };
    const char *why = refusal(talk, request);
    size_t before = out->size;
    err_t err;

    if (why != NULL)
        return put_error(talk, request->request_id, bytes_of(why), since_us(began_ns));
    err = jsonreply_begin(out, request->request_id);
    if (err == OK)
        err = json_verb_answer(&call);
    if (err == OK)
        err = jsonreply_end(out, since_us(began_ns));
    talk->keeps_cursors |= call.keeps_cursor;
    if (err == OK)
        return OK;
    out->size = before;
    return put_error(talk, request->request_id, json_error_text(&call, err), since_us(began_ns));
}

static err_t
answer_line(struct talk *talk, struct bytes line)
{
    int64_t began_ns = clock_now_ns();
    struct jsonline_request request;
    bool refused;
    err_t err = jsonline_decode(&talk->decoded, line, &request, &refused);

    session_request_begin(
        talk->session, err == OK && !refused ? jsonline_type(request.verb) : "unreadable");
    if (err != OK)
        err = put_error(talk, unknown_id,
            bytes_of("Parse error: the request needs too much memory"), JSONREPLY_NO_TIME);
    else if (refused)
        err = put_error(talk, unknown_id, buf_bytes(&talk->decoded), JSONREPLY_NO_TIME);
    else
        err = answer(talk, &request, began_ns);
    session_request_end(talk->session);
    buf_shrink(&talk->decoded, SCRATCH_KEEP);
    buf_shrink(&talk->scratch, SCRATCH_KEEP);
    return err == OK ? conn_flush_if_large(&talk->session->conn) : err;
}

static err_t
answer_too_long(struct talk *talk)
{
    err_t err;

    session_request_begin(talk->session, "unreadable");
    err = jsonline_too_long(&talk->decoded, talk->framer.limit - LINE_END);
    if (err == OK)
        err = put_error(talk, unknown_id, buf_bytes(&talk->decoded), JSONREPLY_NO_TIME);
    session_request_end(talk->session);
    return err;
}

/* Once a request has been answered, the session may have to end (1.9). */
static err_t
check_end(void)
{
    if (interrupt_pending(INTERRUPT_SHUTDOWN))
        return err_set(ERR_SHUTDOWN, "server is shutting down");
    if (interrupt_pending(INTERRUPT_TERMINATE))
        return err_set(ERR_TERMINATED, "the session was ended");
    return OK;
}

static err_t
converse(struct talk *talk)
{
    struct session *session = talk->session;
    struct conn *conn = &session->conn;

    for (;;) {
        struct bytes line;
        size_t consumed;
        enum textline_result result =
            jsonline_next(&talk->framer, conn_waiting(conn), conn->ended, &line, &consumed);

        conn_take(conn, consumed);
        switch (result) {
        case TEXTLINE_MORE:
            TRY_RETURN(session_receive(session, 0, session->config->json_idle_timeout_secs));
            break;
        case TEXTLINE_LINE:
            TRY_RETURN(check_end());
            TRY_RETURN(answer_line(talk, line));
            break;
        case TEXTLINE_TOO_LONG:
            TRY_RETURN(answer_too_long(talk));
            break;
        case TEXTLINE_NOT_UTF8:
            return err_set(ERR_PROTOCOL, "a line is not UTF-8");
        default:
            return conn_flush(conn);
        }
    }
}

static bool
is_trusted(const struct session *session)
{
    struct net_address peer;

    return !session->config->json_auth_enabled && net_peer(session->conn.fd, &peer) == OK &&
           net_list_match(session->config->json_trusted, &peer);
}

static err_t
serve(struct session *session)
{
    size_t memory_max = (size_t)session->config->session_memory_max;
    struct talk talk = { .session = session, .trusted = is_trusted(session) };
    err_t err;

    textline_init(&talk.framer, line_max(session->config));
    talk.decoded = buf_init(memory_max);
    talk.scratch = buf_init(memory_max);
    rand_secure(&talk.owner, sizeof talk.owner);
    talk.owner |= 1; /* 0 would be nobody's */
    session->conn.quick_ack = true;
    log_context.tenant = session->config->server_default_tenant;
    err = converse(&talk);
    if (talk.keeps_cursors)
        cursors_end_owner(talk.owner);
    buf_fini(&talk.decoded);
    buf_fini(&talk.scratch);
    return err;
}

static void
refuse(struct session *session, const char *why)
{
    const char *text = arena_printf(session->op.arena, "Network error: %s", why);

    if (text != NULL)
        (void)!jsonreply_error(&session->conn.out, unknown_id, bytes_of(text), JSONREPLY_NO_TIME);
}

const struct session_dialect session_json_dialect = { "json", request_max, serve, refuse };
