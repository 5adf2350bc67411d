/*
 * net.c - TCP addresses and sockets.
 */
#include "base/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

/* An address as 16 bytes in network order; IPv4 as ::ffff:a.b.c.d. */
struct ip {
    uint8_t bytes[16];
};
static const uint8_t ipv4_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static bool
parse_port(const char *text, uint16_t *port)
{
    unsigned long value;
    char *end;

    if (*text < '0' || *text > '9' || strlen(text) > 5)
        return false;
    value = strtoul(text, &end, 10);
    *port = (uint16_t)value;
    return *end == '\0' && value <= UINT16_MAX;
}

static bool
split(const char *text, char host[NET_HOST_MAX], uint16_t *port)
{
    const char *colon = strrchr(text, ':');
    const char *begin = text;
    size_t size;

    if (colon == NULL || !parse_port(colon + 1, port))
        return false;
    size = (size_t)(colon - text);
    if (*text == '[') {
        if (size < 2 || text[size - 1] != ']')
            return false;
        begin++;
        size -= 2;
    } else if (memchr(text, ':', size) != NULL) {
        return false; /* IPv6 wants brackets */
    }
    if (size >= NET_HOST_MAX)
        return false;
    for (size_t i = 0; i < size; i++)
        if (begin[i] <= ' ' || begin[i] == '/' || begin[i] > '~')
            return false;
    memcpy(host, begin, size);
    host[size] = '\0';
    return *text != '[' || strchr(host, ':') != NULL;
}

err_t
net_split(const char *text, char host[NET_HOST_MAX], uint16_t *port)
{
    if (!split(text, host, port))
        return err_set(ERR_BAD_VALUE, "'%.300s' is not an address of the form host:port", text);
    return OK;
}

bool
net_address_valid(const char *text)
{
    char host[NET_HOST_MAX];
    uint16_t port;

    return split(text, host, &port);
}

err_t
net_resolve(const char *text, struct net_address *address)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    struct addrinfo *best;
    char host[NET_HOST_MAX], port_text[8];
    uint16_t port;
    int result;

    TRY_RETURN(net_split(text, host, &port));
    (void)snprintf(port_text, sizeof port_text, "%u", port);
    result = getaddrinfo(host[0] != '\0' ? host : "0.0.0.0", port_text, &hints, &found);
    if (result != 0 || found == NULL)
        return err_set(ERR_HOST_UNREACHABLE, "could not find the address of %s: %s", text,
            gai_strerror(result));
    for (best = found; best != NULL && best->ai_family != AF_INET; best = best->ai_next)
        ;
    if (best == NULL)
        best = found;
    *address = (struct net_address){ .size = best->ai_addrlen };
    memcpy(&address->storage, best->ai_addr, best->ai_addrlen);
    freeaddrinfo(found);
    return OK;
}

static void
close_keeping_errno(int fd)
{
    int saved = errno;

    (void)close(fd);
    errno = saved;
}

err_t
net_listen(const char *text, int backlog, int *fd, bool *taken)
{
    struct net_address address;
    int one = 1;

    *fd = -1;
    if (taken != NULL)
        *taken = false;
    TRY_RETURN(net_resolve(text, &address));
    *fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0)
        return err_set_errno("could not make a socket for %s", text);
    if (setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        bind(*fd, (const struct sockaddr *)&address.storage, address.size) == 0 &&
        listen(*fd, backlog) == 0)
        return OK;
    if (taken != NULL)
        *taken = errno == EADDRINUSE || errno == EADDRNOTAVAIL;
    close_keeping_errno(*fd);
    *fd = -1;
    return err_set_errno("could not listen on %s", text);
}

err_t
net_accept(int listener, int *fd, struct net_address *peer)
{
    do {
        peer->size = sizeof peer->storage;
        *fd = accept4(listener, (struct sockaddr *)&peer->storage, &peer->size, SOCK_CLOEXEC);
    } while (*fd < 0 && file_relieve(errno));
    if (*fd >= 0)
        return OK;
    switch (errno) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
        return err_set_errno("could not accept a connection");
    default:
        return OK; /* nobody there, or the trouble of one connection: see accept(2) */
    }
}

