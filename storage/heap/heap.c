/*
 * heap.c - putting rows in and taking them out.
 *
 * Each change has three beats.  First all that can fail: the row's form (its overflow chain is
 * written and logged by itself), room in the log, the pages pinned and locked, room and outcome
 * looked at under the lock.  Then a critical section: bytes, log record, LSN.  Then all is let go.
 *
 * INVARIANTS: those of heappage.c (H), visible.c (V), overflow.c (O) and prune.c (P), and
 *   R1  A page is changed only under its exclusive lock, inside a critical section, between
 *       pool_change_begin and pool_change_end, together with the record that says so.
 *   R2  Room and outcome are looked at again after every wait for a page lock.
 *   R3  Two pages are locked in order of block.  Overflow pages and the map are touched with no
 *       heap page locked.
 *
 * IF A PROCESS DIES
 *   before the critical section: nothing of the row is visible; at most an overflow chain is
 *       leaked, which vacuum finds (overflow.c).
 *   inside it: everything is rebuilt from the log, which has the record whole or not at all.
 *   after it: the row is there, made by a transaction that will be rolled back; its xid says so
 *       to all.
 */
#include "storage/heap/heap.h"

#include <string.h>

#include "base/crit.h"
#include "shmem/counters.h"
#include "shmem/interrupt.h"
#include "storage/heap/heaplog.h"
#include "storage/heap/heappage.h"
#include "storage/heap/heaptarget.h"
#include "storage/heap/overflow.h"
#include "storage/heap/prune.h"
#include "storage/heap/visible.h"
#include "storage/page/datafile.h"
#include "storage/page/pool.h"
#include "wal/wal_insert.h"

err_t
heap_create(const struct heap *heap, xid_t xid)
{
    TRY_RETURN(datafile_create(heap->file, xid));
    return datafile_create(heap->map, xid);
}

/* A page with room for `length` bytes, pinned and locked exclusively. */
static err_t
acquire_page(
    struct op *op, const struct heap *heap, size_t length, buffer_t *buffer, block_t *block)
{
    struct prune_plan plan;

    for (unsigned attempt = 0;; attempt++) {
        err_t err = OK;
        size_t left;
        bool room;

        TRY_RETURN(interrupt_check(op));
        TRY_RETURN(heaptarget_pin(heap, length, attempt, buffer));
        *block = pool_id(*buffer).block;
        plan.chains = 0;
        pool_lock(*buffer, LW_EXCLUSIVE);
        room = heaptarget_room(pool_page(*buffer), length); /* R2 */
        if (!room && prune_worthwhile(pool_page(*buffer))) {
            err = prune_page(*buffer, false, &plan);
            room = err == OK && heaptarget_room(pool_page(*buffer), length);
        }
        if (room && plan.chains == 0)
            return OK;
        left = heappage_free(pool_page(*buffer));
        pool_unlock(*buffer);
        pool_unpin(*buffer);
        if (err != OK)
            return err;
        prune_free(heap, &plan);
        if (room)
            heaptarget_keep(heap, *block); /* R3: chains first, then this page again */
        else
            TRY_RETURN(heaptarget_reject(heap, *block, left));
    }
}

/* Put the row on a page that is locked and has room. */
static unsigned
put_row(buffer_t buffer, xid_t xid, uint32_t command, struct bytes data, unsigned flags)
{
    struct heappage_row head = {
        .xmin = xid,
        .cmin = command,
        .next_block = BLOCK_NONE,
        .flags = (uint16_t)flags,
    };
    struct heaplog_insert record = { command, 0, (uint16_t)flags };
    void *page = pool_page(buffer);
    unsigned mode =
        ((struct page_header *)page)->kind == PAGE_ZERO ? WAL_PAGE_INIT : WAL_PAGE_PLAIN;
    unsigned item;

    crit_begin();
    pool_change_begin(buffer);
    item = heappage_put(page, 0, &head, data);
    record.item = (uint16_t)item;
    wal_insert_begin();
    wal_insert_data(&record, sizeof record);
    pool_log(0, buffer, mode);
    wal_insert_page_data(0, data.data, data.size);
    pool_change_end(buffer, wal_insert(WAL_HEAP_INSERT, xid));
    crit_end();
    return item;
}

err_t
heap_insert(
    struct op *op, const struct heap *heap, struct txn *txn, struct bytes row, struct row_id *root)
{
    struct overflow_form form;
    buffer_t buffer;
    block_t block;
    xid_t xid;
    err_t err;

