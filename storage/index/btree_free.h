/*
 * btree_free.h - pages for a tree to grow on: deleted ones first, then the end of the file.
 */
#ifndef STORAGE_INDEX_BTREE_FREE_H
#define STORAGE_INDEX_BTREE_FREE_H

#include "storage/index/btree_page.h"
#include "storage/page/pool.h"

/* A page about to be used: `page` pinned and locked exclusively, its content to be made anew.  If
   it comes from the list of free pages, `meta` is the tree's first page, pinned and locked
   exclusively, and `rest` what its list is to become in the same critical section (btree_free_log).
 */
struct btree_fresh {
    buffer_t page;
    buffer_t meta; /* 0: the page is a new one */
    block_t rest;
};
err_t btree_free_take(
    const struct index *index, enum pool_use use, struct btree_fresh *fresh) MUST_CHECK;
/* In the critical section: change the list, and name the first page in the record as its page `n`;
   yields n + 1, or n if there was nothing to do. */
unsigned btree_free_log(struct btree_fresh *fresh, unsigned n);
/* In the critical section, when the record has its place. */
void btree_free_logged(struct btree_fresh *fresh, lsn_t lsn);
/* Unlock and unpin.  Without having been used, a page from the file's end stays zeroes, for vacuum
 * to find. */
void btree_free_release(struct btree_fresh *fresh);

#endif
