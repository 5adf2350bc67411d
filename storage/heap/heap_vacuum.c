/*
 * heap_vacuum.c - removing what nobody sees any more.
 *
 * One walk over the pages.  Each is looked at in a private copy first, and locked only if there is
 * something to do: prune it, freeze old versions.  Roots that have become dead items are collected,
 * in order of place; when the batch is full, or at the end, `forget` takes them out of every index,
 * and then their items are made unused.
 *
 * Overflow pages that no row owns (their writer failed or died before the row was put in) are found
 * by mark and sweep: the walk marks the last block of every chain that a row points to, and notes
 * overflow pages whose xid ended before the walk began; afterwards each of these whose chain was
 * not marked is freed.
 *
 * INVARIANTS
 *   W1  One vacuum of a heap at a time: the caller sees to it.  Two could free an item that was
 *       given to another row between the one's forgetting and the other's freeing.
 *   W2  An item is freed only after `forget` returned OK for it, and only if it is still dead.
 *   W3  A row whose xid ended before the walk began was put on its page before; rows never move to
 *       another page.  So the walk sees every owner of the pages that may be swept, or the owner
 *       was pruned by somebody who frees the chain himself.
 *   W4  Memory is bounded: a batch of BATCH roots and two bits for each block.
 *
 * Pages at the file's end that have become empty stay, and are given to new rows first to last: a
 * process may hold the number of such a page (from the map, or in a scan) without any lock, so the
 * file can only be cut by who has the heap to himself.
 *
 * IF A PROCESS DIES: each step is one critical section.  Dead items not yet forgotten are found
 * again by the next vacuum; forgetting twice harms nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/crit.h"
#include "base/fault.h"
#include "shmem/interrupt.h"
#include "storage/heap/heap.h"
#include "storage/heap/heaplog.h"
#include "storage/heap/heappage.h"
#include "storage/heap/overflow.h"
#include "storage/heap/prune.h"
#include "storage/heap/visible.h"
#include "storage/page/datafile.h"
#include "storage/page/freespace.h"
#include "storage/page/pool.h"
#include "wal/wal_insert.h"

#define BATCH 65536u

struct freeze_plan {
    unsigned frozen, cleared;
    uint16_t frozen_item[HEAPPAGE_ITEMS_MAX];
    uint16_t cleared_item[HEAPPAGE_ITEMS_MAX];
    bool all_frozen;
};

struct vacuum {
    struct op *op;
    const struct heap *heap;
    err_t (*forget)(void *context, const struct row_id *dead, size_t count);
    void *context;
    struct heap_vacuum_result *result;
    csn_t horizon;
    xid_t ended_below; /* xids below had ended when the walk began */
    block_t blocks;
    uint8_t *owned;      /* a bit for each block: last of a chain that a row points to */
    uint8_t *candidates; /* a bit for each block: overflow page of an xid that has ended */
    struct row_id *dead; /* [BATCH] */
    size_t dead_count;
    uint8_t *page; /* private copy */
    struct prune_plan *prune;
    struct freeze_plan freeze;
};

static bool
bit_get(const uint8_t *bits, block_t n)
{
    return (bits[n / 8u] & (1u << (n % 8u))) != 0;
}

static void
bit_set(uint8_t *bits, block_t n)
{
    bits[n / 8u] = (uint8_t)(bits[n / 8u] | 1u << (n % 8u));
}