    TRY_RETURN(txn_xid(txn, &xid));
    TRY_RETURN(overflow_prepare(heap, xid, row, &form));
    TRY(wal_insert_reserve(sizeof(struct heaplog_insert) + form.data.size + 64 + PRUNE_LOG_MAX));
    TRY(acquire_page(op, heap, sizeof(struct heappage_row) + form.data.size, &buffer, &block));
    *root = (struct row_id){ block,
        (uint16_t)put_row(buffer, xid, txn_command(txn), form.data, form.flags) };
    pool_unlock(buffer);
    pool_unpin(buffer);
    heaptarget_keep(heap, block);
    overflow_release(&form);
    return OK;
out:
    overflow_withdraw(heap, xid, &form);
    return err;
}

/* Put as many rows as go on the locked page, at least one, as one record.  Yields how many. */
static size_t
put_rows(buffer_t buffer, block_t block, xid_t xid, uint32_t command, const struct bytes *rows,
    size_t count, struct row_id *roots)
{
    struct heaplog_multi_item items[HEAPPAGE_ITEMS_MAX];
    struct heappage_row head = { .xmin = xid, .cmin = command, .next_block = BLOCK_NONE };
    struct heaplog_multi record = { 0, 0 };
    struct page_header *page = pool_page(buffer);
    unsigned mode = page->kind == PAGE_ZERO ? WAL_PAGE_INIT : WAL_PAGE_PLAIN;
    unsigned upper;
    size_t done = 0;

    crit_begin();
    pool_change_begin(buffer);
    upper = page->kind == PAGE_ZERO ? wal_page_size : page->upper;
    while (done < count && overflow_inline(rows[done].size) && done < HEAPPAGE_ITEMS_MAX &&
           heaptarget_room(page, sizeof head + rows[done].size)) {
        unsigned item = heappage_put(page, 0, &head, rows[done]);

        items[done] = (struct heaplog_multi_item){ (uint16_t)item,
            (uint16_t)(sizeof head + rows[done].size) };
        roots[done++] = (struct row_id){ block, (uint16_t)item };
    }
    record.count = (uint32_t)done;
    record.bytes = upper - page->upper;
    wal_insert_begin();
    wal_insert_data(&record, sizeof record);
    pool_log(0, buffer, mode);
    wal_insert_page_data(0, items, done * sizeof items[0]);
    wal_insert_page_data(0, (uint8_t *)page + page->upper, record.bytes);
    pool_change_end(buffer, wal_insert(WAL_HEAP_MULTI_INSERT, xid));
    crit_end();
    return done;
}

err_t
heap_insert_many(struct op *op, const struct heap *heap, struct txn *txn, const struct bytes *rows,
    size_t count, struct row_id *roots)
{
    size_t done = 0;
    xid_t xid;

    TRY_RETURN(txn_xid(txn, &xid));
    while (done < count) {
        buffer_t buffer;
        block_t block;

        if (!overflow_inline(rows[done].size)) {
            TRY_RETURN(heap_insert(op, heap, txn, rows[done], &roots[done]));
            done++;
            continue;
        }
        TRY_RETURN(wal_insert_reserve(wal_page_size + 64u + PRUNE_LOG_MAX +
                                      HEAPPAGE_ITEMS_MAX * sizeof(struct heaplog_multi_item)));
        TRY_RETURN(
            acquire_page(op, heap, sizeof(struct heappage_row) + rows[done].size, &buffer, &block));
        done +=
            put_rows(buffer, block, xid, txn_command(txn), rows + done, count - done, roots + done);
        pool_unlock(buffer);
        pool_unpin(buffer);
        heaptarget_keep(heap, block);
    }
    return OK;
}

/* Mark the version deleted. */
static void
delete_version(buffer_t buffer, unsigned item, xid_t xid, uint32_t command)
{
    struct heaplog_delete record = { command, (uint16_t)item, 0 };

    crit_begin();
    pool_change_begin(buffer);
    heappage_set_xmax(pool_page(buffer), item, xid, command, ROW_ID_NONE, 0);
    wal_insert_begin();
    wal_insert_data(&record, sizeof record);
    pool_log(0, buffer, WAL_PAGE_PLAIN);
    pool_change_end(buffer, wal_insert(WAL_HEAP_DELETE, xid));
    crit_end();
}

err_t
heap_delete(struct op *op, const struct heap *heap, struct txn *txn, struct row_id root,
    struct row_id version, enum heap_outcome *outcome, struct heap_conflict *conflict)
{
    buffer_t buffer;
    xid_t xid;
    err_t err;

