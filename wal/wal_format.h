/*
 * wal_format.h - the bytes of the log, for those who write and read them.  Little endian.
 *
 * A segment is WAL_SEGMENT_SIZE bytes; segment n holds the positions n * WAL_SEGMENT_SIZE and up.
 * It begins with struct wal_format_segment; then records follow without gaps, and go on behind the
 * header of the next segment where they do not fit.  No position lies inside a header: what ends
 * at the end of a segment ends, as a number, behind the header of the next.
 *
 * A record (offsets from its start, headers of segments not counted):
 *    0  size and kind      low 24 bits: all bytes of the record, a multiple of 8; high 8: kind
 *    4  data and pages     low 24 bits: bytes of data; high 8: pages
 *    8  xid
 *   16  previous           how far back the previous record starts; 0: there is none
 *   20  behind             how far back lies the end of what was known to be on disk when this was
 *                          inserted; UINT32_MAX: not known
 *   24  epoch
 *   28  crc                CRC-32C of everything from 32 on, then of these 32 bytes with crc = 0,
 *                          then of the record's own position
 *   32  struct wal_format_page, as many as there are pages
 *       data, filled up with zeros to a multiple of 8
 *       for each page: its data, filled up to a multiple of 8
 *       for each page: its image: 2 bytes, the size of the hole left out; then the bytes
 *       zeros up to a multiple of 8
 * Records start at multiples of 8, and so does the data in them.
 */
#ifndef WAL_WAL_FORMAT_H
#define WAL_WAL_FORMAT_H

#include "base/crc32c.h"
#include "wal/wal_record.h"

#define WAL_FORMAT_VERSION       1u
#define WAL_FORMAT_SEGMENT_MAGIC 0x314c415753454e47u /* "GNESWAL1" */
#define WAL_FORMAT_HINT_MAGIC    0x31534c465357414cu
#define WAL_FORMAT_SIZE_MASK     0xffffffu
#define WAL_FORMAT_BEHIND_NONE   UINT32_MAX

struct wal_format_segment {
    uint64_t magic;
    uint32_t version;
    uint32_t page_size;
    uint64_t system_id;
    uint64_t number;
    uint8_t zero[28];
    uint32_t crc; /* of the bytes before it */
};
_Static_assert(sizeof(struct wal_format_segment) == 64, "on disk");
#define WAL_FORMAT_HEAD ((uint32_t)sizeof(struct wal_format_segment))

struct wal_format_record {
    uint32_t size_kind;
    uint32_t data_pages;
    uint64_t xid;
    uint32_t previous;
    uint32_t behind;
    uint32_t epoch;
    uint32_t crc;
};
_Static_assert(sizeof(struct wal_format_record) == 32, "on disk");

enum wal_format_flag {             /* beside enum wal_page_flag */
    WAL_FORMAT_COMPRESSED = 0x100, /* the image: LZ4 */
    WAL_FORMAT_CHECK = 0x200, /* the image is there only to be compared with the replayed page */
};

struct wal_format_page {
    uint32_t file;
    uint32_t block;
    uint16_t data_size;
    uint16_t image_size; /* with the two bytes before it; 0: no image */
    uint16_t hole_start;
    uint16_t flags;
};
_Static_assert(sizeof(struct wal_format_page) == 16, "on disk");

/* <data>/wal/flushed: up to where the log was certainly on disk at some time.  Written after each
   sync, itself not synced: what is found there is never too much. */
struct wal_format_hint {
    uint64_t magic;
    uint64_t system_id;
    uint64_t flushed;
    uint32_t zero;
    uint32_t crc; /* of the bytes before it */
};
_Static_assert(sizeof(struct wal_format_hint) == 32, "on disk");

/* Data of WAL_EPOCH and WAL_CHECKPOINT. */
struct wal_format_epoch {
    uint32_t from; /* the epoch that ended here */
    uint32_t zero;
    int64_t wall_ms;
};
_Static_assert(sizeof(struct wal_format_epoch) == 16, "on disk");

struct wal_format_checkpoint {
    uint64_t redo;
    int64_t wall_ms;
    uint64_t numbers[8];
    uint32_t flags;
    uint32_t zero;
};
_Static_assert(sizeof(struct wal_format_checkpoint) == 88, "on disk");

static inline uint32_t
wal_format_align(uint32_t size)
{
    return (size + 7u) & ~7u;
}

static inline uint64_t
wal_format_segment_of(lsn_t lsn)
{
    return lsn / WAL_SEGMENT_SIZE;
}

static inline uint32_t
wal_format_offset(lsn_t lsn)
{
    return (uint32_t)(lsn % WAL_SEGMENT_SIZE);
}

/* Where the records of a segment begin. */
static inline lsn_t
wal_format_first(uint64_t segment)
{
    return segment * WAL_SEGMENT_SIZE + WAL_FORMAT_HEAD;
}

/* The position `size` bytes of records behind `lsn`; size < WAL_SEGMENT_SIZE - WAL_FORMAT_HEAD. */
static inline lsn_t
wal_format_advance(lsn_t lsn, uint32_t size)
{
    uint32_t left = WAL_SEGMENT_SIZE - wal_format_offset(lsn);

    return size < left ? lsn + size : lsn + size + WAL_FORMAT_HEAD;
}

/* The whole CRC, given that of the bytes behind the header. */
static inline uint32_t
wal_format_seal(uint32_t body, const struct wal_format_record *head, lsn_t start)
{
    struct {
        struct wal_format_record head;
        lsn_t start;
    } last = { *head, start };

    last.head.crc = 0;
    return crc32c(body, &last, sizeof last);
}

#endif
