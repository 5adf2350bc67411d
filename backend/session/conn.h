/*
 * conn.h - one client's connection: bytes in, bytes out.
 *
 * Reads whatever has come into `in`; replies are gathered in `out` and leave in as few writes as
 * possible.  Neither buffer grows beyond its limit: a client that does not read its replies stops
 * being served, and costs that much memory.  Belongs to one process.
 */
#ifndef BACKEND_SESSION_CONN_H
#define BACKEND_SESSION_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/net.h"

struct conn {
    int fd;
    struct buf in; /* received; [taken, size) is still to be handled */
    size_t taken;
    struct buf out; /* to be sent */
    bool ended;     /* the client will send no more */
    bool torn;      /* replies were dropped, maybe in their middle: nothing may follow */
    bool filled;    /* the last receive took all that there was room for */
    bool quick_ack; /* re-arm TCP_QUICKACK after each receive */
    bool loopback;
    void (*reload)(void);    /* reread the configuration; may be NULL; outlives connections */
    char peer[NET_TEXT_MAX]; /* "127.0.0.1:5123" */
};

/* Take over an accepted socket (blocking).  Closes it on error. */
err_t conn_open(struct conn *conn, int fd, size_t in_limit, size_t out_limit) MUST_CHECK;
/* Send what is left (waiting at most a second), unless a flush has failed; close, keep the buffers'
 * memory up to 64 KiB for the next. */
void conn_close(struct conn *conn);
void conn_fini(struct conn *conn); /* and give the memory back */

static inline struct bytes
conn_waiting(const struct conn *conn)
{
    return (struct bytes){ conn->in.data + conn->taken, conn->in.size - conn->taken };
}
/* These bytes have been handled.  Slices into `in` stay valid until the next conn_receive. */
static inline void
conn_take(struct conn *conn, size_t size)
{
    conn->taken += size;
}

/* Send `out`, then wait for at least one more byte, an interrupt or `until_ns` (0: for ever).
   Between requests, so the place to `reload` when that is wanted, before anything is handled.
   `want`: how many bytes are needed in all from `taken` on, if known (0: not), so that the buffer
   grows at once. Sets `ended` at end of input.  Errors: ERR_HOST_UNREACHABLE: the client is gone;
   ERR_MAX_TIME: `until_ns`; ERR_TERMINATED, ERR_SHUTDOWN, ERR_INTERRUPTED; ERR_TOO_LARGE: `in`
   would exceed its limit. */
err_t conn_receive(struct conn *conn, size_t want, int64_t until_ns) MUST_CHECK;

/* Send all of `out`.  Waits for a slow client as long as it takes some bytes every 60 s.  Errors:
   ERR_HOST_UNREACHABLE, ERR_TERMINATED: what was not sent is dropped, the connection can only be
   closed. */
err_t conn_flush(struct conn *conn) MUST_CHECK;
/* Send if `out` has become large; called between replies of a pipeline. */
err_t conn_flush_if_large(struct conn *conn) MUST_CHECK;

#endif
