/*
 * overflow.c - rows too large for a page.
 *
 * INVARIANTS
 *   O1  A page of a chain carries the chain's name (xid of its writer, block of its last part);
 *       whoever follows a pointer compares it.  A page given back and used again never has the same
 *       name while the pointer lives: the last part's page is given back only with the pointer's
 *       row removed, and the same transaction does not write into a chain twice.
 *   O2  A chain belongs to one row version.  Versions do not share chains, so removing the version
 *       frees the chain and nothing else need be asked.
 *   O3  The row that points to a chain is logged behind all its parts.
 *
 * IF A PROCESS DIES
 *   between two parts, or before the row is put on its page: the parts are pages that no row owns.
 *     Nobody reads them; vacuum finds and frees them once their xid has ended (heap_vacuum.c).
 *   inside the critical section of one part: everything is rebuilt from the log.
 *   between removing a version and freeing its chain: as the first.
 */
#include "storage/heap/overflow.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "base/crit.h"
#include "base/fault.h"
#include "base/panic.h"
#include "storage/heap/heaplog.h"
#include "storage/heap/heaptarget.h"
#include "storage/page/datafile.h"
#include "storage/page/freespace.h"
#include "storage/page/pool.h"
#include "wal/wal_insert.h"

#define COMPRESS_LEAST 256u /* smaller rows are not worth the try */

static size_t
part_bytes(void)
{
    return wal_page_size - sizeof(struct overflow_page);
}

bool
overflow_part_fits(const void *page)
{
    const struct overflow_page *part = page;

    return part->header.kind == PAGE_OVERFLOW && part->size <= part_bytes() && part->xid != 0;
}

/* A page for one part, locked exclusively: an empty one of the heap, or a new one.  *search turns
   false when the map knows of none: a long chain asks once. */
static err_t
claim_page(const struct heap *heap, bool *search, buffer_t *buffer, block_t *block)
{
    while (*search) {
        TRY_RETURN(heaptarget_find(heap, heappage_empty_free(), block));
        if (*block == BLOCK_NONE) {
            *search = false;
            break;
        }
        TRY_RETURN(pool_pin((struct page_id){ heap->file, *block }, POOL_NORMAL, buffer));
        pool_lock(*buffer, LW_EXCLUSIVE);
        if (heappage_empty(pool_page(*buffer)))
            return OK;

        /* One that has nothing but dead items has room for all that an empty page has, but cannot
           be had: if the map said so, it would be found for ever. */
        size_t left = heappage_free(pool_page(*buffer));

        if (left >= heappage_empty_free())
            left = heappage_empty_free() - wal_page_size / 256u;
        pool_unlock(*buffer);
        pool_unpin(*buffer);
        TRY_RETURN(freespace_note(heap->map, *block, left));
    }
    return pool_extend(heap->file, POOL_NORMAL, buffer, block);
}

bool
overflow_make(void *bytes, xid_t xid, const struct heaplog_overflow *head, const uint8_t *data)
{
    struct overflow_page *page = bytes;

    if (head->size > part_bytes())
        return false;
    page_init(page, PAGE_OVERFLOW, 0);
    page->xid = xid;
    page->next = head->next;
    page->last = head->last;
    page->part = head->part;
    page->size = head->size;
    if (head->size > 0)
        memcpy(page->data, data, head->size);
    page->header.lower = (uint16_t)(sizeof *page + head->size);
    page->header.upper = (uint16_t)wal_page_size;
    return true;
}

static void
write_part(buffer_t buffer, xid_t xid, const struct heaplog_overflow *head, const uint8_t *data)
{
    struct overflow_page *page = pool_page(buffer);
    bool fits;

    crit_begin();
    pool_change_begin(buffer);
    fits = overflow_make(page, xid, head, data);
    invariant(fits);
    wal_insert_begin();
    wal_insert_data(head, sizeof *head);
    pool_log(0, buffer, WAL_PAGE_INIT);
    wal_insert_page_data(0, page->data, head->size);
    pool_change_end(buffer, wal_insert(WAL_OVERFLOW, xid));
    crit_end();
}

