/*
 * btree_redo.c - doing again what the log says of trees.
 *
 * A record is checked before it is applied: the log's checksum says that it is what was written,
 * but a page of another history must not be harmed by it.
 */
#include "storage/index/btree_redo.h"

#include <string.h>

#include "storage/index/btree_insert.h"
#include "storage/index/btree_insert_many.h"
#include "storage/index/btree_page.h"
#include "storage/page/redo.h"

static err_t
misfit(const struct wal_record *record)
{
    return err_set(ERR_CORRUPT,
        "the log record at %ju does not fit its page, index file %u block %u",
        (uintmax_t)record->start, record->page[0].id.file, record->page[0].id.block);
}

static err_t
apply_insert(const struct wal_record *record, void *page)
{
    struct bytes data = record->page[0].data;
    struct btree_insert_record insert;
    struct bytes suffix;

    if (data.size < sizeof insert)
        return misfit(record);
    memcpy(&insert, data.data, sizeof insert);
    suffix = (struct bytes){ data.data + sizeof insert, data.size - sizeof insert };
    if (suffix.size != insert.suffix_size || !btree_page_usable(page) ||
        insert.slot > btree_page_head(page)->count ||
        btree_page_need(page, suffix.size + btree_page_head(page)->prefix_size) >
            btree_page_free(page))
        return misfit(record);
    btree_page_insert(page, insert.slot, suffix, insert.place, insert.child);
    return OK;
}

static err_t
apply_insert_many(const struct wal_record *record, void *page)
{
    struct bytes data = record->page[0].data;
    struct btree_insert_many_entry entries[PAGE_SIZE_MAX / BTREE_SLOT_SIZE];
    struct btree_insert_many_record head;
    size_t size;

    if (data.size < sizeof head || !btree_page_usable(page))
        return misfit(record);
    memcpy(&head, data.data, sizeof head);
    size = head.count * sizeof entries[0];
    data = (struct bytes){ data.data + sizeof head, data.size - sizeof head };
    if (head.count > sizeof entries / sizeof entries[0] || data.size < size)
        return misfit(record);
    memcpy(entries, data.data, size);
    data = (struct bytes){ data.data + size, data.size - size };
    return btree_insert_many_apply(page, entries, head.count, data) ? OK : misfit(record);
}

static err_t
apply_finished(const struct wal_record *record, void *page)
{
    struct page_header *header = page;

    if (!btree_page_usable(page))
        return misfit(record);
    header->flags = (uint16_t)(header->flags & ~BTREE_UNFINISHED);
    return OK;
}

static err_t
apply_delete(const struct wal_record *record, void *page)
{
    struct bytes data = record->page[0].data;
    uint16_t slots[PAGE_SIZE_MAX / BTREE_SLOT_SIZE];
    size_t count = data.size / sizeof slots[0];

    if (!btree_page_usable(page) || count > btree_page_head(page)->count ||
        count > sizeof slots / sizeof slots[0])
        return misfit(record);
    memcpy(slots, data.data, count * sizeof slots[0]);
    for (size_t i = 0; i < count; i++)
        if (slots[i] >= btree_page_head(page)->count || (i > 0 && slots[i] <= slots[i - 1]))
            return misfit(record);
    btree_page_remove(page, slots, count);
    return OK;
}

static err_t
redo_one(const struct wal_record *record, unsigned n,
    err_t (*apply)(const struct wal_record *record, void *page))
{
    enum redo_need need;
    buffer_t buffer;
    err_t err = OK;

    TRY_RETURN(redo_page(record, n, &need, &buffer));
    if (need == REDO_CHANGE)
        err = apply != NULL ? apply(record, pool_page(buffer)) : misfit(record);
    redo_done(record, need, buffer);
    return err;
}

static err_t
redo_insert(const struct wal_record *record)
{
    TRY_RETURN(redo_one(record, 0, apply_insert));
    return record->page_count > 1 ? redo_one(record, 1, apply_finished) : OK;
}

static err_t
redo_insert_many(const struct wal_record *record)
{
    return redo_one(record, 0, apply_insert_many);
}

static err_t
redo_delete(const struct wal_record *record)
{
    return redo_one(record, 0, apply_delete);
}

static err_t
redo_whole(const struct wal_record *record)
{
    for (unsigned i = 0; i < record->page_count; i++)
        TRY_RETURN(redo_one(record, i, NULL));
    return OK;
}

static err_t
describe_insert(const struct wal_record *record, struct buf *text)
{
    struct btree_insert_record insert = { 0 };

    if (record->page[0].data.size >= sizeof insert)
        memcpy(&insert, record->page[0].data.data, sizeof insert);
    if (insert.child != BLOCK_NONE)
        return buf_printf(text, "slot %u, child %u", insert.slot, insert.child);
    return buf_printf(text, "slot %u, row %u.%u", insert.slot, btree_page_row(insert.place).block,
        btree_page_row(insert.place).item);
}

static err_t
describe_insert_many(const struct wal_record *record, struct buf *text)
{
    struct btree_insert_many_record head = { 0 };

    if (record->page[0].data.size >= sizeof head)
        memcpy(&head, record->page[0].data.data, sizeof head);
    return buf_printf(text, "%u entries", head.count);
}

static err_t
describe_delete(const struct wal_record *record, struct buf *text)
{
    return buf_printf(text, "%zu entries", record->page[0].data.size / sizeof(uint16_t));
}

static err_t
describe_whole(const struct wal_record *record, struct buf *text)
{
    return buf_printf(text, "%u whole pages", record->page_count);
}

const struct wal_handler btree_redo_insert = { redo_insert, describe_insert, NULL };
const struct wal_handler btree_redo_insert_many = { redo_insert_many, describe_insert_many, NULL };
const struct wal_handler btree_redo_delete = { redo_delete, describe_delete, NULL };
const struct wal_handler btree_redo_whole = { redo_whole, describe_whole, NULL };
