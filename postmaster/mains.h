/*
 * mains.h - what each kind of child does after fork.
 */
#ifndef POSTMASTER_MAINS_H
#define POSTMASTER_MAINS_H

#include "base/config.h"
#include "postmaster/children.h"
#include "postmaster/listeners.h"

#define MAINS_PRIVATE_FDS 4

struct mains_context {
    struct config *config; /* the child's own copy, by fork */
    err_t (*load)(struct config **fresh);
    void (*apply)(const struct config *config);
    const char *bootstrap_password;
    const struct listeners *listeners;
    int parent_fd, nudge_fd;
    int orders_fd;                     /* the undertaker's */
    int private_fd[MAINS_PRIVATE_FDS]; /* the postmaster's alone: closed in children */
};

extern const struct child_main mains_table[CHILD_KIND_COUNT];

/* Signals as children want them. */
void mains_prepare(enum child_kind kind);

#endif
