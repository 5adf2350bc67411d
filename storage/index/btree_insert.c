/*
 * btree_insert.c - putting entries into a tree.
 *
 * INVARIANTS
 *   N1  A split is one log record: left half, right half, the page right of them, and where the new
 *       page came from.  From then on the tree is right, if slower: the left half says UNFINISHED.
 *   N2  UNFINISHED is taken off in the same record that puts the right half into the parent.
 *   N3  Whoever meets an UNFINISHED page while inserting finishes it first; so at most one split a
 *       page is pending.
 *   N4  Of inserters of equal keys into a unique tree, the one that has the first page where the
 *       key may stand locked exclusively is alone with that key until its entry is in: it goes
 *       right with the next page locked before the last is let go.
 *
 * IF A PROCESS DIES between split and parent, the next inserter finishes it (N3); readers go right.
 */
#include "storage/index/btree_insert.h"

#include <string.h>

#include "base/crit.h"
#include "base/fault.h"
#include "base/panic.h"
#include "shmem/interrupt.h"
#include "storage/index/btree_find.h"
#include "storage/index/btree_free.h"
#include "storage/page/datafile.h"
#include "wal/wal_insert.h"

#define RESERVE_BYTES  4096
#define ATTEMPTS_MAX   1000
#define RIGHTMOST_FULL 9 /* tenths of a page left behind by ascending inserts */

/* Private pages to build on; a split changes the shared ones by copying from here. */
static _Thread_local struct {
    _Alignas(8) uint8_t left[PAGE_SIZE_MAX];
    _Alignas(8) uint8_t right[PAGE_SIZE_MAX];
} scratch;

/* An entry to be put in, and on inner pages the unfinished left half that this finishes (N2). */
struct incoming {
    struct btree_point point;
    block_t child;
    buffer_t finishes; /* 0: none */
    xid_t xid;
};

static void
let_go(buffer_t *buffer)
{
    if (*buffer == 0)
        return;
    pool_unlock(*buffer);
    pool_unpin(*buffer);
    *buffer = 0;
}

static uint16_t
flags_of(buffer_t buffer)
{
    return ((const struct page_header *)pool_page(buffer))->flags;
}

static void
take_flag_off(buffer_t buffer, uint16_t flag)
{
    struct page_header *header = pool_page(buffer);

    header->flags = (uint16_t)(header->flags & ~flag);
}

/* --- on one page --- */

static struct bytes
without_prefix(const void *page, struct bytes key)
{
    size_t prefix = btree_page_head(page)->prefix_size;

    return (struct bytes){ key.data + prefix, key.size - prefix };
}

/* The entry fits contiguously: put it in and log just that. */
static void
put_on_page(buffer_t buffer, unsigned slot, const struct incoming *in)
{
    void *page = pool_page(buffer);
    struct bytes suffix = without_prefix(page, in->point.key);
    struct btree_insert_record record = {
        .slot = (uint16_t)slot,
        .suffix_size = (uint16_t)suffix.size,
        .child = in->child,
        .place = in->point.place,
    };
    lsn_t lsn;

    crit_begin();
    pool_change_begin(buffer);
    btree_page_insert(page, slot, suffix, in->point.place, in->child);
    wal_insert_begin();
    pool_log(0, buffer, WAL_PAGE_PLAIN);
    wal_insert_page_data(0, &record, sizeof record);
    wal_insert_page_data(0, suffix.data, suffix.size);
    if (in->finishes != 0) {
        pool_change_begin(in->finishes);
        take_flag_off(in->finishes, BTREE_UNFINISHED); /* N2 */
        pool_log(1, in->finishes, WAL_PAGE_PLAIN);
    }
    lsn = wal_insert(WAL_BTREE_INSERT, in->xid);
    pool_change_end(buffer, lsn);
    if (in->finishes != 0)
        pool_change_end(in->finishes, lsn);
    crit_end();
}

/* It fits once the holes are closed. */
static void
compact_page(buffer_t buffer)
{
    lsn_t lsn;

    btree_page_compact(pool_page(buffer), scratch.left);
    crit_begin();
    pool_change_begin(buffer);
    memcpy(pool_page(buffer), scratch.left, wal_page_size);
    wal_insert_begin();
    pool_log(0, buffer, WAL_PAGE_IMAGE);
    lsn = wal_insert(WAL_BTREE_META, 0);
    pool_change_end(buffer, lsn);
    crit_end();
}

