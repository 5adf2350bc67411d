/*
 * page.h - what all pages have in common: header, kind, checksum.
 */
#ifndef STORAGE_PAGE_PAGE_H
#define STORAGE_PAGE_PAGE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/types.h"
#include "wal/wal_page.h"

/* Numbers are on disk. */
enum page_kind {
    PAGE_ZERO = 0, /* never written: all zeroes */
    PAGE_HEAP = 1,
    PAGE_OVERFLOW = 2,
    PAGE_BTREE = 3,
    PAGE_BTREE_META = 4,
    PAGE_HASH = 5,
    PAGE_FREE_SPACE = 6,
    PAGE_CLOG = 7,
    PAGE_CSN = 8,
    PAGE_KIND_COUNT
};

void page_init(
    void *page, enum page_kind kind, size_t reserved_at_end); /* zeroed; lower, upper set */

/* The checksum of a page as it would stand on disk; the page itself is not changed. */
uint32_t page_checksum(const void *page, struct page_id id);
/* A page just read: all zeroes, or checksum, kind and lower ≤ upper ≤ size right. */
bool page_valid(const void *page, struct page_id id);

const char *page_kind_name(enum page_kind kind);

#endif
