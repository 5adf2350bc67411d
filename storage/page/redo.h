/*
 * redo.h - how redo functions reach pages.
 */
#ifndef STORAGE_PAGE_REDO_H
#define STORAGE_PAGE_REDO_H

#include "storage/page/pool.h"

enum redo_need {
    REDO_CHANGE, /* apply the record's data to the page, then redo_done */
    REDO_HAVE,   /* the page already has it (its LSN, or it came whole from its image): redo_done */
    REDO_NO_FILE, /* its file was removed later in the log: nothing to do; buffer is 0 */
};

/* Bring page n of the record into a buffer: restored from its image, made anew (WAL_PAGE_INIT), or
   read. The buffer is pinned and locked exclusively, and a change has begun. */
err_t redo_page(
    const struct wal_record *record, unsigned n, enum redo_need *need, buffer_t *buffer) MUST_CHECK;
/* Ends the change with the record's LSN if it was needed, unlocks, unpins.  0: nothing. */
void redo_done(const struct wal_record *record, enum redo_need need, buffer_t buffer);

/* For wal_set_page_peek: a copy of the page as replay left it; *found = false: the page, or its
   file, is gone. */
err_t redo_peek(struct page_id id, void *page, bool *found) MUST_CHECK;

#endif
