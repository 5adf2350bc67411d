/*
 * clog.c - the commit log.
 *
 *   page:  0  header (24 bytes), no hole
 *         24  fates, four a byte, the lowest two bits first: 00 running, 01 committed, 10 aborted
 *
 * INVARIANTS
 *   C1  A fate other than running never changes.
 *   C2  A fate is on the page only together with its record in the log, whose end is the page's
 *       LSN.
 *   C3  The pages of all xids that may be given are there: making one cannot fail at a commit.
 *
 * IF A PROCESS DIES outside clog_set's critical section, page and log agree.  Inside, everything is
 * rebuilt from the log.
 */
#include "storage/txn/clog.h"

#include "base/crit.h"
#include "base/panic.h"
#include "storage/page/datafile.h"
#include "storage/page/redo.h"
#include "wal/wal_insert.h"

#define FATES_AT sizeof(struct page_header)

static uint32_t
fates_per_page(void)
{
    return (wal_page_size - (uint32_t)FATES_AT) * 4;
}

static struct page_id
page_of(xid_t xid)
{
    return (struct page_id){ DATAFILE_CLOG, (block_t)(xid / fates_per_page()) };
}

/* The byte and the bits of an xid; bytes are read by peeks while others are written. */
static size_t
byte_of(xid_t xid, unsigned *shift)
{
    uint32_t n = (uint32_t)(xid % fates_per_page());

    *shift = (n & 3) * 2;
    return FATES_AT + n / 4;
}

static enum xid_fate
fate_in(const uint8_t *page, xid_t xid)
{
    unsigned shift;
    size_t at = byte_of(xid, &shift);

    return (enum xid_fate)(__atomic_load_n(&page[at], __ATOMIC_RELAXED) >> shift & 3);
}

static void
put_fate(uint8_t *page, xid_t xid, enum xid_fate fate)
{
    unsigned shift;
    size_t at = byte_of(xid, &shift);
    unsigned byte = __atomic_load_n(&page[at], __ATOMIC_RELAXED);

    byte = (byte & ~(3u << shift)) | (unsigned)fate << shift;
    __atomic_store_n(&page[at], (uint8_t)byte, __ATOMIC_RELAXED);
}

err_t
clog_get(xid_t xid, enum xid_fate *fate)
{
    struct pool_peek peek;
    buffer_t buffer;

    if (pool_peek(page_of(xid), &peek)) {
        *fate = fate_in(peek.page, xid);
        if (pool_peek_valid(&peek))
            return OK;
    }
    TRY_RETURN(clog_pin(xid, &buffer));
    pool_lock(buffer, LW_SHARED);
    *fate = fate_in(pool_page(buffer), xid);
    pool_unlock(buffer);
    pool_unpin(buffer);
    return OK;
}

err_t
clog_pin(xid_t xid, buffer_t *buffer)
{
    return pool_pin(page_of(xid), POOL_NORMAL, buffer);
}

lsn_t
clog_set(buffer_t buffer, xid_t xid, enum xid_fate fate, enum wal_kind kind, const void *data,
    size_t size)
{
    lsn_t lsn;

    invariant(fate != XID_RUNNING);
    pool_lock(buffer, LW_EXCLUSIVE);
    crit_begin();
    invariant(fate_in(pool_page(buffer), xid) == XID_RUNNING); /* C1 */
    pool_change_begin(buffer);
    put_fate(pool_page(buffer), xid, fate);
    wal_insert_begin();
    if (size > 0)
        wal_insert_data(data, size);
    pool_log(0, buffer, WAL_PAGE_PLAIN);
    lsn = wal_insert(kind, xid);
    pool_change_end(buffer, lsn); /* C2 */
    crit_end();
    pool_unlock(buffer);
    pool_unpin(buffer);
    return lsn;
}

err_t
clog_redo(const struct wal_record *record, enum xid_fate fate)
{
    enum redo_need need;
    buffer_t buffer;

    TRY_RETURN(redo_page(record, 0, &need, &buffer));
    if (need == REDO_CHANGE)
        put_fate(pool_page(buffer), record->xid, fate);
    redo_done(record, need, buffer);
    return OK;
}

/* An empty page, logged whole. */
static err_t
make_page(struct page_id id)
{
    struct page_header *header;
    buffer_t buffer;
    lsn_t lsn;

    TRY_RETURN(wal_insert_reserve_shrink(0));
    TRY_RETURN(pool_pin_new(id, &buffer));
    pool_lock(buffer, LW_EXCLUSIVE);
    crit_begin();
    pool_change_begin(buffer);
    page_init(pool_page(buffer), PAGE_CLOG, 0);
    header = pool_page(buffer);
    header->lower = header->upper = 0;
    wal_insert_begin();
    pool_log(0, buffer, WAL_PAGE_IMAGE);
    lsn = wal_insert(WAL_IMAGE, 0);
    pool_change_end(buffer, lsn);
    crit_end();
    pool_unlock(buffer);
    pool_unpin(buffer);
    return OK;
}

/* The file may be longer than what was made of it: a page of zeroes was only allocated. */
static err_t
page_made(struct page_id id, bool *made)
{
    block_t blocks;
    buffer_t buffer;

    *made = false;
    TRY_RETURN(datafile_blocks(id.file, &blocks));
    if (id.block >= blocks)
        return OK;
    TRY_RETURN(pool_pin(id, POOL_NORMAL, &buffer));
    pool_lock(buffer, LW_SHARED);
    *made = ((const struct page_header *)pool_page(buffer))->kind == PAGE_CLOG;
    pool_unlock(buffer);
    pool_unpin(buffer);
    return OK;
}

err_t
clog_make(xid_t from, xid_t below)
{
    struct page_id id = page_of(from), last = page_of(below - 1);
    bool made;

    if (!datafile_exists(DATAFILE_CLOG))
        TRY_RETURN(datafile_create(DATAFILE_CLOG, 0));
    for (; id.block <= last.block; id.block++) {
        TRY_RETURN(page_made(id, &made));
        if (!made)
            TRY_RETURN(make_page(id)); /* C3 */
    }
    return OK;
}
