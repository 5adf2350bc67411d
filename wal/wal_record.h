/*
 * wal_record.h - one record of the log: its form, and how it is read.
 */
#ifndef WAL_WAL_RECORD_H
#define WAL_WAL_RECORD_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/types.h"

enum wal_kind {
    WAL_NONE = 0,
#define WALKIND(name, what) name,
#include "base/lists/walkinds.def"
#undef WALKIND
    WAL_KIND_COUNT
};

#define WAL_SEGMENT_SIZE (16u << 20)
#define WAL_RECORD_PAGES 8          /* pages one record may change */
#define WAL_RECORD_MAX   (1u << 20) /* bytes of one record */

enum wal_page_flag {
    WAL_PAGE_PLAIN = 0,
    WAL_PAGE_INIT = 1,  /* redo makes the page anew from the record: no image, no reading */
    WAL_PAGE_IMAGE = 2, /* always log the whole page, and let redo be the restoring of it */
};

/* A page that a record names. */
struct wal_page_view {
    struct page_id id;
    unsigned flags; /* enum wal_page_flag */
    bool has_image;
    struct bytes image; /* as stored; wal_record_restore unpacks it */
    uint16_t hole_start, hole_size;
    bool compressed;
    struct bytes data; /* what the record says about this page */
};

/* A record taken apart; slices point into the reader's buffer. */
struct wal_record {
    lsn_t start;
    lsn_t end; /* start of the next; what pages carry as their LSN */
    lsn_t previous;
    uint32_t epoch;
    enum wal_kind kind;
    xid_t xid;
    struct bytes data;
    unsigned page_count;
    struct wal_page_view page[WAL_RECORD_PAGES];
};

/* Write page n's image to `page` (wal_page_size bytes), its LSN set to the record's end. */
err_t wal_record_restore(const struct wal_record *record, unsigned n, void *page) MUST_CHECK;

const char *wal_record_kind_name(enum wal_kind kind);

/* The seam to those who know what records mean, indexed by kind; an empty row: unknown kind.
   All are called by one process, the one that recovers. */
struct wal_handler {
    /* Do again what the record says.  Pages are reached through the pool; a page whose LSN is
       at or beyond the record's end already has it. */
    err_t (*redo)(const struct wal_record *record);
    /* One line for people, without a newline. */
    err_t (*describe)(const struct wal_record *record, struct buf *text);
    /* Zero what may differ between a page and its replay (hint bits); for wal.check.  May be NULL.
     */
    void (*mask)(void *page);
};

#endif
