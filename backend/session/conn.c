/*
 * conn.c - one client's connection.
 *
 * `in` is compacted only when a receive needs the room, so slices into it stay valid while a
 * batch of pipelined requests is handled.
 *
 * INVARIANTS
 *   N1  What a client hears is a beginning of the replies made for it: after a flush that failed
 *       nothing more is sent, not even why.
 *   N2  A session that is to TERMINATE does not sleep in sending, whoever has cleared the latch.
 */
#include "backend/session/conn.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/net.h"
#include "shmem/counters.h"
#include "shmem/interrupt.h"
#include "shmem/latch.h"

#define RECEIVE_SIZE            ((size_t)16 << 10)
#define FLUSH_AT                ((size_t)64 << 10)
#define KEEP                    ((size_t)64 << 10)
#define SEND_STALL_NS           ((int64_t)60 * 1000000000)
#define KEEPALIVE_IDLE_SECS     120
#define KEEPALIVE_INTERVAL_SECS 30
#define KEEPALIVE_COUNT         4
#define CLOSE_STALL_NS          ((int64_t)1000000000)

err_t
conn_open(struct conn *conn, int fd, size_t in_limit, size_t out_limit)
{
    struct net_address address;
    err_t err;

    conn->fd = fd;
    conn->in.limit = in_limit;
    conn->out.limit = out_limit;
    buf_clear(&conn->in);
    buf_clear(&conn->out);
    conn->taken = 0;
    conn->ended = conn->filled = conn->torn = false;
    conn->quick_ack = false;
    net_set_nodelay(fd);
    net_set_keepalive(fd, KEEPALIVE_IDLE_SECS, KEEPALIVE_INTERVAL_SECS, KEEPALIVE_COUNT);
    err = net_peer(fd, &address);
    if (err == OK)
        err = buf_reserve(&conn->in, RECEIVE_SIZE); /* from now on `in.data` is there */
    if (err != OK) {
        (void)close(fd);
        conn->fd = -1;
        return err;
    }
    net_format(&address, conn->peer);
    conn->loopback = net_is_loopback(&address);
    return OK;
}

/* Sleep until the socket may take more, or something is wanted of this process. */
static err_t
await_room(struct conn *conn, int64_t until_ns)
{
    int ready;
    bool set;

    if (interrupt_pending(INTERRUPT_TERMINATE)) /* N2 */
        return err_set(ERR_TERMINATED, "the session was ended");
    proc_wait_begin(WAIT_SEND, 0);
    ready = latch_wait_fd(conn->fd, POLLOUT, until_ns, &set);
    proc_wait_end();
    if (set)
        latch_clear();
    if (ready == 0 && clock_now_ns() >= until_ns)
        return err_set(ERR_HOST_UNREACHABLE, "%s does not take its replies", conn->peer);
    return OK;
}

/* Send until all is gone or the client has taken nothing for `stall_ns`. */
static err_t
send_all(struct conn *conn, int64_t stall_ns)
{
    int64_t until_ns = 0; /* 0: the client has just taken something */
    size_t sent = 0;
    err_t err = OK;

    while (sent < conn->out.size) {
        ssize_t n = send(
            conn->fd, conn->out.data + sent, conn->out.size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0) {
            sent += (size_t)n;
            until_ns = 0;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            err = err_set(
                ERR_HOST_UNREACHABLE, "could not send to %s: %s", conn->peer, strerror(errno));
            break;
        }
        if (until_ns == 0)
            until_ns = clock_now_ns() + stall_ns;
        err = await_room(conn, until_ns);
        if (err != OK)
            break;
    }
    counters_add(COUNTER_BYTES_WRITTEN, sent);
    buf_clear(&conn->out);
    conn->torn = conn->torn || err != OK; /* N1 */
    return err;
}

err_t
conn_flush(struct conn *conn)
{
    if (conn->out.size == 0)
        return OK;
    (void)fault_pass(FAULT_REPLY_SEND);
    return send_all(conn, SEND_STALL_NS);
}

err_t
conn_flush_if_large(struct conn *conn)
{
    return conn->out.size >= FLUSH_AT ? conn_flush(conn) : OK;
}

void
conn_close(struct conn *conn)
{
    if (conn->fd < 0)
        return;
    if (!conn->torn && conn->out.size > 0 && send_all(conn, CLOSE_STALL_NS) == OK)
        (void)shutdown(conn->fd, SHUT_WR);
    (void)close(conn->fd);
    conn->fd = -1;
    buf_clear(&conn->in);
    buf_clear(&conn->out);
    buf_shrink(&conn->in, KEEP);
    buf_shrink(&conn->out, KEEP);
}

