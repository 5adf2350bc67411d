/*
 * check.c - is everything as it should be?
 *
 * For each collection: every page of its heap and its trees, that it can be read; where all can,
 * the form of the whole, by those who know it; then that they agree: every row that a snapshot sees
 * has exactly its keys in each index that the snapshot may use.  Last the catalog itself, and files
 * that nobody owns.
 *
 * On a live server the form of things may be looked at while it changes: what is found is noted,
 * looked at again after a pause, and told only if it was found both times.  That heap and index
 * disagree about a row that a snapshot sees is no matter of time: its entries were there before it
 * was committed.
 */
#include "storage/collection/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "shmem/interrupt.h"
#include "storage/collection/catalog.h"
#include "storage/collection/catalog_row.h"
#include "storage/collection/keys.h"
#include "storage/collection/orphans.h"
#include "storage/page/datafile.h"
#include "storage/page/pool.h"

#define LINES_MAX  1000u /* of faults told */
#define NOTES_MAX  256u  /* of one heap or index */
#define PAUSE_NS   50000000l
#define ROWS_QUICK 16u
#define LOOK_EVERY 256u

struct note {
    struct page_id where;
    char what[120];
};

struct checking {
    struct op *op;
    FILE *out;
    struct check_result *result;
    struct txn *txn;
    char subject[600];          /* what is being looked at, for messages */
    struct note *note, *before; /* [NOTES_MAX] */
    unsigned note_count, before_count;
    struct indexkey_set keys;
};