/* Wait until the connection under way is made or has failed. */
static err_t
await_connection(int fd, const char *text, int timeout_ms)
{
    int64_t end_ns = clock_now_ns() + (int64_t)timeout_ms * 1000000;
    struct pollfd wait = { .fd = fd, .events = POLLOUT };
    socklen_t size = sizeof(int);
    int left_ms = timeout_ms;
    int result;

    do {
        result = poll(&wait, 1, left_ms);
        if (timeout_ms >= 0)
            left_ms = (int)((end_ns - clock_now_ns()) / 1000000);
        if (timeout_ms >= 0 && left_ms < 0)
            left_ms = 0;
    } while (result < 0 && errno == EINTR);
    if (result == 0)
        return err_set(ERR_HOST_UNREACHABLE, "could not connect to %s: no answer within %d ms",
            text, timeout_ms);
    if (result < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &result, &size) != 0)
        return err_set_errno("could not connect to %s", text);
    if (result != 0)
        return err_set(
            ERR_HOST_UNREACHABLE, "could not connect to %s: %s", text, strerrordesc_np(result));
    return OK;
}

err_t
net_connect(const char *text, int timeout_ms, int *fd)
{
    struct net_address address;
    err_t err = OK;

    *fd = -1;
    TRY(net_resolve(text, &address));
    *fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0)
        TRY(err_set_errno("could not make a socket for %s", text));
    if (connect(*fd, (const struct sockaddr *)&address.storage, address.size) == 0)
        return OK;
    if (errno != EINPROGRESS && errno != EINTR)
        TRY(err_set(
            ERR_HOST_UNREACHABLE, "could not connect to %s: %s", text, strerrordesc_np(errno)));
    TRY(await_connection(*fd, text, timeout_ms));
out:
    if (err != OK && *fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
    return err;
}

err_t
net_peer(int fd, struct net_address *address)
{
    address->size = sizeof address->storage;
    if (getpeername(fd, (struct sockaddr *)&address->storage, &address->size) != 0)
        return err_set_errno("could not find the peer of a connection");
    return OK;
}

err_t
net_local(int fd, struct net_address *address)
{
    address->size = sizeof address->storage;
    if (getsockname(fd, (struct sockaddr *)&address->storage, &address->size) != 0)
        return err_set_errno("could not find the address of a socket");
    return OK;
}

/* False: it is no IP address (a socketpair of a test, say). */
static bool
ip_of(const struct net_address *address, struct ip *ip)
{
    if (address->storage.ss_family == AF_INET) {
        struct sockaddr_in in;

        memcpy(&in, &address->storage, sizeof in);
        memcpy(ip->bytes, ipv4_prefix, sizeof ipv4_prefix);
        memcpy(ip->bytes + 12, &in.sin_addr, 4);
        return true;
    }
    if (address->storage.ss_family == AF_INET6) {
        struct sockaddr_in6 in6;

        memcpy(&in6, &address->storage, sizeof in6);
        memcpy(ip->bytes, &in6.sin6_addr, 16);
        return true;
    }
    return false;
}

static bool
is_ipv4(const struct ip *ip)
{
    return memcmp(ip->bytes, ipv4_prefix, sizeof ipv4_prefix) == 0;
}

uint16_t
net_port(const struct net_address *address)
{
    if (address->storage.ss_family == AF_INET) {
        struct sockaddr_in in;

        memcpy(&in, &address->storage, sizeof in);
        return ntohs(in.sin_port);
    }
    if (address->storage.ss_family == AF_INET6) {
        struct sockaddr_in6 in6;

        memcpy(&in6, &address->storage, sizeof in6);
        return ntohs(in6.sin6_port);
    }
    return 0;
}

void
net_format_host(const struct net_address *address, char text[NET_TEXT_MAX])
{
    struct ip ip;

    if (!ip_of(address, &ip))
        (void)snprintf(text, NET_TEXT_MAX, "local");
    else if (is_ipv4(&ip))
        (void)inet_ntop(AF_INET, ip.bytes + 12, text, NET_TEXT_MAX);
    else
        (void)inet_ntop(AF_INET6, ip.bytes, text, NET_TEXT_MAX);
}

