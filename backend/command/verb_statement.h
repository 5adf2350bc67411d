/*
 * verb_statement.h - the frame of every verb: a transaction, a section of the catalog, a
 * collection.
 *
 * Also the private buffers that verbs reuse from request to request, so that a statement on one
 * document allocates nothing.
 */
#ifndef BACKEND_COMMAND_VERB_STATEMENT_H
#define BACKEND_COMMAND_VERB_STATEMENT_H

#include "backend/command/verb.h"
#include "storage/txn/txn.h"

struct verb_statement {
    struct txn *txn;
    const struct catalog_collection *collection; /* NULL: there is none */
    bool own;                                    /* the transaction is this statement's alone */
};

/* Begin one, in `txn` or (NULL) in a transaction of its own.  After OK verb_statement_end must
   follow. */
err_t verb_statement_begin(struct op *op, const struct verb_ns *ns, struct txn *txn,
    struct verb_statement *statement) MUST_CHECK;
/* The end.  `err`: what the work came to; an own transaction is committed if it is OK, else rolled
   back.  Returns `err`, or why the commit failed. */
err_t verb_statement_end(
    struct op *op, struct verb_statement *statement, err_t err, bool durable) MUST_CHECK;

/* The collection does not exist: make it (in a transaction of its own, or in the caller's), and
   begin the statement anew.  With `existing` that is an error instead.  After an error the
   statement has been ended. */
err_t verb_statement_make_collection(struct op *op, const struct verb_ns *ns,
    struct verb_write write, struct verb_statement *statement) MUST_CHECK;

/* Try a statement again that lost to another one?  Without end after a deadlock, for those that it
   gives way to are fewer each time; else it counts, and waits a little. */
bool verb_statement_again(
    struct op *op, const struct verb_write *write, err_t err, unsigned *tries);

/* Empty, reused; at most as large as a document with what the server adds.  Private to the process.
 */
struct buf *verb_statement_key(void);
struct buf *verb_statement_old(void);
struct buf *verb_statement_new(void);
/* Give memory back that one large document took. */
void verb_statement_shrink(void);
/* For threads that end before their process. */
void verb_statement_forget(void);

/* {"": value} in the op's arena. */
err_t verb_statement_wrap(
    struct op *op, const struct bsonvalue *value, struct bytes *document) MUST_CHECK;

/* Is the filter nothing but an equality on _id?  Looks at the bytes alone, so it is cheap and
   answers no where a compiled filter might still find out. */
bool verb_statement_only_id(struct bytes filter, struct bsonvalue *id);

#endif
