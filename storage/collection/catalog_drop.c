/*
 * catalog_drop.c - dropping tenants, databases, collections and indexes.
 *
 * Rows go in the transaction; files only after it has committed and every process has left the
 * sections in which it may be reading them (graveyard.c).  The row of the thing itself goes first:
 * from then on nobody can add to it (catalog_row.c, R2), so what is found beneath it is all.
 */
#include <string.h>

#include "storage/collection/catalog.h"
#include "storage/collection/catalog_copy.h"
#include "storage/collection/catalog_form.h"
#include "storage/collection/catalog_row.h"
#include "storage/collection/catalog_share.h"
#include "storage/collection/graveyard.h"

/* ---- collections ---- */

struct index_rows {
    struct op *op;
    struct catalog_row_key key[CATALOG_INDEXES_MAX];
    fileno_t file[CATALOG_INDEXES_MAX];
    unsigned count;
};

static err_t
note_index(void *context, struct bytes key, struct bytes row)
{
    struct index_rows *rows = context;
    struct catalog_form_index form;

    TRY_RETURN(catalog_form_index(row, &form));
    if (rows->count == CATALOG_INDEXES_MAX)
        return err_set(ERR_CORRUPT, "the catalog has too many indexes for a collection");
    rows->key[rows->count].size = key.size;
    memcpy(rows->key[rows->count].data, key.data, key.size);
    rows->file[rows->count++] = form.index.file;
    return OK;
}

static err_t
drop_indexes(struct op *op, struct txn *txn, uint64_t collection)
{
    struct index_rows *rows = arena_zalloc(op->arena, sizeof *rows);
    struct catalog_row_view view;
    struct catalog_row_key prefix;
    bool found;
    err_t err;

    if (rows == NULL)
        return ERR_MEMORY;
    TRY_RETURN(catalog_row_oid_key(&prefix, CATALOG_ROW_INDEX, collection, NULL));
    TRY_RETURN(catalog_row_look(op, txn, &view));
    err = catalog_row_walk(op, &view, &prefix, note_index, rows);
    catalog_row_look_end(op, &view);
    TRY_RETURN(err);
    for (unsigned i = 0; i < rows->count; i++) {
        TRY_RETURN(catalog_row_remove(op, txn, &rows->key[i], NULL, &found));
        TRY_RETURN(catalog_copy_drop_file(txn, rows->file[i]));
    }
    return OK;
}

static err_t
drop_row(struct op *op, struct txn *txn, struct bytes row)
{
    struct catalog_form_collection form;
    struct catalog_row_key key;
    bool found;

    TRY_RETURN(catalog_form_collection(row, &form));
    TRY_RETURN(catalog_row_oid_key(&key, CATALOG_ROW_OID, form.oid, NULL));
    TRY_RETURN(catalog_row_remove(op, txn, &key, NULL, &found));
    TRY_RETURN(drop_indexes(op, txn, form.oid));
    TRY_RETURN(catalog_copy_drop_file(txn, form.heap.file));
    TRY_RETURN(catalog_copy_drop_file(txn, form.heap.map));
    return catalog_copy_drop_oid(txn, form.oid);
}

err_t
catalog_drop_collection(struct op *op, struct txn *txn, const char *tenant, const char *database,
    const char *name, bool *found)
{
    struct arena_mark mark = arena_mark(op->arena);
    struct catalog_row_key key;
    struct bytes row;
    err_t err;

    *found = false;
    graveyard_empty();
    TRY(catalog_copy_change(txn));
    TRY(catalog_row_key(&key, CATALOG_ROW_COLLECTION, tenant, database, name));
    TRY(catalog_row_remove(op, txn, &key, &row, found));
    if (*found)
        TRY(drop_row(op, txn, row));
out:
    arena_rewind(op->arena, mark);
    return err;
}

/* ---- databases and tenants ---- */

err_t
catalog_drop_database(
    struct op *op, struct txn *txn, const char *tenant, const char *database, bool *found)
{
    const char *const *names;
    struct catalog_row_key key;
    size_t count;
    bool there;

    *found = false;
    TRY_RETURN(catalog_copy_change(txn));
    TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_DATABASE, tenant, database, NULL));
    TRY_RETURN(catalog_row_remove(op, txn, &key, NULL, found));
    if (!*found)
        return OK;
    TRY_RETURN(catalog_list_collections(op, txn, tenant, database, &names, &count));
    for (size_t i = 0; i < count; i++)
        TRY_RETURN(catalog_drop_collection(op, txn, tenant, database, names[i], &there));
    return OK;
}

err_t
catalog_drop_tenant(struct op *op, struct txn *txn, const char *tenant, bool *found)
{
    const char *const *names;
    struct catalog_row_key key;
    size_t count;
    bool there;

    *found = false;
    TRY_RETURN(catalog_copy_change(txn));
    TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_TENANT, tenant, NULL, NULL));
    TRY_RETURN(catalog_row_remove(op, txn, &key, NULL, found));
    if (!*found)
        return OK;
    TRY_RETURN(catalog_list_databases(op, txn, tenant, &names, &count));
    for (size_t i = 0; i < count; i++)
        TRY_RETURN(catalog_drop_database(op, txn, tenant, names[i], &there));
    return OK;
}

/* ---- indexes ---- */

static err_t
drop_index_in(struct op *op, struct txn *txn, const struct catalog_row_key *collection,
    const char *index, bool *found)
{
    struct catalog_form_collection form;
    struct catalog_form_index index_form;
    struct catalog_row_view view;
    struct catalog_row_key key;
    struct bytes row;
    xid_t xid;
    err_t err;

    TRY_RETURN(catalog_copy_change(txn));
    TRY_RETURN(catalog_row_hold(op, txn, collection, found));
    if (!*found)
        return OK;
    TRY_RETURN(catalog_row_look(op, txn, &view));
    err = catalog_row_get(op, &view, collection, &row, found);
    catalog_row_look_end(op, &view);
    TRY_RETURN(err);
    if (!*found)
        return OK;
    TRY_RETURN(catalog_form_collection(row, &form));
    TRY_RETURN(catalog_row_oid_key(&key, CATALOG_ROW_INDEX, form.oid, index));
    TRY_RETURN(catalog_row_remove(op, txn, &key, &row, found));
    if (!*found)
        return OK;
    TRY_RETURN(catalog_form_index(row, &index_form));
    TRY_RETURN(catalog_copy_drop_file(txn, index_form.index.file));
    TRY_RETURN(txn_xid(txn, &xid));
    return catalog_share_schema_change(xid);
}

err_t
catalog_drop_index(struct op *op, const char *tenant, const char *database, const char *name,
    const char *index, bool *found)
{
    struct arena_mark mark = arena_mark(op->arena);
    struct catalog_row_key key;
    struct txn *txn = NULL;
    err_t err;

    *found = false;
    graveyard_empty();
    if (strcmp(index, "_id_") == 0)
        return err_set(ERR_INVALID_OPTIONS, "cannot drop _id index");
    TRY(catalog_row_key(&key, CATALOG_ROW_COLLECTION, tenant, database, name));
    TRY(txn_begin(op, TXN_READ_COMMITTED, false, &txn));
    TRY(drop_index_in(op, txn, &key, index, found));
    if (*found) {
        err = txn_commit(op, txn, true);
        txn = NULL;
    }
out:
    if (txn != NULL)
        txn_abort(op, txn);
    arena_rewind(op->arena, mark);
    return err;
}
