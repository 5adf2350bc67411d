/*
 * prune.c - cutting dead versions off a page.
 *
 * A chain  root → v1 → v2 → v3  whose first versions are dead to all becomes  root ⇒ v3  (a
 * redirect); if all are dead the root becomes a dead item, which vacuum frees when every index has
 * forgotten it (H4).  Heap-only versions are known to no index: their items are free at once.
 *
 * INVARIANTS
 *   P1  A version goes only if its maker failed, or if its deletion committed below the horizon: no
 *       snapshot alive or to come sees it, and no writer can still have chosen it, for a writer's
 *       own snapshot holds the horizon back.
 *   P2  Bytes move only under the exclusive lock and inside a change: peeks fail, nobody else
 *       points into the page.
 *   P3  What goes is decided before the critical section; in it there is only copying and the log.
 *
 * IF A PROCESS DIES before the section: nothing was changed.  In it: rebuilt from the log.  After
 * it, with overflow chains not yet freed: vacuum finds their pages.
 */
#include "storage/heap/prune.h"

#include <stdlib.h>
#include <string.h>

#include "base/crit.h"
#include "base/fault.h"
#include "storage/heap/heaplog.h"
#include "storage/heap/visible.h"
#include "wal/wal_insert.h"

bool
prune_worthwhile(const void *page)
{
    const struct heappage *heap = page;

    if (heap->header.kind != PAGE_HEAP || heap->prune_xid == 0)
        return false;
    if (heap->prune_xid < snapshot_horizon_xid())
        return true;
    (void)snapshot_horizon(false); /* what is known may be old */
    return heap->prune_xid < snapshot_horizon_xid();
}

/* A version that goes: its overflow chain goes with it. */
static void
drop_version(struct prune_plan *plan, const void *page, unsigned n)
{
    unsigned length = 0;
    const struct heappage_row *row = heappage_row(page, n, &length);
    struct heappage_overflow pointer;

    plan->versions++;
    if (row == NULL || (heappage_flags(row) & HEAPPAGE_OVERFLOW) == 0 ||
        plan->chains >= PRUNE_CHAINS_MAX || length != sizeof *row + sizeof pointer)
        return;
    memcpy(&pointer, row->data, sizeof pointer);
    plan->chain[plan->chains++] = (struct overflow_chain){ row->xmin, pointer.first, pointer.last };
}

/* A version that stays: when would looking again be worthwhile? */
static void
keep_version(struct prune_plan *plan, const struct heappage_row *row, bool failed_xmax)
{
    if (row->xmax != 0 && !failed_xmax && (plan->prune_xid == 0 || row->xmax < plan->prune_xid))
        plan->prune_xid = row->xmax;
}

/* A chain in which nobody lives must have an end; one that breaks off is damage, and left as it is
   for heap_check to tell. */
static bool
chain_ends(const void *page, unsigned last, bool failed)
{
    const struct heappage_row *row = heappage_row(page, last, NULL);

    return row != NULL && (failed || (heappage_flags(row) & HEAPPAGE_HOT_UPDATED) == 0);
}

/* One root's chain. seen[n]: reached. */
static err_t
plan_chain(const void *page, unsigned root, csn_t horizon, uint8_t *seen, struct prune_plan *plan)
{
    bool redirect = heappage_item_state(heappage_item(page, root)) == HEAPPAGE_REDIRECT;
    unsigned gone[HEAPPAGE_ITEMS_MAX], count = 0, alive = 0;
    unsigned n = heappage_first(page, root);
    struct visible_rest rest = { 0 };

    for (; n != 0 && !seen[n]; n = heappage_next(page, n)) {
        seen[n] = 1;
        TRY_RETURN(visible_rest(heappage_row(page, n, NULL), horizon, false, &rest));
        if (!rest.dead) {
            alive = n;
            break;
        }
        gone[count++] = n;
        if (rest.failed)
            break; /* what follows, if anything, was made by nobody who matters */
    }
    if (alive == 0 && !chain_ends(page, count > 0 ? gone[count - 1] : 0, rest.failed))
        return OK;
    if (alive != 0) {
        keep_version(plan, heappage_row(page, alive, NULL), rest.xmax_failed);
        for (n = heappage_next(page, alive); n != 0 && !seen[n]; n = heappage_next(page, n)) {
            TRY_RETURN(visible_rest(heappage_row(page, n, NULL), horizon, false, &rest));
            if (rest.failed)
                break; /* left to plan_orphans */
            seen[n] = 1;
            keep_version(plan, heappage_row(page, n, NULL), rest.xmax_failed);
        }
        if (count == 0)
            return OK;
        plan->redirect[plan->redirects][0] = (uint16_t)root;
        plan->redirect[plan->redirects++][1] = (uint16_t)alive;
    } else {
        plan->dead_item[plan->dead++] = (uint16_t)root;
    }
    for (unsigned i = 0; i < count; i++) {
        drop_version(plan, page, gone[i]);
        if (gone[i] != root || redirect)
            plan->unused_item[plan->unused++] = (uint16_t)gone[i];
    }
    return OK;
}

/* Heap-only versions that no chain reaches: their makers failed, and the version they were to
   replace has been left as it was, or replaced by another. */
