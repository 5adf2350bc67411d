/*
 * heap_handler.c - doing again what the heap's log records say.
 *
 * INVARIANTS
 *   D1  A record is applied to a page exactly if the page's LSN is below the record's end
 *       (redo_page decides); so replaying twice does no more than once.
 *   D2  The page after redo equals the page after the change, but for hints and the free middle
 *       (heappage_mask): both are made by the same functions of heappage.c and prune.c.
 *   D3  Nothing in a record is trusted: an item or length that does not fit is ERR_CORRUPT, not a
 *       crash.
 */
#include <string.h>

#include "storage/heap/heap.h"
#include "storage/heap/heaplog.h"
#include "storage/heap/heappage.h"
#include "storage/heap/overflow.h"
#include "storage/heap/prune.h"
#include "storage/page/redo.h"

static err_t
misfit(const struct wal_record *record, const char *what)
{
    return err_set(ERR_CORRUPT, "log record at %jx (%s) does not fit its page: %s",
        (uintmax_t)record->start, wal_record_kind_name(record->kind), what);
}

/* The record's fixed part. */
static err_t
take_head(const struct wal_record *record, unsigned pages, void *head, size_t size)
{
    if (record->data.size != size || record->page_count < pages)
        return misfit(record, "its fixed part has the wrong size");
    if (size > 0)
        memcpy(head, record->data.data, size);
    return OK;
}

/* Bring page n into a buffer, let `apply` do the change if it is needed, let go. */
static err_t
redo_with(const struct wal_record *record, unsigned n,
    err_t (*apply)(const struct wal_record *record, void *page, const void *head), const void *head)
{
    enum redo_need need;
    buffer_t buffer;
    err_t err = OK;

    TRY_RETURN(redo_page(record, n, &need, &buffer));
    if (need == REDO_CHANGE) {
        if ((record->page[n].flags & WAL_PAGE_INIT) != 0)
            heappage_init(pool_page(buffer));
        err = apply(record, pool_page(buffer), head);
    }
    redo_done(record, need, buffer);
    return err;
}

static err_t
apply_insert(const struct wal_record *record, void *page, const void *head)
{
    const struct heaplog_insert *insert = head;
    struct heappage_row row = {
        .xmin = record->xid,
        .cmin = insert->command,
        .next_block = BLOCK_NONE,
        .flags = insert->flags,
    };
    struct bytes data = record->page[0].data;

    if (!heappage_may_put(page, insert->item, sizeof row + data.size))
        return misfit(record, "no room for the row");
    heappage_put(page, insert->item, &row, data);
    return OK;
}

static err_t
redo_insert(const struct wal_record *record)
{
    struct heaplog_insert head;

    TRY_RETURN(take_head(record, 1, &head, sizeof head));
    return redo_with(record, 0, apply_insert, &head);
}

static err_t
describe_insert(const struct wal_record *record, struct buf *text)
{
    struct heaplog_insert head;

    TRY_RETURN(take_head(record, 1, &head, sizeof head));
    return buf_printf(text, "file %u, block %u, item %u, command %u, %zu bytes%s",
        record->page[0].id.file, record->page[0].id.block, head.item, head.command,
        record->page[0].data.size,
        (head.flags & HEAPPAGE_OVERFLOW) != 0 ? ", in overflow pages" : "");
}

static err_t
apply_multi(const struct wal_record *record, void *page, const void *head)
{
    const struct heaplog_multi *multi = head;
    struct bytes data = record->page[0].data;
    size_t items = multi->count * sizeof(struct heaplog_multi_item), end = data.size;

    if (multi->count > HEAPPAGE_ITEMS_MAX || data.size < items || data.size - items != multi->bytes)
        return misfit(record, "its rows have the wrong size");
    for (unsigned i = 0; i < multi->count; i++) {
        struct heaplog_multi_item item;
        struct heappage_row row;

        memcpy(&item, data.data + i * sizeof item, sizeof item);
        if (item.length < sizeof row || HEAPPAGE_ALIGN(item.length) > end - items ||
            !heappage_may_put(page, item.item, item.length))
            return misfit(record, "no room for a row");
        end -= HEAPPAGE_ALIGN(item.length); /* the first row lies last, as on the page */
        memcpy(&row, data.data + end, sizeof row);
        heappage_put(page, item.item, &row,
            (struct bytes){ data.data + end + sizeof row, item.length - sizeof row });
    }
    return OK;
}

static err_t
redo_multi(const struct wal_record *record)
{
    struct heaplog_multi head;

    TRY_RETURN(take_head(record, 1, &head, sizeof head));
    return redo_with(record, 0, apply_multi, &head);
}

static err_t
describe_multi(const struct wal_record *record, struct buf *text)
{
    struct heaplog_multi head;

    TRY_RETURN(take_head(record, 1, &head, sizeof head));
    return buf_printf(text, "file %u, block %u, %u rows, %u bytes", record->page[0].id.file,
        record->page[0].id.block, head.count, head.bytes);
}

