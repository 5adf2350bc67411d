/*
 * embed.h - what the public functions of libgneiss stand on: sessions as processes of the house.
 *
 * Inside client only; nothing of this is exported from the library.
 */
#ifndef CLIENT_EMBED_H
#define CLIENT_EMBED_H

#include <pthread.h>
#include <stdatomic.h>

#include "backend/command/verb.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/op.h"
#include "client/gneiss.h"
#include "shmem/proc.h"

#define EMBED_WORKERS 4

struct embed_worker {
    pthread_t thread;
    struct proc *proc; /* guard: `ready` */
    err_t err;         /* guard: `ready` */
    bool started;
};

struct gneiss {
    struct config *config; /* const after open, as all but `sessions` and the workers' `ready` */
    char *tenant;
    bool read_only, lazy;
    struct embed_worker worker[EMBED_WORKERS];
    unsigned opening; /* which one of this process, from 1 */
    _Atomic unsigned sessions;
};

/* guard: the one thread that uses the session, but for `busy` and `proc->interrupts` */
struct gneiss_session {
    struct gneiss *db;
    unsigned opening; /* the db's */
    struct proc *proc;
    _Atomic bool busy;
    bool durable;
    unsigned timeout_ms;
    struct op op;
    struct buf document; /* what gneiss_get found */
    struct buf key;
    struct buf text; /* an _id's payload; BSON made of JSON */
    struct gneiss_collection *collections;
    struct gneiss_cursor *cursors;
    struct gneiss_cursor *spare_cursor; /* closed; its memory is for the next */
    struct gneiss_error error;
};

struct gneiss_collection {
    struct gneiss_session *session;
    struct gneiss_collection *next;
    struct verb_ns ns;
    uint64_t memory; /* for catalog_find_again */
    char name[];     /* database, NUL, collection, NUL */
};

/* Copy the error under way.  `error` may be NULL.  Returns its code. */
int embed_error(struct gneiss_error *error, err_t err);

/* Recovery, threads.  One at a time a process. */
err_t embed_open(
    struct gneiss *db, const char *directory, const struct gneiss_options *options) MUST_CHECK;
/* Threads ended, last checkpoint, unlocked; whatever comes back it is closed. */
err_t embed_close(struct gneiss *db) MUST_CHECK;

/* A session's slot: take it and give it back.  The calling thread is left without one. */
err_t embed_attach(struct gneiss_session *session) MUST_CHECK;
void embed_detach(struct gneiss_session *session);

/* The opening for which this thread keeps private copies of the catalog; 0: none. */
extern _Thread_local unsigned embed_opening;

/* The slow part of embed_enter: this thread served another session before, or none. */
void embed_switch(struct gneiss_session *session);
err_t embed_refuse_busy(void) MUST_CHECK;
void embed_set_deadline(struct gneiss_session *session);

/*
 * Begin and end a call.  After OK embed_leave must follow, and its value is the call's.  Between
 * calls a thread keeps the slot it served last as its own: sessions leave nothing in it (no ledger
 * entry, no lock), so another thread may go on with the session, or it may be closed, meanwhile.
 */
static inline err_t embed_enter(struct gneiss_session *session, const char *verb) MUST_CHECK;
static inline err_t
embed_enter(struct gneiss_session *session, const char *verb)
{
    if (atomic_load_explicit(&session->busy, memory_order_relaxed))
        return embed_refuse_busy();
    atomic_store_explicit(&session->busy, true, memory_order_relaxed);
    if (proc_self != session->proc || embed_opening != session->opening)
        embed_switch(session);
    if (arena_used(session->op.arena) > 0)
        arena_reset(session->op.arena);
    session->op.verb = verb;
    session->op.waits_since_ns = 0;
    if (session->timeout_ms > 0)
        embed_set_deadline(session);
    return OK;
}

static inline int
embed_leave(struct gneiss_session *session, err_t err)
{
    int code = __builtin_expect(err == OK, 1) ? GNEISS_OK : embed_error(&session->error, err);

    atomic_store_explicit(&session->busy, false, memory_order_relaxed);
    return code;
}

static inline struct bytes
embed_bytes(struct gneiss_bson bson)
{
    return (struct bytes){ bson.data, bson.size };
}

static inline struct gneiss_bson
embed_bson(struct bytes bytes)
{
    return (struct gneiss_bson){ bytes.data, bytes.size };
}

/* Free the session's spare cursor. */
void gneiss_find_forget_spare(struct gneiss_session *session);

/* What came from the caller: is it BSON?  `may_be_none`: size 0 is well. */
err_t embed_check(struct gneiss_bson bson, bool may_be_none) MUST_CHECK;

#endif