    *outcome = HEAP_GONE;
    *conflict = (struct heap_conflict){ 0, ROW_ID_NONE };
    if (root.block != version.block)
        return OK;
    TRY_RETURN(interrupt_check(op));
    TRY_RETURN(txn_xid(txn, &xid));
    TRY_RETURN(wal_insert_reserve_shrink(sizeof(struct heaplog_delete) + 64));
    TRY_RETURN(pool_pin((struct page_id){ heap->file, root.block }, POOL_NORMAL, &buffer));
    pool_lock(buffer, LW_EXCLUSIVE);
    TRY(visible_judge(
        pool_page(buffer), root, version.item, xid, txn_command(txn), outcome, conflict));
    if (*outcome == HEAP_DONE)
        delete_version(buffer, version.item, xid, txn_command(txn));
out:
    pool_unlock(buffer);
    pool_unpin(buffer);
    return err;
}

err_t
heap_undo_insert(struct op *op, const struct heap *heap, struct txn *txn, struct row_id root)
{
    struct prune_plan plan = { 0 };
    const struct heappage_row *row;
    unsigned length;
    buffer_t buffer;
    err_t err = OK;

    (void)op; /* undoing is never interrupted */
    TRY_RETURN(wal_insert_reserve_shrink(PRUNE_LOG_MAX));
    TRY_RETURN(pool_pin((struct page_id){ heap->file, root.block }, POOL_NORMAL, &buffer));
    pool_lock(buffer, LW_EXCLUSIVE);
    row = heappage_row(pool_page(buffer), root.item, &length);
    if (row == NULL || row->xmin != txn_xid_if_any(txn) || row->xmin == 0 ||
        (heappage_flags(row) & HEAPPAGE_HEAP_ONLY) != 0) {
        err = err_set(ERR_INTERNAL,
            "could not take back an insert: file %u, block %u, item %u is not this transaction's",
            heap->file, root.block, root.item);
    } else if (!heappage_rows_fit(pool_page(buffer))) {
        err = err_set(ERR_CORRUPT, "could not take back an insert: file %u, block %u is damaged",
            heap->file, root.block);
    } else {
        if ((heappage_flags(row) & HEAPPAGE_OVERFLOW) != 0 &&
            length == sizeof *row + sizeof(struct heappage_overflow)) {
            struct heappage_overflow pointer;

            memcpy(&pointer, row->data, sizeof pointer);
            plan.chain[plan.chains++] =
                (struct overflow_chain){ row->xmin, pointer.first, pointer.last };
        }
        plan.prune_xid = ((struct heappage *)pool_page(buffer))->prune_xid;
        plan.dead_item[plan.dead++] = root.item;
        prune_execute(buffer, &plan);
    }
    pool_unlock(buffer);
    pool_unpin(buffer);
    prune_free(heap, &plan);
    return err;
}

/* One version of a chain: does it live, is it undecided, or is the next to be asked? */
static err_t
version_liveness(const struct heappage_row *row, xid_t own, enum heap_liveness *liveness,
    xid_t *busy, bool *ask_next)
{
    enum visible_end made, ended;

    *liveness = HEAP_DEAD;
    *ask_next = false;
    TRY_RETURN(visible_made(row, own, &made));
    if (made == VISIBLE_FAILED)
        return OK;
    if (made == VISIBLE_RUNNING) {
        *liveness = HEAP_UNDECIDED;
        *busy = row->xmin;
        return OK;
    }
    TRY_RETURN(visible_ended(row, own, &ended));
    if (ended == VISIBLE_RUNNING) {
        *liveness = HEAP_UNDECIDED;
        *busy = row->xmax;
    } else if (ended == VISIBLE_NONE || ended == VISIBLE_FAILED) {
        *liveness = HEAP_LIVE;
    } else {
        *ask_next =
            true; /* deleted, moved (then the new root has entries of its own) or heap-only */
    }
    return OK;
}

err_t
heap_liveness(struct op *op, const struct heap *heap, struct txn *txn, struct row_id root,
    enum heap_liveness *liveness, xid_t *busy)
{
    _Alignas(8) uint8_t page[PAGE_SIZE_MAX];
    xid_t own = txn_xid_if_any(txn);
    bool ask_next = true;
    unsigned n, steps;

    (void)op;
    *liveness = HEAP_DEAD;
    *busy = 0;
    TRY_RETURN(pool_copy((struct page_id){ heap->file, root.block }, POOL_NORMAL, page));
    steps = heappage_count(page);
    for (n = heappage_first(page, root.item); n != 0 && ask_next && steps > 0; steps--) {
        TRY_RETURN(version_liveness(heappage_row(page, n, NULL), own, liveness, busy, &ask_next));
        n = heappage_next(page, n);
    }
    return OK;
}