/* --- splitting --- */

/* The entries of the page and the incoming one, as one sequence. */
struct sequence {
    const void *page;
    unsigned slot; /* where the incoming one stands */
    const struct incoming *in;
    unsigned count;
};

static size_t
size_at(const struct sequence *sequence, unsigned i)
{
    struct btree_entry entry;

    if (i == sequence->slot)
        return btree_page_need(sequence->page, sequence->in->point.key.size);
    invariant(btree_page_entry(sequence->page, i > sequence->slot ? i - 1 : i, &entry));
    return btree_page_need(
        sequence->page, entry.suffix.size + btree_page_head(sequence->page)->prefix_size);
}

/* The i-th entry with its whole key, put together in `key`. */
static void
entry_at(const struct sequence *sequence, unsigned i, uint8_t key[INDEX_KEY_MAX],
    struct btree_point *point, block_t *child)
{
    unsigned slot = i > sequence->slot ? i - 1 : i;
    struct btree_entry entry;
    size_t size;

    if (i == sequence->slot) {
        *point = sequence->in->point;
        *child = sequence->in->child;
        return;
    }
    invariant(btree_page_entry(sequence->page, slot, &entry));
    invariant(btree_page_key(sequence->page, slot, key, &size));
    *point = (struct btree_point){ { key, size }, entry.place };
    *child = entry.child;
}

/* How many entries should stay on the left: half of the bytes, or nearly all where keys only
 * ascend. */
static unsigned
choose_split(const struct sequence *sequence)
{
    bool rightmost = btree_page_head(sequence->page)->right == BLOCK_NONE;
    bool ascending = rightmost && sequence->slot == sequence->count - 1;
    size_t all = 0, left = 0, goal;
    unsigned stay = 0;

    for (unsigned i = 0; i < sequence->count; i++)
        all += size_at(sequence, i);
    goal = ascending ? all / 10 * RIGHTMOST_FULL : all / 2;
    while (stay < sequence->count - 1) {
        size_t next = size_at(sequence, stay);

        if (stay > 0 && left + next > goal)
            break;
        left += next;
        stay++;
    }
    return stay;
}

/* The shortest point that separates two neighbours: above `left`, not above `right`.  Inner pages
   keep whole keys, because their separators were cut already. */
static struct btree_point
separator(struct btree_point left, struct btree_point right, bool leaf)
{
    size_t size = 0;

    if (!leaf || bytes_equal(left.key, right.key))
        return right;
    while (size < left.key.size && size < right.key.size &&
           left.key.data[size] == right.key.data[size])
        size++;
    return (struct btree_point){ { right.key.data, size + 1 }, 0 };
}

struct halves {
    struct btree_point separator;
    uint8_t separator_key[INDEX_KEY_MAX];
};

/* The first entry of an inner page stands for all from low on: of its key nothing is stored. */
static struct btree_point
first_point(const void *page)
{
    return (struct btree_point){ btree_page_prefix(page), 0 };
}

/* Build both halves in scratch, `stay` entries on the left.  False: one does not fit. */
static bool
build_halves(const struct sequence *sequence, unsigned stay, struct halves *halves)
{
    const void *page = sequence->page;
    const struct btree_head *old = btree_page_head(page);
    uint8_t key[INDEX_KEY_MAX], last_key[INDEX_KEY_MAX];
    struct btree_point low, high, last, first;
    bool has_low, has_high;
    block_t child;

    invariant(btree_page_low(page, &low, &has_low) && btree_page_high(page, &high, &has_high));
    entry_at(sequence, stay - 1, last_key, &last, &child);
    entry_at(sequence, stay, key, &first, &child);
    halves->separator = separator(last, first, btree_page_is_leaf(page));
    memcpy(halves->separator_key, halves->separator.key.data, halves->separator.key.size);
    halves->separator.key.data = halves->separator_key;
    btree_page_make(scratch.left, old->level, has_low ? &low : NULL, &halves->separator);
    btree_page_make(scratch.right, old->level, &halves->separator, has_high ? &high : NULL);
    for (unsigned i = 0; i < sequence->count; i++) {
        struct btree_point point;

        void *half = i < stay ? scratch.left : scratch.right;

        entry_at(sequence, i, key, &point, &child);
        if ((i == 0 || i == stay) && old->level > 0)
            point = first_point(half);
        if (!btree_page_append(half, point, child))
            return false;
    }
    return true;
}

