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

/* The last child whose separator is not above the target (or, before: is below it). */
static inline enum btree_way
btree_find_child(const void *page, struct btree_search *search)
{
    struct btree_point after = search->target;
    unsigned slot;

    if (!search->before)
        after.place++;
    if (btree_page_is_leaf(page) || !btree_search_within(page, after, &search->within, &slot) ||
        slot == 0 || slot > btree_search_slots(page, BTREE_SLOT_SIZE + BTREE_CHILD_SIZE))
        return BTREE_WAY_BAD;
    search->next = btree_search_child(page, slot - 1);
    return BTREE_WAY_DOWN;
}

/* Inline, for it is asked once a page by every look-up. */
static inline enum btree_way
btree_find_way(const void *page, struct btree_search *search)
{
    const struct btree_head *head = btree_page_head(page);

    if (!btree_page_usable(page) || head->level != search->level_here ||
        (((const struct page_header *)page)->flags & BTREE_DELETED) != 0)
        return BTREE_WAY_LOST;
    switch (btree_search_side(page, search->target, search->before, &search->within)) {
    case BTREE_SIDE_WITHIN:
        return head->level == search->level ? BTREE_WAY_HERE : btree_find_child(page, search);
    case BTREE_SIDE_RIGHT:
        search->next = head->right;
        return head->right == BLOCK_NONE ? BTREE_WAY_BAD : BTREE_WAY_RIGHT;
    case BTREE_SIDE_LEFT:
        return BTREE_WAY_LOST;
    default:
        return BTREE_WAY_BAD;
    }
}

#define BTREE_FIND_PEEKS 4
#define BTREE_FIND_STEPS 1000000 /* pages of one way; more is a circle of links */

err_t btree_find_corrupt(const struct index *index, block_t block, const char *what);

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

/* Root and its level; and what they were when this process asked last (false: it has not). */
err_t btree_find_root(const struct index *index, block_t *root, uint16_t *level) MUST_CHECK;
bool btree_find_known_root(const struct index *index, block_t *root, uint16_t *level);

/* A way down.  What looks are given begins with it; they set `way` by btree_find_way, and may do
   what they came for where that is HERE. */
struct btree_walk {
    struct btree_search search;
    enum btree_way way;
};

/* Begin at the page that was the root when this process asked last, without asking the tree's first
   page.  True: it still is the root, for it has no fence on either side. */
static inline bool
btree_find_begin(const struct index *index, struct btree_walk *walk,
    bool (*look)(const void *page, void *context), block_t *block)
{
    const struct btree_within *within = &walk->search.within;
    struct pool_peek peek;

    return btree_find_known_root(index, block, &walk->search.level_here) &&
           walk->search.level_here >= walk->search.level &&
           pool_peek((struct page_id){ index->file, *block }, &peek) && look(peek.page, walk) &&
           pool_peek_valid(&peek) && (walk->way == BTREE_WAY_HERE || walk->way == BTREE_WAY_DOWN) &&
           !within->has_low && !within->has_high;
}

/* One way from the root to the page for the search, `look` being shown each page on it; *found
   false: lost, to be begun anew. */
static inline err_t
btree_find_descend(const struct index *index, struct btree_walk *walk,
    bool (*look)(const void *page, void *context), block_t *block, bool *found)
{
    *found = false;
    if (!btree_find_begin(index, walk, look, block)) {
        TRY_RETURN(btree_find_root(index, block, &walk->search.level_here));
        if (walk->search.level_here < walk->search.level)
            return OK;
        TRY_RETURN(btree_find_look(index, *block, look, walk));
    }
    for (int steps = 0; walk->way != BTREE_WAY_HERE; steps++) {
        if (walk->way == BTREE_WAY_LOST)
            return OK;
        if (steps == BTREE_FIND_STEPS)
            return btree_find_corrupt(index, *block, "the links go in a circle");
        if (walk->way == BTREE_WAY_DOWN)
            walk->search.level_here--;
        *block = walk->search.next;
        TRY_RETURN(btree_find_look(index, *block, look, walk));
    }
    *found = true;
    return OK;
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

#endif