static void tell(struct checking *checking, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void
tell(struct checking *checking, const char *format, ...)
{
    va_list arguments;

    if (checking->result->faults++ >= LINES_MAX)
        return;
    (void)fprintf(checking->out, "%s: ", checking->subject);
    va_start(arguments, format);
    (void)vfprintf(checking->out, format, arguments);
    va_end(arguments);
    (void)fputc('\n', checking->out);
}

/* ---- form: told when found twice ---- */

static void
note(void *context, struct page_id where, const char *what)
{
    struct checking *checking = context;
    struct note *new;

    if (checking->note_count == NOTES_MAX)
        return;
    new = &checking->note[checking->note_count++];
    new->where = where;
    (void)snprintf(new->what, sizeof new->what, "%s", what);
}

static bool
noted_before(const struct checking *checking, const struct note *now)
{
    for (unsigned i = 0; i < checking->before_count; i++) {
        const struct note *old = &checking->before[i];

        if (old->where.file == now->where.file && old->where.block == now->where.block &&
            strcmp(old->what, now->what) == 0)
            return true;
    }
    return false;
}

/* Run `look` once, and again if it found something. */
static err_t
look_twice(
    struct checking *checking, err_t (*look)(struct checking *, const void *), const void *subject)
{
    const struct timespec pause = { 0, PAUSE_NS };
    struct note *swap = checking->before;

    checking->note_count = 0;
    TRY_RETURN(look(checking, subject));
    if (checking->note_count == 0)
        return OK;
    checking->before = checking->note;
    checking->before_count = checking->note_count;
    checking->note = swap;
    checking->note_count = 0;
    (void)nanosleep(&pause, NULL);
    TRY_RETURN(look(checking, subject));
    for (unsigned i = 0; i < checking->note_count; i++) {
        if (noted_before(checking, &checking->note[i]))
            tell(checking, "file %08" PRIx32 " page %" PRIu32 ": %s", checking->note[i].where.file,
                checking->note[i].where.block, checking->note[i].what);
    }
    return OK;
}

static err_t
look_at_heap(struct checking *checking, const void *subject)
{
    uint64_t rows;

    return heap_check(checking->op, subject, note, checking, &rows);
}

static err_t
look_at_index(struct checking *checking, const void *subject)
{
    const struct index *index = subject;
    uint64_t entries;

    return index_methods(index->kind)->check(checking->op, index, note, NULL, checking, &entries);
}

/* Name every page of a file that cannot be read; yields how many. */
static err_t
find_damage(struct checking *checking, fileno_t file, block_t *pages, block_t *damaged)
{
    _Alignas(64) uint8_t page[PAGE_SIZE_MAX];

    *pages = *damaged = 0;
    if (!datafile_exists(file))
        return OK;
    TRY_RETURN(datafile_blocks(file, pages));
    for (block_t block = 0; block < *pages; block++) {
        err_t err = pool_copy((struct page_id){ file, block }, POOL_SCAN, page);

        if (block % LOOK_EVERY == 0)
            TRY_RETURN(interrupt_check(checking->op));
        if (err == OK)
            continue;
        if (err != ERR_CORRUPT && err != ERR_IO)
            return err;
        tell(checking, "%s", err_message());
        (*damaged)++;
    }
    return OK;
}

/* Damage that stopped the look itself is a fault, too, and the rest is looked at all the same. */
static err_t
form(struct checking *checking, err_t (*look)(struct checking *, const void *), const void *subject,
    fileno_t file)
{
    block_t pages, damaged;
    err_t err;

    TRY_RETURN(find_damage(checking, file, &pages, &damaged));
    checking->result->pages += pages;
    if (damaged > 0)
        return OK; /* a form with holes has no end of faults */
    err = look_twice(checking, look, subject);
    if (err == ERR_CORRUPT || err == ERR_IO) {
        tell(checking, "%s", err_message());
        err = OK;
    }
    return err;
}

/* ---- heap and indexes agree ---- */

static bool
same_row(struct row_id a, struct row_id b)
{
    return a.block == b.block && a.item == b.item;
}

/* Is (key, root) in the index? */
static err_t
entry_there(struct checking *checking, const struct index *index, struct bytes key,
    struct row_id root, bool *there)
{
    const struct index_methods *methods = index_methods(index->kind);
    struct index_range range = { .low = key, .high = key, .has_low = true, .has_high = true };
    struct row_id rows[ROWS_QUICK];
    struct index_scan *scan;
    struct index_entry entry;
    bool more;
    size_t count;
    err_t err;

    *there = false;
    TRY_RETURN(methods->lookup(checking->op, index, key, rows, ROWS_QUICK, &count));
    for (size_t i = 0; count <= ROWS_QUICK && i < count; i++)
        *there |= same_row(rows[i], root);
    if (count <= ROWS_QUICK)
        return OK;
    /* Many documents have this key: go behind the place before. */
    TRY_RETURN(methods->scan_begin(checking->op, index, &range, &scan));
    TRY(methods->scan_seek(
        checking->op, scan, key, (struct row_id){ root.block, (uint16_t)(root.item - 1) }));
    TRY(methods->scan_next(checking->op, scan, &entry, &more));
    *there = more && same_row(entry.row, root);
out:
    methods->scan_end(scan);
    return err;
}

static bool
usable(const struct checking *checking, const struct catalog_index *index)
{
    return index->state == CATALOG_INDEX_READY &&
           index->usable_from <= txn_snapshot(checking->txn)->csn;
}

static err_t
check_row(struct checking *checking, const struct catalog_collection *collection, struct bytes row,
    struct row_id root)
{
    for (unsigned i = 0; i < collection->index_count; i++) {
        const struct catalog_index *index = collection->index[i];
        err_t err;

        if (!usable(checking, index))
            continue;
        err = indexkey_make(index->spec, row, &checking->keys);
        if (err == ERR_MEMORY)
            return err;
        if (err != OK) {
            tell(checking, "page %" PRIu32 " item %u: no keys for index '%s': %s", root.block,
                (unsigned)root.item, index->name, err_message());
            continue;
        }
        if (checking->keys.multikey && !index->multikey)
            tell(checking, "index '%s' is not marked as multikey", index->name);
        for (size_t k = 0; k < checking->keys.count; k++) {
            bool there;

            TRY_RETURN(entry_there(
                checking, &index->index, indexkey_set_key(&checking->keys, k), root, &there));
            if (!there)
                tell(checking, "page %" PRIu32 " item %u: index '%s' lacks a key of the document",
                    root.block, (unsigned)root.item, index->name);
        }
    }
    return OK;
}

static err_t
check_rows(struct checking *checking, const struct catalog_collection *collection)
{
    struct heap_scan *scan;
    struct row_id root;
    struct bytes row;
    bool found;
    err_t err;

    TRY_RETURN(
        heap_scan_begin(checking->op, &collection->heap, txn_snapshot(checking->txn), &scan));
    for (;;) {
        TRY(heap_scan_next(checking->op, scan, &row, &root, NULL, &found));
        if (!found)
            break;
        checking->result->documents++;
        TRY(check_row(checking, collection, row, root));
    }
out:
    heap_scan_end(scan);
    return err;
}

/* Every entry of a row that is seen is one of its keys. */
static err_t
check_entries(struct checking *checking, const struct catalog_collection *collection,
    const struct catalog_index *index)
{
    const struct index_methods *methods = index_methods(index->index.kind);
    struct index_range range = { 0 };
    struct buf row = buf_init(HEAP_ROW_MAX);
    struct index_scan *scan;
    struct index_entry entry;
    block_t pages;
    bool found;
    err_t err;

    TRY_RETURN(methods->scan_begin(checking->op, &index->index, &range, &scan));
    for (unsigned n = 0;; n++) {
        if (n % LOOK_EVERY == 0)
            TRY(interrupt_check(checking->op));
        TRY(methods->scan_next(checking->op, scan, &entry, &found));
        if (!found)
            break;
        checking->result->entries++;
        TRY(datafile_blocks(collection->heap.file, &pages));
        if (entry.row.block >= pages || entry.row.item == 0) {
            tell(checking, "index '%s' points to page %" PRIu32 ", which the heap does not have",
                index->name, entry.row.block);
            continue;
        }
        buf_clear(&row);
        TRY(heap_get(checking->op, &collection->heap, txn_snapshot(checking->txn), entry.row, &row,
            NULL, &found));
        if (!found || !usable(checking, index))
            continue;
        err = indexkey_make(index->spec, buf_bytes(&row), &checking->keys);
        if (err == ERR_MEMORY)
            goto out;
        if (err != OK || !keys_have(&checking->keys, entry.key))
            tell(checking, "index '%s' has a key that page %" PRIu32 " item %u does not have",
                index->name, entry.row.block, (unsigned)entry.row.item);
    }
out:
    methods->scan_end(scan);
    buf_fini(&row);
    return err;
}

static err_t
check_agreement(struct checking *checking, const struct catalog_collection *collection)
{
    err_t err;

    TRY_RETURN(txn_begin(checking->op, TXN_READ_COMMITTED, false, &checking->txn));
    TRY(check_rows(checking, collection));
    for (unsigned i = 0; i < collection->index_count; i++)
        TRY(check_entries(checking, collection, collection->index[i]));
out:
    txn_abort(checking->op, checking->txn);
    if (err != ERR_CORRUPT && err != ERR_IO)
        return err;
    tell(checking, "%s", err_message());
    return OK;
}

/* ---- what there is ---- */

static err_t
check_found(struct checking *checking, const struct catalog_collection *collection)
{
    checking->result->collections++;
    TRY_RETURN(form(checking, look_at_heap, &collection->heap, collection->heap.file));
    for (unsigned i = 0; i < collection->index_count; i++) {
        const struct catalog_index *index = collection->index[i];

        checking->result->indexes++;
        TRY_RETURN(form(checking, look_at_index, &index->index, index->index.file));
    }
    return check_agreement(checking, collection);
}

static err_t
check_collection(
    struct checking *checking, const char *tenant, const char *database, const char *name)
{
    const struct catalog_collection *collection;
    err_t err;

    (void)snprintf(checking->subject, sizeof checking->subject, "%s/%s.%s", tenant, database, name);
    catalog_enter();
    TRY(catalog_find(checking->op, NULL, tenant, database, name, &collection));
    if (collection != NULL)
        TRY(check_found(checking, collection));
out:
    catalog_leave();
    if (err != ERR_CORRUPT)
        return err;
    tell(checking, "%s", err_message());
    return OK;
}

static err_t
check_database(struct checking *checking, const char *tenant, const char *database)
{
    const char *const *names;
    size_t count;

    TRY_RETURN(catalog_list_collections(checking->op, NULL, tenant, database, &names, &count));
    for (size_t i = 0; i < count; i++)
        TRY_RETURN(check_collection(checking, tenant, database, names[i]));
    return OK;
}

static err_t
check_tenant(struct checking *checking, const char *tenant)
{
    const char *const *names;
    size_t count;

    TRY_RETURN(catalog_list_databases(checking->op, NULL, tenant, &names, &count));
    for (size_t i = 0; i < count; i++)
        TRY_RETURN(check_database(checking, tenant, names[i]));
    return OK;
}

static err_t
check_files(struct checking *checking)
{
    fileno_t *file;
    size_t count;

    (void)snprintf(checking->subject, sizeof checking->subject, "files");
    TRY_RETURN(orphans_find(checking->op, &file, &count, &checking->result->files));
    for (size_t i = 0; i < count; i++)
        tell(checking, "file %08" PRIx32 " belongs to nobody", file[i]);
    return OK;
}

static err_t
check_catalog(struct checking *checking)
{
    (void)snprintf(checking->subject, sizeof checking->subject, "catalog");
    TRY_RETURN(form(checking, look_at_heap, &catalog_row_heap, catalog_row_heap.file));
    return form(checking, look_at_index, &catalog_row_index, catalog_row_index.file);
}

static err_t
check_all(struct checking *checking)
{
    const char *const *names;
    size_t count;

    TRY_RETURN(check_catalog(checking));
    TRY_RETURN(catalog_list_tenants(checking->op, NULL, &names, &count));
    for (size_t i = 0; i < count; i++)
        TRY_RETURN(check_tenant(checking, names[i]));
    return check_files(checking);
}

err_t
check_run(struct op *op, const char *tenant, const char *database, const char *collection,
    FILE *out, struct check_result *result)
{
    struct checking checking = { .op = op, .out = out, .result = result };
    err_t err;

    memset(result, 0, sizeof *result);
    indexkey_set_init(&checking.keys);
    checking.note = arena_alloc(op->arena, NOTES_MAX * sizeof *checking.note);
    checking.before = arena_alloc(op->arena, NOTES_MAX * sizeof *checking.before);
    if (checking.note == NULL || checking.before == NULL)
        err = ERR_MEMORY;
    else if (collection != NULL)
        err = check_collection(&checking, tenant, database, collection);
    else
        err = check_all(&checking);
    indexkey_set_fini(&checking.keys);
    return err;
}
