/*
 * btree_vacuum.c - taking dead entries out of a tree, and empty pages out of it.
 *
 * The leaves are walked from left to right.  Entries that a split moves meanwhile move right, so
 * the walk meets them later.
 *
 * An empty leaf leaves the tree in one log record, which names its left neighbour, itself, its
 * right neighbour (which takes over the range: its low fence falls), their parent and the tree's
 * first page (whose list of free pages it heads from then on).  It stays if its right neighbour has
 * another parent, or cannot hold its entries with a shorter prefix.  Inner pages stay: one for each
 * few hundred leaves there ever were at a time.
 *
 * IF A PROCESS DIES between two records, the next vacuum goes on; a page that was added to the file
 * and never used is zeroes, and is put on the list here.
 */
#include "storage/index/btree_vacuum.h"

#include <string.h>

#include "base/crit.h"
#include "base/fault.h"
#include "base/panic.h"
#include "shmem/interrupt.h"
#include "storage/index/btree_find.h"
#include "storage/page/datafile.h"
#include "wal/wal_insert.h"

#define RESERVE_BYTES 8192
#define SLOTS_MAX     (PAGE_SIZE_MAX / BTREE_SLOT_SIZE)

static _Thread_local struct {
    _Alignas(8) uint8_t copy[PAGE_SIZE_MAX];
    _Alignas(8) uint8_t right[PAGE_SIZE_MAX];
    uint16_t slots[SLOTS_MAX];
} scratch;

static void
let_go(buffer_t *buffer)
{
    if (*buffer == 0)
        return;
    pool_unlock(*buffer);
    pool_unpin(*buffer);
    *buffer = 0;
}

static err_t
take(const struct index *index, block_t block, buffer_t *buffer)
{
    return btree_find_take(index, block, POOL_SCAN, buffer);
}

static bool
in_tree(const void *page, uint16_t level)
{
    return btree_page_usable(page) && btree_page_head(page)->level == level &&
           (((const struct page_header *)page)->flags & BTREE_DELETED) == 0;
}

/* --- entries --- */

static size_t
find_dead(const void *page, bool (*dead)(void *context, struct row_id row), void *context)
{
    unsigned count = btree_page_head(page)->count;
    size_t found = 0;

    for (unsigned i = 0; i < count; i++) {
        struct btree_entry entry;

        if (btree_page_entry(page, i, &entry) && dead(context, btree_page_row(entry.place)))
            scratch.slots[found++] = (uint16_t)i;
    }
    return found;
}

static void
remove_slots(buffer_t buffer, size_t count)
{
    lsn_t lsn;

    crit_begin();
    pool_change_begin(buffer);
    btree_page_remove(pool_page(buffer), scratch.slots, count);
    wal_insert_begin();
    pool_log(0, buffer, WAL_PAGE_PLAIN);
    wal_insert_page_data(0, scratch.slots, count * sizeof scratch.slots[0]);
    lsn = wal_insert(WAL_BTREE_DELETE, 0);
    pool_change_end(buffer, lsn);
    crit_end();
}

/* --- pages --- */

struct removal {
    buffer_t left, leaf, right, parent, meta;
    unsigned slot; /* of the leaf in its parent */
};

static void
release(struct removal *removal)
{
    let_go(&removal->meta);
    let_go(&removal->parent);
    let_go(&removal->right);
    let_go(&removal->leaf);
    let_go(&removal->left);
}

/* Lock left neighbour, leaf and right neighbour, in this order; *can false: they are not what they
 * seemed. */
static err_t
lock_row(const struct index *index, block_t left, block_t leaf, struct removal *removal, bool *can)
{
    const struct btree_head *head;

    *can = false;
    if (left != BLOCK_NONE) {
        TRY_RETURN(take(index, left, &removal->left));
        if (!in_tree(pool_page(removal->left), 0) ||
            btree_page_head(pool_page(removal->left))->right != leaf)
            return OK;
    }
    TRY_RETURN(take(index, leaf, &removal->leaf));
    head = btree_page_head(pool_page(removal->leaf));
    if (!in_tree(pool_page(removal->leaf), 0) || head->count > 0 || head->left != left ||
        head->right == BLOCK_NONE ||
        (((const struct page_header *)pool_page(removal->leaf))->flags & BTREE_UNFINISHED) != 0)
        return OK;
    TRY_RETURN(take(index, head->right, &removal->right));
    *can = in_tree(pool_page(removal->right), 0);
    return OK;
}

