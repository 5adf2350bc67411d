/*
 * wal_insert.c - putting a record together and into the log.
 *
 * A record is gathered as a list of pieces; small ones are collected in `small`, so that a usual
 * record is one piece, summed once and copied once.  The sum over the pieces is made before space
 * is taken; only what depends on the place (previous, behind, the place itself) comes last in it.
 *
 * INVARIANTS
 *   I1  Whether a page goes in whole was decided with the redo point that is in force
 *       when space is taken: it cannot change while the right to insert is held.
 *   I2  Nothing here allocates or fails: callers are in a critical section.
 *
 * IF A PROCESS DIES here it is in a critical section: all restarts from the log.
 */
#include "wal/wal_insert.h"

#include <lz4.h>

#include "base/crit.h"
#include "base/fault.h"
#include "base/panic.h"
#include "shmem/counters.h"
#include "wal/wal_flush.h"
#include "wal/wal_format.h"
#include "wal/wal_ring.h"
#include "wal/wal_room.h"

#define DATA_PIECES 8
#define PAGE_PIECES 24
#define SMALL       256 /* a piece of at most this is collected */
/* Whatever is collected has room: header, rows, all pieces, and for each page two fillings and the
   size of its hole.  So no part ever points to the memory of a function that has returned. */
#define SMALL_ROOM \
    (32 + 16 * WAL_RECORD_PAGES + SMALL * (DATA_PIECES + PAGE_PIECES) + 32 * WAL_RECORD_PAGES)
/* The first; each piece; two for each page's filling and hole, two for its image; two at the ends.
 */
#define PARTS (1 + DATA_PIECES + PAGE_PIECES + 4 * WAL_RECORD_PAGES + 2)

struct piece {
    const void *data;
    uint32_t size;
    uint32_t page;
};

struct named_page {
    struct page_id id;
    const void *page;
    unsigned flags;
    bool named;
};

/* What the caller has handed over since wal_insert_begin.  guard: own process. */
static _Thread_local struct {
    unsigned data_count;
    unsigned piece_count;
    unsigned page_count;
    uint32_t data_size;
    struct piece data[DATA_PIECES];
    struct piece piece[PAGE_PIECES];
    struct named_page page[WAL_RECORD_PAGES];
} handed;

struct part {
    const uint8_t *data;
    size_t size;
};

/* The record as it will be.  guard: own process. */
static _Thread_local struct {
    unsigned part_count;
    uint32_t size; /* so far, header included */
    uint32_t small_used;
    bool small_open; /* the last part ends where `small` is used up to */
    struct part part[PARTS];
    _Alignas(8) uint8_t small[SMALL_ROOM]; /* begins with the header */
} record;

static _Thread_local lsn_t last_start;
static _Thread_local uint8_t packed[WAL_RECORD_PAGES][PAGE_SIZE_MAX];
static _Thread_local uint8_t unpacked[PAGE_SIZE_MAX];

err_t
wal_insert_reserve(size_t size)
{
    invariant(!crit_active());
    return wal_room_promise(size, WAL_ROOM_GROW);
}

err_t
wal_insert_reserve_shrink(size_t size)
{
    invariant(!crit_active());
    return wal_room_promise(size, WAL_ROOM_SHRINK);
}

void
wal_insert_begin(void)
{
    for (unsigned i = 0; i < handed.page_count; i++)
        handed.page[i].named = false;
    handed.data_count = 0;
    handed.piece_count = 0;
    handed.page_count = 0;
    handed.data_size = 0;
}

void
wal_insert_data(const void *data, size_t size)
{
    invariant(handed.data_count < DATA_PIECES && size <= WAL_RECORD_MAX);
    handed.data[handed.data_count++] = (struct piece){ data, (uint32_t)size, 0 };
    handed.data_size += (uint32_t)size;
}

void
wal_insert_page(unsigned n, struct page_id id, const void *page, unsigned flags)
{
    invariant(n < WAL_RECORD_PAGES && !handed.page[n].named);
    handed.page[n] = (struct named_page){ id, page, flags, true };
    if (n >= handed.page_count)
        handed.page_count = n + 1;
}

void
wal_insert_page_data(unsigned n, const void *data, size_t size)
{
    invariant(handed.piece_count < PAGE_PIECES && n < WAL_RECORD_PAGES && size <= UINT16_MAX);
    handed.piece[handed.piece_count++] = (struct piece){ data, (uint32_t)size, n };
}

