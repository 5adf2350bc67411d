/*
 * heap.h - rows as bytes, in versions.
 *
 * A row is found by its *root* place, which indexes hold.  An update that changes no indexed key,
 * and finds room on the page, leaves the root where it is and chains the new version behind it
 * (heap-only); any other gives the row a new root, and every index a new entry. Rows larger than a
 * quarter page go to overflow pages of the same file, LZ4-compressed when it pays. Dead versions
 * are pruned when a page is read or written; the rest by heap_vacuum.
 */
#ifndef STORAGE_HEAP_HEAP_H
#define STORAGE_HEAP_HEAP_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/op.h"
#include "base/types.h"
#include "storage/txn/txn.h"
#include "wal/wal_record.h"

#define HEAP_ROW_MAX ((16u << 20) + (16u << 10)) /* bytes of one row */

extern const struct wal_handler heap_handler_insert, heap_handler_update, heap_handler_delete,
    heap_handler_prune, heap_handler_freeze, heap_handler_multi_insert, heap_handler_overflow,
    heap_handler_overflow_free;

/* Which heap: its file and that of its free-space map. */
struct heap {
    fileno_t file;
    fileno_t map;
};

/* Make both files (logged; the caller notes them for rollback). */
err_t heap_create(const struct heap *heap, xid_t xid) MUST_CHECK;

/* Errors of all below: ERR_IO, ERR_CORRUPT, ERR_DISK_FULL (nothing changed), ERR_TOO_LARGE,
 * ERR_MEMORY. */

err_t heap_insert(struct op *op, const struct heap *heap, struct txn *txn, struct bytes row,
    struct row_id *root) MUST_CHECK;
/* Many at once, as few log records as pages; roots[count].  All or an error (then what was inserted
   is the transaction's rubbish: the caller rolls back or heap_undoes). */
err_t heap_insert_many(struct op *op, const struct heap *heap, struct txn *txn,
    const struct bytes *rows, size_t count, struct row_id *roots) MUST_CHECK;

enum heap_outcome {
    HEAP_DONE,
    HEAP_GONE,    /* deleted, by a transaction that committed; or never visible */
    HEAP_CHANGED, /* a newer version was committed after the snapshot; `newer` is its root if not
                     heap-only, else the same root */
    HEAP_BUSY,    /* `busy` is changing it: txn_wait, then look again */
    HEAP_OWN,     /* already changed or deleted by this very statement */
};
struct heap_conflict {
    xid_t busy;
    struct row_id newer;
};

/* The version of `root`'s chain that the transaction's snapshot sees is to become `row`.
   `current` = false: under snapshot rules a newer committed version is HEAP_CHANGED.
   `current` = true: change the newest committed version whatever the snapshot says (the caller has
   just read it with heap_get_newest and found it fitting; HEAP_CHANGED if it is not the one at
   `version`). `same_keys`: no indexed key differs, so the new version may be heap-only; *heap_only
   tells whether it is; if not, *new_root needs index entries. */
err_t heap_update(struct op *op, const struct heap *heap, struct txn *txn, struct row_id root,
    struct row_id version, struct bytes row, bool same_keys, enum heap_outcome *outcome,
    struct heap_conflict *conflict, struct row_id *new_root, bool *heap_only) MUST_CHECK;
err_t heap_delete(struct op *op, const struct heap *heap, struct txn *txn, struct row_id root,
    struct row_id version, enum heap_outcome *outcome, struct heap_conflict *conflict) MUST_CHECK;
/* Take back what this transaction itself inserted at `root` (a unique index refused it): dead at
 * once, for all. */
err_t heap_undo_insert(
    struct op *op, const struct heap *heap, struct txn *txn, struct row_id root) MUST_CHECK;

/* Append the row that the snapshot sees at `root` to `out`; *version is the version's own place
   (for heap_update). The fast way takes no lock and no pin, and writes nothing shared.  `out` may
   be NULL: only whether it is there. */
err_t heap_get(struct op *op, const struct heap *heap, const struct snapshot *snapshot,
    struct row_id root, struct buf *out, struct row_id *version, bool *found) MUST_CHECK;
/* The same for some rows at once: each is appended to `out` behind the one before, and ends at
   got[i].end; nothing of it if it is not seen.  *count: how many there are; how many were got, for
   none is begun when `out` has grown by HEAP_GET_BYTES. */
#define HEAP_GET_MANY  16
#define HEAP_GET_BYTES ((size_t)64 << 10)
struct heap_got {
    struct row_id root;
    bool found;
    size_t end;
};
err_t heap_get_many(struct op *op, const struct heap *heap, const struct snapshot *snapshot,
    const struct row_id *roots, size_t *count, struct buf *out, struct heap_got *got) MUST_CHECK;
/* The newest version that is committed or the transaction's own, for writers under read-committed
   rules. *busy: somebody else is changing it (then found is false: wait, look again).  Follows an
   update that moved the row to a new root: *root is set to where it is now. */
err_t heap_get_newest(struct op *op, const struct heap *heap, struct txn *txn, struct row_id *root,
    struct buf *out, struct row_id *version, bool *found, xid_t *busy) MUST_CHECK;

/* For unique indexes: what lives at `root` for a writer who wants its key. */
enum heap_liveness {
    HEAP_DEAD,      /* nobody sees it, or ever will */
    HEAP_LIVE,      /* a committed row, or the transaction's own */
    HEAP_UNDECIDED, /* `busy` inserted or deleted it and has not ended */
};
err_t heap_liveness(struct op *op, const struct heap *heap, struct txn *txn, struct row_id root,
    enum heap_liveness *liveness, xid_t *busy) MUST_CHECK;

/* Scan.  Works on private copies of pages: no lock or pin is held between calls. */
struct heap_scan;
err_t heap_scan_begin(struct op *op, const struct heap *heap, const struct snapshot *snapshot,
    struct heap_scan **scan) MUST_CHECK; /* malloced; end it */
/* The next row, in order of place; `row` is valid until the next call.  `row` may be NULL: only
   that it is there, and where. */
err_t heap_scan_next(struct op *op, struct heap_scan *scan, struct bytes *row, struct row_id *root,
    struct row_id *version, bool *found) MUST_CHECK;
/* Go on behind `root` (ROW_ID_NONE: from the beginning): a cursor taken up by another process. */
void heap_scan_seek(struct heap_scan *scan, struct row_id root);
void heap_scan_end(struct heap_scan *scan);
/* All pages, all versions that anybody may still see (index builds): newest rows with their roots,
   including those in progress.  `any` scans give each root once. */
err_t heap_scan_begin_any(
    struct op *op, const struct heap *heap, struct heap_scan **scan) MUST_CHECK;

/* Vacuum: collects roots that are dead to all, lets `forget` take them out of every index (sorted;
   called one or more times), then frees their items; freezes old versions, notes free space, gives
   back empty pages at the end. */
struct heap_vacuum_result {
    uint64_t pages, rows_live, versions_removed, pages_cut;
};
err_t heap_vacuum(struct op *op, const struct heap *heap,
    err_t (*forget)(void *context, const struct row_id *dead, size_t count), void *context,
    struct heap_vacuum_result *result) MUST_CHECK;

/* Walk everything: page form, chains, overflow (each overflow page owned once).  Each fault found
   is told through `report`; goes on behind damage. */
err_t heap_check(struct op *op, const struct heap *heap,
    void (*report)(void *context, struct page_id where, const char *what), void *context,
    uint64_t *rows) MUST_CHECK;

#endif
