/*
 * postmaster.h - the roof: starts everything, restarts what dies, stops in order.
 *
 * The postmaster has one thread and no slot; it takes no light lock and trusts nothing in shared
 * memory but the words of the scoreboard.
 */
#ifndef POSTMASTER_POSTMASTER_H
#define POSTMASTER_POSTMASTER_H

#include "base/config.h"
#include "postmaster/listeners.h"

struct postmaster_options {
    struct config *config; /* the running one; values that may change are taken over on SIGHUP */
    /* Make a fresh config from the same files, environment and flags, for SIGHUP; the caller frees
     * it. */
    err_t (*load)(struct config **fresh);
    void (*apply)(const struct config *config); /* take over what it says of the log */
    struct listeners_given given;
    const char *bootstrap_password; /* NULL: none */
};

/* Run the server until it is told to stop; yields the exit code.  Failures to start are told on
   stderr as "Error: …". */
int postmaster_run(const struct postmaster_options *options);

#endif