/* The split nearest to the best one of which both halves fit; long keys and their fences may leave
 * little choice. */
static err_t
choose_and_build(const struct index *index, buffer_t buffer, const struct sequence *sequence,
    struct halves *halves)
{
    unsigned best = choose_split(sequence);

    for (unsigned far = 0; far < sequence->count; far++) {
        if (best + far < sequence->count && build_halves(sequence, best + far, halves))
            return OK;
        if (best > far && far > 0 && build_halves(sequence, best - far, halves))
            return OK;
    }
    return btree_find_corrupt(index, pool_id(buffer).block, "the page cannot be split");
}

static void
link_halves(const void *page, block_t left_block, block_t right_block)
{
    const struct btree_head *old = btree_page_head(page);

    btree_page_head_of(scratch.left)->left = old->left;
    btree_page_head_of(scratch.left)->right = right_block;
    btree_page_head_of(scratch.right)->left = left_block;
    btree_page_head_of(scratch.right)->right = old->right;
    ((struct page_header *)(void *)scratch.left)->lsn = ((const struct page_header *)page)->lsn;
    ((struct page_header *)(void *)scratch.left)->flags |= BTREE_UNFINISHED; /* N1 */
    /* A page that is unfinished is never split (N3), so the right half cannot be. */
}

/* The page right of both, whose left link changes. */
static err_t
lock_neighbour(const struct index *index, const void *page, buffer_t *neighbour)
{
    block_t right = btree_page_head(page)->right;

    *neighbour = 0;
    if (right == BLOCK_NONE)
        return OK;
    return btree_find_take(index, right, POOL_NORMAL, neighbour);
}

static void
log_split(buffer_t buffer, struct btree_fresh *fresh, buffer_t neighbour, const struct incoming *in)
{
    unsigned n = 2;
    lsn_t lsn;

    crit_begin();
    pool_change_begin(buffer);
    pool_change_begin(fresh->page);
    memcpy(pool_page(buffer), scratch.left, wal_page_size);
    memcpy(pool_page(fresh->page), scratch.right, wal_page_size);
    wal_insert_begin();
    pool_log(0, buffer, WAL_PAGE_IMAGE);
    pool_log(1, fresh->page, WAL_PAGE_IMAGE);
    if (neighbour != 0) {
        pool_change_begin(neighbour);
        btree_page_head_of(pool_page(neighbour))->left = pool_id(fresh->page).block;
        pool_log(n++, neighbour, WAL_PAGE_IMAGE);
    }
    if (in->finishes != 0) {
        pool_change_begin(in->finishes);
        take_flag_off(in->finishes, BTREE_UNFINISHED); /* N2 */
        pool_log(n++, in->finishes, WAL_PAGE_IMAGE);
    }
    (void)btree_free_log(fresh, n);
    lsn = wal_insert(WAL_BTREE_SPLIT, in->xid);
    pool_change_end(buffer, lsn);
    pool_change_end(fresh->page, lsn);
    if (neighbour != 0)
        pool_change_end(neighbour, lsn);
    if (in->finishes != 0)
        pool_change_end(in->finishes, lsn);
    btree_free_logged(fresh, lsn);
    crit_end();
}

/* Split the page, the incoming entry included.  `buffer` stays locked. */
static err_t
split(const struct index *index, buffer_t buffer, unsigned slot, const struct incoming *in)
{
    const void *page = pool_page(buffer);
    struct sequence sequence = { page, slot, in, btree_page_head(page)->count + 1u };
    struct btree_fresh fresh = { 0 };
    struct halves halves;
    buffer_t neighbour = 0;
    err_t err;

    TRY(lock_neighbour(index, page, &neighbour));
    TRY(btree_free_take(index, POOL_NORMAL, &fresh));
    TRY(choose_and_build(index, buffer, &sequence, &halves));
    link_halves(page, pool_id(buffer).block, pool_id(fresh.page).block);
    log_split(buffer, &fresh, neighbour, in);
out:
    btree_free_release(&fresh);
    let_go(&neighbour);
    return err;
}

/* Put the entry on a locked page, splitting it if it must be; *was_split: then the page is
 * unfinished. */