/* Lock the parent, and see whether both the leaf and its right neighbour are its children. */
static err_t
lock_parent(const struct index *index, struct removal *removal, bool *can)
{
    struct btree_point low = { { (const uint8_t *)"", 0 }, 0 }, after;
    struct btree_entry entry, next;
    uint8_t key[INDEX_KEY_MAX];
    uint16_t root_level;
    block_t root;
    bool has;

    *can = false;
    TRY_RETURN(btree_find_root(index, &root, &root_level));
    if (root_level == 0 || !btree_page_low(pool_page(removal->leaf), &low, &has))
        return OK;
    if (has) {
        memcpy(key, low.key.data, low.key.size);
        low.key.data = key;
    }
    TRY_RETURN(btree_find_lock(index, low, 1, &removal->parent));
    after = low;
    after.place++;
    if (!btree_page_search(pool_page(removal->parent), after, &removal->slot) || removal->slot == 0)
        return OK;
    removal->slot--;
    *can = btree_page_entry(pool_page(removal->parent), removal->slot, &entry) &&
           entry.child == pool_id(removal->leaf).block &&
           btree_page_entry(pool_page(removal->parent), removal->slot + 1, &next) &&
           next.child == pool_id(removal->right).block;
    return OK;
}

/* The right neighbour with the leaf's range added, in scratch; false: it does not fit. */
static bool
widen_right(const struct removal *removal)
{
    const void *leaf = pool_page(removal->leaf), *right = pool_page(removal->right);
    const struct btree_head *head = btree_page_head(right);
    struct btree_point low, high;
    bool has_low, has_high;

    if (!btree_page_low(leaf, &low, &has_low) || !btree_page_high(right, &high, &has_high))
        return false;
    btree_page_make(scratch.right, 0, has_low ? &low : NULL, has_high ? &high : NULL);
    ((struct page_header *)(void *)scratch.right)->lsn = ((const struct page_header *)right)->lsn;
    ((struct page_header *)(void *)scratch.right)->flags =
        ((const struct page_header *)right)->flags;
    btree_page_head_of(scratch.right)->left = btree_page_head(leaf)->left;
    btree_page_head_of(scratch.right)->right = head->right;
    for (unsigned i = 0; i < head->count; i++) {
        uint8_t key[INDEX_KEY_MAX];
        struct btree_entry entry;
        size_t size;

        if (!btree_page_entry(right, i, &entry) || !btree_page_key(right, i, key, &size) ||
            !btree_page_append(
                scratch.right, (struct btree_point){ { key, size }, entry.place }, BLOCK_NONE))
            return false;
    }
    return true;
}

static void
change_and_log(const struct removal *removal)
{
    const buffer_t all[] = { removal->leaf, removal->right, removal->parent, removal->meta,
        removal->left };
    const unsigned count = removal->left != 0 ? 5 : 4;
    struct btree_meta *meta = btree_page_meta_of(pool_page(removal->meta));
    struct page_header *leaf = pool_page(removal->leaf);
    uint16_t next = (uint16_t)(removal->slot + 1);
    lsn_t lsn;

    crit_begin();
    for (unsigned i = 0; i < count; i++)
        pool_change_begin(all[i]);
    memcpy(pool_page(removal->right), scratch.right, wal_page_size);
    btree_page_set_child(pool_page(removal->parent), removal->slot, pool_id(removal->right).block);
    btree_page_remove(pool_page(removal->parent), &next, 1);
    if (removal->left != 0)
        btree_page_head_of(pool_page(removal->left))->right = pool_id(removal->right).block;
    leaf->flags |= BTREE_DELETED;
    btree_page_head_of(leaf)->next_free = meta->free;
    meta->free = pool_id(removal->leaf).block;
    wal_insert_begin();
    for (unsigned i = 0; i < count; i++)
        pool_log(i, all[i], WAL_PAGE_IMAGE);
    lsn = wal_insert(WAL_BTREE_UNLINK, 0);
    for (unsigned i = 0; i < count; i++)
        pool_change_end(all[i], lsn);
    crit_end();
}

