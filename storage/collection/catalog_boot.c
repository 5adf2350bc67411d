/*
 * catalog_boot.c - the catalog's part in opening a data directory.
 *
 * IF A PROCESS DIES in catalog_boot_create, no checkpoint has noted a next oid, and the next start
 * makes the catalog again (engine.c, E2); in catalog_boot_open, the transaction that removes rows
 * of unfinished indexes has committed or not, and the next start looks again.
 */
#include "storage/collection/catalog_boot.h"

#include <string.h>

#include "base/log.h"
#include "storage/collection/catalog_form.h"
#include "storage/collection/catalog_row.h"
#include "storage/collection/catalog_share.h"
#include "storage/page/datafile.h"

static void
note(uint64_t numbers[CONTROL_NUMBER_COUNT])
{
    catalog_share_numbers(&numbers[CONTROL_NEXT_OID], &numbers[CONTROL_SCHEMA_VERSION]);
}

static void
restore(const uint64_t numbers[CONTROL_NUMBER_COUNT])
{
    catalog_share_restore(numbers[CONTROL_NEXT_OID], numbers[CONTROL_SCHEMA_VERSION]);
}

const struct checkpoint_part catalog_boot_part = { "catalog", note, restore, NULL };
const struct wal_handler catalog_boot_handler_numbers = { catalog_share_redo,
    catalog_share_describe, NULL };

err_t
catalog_boot_create(struct op *op)
{
    struct txn *txn = NULL;
    uint64_t oid;
    xid_t xid;
    err_t err;

    catalog_share_restore(1, 0);
    TRY(txn_begin(op, TXN_READ_COMMITTED, true, &txn));
    TRY(txn_xid(txn, &xid));
    TRY(heap_create(&catalog_row_heap, xid));
    TRY(index_methods(catalog_row_index.kind)->create(&catalog_row_index, xid));
    TRY(catalog_share_oid(&oid));
    err = txn_commit(op, txn, true);
    txn = NULL;
out:
    if (txn != NULL)
        txn_abort(op, txn);
    return err;
}

/* ---- files ---- */

struct owners {
    void (*owned)(void *context, fileno_t file);
    void *context;
};

static err_t
own_collection(void *context, struct bytes key, struct bytes row)
{
    const struct owners *owners = context;
    struct catalog_form_collection form;

    (void)key;
    TRY_RETURN(catalog_form_collection(row, &form));
    owners->owned(owners->context, form.heap.file);
    owners->owned(owners->context, form.heap.map);
    return OK;
}

static err_t
own_index(void *context, struct bytes key, struct bytes row)
{
    const struct owners *owners = context;
    struct catalog_form_index form;

    (void)key;
    TRY_RETURN(catalog_form_index(row, &form));
    owners->owned(owners->context, form.index.file);
    return OK;
}

err_t
catalog_boot_files(struct op *op, void (*owned)(void *context, fileno_t file), void *context)
{
    static const fileno_t fixed[] = { DATAFILE_CLOG, DATAFILE_CSN, DATAFILE_CATALOG,
        DATAFILE_CATALOG_FREE, DATAFILE_CATALOG_INDEX };
    struct owners owners = { owned, context };
    struct catalog_row_view view;
    struct catalog_row_key prefix;
    err_t err;

    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        owned(context, fixed[i]);
    TRY_RETURN(catalog_row_look(op, NULL, &view));
    TRY(catalog_row_key(&prefix, CATALOG_ROW_COLLECTION, NULL, NULL, NULL));
    TRY(catalog_row_walk(op, &view, &prefix, own_collection, &owners));
    TRY(catalog_row_key(&prefix, CATALOG_ROW_INDEX, NULL, NULL, NULL));
    TRY(catalog_row_walk(op, &view, &prefix, own_index, &owners));
out:
    catalog_row_look_end(op, &view);
    return err;
}

/* ---- unfinished indexes ---- */

#define UNFINISHED_AT_ONCE 64

struct unfinished {
    struct catalog_row_key key[UNFINISHED_AT_ONCE];
    unsigned count;
};

static err_t
note_unfinished(void *context, struct bytes key, struct bytes row)
{
    struct unfinished *unfinished = context;
    struct catalog_form_index form;

    TRY_RETURN(catalog_form_index(row, &form));
    if (form.state == CATALOG_INDEX_READY || unfinished->count == UNFINISHED_AT_ONCE)
        return OK;
    unfinished->key[unfinished->count].size = key.size;
    memcpy(unfinished->key[unfinished->count++].data, key.data, key.size);
    log_warn("index '%.*s' was not finished when the server stopped: it is removed",
        (int)form.name.size, (const char *)form.name.data);
    return OK;
}

static err_t
find_unfinished(struct op *op, struct unfinished *unfinished)
{
    struct catalog_row_view view;
    struct catalog_row_key prefix;
    err_t err;

    unfinished->count = 0;
    TRY_RETURN(catalog_row_key(&prefix, CATALOG_ROW_INDEX, NULL, NULL, NULL));
    TRY_RETURN(catalog_row_look(op, NULL, &view));
    err = catalog_row_walk(op, &view, &prefix, note_unfinished, unfinished);
    catalog_row_look_end(op, &view);
    return err;
}

static err_t
remove_unfinished(struct op *op, const struct unfinished *unfinished)
{
    struct txn *txn = NULL;
    bool found;
    err_t err;

    TRY(txn_begin(op, TXN_READ_COMMITTED, true, &txn));
    for (unsigned i = 0; i < unfinished->count; i++)
        TRY(catalog_row_remove(op, txn, &unfinished->key[i], NULL, &found));
    err = txn_commit(op, txn, true);
    txn = NULL;
out:
    if (txn != NULL)
        txn_abort(op, txn);
    return err;
}

err_t
catalog_boot_open(struct op *op)
{
    struct unfinished *unfinished = arena_alloc(op->arena, sizeof *unfinished);

    if (unfinished == NULL)
        return ERR_MEMORY;
    do {
        TRY_RETURN(find_unfinished(op, unfinished));
        if (unfinished->count > 0)
            TRY_RETURN(remove_unfinished(op, unfinished));
    } while (unfinished->count > 0);
    return OK; /* their files belong to nobody now: engine.c sweeps them */
}
