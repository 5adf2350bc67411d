/*
 * wal_insert.h - putting a record in the log.
 *
 * The three beats of a logged change:
 *   TRY(wal_insert_reserve(bytes));        may fail: log full, server stopping
 *   … lock pages …
 *   crit_begin();
 *     … change the pages …
 *     wal_insert_begin();
 *     wal_insert_data(&head, sizeof head);
 *     wal_insert_page(0, id, page, flags);
 *     wal_insert_page_data(0, key, size);
 *     lsn = wal_insert(WAL_HEAP_INSERT, xid);
 *     … set the pages' LSN …
 *   crit_end();
 * Nothing is copied before wal_insert: what was handed over must stay valid until then.
 * Whether a page goes in whole (its first change since the last checkpoint's redo point) is
 * decided inside: so the page must already show the change, still carry its old LSN, and be
 * locked exclusively.
 */
#ifndef WAL_WAL_INSERT_H
#define WAL_WAL_INSERT_H

#include "wal/wal_page.h"
#include "wal/wal_record.h"

/* Make sure that records of `size` bytes in all (page images not counted; the log keeps a reserve
   for them) can go in without failing.  Errors: ERR_DISK_FULL: the log's disk is full, reads go on;
   ERR_SHUTDOWN.  Not inside a critical section or under a light lock of rank ≥ RANK_PAGE:
   it may create a segment. */
err_t wal_insert_reserve(size_t size) MUST_CHECK;
/* The same for what makes room (a delete, a drop, vacuum) or ends what was begun (a commit, a
   rollback): it is refused later than all else. */
err_t wal_insert_reserve_shrink(size_t size) MUST_CHECK;

void wal_insert_begin(void);
void wal_insert_data(const void *data, size_t size); /* at most 8 pieces */
void wal_insert_page(unsigned n, struct page_id id, const void *page, unsigned flags);
void wal_insert_page_data(unsigned n, const void *data, size_t size); /* at most 24 pieces in all */

/* Put it in; yields its end.  Cannot fail (a failing log disk is a panic).  May wait for room in
   the log buffer, writing older records out itself.  Locks: RANK_WAL_INSERT and above.
   Called inside a critical section. */
lsn_t wal_insert(enum wal_kind kind, xid_t xid);

lsn_t wal_insert_position(
    void);                    /* end of what has been reserved: where the next record will begin */
lsn_t wal_insert_start(void); /* where the record begins that this process inserted last */
lsn_t wal_insert_redo_point(
    void); /* pages whose LSN is not beyond it are logged whole at their next change */

#endif