/* Take an empty leaf out of the tree, if it can be. */
static err_t
unlink_leaf(const struct index *index, block_t left, block_t leaf)
{
    struct removal removal = { 0 };
    bool can;
    err_t err;

    TRY_RETURN(wal_insert_reserve_shrink(RESERVE_BYTES));
    TRY(lock_row(index, left, leaf, &removal, &can));
    if (can)
        TRY(lock_parent(index, &removal, &can));
    if (can && widen_right(&removal)) {
        TRY(take(index, BTREE_META_BLOCK, &removal.meta));
        change_and_log(&removal);
    }
out:
    release(&removal);
    return err;
}

/* --- the walk --- */

/* Clean one leaf; says where to go on: right of it. */
static err_t
clean_leaf(const struct index *index, block_t block, bool (*dead)(void *context, struct row_id row),
    void *context, uint64_t *removed, block_t *next)
{
    block_t left = BLOCK_NONE;
    bool empty = false;
    buffer_t leaf = 0;
    size_t count;
    err_t err;

    TRY_RETURN(pool_copy((struct page_id){ index->file, block }, POOL_SCAN, scratch.copy));
    *next = btree_page_head(scratch.copy)->right;
    count = find_dead(scratch.copy, dead, context);
    if (count == 0 && btree_page_head(scratch.copy)->count > 0)
        return OK;
    TRY_RETURN(wal_insert_reserve_shrink(RESERVE_BYTES));
    TRY(take(index, block, &leaf));
    if (!in_tree(pool_page(leaf), 0))
        goto out;
    count = find_dead(pool_page(leaf), dead, context);
    if (count > 0)
        remove_slots(leaf, count);
    *removed += count;
    *next = btree_page_head(pool_page(leaf))->right;
    left = btree_page_head(pool_page(leaf))->left;
    empty = btree_page_head(pool_page(leaf))->count == 0;
out:
    let_go(&leaf);
    if (err == OK && empty && *next != BLOCK_NONE) {
        (void)fault_pass(FAULT_TREE_EMPTIED);
        err = unlink_leaf(index, left, block);
    }
    return err;
}

/* Put a page of zeroes, which somebody added to the file and died, on the list of free ones. */
static err_t
adopt(const struct index *index, block_t block)
{
    static const struct page_header zero;
    buffer_t meta = 0, page = 0;
    lsn_t lsn;
    err_t err;

    TRY_RETURN(pool_copy((struct page_id){ index->file, block }, POOL_SCAN, scratch.copy));
    if (memcmp(scratch.copy, &zero, sizeof zero) != 0)
        return OK;
    TRY_RETURN(wal_insert_reserve_shrink(RESERVE_BYTES));
    TRY(take(index, BTREE_META_BLOCK, &meta));
    TRY(take(index, block, &page));
    if (memcmp(pool_page(page), &zero, sizeof zero) == 0) {
        crit_begin();
        pool_change_begin(meta);
        pool_change_begin(page);
        btree_page_make(pool_page(page), 0, NULL, NULL);
        ((struct page_header *)pool_page(page))->flags |= BTREE_DELETED;
        btree_page_head_of(pool_page(page))->next_free = btree_page_meta(pool_page(meta))->free;
        btree_page_meta_of(pool_page(meta))->free = block;
        wal_insert_begin();
        pool_log(0, meta, WAL_PAGE_IMAGE);
        pool_log(1, page, WAL_PAGE_IMAGE);
        lsn = wal_insert(WAL_BTREE_UNLINK, 0);
        pool_change_end(meta, lsn);
        pool_change_end(page, lsn);
        crit_end();
    }
out:
    let_go(&page);
    let_go(&meta);
    return err;
}

err_t
btree_vacuum(struct op *op, const struct index *index,
    bool (*dead)(void *context, struct row_id row), void *context, uint64_t *removed)
{
    struct btree_point lowest = { { (const uint8_t *)"", 0 }, 0 };
    block_t block, count;

    *removed = 0;
    TRY_RETURN(btree_find(index, lowest, false, 0, &block));
    while (block != BLOCK_NONE) {
        block_t next;

        TRY_RETURN(interrupt_check(op));
        TRY_RETURN(clean_leaf(index, block, dead, context, removed, &next));
        block = next;
    }
    TRY_RETURN(datafile_blocks(index->file, &count));
    for (block = 1; block < count; block++) {
        if ((block & 63) == 0)
            TRY_RETURN(interrupt_check(op));
        TRY_RETURN(adopt(index, block));
    }
    return OK;
}