static err_t
put(const struct index *index, buffer_t buffer, unsigned slot, const struct incoming *in,
    bool *was_split)
{
    const void *page = pool_page(buffer);
    size_t need = btree_page_need(page, in->point.key.size);

    *was_split = false;
    if (need > btree_page_free(page)) {
        if (need > btree_page_free_after_compaction(page)) {
            *was_split = true;
            return split(index, buffer, slot, in);
        }
        compact_page(buffer);
    }
    put_on_page(buffer, slot, in);
    return OK;
}

/* --- parents --- */

/* The root was split: a new one above both halves, in one record with the first page. */
static err_t
raise_root(const struct index *index, buffer_t left, const struct btree_point *separate,
    block_t right, buffer_t meta)
{
    uint16_t level = (uint16_t)(btree_page_head(pool_page(left))->level + 1);
    struct btree_point all = { { (const uint8_t *)"", 0 }, 0 };
    buffer_t root = 0;
    block_t block;
    lsn_t lsn;

    if (level >= BTREE_LEVELS_MAX)
        return btree_find_corrupt(index, pool_id(left).block, "the tree is too high");
    TRY_RETURN(pool_extend(index->file, POOL_NORMAL, &root, &block));
    btree_page_make(scratch.left, level, NULL, NULL);
    invariant(btree_page_append(scratch.left, all, pool_id(left).block));
    invariant(btree_page_append(scratch.left, *separate, right));
    crit_begin();
    pool_change_begin(root);
    pool_change_begin(meta);
    pool_change_begin(left);
    memcpy(pool_page(root), scratch.left, wal_page_size);
    btree_page_meta_of(pool_page(meta))->root = block;
    btree_page_meta_of(pool_page(meta))->level = level;
    take_flag_off(left, BTREE_UNFINISHED); /* N2 */
    wal_insert_begin();
    pool_log(0, root, WAL_PAGE_IMAGE);
    pool_log(1, meta, WAL_PAGE_IMAGE);
    pool_log(2, left, WAL_PAGE_IMAGE);
    lsn = wal_insert(WAL_BTREE_ROOT, 0);
    pool_change_end(root, lsn);
    pool_change_end(meta, lsn);
    pool_change_end(left, lsn);
    crit_end();
    let_go(&root);
    return OK;
}

/* Is the page the root?  Then raise the tree. */
static err_t
raise_if_root(const struct index *index, buffer_t left, const struct btree_point *separate,
    block_t right, bool *raised)
{
    buffer_t meta = 0;
    err_t err = OK;

    TRY_RETURN(btree_find_take(index, BTREE_META_BLOCK, POOL_NORMAL, &meta));
    *raised = btree_page_meta(pool_page(meta))->root == pool_id(left).block;
    if (*raised)
        err = raise_root(index, left, separate, right, meta);
    let_go(&meta);
    return err;
}

static err_t finish(const struct index *index, block_t block, xid_t xid, unsigned depth);

/* One try at putting the right half of `left` (locked, unfinished) into its parent.  *first: a page
   that must be finished before (BLOCK_NONE: none); *then: the parent, if it was split by this. */
static err_t
finish_locked(const struct index *index, buffer_t left, xid_t xid, block_t *first, block_t *then)
{
    const struct btree_head *head = btree_page_head(pool_page(left));
    uint8_t key[INDEX_KEY_MAX];
    struct incoming in = { .child = head->right, .finishes = left, .xid = xid };
    struct btree_point high;
    buffer_t parent = 0;
    bool has, raised, was_split;
    uint16_t root_level;
    block_t root;
    unsigned slot;

    *first = *then = BLOCK_NONE;
    if (!btree_page_high(pool_page(left), &high, &has) || !has)
        return btree_find_corrupt(index, pool_id(left).block, "a split page has no high fence");
    memcpy(key, high.key.data, high.key.size);
    in.point = (struct btree_point){ { key, high.key.size }, high.place };
    TRY_RETURN(raise_if_root(index, left, &in.point, in.child, &raised));
    if (raised)
        return OK;
    TRY_RETURN(btree_find_root(index, &root, &root_level));
    if (root_level <= head->level) { /* N3: the root is split itself, and there is no parent yet */
        *first = root;
        return OK;
    }
    TRY_RETURN(btree_find_lock(index, in.point, (uint16_t)(head->level + 1), &parent));
    if ((flags_of(parent) & BTREE_UNFINISHED) != 0) { /* N3 */
        *first = pool_id(parent).block;
        let_go(&parent);
        return OK;
    }
    if (!btree_page_search(pool_page(parent), in.point, &slot)) {
        let_go(&parent);
        return btree_find_corrupt(index, pool_id(left).block, "its parent cannot be right");
    }
    {
        err_t err = put(index, parent, slot, &in, &was_split);

        if (err == OK && was_split)
            *then = pool_id(parent).block;
        let_go(&parent);
        return err;
    }
}