void
net_format(const struct net_address *address, char text[NET_TEXT_MAX])
{
    char host[NET_TEXT_MAX];
    bool brackets;

    net_format_host(address, host);
    brackets = strchr(host, ':') != NULL;
    (void)snprintf(text, NET_TEXT_MAX, "%s%.46s%s:%u", brackets ? "[" : "", host,
        brackets ? "]" : "", net_port(address));
}

bool
net_is_loopback(const struct net_address *address)
{
    static const uint8_t ipv6_loopback[16] = { [15] = 1 };
    struct ip ip;

    if (!ip_of(address, &ip))
        return address->storage.ss_family == AF_UNIX;
    return is_ipv4(&ip) ? ip.bytes[12] == 127 : memcmp(ip.bytes, ipv6_loopback, 16) == 0;
}

err_t
net_text_is_loopback(const char *text, bool *loopback)
{
    struct net_address address;

    *loopback = false;
    TRY_RETURN(net_resolve(text, &address));
    *loopback = net_is_loopback(&address);
    return OK;
}

/* ---- lists of networks ---- */

/* "10.0.0.0/8" or "::1" to address and number of leading bits that count. */
static bool
parse_network(struct bytes text, struct ip *ip, unsigned *bits)
{
    char copy[NET_TEXT_MAX];
    uint16_t given;
    char *slash;
    unsigned most;

    while (text.size > 0 && *text.data == ' ')
        text = (struct bytes){ text.data + 1, text.size - 1 };
    while (text.size > 0 && text.data[text.size - 1] == ' ')
        text.size--;
    if (text.size == 0 || text.size >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    slash = strchr(copy, '/');
    if (slash != NULL)
        *slash++ = '\0';
    memcpy(ip->bytes, ipv4_prefix, sizeof ipv4_prefix);
    if (inet_pton(AF_INET, copy, ip->bytes + 12) == 1)
        most = 32;
    else if (inet_pton(AF_INET6, copy, ip->bytes) == 1)
        most = 128;
    else
        return false;
    given = (uint16_t)most;
    if (slash != NULL && (!parse_port(slash, &given) || given > most))
        return false;
    *bits = 128 - most + given;
    return true;
}

static bool
lies_within(const struct ip *ip, const struct ip *network, unsigned bits)
{
    size_t whole = bits / 8;
    unsigned mask = 0xff00u >> bits % 8 & 0xff;

    if (memcmp(ip->bytes, network->bytes, whole) != 0)
        return false;
    return bits % 8 == 0 || ((ip->bytes[whole] ^ network->bytes[whole]) & mask) == 0;
}

/* The next element of the list; false: there is none left. */
static bool
next_element(const char **list, struct bytes *element)
{
    size_t size = strcspn(*list, ",");

    if (**list == '\0')
        return false;
    *element = (struct bytes){ (const uint8_t *)*list, size };
    *list += size + ((*list)[size] == ',');
    return true;
}

bool
net_list_valid(const char *list)
{
    struct bytes element;
    struct ip network;
    unsigned bits;

    while (next_element(&list, &element))
        if (!parse_network(element, &network, &bits))
            return false;
    return true;
}

bool
net_list_match(const char *list, const struct net_address *address)
{
    struct bytes element;
    struct ip ip, network;
    unsigned bits;

    if (!ip_of(address, &ip))
        return false;
    while (next_element(&list, &element))
        if (parse_network(element, &network, &bits) && lies_within(&ip, &network, bits))
            return true;
    return false;
}

/* ---- hints ---- */

static void
hint(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof value);
}

void
net_set_nodelay(int fd)
{
    hint(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void
net_set_quickack(int fd)
{
    hint(fd, IPPROTO_TCP, TCP_QUICKACK, 1);
}

void
net_set_keepalive(int fd, int idle_secs, int interval_secs, int count)
{
    hint(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    hint(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle_secs);
    hint(fd, IPPROTO_TCP, TCP_KEEPINTVL, interval_secs);
    hint(fd, IPPROTO_TCP, TCP_KEEPCNT, count);
}
