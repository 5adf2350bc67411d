/*
 * children.h - the processes that the postmaster starts: what kinds there are, who is alive.
 *
 * The list of living children is the postmaster's own memory; it never looks into shared memory
 * for it.
 */
#ifndef POSTMASTER_CHILDREN_H
#define POSTMASTER_CHILDREN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "postmaster/life.h"

enum child_kind {
    CHILD_STARTUP,
    CHILD_CLOSER,
    CHILD_CHECKPOINTER,
    CHILD_WAL_WRITER,
    CHILD_BUFFER_WRITER,
    CHILD_AUTOVACUUM,
    CHILD_UNDERTAKER,
    CHILD_BACKEND,
    CHILD_KIND_COUNT
};

/* What the death of a child means while the server runs. */
enum child_death {
    CHILD_DEATH_IS_FINAL,    /* what it was to do cannot be left undone */
    CHILD_DEATH_IS_BURIED,   /* the undertaker cleans up after it */
    CHILD_DEATH_IS_INHERITED /* its successor cleans up after it, then goes on with its work */
};

/* What a child needs of its parent; copied at fork by the fork itself. */
struct child_env {
    void *context;  /* handed to `run` */
    unsigned place; /* a backend's, on the scoreboard */
};

/* One row for each kind, in the table of mains. */
struct child_main {
    const char *title;
    int (*run)(const struct child_env *env); /* yields the exit code */
    bool worker; /* lives as long as the server; another is started when it has ended */
    enum child_death death;
};

/* The mains, by kind; set once by the postmaster. */
void children_set_mains(const struct child_main mains[CHILD_KIND_COUNT]);
const struct child_main *children_main(enum child_kind kind);

/* In the child, before its main: close what is the parent's alone. */
void children_set_prepare(void (*prepare)(enum child_kind kind));

/* Errors: ERR_TOO_MANY: fork failed. */
err_t children_start(enum child_kind kind, const struct child_env *env) MUST_CHECK;

struct child {
    pid_t pid;
    enum child_kind kind;
    unsigned place;
    int64_t started_ns, ended_ns;
    struct life looked; /* how it lived when burials.c last looked; all 0: it has not */
    unsigned deaths;    /* of undertakers while they cleaned up after it */
    bool ordered;       /* the undertaker was told to, and has not answered */
    bool judged;
    bool ended;     /* found by children_ended; still a zombie */
    bool by_signal; /* then `code` is the signal, else the exit code */
    int code;
};
/* A child that has ended and was not told of yet; false: there is none.  It stays on the list, and
   its pid its own, until children_release. */
bool children_ended(struct child *ended);
/* Walk over those that were told of and not released: `*at` begins at 0; NULL at the end.  Valid
   until the next call of anything else here. */
struct child *children_zombie(size_t *at);
/* The same walk over all others. */
struct child *children_alive(size_t *at);
/* Let the zombie go; true: it was on the list. */
bool children_release(pid_t pid, struct child *child);

unsigned children_count(enum child_kind kind); /* zombies included */
unsigned children_count_all(void);
unsigned children_living(enum child_kind kind); /* without them */
void children_signal(enum child_kind kind, int signal);
void children_signal_all(int signal);

#endif
