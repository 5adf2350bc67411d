/*
 * btree_insert_many.c - putting many entries into a tree, in key order.
 *
 * The leaf for the first entry is found and locked; all the entries that follow, belong there and
 * find room go in with it, in one log record.  What is not as simple as that (a split, a key that
 * goes on to the next page) is put in alone by btree_insert, and then it goes on like this.
 *
 * INVARIANTS
 *   M1  The entries that are in are a beginning of those given; the count of them is told, and at
 *       most one leaf's worth more is in when an error is told.
 *   M2  As N4 of btree_insert.c: of a unique tree, an entry goes in only on the first page where
 * its key may stand, and only if no entry of the key can stand to the right of that page.
 *
 * IF A PROCESS DIES between two leaves, the entries that are in point to rows of a transaction that
 * has failed, as after any insert.
 */
#include "storage/index/btree_insert_many.h"

#include <string.h>

#include "base/crit.h"
#include "base/panic.h"
#include "shmem/interrupt.h"
#include "storage/index/btree_find.h"
#include "storage/index/btree_insert.h"
#include "wal/wal_insert.h"

#define RUN_MAX       256u /* entries of one record */
#define RESERVE_BYTES (wal_page_size + RUN_MAX * sizeof(struct btree_insert_many_entry) + 256)

/* The entries that go on one leaf.  guard: own process. */
static _Thread_local struct {
    struct btree_insert_many_record head;
    struct btree_insert_many_entry entry[RUN_MAX];
    uint8_t suffix[PAGE_SIZE_MAX];
} run;
static _Thread_local size_t run_bytes; /* of suffixes */

struct many {
    const struct index *index;
    const struct index_entry *entry;
    size_t count;
    xid_t xid;
    const struct index_judge *judge;
};

/* What to do about an entry on its leaf. */
enum step { STEP_PUT, STEP_THERE, STEP_ALONE, STEP_STOP };

/* Unique: are the entries of the key on this page, which are all there are (M2), of dead rows? */
static err_t
ask_judge(const struct many *many, const void *page, const struct index_entry *entry,
    const struct btree_within *within, enum index_verdict *verdict)
{
    struct btree_point first = { entry->key, 0 };
    struct btree_entry there;
    unsigned slot, equal;
    xid_t xid;

    if (!btree_search_within(page, first, within, &slot))
        return btree_find_corrupt(many->index, BLOCK_NONE, "a page cannot be right");
    for (;; slot++) {
        equal = btree_search_equal(page, slot, entry->key, within, &there);
        if (equal != BTREE_EQUAL_YES || *verdict != INDEX_FREE)
            break;
        if (there.place == btree_page_place(entry->row))
            continue;
        TRY_RETURN(
            many->judge->judge(many->judge->context, btree_page_row(there.place), verdict, &xid));
    }
    return equal != BTREE_EQUAL_BAD
               ? OK
               : btree_find_corrupt(many->index, BLOCK_NONE, "a page cannot be right");
}

/* Look where the entry goes on the locked leaf. */
static err_t
look(const struct many *many, const void *page, const struct index_entry *entry, enum step *step,
    struct btree_within *within, unsigned *slot)
{
    struct btree_point point = { entry->key, btree_page_place(entry->row) };
    struct btree_point low = { entry->key, many->judge != NULL ? 0 : point.place }, high;
    enum index_verdict verdict = INDEX_FREE;
    struct btree_entry there;
    bool has;

    *step = STEP_ALONE;
    if (btree_search_side(page, low, false, within) != BTREE_SIDE_WITHIN ||
        !btree_page_high(page, &high, &has))
        return OK;
    if (has && (btree_page_compare(point, high) >= 0 ||
                   (many->judge != NULL && bytes_equal(high.key, entry->key)))) /* M2 */
        return OK;
    if (many->judge != NULL)
        TRY_RETURN(ask_judge(many, page, entry, within, &verdict));
    if (verdict != INDEX_FREE) {
        *step = STEP_STOP;
        return OK;
    }
    if (!btree_search_within(page, point, within, slot))
        return btree_find_corrupt(many->index, BLOCK_NONE, "a page cannot be right");
    *step = btree_search_equal(page, *slot, entry->key, within, &there) == BTREE_EQUAL_YES &&
                    there.place == point.place
                ? STEP_THERE
                : STEP_PUT;
    return OK;
}

/* Choose the entries from `at` on that go on the locked leaf now; *taken: how many are done with
   when they are in.  *step: about the one behind them. */