/* The new version's bytes: the old one's front and end around what the record says. */
static err_t
apply_new_version(const struct wal_record *record, void *page, const void *head)
{
    const struct heaplog_update *update = head;
    uint8_t whole[PAGE_SIZE_MAX];
    struct bytes data = record->page[0].data;
    struct heappage_row row = {
        .xmin = record->xid,
        .cmin = update->command,
        .next_block = BLOCK_NONE,
        .flags = update->new_flags,
    };
    size_t shared = (size_t)update->prefix + update->suffix;

    if (shared > 0) {
        unsigned length;
        const struct heappage_row *old = heappage_row(page, update->old_item, &length);

        if (record->page_count != 1 || old == NULL || length - sizeof *old < shared ||
            shared + data.size > sizeof whole)
            return misfit(record, "the old version is not there");
        memcpy(whole, old->data, update->prefix);
        memcpy(whole + update->prefix, data.data, data.size);
        memcpy(whole + update->prefix + data.size, (const uint8_t *)old + length - update->suffix,
            update->suffix);
        data = (struct bytes){ whole, shared + data.size };
    }
    if (!heappage_may_put(page, update->new_item, sizeof row + data.size))
        return misfit(record, "no room for the new version");
    heappage_put(page, update->new_item, &row, data);
    return OK;
}

static err_t
apply_old_version(const struct wal_record *record, void *page, const void *head)
{
    const struct heaplog_update *update = head;

    if (heappage_row(page, update->old_item, NULL) == NULL)
        return misfit(record, "the old version is not there");
    heappage_set_xmax(page, update->old_item, record->xid, update->command,
        (struct row_id){ update->new_block, update->new_item }, update->old_flags);
    return OK;
}

static err_t
apply_both_versions(const struct wal_record *record, void *page, const void *head)
{
    TRY_RETURN(apply_new_version(record, page, head));
    return apply_old_version(record, page, head);
}

static err_t
redo_update(const struct wal_record *record)
{
    struct heaplog_update head;

    TRY_RETURN(take_head(record, 1, &head, sizeof head));
    if (record->page_count == 1)
        return redo_with(record, 0, apply_both_versions, &head);
    TRY_RETURN(redo_with(record, 0, apply_new_version, &head));
    return redo_with(record, 1, apply_old_version, &head);
}

static err_t
describe_update(const struct wal_record *record, struct buf *text)
{
    struct heaplog_update head;

    TRY_RETURN(take_head(record, 1, &head, sizeof head));
    return buf_printf(text, "file %u, block %u, item %u to block %u, item %u%s, %zu bytes differ",
        record->page[0].id.file, record->page[record->page_count - 1].id.block, head.old_item,
        head.new_block, head.new_item,
        (head.new_flags & HEAPPAGE_HEAP_ONLY) != 0 ? " (heap-only)" : "",
        record->page[0].data.size);
}

static err_t
apply_delete(const struct wal_record *record, void *page, const void *head)
{
    const struct heaplog_delete *delete = head;

    if (heappage_row(page, delete->item, NULL) == NULL)
        return misfit(record, "the version is not there");
    heappage_set_xmax(page, delete->item, record->xid, delete->command, ROW_ID_NONE, 0);
    return OK;
}

static err_t
redo_delete(const struct wal_record *record)
{
    struct heaplog_delete head;

    TRY_RETURN(take_head(record, 1, &head, sizeof head));
    return redo_with(record, 0, apply_delete, &head);
}

static err_t
describe_delete(const struct wal_record *record, struct buf *text)
{
    struct heaplog_delete head;

    TRY_RETURN(take_head(record, 1, &head, sizeof head));
    return buf_printf(text, "file %u, block %u, item %u, command %u", record->page[0].id.file,
        record->page[0].id.block, head.item, head.command);
}

static err_t
apply_prune(const struct wal_record *record, void *page, const void *head)
{
    const struct heaplog_prune *prune = head;
    struct bytes data = record->page[0].data;
    struct prune_plan plan = { .prune_xid = prune->prune_xid };
    const uint8_t *at = data.data;
    size_t size = (prune->redirects * 2u + prune->dead + prune->unused) * sizeof(uint16_t);

    if (prune->redirects > HEAPPAGE_ITEMS_MAX || prune->dead > HEAPPAGE_ITEMS_MAX ||
        prune->unused > HEAPPAGE_ITEMS_MAX || data.size != size)
        return misfit(record, "its items have the wrong size");
    plan.redirects = prune->redirects;
    plan.dead = prune->dead;
    plan.unused = prune->unused;
    if (size > 0) {
        memcpy(plan.redirect, at, plan.redirects * sizeof plan.redirect[0]);
        at += plan.redirects * sizeof plan.redirect[0];
        memcpy(plan.dead_item, at, plan.dead * sizeof plan.dead_item[0]);
        at += plan.dead * sizeof plan.dead_item[0];
        memcpy(plan.unused_item, at, plan.unused * sizeof plan.unused_item[0]);
    }
    if (!prune_fits(page, &plan))
        return misfit(record, "an item is not there");
    prune_apply(page, &plan);
    return OK;
}