/* Write the chain from its end.  On an error, what was written is given back. */
static err_t
write_chain(
    const struct heap *heap, xid_t xid, struct bytes bytes, struct heappage_overflow *pointer)
{
    size_t room = part_bytes(), parts = (bytes.size + room - 1) / room;
    block_t next = BLOCK_NONE, last = BLOCK_NONE;
    bool search = true;
    err_t err = OK;

    for (size_t i = parts; i-- > 0;) {
        size_t begin = i * room, size = i + 1 == parts ? bytes.size - begin : room;
        buffer_t buffer;
        block_t block;

        TRY(wal_insert_reserve(sizeof(struct heaplog_overflow) + size));
        TRY(claim_page(heap, &search, &buffer, &block));
        if (last == BLOCK_NONE)
            last = block;

        struct heaplog_overflow head = { next, last, (uint32_t)i, (uint32_t)size };

        write_part(buffer, xid, &head, bytes.data + begin);
        pool_unlock(buffer);
        pool_unpin(buffer);
        next = block;
        (void)fault_pass(FAULT_OVERFLOW_PART);
        TRY(freespace_note(heap->map, block, 0));
    }
    (void)fault_pass(FAULT_OVERFLOW_WHOLE);
    pointer->first = next;
    pointer->last = last;
    return OK;
out:
    if (next != BLOCK_NONE) {
        err_t ignored = overflow_free(heap, &(struct overflow_chain){ xid, next, last });

        (void)ignored; /* vacuum will find it */
    }
    return err;
}

/* LZ4 of the row behind `skip` bytes of room.  *size 0: it does not pay. */
static err_t
compress_row(struct bytes row, size_t skip, uint8_t **packed, size_t *size)
{
    size_t most = row.size - row.size / 8; /* less than 1/8 saved is not worth unpacking */

    *size = 0;
    *packed = malloc(skip + most);
    if (*packed == NULL)
        return err_set(ERR_MEMORY, "could not compress a row: no memory for %zu bytes", most);

    int got = LZ4_compress_default(
        (const char *)row.data, (char *)*packed + skip, (int)row.size, (int)most);

    *size = got > 0 ? (size_t)got : 0;
    return OK;
}

err_t
overflow_prepare(const struct heap *heap, xid_t xid, struct bytes row, struct overflow_form *form)
{
    uint32_t raw = (uint32_t)row.size;
    uint8_t *packed = NULL;
    size_t size = 0;
    err_t err = OK;

    *form = (struct overflow_form){ .data = row };
    if (overflow_inline(row.size))
        return OK;
    if (row.size > HEAP_ROW_MAX)
        return err_set(ERR_TOO_LARGE, "could not store a row of %zu bytes: the limit is %u",
            row.size, HEAP_ROW_MAX);
    if (row.size >= COMPRESS_LEAST)
        TRY(compress_row(row, sizeof raw, &packed, &size));
    form->memory = packed;
    if (size > 0 && overflow_inline(size + sizeof raw)) {
        memcpy(packed, &raw, sizeof raw);
        form->data = (struct bytes){ packed, size + sizeof raw };
        form->flags = HEAPPAGE_COMPRESSED;
        return OK;
    }
    form->flags = HEAPPAGE_OVERFLOW;
    if (size > 0) {
        form->flags |= HEAPPAGE_COMPRESSED;
        row = (struct bytes){ packed + sizeof raw, size };
    }
    form->pointer = (struct heappage_overflow){ raw, (uint32_t)row.size, 0, 0 };
    TRY(write_chain(heap, xid, row, &form->pointer));
    free(packed); /* it is in the chain now */
    form->memory = NULL;
    form->data = (struct bytes){ (const uint8_t *)&form->pointer, sizeof form->pointer };
    return OK;
out:
    free(packed);
    *form = (struct overflow_form){ 0 };
    return err;
}

void
overflow_release(struct overflow_form *form)
{
    free(form->memory);
    form->memory = NULL;
}

void
overflow_withdraw(const struct heap *heap, xid_t xid, struct overflow_form *form)
{
    if ((form->flags & HEAPPAGE_OVERFLOW) != 0) {
        struct overflow_chain chain = { xid, form->pointer.first, form->pointer.last };
        err_t ignored = overflow_free(heap, &chain);

        (void)ignored; /* vacuum will find it */
    }
    overflow_release(form);
}

/* Unpack `packed` behind what `out` has. */
static err_t
unpack(struct bytes packed, uint32_t raw, struct buf *out)
{
    if (raw > HEAP_ROW_MAX)
        return err_set(ERR_CORRUPT, "a compressed row says it has %u bytes", raw);
    TRY_RETURN(buf_reserve(out, raw));

    int got = LZ4_decompress_safe(
        (const char *)packed.data, (char *)out->data + out->size, (int)packed.size, (int)raw);

    if (got < 0 || (uint32_t)got != raw)
        return err_set(ERR_CORRUPT, "a compressed row of %u bytes cannot be unpacked", raw);
    out->size += raw;
    return OK;
}

