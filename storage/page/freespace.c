/*
 * freespace.c - which page of a heap has room.
 *
 * Each page of the map holds a binary tree of bytes in an array, as in PostgreSQL's free space
 * map: a leaf says how much room one page has (or the best that one map page below has), an
 * inner node the greater of its two children.
 *
 *      header (24) | inner nodes: size/2 - 1 | leaves: the rest, 4073 of them at 8 KiB
 *
 * `extra` of the header: 1 + the last leaf ever set.  There are three levels of map pages; with
 * L leaves a page:
 *
 *      file:  root | group 0: upper, L bottoms | group 1: upper, L bottoms | ...
 *
 * INVARIANTS
 *   S1  Everything here is a hint.  A page that is damaged is taken as zeroed, a node that
 *       promises what is not there is corrected by whoever was misled, and looking gives up
 *       after TRIES.
 *   S2  At most one map page is locked at a time.
 *
 * IF A PROCESS DIES in the middle of a change, inner nodes are wrong: S1.  The map is not
 * logged: after a crash it may be older than its heap, or have pages of zeroes.
 */
#include "storage/page/freespace.h"

#include <string.h>

#include "base/fault.h"
#include "base/hash.h"
#include "shmem/proc.h"
#include "storage/page/datafile.h"
#include "storage/page/pool.h"

#define TRIES  32
#define LEVELS 3

enum { LEVEL_ROOT, LEVEL_UPPER, LEVEL_BOTTOM };

/* A leaf: where its map page is, and which one. */
struct place {
    block_t page;
    uint32_t leaf;
};

static inline uint32_t
inner_count(void)
{
    return wal_page_size / 2 - 1;
}

static inline uint32_t
node_count(void)
{
    return wal_page_size - (uint32_t)sizeof(struct page_header);
}

static inline uint32_t
leaf_count(void)
{
    return node_count() - inner_count();
}

static inline uint8_t *
nodes_of(void *page)
{
    return (uint8_t *)page + sizeof(struct page_header);
}

/* The unit of a byte in the map. */
static inline size_t
unit(void)
{
    return wal_page_size / 256;
}

/* Where the level's leaf for heap page `block` is. */
static struct place
place_at(int level, block_t block)
{
    uint32_t leaves = leaf_count();
    uint32_t bottom = block / leaves;
    uint32_t group = bottom / leaves;

    if (level == LEVEL_ROOT)
        return (struct place){ 0, group };
    if (level == LEVEL_UPPER)
        return (struct place){ 1 + group * (leaves + 1), bottom % leaves };
    return (struct place){ 2 + group * (leaves + 1) + bottom % leaves, block % leaves };
}

/* ---- one page's tree ---- */

static void
make_tree(void *page)
{
    struct page_header *header = page;

    page_init(page, PAGE_FREE_SPACE, 0);
    header->lower = header->upper = 0; /* no hole */
}

static uint8_t
greater_child(const uint8_t *nodes, uint32_t node)
{
    uint32_t left = 2 * node + 1;
    uint8_t a = left < node_count() ? nodes[left] : 0;
    uint8_t b = left + 1 < node_count() ? nodes[left + 1] : 0;

    return a > b ? a : b;
}

static void
rebuild_tree(void *page)
{
    uint8_t *nodes = nodes_of(page);

    for (uint32_t node = inner_count(); node > 0; node--)
        nodes[node - 1] = greater_child(nodes, node - 1);
}

static void
set_leaf(void *page, uint32_t leaf, uint8_t value)
{
    struct page_header *header = page;
    uint8_t *nodes = nodes_of(page);
    uint32_t node = inner_count() + leaf;

    nodes[node] = value;
    if (header->extra < leaf + 1)
        header->extra = leaf + 1;
    while (node > 0) {
        node = (node - 1) / 2;
        nodes[node] = greater_child(nodes, node);
    }
}

static uint32_t
right_neighbour(uint32_t node)
{
    node++;
    if (((node + 1) & node) == 0)
        return (node - 1) / 2; /* the level's first */
    return node < node_count() ? node : inner_count();
}

enum look { LOOK_FOUND, LOOK_NONE, LOOK_WRONG };

/* A leaf of at least `need`, the nearest at or behind `start`: up until a subtree has one, then
 * down. */
static enum look
find_leaf(const void *page, uint8_t need, uint32_t start, uint32_t *leaf)
{
    const uint8_t *nodes = (const uint8_t *)page + sizeof(struct page_header);
    uint32_t node = inner_count() + start;

    if (nodes[0] < need)
        return LOOK_NONE;
    while (node > 0 && nodes[node] < need)
        node = (right_neighbour(node) - 1) / 2;
    while (node < inner_count()) {
        uint32_t left = 2 * node + 1;

        if (left < node_count() && nodes[left] >= need)
            node = left;
        else if (left + 1 < node_count() && nodes[left + 1] >= need)
            node = left + 1;
        else
            return LOOK_WRONG;
    }
    *leaf = node - inner_count();
    return LOOK_FOUND;
}

/* ---- map pages ---- */

/* Pin a map page; 0 if the map has no such page. */
static err_t
pin_map(fileno_t map, block_t page, bool make, buffer_t *buffer)
{
    struct page_id id = { map, page };
    block_t count;

    *buffer = 0;
    TRY_RETURN(datafile_blocks(map, &count));
    if (page >= count) {
        if (!make)
            return OK;
        TRY_RETURN(datafile_extend(map, page + 1));
    }
    return pool_pin(id, POOL_HINTS, buffer);
}

