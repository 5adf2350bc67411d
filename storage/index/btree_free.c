/*
 * btree_free.c - pages for a tree to grow on.
 *
 * INVARIANTS
 *   F1  A page on the list is deleted and reachable from nowhere else; whoever holds the first
 *       page's lock exclusively may take the first of the list.
 *   F2  Taking a page and using it are one log record.
 *
 * Lock order: tree pages, then the first page, then a free page; nobody waits for a tree page while
 * holding the first page's lock, because a page on the list is locked by nobody else for longer
 * than a look.
 */
#include "storage/index/btree_free.h"

#include "storage/index/btree_find.h"
#include "wal/wal_insert.h"

static void
release(buffer_t *buffer)
{
    if (*buffer == 0)
        return;
    pool_unlock(*buffer);
    pool_unpin(*buffer);
    *buffer = 0;
}

err_t
btree_free_take(const struct index *index, enum pool_use use, struct btree_fresh *fresh)
{
    block_t block, first;
    err_t err;

    *fresh = (struct btree_fresh){ 0 };
    TRY(pool_pin((struct page_id){ index->file, BTREE_META_BLOCK }, use, &fresh->meta));
    pool_lock(fresh->meta, LW_SHARED);
    first = btree_page_meta(pool_page(fresh->meta))->free;
    pool_unlock(fresh->meta);
    if (first == BLOCK_NONE) {
        pool_unpin(fresh->meta);
        fresh->meta = 0;
        return pool_extend(index->file, use, &fresh->page, &block);
    }
    pool_lock(fresh->meta, LW_EXCLUSIVE);
    first = btree_page_meta(pool_page(fresh->meta))->free;
    if (first == BLOCK_NONE) {
        release(&fresh->meta);
        return pool_extend(index->file, use, &fresh->page, &block);
    }
    err = btree_find_take(index, first, use, &fresh->page); /* F1 */
    if (err == OK) {
        fresh->rest = btree_page_head(pool_page(fresh->page))->next_free;
        return OK;
    }
    release(&fresh->meta);
out:
    return err;
}

unsigned
btree_free_log(struct btree_fresh *fresh, unsigned n)
{
    if (fresh->meta == 0)
        return n;
    pool_change_begin(fresh->meta);
    btree_page_meta_of(pool_page(fresh->meta))->free = fresh->rest;
    pool_log(n, fresh->meta, WAL_PAGE_IMAGE); /* F2 */
    return n + 1;
}

void
btree_free_logged(struct btree_fresh *fresh, lsn_t lsn)
{
    if (fresh->meta != 0)
        pool_change_end(fresh->meta, lsn);
}

void
btree_free_release(struct btree_fresh *fresh)
{
    release(&fresh->page);
    release(&fresh->meta);
}
