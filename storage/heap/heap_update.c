/*
 * heap_update.c - giving a row a new version.
 *
 *   same keys and room on the page: root → old → new (heap-only)        no index is touched
 *   else, room on the page or not:  root → old; new root, maybe apart   each index gets an entry
 *
 * Invariants and what a death leaves behind: heap.c.  Both versions change in one critical section
 * and one record, so a chain never shows one half.
 */
#include <string.h>

#include "base/crit.h"
#include "base/panic.h"
#include "shmem/interrupt.h"
#include "storage/heap/heap.h"
#include "storage/heap/heaplog.h"
#include "storage/heap/heappage.h"
#include "storage/heap/heaptarget.h"
#include "storage/heap/overflow.h"
#include "storage/heap/prune.h"
#include "storage/heap/visible.h"
#include "storage/page/pool.h"
#include "wal/wal_insert.h"

/* What one update is about, and what came of it. */
struct update {
    struct op *op;
    const struct heap *heap;
    struct row_id root, version;
    xid_t xid;
    uint32_t command;
    bool same_keys;
    struct overflow_form form;
    size_t length; /* of the new version, head included */
    enum heap_outcome outcome;
    struct heap_conflict conflict;
    struct row_id place; /* of the new version */
    bool heap_only;
};

static err_t
judge(struct update *up, buffer_t buffer)
{
    return visible_judge(pool_page(buffer), up->root, up->version.item, up->xid, up->command,
        &up->outcome, &up->conflict);
}

/* What the new row has in common with the old at its front and its end. */
static void
compare_rows(struct bytes old, struct bytes new, uint16_t *prefix, uint16_t *suffix)
{
    size_t most = old.size < new.size ? old.size : new.size, front = 0, back = 0;

    while (front < most && old.data[front] == new.data[front])
        front++;
    while (back < most - front && old.data[old.size - 1 - back] == new.data[new.size - 1 - back])
        back++;
    *prefix = (uint16_t)front;
    *suffix = (uint16_t)back;
}

/* Put the new version on `to`, chain the old one on `from` (perhaps the same page) to it, log. */
static void
put_version(struct update *up, buffer_t from, buffer_t to)
{
    struct heappage_row head = { .xmin = up->xid, .cmin = up->command, .next_block = BLOCK_NONE };
    struct heaplog_update record = { .command = up->command, .old_item = up->version.item };
    struct bytes data = up->form.data;
    void *page = pool_page(to), *old_page = pool_page(from);
    unsigned mode =
        ((struct page_header *)page)->kind == PAGE_ZERO ? WAL_PAGE_INIT : WAL_PAGE_PLAIN;

    head.flags = (uint16_t)(up->form.flags | (up->heap_only ? HEAPPAGE_HEAP_ONLY : 0));
    record.new_flags = head.flags;
    record.old_flags = up->heap_only ? HEAPPAGE_HOT_UPDATED : HEAPPAGE_MOVED;
    if (from == to) {
        unsigned length = 0;
        const struct heappage_row *old = heappage_row(page, up->version.item, &length);

        invariant(old != NULL); /* it was judged a moment ago */
        compare_rows((struct bytes){ old->data, length - sizeof *old }, data, &record.prefix,
            &record.suffix);
    }
    crit_begin();
    pool_change_begin(to);
    if (from != to)
        pool_change_begin(from);
    up->place = (struct row_id){ pool_id(to).block, (uint16_t)heappage_put(page, 0, &head, data) };
    heappage_set_xmax(
        old_page, up->version.item, up->xid, up->command, up->place, record.old_flags);
    record.new_block = up->place.block;
    record.new_item = up->place.item;
    wal_insert_begin();
    wal_insert_data(&record, sizeof record);
    pool_log(0, to, mode);
    wal_insert_page_data(0, data.data + record.prefix, data.size - record.prefix - record.suffix);
    if (from != to)
        pool_log(1, from, WAL_PAGE_PLAIN);

    lsn_t lsn = wal_insert(WAL_HEAP_UPDATE, up->xid);

    if (from != to)
        pool_change_end(from, lsn);
    pool_change_end(to, lsn);
    crit_end();
}

/* Try the old version's own page.  *done: it went there, or the outcome forbids it. */
static err_t
update_here(struct update *up, bool *done)
{
    struct prune_plan plan;
    buffer_t buffer;
    err_t err;

    *done = false;
    plan.chains = 0;
    TRY_RETURN(pool_pin((struct page_id){ up->heap->file, up->root.block }, POOL_NORMAL, &buffer));
    pool_lock(buffer, LW_EXCLUSIVE);
    TRY(judge(up, buffer));
    if (up->outcome != HEAP_DONE) {
        *done = true;
        goto out;
    }
    /* A row that leaves its page costs an entry in every index: so the horizon is asked for
     * exactly. */
    if (!heappage_room(pool_page(buffer), up->length) &&
        ((struct heappage *)pool_page(buffer))->prune_xid != 0) {
        err = prune_page(buffer, true, &plan);
        if (err != OK) {
            plan.chains = 0;
            goto out;
        }
        /* The version itself stays (P1), but a chain before it may have become a redirect. */
    }
    if (heappage_room(pool_page(buffer), up->length)) {
        up->heap_only = up->same_keys;
        put_version(up, buffer, buffer);
        *done = true;
    }
out:
    pool_unlock(buffer);
    pool_unpin(buffer);
    prune_free(up->heap, &plan);
    return err;
}

