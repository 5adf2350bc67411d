/*
 * catalog.c - what exists: sections, looking things up, databases' options, rows of others,
 * renaming.
 *
 * The law of the whole catalog is in README.md.
 */
#include "storage/collection/catalog.h"

#include <string.h>

#include "base/doc/bsonvalue.h"
#include "base/mutant.h"
#include "base/panic.h"
#include "shmem/interrupt.h"
#include "storage/collection/catalog_copy.h"
#include "storage/collection/catalog_form.h"
#include "storage/collection/catalog_row.h"
#include "storage/collection/catalog_share.h"
#include "storage/collection/collection.h"
#include "storage/collection/graveyard.h"
#include "storage/collection/keybatch.h"
#include "storage/collection/keys.h"
#include "storage/collection/nap.h"
#include "storage/collection/statistics.h"
#include "storage/index/btree_scan.h"

/* ---- shared memory ---- */

static size_t
round_up(size_t size)
{
    return (size + 63) / 64 * 64;
}

static size_t
size_of_region(const struct config *config)
{
    return round_up(catalog_share_size(config)) + round_up(graveyard_size()) + statistics_size();
}

static void
init_region(void *zeroed, const struct config *config)
{
    char *at = zeroed;

    catalog_share_init(at, config);
    at += round_up(catalog_share_size(config));
    graveyard_init(at);
    at += round_up(graveyard_size());
    statistics_init(at);
}

const struct region catalog_region = { "catalog", size_of_region, init_region };

/* ---- sections ---- */

void
catalog_enter(void)
{
    if (!catalog_share_inside())
        catalog_copy_begin();
    catalog_share_enter();
}

void
catalog_leave(void)
{
    catalog_share_leave();
    if (catalog_share_inside())
        return;
    catalog_copy_end();
    statistics_flush();
}

err_t
catalog_quiesce(struct op *op)
{
    uint64_t version = catalog_share_bump();
    err_t err = OK;

    invariant(!catalog_share_inside());
    proc_wait_begin(WAIT_SECTION, version);
    for (unsigned turn = 0; !catalog_share_passed(version); turn++)
        TRY(nap(op, turn));
out:
    proc_wait_end();
    return err;
}

void
catalog_forget_private(void)
{
    catalog_copy_forget();
    keys_forget();
    collection_change_forget();
    collection_scan_forget_private();
    keybatch_forget();
    btree_scan_forget_private();
}

void
catalog_end_dead(unsigned slot)
{
    /* Its line no longer counts; what it may have committed is to be seen. */
    if (!mutant(MUTANT_LEFT_CATALOG))
        (void)catalog_share_bump();
    if (!mutant(MUTANT_LEFT_BUILD))
        catalog_share_claim_dead(slot);
}

uint64_t
catalog_schema_version(void)
{
    return catalog_share_schema_version();
}

/* ---- looking up ---- */

err_t
catalog_find(struct op *op, struct txn *txn, const char *tenant, const char *database,
    const char *name, const struct catalog_collection **collection)
{
    return catalog_copy_find(op, txn, tenant, database, name, collection);
}

err_t
catalog_find_again(struct op *op, const char *tenant, const char *database, const char *name,
    uint64_t *memory, const struct catalog_collection **collection)
{
    return catalog_copy_find_again(op, tenant, database, name, memory, collection);
}

err_t
catalog_find_oid(
    struct op *op, struct txn *txn, uint64_t oid, const struct catalog_collection **collection)
{
    return catalog_copy_find_oid(op, txn, oid, collection);
}

const struct catalog_index *
catalog_find_index(const struct catalog_collection *collection, const char *name)
{
    for (unsigned i = 0; i < collection->index_count; i++) {
        if (strcmp(collection->index[i]->name, name) == 0)
            return collection->index[i];
    }
    return NULL;
}

/* One row by a view of its own. */
static err_t
get_row(struct op *op, struct txn *txn, const struct catalog_row_key *key, struct bytes *row,
    bool *found)
{
    struct catalog_row_view view;
    err_t err;

    TRY_RETURN(catalog_row_look(op, txn, &view));
    err = catalog_row_get(op, &view, key, row, found);
    catalog_row_look_end(op, &view);
    return err;
}

err_t
catalog_tenant_exists(struct op *op, struct txn *txn, const char *tenant, bool *exists)
{
    struct catalog_row_key key;
    struct bytes row;

    TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_TENANT, tenant, NULL, NULL));
    return get_row(op, txn, &key, &row, exists);
}

err_t
catalog_database_exists(
    struct op *op, struct txn *txn, const char *tenant, const char *database, bool *exists)
{
    struct catalog_row_key key;
    struct bytes row;

    TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_DATABASE, tenant, database, NULL));
    return get_row(op, txn, &key, &row, exists);
}

/* ---- options of databases ---- */

err_t
catalog_database_options(
    struct op *op, struct txn *txn, const char *tenant, const char *database, struct bytes *options)
{
    struct catalog_row_key key;
    struct bytes row, name;
    bool found;

    *options = (struct bytes){ NULL, 0 };
    TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_DATABASE, tenant, database, NULL));
    TRY_RETURN(get_row(op, txn, &key, &row, &found));
    return found ? catalog_form_name(row, &name, options) : OK;
}

static err_t
give_replacement(void *context, struct bytes row, struct bytes *replacement)
{
    (void)row;
    *replacement = *(const struct bytes *)context;
    return OK;
}

err_t
catalog_set_database_options(
    struct op *op, struct txn *txn, const char *tenant, const char *database, struct bytes options)
{
    struct catalog_row_change change = { give_replacement, NULL };
    struct catalog_row_key key;
    struct bytes row;
    bool found;

    TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_DATABASE, tenant, database, NULL));
    TRY_RETURN(catalog_form_make_name(op->arena, database, options, &row));
    change.context = &row;
    TRY_RETURN(catalog_row_change(op, txn, &key, &change, &found));
    if (!found)
        return err_set(ERR_DATABASE_NOT_FOUND, "database '%s' not found", database);
    return OK;
}

/* ---- rows of the floors above ---- */

err_t
catalog_put(
    struct op *op, struct txn *txn, const char *kind, const char *name, struct bytes document)
{
    struct catalog_row_change change = { give_replacement, &document };
    struct catalog_row_key key;
    bool found, existed;

    if (document.size < BSONVALUE_DOCUMENT_SIZE_LEAST)
        return err_set(ERR_BAD_VALUE, "a row of the catalog must be a document");
    TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_OTHER, kind, name, NULL));
    do {
        existed = false;
        TRY_RETURN(catalog_row_change(op, txn, &key, &change, &found));
        if (!found)
            TRY_RETURN(catalog_row_insert(op, txn, &key, document, &existed));
    } while (existed);
    return OK;
}

err_t
catalog_get(struct op *op, struct txn *txn, const char *kind, const char *name,
    struct bytes *document, bool *found)
{
    struct catalog_row_key key;

    TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_OTHER, kind, name, NULL));
    return get_row(op, txn, &key, document, found);
}

err_t
catalog_remove(struct op *op, struct txn *txn, const char *kind, const char *name, bool *found)
{
    struct catalog_row_key key;

    TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_OTHER, kind, name, NULL));
    return catalog_row_remove(op, txn, &key, NULL, found);
}