/* Finish the split of this page, if it is unfinished, and of those above that this brings about. */
static err_t
finish(const struct index *index, block_t block, xid_t xid, unsigned depth)
{
    for (int i = 0; i < ATTEMPTS_MAX; i++) {
        block_t first = BLOCK_NONE, then = BLOCK_NONE;
        buffer_t buffer;
        err_t err = OK;

        TRY_RETURN(wal_insert_reserve(RESERVE_BYTES));
        TRY_RETURN(pool_pin((struct page_id){ index->file, block }, POOL_NORMAL, &buffer));
        pool_lock(buffer, LW_EXCLUSIVE);
        if ((flags_of(buffer) & (BTREE_UNFINISHED | BTREE_DELETED)) == BTREE_UNFINISHED &&
            btree_page_usable(pool_page(buffer)))
            err = finish_locked(index, buffer, xid, &first, &then);
        let_go(&buffer);
        if (err != OK)
            return err;
        if (first == BLOCK_NONE && then == BLOCK_NONE)
            return OK;
        if (depth == BTREE_LEVELS_MAX)
            return btree_find_corrupt(index, block, "too many levels are unfinished");
        if (then != BLOCK_NONE)
            return finish(index, then, xid, depth + 1);
        TRY_RETURN(finish(index, first, xid, depth + 1));
    }
    return btree_find_corrupt(index, block, "a split cannot be finished");
}

/* --- unique keys --- */

struct duplicates {
    struct btree_point wanted; /* the entry to be put in */
    const struct index_judge *judge;
    enum index_verdict verdict;
    struct row_id other;
    xid_t xid;
    bool there; /* the very entry is in already */
};

/* Judge the entries of the key on one page; *further: they may go on to the right. */
static err_t
judge_page(const struct index *index, buffer_t buffer, struct duplicates *look, bool *further)
{
    const void *page = pool_page(buffer);
    struct btree_point first = { look->wanted.key, 0 }, high;
    unsigned slot, count = btree_page_head(page)->count;
    bool has;

    *further = false;
    if (!btree_page_search(page, first, &slot) || !btree_page_high(page, &high, &has))
        return btree_find_corrupt(index, pool_id(buffer).block, "the page cannot be right");
    for (; slot < count; slot++) {
        uint8_t key[INDEX_KEY_MAX];
        struct btree_entry entry;
        size_t size;

        if (!btree_page_entry(page, slot, &entry) || !btree_page_key(page, slot, key, &size))
            return btree_find_corrupt(index, pool_id(buffer).block, "the page cannot be right");
        if (!bytes_equal((struct bytes){ key, size }, look->wanted.key))
            return OK;
        if (entry.place == look->wanted.place) {
            look->there = true;
            continue;
        }
        look->other = btree_page_row(entry.place);
        TRY_RETURN(
            look->judge->judge(look->judge->context, look->other, &look->verdict, &look->xid));
        if (look->verdict != INDEX_FREE)
            return OK;
    }
    *further = has && bytes_equal(high.key, look->wanted.key);
    return OK;
}

/* Judge all entries of the key, from the locked page on (N4). */
static err_t
judge_all(const struct index *index, buffer_t leaf, struct duplicates *look)
{
    buffer_t current = leaf, next = 0;
    bool further;
    err_t err;

    TRY(judge_page(index, leaf, look, &further));
    while (further && look->verdict == INDEX_FREE) {
        block_t right = btree_page_head(pool_page(current))->right;

        TRY(pool_pin((struct page_id){ index->file, right }, POOL_NORMAL, &next));
        if (pool_locked(next, LW_SHARED)) {
            pool_unpin(next);
            TRY(btree_find_corrupt(index, right, "a link leads to a page that leads there"));
        }
        pool_lock(next, LW_SHARED);
        if (current != leaf)
            let_go(&current);
        current = next;
        next = 0;
        TRY(judge_page(index, current, look, &further));
    }
out:
    if (current != leaf)
        let_go(&current);
    return err;
}

