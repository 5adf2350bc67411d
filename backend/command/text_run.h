/*
 * text_run.h - running one command of the text protocol.
 *
 * A session keeps a struct text_run; each parsed command is put through the checks of the
 * protocol's section 3 and then through its one function (text_login, text_define, text_document,
 * text_scan, text_server).  A verb is a row of one table: function, action, what the action is on.
 *
 * A verb's function appends its whole reply to `out` and returns OK, also if the reply is an error
 * that it worded itself (text_run_refuse); any other error is worded here.  Belongs to one process.
 */
#ifndef BACKEND_COMMAND_TEXT_RUN_H
#define BACKEND_COMMAND_TEXT_RUN_H

#include "backend/auth/access.h"
#include "backend/command/verb.h"
#include "base/config.h"
#include "base/wire/textcmd.h"
#include "base/wire/textreply.h"

#define TEXT_RUN_NODES 1 /* N of the concerns: a single node */

struct text_run {
    const struct config *config;
    struct buf *out; /* the connection's */
    /* Settle, and send what `out` holds; for replies that are too long to be held. */
    err_t (*drain)(void *context);
    void *drain_context;

    struct arena *arena;                      /* the principal's */
    const struct access_principal *principal; /* NULL: not authenticated */
    bool proven;                              /* by a password on this connection (T19) */
    int64_t valid_until_ms;
    char database[CATALOG_NAME_MAX + 1]; /* selected; "": none */

    struct buf document, key, rows; /* reused from command to command */

    struct op *op;  /* of the command being run */
    bool failed;    /* it was answered with an error */
    bool unsettled; /* `out` acknowledges writes that may not be on disk yet */
    bool broken;    /* a part of its reply is sent, and the rest cannot be: close */
};

/* Errors: ERR_MEMORY. */
err_t text_run_init(struct text_run *run, const struct config *config, struct buf *out,
    err_t (*drain)(void *context), void *drain_context) MUST_CHECK;
void text_run_fini(struct text_run *run);

/* Is the verb executed by this server?  If not, the answer is "unknown command: …". */
bool text_run_knows(enum textcmd_verb verb);
/* The answer to a verb that is not: as typed, both words where the verb has two. */
err_t text_run_unknown(
    struct text_run *run, const struct textcmd *command, struct bytes line) MUST_CHECK;

/* Bring to disk what `out` acknowledges.  To be called before any of it is sent: so a pipeline of
   writes waits for the disk once, and T5 holds. */
void text_run_settle(struct text_run *run);

/* Check and run, and append the reply.  Errors: the connection cannot go on (no memory for the
   reply, `broken`, the client is gone). */
err_t text_run_command(
    struct text_run *run, struct op *op, const struct textcmd *command) MUST_CHECK;

/* For verbs. */

/* Answer with an error; the text without its prefix.  Errors: ERR_MEMORY. */
err_t text_run_refuse(struct text_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3))) MUST_CHECK;
/* Answer with the last error's text. */
err_t text_run_refuse_err(struct text_run *run, err_t err) MUST_CHECK;

/* An argument as a name, in the op's arena.  A NUL, which no name has, becomes U+0001. */
err_t text_run_name(struct text_run *run, struct bytes argument, const char **name) MUST_CHECK;
/* Namespace of a collection in the selected database.  *possible false: no collection can have such
   a name, and it has been answered. */
err_t text_run_ns(
    struct text_run *run, struct bytes collection, struct verb_ns *ns, bool *possible) MUST_CHECK;

/* Does the selected database exist?  False: it has been answered. */
err_t text_run_selected(struct text_run *run, bool *exists) MUST_CHECK;
/* Answer that the collection, or its database, does not exist. */
err_t text_run_missing(struct text_run *run, const struct verb_ns *ns) MUST_CHECK;

/* Read a UUID.  *good false: it has been answered (the database's absence first). */
err_t text_run_uuid(
    struct text_run *run, struct bytes text, uint8_t uuid[16], bool *good) MUST_CHECK;

/* An array of names. */
err_t text_run_names(struct text_run *run, const char *const *names, size_t count) MUST_CHECK;

#endif
