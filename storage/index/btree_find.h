/*
 * btree_find.h - the way down a tree.
 *
 * Pages on the way are read by peeks (nothing shared is written); a page that is being changed, or
 * not in the pool, is pinned and locked shared.  No two pages are held at once: a page that was
 * split meanwhile is noticed by its high fence (go right), one that was deleted and used again by
 * its low fence or level (begin anew).  Lehman and Yao, "Efficient locking for concurrent
 * operations on B-trees", 1981, with the low fence kept as well.
 */
#ifndef STORAGE_INDEX_BTREE_FIND_H
#define STORAGE_INDEX_BTREE_FIND_H

#include "storage/index/btree_search.h"
#include "storage/page/pool.h"

/* What a look at a page says about the way to `target`. */
enum btree_way {
    BTREE_WAY_HERE,  /* this is the page */
    BTREE_WAY_DOWN,  /* to `next` */
    BTREE_WAY_RIGHT, /* to `next` */
    BTREE_WAY_LOST,  /* the page does not (any longer) stand on the way: begin anew */
    BTREE_WAY_BAD,   /* the page cannot be right */
};
struct btree_search {
    struct btree_point target;
    bool before;    /* the page that holds what stands just before target: low < target ≤ high */
    uint16_t level; /* wanted */
    uint16_t level_here; /* expected of the page looked at */
    block_t next;
    struct btree_within within; /* HERE and DOWN: for searching that page */
};
enum btree_way btree_find_way(const void *page, struct btree_search *search);

#define BTREE_FIND_PEEKS 4

/* Look at a page by peek or under its shared lock.  `look` yields false if the page cannot be
   right: it is then asked again under the lock, and ERR_CORRUPT is the answer if it stays so.  It
   may be called several times. */
static inline err_t btree_find_look(const struct index *index, block_t block,
    bool (*look)(const void *page, void *context), void *context) MUST_CHECK;
err_t btree_find_look_locked(const struct index *index, block_t block,
    bool (*look)(const void *page, void *context), void *context) MUST_CHECK;

static inline err_t
btree_find_look(const struct index *index, block_t block,
    bool (*look)(const void *page, void *context), void *context)
{
    struct page_id id = { index->file, block };
    struct pool_peek peek;

    for (int i = 0; i < BTREE_FIND_PEEKS && pool_peek(id, &peek); i++) {
        bool good;

        __builtin_prefetch((const uint8_t *)peek.page + wal_page_size - 64); /* the fences */
        good = look(peek.page, context);
        if (pool_peek_valid(&peek) && good)
            return OK;
    }
    return btree_find_look_locked(index, block, look, context);
}

/* The page of `level` for the target; its block is a good place to begin, to be checked again once
 * it is locked. */
err_t btree_find(const struct index *index, struct btree_point target, bool before, uint16_t level,
    block_t *block) MUST_CHECK;
/* The same, then pinned and locked exclusively and certain. */
err_t btree_find_lock(const struct index *index, struct btree_point target, uint16_t level,
    buffer_t *buffer) MUST_CHECK;
/* From a page locked exclusively go right until it is the one for the target; *lost: begin anew
 * (nothing is held). */
err_t btree_find_right(
    const struct index *index, struct btree_point target, buffer_t *buffer, bool *lost) MUST_CHECK;

/* Pin a page and lock it exclusively.  ERR_CORRUPT if this process has it locked already: the links
   that led there go in a circle. */
err_t btree_find_take(
    const struct index *index, block_t block, enum pool_use use, buffer_t *buffer) MUST_CHECK;

/* Root and its level. */
err_t btree_find_root(const struct index *index, block_t *root, uint16_t *level) MUST_CHECK;

err_t btree_find_corrupt(const struct index *index, block_t block, const char *what);

#endif