static bool
is_tree(const void *page)
{
    const struct page_header *header = page;

    return header->kind == PAGE_FREE_SPACE && header->extra <= leaf_count();
}

static void
let_go(buffer_t buffer)
{
    pool_unlock(buffer);
    pool_unpin(buffer);
}

/* Set a leaf; *top: what the page now has at best, *changed: whether that is new. */
static err_t
note_leaf(fileno_t map, struct place place, uint8_t value, uint8_t *top, bool *changed)
{
    buffer_t buffer;
    uint8_t *nodes;
    bool same;

    *changed = false;
    TRY_RETURN(pin_map(map, place.page, value > 0, &buffer));
    if (buffer == 0)
        return OK;
    nodes = nodes_of(pool_page(buffer));
    pool_lock(buffer, LW_SHARED);
    same = is_tree(pool_page(buffer)) && nodes[inner_count() + place.leaf] == value;
    pool_unlock(buffer);
    if (same) {
        pool_unpin(buffer);
        return OK;
    }
    pool_lock(buffer, LW_EXCLUSIVE);
    if (!is_tree(pool_page(buffer)))
        make_tree(pool_page(buffer)); /* S1 */
    *top = nodes[0];
    set_leaf(pool_page(buffer), place.leaf, value);
    *changed = nodes[0] != *top;
    *top = nodes[0];
    pool_dirty_unlogged(buffer);
    let_go(buffer);
    return OK;
}

/* Look for a leaf of `need` in one map page.  *top: the best it has. */
static err_t
look_in(fileno_t map, block_t page, uint8_t need, uint32_t *leaf, uint8_t *top, bool *found)
{
    uint32_t scatter = (uint32_t)hash_u64(proc_self != NULL ? proc_self->index + 1 : 0);
    const struct page_header *header;
    enum look look = LOOK_NONE;
    buffer_t buffer;

    *found = false;
    *top = 0;
    TRY_RETURN(pin_map(map, page, false, &buffer));
    if (buffer == 0)
        return OK;
    header = pool_page(buffer);
    pool_lock(buffer, LW_SHARED);
    if (is_tree(header) && header->extra > 0) {
        /* Each process begins elsewhere, so that they fill different pages. */
        look = find_leaf(header, need, scatter % header->extra, leaf);
        *top = nodes_of(pool_page(buffer))[0];
    }
    pool_unlock(buffer);
    if (look == LOOK_WRONG) {
        pool_lock(buffer, LW_EXCLUSIVE);
        rebuild_tree(pool_page(buffer)); /* S1 */
        *top = nodes_of(pool_page(buffer))[0];
        pool_dirty_unlogged(buffer);
        pool_unlock(buffer);
    }
    pool_unpin(buffer);
    *found = look == LOOK_FOUND;
    return OK;
}

/* Bring the levels above up to date: the page under `block` at `level` has `top` at best. */
static err_t
note_above(fileno_t map, int level, block_t block, uint8_t top)
{
    bool changed = true;

    while (changed && --level >= LEVEL_ROOT)
        TRY_RETURN(note_leaf(map, place_at(level, block), top, &top, &changed));
    return OK;
}

/* ---- the face ---- */

err_t
freespace_find(fileno_t map, size_t bytes, block_t *block)
{
    size_t units = (bytes + unit() - 1) / unit();
    uint8_t need = units > 255 ? 255 : units < 1 ? 1 : (uint8_t)units;
    uint32_t leaves = leaf_count();

    *block = BLOCK_NONE;
    for (int tries = 0; tries < TRIES; tries++) {
        uint64_t at = 0; /* first heap page under what was found so far, divided by what is left */
        uint32_t leaf = 0;
        uint8_t top = 0;
        bool found = true;
        int level;

        for (level = LEVEL_ROOT; level < LEVELS; level++) {
            block_t first = level == LEVEL_ROOT    ? 0
                            : level == LEVEL_UPPER ? (block_t)(at * leaves * leaves)
                                                   : (block_t)(at * leaves);

            TRY_RETURN(look_in(map, place_at(level, first).page, need, &leaf, &top, &found));
            if (!found)
                break;
            at = at * leaves + leaf;
        }
        if (found) {
            *block = at < BLOCK_NONE ? (block_t)at : BLOCK_NONE;
            return OK;
        }
        if (level == LEVEL_ROOT)
            return OK;
        /* The page above promised too much: correct it and begin again. */
        TRY_RETURN(note_above(map, level,
            level == LEVEL_UPPER ? (block_t)(at * leaves * leaves) : (block_t)(at * leaves), top));
    }
    return OK;
}

err_t
freespace_note(fileno_t map, block_t block, size_t bytes)
{
    size_t units = bytes / unit();
    uint8_t value = units > 255 ? 255 : (uint8_t)units;
    uint8_t top = 0;
    bool changed;

    TRY_RETURN(note_leaf(map, place_at(LEVEL_BOTTOM, block), value, &top, &changed));
    (void)fault_pass(FAULT_FREE_SPACE);
    return changed ? note_above(map, LEVEL_BOTTOM, block, top) : OK;
}

err_t
freespace_get(fileno_t map, block_t block, size_t *bytes)
{
    struct place place = place_at(LEVEL_BOTTOM, block);
    buffer_t buffer;

    *bytes = 0;
    TRY_RETURN(pin_map(map, place.page, false, &buffer));
    if (buffer == 0)
        return OK;
    pool_lock(buffer, LW_SHARED);
    if (is_tree(pool_page(buffer)))
        *bytes = nodes_of(pool_page(buffer))[inner_count() + place.leaf] * unit();
    let_go(buffer);
    return OK;
}