static err_t
redo_prune(const struct wal_record *record)
{
    struct heaplog_prune head;

    TRY_RETURN(take_head(record, 1, &head, sizeof head));
    return redo_with(record, 0, apply_prune, &head);
}

static err_t
describe_prune(const struct wal_record *record, struct buf *text)
{
    struct heaplog_prune head;

    TRY_RETURN(take_head(record, 1, &head, sizeof head));
    return buf_printf(text, "file %u, block %u, %u redirects, %u dead, %u unused",
        record->page[0].id.file, record->page[0].id.block, head.redirects, head.dead, head.unused);
}

static err_t
apply_freeze(const struct wal_record *record, void *page, const void *head)
{
    const struct heaplog_freeze *freeze = head;
    struct bytes data = record->page[0].data;
    unsigned count = (unsigned)freeze->frozen + freeze->cleared;

    if (data.size != count * sizeof(uint16_t))
        return misfit(record, "its items have the wrong size");
    for (unsigned i = 0; i < count; i++) {
        uint16_t item;

        memcpy(&item, data.data + i * sizeof item, sizeof item);
        if (heappage_row(page, item, NULL) == NULL)
            return misfit(record, "the version is not there");
        if (i < freeze->frozen)
            heappage_freeze(page, item);
        else
            heappage_clear_xmax(page, item);
    }
    if (freeze->all_frozen != 0)
        ((struct page_header *)page)->flags |= HEAPPAGE_ALL_FROZEN;
    return OK;
}

static err_t
redo_freeze(const struct wal_record *record)
{
    struct heaplog_freeze head;

    TRY_RETURN(take_head(record, 1, &head, sizeof head));
    return redo_with(record, 0, apply_freeze, &head);
}

static err_t
describe_freeze(const struct wal_record *record, struct buf *text)
{
    struct heaplog_freeze head;

    TRY_RETURN(take_head(record, 1, &head, sizeof head));
    return buf_printf(text, "file %u, block %u, %u frozen, %u freed of failed changes%s",
        record->page[0].id.file, record->page[0].id.block, head.frozen, head.cleared,
        head.all_frozen != 0 ? ", all frozen" : "");
}

static err_t
apply_overflow(const struct wal_record *record, void *page, const void *head)
{
    const struct heaplog_overflow *overflow = head;
    struct bytes data = record->page[0].data;

    if (data.size != overflow->size || !overflow_make(page, record->xid, overflow, data.data))
        return misfit(record, "the part has the wrong size");
    return OK;
}

static err_t
redo_overflow(const struct wal_record *record)
{
    struct heaplog_overflow head;

    TRY_RETURN(take_head(record, 1, &head, sizeof head));
    return redo_with(record, 0, apply_overflow, &head);
}

static err_t
describe_overflow(const struct wal_record *record, struct buf *text)
{
    struct heaplog_overflow head;

    TRY_RETURN(take_head(record, 1, &head, sizeof head));
    return buf_printf(text, "file %u, block %u, part %u, %u bytes, last block %u",
        record->page[0].id.file, record->page[0].id.block, head.part, head.size, head.last);
}

static err_t
apply_overflow_free(const struct wal_record *record, void *page, const void *head)
{
    (void)record;
    (void)head;
    heappage_init(page);
    return OK;
}

static err_t
redo_overflow_free(const struct wal_record *record)
{
    TRY_RETURN(take_head(record, 1, NULL, 0));
    return redo_with(record, 0, apply_overflow_free, NULL);
}

static err_t
describe_overflow_free(const struct wal_record *record, struct buf *text)
{
    TRY_RETURN(take_head(record, 1, NULL, 0));
    return buf_printf(text, "file %u, block %u", record->page[0].id.file, record->page[0].id.block);
}

const struct wal_handler heap_handler_insert = { redo_insert, describe_insert, heappage_mask };
const struct wal_handler heap_handler_multi_insert = { redo_multi, describe_multi, heappage_mask };
const struct wal_handler heap_handler_update = { redo_update, describe_update, heappage_mask };
const struct wal_handler heap_handler_delete = { redo_delete, describe_delete, heappage_mask };
const struct wal_handler heap_handler_prune = { redo_prune, describe_prune, heappage_mask };
const struct wal_handler heap_handler_freeze = { redo_freeze, describe_freeze, heappage_mask };
const struct wal_handler heap_handler_overflow = { redo_overflow, describe_overflow,
    heappage_mask };
const struct wal_handler heap_handler_overflow_free = { redo_overflow_free, describe_overflow_free,
    heappage_mask };
