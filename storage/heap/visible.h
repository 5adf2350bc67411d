/*
 * visible.h - who may see a row version, and what a writer may do with it.
 *
 * Readers work on a version's head alone, wherever it lies (a page, or a copy of one).
 */
#ifndef STORAGE_HEAP_VISIBLE_H
#define STORAGE_HEAP_VISIBLE_H

#include <stdbool.h>

#include "shmem/region.h"
#include "storage/heap/heap.h"
#include "storage/heap/heappage.h"
#include "storage/txn/snapshot.h"

/* How far commits that may be noted in pages are known to be on disk.  If the engine gives it no
   place in shared memory, hints are set only while the whole log is on disk. */
extern const struct region visible_region;

enum visible_answer { VISIBLE_NO = 0, VISIBLE_YES = 1, VISIBLE_ASK = 2 };

/* From flags and numbers alone, without asking anyone: most rows most of the time. */
static inline enum visible_answer
visible_quick(const struct snapshot *snapshot, const struct heappage_row *row, unsigned flags)
{
    if ((flags & HEAPPAGE_XMIN_FROZEN) == 0) {
        if (row->xmin == snapshot->own) {
            if (row->cmin >= snapshot->command || (flags & HEAPPAGE_XMIN_ABORTED) != 0)
                return VISIBLE_NO;
        } else if ((flags & HEAPPAGE_XMIN_ABORTED) != 0) {
            return VISIBLE_NO;
        } else if ((flags & HEAPPAGE_XMIN_COMMITTED) == 0 ||
                   row->xmin >= snapshot->all_ended_below) {
            return VISIBLE_ASK;
        }
    }
    if (row->xmax == 0 || (flags & HEAPPAGE_XMAX_ABORTED) != 0)
        return VISIBLE_YES;
    if (row->xmax == snapshot->own)
        return row->cmax >= snapshot->command ? VISIBLE_YES : VISIBLE_NO;
    if ((flags & HEAPPAGE_XMAX_COMMITTED) != 0 && row->xmax < snapshot->all_ended_below)
        return VISIBLE_NO;
    return VISIBLE_ASK;
}

/* The last fates that a scan asked for: rows next to each other were mostly made by the same. */
struct visible_memory {
    xid_t xid;
    bool sees;
};

/* The full question.  *hints: flags that may be set on the row now (0 if `hints` is NULL: not asked
   for).  `memory` may be NULL; it belongs to one snapshot.  Errors: ERR_IO, ERR_CORRUPT. */
err_t visible_ask(const struct snapshot *snapshot, const struct heappage_row *row,
    struct visible_memory *memory, bool *sees, unsigned *hints) MUST_CHECK;

/* What a version is to those who clean up; `freezing`: whether `freezable` is wanted, which costs a
 * look-up. */
struct visible_rest {
    bool dead;        /* nobody sees it, or ever will */
    bool failed;      /* because its maker failed */
    bool freezable;   /* its maker committed before every snapshot */
    bool xmax_failed; /* xmax is set, but by someone who failed */
    bool settled;     /* neither end is in progress */
};
err_t visible_rest(const struct heappage_row *row, csn_t horizon, bool freezing,
    struct visible_rest *rest) MUST_CHECK;

/* What stands at a version's two ends, for writers. */
enum visible_end { VISIBLE_NONE, VISIBLE_OWN, VISIBLE_RUNNING, VISIBLE_COMMITTED, VISIBLE_FAILED };
err_t visible_made(const struct heappage_row *row, xid_t own, enum visible_end *end) MUST_CHECK;
err_t visible_ended(const struct heappage_row *row, xid_t own, enum visible_end *end) MUST_CHECK;

/* Whether `txn` may change version `item` of `root`'s chain on this page (locked, or a copy). */
err_t visible_judge(const void *page, struct row_id root, unsigned item, xid_t own,
    uint32_t command, enum heap_outcome *outcome, struct heap_conflict *conflict) MUST_CHECK;

#endif