void
conn_fini(struct conn *conn)
{
    conn_close(conn);
    buf_fini(&conn->in);
    buf_fini(&conn->out);
}

/* Room for at least one receive behind what has come; moves what is still waiting to the front. */
static err_t
make_room(struct conn *conn, size_t want)
{
    size_t waiting = conn->in.size - conn->taken;
    size_t more = want > waiting ? want - waiting : 0;

    if (conn->taken > 0) {
        if (waiting > 0)
            memmove(conn->in.data, conn->in.data + conn->taken, waiting);
        conn->in.size = waiting;
        conn->taken = 0;
        if (waiting == 0 && more < KEEP)
            buf_shrink_to(&conn->in, KEEP, RECEIVE_SIZE);
    }
    if (more < RECEIVE_SIZE)
        more = RECEIVE_SIZE;
    if (more > conn->in.limit - conn->in.size)
        more = conn->in.limit - conn->in.size;
    if (more == 0)
        return err_set(ERR_TOO_LARGE, "a request of more than %zu bytes", conn->in.limit);
    return buf_reserve(&conn->in, more);
}

/* What a receive came to.  *got false: nothing there at the moment. */
static err_t
note_received(struct conn *conn, ssize_t n, bool *got)
{
    *got = n >= 0;
    conn->filled = n > 0 && (size_t)n == conn->in.capacity - conn->in.size;
    if (n > 0) {
        conn->in.size += (size_t)n;
        counters_add(COUNTER_BYTES_READ, (uint64_t)n);
        if (conn->quick_ack)
            net_set_quickack(conn->fd);
    } else if (n == 0) {
        conn->ended = true;
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        return err_set(
            ERR_HOST_UNREACHABLE, "could not receive from %s: %s", conn->peer, strerror(errno));
    }
    return OK;
}

/* Receive what is there. */
static err_t
receive_at_once(struct conn *conn, bool *got)
{
    return note_received(conn,
        recv(conn->fd, conn->in.data + conn->in.size, conn->in.capacity - conn->in.size,
            MSG_DONTWAIT),
        got);
}

/* Sleep until something comes, the latch is set, or time is up, and receive it: without a time
   limit in one system call. */
static err_t
receive_later(struct conn *conn, int64_t until_ns, bool *got)
{
    ssize_t n = 0;
    int ready = 0;
    bool set;

    proc_wait_begin(WAIT_CLIENT, 0);
    if (until_ns == 0)
        n = latch_receive(
            conn->fd, conn->in.data + conn->in.size, conn->in.capacity - conn->in.size, &set);
    else
        ready = latch_wait_fd(conn->fd, POLLIN, until_ns, &set);
    proc_wait_end();
    if (set)
        latch_clear(); /* and look at the interrupts again: they stay, the latch does not */
    if (until_ns == 0)
        return note_received(conn, n, got);
    if (ready == 0 && clock_now_ns() >= until_ns)
        return err_set(ERR_MAX_TIME, "nothing was received in time");
    return receive_at_once(conn, got);
}

/* At once, not when the session is over: a driver keeps its connections for days. */
static void
reload_if_told(const struct conn *conn)
{
    if (conn->reload != NULL && interrupt_take(INTERRUPT_RELOAD))
        conn->reload();
}

/* Is it worth asking before sleeping?  A client that waits for its answer has sent nothing more. */
static bool
likely_there(const struct conn *conn)
{
    return conn->in.size > conn->taken || conn->filled ||
           interrupt_pending(INTERRUPT_TERMINATE | INTERRUPT_SHUTDOWN | INTERRUPT_CANCEL);
}

err_t
conn_receive(struct conn *conn, size_t want, int64_t until_ns)
{
    bool look = likely_there(conn);
    bool got = false;

    TRY_RETURN(conn_flush(conn));
    reload_if_told(conn);
    TRY_RETURN(make_room(conn, want));
    if (look)
        TRY_RETURN(receive_at_once(conn, &got));
    while (!got) {
        TRY_RETURN(interrupt_check(NULL));
        if (interrupt_pending(INTERRUPT_SHUTDOWN))
            return err_set(ERR_SHUTDOWN, "server is shutting down");
        TRY_RETURN(receive_later(conn, until_ns, &got));
        reload_if_told(conn);
    }
    return OK;
}
