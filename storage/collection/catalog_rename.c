/*
 * catalog_rename.c - another name for a collection.
 *
 * Only its row and that of its oid change: indexes are rows of the oid, files have numbers.
 */
#include <string.h>

#include "storage/collection/catalog.h"
#include "storage/collection/catalog_copy.h"
#include "storage/collection/catalog_form.h"
#include "storage/collection/catalog_row.h"

static err_t
replace_place(void *context, struct bytes row, struct bytes *replacement)
{
    (void)row;
    *replacement = *(const struct bytes *)context;
    return OK;
}

/* The row under its new name. */
static err_t
put_row(struct op *op, struct txn *txn, struct bytes row, const char *database, const char *name)
{
    struct catalog_form_collection form;
    struct catalog_form_place place;
    struct bytes new_row, new_place;
    struct catalog_row_change change = { replace_place, &new_place };
    struct catalog_row_key key;
    const char *tenant;
    bool existed, found;

    TRY_RETURN(catalog_form_collection(row, &form));
    tenant = arena_string(op->arena, form.tenant);
    if (tenant == NULL)
        return ERR_MEMORY;
    form.database = bytes_of(database);
    form.name = bytes_of(name);
    place = (struct catalog_form_place){ form.tenant, form.database, form.name };
    TRY_RETURN(catalog_form_make_collection(op->arena, &form, &new_row));
    TRY_RETURN(catalog_form_make_place(op->arena, &place, &new_place));
    TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_COLLECTION, tenant, database, name));
    TRY_RETURN(catalog_row_insert(op, txn, &key, new_row, &existed));
    if (existed)
        return err_set(ERR_NAMESPACE_EXISTS, "target namespace exists");
    TRY_RETURN(catalog_row_oid_key(&key, CATALOG_ROW_OID, form.oid, NULL));
    TRY_RETURN(catalog_row_change(op, txn, &key, &change, &found));
    if (!found)
        return err_set(
            ERR_CORRUPT, "the catalog does not know the place of '%s.%s'", database, name);
    return OK;
}

err_t
catalog_rename_collection(struct op *op, struct txn *txn, const char *tenant, const char *database,
    const char *from, const char *to_database, const char *to, bool drop_target)
{
    struct catalog_row_key key, database_key;
    struct bytes row;
    bool found;

    if (strcmp(database, to_database) == 0 && strcmp(from, to) == 0)
        return err_set(ERR_ILLEGAL_OPERATION, "Can't rename a collection to itself");
    TRY_RETURN(catalog_copy_change(txn));
    TRY_RETURN(catalog_row_key(&database_key, CATALOG_ROW_DATABASE, tenant, to_database, NULL));
    TRY_RETURN(catalog_row_hold(op, txn, &database_key, &found));
    if (!found)
        TRY_RETURN(catalog_create_database(op, txn, tenant, to_database));
    TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_COLLECTION, tenant, database, from));
    TRY_RETURN(catalog_row_remove(op, txn, &key, &row, &found));
    if (!found)
        return err_set(
            ERR_NAMESPACE_NOT_FOUND, "Source collection %s.%s does not exist", database, from);
    if (drop_target)
        TRY_RETURN(catalog_drop_collection(op, txn, tenant, to_database, to, &found));
    return put_row(op, txn, row, to_database, to);
}