/* Collect a chain's bytes at `to`, which has room for pointer->stored. */
static err_t
read_chain(const struct heap *heap, xid_t xid, const struct heappage_overflow *pointer, uint8_t *to,
    bool *found)
{
    _Alignas(8) uint8_t copy[PAGE_SIZE_MAX];
    const struct overflow_page *page = (const struct overflow_page *)copy;
    block_t block = pointer->first, count;
    size_t done = 0;

    *found = false;
    TRY_RETURN(datafile_blocks(heap->file, &count));
    for (uint32_t part = 0; done < pointer->stored; part++) {
        if (block >= count)
            return OK;
        TRY_RETURN(pool_copy((struct page_id){ heap->file, block }, POOL_NORMAL, copy));
        if (!overflow_part_fits(page) || page->xid != xid || page->last != pointer->last ||
            page->part != part || page->size == 0 || page->size > pointer->stored - done)
            return OK; /* O1 */
        memcpy(to + done, page->data, page->size);
        done += page->size;
        block = page->next;
    }
    *found = true;
    return OK;
}

static err_t
read_overflow(const struct heap *heap, xid_t xid, unsigned flags, struct bytes data,
    struct buf *out, bool *found)
{
    struct heappage_overflow pointer;
    uint8_t *packed;
    err_t err;

    if (data.size != sizeof pointer)
        return err_set(ERR_CORRUPT, "a pointer to overflow pages has %zu bytes", data.size);
    memcpy(&pointer, data.data, sizeof pointer);
    if (pointer.size > HEAP_ROW_MAX || pointer.stored > pointer.size)
        return err_set(ERR_CORRUPT, "a row in overflow pages says it has %u bytes, %u stored",
            pointer.size, pointer.stored);
    if ((flags & HEAPPAGE_COMPRESSED) == 0) {
        TRY_RETURN(buf_reserve(out, pointer.stored));
        TRY_RETURN(read_chain(heap, xid, &pointer, out->data + out->size, found));
        out->size += *found ? pointer.stored : 0;
        return OK;
    }
    packed = malloc(pointer.stored + 1u);
    if (packed == NULL)
        return err_set(ERR_MEMORY, "could not read a row: no memory for %u bytes", pointer.stored);
    TRY(read_chain(heap, xid, &pointer, packed, found));
    if (*found)
        TRY(unpack((struct bytes){ packed, pointer.stored }, pointer.size, out));
out:
    free(packed);
    return err;
}

err_t
overflow_read(const struct heap *heap, xid_t xid, unsigned flags, struct bytes data,
    struct buf *out, bool *found)
{
    *found = true;
    if ((flags & HEAPPAGE_OVERFLOW) != 0)
        return read_overflow(heap, xid, flags, data, out, found);
    if ((flags & HEAPPAGE_COMPRESSED) != 0) {
        uint32_t raw;

        if (data.size < sizeof raw)
            return err_set(ERR_CORRUPT, "a compressed row has %zu bytes", data.size);
        memcpy(&raw, data.data, sizeof raw);
        return unpack((struct bytes){ data.data + sizeof raw, data.size - sizeof raw }, raw, out);
    }
    return buf_append(out, data.data, data.size);
}

err_t
overflow_damaged(const struct heap *heap, struct row_id place)
{
    return err_set(ERR_CORRUPT,
        "file %u, block %u, item %u: the overflow pages of this row are not there", heap->file,
        place.block, place.item);
}

err_t
overflow_free_page(
    const struct heap *heap, block_t block, xid_t xid, block_t last, block_t *next, bool *freed)
{
    const struct overflow_page *page;
    buffer_t buffer;

    *freed = false;
    *next = BLOCK_NONE;
    TRY_RETURN(wal_insert_reserve_shrink(64));
    TRY_RETURN(pool_pin((struct page_id){ heap->file, block }, POOL_NORMAL, &buffer));
    pool_lock(buffer, LW_EXCLUSIVE);
    page = pool_page(buffer);
    if (overflow_part_fits(page) && page->xid == xid && page->last == last) {
        *next = page->next;
        *freed = true;
        crit_begin();
        pool_change_begin(buffer);
        heappage_init(pool_page(buffer));
        wal_insert_begin();
        pool_log(0, buffer, WAL_PAGE_INIT);
        pool_change_end(buffer, wal_insert(WAL_OVERFLOW_FREE, 0));
        crit_end();
    }
    pool_unlock(buffer);
    pool_unpin(buffer);
    if (*freed)
        TRY_RETURN(freespace_note(heap->map, block, heappage_empty_free()));
    return OK;
}

err_t
overflow_free(const struct heap *heap, const struct overflow_chain *chain)
{
    block_t block = chain->first, count;
    bool freed = true;

    TRY_RETURN(datafile_blocks(heap->file, &count));
    /* A freed page is no part any more, so a ring cannot go round twice. */
    while (block < count && freed)
        TRY_RETURN(overflow_free_page(heap, block, chain->xid, chain->last, &block, &freed));
    return OK;
}