/* Add bytes to the record. */
static void
add(const void *data, uint32_t size)
{
    record.size += size;
    if (size <= SMALL) {
        invariant(record.small_used + size <= SMALL_ROOM);
        if (!record.small_open) {
            invariant(record.part_count < PARTS);
            record.part[record.part_count++] = (struct part){ record.small + record.small_used, 0 };
            record.small_open = true;
        }
        memcpy(record.small + record.small_used, data, size);
        record.small_used += size;
        record.part[record.part_count - 1].size += size;
        return;
    }
    invariant(record.part_count < PARTS);
    record.part[record.part_count++] = (struct part){ data, size };
    record.small_open = false;
}

static void
add_zeros_to_align(void)
{
    static const uint8_t zeros[8];

    add(zeros, wal_format_align(record.size) - record.size);
}

/* What of page n must be in the record, given the redo point.  0: no image. */
static unsigned
image_wanted(const struct named_page *page, lsn_t redo)
{
    const struct page_header *head = page->page;

    if (head == NULL)
        return 0;
    if ((page->flags & WAL_PAGE_IMAGE) != 0)
        return WAL_PAGE_IMAGE;
    if ((page->flags & WAL_PAGE_INIT) == 0 && wal_ring_images() && head->lsn <= redo)
        return WAL_PAGE_IMAGE;
    return wal_ring_check() ? WAL_FORMAT_CHECK : 0;
}

/* An image in the making. */
struct image {
    const uint8_t *bytes;
    uint32_t size;  /* of bytes; 0: take the page itself */
    uint16_t start; /* of the hole */
    uint16_t hole;
};

/* Leave the hole out and pack what remains, if that makes it smaller by an eighth. */
static struct image
make_image(unsigned n)
{
    const struct page_header *head = handed.page[n].page;
    const uint8_t *page = handed.page[n].page;
    const uint8_t *from = page;
    struct image image = { NULL, 0, 0, 0 };
    uint32_t size = wal_page_size;
    int got;

    if (head->lower >= sizeof *head && head->lower < head->upper && head->upper <= wal_page_size) {
        image.start = head->lower;
        image.hole = (uint16_t)(head->upper - head->lower);
        size -= image.hole;
        memcpy(unpacked, page, image.start);
        memcpy(unpacked + image.start, page + head->upper, size - image.start);
        from = unpacked;
    }
    got = LZ4_compress_default(
        (const char *)from, (char *)packed[n], (int)size, (int)(size - size / 8));
    if (got > 0) {
        image.bytes = packed[n];
        image.size = (uint32_t)got;
    }
    return image;
}

/* The row of page n: what it is, and how much data it has. */
static void
describe_page(unsigned n, lsn_t redo, struct wal_format_page *row, struct image *image)
{
    const struct named_page *page = &handed.page[n];
    unsigned wanted = image_wanted(page, redo);
    uint32_t data = 0;

    invariant(page->named);
    for (unsigned i = 0; i < handed.piece_count; i++)
        if (handed.piece[i].page == n)
            data += handed.piece[i].size;
    invariant(data <= UINT16_MAX);
    *row = (struct wal_format_page){
        .file = page->id.file,
        .block = page->id.block,
        .data_size = (uint16_t)data,
        .flags = (uint16_t)page->flags,
    };
    if (wanted == 0)
        return;
    *image = make_image(n);
    row->image_size = (uint16_t)(2 + (image->size > 0 ? image->size : wal_page_size - image->hole));
    row->hole_start = image->start;
    if (image->size > 0)
        row->flags |= WAL_FORMAT_COMPRESSED;
    if (wanted == WAL_FORMAT_CHECK)
        row->flags |= WAL_FORMAT_CHECK;
}

static void
add_image(unsigned n, const struct image *image)
{
    const uint8_t *page = handed.page[n].page;
    uint32_t behind = (uint32_t)image->start + image->hole;

    add(&image->hole, sizeof image->hole);
    if (image->size > 0) {
        add(image->bytes, image->size);
        return;
    }
    if (image->start > 0)
        add(page, image->start);
    add(page + behind, wal_page_size - behind);
}