/* What may be frozen on a page that was just pruned. */
static err_t
plan_freeze(const void *page, csn_t horizon, struct freeze_plan *plan)
{
    unsigned count = heappage_count(page);

    plan->frozen = plan->cleared = 0;
    plan->all_frozen = true;
    for (unsigned n = 1; n <= count; n++) {
        const struct heappage_row *row = heappage_row(page, n, NULL);
        struct visible_rest rest;
        unsigned flags;

        if (heappage_item_state(heappage_item(page, n)) == HEAPPAGE_REDIRECT)
            plan->all_frozen = false;
        if (row == NULL)
            continue;
        flags = heappage_flags(row);
        TRY_RETURN(visible_rest(row, horizon, true, &rest));
        if (rest.freezable)
            plan->frozen_item[plan->frozen++] = (uint16_t)n;
        if (rest.xmax_failed)
            plan->cleared_item[plan->cleared++] = (uint16_t)n;
        if ((!rest.freezable && (flags & HEAPPAGE_XMIN_FROZEN) == 0) ||
            (row->xmax != 0 && !rest.xmax_failed) || (flags & HEAPPAGE_HEAP_ONLY) != 0)
            plan->all_frozen = false;
    }
    return OK;
}

static bool
freeze_worth_it(const void *page, const struct freeze_plan *plan)
{
    bool marked = (((const struct page_header *)page)->flags & HEAPPAGE_ALL_FROZEN) != 0;

    return plan->frozen + plan->cleared > 0 || (plan->all_frozen && !marked);
}

static void
execute_freeze(buffer_t buffer, const struct freeze_plan *plan)
{
    struct heaplog_freeze head = { (uint16_t)plan->frozen, (uint16_t)plan->cleared,
        plan->all_frozen, 0 };
    void *page = pool_page(buffer);

    crit_begin();
    pool_change_begin(buffer);
    for (unsigned i = 0; i < plan->frozen; i++)
        heappage_freeze(page, plan->frozen_item[i]);
    for (unsigned i = 0; i < plan->cleared; i++)
        heappage_clear_xmax(page, plan->cleared_item[i]);
    if (plan->all_frozen)
        ((struct page_header *)page)->flags |= HEAPPAGE_ALL_FROZEN;
    wal_insert_begin();
    wal_insert_data(&head, sizeof head);
    pool_log(0, buffer, WAL_PAGE_PLAIN);
    wal_insert_page_data(0, plan->frozen_item, plan->frozen * sizeof plan->frozen_item[0]);
    wal_insert_page_data(0, plan->cleared_item, plan->cleared * sizeof plan->cleared_item[0]);
    pool_change_end(buffer, wal_insert(WAL_HEAP_FREEZE, 0));
    crit_end();
}

/* Whether the copy shows anything to be done under the lock. */
static err_t
anything_to_do(struct vacuum *v, bool *yes)
{
    *yes = false;
    if ((((const struct page_header *)v->page)->flags & HEAPPAGE_ALL_FROZEN) != 0)
        return OK;
    TRY_RETURN(prune_plan(v->page, v->horizon, v->prune));
    TRY_RETURN(plan_freeze(v->page, v->horizon, &v->freeze));
    *yes = !prune_plan_empty(v->prune) || freeze_worth_it(v->page, &v->freeze);
    return OK;
}

/* Prune and freeze the page; leaves what it has become in v->page. */
static err_t
work_on_page(struct vacuum *v, block_t block)
{
    buffer_t buffer;
    err_t err;

    v->prune->chains = 0;
    TRY_RETURN(wal_insert_reserve_shrink(PRUNE_LOG_MAX * 2));
    TRY_RETURN(pool_pin((struct page_id){ v->heap->file, block }, POOL_SCAN, &buffer));
    pool_lock(buffer, LW_EXCLUSIVE);
    err = OK;
    if (((struct page_header *)pool_page(buffer))->kind == PAGE_HEAP) {
        TRY(prune_plan(pool_page(buffer), v->horizon, v->prune));
        if (!prune_plan_empty(v->prune)) {
            prune_execute(buffer, v->prune);
            v->result->versions_removed += v->prune->versions;
        }
        TRY(plan_freeze(pool_page(buffer), v->horizon, &v->freeze));
        if (freeze_worth_it(pool_page(buffer), &v->freeze))
            execute_freeze(buffer, &v->freeze);
    }
    memcpy(v->page, pool_page(buffer), wal_page_size);
out:
    pool_unlock(buffer);
    pool_unpin(buffer);
    if (err != OK)
        return err;
    prune_free(v->heap, v->prune);
    return OK;
}

