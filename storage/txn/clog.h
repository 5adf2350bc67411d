/*
 * clog.h - the commit log: two bits for every xid that ever was, on pages of DATAFILE_CLOG.
 *
 * What stands here is durable when the log is flushed up to its record, not before: of an xid of
 * this life snapshot_fate asks the ring of commit numbers first.
 */
#ifndef STORAGE_TXN_CLOG_H
#define STORAGE_TXN_CLOG_H

#include "base/err.h"
#include "storage/page/pool.h"
#include "storage/txn/snapshot.h"

/* What the bits say.  Errors: ERR_IO, ERR_CORRUPT. */
err_t clog_get(xid_t xid, enum xid_fate *fate) MUST_CHECK;

/* Pin the page of `xid`, for clog_set.  Errors: as pool_pin. */
err_t clog_pin(xid_t xid, buffer_t *buffer) MUST_CHECK;
/* Set the fate and log it by one record of `kind` with this payload; yields the record's end.
   The log's room is reserved.  Unpins.  Locks: the page's. */
lsn_t clog_set(buffer_t buffer, xid_t xid, enum xid_fate fate, enum wal_kind kind, const void *data,
    size_t size);

/* Redo of such a record: page 0 is the clog's. */
err_t clog_redo(const struct wal_record *record, enum xid_fate fate) MUST_CHECK;

/* Make the file and its pages for all xids in from … below-1 if they are not there; logged.
   One caller at a time (RANK_XID_EXTEND).  Errors: ERR_DISK_FULL, ERR_IO, ERR_SHUTDOWN. */
err_t clog_make(xid_t from, xid_t below) MUST_CHECK;

#endif
