/*
 * btree_check.c - is a tree as it should be?
 *
 * Level by level, from left to right: each page's form and order, that its low fence is its left
 * neighbour's high one and its left link leads there, that it is of the level it should be, and
 * that each child's low fence is what its parent says.  Beside writers a split may be met half-way:
 * pages that seem wrong are looked at again before they are told of.
 */
#include "storage/index/btree_check.h"

#include <stdlib.h>
#include <string.h>

#include "shmem/interrupt.h"
#include "storage/index/btree_find.h"
#include "storage/page/datafile.h"

#define LOOKS_MAX 3

struct check {
    struct op *op;
    const struct index *index;
    void (*report)(void *context, struct page_id where, const char *what);
    err_t (*visit)(void *context, const struct index_entry *entry);
    void *context;
    uint64_t entries;
    block_t blocks;  /* of the file */
    uint64_t walked; /* pages of this level: more than the file has is a circle */
    bool has_fence;
    struct btree_point fence; /* the left neighbour's high one */
    uint8_t fence_key[INDEX_KEY_MAX];
    _Alignas(8) uint8_t page[PAGE_SIZE_MAX];
    _Alignas(8) uint8_t child[PAGE_SIZE_MAX];
};

static void
tell(const struct check *check, block_t block, const char *what)
{
    check->report(check->context, (struct page_id){ check->index->file, block }, what);
}

/* An unreadable page is a fault that was told; others are errors. */
static err_t
copy(const struct check *check, block_t block, void *page, bool *readable)
{
    err_t err = pool_copy((struct page_id){ check->index->file, block }, POOL_SCAN, page);

    *readable = err == OK;
    if (err == ERR_CORRUPT) {
        tell(check, block, err_message());
        return OK;
    }
    return err;
}

static bool
same(bool has_a, struct btree_point a, bool has_b, struct btree_point b)
{
    return has_a == has_b && (!has_a || btree_page_compare(a, b) == 0);
}

static const char *
child_fault(const struct check *check, const struct btree_entry *entry, unsigned slot)
{
    const struct btree_head *head = btree_page_head(check->page);
    struct btree_point low, separator = { { NULL, 0 }, 0 };
    uint8_t key[INDEX_KEY_MAX];
    bool has_low, has = true, good = true;
    size_t size = 0;

    if (!btree_page_usable(check->child) || btree_page_head(check->child)->level + 1 != head->level)
        return "a child is not of the level below";
    if (slot == 0) {
        good = btree_page_low(check->page, &separator, &has);
    } else {
        good = btree_page_key(check->page, slot, key, &size);
        separator = (struct btree_point){ { key, size }, entry->place };
    }
    if (!good || !btree_page_low(check->child, &low, &has_low) ||
        !same(has, separator, has_low, low))
        return "a child's low fence is not what its parent says";
    return NULL;
}

static err_t
check_children(struct check *check, block_t block)
{
    unsigned count = btree_page_head(check->page)->count;

    for (unsigned i = 0; i < count; i++) {
        struct btree_entry entry;
        const char *fault = NULL;
        bool readable;

        if (!btree_page_entry(check->page, i, &entry))
            return OK; /* told of by btree_page_fault */
        for (int look = 0; look < LOOKS_MAX; look++) {
            TRY_RETURN(copy(check, entry.child, check->child, &readable));
            fault = readable ? child_fault(check, &entry, i) : NULL;
            if (fault == NULL)
                break;
        }
        if (fault != NULL)
            tell(check, block, fault);
    }
    return OK;
}

static err_t
visit_entries(struct check *check)
{
    unsigned count = btree_page_head(check->page)->count;

    check->entries += count;
    for (unsigned i = 0; check->visit != NULL && i < count; i++) {
        uint8_t key[INDEX_KEY_MAX];
        struct index_entry entry;
        struct btree_entry raw;
        size_t size;

        if (!btree_page_entry(check->page, i, &raw) || !btree_page_key(check->page, i, key, &size))
            continue;
        entry = (struct index_entry){ { key, size }, btree_page_row(raw.place) };
        TRY_RETURN(check->visit(check->context, &entry));
    }
    return OK;
}

/* Its place in the row of its level. */
static const char *
row_fault(const struct check *check, uint16_t level, block_t left)
{
    struct btree_point low;
    bool has;

    if (btree_page_head(check->page)->level != level)
        return "the page is not of its neighbours' level";
    if (!btree_page_low(check->page, &low, &has) || !same(check->has_fence, check->fence, has, low))
        return "its low fence is not its left neighbour's high one";
    if (btree_page_head(check->page)->left != left)
        return "its left link does not lead to its left neighbour";
    return NULL;
}

static err_t
check_page(struct check *check, block_t block, uint16_t level, block_t left, block_t *next)
{
    const char *fault = NULL;
    struct btree_point high;
    bool readable, has;

    *next = BLOCK_NONE;
    for (int look = 0; look < LOOKS_MAX; look++) {
        TRY_RETURN(copy(check, block, check->page, &readable));
        if (!readable)
            return OK;
        fault = btree_page_fault(check->page);
        if (fault == NULL)
            fault = row_fault(check, level, left);
        if (fault == NULL)
            break;
    }
    if (fault != NULL)
        tell(check, block, fault);
    if (!btree_page_usable(check->page))
        return OK;
    if (level == 0)
        TRY_RETURN(visit_entries(check));
    else
        TRY_RETURN(check_children(check, block));
    if (!btree_page_high(check->page, &high, &has))
        return OK;
    check->has_fence = has;
    if (has) {
        memcpy(check->fence_key, high.key.data, high.key.size);
        check->fence = (struct btree_point){ { check->fence_key, high.key.size }, high.place };
    }
    *next = btree_page_head(check->page)->right;
    return OK;
}

static err_t
check_level(struct check *check, uint16_t level)
{
    static const struct btree_point lowest = { { (const uint8_t *)"", 0 }, 0 };
    block_t block, left = BLOCK_NONE, next;

    check->walked = 0;
    check->has_fence = false;
    TRY_RETURN(btree_find(check->index, lowest, false, level, &block));
    while (block != BLOCK_NONE) {
        TRY_RETURN(interrupt_check(check->op));
        TRY_RETURN(datafile_blocks(check->index->file, &check->blocks));
        if (++check->walked > check->blocks) {
            tell(check, block, "the links of a level go in a circle");
            return OK;
        }
        TRY_RETURN(check_page(check, block, level, left, &next));
        left = block;
        block = next;
    }
    return OK;
}

err_t
btree_check(struct op *op, const struct index *index,
    void (*report)(void *context, struct page_id where, const char *what),
    err_t (*visit)(void *context, const struct index_entry *entry), void *context,
    uint64_t *entries)
{
    struct check *check = malloc(sizeof *check);
    uint16_t level;
    block_t root;
    err_t err;

    if (check == NULL)
        return err_set(ERR_MEMORY, "could not allocate memory to check an index");
    *check = (struct check){
        .op = op, .index = index, .report = report, .visit = visit, .context = context
    };
    TRY(btree_find_root(index, &root, &level));
    for (int i = level; i >= 0; i--)
        TRY(check_level(check, (uint16_t)i));
    *entries = check->entries;
out:
    if (err == ERR_CORRUPT) {
        tell(check, BTREE_META_BLOCK, err_message());
        *entries = check->entries;
        err = OK;
    }
    free(check);
    return err;
}
