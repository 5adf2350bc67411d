/*
 * keybatch.c - the keys of a batch of rows, put into each index in order.
 *
 * Sorted, the keys of a batch go into the tree a leaf at a time: one way down, one lock and one log
 * record for as many as belong there.
 *
 * INVARIANTS
 *   B1  Of a unique index, keys that occur twice in the batch are not put in by this: which of two
 *       documents is told to be the duplicate shall not depend on where their rows lie.
 *
 * IF A PROCESS DIES: as collection_insert.c.
 */
#include "storage/collection/keybatch.h"

#include <stdlib.h>

#include "base/fault.h"

#define KEEP      ((size_t)256 << 10) /* bytes of each buffer that are kept for the next batch */
#define BYTES_MAX ((size_t)4 << 20)   /* of keys; beyond, rows are put in one by one */
#define ROOM_MAX  ((size_t)64 << 20)

/* One key of one row. */
struct made {
    uint32_t row, index;
    uint32_t begin, size; /* in `keys` */
};

static _Thread_local struct buf keys, made, entries; /* of bytes, struct made, struct index_entry */
static _Thread_local uint32_t rows;
static _Thread_local bool ready, overflowed;

static void
empty(struct buf *buf)
{
    if (!ready)
        *buf = buf_init(ROOM_MAX);
    buf_clear(buf);
    buf_shrink(buf, KEEP);
}

void
keybatch_begin(void)
{
    empty(&keys);
    empty(&made);
    empty(&entries);
    ready = true;
    overflowed = false;
    rows = 0;
}

void
keybatch_forget(void)
{
    if (!ready)
        return;
    buf_fini(&keys);
    buf_fini(&made);
    buf_fini(&entries);
    ready = false;
}

err_t
keybatch_add(const struct catalog_collection *collection, const struct indexkey_set *sets)
{
    for (uint32_t i = 0; i < collection->index_count && !overflowed; i++) {
        for (size_t k = 0; k < sets[i].count; k++) {
            struct bytes key = indexkey_set_key(&sets[i], k);
            struct made one = { rows, i, (uint32_t)keys.size, (uint32_t)key.size };

            overflowed = keys.size + key.size > BYTES_MAX || made.size > BYTES_MAX;
            if (overflowed)
                break;
            TRY_RETURN(buf_append(&keys, key.data, key.size));
            TRY_RETURN(buf_append(&made, &one, sizeof one));
        }
    }
    rows++;
    return OK;
}

static int
compare(const void *a, const void *b)
{
    const struct index_entry *x = a, *y = b;
    int order = bytes_compare(x->key, y->key);

    if (order != 0)
        return order;
    if (x->row.block != y->row.block)
        return x->row.block < y->row.block ? -1 : 1;
    return (x->row.item > y->row.item) - (x->row.item < y->row.item);
}

/* The entries of one index, in order. *repeated: two have the same key. */
static err_t
gather(uint32_t index, const struct row_id *roots, size_t *count, bool *repeated)
{
    const struct made *all = (const void *)made.data;
    struct index_entry *sorted;
    bool ascending = true;

    buf_clear(&entries);
    for (size_t i = 0; i < made.size / sizeof *all; i++) {
        struct index_entry entry = { { keys.data + all[i].begin, all[i].size }, roots[all[i].row] };

        if (all[i].index == index)
            TRY_RETURN(buf_append(&entries, &entry, sizeof entry));
    }
    sorted = (void *)entries.data;
    *count = entries.size / sizeof *sorted;
    *repeated = false;
    for (size_t i = 1; i < *count && ascending; i++)
        ascending = compare(&sorted[i - 1], &sorted[i]) <= 0;
    if (!ascending)
        qsort(sorted, *count, sizeof *sorted, compare);
    for (size_t i = 1; i < *count && !*repeated; i++)
        *repeated = bytes_equal(sorted[i - 1].key, sorted[i].key);
    return OK;
}

err_t
keybatch_insert(struct judge *judge, const struct catalog_collection *collection,
    const struct row_id *roots, bool *whole)
{
    *whole = !overflowed;
    for (uint32_t i = 0; i < collection->index_count && *whole; i++) {
        const struct index *index = &collection->index[i]->index;
        size_t count, done;
        bool repeated;

        TRY_RETURN(gather(i, roots, &count, &repeated));
        *whole = !(repeated && index->unique); /* B1 */
        if (!*whole || count == 0)
            continue;
        TRY_RETURN(judge_insert_many(judge, index, (const void *)entries.data, count, &done));
        *whole = done == count;
        (void)fault_pass(FAULT_ROW_KEYS);
    }
    return OK;
}
