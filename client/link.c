/*
 * link.c - a client's end of a connection.
 *
 * INVARIANTS
 *   K1  `at` <= in.size; what stands before it has been given out and may be moved away, but only
 *       by the next call that reads.
 */
#include "client/link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE ((size_t)64 << 10)
#define OUT_MAX   ((size_t)256 << 20)
#define KEEP      ((size_t)1 << 20)

err_t
link_open(struct link *link, const char *address, int timeout_ms)
{
    memset(link, 0, sizeof *link);
    link->fd = -1;
    link->timeout_ms = timeout_ms;
    link->out = buf_init(OUT_MAX);
    link->in = buf_init(LINK_ANSWER_MAX);
    (void)snprintf(link->address, sizeof link->address, "%s", address);
    TRY_RETURN(net_connect(address, timeout_ms, &link->fd));
    net_set_nodelay(link->fd);
    return OK;
}

void
link_close(struct link *link)
{
    if (link->fd >= 0)
        (void)close(link->fd);
    link->fd = -1;
    buf_fini(&link->out);
    buf_fini(&link->in);
}

err_t
link_send(struct link *link, struct bytes line)
{
    TRY_RETURN(buf_append(&link->out, line.data, line.size));
    return buf_append(&link->out, "\r\n", 2);
}

static err_t
wait_for(struct link *link, short events, short *ready)
{
    struct pollfd entry = { .fd = link->fd, .events = events };
    int count;

    do
        count = poll(&entry, 1, link->timeout_ms);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return err_set_errno("could not wait for %s", link->address);
    if (count == 0)
        return err_set(
            ERR_MAX_TIME, "%s did not answer within %d ms", link->address, link->timeout_ms);
    *ready = entry.revents;
    return OK;
}

/* Take in what is there, without waiting. */
static err_t
take_in(struct link *link)
{
    ssize_t got;

    TRY_RETURN(buf_reserve(&link->in, READ_SIZE));
    got = recv(link->fd, link->in.data + link->in.size, READ_SIZE, MSG_DONTWAIT);
    if (got > 0)
        link->in.size += (size_t)got;
    else if (got == 0)
        link->at_end = true;
    else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        return err_set_errno("the connection to %s broke", link->address);
    return OK;
}

err_t
link_flush(struct link *link)
{
    size_t sent = 0;

    while (sent < link->out.size) {
        ssize_t put = send(
            link->fd, link->out.data + sent, link->out.size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        short ready = 0;

        if (put > 0) {
            sent += (size_t)put;
            continue;
        }
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            return err_set_errno("the connection to %s broke", link->address);
        TRY_RETURN(wait_for(link, (short)(link->at_end ? POLLOUT : POLLIN | POLLOUT), &ready));
        if ((ready & POLLIN) != 0)
            TRY_RETURN(take_in(link));
    }
    buf_clear(&link->out);
    buf_shrink(&link->out, KEEP);
    return OK;
}

/* Wait for more bytes.  K1. */
static err_t
read_more(struct link *link)
{
    short ready = 0;

    if (link->out.size > 0)
        TRY_RETURN(link_flush(link));
    if (link->at_end)
        return err_set(ERR_IO, "%s closed the connection", link->address);
    TRY_RETURN(wait_for(link, POLLIN, &ready));
    return take_in(link);
}

static void
drop_given(struct link *link)
{
    if (link->at == 0)
        return;
    memmove(link->in.data, link->in.data + link->at, link->in.size - link->at);
    link->in.size -= link->at;
    link->at = 0;
}

static err_t
next_line(struct link *link, struct bytes *line)
{
    size_t searched = 0;

    for (;;) {
        size_t here = link->in.size - link->at;
        const uint8_t *start = here > 0 ? link->in.data + link->at : NULL;
        const uint8_t *end =
            here > searched ? memchr(start + searched, '\n', here - searched) : NULL;

        if (end != NULL) {
            size_t size = (size_t)(end - start);

            link->at += size + 1;
            *line = (struct bytes){ start, size > 0 && start[size - 1] == '\r' ? size - 1 : size };
            return OK;
        }
        searched = here;
        TRY_RETURN(read_more(link));
    }
}

err_t
link_read_line(struct link *link, struct bytes *line)
{
    if (link->at >= link->in.size / 2)
        drop_given(link);
    return next_line(link, line);
}

static bool
read_number(struct bytes text, int64_t *number)
{
    char digits[24];
    char *end;

    if (text.size == 0 || text.size >= sizeof digits)
        return false;
    memcpy(digits, text.data, text.size);
    digits[text.size] = '\0';
    errno = 0;
    *number = strtoll(digits, &end, 10);
    return *end == '\0' && errno == 0;
}

static err_t
read_bulk(struct link *link, struct link_reply *reply)
{
    size_t size;

    if (reply->number < 0) {
        reply->kind = LINK_NULL;
        return OK;
    }
    if ((uint64_t)reply->number > LINK_ANSWER_MAX)
        return err_set(
            ERR_TOO_LARGE, "%s announces %jd bytes", link->address, (intmax_t)reply->number);
    size = (size_t)reply->number;
    while (link->in.size - link->at < size + 2)
        TRY_RETURN(read_more(link));
    reply->kind = LINK_BULK;
    reply->text = (struct bytes){ link->in.data + link->at, size };
    link->at += size + 2;
    return OK;
}

err_t
link_read_reply(struct link *link, struct link_reply *reply)
{
    struct bytes line;
    uint8_t first;

    TRY_RETURN(link_read_line(link, &line));
    *reply = (struct link_reply){ .kind = LINK_SIMPLE };
    first = line.size > 0 ? line.data[0] : 0;
    if (line.size > 0)
        line = (struct bytes){ line.data + 1, line.size - 1 };
    reply->text = line;
    switch (first) {
    case '+':
        return OK;
    case '-':
        reply->kind = LINK_ERROR;
        if (line.size >= 4 && memcmp(line.data, "ERR ", 4) == 0)
            reply->text = (struct bytes){ line.data + 4, line.size - 4 };
        return OK;
    case ':':
    case '*':
    case '$':
        if (!read_number(line, &reply->number))
            break;
        reply->kind = first == ':' ? LINK_INTEGER : LINK_ARRAY;
        return first == '$' ? read_bulk(link, reply) : OK;
    default:
        break;
    }
    return err_set(ERR_PROTOCOL, "%s sent what is no answer: %.60s", link->address,
        line.size > 0 ? (const char *)line.data : "");
}
