/*
 * btree_build.c - making a tree from entries that come in order.
 *
 * One page a level is being filled, in private memory; a full one gets its high fence, is written
 * and logged whole, and its successor is entered on the level above.  The root is named last: a
 * build that ends half-way leaves an empty tree and pages that the file's removal takes along.
 */
#include "storage/index/btree_build.h"

#include <stdlib.h>
#include <string.h>

#include "base/crit.h"
#include "base/fault.h"
#include "base/panic.h"
#include "shmem/interrupt.h"
#include "storage/index/btree_find.h"
#include "storage/page/pool.h"
#include "wal/wal_insert.h"

#define RESERVE_BYTES 4096
#define FILL_PERCENT  90

struct level {
    block_t block, left;
    bool has_low;
    struct btree_point low, last; /* their keys lie in the arrays */
    uint8_t low_key[INDEX_KEY_MAX], last_key[INDEX_KEY_MAX];
    _Alignas(8) uint8_t page[PAGE_SIZE_MAX]; /* without high fence */
};
struct build {
    struct op *op;
    const struct index *index;
    unsigned height;
    struct level *level[BTREE_LEVELS_MAX];
    _Alignas(8) uint8_t whole[PAGE_SIZE_MAX];
};

static const struct btree_point lowest = { { (const uint8_t *)"", 0 }, 0 };

static void
keep(struct btree_point *point, uint8_t memory[INDEX_KEY_MAX], struct btree_point from)
{
    if (from.key.size > 0)
        memmove(memory, from.key.data, from.key.size);
    *point = (struct btree_point){ { memory, from.key.size }, from.place };
}

static err_t
new_block(const struct build *build, block_t *block)
{
    buffer_t buffer;

    TRY_RETURN(pool_extend(build->index->file, POOL_BULK_WRITE, &buffer, block));
    pool_unlock(buffer);
    pool_unpin(buffer);
    return OK;
}

static err_t
write_page(const struct build *build, block_t block, const void *page)
{
    buffer_t buffer;
    lsn_t lsn;

    TRY_RETURN(interrupt_check(build->op));
    TRY_RETURN(wal_insert_reserve(RESERVE_BYTES));
    TRY_RETURN(pool_pin_new((struct page_id){ build->index->file, block }, &buffer));
    pool_lock(buffer, LW_EXCLUSIVE);
    crit_begin();
    pool_change_begin(buffer);
    memcpy(pool_page(buffer), page, wal_page_size);
    wal_insert_begin();
    pool_log(0, buffer, WAL_PAGE_IMAGE);
    lsn = wal_insert(WAL_BTREE_META, 0);
    pool_change_end(buffer, lsn);
    crit_end();
    pool_unlock(buffer);
    pool_unpin(buffer);
    return OK;
}

/* The level's page with its high fence, written; `right` BLOCK_NONE: it is the last. */
static err_t
close_page(struct build *build, unsigned number, const struct btree_point *high, block_t right)
{
    struct level *level = build->level[number];
    unsigned count = btree_page_head(level->page)->count;

    btree_page_make(build->whole, (uint16_t)number, level->has_low ? &level->low : NULL, high);
    btree_page_head_of(build->whole)->left = level->left;
    btree_page_head_of(build->whole)->right = right;
    for (unsigned i = 0; i < count; i++) {
        uint8_t key[INDEX_KEY_MAX];
        struct btree_entry entry;
        struct btree_point point;
        size_t size;

        invariant(btree_page_entry(level->page, i, &entry));
        invariant(btree_page_key(level->page, i, key, &size));
        point = (struct btree_point){ { key, size }, entry.place };
        if (i == 0 && number > 0) /* it stands for all from low on: nothing of its key is kept */
            point = (struct btree_point){ btree_page_prefix(build->whole), 0 };
        if (!btree_page_append(build->whole, point, entry.child))
            return btree_find_corrupt(build->index, level->block, "the page cannot be closed");
    }
    return write_page(build, level->block, build->whole);
}

static err_t
open_level(struct build *build, block_t block)
{
    struct level *level;

    if (build->height == BTREE_LEVELS_MAX)
        return err_set(ERR_INTERNAL, "the tree is too high");
    level = malloc(sizeof *level);
    if (level == NULL)
        return err_set(ERR_MEMORY, "could not allocate memory to build an index");
    *level = (struct level){ .block = block, .left = BLOCK_NONE };
    btree_page_make(level->page, (uint16_t)build->height, NULL, NULL);
    build->level[build->height++] = level;
    return OK;
}

