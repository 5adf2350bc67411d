/*
 * page.c - what all pages have in common.
 *
 * INVARIANTS
 *   G1  The checksum covers the page's address and every byte but its own four: a page that was
 *       written to the wrong place is as bad as one with a flipped bit.
 *   G2  A page of zeroes only is valid anywhere: it was allocated and never written.  (A checksum
 *       of a page that has a kind may be any number, 0 too.)
 *   G3  The checksum is taken of a private copy: the page in the pool may get hints meanwhile.
 */
#include "storage/page/page.h"

#include <stddef.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/panic.h"

#define CRC_AT     offsetof(struct page_header, crc)
#define BEHIND_CRC (CRC_AT + sizeof(uint32_t))

static const char *const kind_names[PAGE_KIND_COUNT] = { "zero", "heap", "overflow", "btree",
    "btree meta", "hash", "free space", "clog", "csn" };

void
page_init(void *page, enum page_kind kind, size_t reserved_at_end)
{
    struct page_header *header = page;

    invariant(kind > PAGE_ZERO && kind < PAGE_KIND_COUNT);
    invariant(reserved_at_end <= wal_page_size - sizeof *header);
    memset(page, 0, wal_page_size);
    header->kind = (uint16_t)kind;
    header->lower = sizeof *header;
    header->upper = (uint16_t)(wal_page_size - reserved_at_end);
}

uint32_t
page_checksum(const void *page, struct page_id id)
{
    const uint8_t *bytes = page;
    uint32_t crc = crc32c(0, &id, sizeof id);

    crc = crc32c(crc, bytes, CRC_AT);
    return crc32c(crc, bytes + BEHIND_CRC, wal_page_size - BEHIND_CRC);
}

static bool
all_zero(const uint8_t *bytes)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, wal_page_size - 1) == 0;
}

bool
page_valid(const void *page, struct page_id id)
{
    struct page_header header;

    memcpy(&header, page, sizeof header);
    if (header.kind == PAGE_ZERO)
        return all_zero(page); /* G2 */
    return header.kind < PAGE_KIND_COUNT && header.lower <= header.upper &&
           header.upper <= wal_page_size && header.crc == page_checksum(page, id);
}

const char *
page_kind_name(enum page_kind kind)
{
    return kind < PAGE_KIND_COUNT ? kind_names[kind] : "unknown";
}
