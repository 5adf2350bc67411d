/*
 * net.h - TCP addresses and sockets.
 *
 * An address text is "host:port": 127.0.0.1:6380, [::1]:6380, localhost:6380, :6380 (every
 * IPv4 address).  Port 0 lets the system choose.  All sockets made here are close-on-exec and
 * non-blocking.  Errors: ERR_IO, ERR_HOST_UNREACHABLE; messages name the address.
 */
#ifndef BASE_NET_H
#define BASE_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

#define NET_TEXT_MAX 64  /* room for a numeric address with port, NUL included */
#define NET_HOST_MAX 256 /* room for a host name */

struct net_address {
    struct sockaddr_storage storage;
    socklen_t size;
};

/* Split "host:port"; the brackets of an IPv6 host go.  Errors: ERR_BAD_VALUE. */
err_t net_split(const char *text, char host[NET_HOST_MAX], uint16_t *port) MUST_CHECK;
bool net_address_valid(const char *text);

/* Find the address; names are looked up (this may wait for DNS), IPv4 comes first. */
err_t net_resolve(const char *text, struct net_address *address) MUST_CHECK;

/* Listen, with SO_REUSEADDR.  `*taken` (may be NULL) tells that the address was in use or not
   ours, which is an error too. */
err_t net_listen(const char *text, int backlog, int *fd, bool *taken) MUST_CHECK;

/* Accept one connection, a blocking socket; *fd = -1: none was waiting, or it went away before it
   was accepted.  Errors are those of this process or the machine (out of descriptors or memory). */
err_t net_accept(int listener, int *fd, struct net_address *peer) MUST_CHECK;

/* Connect, within `timeout_ms` (below 0: however long the system takes). */
err_t net_connect(const char *text, int timeout_ms, int *fd) MUST_CHECK;

/* The two ends of a connected or listening socket. */
err_t net_peer(int fd, struct net_address *address) MUST_CHECK;
err_t net_local(int fd, struct net_address *address) MUST_CHECK;

/* "127.0.0.1:5123", "[::1]:5123"; an IPv4 address inside IPv6 is shown as IPv4. */
void net_format(const struct net_address *address, char text[NET_TEXT_MAX]);
/* The same without port and brackets: what rate limits count by. */
void net_format_host(const struct net_address *address, char text[NET_TEXT_MAX]);
uint16_t net_port(const struct net_address *address);

bool net_is_loopback(const struct net_address *address);
/* Would a listener at this address text be reachable from this machine only? */
err_t net_text_is_loopback(const char *text, bool *loopback) MUST_CHECK;

/* A list is comma-separated: addresses and networks, "127.0.0.0/8,::1,10.1.2.3". */
bool net_list_valid(const char *list);
bool net_list_match(const char *list, const struct net_address *address);

/* Hints; a system that refuses them serves just as well, so they cannot fail. */
void net_set_nodelay(int fd);
void net_set_quickack(int fd);
/* Probe a silent peer after `idle_secs`, then every `interval_secs`, give up after `count`. */
void net_set_keepalive(int fd, int idle_secs, int interval_secs, int count);

#endif
