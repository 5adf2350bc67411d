/*
 * prune.h - cutting dead versions off a page, and closing the gaps.
 */
#ifndef STORAGE_HEAP_PRUNE_H
#define STORAGE_HEAP_PRUNE_H

#include "storage/heap/heap.h"
#include "storage/heap/heappage.h"
#include "storage/heap/overflow.h"
#include "storage/page/pool.h"

/* Rows with overflow chains that a page may hold. */
#define PRUNE_CHAINS_MAX (PAGE_SIZE_MAX / 52u)
/* Log bytes that a prune may need. */
#define PRUNE_LOG_MAX (64u + HEAPPAGE_ITEMS_MAX * 4u)

struct prune_plan {
    xid_t prune_xid; /* what the page will carry */
    unsigned redirects, dead, unused;
    uint16_t redirect[HEAPPAGE_ITEMS_MAX][2]; /* item, and what it will stand for */
    uint16_t dead_item[HEAPPAGE_ITEMS_MAX];
    uint16_t unused_item[HEAPPAGE_ITEMS_MAX];
    unsigned versions; /* rows that go */
    unsigned chains;   /* overflow chains that go with them */
    struct overflow_chain chain[PRUNE_CHAINS_MAX];
};

/* Worth looking: the oldest change of the page is over for all. */
bool prune_worthwhile(const void *page);

/* What may go; the page is locked or a copy.  Errors: ERR_IO, ERR_CORRUPT. */
err_t prune_plan(const void *page, csn_t horizon, struct prune_plan *plan) MUST_CHECK;
static inline bool
prune_plan_empty(const struct prune_plan *plan)
{
    return plan->redirects + plan->dead + plan->unused == 0;
}

/* Do it and log it: exclusive lock; PRUNE_LOG_MAX bytes of log are reserved.  Cannot fail. */
void prune_execute(buffer_t buffer, const struct prune_plan *plan);
/* The change itself, also of redo. */
void prune_apply(void *page, const struct prune_plan *plan);
/* Whether the plan, read from a log record, fits the page. */
bool prune_fits(const void *page, const struct prune_plan *plan);

/* The whole round on a page locked exclusively; `exact`: the horizon is computed anew.  *plan is
   the caller's memory and tells what went: its chains are to be freed (prune_free) once the page is
   unlocked. */
err_t prune_page(buffer_t buffer, bool exact, struct prune_plan *plan) MUST_CHECK;
void prune_free(const struct heap *heap, const struct prune_plan *plan);

/* Prune the page if that is worthwhile and nobody holds it: for readers who met dead versions.
   Errors are swallowed: the reader has its row already. */
void prune_try(const struct heap *heap, block_t block);

#endif
