/*
 * redo.c - how redo functions reach pages.
 *
 *      the record says    the page in the pool or file    what happens
 *      -----------------  ------------------------------  -----------------------------------
 *      anything           its file is missing             REDO_NO_FILE
 *      anything           LSN >= the record's end         REDO_HAVE
 *      image              not looked at in the file       restored, REDO_HAVE
 *      WAL_PAGE_INIT      not looked at in the file       zeroed if not in the pool, REDO_CHANGE
 *      neither            older                           REDO_CHANGE
 *      neither            beyond the end, or zeroes       REDO_NO_FILE: it was cut off later
 *
 * A page that has an image or is made anew is not read: its old form may be torn.  An older
 * form that is made anew over a newer one in the file is brought forward again by the records
 * that follow.
 */
#include "storage/page/redo.h"

#include <string.h>

#include "base/log.h"
#include "storage/page/datafile.h"

static bool
has_it(const struct wal_record *record, buffer_t buffer)
{
    return ((const struct page_header *)pool_page(buffer))->lsn >= record->end;
}

/* A page that comes whole from the log. */
static err_t
whole_page(const struct wal_record *record, unsigned n, enum redo_need *need, buffer_t *buffer)
{
    const struct wal_page_view *view = &record->page[n];
    err_t err = OK;

    TRY_RETURN(pool_pin_new(view->id, buffer));
    pool_lock(*buffer, LW_EXCLUSIVE);
    if (has_it(record, *buffer)) {
        *need = REDO_HAVE;
        pool_redo_begin(*buffer, false);
        return OK;
    }
    pool_redo_begin(*buffer, true);
    *need = view->has_image ? REDO_HAVE : REDO_CHANGE;
    if (view->has_image)
        err = wal_record_restore(record, n, pool_page(*buffer));
    if (err == OK)
        return OK;
    pool_redo_end(*buffer);
    pool_unlock(*buffer);
    pool_unpin(*buffer);
    *buffer = 0;
    return err;
}

static err_t
no_page(const struct wal_record *record, struct page_id id, enum redo_need *need, buffer_t *buffer)
{
    log_debug("redo of %s at %ju: page %08x/%u is not there", wal_record_kind_name(record->kind),
        (uintmax_t)record->start, id.file, id.block);
    *need = REDO_NO_FILE;
    *buffer = 0;
    return OK;
}

err_t
redo_page(const struct wal_record *record, unsigned n, enum redo_need *need, buffer_t *buffer)
{
    const struct wal_page_view *view;
    const struct page_header *header;
    block_t count;

    *buffer = 0;
    *need = REDO_NO_FILE;
    if (n >= record->page_count)
        return err_set(ERR_CORRUPT, "could not replay the log record %s at %ju: it names %u pages",
            wal_record_kind_name(record->kind), (uintmax_t)record->start, record->page_count);
    view = &record->page[n];
    if (!datafile_exists(view->id.file))
        return no_page(record, view->id, need, buffer);
    if (view->has_image || (view->flags & WAL_PAGE_INIT) != 0)
        return whole_page(record, n, need, buffer);
    TRY_RETURN(datafile_blocks(view->id.file, &count));
    if (view->id.block >= count)
        return no_page(record, view->id, need, buffer);
    TRY_RETURN(pool_pin(view->id, POOL_NORMAL, buffer));
    pool_lock(*buffer, LW_EXCLUSIVE);
    header = pool_page(*buffer);
    if (header->kind == PAGE_ZERO) {
        pool_unlock(*buffer);
        pool_unpin(*buffer);
        return no_page(record, view->id, need, buffer);
    }
    *need = has_it(record, *buffer) ? REDO_HAVE : REDO_CHANGE;
    pool_redo_begin(*buffer, *need == REDO_CHANGE);
    return OK;
}

void
redo_done(const struct wal_record *record, enum redo_need need, buffer_t buffer)
{
    if (buffer == 0)
        return;
    if (need == REDO_CHANGE)
        ((struct page_header *)pool_page(buffer))->lsn = record->end;
    pool_redo_end(buffer);
    pool_unlock(buffer);
    pool_unpin(buffer);
}

err_t
redo_peek(struct page_id id, void *page, bool *found)
{
    block_t count;

    *found = false;
    if (!datafile_exists(id.file))
        return OK;
    TRY_RETURN(datafile_blocks(id.file, &count));
    if (id.block >= count)
        return OK;
    TRY_RETURN(pool_copy(id, POOL_SCAN, page));
    *found = ((const struct page_header *)page)->kind != PAGE_ZERO;
    return OK;
}