/* Put the record together as the redo point asks for. */
static void
assemble(enum wal_kind kind, xid_t xid, lsn_t redo)
{
    struct wal_format_record *head = (void *)record.small;
    struct wal_format_page row[WAL_RECORD_PAGES];
    struct image image[WAL_RECORD_PAGES];
    unsigned page_count = handed.page_count;

    record.part_count = 1;
    record.part[0] = (struct part){ record.small, sizeof *head };
    record.size = record.small_used = sizeof *head;
    record.small_open = true;
    for (unsigned i = 0; i < page_count; i++)
        describe_page(i, redo, &row[i], &image[i]);
    if (page_count > 0)
        add(row, page_count * (uint32_t)sizeof *row);
    for (unsigned i = 0; i < handed.data_count; i++)
        add(handed.data[i].data, handed.data[i].size);
    add_zeros_to_align();
    for (unsigned i = 0; i < page_count; i++) {
        for (unsigned j = 0; j < handed.piece_count; j++)
            if (handed.piece[j].page == i)
                add(handed.piece[j].data, handed.piece[j].size);
        add_zeros_to_align();
    }
    for (unsigned i = 0; i < page_count; i++)
        if (row[i].image_size > 0)
            add_image(i, &image[i]);
    add_zeros_to_align();
    invariant(record.size <= WAL_RECORD_MAX);
    *head = (struct wal_format_record){
        .size_kind = record.size | (uint32_t)kind << 24,
        .data_pages = handed.data_size | (uint32_t)page_count << 24,
        .xid = xid,
        .epoch = wal_ring_epoch(),
    };
}

static uint32_t
sum_body(void)
{
    const size_t head = sizeof(struct wal_format_record);
    uint32_t crc = crc32c(0, record.part[0].data + head, record.part[0].size - head);

    for (unsigned i = 1; i < record.part_count; i++)
        crc = crc32c(crc, record.part[i].data, record.part[i].size);
    return crc;
}

/* Complete the header, now that the place is known. */
static void
seal(uint32_t body, const struct wal_ring_place *place)
{
    struct wal_format_record *head = (void *)record.small;
    lsn_t synced = wal_flush_synced();

    head->previous = place->previous == 0 ? 0 : (uint32_t)(place->start - place->previous);
    head->behind = synced != 0 && place->start - synced < WAL_FORMAT_BEHIND_NONE
                       ? (uint32_t)(place->start - synced)
                       : WAL_FORMAT_BEHIND_NONE;
    head->crc = wal_format_seal(body, head, place->start);
}

lsn_t
wal_insert(enum wal_kind kind, xid_t xid)
{
    struct wal_ring_place place;
    unsigned right;
    uint32_t body;
    lsn_t redo;
    lsn_t at;

    invariant(kind > WAL_NONE && kind < WAL_KIND_COUNT);
    for (;;) {
        redo = wal_ring_redo();
        assemble(kind, xid, redo);
        body = sum_body();
        right = wal_ring_enter();
        if (handed.page_count == 0 || redo == wal_ring_redo()) /* I1 */
            break;
        wal_ring_leave(right);
    }
    (void)fault_pass((enum fault)(FAULT_CHANGED_WAL_CHECKPOINT + 2 * (kind - WAL_CHECKPOINT)));
    wal_ring_take(right, record.size, &place);
    (void)fault_pass(FAULT_WAL_RESERVED);
    seal(body, &place);
    wal_room_force(place.end);
    wal_flush_await_room(place.end);
    at = place.start;
    for (unsigned i = 0; i < record.part_count; i++)
        at = wal_ring_copy(at, record.part[i].data, record.part[i].size);
    invariant(at == place.end);
    wal_ring_leave(right);
    (void)fault_pass(FAULT_WAL_COPIED);
    (void)fault_pass((enum fault)(FAULT_LOGGED_WAL_CHECKPOINT + 2 * (kind - WAL_CHECKPOINT)));
    wal_room_use(record.size);
    last_start = place.start;
    counters_add(COUNTER_WAL_RECORDS, 1);
    counters_add(COUNTER_WAL_BYTES, record.size);
    return place.end;
}

lsn_t
wal_insert_position(void)
{
    return wal_ring_position();
}

lsn_t
wal_insert_redo_point(void)
{
    return wal_ring_redo();
}

lsn_t
wal_insert_start(void)
{
    return last_start;
}
