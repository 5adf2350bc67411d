/*
 * pool_verify.h - are the pool's structures what they can be?  For after an internal fault of a
 * process that may have written anywhere.
 */
#ifndef STORAGE_PAGE_POOL_VERIFY_H
#define STORAGE_PAGE_POOL_VERIFY_H

#include <stdbool.h>

#include "base/err.h"
#include "base/types.h"
#include "storage/page/pool_buffer.h"

/* All descriptors and chains.  Takes one partition's lock at a time, beside others' work.  Errors:
   ERR_INTERNAL: what is odd; ERR_MEMORY. */
err_t pool_verify_table(void) MUST_CHECK;

struct pool_verify_page {
    struct page_id id;
    bool there;      /* the buffer has a page, fully read */
    bool as_on_disk; /* nothing was changed since it was read or written, but for hints */
    uint32_t version;
};
/* Copy the bytes of a buffer.  `slot` is a dead process: under its exclusive lock nobody else
   changes them; else the lock is waited for. */
void pool_verify_copy(buffer_t number, unsigned slot, void *copy, struct pool_verify_page *page);
/* Has nobody changed or moved the page since that copy?  Then nobody has written to its file
   either, for only what was changed is written. */
bool pool_verify_rested(buffer_t number, const struct pool_verify_page *page);

#endif
