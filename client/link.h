/*
 * link.h - a client's end of a connection to the text or the JSON listener.
 *
 * What is sent is gathered and goes out with link_flush or when an answer is waited for, so
 * requests can be pipelined; while it goes out, answers are taken in, so that neither side waits
 * for the other for ever.  One thread.  Not exported from the library.
 *
 * Errors: ERR_HOST_UNREACHABLE, ERR_IO (the connection broke, or ended), ERR_MAX_TIME (silence for
 * longer than the timeout), ERR_PROTOCOL (an answer that is none), ERR_MEMORY, ERR_TOO_LARGE.
 */
#ifndef CLIENT_LINK_H
#define CLIENT_LINK_H

#include "base/buf.h"
#include "base/err.h"
#include "base/net.h"

#define LINK_ANSWER_MAX ((size_t)1 << 30) /* bytes of one answer */

struct link {
    int fd;
    int timeout_ms; /* of each wait for the peer; below 0: none */
    char address[NET_HOST_MAX + 8];
    struct buf out;
    struct buf in;
    size_t at;   /* first byte of `in` that was not yet given out */
    bool at_end; /* the peer has closed */
};

/* "host:port".  After OK link_close must follow. */
err_t link_open(struct link *link, const char *address, int timeout_ms) MUST_CHECK;
void link_close(struct link *link); /* also of a zeroed one whose fd is -1 */

/* A whole request; the line's end is added. */
err_t link_send(struct link *link, struct bytes line) MUST_CHECK;
err_t link_flush(struct link *link) MUST_CHECK;

/* One line of an answer, without its end; valid until the next call. */
err_t link_read_line(struct link *link, struct bytes *line) MUST_CHECK;

/* An answer of the text protocol. */
enum link_kind { LINK_SIMPLE, LINK_ERROR, LINK_INTEGER, LINK_BULK, LINK_NULL, LINK_ARRAY };
struct link_reply {
    enum link_kind kind;
    int64_t number;    /* of an integer; of an array: how many bulks follow, each a reply */
    struct bytes text; /* of the others, without "ERR "; valid until the next call */
};
err_t link_read_reply(struct link *link, struct link_reply *reply) MUST_CHECK;

#endif