/* W2: free the items of the batch, page by page. */
static err_t
free_items(struct vacuum *v)
{
    for (size_t i = 0; i < v->dead_count;) {
        block_t block = v->dead[i].block;
        buffer_t buffer;
        size_t left;

        TRY_RETURN(interrupt_check(v->op));
        TRY_RETURN(wal_insert_reserve_shrink(PRUNE_LOG_MAX));
        TRY_RETURN(pool_pin((struct page_id){ v->heap->file, block }, POOL_SCAN, &buffer));
        pool_lock(buffer, LW_EXCLUSIVE);
        v->prune->redirects = v->prune->dead = v->prune->unused = v->prune->chains = 0;
        v->prune->prune_xid = ((struct heappage *)pool_page(buffer))->prune_xid;
        for (; i < v->dead_count && v->dead[i].block == block; i++) {
            uint32_t item = heappage_item(pool_page(buffer), v->dead[i].item);

            if (heappage_item_state(item) == HEAPPAGE_DEAD)
                v->prune->unused_item[v->prune->unused++] = v->dead[i].item;
        }
        if (v->prune->unused > 0 && prune_fits(pool_page(buffer), v->prune))
            prune_execute(buffer, v->prune);
        left = heappage_free(pool_page(buffer));
        pool_unlock(buffer);
        pool_unpin(buffer);
        TRY_RETURN(freespace_note(v->heap->map, block, left));
    }
    return OK;
}

static err_t
flush_batch(struct vacuum *v)
{
    if (v->dead_count == 0)
        return OK;
    if (v->forget != NULL)
        TRY_RETURN(v->forget(v->context, v->dead, v->dead_count));
    (void)fault_pass(FAULT_VACUUM_FORGOT);
    TRY_RETURN(free_items(v));
    v->dead_count = 0;
    return OK;
}

/* Mark the chain that the row owns. */
static void
mark_chain(struct vacuum *v, const struct heappage_row *row, unsigned length)
{
    struct heappage_overflow pointer;

    if ((row->flags & HEAPPAGE_OVERFLOW) == 0 || length != sizeof *row + sizeof pointer)
        return;
    memcpy(&pointer, row->data, sizeof pointer);
    if (pointer.last < v->blocks)
        bit_set(v->owned, pointer.last);
}

/* Count what lives, mark chains, collect dead items, from the copy. */
static err_t
take_stock(struct vacuum *v, block_t block)
{
    unsigned count = heappage_count(v->page);

    for (unsigned n = 1; n <= count; n++) {
        uint32_t item = heappage_item(v->page, n);
        unsigned length;
        const struct heappage_row *row = heappage_row(v->page, n, &length);

        if (row != NULL)
            mark_chain(v, row, length);
        if (heappage_first(v->page, n) != 0)
            v->result->rows_live++;
        if (heappage_item_state(item) == HEAPPAGE_DEAD)
            v->dead[v->dead_count++] = (struct row_id){ block, (uint16_t)n };
    }
    /* There must be room for all of the next page. */
    return v->dead_count + HEAPPAGE_ITEMS_MAX > BATCH ? flush_batch(v) : OK;
}

static err_t
note_room(struct vacuum *v, block_t block)
{
    size_t known, unit = wal_page_size / 256u, has = heappage_free(v->page);

    TRY_RETURN(freespace_get(v->heap->map, block, &known));
    return known / unit == has / unit ? OK : freespace_note(v->heap->map, block, has);
}

