/*
 * txn.h - transactions.
 *
 * A transaction's shared part is a *place* in a table in shared memory: xid, snapshot, owner. Every
 * process slot has one place of its own (its statement's transaction); transactions of several
 * statements and cursors take further places, which can pass from one process to another: a
 * client's transaction may go on over another connection.  Since nothing is undone on rollback (an
 * xid that did not commit is invisible), a dead process's transactions can be ended by anyone:
 * txn_end_dead.
 */
#ifndef STORAGE_TXN_TXN_H
#define STORAGE_TXN_TXN_H

#include <stdbool.h>

#include "base/op.h"
#include "base/types.h"
#include "shmem/ledger.h"
#include "shmem/region.h"
#include "storage/txn/snapshot.h"
#include "wal/checkpoint.h"
#include "wal/wal_record.h"

enum txn_isolation {
    TXN_READ_UNCOMMITTED, /* gives read committed */
    TXN_READ_COMMITTED,   /* a new snapshot for each statement */
    TXN_REPEATABLE_READ,  /* the snapshot of the first statement */
    TXN_SNAPSHOT,         /* taken at begin */
    TXN_SERIALIZABLE,     /* and dangerous structures are refused */
};

struct txn; /* private memory of the process that has it; malloced, reused */

extern const struct region txn_region;
extern const struct checkpoint_part txn_part; /* notes the next xid */
extern const struct wal_handler txn_handler_commit, txn_handler_abort, txn_handler_xid_bound;
extern const struct ledger_undo txn_place_undo; /* LEDGER_PLACE */

/* Begin.  Takes no xid before it is needed.  `own_place`: the one of the process's slot (a
   statement by itself; one at a time, nearly free); else another.  Errors: ERR_TOO_MANY. */
err_t txn_begin(
    struct op *op, enum txn_isolation isolation, bool own_place, struct txn **txn) MUST_CHECK;

/* Make it durable and visible; with `durable` false the log is flushed within wal.writer_delay_ms.
   After it `txn` is gone, whatever comes back.  Errors: ERR_WRITE_CONFLICT (serializable): it was
   rolled back. */
err_t txn_commit(struct op *op, struct txn *txn, bool durable) MUST_CHECK;
void txn_abort(struct op *op, struct txn *txn);

/* Before each statement of a transaction: what earlier statements of it wrote becomes visible to
   it, and under read committed a new snapshot is taken. */
err_t txn_next_statement(struct txn *txn) MUST_CHECK;

const struct snapshot *txn_snapshot(const struct txn *txn);
/* The xid, given now if it has none.  Once in some thousand it is logged and may do I/O: no page
   lock may be held.  Errors: ERR_SHUTDOWN, ERR_DISK_FULL, ERR_IO; ERR_TOO_MANY: a snapshot has been
   held for hundreds of millions of transactions. */
err_t txn_xid(struct txn *txn, xid_t *xid) MUST_CHECK;
xid_t txn_xid_if_any(const struct txn *txn);
uint32_t txn_command(const struct txn *txn); /* number of the current statement, from 1 */
enum txn_isolation txn_isolation(const struct txn *txn);

/* A file to be removed once the transaction has committed, or if it does not. */
err_t txn_unlink_at_commit(struct txn *txn, fileno_t file) MUST_CHECK;
err_t txn_unlink_at_abort(struct txn *txn, fileno_t file) MUST_CHECK;
/* Called after commit or abort has taken effect (caches of the catalog). At most 8 a transaction.
 */
err_t txn_at_end(
    struct txn *txn, void (*call)(void *context, bool committed), void *context) MUST_CHECK;

/* Wait until `xid` has ended.  `waiter` has an xid or not.  Errors: ERR_DEADLOCK (this one is
   chosen: of those in the circle its request began to wait last), ERR_INTERRUPTED, ERR_TERMINATED,
   ERR_MAX_TIME.  No light lock may be held. */
err_t txn_wait(struct op *op, struct txn *waiter, xid_t xid) MUST_CHECK;

/* After ERR_DEADLOCK: for whom `txn` waited.  Who tries again should wait for that one first,
   holding nothing (with no waiter), or they meet again. */
xid_t txn_lost_to(const struct txn *txn);

/* Wait until every transaction that has an xid now, `waiter`'s own left out, has ended.  Errors: as
 * txn_wait. */
err_t txn_wait_all(struct op *op, struct txn *waiter) MUST_CHECK;

/* Pass a transaction on: detach it from this process (its place stays, owned by nobody) and take it
   up by its place elsewhere.  Files and callbacks noted in it must be empty. */
err_t txn_park(struct txn *txn, uint32_t *place, uint64_t *ticket) MUST_CHECK;
err_t txn_unpark(
    struct op *op, uint32_t place, uint64_t ticket, struct txn **txn, bool *found) MUST_CHECK;

/* End all transactions of the process that died in `slot`: those whose commit record is in the log
   are finished as committed, the others rolled back.  Waiters wake. */
err_t txn_end_dead(unsigned slot) MUST_CHECK;

/* Transactions in progress with an xid; for status and for tests' "back to zero". */
unsigned txn_running(void);
/* The slot of the process in which this xid runs; -1: in none. */
int txn_runner(xid_t xid);
/* After an internal fault: are the tables possible ones?  Errors: ERR_INTERNAL: what is odd. */
err_t txn_verify(void) MUST_CHECK;
/* Snapshots in use, held ones included. */
unsigned txn_snapshots(void);

/* After recovery: everything in progress then has failed. */
void txn_recovered(void);
/* Before that: so many bytes of the log were given up.  No xid is given again that may have been
   given in them, for its rows may be there. */
void txn_skip(uint64_t lost);

/* On reload: storage.deadlock_timeout_ms. */
void txn_set_deadlock_timeout_ms(int64_t ms);

/* Free this thread's private memory; it has no transaction.  For threads that end before their
 * process. */
void txn_forget_private(void);

#endif
