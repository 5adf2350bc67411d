/*
 * catalog_create.c - making tenants, databases and collections.
 *
 * A collection is made in the caller's transaction: its row, the row of its oid, the row of its
 * index _id_, and three files, which rollback removes (txn_unlink_at_abort), or after a crash the
 * search for orphans.  The rows of its database and tenant are held meanwhile, so that nobody drops
 * them under it.
 *
 * After an error other than ERR_NAMESPACE_EXISTS the transaction has to be rolled back.
 */
#include "storage/collection/catalog_create.h"

#include <string.h>

#include "base/fault.h"
#include "base/ids.h"
#include "storage/collection/catalog_copy.h"
#include "storage/collection/catalog_form.h"
#include "storage/collection/catalog_row.h"
#include "storage/collection/catalog_share.h"
#include "storage/page/datafile.h"

/* ---- tenants and databases ---- */

static err_t
insert_name(struct op *op, struct txn *txn, const struct catalog_row_key *key, const char *name,
    bool *existed)
{
    struct arena_mark mark = arena_mark(op->arena);
    struct bytes row;
    err_t err;

    TRY(catalog_form_make_name(op->arena, name, (struct bytes){ NULL, 0 }, &row));
    TRY(catalog_row_insert(op, txn, key, row, existed));
out:
    arena_rewind(op->arena, mark);
    return err;
}

err_t
catalog_create_tenant(struct op *op, struct txn *txn, const char *tenant)
{
    struct catalog_row_key key;
    bool existed;

    TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_TENANT, tenant, NULL, NULL));
    TRY_RETURN(insert_name(op, txn, &key, tenant, &existed));
    if (existed)
        return err_set(ERR_NAMESPACE_EXISTS, "tenant '%s' already exists", tenant);
    return OK;
}

/* Hold the row, or make it. */
static err_t
ensure(struct op *op, struct txn *txn, const struct catalog_row_key *key, const char *name)
{
    bool found, existed;

    do {
        existed = false;
        TRY_RETURN(catalog_row_hold(op, txn, key, &found));
        if (!found)
            TRY_RETURN(insert_name(op, txn, key, name, &existed));
    } while (existed);
    return OK;
}

static err_t
ensure_tenant(struct op *op, struct txn *txn, const char *tenant)
{
    struct catalog_row_key key;

    TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_TENANT, tenant, NULL, NULL));
    return ensure(op, txn, &key, tenant);
}

err_t
catalog_create_database(struct op *op, struct txn *txn, const char *tenant, const char *database)
{
    struct catalog_row_key key;
    bool existed;

    TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_DATABASE, tenant, database, NULL));
    TRY_RETURN(catalog_database_exists(op, txn, tenant, database, &existed));
    if (!existed) {
        TRY_RETURN(ensure_tenant(op, txn, tenant));
        TRY_RETURN(insert_name(op, txn, &key, database, &existed));
    }
    if (existed)
        return err_set(ERR_NAMESPACE_EXISTS, "database '%s' already exists", database);
    return OK;
}

/* Hold the database's row, so that it stays; make what is missing. */
static err_t
ensure_database(struct op *op, struct txn *txn, const char *tenant, const char *database)
{
    struct catalog_row_key key;
    bool found;

    TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_DATABASE, tenant, database, NULL));
    TRY_RETURN(catalog_row_hold(op, txn, &key, &found));
    if (found)
        return OK;
    TRY_RETURN(ensure_tenant(op, txn, tenant));
    return ensure(op, txn, &key, database);
}

/* ---- collections ---- */

/* A number for a file that this transaction will make. */
static err_t
new_file(struct txn *txn, fileno_t *file)
{
    TRY_RETURN(datafile_next(file));
    return txn_unlink_at_abort(txn, *file);
}