static err_t
plan_orphans(const void *page, csn_t horizon, const uint8_t *seen, struct prune_plan *plan)
{
    unsigned count = heappage_count(page);

    for (unsigned n = 1; n <= count; n++) {
        const struct heappage_row *row = heappage_row(page, n, NULL);
        struct visible_rest rest;

        if (row == NULL || seen[n] || (heappage_flags(row) & HEAPPAGE_HEAP_ONLY) == 0)
            continue;
        TRY_RETURN(visible_rest(row, horizon, false, &rest));
        if (!rest.failed) {
            keep_version(plan, row, rest.xmax_failed);
            continue;
        }
        drop_version(plan, page, n);
        plan->unused_item[plan->unused++] = (uint16_t)n;
    }
    return OK;
}

err_t
prune_plan(const void *page, csn_t horizon, struct prune_plan *plan)
{
    uint8_t seen[HEAPPAGE_ITEMS_MAX + 1] = { 0 };
    unsigned count = heappage_count(page);

    plan->prune_xid = 0;
    plan->redirects = plan->dead = plan->unused = plan->versions = plan->chains = 0;
    if (!heappage_rows_fit(page))
        return err_set(ERR_CORRUPT, "a heap page has rows that overlap; 'gneiss check' tells more");
    for (unsigned n = 1; n <= count; n++) {
        if (heappage_first(page, n) != 0)
            TRY_RETURN(plan_chain(page, n, horizon, seen, plan));
    }
    return plan_orphans(page, horizon, seen, plan);
}

bool
prune_fits(const void *page, const struct prune_plan *plan)
{
    unsigned count = heappage_count(page);

    for (unsigned i = 0; i < plan->redirects; i++) {
        unsigned from = plan->redirect[i][0], to = plan->redirect[i][1];

        if (from == 0 || from > count || to == 0 || to > count || from == to)
            return false;
    }
    for (unsigned i = 0; i < plan->dead; i++)
        if (plan->dead_item[i] == 0 || plan->dead_item[i] > count)
            return false;
    for (unsigned i = 0; i < plan->unused; i++)
        if (plan->unused_item[i] == 0 || plan->unused_item[i] > count)
            return false;
    return heappage_rows_fit(page);
}

void
prune_apply(void *page, const struct prune_plan *plan)
{
    struct heappage *heap = page;

    for (unsigned i = 0; i < plan->redirects; i++)
        heappage_set_item(page, plan->redirect[i][0],
            heappage_item_make(plan->redirect[i][1], HEAPPAGE_REDIRECT, 0));
    for (unsigned i = 0; i < plan->dead; i++)
        heappage_set_item(page, plan->dead_item[i], heappage_item_make(0, HEAPPAGE_DEAD, 0));
    for (unsigned i = 0; i < plan->unused; i++)
        heappage_set_item(page, plan->unused_item[i], 0);
    heappage_compact(page);
    heap->prune_xid = plan->prune_xid;
}

void
prune_execute(buffer_t buffer, const struct prune_plan *plan)
{
    struct heaplog_prune head = { plan->prune_xid, (uint16_t)plan->redirects, (uint16_t)plan->dead,
        (uint16_t)plan->unused, 0 };

    crit_begin();
    pool_change_begin(buffer);
    prune_apply(pool_page(buffer), plan); /* P2 */
    wal_insert_begin();
    wal_insert_data(&head, sizeof head);
    pool_log(0, buffer, WAL_PAGE_PLAIN);
    wal_insert_page_data(0, plan->redirect, plan->redirects * sizeof plan->redirect[0]);
    wal_insert_page_data(0, plan->dead_item, plan->dead * sizeof plan->dead_item[0]);
    wal_insert_page_data(0, plan->unused_item, plan->unused * sizeof plan->unused_item[0]);
    pool_change_end(buffer, wal_insert(WAL_HEAP_PRUNE, 0));
    crit_end();
}

err_t
prune_page(buffer_t buffer, bool exact, struct prune_plan *plan)
{
    TRY_RETURN(prune_plan(pool_page(buffer), snapshot_horizon(exact), plan));
    if (!prune_plan_empty(plan))
        prune_execute(buffer, plan);
    return OK;
}

void
prune_free(const struct heap *heap, const struct prune_plan *plan)
{
    (void)fault_pass(FAULT_ROW_PRUNED);
    for (unsigned i = 0; i < plan->chains; i++) {
        err_t ignored = overflow_free(heap, &plan->chain[i]);

        (void)ignored; /* vacuum will find it */
    }
}

void
prune_try(const struct heap *heap, block_t block)
{
    struct prune_plan plan;
    buffer_t buffer;

    plan.chains = 0;
    if (wal_insert_reserve_shrink(PRUNE_LOG_MAX) != OK)
        return;
    if (pool_pin((struct page_id){ heap->file, block }, POOL_NORMAL, &buffer) != OK)
        return;
    if (pool_try_lock(buffer, LW_EXCLUSIVE)) {
        if (prune_worthwhile(pool_page(buffer)) && prune_page(buffer, false, &plan) != OK)
            plan.chains = 0;
        pool_unlock(buffer);
    }
    pool_unpin(buffer);
    prune_free(heap, &plan);
}
