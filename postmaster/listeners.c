/*
 * listeners.c - the sockets that clients connect to.
 */
#include "postmaster/listeners.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/net.h"

#define BACKLOG         1024
#define OPTIONAL_MS_MAX 3000
#define RETRY_US        50000

/* One try at binding; *taken: somebody else has the address. */
static err_t
bind_once(const char *text, int *fd, bool *taken)
{
    struct net_address address;
    int one = 1;
    err_t err;

    *fd = -1;
    *taken = false;
    TRY_RETURN(net_resolve(text, &address));
    *fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return err_set_errno("could not make a socket for '%s'", text);
    if (setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        bind(*fd, (struct sockaddr *)&address.storage, address.size) == 0)
        return OK;
    *taken = errno == EADDRINUSE;
    err = err_set_errno("could not bind '%s'", text);
    (void)close(*fd);
    *fd = -1;
    return err;
}

/* Somebody who listens at the address answers at once; a bound but silent socket does not. */
static bool
somebody_listens(const char *text)
{
    int fd;

    if (net_connect(text, 200, &fd) != OK)
        return false;
    (void)close(fd);
    return true;
}

static err_t
bind_patiently(const char *text, int wait_ms, int *fd, bool *taken)
{
    int64_t until_ns = clock_now_ns() + (int64_t)wait_ms * 1000000;

    for (;;) {
        err_t err = bind_once(text, fd, taken);

        if (err == OK && somebody_listens(text)) {
            (void)close(*fd);
            *fd = -1;
            *taken = true;
            err = err_set(ERR_IO, "could not bind '%s': another server listens there", text);
        }
        if (err == OK || !*taken || clock_now_ns() >= until_ns)
            return err;
        (void)usleep(RETRY_US);
    }
}

/* Until users can be asked to log in there, these two serve this machine only. */
static err_t
check_loopback(const char *key, const char *text)
{
    bool loopback;

    TRY_RETURN(net_text_is_loopback(text, &loopback));
    if (!loopback)
        return err_set(ERR_CONFIG,
            "%s = \"%s\": this listener does not ask for a login yet, so it may only be bound to a "
            "loopback address such as 127.0.0.1",
            key, text);
    return OK;
}

static err_t
bind_one(struct listeners *listeners, const char *text, enum session_protocol protocol, bool must,
    int wait_ms)
{
    struct backend_listener *listener = &listeners->listener[listeners->count];
    bool taken;
    err_t err;

    if (text[0] == '\0')
        return OK;
    if (!must && wait_ms > OPTIONAL_MS_MAX)
        wait_ms = OPTIONAL_MS_MAX;
    err = bind_patiently(text, wait_ms, &listener->fd, &taken);
    if (err != OK && taken && !must) {
        log_warn("the %s listener is left out: %s", session_dialect(protocol)->name, err_message());
        return OK;
    }
    if (err != OK)
        return err;
    listener->protocol = protocol;
    (void)snprintf(listeners->address[listeners->count], sizeof listeners->address[0], "%s", text);
    listeners->count++;
    return OK;
}

err_t
listeners_bind(struct listeners *listeners, const struct config *config,
    struct listeners_given given, int wait_ms)
{
    err_t err;

    memset(listeners, 0, sizeof *listeners);
    if (config->json_bind[0] != '\0')
        TRY(check_loopback("json.bind", config->json_bind));
    if (config->mongo_bind[0] != '\0')
        TRY(check_loopback("mongo.bind", config->mongo_bind));
    TRY(bind_one(listeners, config->server_bind, SESSION_TEXT, true, wait_ms));
    TRY(bind_one(listeners, config->json_bind, SESSION_JSON, given.json, wait_ms));
    TRY(bind_one(listeners, config->mongo_bind, SESSION_MONGO, given.mongo, wait_ms));
out:
    if (err != OK)
        listeners_close(listeners);
    return err;
}

err_t
listeners_listen(struct listeners *listeners)
{
    for (unsigned i = 0; i < listeners->count; i++) {
        struct net_address local;
        char text[NET_TEXT_MAX];

        if (listen(listeners->listener[i].fd, BACKLOG) != 0)
            return err_set_errno("could not listen at '%s'", listeners->address[i]);
        TRY_RETURN(net_local(listeners->listener[i].fd, &local));
        net_format(&local, text);
        if (!listeners->listening)
            log_info(
                "%s listener at %s", session_dialect(listeners->listener[i].protocol)->name, text);
    }
    listeners->listening = true;
    return OK;
}

bool
listeners_pending(const struct listeners *listeners)
{
    struct pollfd at[LISTENERS_MAX];

    for (unsigned i = 0; i < listeners->count; i++)
        at[i] = (struct pollfd){ .fd = listeners->listener[i].fd, .events = POLLIN };
    return poll(at, listeners->count, 0) > 0;
}

void
listeners_close(struct listeners *listeners)
{
    for (unsigned i = 0; i < listeners->count; i++)
        (void)close(listeners->listener[i].fd);
    listeners->count = 0;
}
