/*
 * session_text.c - the text protocol's session: banner, lines, replies.
 *
 * Lines are cut from what has come; each is answered in order; what was answered leaves when no
 * further whole line has come, or when it is much.  A line that is too long is discarded as it
 * comes, so a client costs at most one line of memory besides its replies.
 *
 * INVARIANTS
 *   T1  Every line that is not too long, UTF-8 and not the last of a closed connection gets exactly
 *       one reply, in the order of the lines.
 *   T2  A session whose bad lines (too long, or not to be parsed) come to eleven in a row is closed
 *       after the eleventh reply; any line that parses begins anew.
 */
#include "backend/command/text_run.h"
#include "backend/session/session.h"
#include "base/log.h"
#include "base/wire/textline.h"
#include "shmem/interrupt.h"

#define STREAK_MAX 11
#define SEND_AT    ((size_t)64 << 10)
#define SLACK      ((size_t)64 << 10) /* beyond one line: so that a pipeline comes in few pieces */

struct talk {
    struct session *session;
    struct text_run run;
    struct textline framer;
    unsigned streak; /* bad lines in a row */
    bool closing;
};

static size_t
request_max(const struct config *config)
{
    return (size_t)config->limits_max_line_bytes + SLACK;
}

static err_t
drain(void *context)
{
    struct talk *talk = context;

    text_run_settle(&talk->run);
    return conn_flush(&talk->session->conn);
}

/* A bad line has been answered. */
static void
count_bad(struct talk *talk)
{
    talk->closing |= ++talk->streak >= STREAK_MAX; /* T2 */
}

static err_t
answer_too_long(struct talk *talk)
{
    struct session *session = talk->session;
    err_t err;

    session_request_begin(session, "");
    err = textreply_error_text(&session->conn.out, "line too long");
    session_request_end(session);
    count_bad(talk);
    return err;
}

/* Answer one line. */
static err_t
answer(struct talk *talk, struct bytes line)
{
    struct session *session = talk->session;
    struct textcmd_refusal refusal;
    struct textcmd command;
    bool parsed = textcmd_parse(line, &command, &refusal);
    bool known = parsed && text_run_knows(command.verb);
    err_t err;

    session_request_begin(session, known ? textcmd_label(command.verb) : "");
    if (interrupt_pending(INTERRUPT_SHUTDOWN)) {
        talk->closing = true;
        err = textreply_error_text(&session->conn.out, "server is shutting down");
    } else if (known) {
        err = text_run_command(&talk->run, &session->op, &command);
        talk->streak = 0;
        talk->closing |= command.verb == TEXTCMD_QUIT && !talk->run.failed;
    } else {
        err = parsed ? text_run_unknown(&talk->run, &command, line)
                     : textreply_refusal(&session->conn.out, &refusal);
        count_bad(talk);
    }
    session_request_end(session);
    return err;
}

/* Answer all whole lines that have come.  *more: the client may send others. */
static err_t
answer_waiting(struct talk *talk, bool *more)
{
    struct conn *conn = &talk->session->conn;

    while (!talk->closing) {
        struct bytes line;
        size_t consumed;
        enum textline_result result =
            textline_next(&talk->framer, conn_waiting(conn), conn->ended, &line, &consumed);

        conn_take(conn, consumed);
        switch (result) {
        case TEXTLINE_LINE:
            TRY_RETURN(answer(talk, line));
            break;
        case TEXTLINE_TOO_LONG:
            TRY_RETURN(answer_too_long(talk));
            break;
        case TEXTLINE_MORE:
            *more = true;
            return OK;
        case TEXTLINE_NOT_UTF8:
        case TEXTLINE_END:
            talk->closing = true;
            break;
        }
        if (conn->out.size >= SEND_AT)
            TRY_RETURN(drain(talk));
    }
    *more = false;
    return OK;
}

static err_t
serve(struct session *session)
{
    const struct config *config = session->config;
    struct talk talk = { .session = session };
    struct buf *out = &session->conn.out;
    bool more = true;
    err_t err;

    TRY_RETURN(text_run_init(&talk.run, config, out, drain, &talk));
    textline_init(&talk.framer, (size_t)config->limits_max_line_bytes);
    TRY(buf_append_text(out, TEXTREPLY_BANNER));
    while (more) {
        text_run_settle(&talk.run);
        err = session_receive(session, 0, config->server_idle_timeout_secs);
        if (err == ERR_SHUTDOWN || err == ERR_TERMINATED)
            (void)!textreply_error_text(
                out, "server is shutting down"); /* or it leaves in silence */
        TRY(err);
        TRY(answer_waiting(&talk, &more));
    }
    err = OK;
out:
    text_run_settle(&talk.run);
    if (talk.run.broken)
        buf_clear(out); /* half a reply: nothing that follows could be understood */
    text_run_fini(&talk.run);
    return err;
}

static void
refuse(struct session *session, const char *why)
{
    const char *text = interrupt_pending(INTERRUPT_SHUTDOWN)
                           ? "server is shutting down"
                           : "rate limited (too many connections from your IP)";

    (void)why;
    if (textreply_error_text(&session->conn.out, text) != OK)
        log_debug("a client was turned away in silence");
}

const struct session_dialect session_text_dialect = {
    .name = "text",
    .request_max = request_max,
    .serve = serve,
    .refuse = refuse,
};
