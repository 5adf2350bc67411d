/*
 * index.h - the one face of all kinds of indexes.
 *
 * An index holds entries (key bytes, row place); keys compare by memcmp, equal keys by place.  It
 * knows nothing of documents.  Entries are put in by the transaction that makes the row, and are
 * taken out only by vacuum (or when seen to be dead to all): whether a row is visible is asked of
 * the heap.
 */
#ifndef STORAGE_INDEX_INDEX_H
#define STORAGE_INDEX_INDEX_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/op.h"
#include "base/types.h"
#include "storage/txn/txn.h"
#include "wal/wal_record.h"

#define INDEX_KEY_MAX 1024 /* bytes; a page of 4 KiB holds at least three */

enum index_kind { INDEX_BTREE = 1, INDEX_HASH = 2 }; /* numbers are on disk */

struct index {
    fileno_t file;
    enum index_kind kind;
    bool unique;
};

/* For a unique insert: asked about each entry with an equal key, under the leaf's lock. */
enum index_verdict {
    INDEX_FREE,     /* that row is dead: no conflict */
    INDEX_CONFLICT, /* it lives */
    INDEX_WAIT,     /* its transaction is in progress: *xid */
};
struct index_judge {
    err_t (*judge)(void *context, struct row_id row, enum index_verdict *verdict, xid_t *xid);
    void *context;
};

/* A range: keys from `low` to `high`.  An empty slice with the flag false means no bound there. */
struct index_range {
    struct bytes low, high;
    bool has_low, has_high;
    bool low_excluded, high_excluded; /* the key itself is out */
    bool low_prefix_excluded;         /* every key that begins with `low` is out, too */
    bool high_prefix_included;        /* every key that begins with `high` is in, too */
    bool backward;
};

struct index_entry {
    struct bytes key;
    struct row_id row;
};

struct index_scan; /* private; malloced */

/* The table of a kind: btree.c and hash.c export one each. */
struct index_methods {
    enum index_kind kind;
    const char *name;
    err_t (*create)(const struct index *index, xid_t xid);
    /* Put an entry in.  Unique (judge not NULL): *verdict INDEX_FREE: it is in; INDEX_CONFLICT:
       not; *row the other; INDEX_WAIT: not, wait for *xid and call again.  The same (key, row)
       twice is in once. */
    err_t (*insert)(struct op *op, const struct index *index, struct bytes key, struct row_id row,
        xid_t xid, const struct index_judge *judge, enum index_verdict *verdict,
        struct row_id *other, xid_t *wait_for);
    /* Put many in, given in order (of key, then row); *done: the first so many are in for certain.
       Fewer than all: the next one meets a conflict, or must wait; insert tells which. */
    err_t (*insert_many)(struct op *op, const struct index *index,
        const struct index_entry *entries, size_t count, xid_t xid, const struct index_judge *judge,
        size_t *done);
    /* The rows of one key, at most `most`, without pins: the fast way of _id lookups.  *count may
       be above `most`: use a scan then. */
    err_t (*lookup)(struct op *op, const struct index *index, struct bytes key, struct row_id *rows,
        size_t most, size_t *count);
    err_t (*scan_begin)(struct op *op, const struct index *index, const struct index_range *range,
        struct index_scan **scan);
    /* Next entry; valid until the next call.  Works on private copies of entries. */
    err_t (*scan_next)(
        struct op *op, struct index_scan *scan, struct index_entry *entry, bool *found);
    /* The rows of the entries that follow the last one given, as far as they are known already:
       they may be fetched ahead.  Yields how many. */
    size_t (*scan_ahead)(const struct index_scan *scan, const struct row_id **rows);
    /* Go on behind this entry (taken up by another process). */
    err_t (*scan_seek)(struct op *op, struct index_scan *scan, struct bytes key, struct row_id row);
    void (*scan_end)(struct index_scan *scan);
    /* Take out all entries whose row `dead` tells; for vacuum.  Empty pages are deleted and reused.
     */
    err_t (*remove)(struct op *op, const struct index *index,
        bool (*dead)(void *context, struct row_id row), void *context, uint64_t *removed);
    /* Build from entries in key order (a new, still private index; much faster than inserts). */
    err_t (*build)(struct op *op, const struct index *index, xid_t xid,
        err_t (*next)(void *context, struct index_entry *entry, bool *found), void *context);
    /* Form, order, links, high keys; each entry is shown to `visit` (may be NULL). */
    err_t (*check)(struct op *op, const struct index *index,
        void (*report)(void *context, struct page_id where, const char *what),
        err_t (*visit)(void *context, const struct index_entry *entry), void *context,
        uint64_t *entries);
    /* For the planner: how many entries lie in the range, estimated from inner pages. */
    err_t (*estimate)(struct op *op, const struct index *index, const struct index_range *range,
        uint64_t *entries);
    err_t (*pages)(const struct index *index, uint64_t *pages);
};

const struct index_methods *index_methods(enum index_kind kind); /* NULL: no such kind */

#endif