/* Both pages are pinned: lock in order of block (R3), look again (R2), and do it. */
static err_t
update_across(struct update *up, buffer_t from, buffer_t to, bool *done, size_t *left)
{
    bool to_first = pool_id(to).block < pool_id(from).block;
    err_t err;

    pool_lock(to_first ? to : from, LW_EXCLUSIVE);
    pool_lock(to_first ? from : to, LW_EXCLUSIVE);
    TRY(judge(up, from));
    if (up->outcome != HEAP_DONE) {
        *done = true;
    } else if (heaptarget_room(pool_page(to), up->length)) {
        up->heap_only = false;
        put_version(up, from, to);
        *done = true;
    }
    *left = heappage_free(pool_page(to));
out:
    pool_unlock(to_first ? from : to);
    pool_unlock(to_first ? to : from);
    return err;
}

static err_t
update_elsewhere(struct update *up)
{
    bool done = false;

    for (unsigned attempt = 0; !done; attempt++) {
        buffer_t from = 0, to = 0;
        size_t left = 0;
        block_t block;
        err_t err;

        TRY_RETURN(interrupt_check(up->op));
        TRY_RETURN(heaptarget_pin(up->heap, up->length, attempt, &to));
        block = pool_id(to).block;
        if (block == up->root.block) {
            pool_unpin(to);
            TRY_RETURN(update_here(up, &done)); /* it had no room a moment ago */
            if (!done)
                TRY_RETURN(heaptarget_reject(up->heap, block, 0));
            continue;
        }
        TRY(pool_pin((struct page_id){ up->heap->file, up->root.block }, POOL_NORMAL, &from));
        TRY(update_across(up, from, to, &done, &left));
out:
        if (from != 0)
            pool_unpin(from);
        pool_unpin(to);
        TRY_RETURN(err);
        if (!done)
            TRY_RETURN(heaptarget_reject(up->heap, block, left));
        else if (up->outcome == HEAP_DONE)
            heaptarget_keep(up->heap, block);
    }
    return OK;
}

/* Before a chain of overflow pages is written: would it be for nothing? */
static err_t
look_first(struct update *up)
{
    buffer_t buffer;
    err_t err;

    TRY_RETURN(pool_pin((struct page_id){ up->heap->file, up->root.block }, POOL_NORMAL, &buffer));
    pool_lock(buffer, LW_SHARED);
    err = judge(up, buffer);
    pool_unlock(buffer);
    pool_unpin(buffer);
    return err;
}

static err_t
update_row(struct update *up, struct bytes row)
{
    bool done = false;
    err_t err;

    up->outcome = HEAP_DONE;
    if (!overflow_inline(row.size))
        TRY_RETURN(look_first(up));
    if (up->outcome != HEAP_DONE)
        return OK;
    TRY_RETURN(overflow_prepare(up->heap, up->xid, row, &up->form));
    up->length = sizeof(struct heappage_row) + up->form.data.size;
    TRY(wal_insert_reserve(
        sizeof(struct heaplog_update) + up->form.data.size + 128 + PRUNE_LOG_MAX));
    TRY(update_here(up, &done));
    if (!done)
        TRY(update_elsewhere(up));
out:
    if (err == OK && up->outcome == HEAP_DONE)
        overflow_release(&up->form);
    else
        overflow_withdraw(up->heap, up->xid, &up->form);
    return err;
}

err_t
heap_update(struct op *op, const struct heap *heap, struct txn *txn, struct row_id root,
    struct row_id version, struct bytes row, bool same_keys, enum heap_outcome *outcome,
    struct heap_conflict *conflict, struct row_id *new_root, bool *heap_only)
{
    struct update up = {
        .op = op,
        .heap = heap,
        .root = root,
        .version = version,
        .command = txn_command(txn),
        .same_keys = same_keys,
        .outcome = HEAP_GONE,
        .conflict = { 0, ROW_ID_NONE },
    };

    *new_root = root;
    *heap_only = false;
    TRY_RETURN(interrupt_check(op));
    TRY_RETURN(txn_xid(txn, &up.xid));
    if (root.block == version.block)
        TRY_RETURN(update_row(&up, row));
    *outcome = up.outcome;
    *conflict = up.conflict;
    if (up.outcome == HEAP_DONE) {
        *heap_only = up.heap_only;
        if (!up.heap_only)
            *new_root = up.place;
    }
    return OK;
}