static err_t
visit_page(struct vacuum *v, block_t block)
{
    const struct page_header *header = (const struct page_header *)v->page;
    bool yes;

    v->result->pages++;
    TRY_RETURN(pool_copy((struct page_id){ v->heap->file, block }, POOL_SCAN, v->page));
    if (header->kind == PAGE_OVERFLOW) {
        const struct overflow_page *part = (const struct overflow_page *)v->page;

        if (overflow_part_fits(part) && part->xid < v->ended_below)
            bit_set(v->candidates, block);
        return OK;
    }
    if (header->kind == PAGE_HEAP) {
        TRY_RETURN(anything_to_do(v, &yes));
        if (yes)
            TRY_RETURN(work_on_page(v, block));
    }
    if (header->kind == PAGE_HEAP)
        TRY_RETURN(take_stock(v, block));
    return heappage_is(v->page) ? note_room(v, block) : OK;
}

/* Whether a row points to the chain that this part belongs to. */
static err_t
part_owned(struct vacuum *v, const struct overflow_page *part, bool *owned)
{
    _Alignas(8) uint8_t copy[PAGE_SIZE_MAX];
    const struct overflow_page *last = (const struct overflow_page *)copy;

    *owned = part->last < v->blocks && bit_get(v->owned, part->last);
    if (!*owned)
        return OK;
    /* The mark may be another chain's, which uses the block now. */
    TRY_RETURN(pool_copy((struct page_id){ v->heap->file, part->last }, POOL_SCAN, copy));
    *owned = overflow_part_fits(last) && last->xid == part->xid && last->last == part->last;
    return OK;
}

static err_t
sweep(struct vacuum *v)
{
    const struct overflow_page *part = (const struct overflow_page *)v->page;

    for (block_t block = 0; block < v->blocks; block++) {
        bool owned, freed;
        block_t next;

        if (!bit_get(v->candidates, block))
            continue;
        TRY_RETURN(interrupt_check(v->op));
        TRY_RETURN(pool_copy((struct page_id){ v->heap->file, block }, POOL_SCAN, v->page));
        if (!overflow_part_fits(part) || part->xid >= v->ended_below)
            continue;
        TRY_RETURN(part_owned(v, part, &owned));
        (void)fault_pass(FAULT_VACUUM_SWEEP);
        if (!owned)
            TRY_RETURN(overflow_free_page(v->heap, block, part->xid, part->last, &next, &freed));
    }
    return OK;
}

static err_t
walk(struct vacuum *v)
{
    for (block_t block = 0; block < v->blocks; block++) {
        TRY_RETURN(interrupt_check(v->op));
        (void)fault_pass(FAULT_VACUUM_PAGE);
        TRY_RETURN(visit_page(v, block));
    }
    TRY_RETURN(flush_batch(v));
    return sweep(v);
}

err_t
heap_vacuum(struct op *op, const struct heap *heap,
    err_t (*forget)(void *context, const struct row_id *dead, size_t count), void *context,
    struct heap_vacuum_result *result)
{
    struct vacuum *v = calloc(1, sizeof *v);
    err_t err = OK;

    *result = (struct heap_vacuum_result){ 0 };
    if (v == NULL)
        return err_set(ERR_MEMORY, "could not vacuum: no memory");
    v->op = op;
    v->heap = heap;
    v->forget = forget;
    v->context = context;
    v->result = result;
    v->horizon = snapshot_horizon(true);
    v->ended_below = snapshot_horizon_xid();
    TRY(datafile_blocks(heap->file, &v->blocks)); /* W3: after ended_below */
    v->owned = calloc(1, v->blocks / 8u + 1u);
    v->candidates = calloc(1, v->blocks / 8u + 1u);
    v->dead = calloc(BATCH, sizeof *v->dead);
    v->page = malloc(wal_page_size);
    v->prune = malloc(sizeof *v->prune);
    if (v->owned == NULL || v->candidates == NULL || v->dead == NULL || v->page == NULL ||
        v->prune == NULL)
        err = err_set(ERR_MEMORY, "could not vacuum %u pages: no memory", v->blocks);
    else
        err = walk(v);
out:
    free(v->owned);
    free(v->candidates);
    free(v->dead);
    free(v->page);
    free(v->prune);
    free(v);
    return err;
}
