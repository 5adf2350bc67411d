/*
 * backend.h - the life of a backend: wait for a client, serve it, forget it, wait again.
 */
#ifndef BACKEND_SESSION_BACKEND_H
#define BACKEND_SESSION_BACKEND_H

#include "backend/session/session.h"

struct backend_listener {
    int fd; /* listening, non-blocking */
    enum session_protocol protocol;
};

struct backend_env {
    const struct config *config;
    const struct backend_listener *listener;
    unsigned listener_count;
    unsigned place;       /* on the scoreboard */
    int parent_fd;        /* readable (end of file) when the postmaster is gone */
    int nudge_fd;         /* one byte written: the postmaster should look at the scoreboard */
    void (*reload)(void); /* reread the configuration into `config` */
};

/* Runs until told to end, its share of sessions is served, or the postmaster is gone.  The caller
   has attached a PROC_BACKEND slot, and exits with what it returns. */
int backend_run(const struct backend_env *env);

#endif
