/*
 * cursors.h - queries whose results are fetched batch by batch.
 *
 * A cursor is a place in a table in shared memory: its id, whose it is, its query as BSON, its
 * snapshot (held against vacuum), and its run as saved at the end of a batch.  Between batches no
 * process has anything of it: any backend can go on with it, and a backend's death costs a cursor
 * only if it was just fetching.
 *
 * From open or take to park or close a statement is open (catalog_enter, and with open a
 * transaction): no verbs may be called in between.
 */
#ifndef BACKEND_COMMAND_CURSORS_H
#define BACKEND_COMMAND_CURSORS_H

#include "backend/command/verb.h"
#include "shmem/region.h"

extern const struct region cursors_region;

struct cursor; /* private, for the time of a request */

/* Begin one.  *cursor NULL: the collection does not exist (an empty result).  The query's bytes
   stay valid until it is parked.  Errors: those of run_begin. */
err_t cursors_open(struct op *op, const struct verb_ns *ns, const struct run_query *query,
    struct txn *txn, struct cursor **cursor) MUST_CHECK;
err_t cursors_next(
    struct op *op, struct cursor *cursor, struct bytes *document, bool *found) MUST_CHECK;
/* The last document given did not fit: it will be the next one again. */
void cursors_unread(struct cursor *cursor);
/* Keep it for later requests; yields its id (above 0, random).  `owner`: a session's key that must
 * be given again, 0: none.  After it the cursor is gone from this request, whatever comes back.
 * Errors: ERR_TOO_MANY: the table is full. */
err_t cursors_park(struct op *op, struct cursor *cursor, uint64_t owner, int64_t *id) MUST_CHECK;
/* End it (NULL: nothing). */
void cursors_close(struct op *op, struct cursor *cursor);
/* It never expires while its owner lives (noCursorTimeout). */
void cursors_set_no_timeout(struct cursor *cursor);
/* Take one up.  Errors: ERR_CURSOR_NOT_FOUND; ERR_UNAUTHORIZED: another namespace or owner; 175
 * QueryPlanKilled: its collection was dropped. */
err_t cursors_take(struct op *op, int64_t id, const struct verb_ns *ns, uint64_t owner,
    struct cursor **cursor) MUST_CHECK;
bool cursors_kill(struct op *op, int64_t id, const struct verb_ns *ns);
/* End those idle for longer than the timeout, and those of owner sessions that ended (0: none).
 * Called now and then by backends and by autovacuum's caller. */
void cursors_expire(int64_t idle_ns);
void cursors_end_owner(uint64_t owner);
uint64_t cursors_open_count(void);
/* After an internal fault: is the table a possible one?  Errors: ERR_INTERNAL: what is odd. */
err_t cursors_verify(void) MUST_CHECK;

#endif
