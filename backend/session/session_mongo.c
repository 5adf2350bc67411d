/*
 * session_mongo.c - the MongoDB listener's conversations: frames in, commands run, frames out.
 *
 * All whole messages that have come are handled in a row; their replies leave together when no
 * whole message is left.  Every message is answered by itself, in order; one with moreToCome is not
 * answered at all, not even with an error: an answer would be taken for that of the next command.
 *
 * IF THE SESSION IS TOLD TO END, the command that runs is finished or interrupted by its own
 * checks and answered; then the connection is closed.  A client that sees it closed between
 * commands connects again; that is how drivers expect a server to stop.
 */
#include <string.h>

#include "backend/command/mongo.h"
#include "backend/session/session.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/wire/opreply.h"
#include "shmem/interrupt.h"
#include "shmem/proc.h"

#define REFUSE_WAIT_NS ((int64_t)200 * 1000000)
#define BUFFER_SLACK   ((size_t)64 << 10)

struct talk {
    struct session *session;
    struct mongo_client client;
    int32_t reply_id;
    char verb[PROC_TEXT_MAX]; /* of the request being handled; op.verb points here */
};

static size_t
request_max(const struct config *config)
{
    (void)config;
    return OPMSG_SIZE_MAX + BUFFER_SLACK;
}

/* Answer with what mongo_run, or the noted error, comes to.  Errors: the reply does not fit. */
static err_t
answer(struct talk *talk, const struct opmsg_request *request, bool run)
{
    struct buf *out = &talk->session->conn.out;
    struct opreply reply;
    err_t err;

    if (request->more_to_come) { /* not answered: what it says is dropped again */
        size_t before = out->size;

        err = run ? mongo_run(&talk->session->op, &talk->client, request, out) : OK;
        out->size = before;
        return err;
    }
    TRY_RETURN(opreply_begin(out, request, ++talk->reply_id, &reply));
    if (run)
        err = mongo_run(&talk->session->op, &talk->client, request, out);
    else
        err = mongo_error(out, false); /* opreply_begin has noted nothing over it */
    if (err != OK) {
        out->size = reply.start;
        return err;
    }
    return opreply_end(out, &reply);
}

/* One whole message.  *more: the connection goes on. */
static err_t
handle(struct talk *talk, struct bytes frame, bool *more)
{
    struct session *session = talk->session;
    struct opmsg_request request;
    enum opmsg_verdict verdict = opmsg_decode(frame, &request);
    err_t err;

    *more = verdict == OPMSG_RUN || verdict == OPMSG_REFUSE;
    if (verdict == OPMSG_DROP) {
        log_debug("dropped: %s", err_message());
        return OK;
    }
    if (verdict != OPMSG_RUN)
        return answer(talk, &request, false);
    mongo_describe(&request, talk->verb, sizeof talk->verb);
    session_request_begin(session, talk->verb);
    err = answer(talk, &request, true);
    session_request_end(session);
    if (err == OK)
        err = conn_flush_if_large(&session->conn);
    return err;
}

/* All whole messages that have come.  *want: bytes needed for the next. */
static err_t
handle_all(struct talk *talk, size_t *want, bool *more)
{
    struct conn *conn = &talk->session->conn;

    *more = true;
    *want = 0;
    while (*more) {
        struct bytes frame;

        switch (opmsg_frame(conn_waiting(conn), OPMSG_SIZE_MAX, &frame, want)) {
        case OPMSG_MORE:
            return OK;
        case OPMSG_BROKEN:
            log_debug("a message of an impossible length");
            *more = false;
            return OK;
        case OPMSG_WHOLE:
            TRY_RETURN(handle(talk, frame, more));
            conn_take(conn, frame.size);
            break;
        }
    }
    return OK;
}

static err_t
begin(struct session *session, struct talk *talk)
{
    struct net_address local;

    memset(talk, 0, sizeof *talk);
    talk->session = session;
    talk->client.config = session->config;
    talk->client.connection_id = (int32_t)(proc_self->index + 1);
    memcpy(talk->client.peer, session->conn.peer, sizeof talk->client.peer);
    TRY_RETURN(net_local(session->conn.fd, &local));
    net_format(&local, talk->client.local);
    return OK;
}

static err_t
serve(struct session *session)
{
    struct talk talk;
    bool more = true;
    err_t err;

    TRY_RETURN(begin(session, &talk));
    for (;;) {
        size_t want;

        TRY(handle_all(&talk, &want, &more));
        if (!more || session->conn.ended)
            break;
        TRY(session_receive(session, want, 0));
    }
    err = conn_flush(&session->conn);
out:
    return err;
}

/* The first message is a hello; it is answered with the reason. */
static void
refuse(struct session *session, const char *why)
{
    int64_t until_ns = clock_now_ns() + REFUSE_WAIT_NS;
    struct opmsg_request request;
    struct bytes frame;
    struct talk talk;
    size_t want = 0;

    if (begin(session, &talk) != OK)
        return;
    for (;;) {
        enum opmsg_frame found =
            opmsg_frame(conn_waiting(&session->conn), OPMSG_SIZE_MAX, &frame, &want);

        if (found == OPMSG_WHOLE)
            break;
        if (found == OPMSG_BROKEN || session->conn.ended ||
            conn_receive(&session->conn, want, until_ns) != OK)
            return;
    }
    if (opmsg_decode(frame, &request) == OPMSG_DROP)
        return;
    if (err_set(ERR_TOO_MANY, "%s", why) != OK && answer(&talk, &request, false) != OK)
        log_debug("could not even refuse: %s", err_message());
}

const struct session_dialect session_mongo_dialect = {
    .name = "mongo",
    .request_max = request_max,
    .serve = serve,
    .refuse = refuse,
};