err_t
catalog_create_index_row(struct op *op, struct txn *txn, uint64_t collection,
    const struct definition *definition, enum catalog_index_state state, uint64_t *oid)
{
    struct catalog_form_index form = { .collection = collection,
        .name = bytes_of(definition->name),
        .definition = definition->stored,
        .state = state };
    struct catalog_row_key key;
    struct bytes row;
    bool existed;
    xid_t xid;

    TRY_RETURN(txn_xid(txn, &xid));
    TRY_RETURN(catalog_share_oid(oid));
    form.oid = *oid;
    form.index.kind = definition->kind;
    form.index.unique = definition->unique;
    TRY_RETURN(new_file(txn, &form.index.file));
    TRY_RETURN(catalog_form_make_index(op->arena, &form, &row));
    TRY_RETURN(catalog_row_oid_key(&key, CATALOG_ROW_INDEX, collection, definition->name));
    TRY_RETURN(catalog_row_insert(op, txn, &key, row, &existed));
    if (existed)
        return err_set(ERR_INDEX_EXISTS, "the index '%s' is there already", definition->name);
    return index_methods(form.index.kind)->create(&form.index, xid);
}

static err_t
insert_collection(struct op *op, struct txn *txn, struct catalog_form_collection *form,
    const struct catalog_row_key *key, bool *existed)
{
    struct catalog_form_place place = { form->tenant, form->database, form->name };
    struct catalog_row_key oid_key;
    struct bytes row;

    TRY_RETURN(catalog_form_make_collection(op->arena, form, &row));
    TRY_RETURN(catalog_row_insert(op, txn, key, row, existed));
    if (*existed)
        return OK;
    TRY_RETURN(catalog_form_make_place(op->arena, &place, &row));
    TRY_RETURN(catalog_row_oid_key(&oid_key, CATALOG_ROW_OID, form->oid, NULL));
    TRY_RETURN(catalog_row_insert(op, txn, &oid_key, row, existed));
    if (*existed)
        return err_set(ERR_CORRUPT, "the catalog gave one number to two collections");
    return OK;
}

static err_t
make_collection(struct op *op, struct txn *txn, struct catalog_form_collection *form,
    const struct catalog_row_key *key, bool *existed)
{
    struct definition definition;
    struct uuid uuid = ids_uuid();
    uint64_t index_oid;
    xid_t xid;

    TRY_RETURN(txn_xid(txn, &xid));
    TRY_RETURN(catalog_copy_change(txn));
    TRY_RETURN(catalog_share_oid(&form->oid));
    memcpy(form->uuid, uuid.bytes, sizeof form->uuid);
    TRY_RETURN(new_file(txn, &form->heap.file));
    TRY_RETURN(new_file(txn, &form->heap.map));
    TRY_RETURN(insert_collection(op, txn, form, key, existed));
    if (*existed)
        return OK;
    (void)fault_pass(FAULT_CATALOG_FILES);
    TRY_RETURN(heap_create(&form->heap, xid));
    TRY_RETURN(definition_of_id(op->arena, &definition));
    return catalog_create_index_row(
        op, txn, form->oid, &definition, CATALOG_INDEX_READY, &index_oid);
}

err_t
catalog_create_collection(struct op *op, struct txn *txn, const char *tenant, const char *database,
    const char *name, struct bytes options)
{
    struct catalog_form_collection form = { .tenant = bytes_of(tenant),
        .database = bytes_of(database),
        .name = bytes_of(name),
        .options = options };
    const struct catalog_collection *there = NULL;
    struct arena_mark mark = arena_mark(op->arena);
    struct catalog_row_key key;
    bool existed = false;
    err_t err;

    catalog_enter();
    TRY(catalog_copy_fresh(op, txn, tenant, database, name, &there));
    existed = there != NULL;
    if (!existed) {
        TRY(catalog_row_key(&key, CATALOG_ROW_COLLECTION, tenant, database, name));
        TRY(ensure_database(op, txn, tenant, database));
        TRY(make_collection(op, txn, &form, &key, &existed));
    }
    if (existed)
        err = err_set(ERR_NAMESPACE_EXISTS, "Collection %s.%s already exists.", database, name);
out:
    catalog_leave();
    arena_rewind(op->arena, mark);
    return err;
}