/* --- the whole --- */

/* With the right leaf locked: put the entry in. */
static err_t
insert_on(const struct index *index, buffer_t leaf, const struct incoming *in, bool *was_split)
{
    const void *page = pool_page(leaf);
    struct btree_entry entry;
    uint8_t key[INDEX_KEY_MAX];
    unsigned slot;
    size_t size;

    *was_split = false;
    if (!btree_page_search(page, in->point, &slot))
        return btree_find_corrupt(index, pool_id(leaf).block, "the page cannot be right");
    if (btree_page_entry(page, slot, &entry) && entry.place == in->point.place &&
        btree_page_key(page, slot, key, &size) &&
        bytes_equal((struct bytes){ key, size }, in->point.key))
        return OK; /* in already */
    return put(index, leaf, slot, in, was_split);
}

/* One try.  *again: something had to be finished first, or the leaf was lost. */
static err_t
try_insert(
    const struct index *index, const struct incoming *in, struct duplicates *look, bool *again)
{
    struct btree_point begin = in->point;
    block_t unfinished = BLOCK_NONE;
    buffer_t leaf = 0;
    bool lost = false, was_split = false;
    err_t err = OK;

    *again = false;
    if (look->judge != NULL)
        begin.place = 0; /* N4 */
    TRY_RETURN(wal_insert_reserve(RESERVE_BYTES));
    TRY_RETURN(btree_find_lock(index, begin, 0, &leaf));
    if (look->judge != NULL) {
        TRY(judge_all(index, leaf, look));
        if (look->verdict != INDEX_FREE || look->there)
            goto out;
        TRY(btree_find_right(index, in->point, &leaf, &lost));
    }
    if (lost || (flags_of(leaf) & BTREE_UNFINISHED) != 0) { /* N3 */
        unfinished = lost ? BLOCK_NONE : pool_id(leaf).block;
        *again = true;
        goto out;
    }
    TRY(insert_on(index, leaf, in, &was_split));
    if (was_split)
        unfinished = pool_id(leaf).block;
out:
    let_go(&leaf);
    if (was_split)
        (void)fault_pass(FAULT_TREE_SPLIT);
    if (err == OK && unfinished != BLOCK_NONE)
        err = finish(index, unfinished, in->xid, 0);
    return err;
}

err_t
btree_insert(struct op *op, const struct index *index, struct bytes key, struct row_id row,
    xid_t xid, const struct index_judge *judge, enum index_verdict *verdict, struct row_id *other,
    xid_t *wait_for)
{
    struct incoming in = { { key, btree_page_place(row) }, BLOCK_NONE, 0, xid };
    bool again = true;

    if (key.size > INDEX_KEY_MAX)
        return err_set(ERR_CANNOT_CREATE_INDEX,
            "a key of %zu bytes is longer than the %d that an index holds", key.size,
            INDEX_KEY_MAX);
    while (again) {
        struct duplicates look = { .wanted = in.point, .judge = judge, .verdict = INDEX_FREE };

        TRY_RETURN(interrupt_check(op));
        TRY_RETURN(try_insert(index, &in, &look, &again));
        *verdict = look.verdict;
        *other = look.other;
        *wait_for = look.xid;
    }
    return OK;
}

err_t
btree_insert_create(const struct index *index, xid_t xid)
{
    buffer_t meta = 0, root = 0;
    block_t block;
    lsn_t lsn;
    err_t err;

    TRY(wal_insert_reserve(RESERVE_BYTES));
    TRY(datafile_create(index->file, xid));
    TRY(pool_extend(index->file, POOL_NORMAL, &meta, &block));
    invariant(block == BTREE_META_BLOCK);
    TRY(pool_extend(index->file, POOL_NORMAL, &root, &block));
    crit_begin();
    pool_change_begin(meta);
    pool_change_begin(root);
    btree_page_make_meta(pool_page(meta), block, 0);
    btree_page_make(pool_page(root), 0, NULL, NULL);
    wal_insert_begin();
    pool_log(0, meta, WAL_PAGE_IMAGE);
    pool_log(1, root, WAL_PAGE_IMAGE);
    lsn = wal_insert(WAL_BTREE_ROOT, xid);
    pool_change_end(meta, lsn);
    pool_change_end(root, lsn);
    crit_end();
out:
    let_go(&root);
    let_go(&meta);
    return err;
}
