/*
 * btree_find.c - the way down a tree.
 */
#include "storage/index/btree_find.h"

#include "base/panic.h"
#define KNOWN_ROOTS 64u
#define STARTS_MAX  1000 /* beginning anew is rare; this many times in a row is damage */

err_t
btree_find_corrupt(const struct index *index, block_t block, const char *what)
{
    return err_set(ERR_CORRUPT, "index file %u, block %u: %s; 'gneiss check' tells more",
        index->file, block, what);
}

err_t
btree_find_look_locked(const struct index *index, block_t block,
    bool (*look)(const void *page, void *context), void *context)
{
    struct page_id id = { index->file, block };
    buffer_t buffer;
    bool good;

    TRY_RETURN(pool_pin(id, POOL_NORMAL, &buffer));
    pool_lock(buffer, LW_SHARED);
    good = look(pool_page(buffer), context);
    pool_unlock(buffer);
    pool_unpin(buffer);
    return good ? OK : btree_find_corrupt(index, block, "the page cannot be right");
}

struct root {
    block_t block;
    uint16_t level;
};

static bool
look_at_meta(const void *page, void *context)
{
    const struct btree_meta *meta = btree_page_meta(page);
    struct root *root = context;

    *root = (struct root){ meta->root, (uint16_t)meta->level };
    return ((const struct page_header *)page)->kind == PAGE_BTREE_META &&
           meta->magic == BTREE_META_MAGIC && meta->version == BTREE_META_VERSION &&
           meta->level < BTREE_LEVELS_MAX;
}

/* Where roots were seen last.  guard: own process; nobody believes it without a look. */
static _Thread_local struct known {
    fileno_t file;
    block_t block;
    uint16_t level;
} known[KNOWN_ROOTS];

bool
btree_find_known_root(const struct index *index, block_t *block, uint16_t *level)
{
    const struct known *there = &known[index->file % KNOWN_ROOTS];

    *block = there->block;
    *level = there->level;
    return there->file == index->file;
}

err_t
btree_find_root(const struct index *index, block_t *block, uint16_t *level)
{
    struct root root;

    TRY_RETURN(btree_find_look(index, BTREE_META_BLOCK, look_at_meta, &root));
    *block = root.block;
    *level = root.level;
    known[index->file % KNOWN_ROOTS] = (struct known){ index->file, root.block, root.level };
    return OK;
}

static bool
look_for_way(const void *page, void *context)
{
    struct btree_walk *walk = context;

    walk->way = btree_find_way(page, &walk->search);
    return walk->way != BTREE_WAY_BAD;
}

err_t
btree_find(const struct index *index, struct btree_point target, bool before, uint16_t level,
    block_t *block)
{
    struct btree_walk walk = { .search = { .target = target, .before = before, .level = level } };

    for (int i = 0; i < STARTS_MAX; i++) {
        bool found;

        TRY_RETURN(btree_find_descend(index, &walk, look_for_way, block, &found));
        if (found)
            return OK;
    }
    return btree_find_corrupt(index, *block, "no way leads to a key's page");
}

static void
let_go(buffer_t *buffer)
{
    pool_unlock(*buffer);
    pool_unpin(*buffer);
    *buffer = 0;
}

err_t
btree_find_take(const struct index *index, block_t block, enum pool_use use, buffer_t *buffer)
{
    TRY_RETURN(pool_pin((struct page_id){ index->file, block }, use, buffer));
    if (!pool_locked(*buffer, LW_SHARED)) {
        pool_lock(*buffer, LW_EXCLUSIVE);
        return OK;
    }
    pool_unpin(*buffer);
    *buffer = 0;
    return btree_find_corrupt(index, block, "a link leads to a page that leads there");
}

err_t
btree_find_right(const struct index *index, struct btree_point target, buffer_t *buffer, bool *lost)
{
    uint16_t level = btree_page_head(pool_page(*buffer))->level;
    struct btree_search search = { .target = target, .level = level, .level_here = level };

    *lost = false;
    for (;;) {
        enum btree_way way = btree_find_way(pool_page(*buffer), &search);
        block_t here = pool_id(*buffer).block;
        buffer_t next;
        err_t err;

        if (way == BTREE_WAY_HERE)
            return OK;
        if (way != BTREE_WAY_RIGHT) {
            let_go(buffer);
            *lost = true;
            return way == BTREE_WAY_LOST
                       ? OK
                       : btree_find_corrupt(index, here, "the page cannot be right");
        }
        err = btree_find_take(index, search.next, POOL_NORMAL, &next); /* left before right */
        let_go(buffer);
        if (err != OK)
            return err;
        *buffer = next;
    }
}

err_t
btree_find_lock(
    const struct index *index, struct btree_point target, uint16_t level, buffer_t *buffer)
{
    for (int i = 0; i < STARTS_MAX; i++) {
        block_t block;
        bool lost;

        TRY_RETURN(btree_find(index, target, false, level, &block));
        TRY_RETURN(pool_pin((struct page_id){ index->file, block }, POOL_NORMAL, buffer));
        pool_lock(*buffer, LW_EXCLUSIVE);
        if (!btree_page_usable(pool_page(*buffer)) ||
            btree_page_head(pool_page(*buffer))->level != level) {
            let_go(buffer);
            continue;
        }
        TRY_RETURN(btree_find_right(index, target, buffer, &lost));
        if (!lost)
            return OK;
    }
    return btree_find_corrupt(index, BTREE_META_BLOCK, "no way leads to a key's page");
}