static err_t
choose(const struct many *many, const void *page, size_t at, size_t *taken, enum step *step)
{
    size_t room = btree_page_free(page), need;
    struct btree_within within;
    unsigned slot;

    run.head.count = 0;
    run_bytes = 0;
    *step = STEP_ALONE;
    for (*taken = 0; at + *taken < many->count && run.head.count < RUN_MAX; ++*taken) {
        const struct index_entry *entry = &many->entry[at + *taken];
        size_t suffix;

        *step = STEP_ALONE;
        if (*taken > 0 && many->judge != NULL && bytes_equal(entry->key, entry[-1].key))
            break; /* the one before is to be judged, and is not in yet */
        TRY_RETURN(look(many, page, entry, step, &within, &slot));
        if (*step == STEP_THERE)
            continue;
        need = btree_page_need(page, entry->key.size);
        if (*step != STEP_PUT || need > room)
            break;
        room -= need;
        suffix = entry->key.size - within.prefix;
        run.entry[run.head.count] = (struct btree_insert_many_entry){
            .slot = (uint16_t)(slot + run.head.count),
            .suffix_size = (uint16_t)suffix,
            .block = entry->row.block,
            .item = entry->row.item,
        };
        run.head.count++;
        if (suffix > 0)
            memcpy(run.suffix + run_bytes, entry->key.data + within.prefix, suffix);
        run_bytes += suffix;
    }
    return OK;
}

bool
btree_insert_many_apply(
    void *page, const struct btree_insert_many_entry *entries, size_t count, struct bytes suffixes)
{
    for (size_t i = 0; i < count; i++) {
        const struct btree_insert_many_entry *entry = &entries[i];
        struct bytes suffix = { suffixes.data, entry->suffix_size };

        if (suffix.size > suffixes.size || entry->slot > btree_page_head(page)->count ||
            btree_page_need(page, suffix.size + btree_page_head(page)->prefix_size) >
                btree_page_free(page))
            return false;
        btree_page_insert(page, entry->slot, suffix,
            btree_page_place((struct row_id){ entry->block, entry->item }), BLOCK_NONE);
        suffixes.data += suffix.size;
        suffixes.size -= suffix.size;
    }
    return suffixes.size == 0;
}

static void
put_run(buffer_t leaf, xid_t xid)
{
    crit_begin();
    pool_change_begin(leaf);
    invariant(btree_insert_many_apply(
        pool_page(leaf), run.entry, run.head.count, (struct bytes){ run.suffix, run_bytes }));
    wal_insert_begin();
    pool_log(0, leaf, WAL_PAGE_PLAIN);
    wal_insert_page_data(0, &run.head, sizeof run.head);
    wal_insert_page_data(0, run.entry, run.head.count * sizeof run.entry[0]);
    wal_insert_page_data(0, run.suffix, run_bytes);
    pool_change_end(leaf, wal_insert(WAL_BTREE_INSERT_MANY, xid));
    crit_end();
}

/* As many as go on the leaf of the first. */
static err_t
fill_leaf(const struct many *many, size_t at, size_t *taken, enum step *step)
{
    const struct index_entry *entry = &many->entry[at];
    struct btree_point begin = { entry->key,
        many->judge != NULL ? 0 : btree_page_place(entry->row) };
    buffer_t leaf;
    err_t err = OK;

    *taken = 0;
    *step = STEP_ALONE;
    TRY_RETURN(wal_insert_reserve(RESERVE_BYTES));
    TRY_RETURN(btree_find_lock(many->index, begin, 0, &leaf));
    if ((((const struct page_header *)pool_page(leaf))->flags & BTREE_UNFINISHED) == 0)
        err = choose(many, pool_page(leaf), at, taken, step);
    if (err == OK && run.head.count > 0 && *taken > 0)
        put_run(leaf, many->xid);
    pool_unlock(leaf);
    pool_unpin(leaf);
    return err;
}

err_t
btree_insert_many(struct op *op, const struct index *index, const struct index_entry *entries,
    size_t count, xid_t xid, const struct index_judge *judge, size_t *done)
{
    struct many many = { index, entries, count, xid, judge };

    *done = 0;
    while (*done < count) {
        enum index_verdict verdict = INDEX_FREE;
        struct row_id other;
        enum step step;
        xid_t wait_for;
        size_t taken;

        TRY_RETURN(interrupt_check(op));
        TRY_RETURN(fill_leaf(&many, *done, &taken, &step));
        *done += taken;
        if (step == STEP_STOP)
            return OK;
        if (taken > 0)
            continue;
        TRY_RETURN(btree_insert(op, index, entries[*done].key, entries[*done].row, xid, judge,
            &verdict, &other, &wait_for));
        if (verdict != INDEX_FREE)
            return OK;
        ++*done;
    }
    return OK;
}