/* Room for the entry and, later, for a high fence as long as it? */
static bool
page_takes(const struct level *level, struct btree_point point)
{
    size_t need = btree_page_need(level->page, point.key.size);
    size_t fence = point.key.size + BTREE_PLACE_SIZE;
    size_t free = btree_page_free(level->page);
    size_t spare = wal_page_size * (100 - FILL_PERCENT) / 100;

    /* One on a leaf, two on an inner page, which keeps no key of the first, always go in: between
       the longest fences, too. */
    if (btree_page_head(level->page)->count < (btree_page_is_leaf(level->page) ? 1 : 2))
        return true;
    return free >= need + (fence > spare ? fence : spare);
}

static struct btree_point
separate(const struct level *level, struct btree_point next, bool leaf)
{
    size_t size = 0;

    if (!leaf || bytes_equal(level->last.key, next.key))
        return next;
    while (size < level->last.key.size && size < next.key.size &&
           level->last.key.data[size] == next.key.data[size])
        size++;
    return (struct btree_point){ { next.key.data, size + 1 }, 0 };
}

static err_t add(struct build *build, unsigned number, struct btree_point point, block_t child);

/* The page is full: close it, and open its right neighbour.  Recursion ends at the root: levels are
 * few. */
static err_t
turn_page(struct build *build, unsigned number, struct btree_point next)
{
    struct level *level = build->level[number];
    struct btree_point fence = separate(level, next, number == 0);
    block_t block;

    TRY_RETURN(new_block(build, &block));
    TRY_RETURN(close_page(build, number, &fence, block));
    if (number + 1 == build->height) {
        block_t above;

        TRY_RETURN(new_block(build, &above));
        TRY_RETURN(open_level(build, above));
        TRY_RETURN(add(build, number + 1, lowest, level->block));
    }
    level->left = level->block;
    level->block = block;
    level->has_low = true;
    keep(&level->low, level->low_key, fence);
    btree_page_make(level->page, (uint16_t)number, &level->low, NULL);
    return add(build, number + 1, level->low, block);
}

static err_t
add(struct build *build, unsigned number, struct btree_point point, block_t child)
{
    struct level *level = build->level[number];
    struct btree_point stored = point;

    if (!page_takes(level, point))
        TRY_RETURN(turn_page(build, number, point));
    if (number > 0 && btree_page_head(level->page)->count == 0)
        stored = lowest;
    if (!btree_page_append(level->page, stored, child))
        return btree_find_corrupt(build->index, level->block, "an entry does not fit its page");
    keep(&level->last, level->last_key, point);
    return OK;
}

static err_t
name_root(const struct build *build, xid_t xid)
{
    buffer_t meta;
    lsn_t lsn;

    TRY_RETURN(wal_insert_reserve(RESERVE_BYTES));
    TRY_RETURN(
        pool_pin((struct page_id){ build->index->file, BTREE_META_BLOCK }, POOL_NORMAL, &meta));
    pool_lock(meta, LW_EXCLUSIVE);
    crit_begin();
    pool_change_begin(meta);
    btree_page_meta_of(pool_page(meta))->root = build->level[build->height - 1]->block;
    btree_page_meta_of(pool_page(meta))->level = build->height - 1;
    wal_insert_begin();
    pool_log(0, meta, WAL_PAGE_IMAGE);
    lsn = wal_insert(WAL_BTREE_ROOT, xid);
    pool_change_end(meta, lsn);
    crit_end();
    pool_unlock(meta);
    pool_unpin(meta);
    return OK;
}

err_t
btree_build(struct op *op, const struct index *index, xid_t xid,
    err_t (*next)(void *context, struct index_entry *entry, bool *found), void *context)
{
    struct build *build = calloc(1, sizeof *build);
    uint16_t level;
    block_t root;
    err_t err;

    if (build == NULL)
        return err_set(ERR_MEMORY, "could not allocate memory to build an index");
    build->op = op;
    build->index = index;
    TRY(btree_find_root(index, &root, &level));
    TRY(open_level(build, root));
    for (;;) {
        struct index_entry entry;
        bool found;

        TRY(next(context, &entry, &found));
        if (!found)
            break;
        if (entry.key.size > INDEX_KEY_MAX)
            TRY(err_set(ERR_CANNOT_CREATE_INDEX,
                "a key of %zu bytes is longer than the %d that an index holds", entry.key.size,
                INDEX_KEY_MAX));
        TRY(add(
            build, 0, (struct btree_point){ entry.key, btree_page_place(entry.row) }, BLOCK_NONE));
    }
    for (unsigned i = 0; i < build->height; i++)
        TRY(close_page(build, i, NULL, BLOCK_NONE));
    (void)fault_pass(FAULT_TREE_FILLED);
    TRY(name_root(build, xid));
out:
    for (unsigned i = 0; i < build->height; i++)
        free(build->level[i]);
    free(build);
    return err;
}
