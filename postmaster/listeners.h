/*
 * listeners.h - the sockets that clients connect to.
 *
 * Bound by the postmaster before recovery, so that a taken address stops the start at once; they
 * begin to listen only when commands can be served (an accepted connection is the readiness signal
 * clients use), and then stay open for as long as the server lives, crashes of children included.
 */
#ifndef POSTMASTER_LISTENERS_H
#define POSTMASTER_LISTENERS_H

#include "backend/session/backend.h"

#define LISTENERS_MAX SESSION_PROTOCOL_COUNT

/* Which addresses were given by hand: these must bind (T43).  Others are skipped with a warning if
 * taken. */
struct listeners_given {
    bool json, mongo;
};

struct listeners {
    struct backend_listener listener[LISTENERS_MAX];
    char address[LISTENERS_MAX][300];
    unsigned count;
    bool listening;
};

/* Errors: ERR_IO: an address that must bind could not, within `wait_ms`; ERR_CONFIG: cannot be
   understood, or not loopback where only loopback is allowed. */
err_t listeners_bind(struct listeners *listeners, const struct config *config,
    struct listeners_given given, int wait_ms) MUST_CHECK;
err_t listeners_listen(struct listeners *listeners) MUST_CHECK;
/* Does a client wait that no backend has accepted? */
bool listeners_pending(const struct listeners *listeners);
void listeners_close(struct listeners *listeners);

#endif
