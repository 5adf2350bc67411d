/*
 * wal_page.h - the part of a page that the log must understand: 24 bytes at its head.
 *
 *   0  lsn    end of the last record that changed the page; the log is flushed up to it
 *             before the page is written
 *   8  crc    CRC-32C over the page's id and all bytes but these four; set when written
 *  12  kind   enum page_kind (storage/page/page.h)
 *  14  flags  the kind's own
 *  16  lower  the bytes in lower … upper-1 are free and left out of page images;
 *  18  upper  lower = upper = 0 if the page has no such hole
 *  20  extra  the kind's own
 */
#ifndef WAL_WAL_PAGE_H
#define WAL_WAL_PAGE_H

#include "base/types.h"

struct page_header {
    lsn_t lsn;
    uint32_t crc;
    uint16_t kind;
    uint16_t flags;
    uint16_t lower;
    uint16_t upper;
    uint32_t extra;
};
_Static_assert(sizeof(struct page_header) == 24, "on disk");

#define PAGE_SIZE_MIN 4096u
#define PAGE_SIZE_MAX 32768u

/* The page size of the open data directory; const after the control file was read. */
extern uint32_t wal_page_size;

#endif
