/*
 * catalog_create_index.c - building an index beside writers.
 *
 *   claim the heap          nobody vacuums it, nobody else builds on it
 *   row BUILDING, file      transaction A, committed: whoever enters a section from now on feeds it
 *   quiesce                 nobody is in a section that does not know it
 *   wait for transactions   what was changed without it has been committed or rolled back
 *   scan, sort, insert      the newest version of every row that lives
 *   row READY               transaction B: usable by snapshots from now on
 *
 * What fails after A removes the row and the file again.
 *
 * INVARIANTS
 *   B1  From the quiesce on every new row version has its keys in the index, and stays at its root
 *       only if they are those of the version before.
 *   B2  So after the wait, what the scan finds as the newest version of a root has the keys of all
 *       versions of it that a snapshot taken after the scan can see; a root that is dead then is
 *       seen by none of them (usable_from).
 *   B3  Who has the claim builds.  An index found BUILDING by who has it was left by a process that
 *       died, and is removed.
 *
 * IF A PROCESS DIES the row stays BUILDING: writers feed it (and are refused what it has already,
 * if it is unique), nobody reads it.  The undertaker wakes autovacuum, which removes it (B3); so
 * does the next index made on the collection, or the next start (catalog_boot_open).
 */
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/panic.h"
#include "shmem/interrupt.h"
#include "storage/collection/catalog_copy.h"
#include "storage/collection/catalog_create.h"
#include "storage/collection/catalog_form.h"
#include "storage/collection/catalog_row.h"
#include "storage/collection/catalog_share.h"
#include "storage/collection/definition.h"
#include "storage/collection/entrysort.h"
#include "storage/collection/judge.h"
#include "storage/collection/keys.h"
#include "storage/collection/nap.h"
#include "wal/control.h"

#define SORT_MEMORY ((size_t)64 << 20)
#define LOOK_EVERY  256u

struct making {
    struct op *op;
    const char *tenant, *database, *name;
    struct definition definition;
    uint64_t collection, oid; /* numbers */
    bool multikey;
};

static err_t
not_found(const struct making *making)
{
    return err_set(ERR_NAMESPACE_NOT_FOUND, "ns not found: %s.%s", making->database, making->name);
}

/* In a section, or NULL. */
static err_t
find(const struct making *making, struct txn *txn, const struct catalog_collection **collection)
{
    return catalog_copy_fresh(
        making->op, txn, making->tenant, making->database, making->name, collection);
}

/* ---- transaction A ---- */

/* B3. */
static err_t
drop_abandoned(struct making *making, struct txn *txn, const struct catalog_collection *collection)
{
    for (unsigned i = 0; i < collection->index_count; i++) {
        const struct catalog_index *index = collection->index[i];
        struct catalog_row_key key;
        bool found;

        if (index->state != CATALOG_INDEX_BUILDING)
            continue;
        TRY_RETURN(catalog_row_oid_key(&key, CATALOG_ROW_INDEX, collection->oid, index->name));
        TRY_RETURN(catalog_row_remove(making->op, txn, &key, NULL, &found));
        TRY_RETURN(catalog_copy_drop_file(txn, index->index.file));
    }
    return OK;
}

static err_t
announce_in(struct making *making, struct txn *txn, bool *existed)
{
    const struct catalog_collection *collection;
    struct catalog_row_key key;
    bool found;

    TRY_RETURN(catalog_copy_change(txn));
    TRY_RETURN(catalog_row_key(
        &key, CATALOG_ROW_COLLECTION, making->tenant, making->database, making->name));
    TRY_RETURN(catalog_row_hold(making->op, txn, &key, &found));
    if (!found)
        return not_found(making);
    TRY_RETURN(find(making, txn, &collection));
    if (collection == NULL)
        return not_found(making);
    if (collection->oid != making->collection)
        return err_set(ERR_WRITE_CONFLICT, "the collection was made anew meanwhile");
    TRY_RETURN(drop_abandoned(making, txn, collection));
    TRY_RETURN(find(making, txn, &collection));
    TRY_RETURN(definition_compare(collection, &making->definition, existed));
    if (*existed)
        return OK;
    return catalog_create_index_row(making->op, txn, collection->oid, &making->definition,
        CATALOG_INDEX_BUILDING, &making->oid);
}

static err_t
announce(struct making *making, bool *existed)
{
    struct txn *txn;
    err_t err;

    TRY_RETURN(txn_begin(making->op, TXN_READ_COMMITTED, false, &txn));
    catalog_enter();
    err = announce_in(making, txn, existed);
    catalog_leave();
    if (err == OK)
        return txn_commit(making->op, txn, true);
    txn_abort(making->op, txn);
    return err;
}

/* ---- scan, sort, insert ---- */

static err_t
gather(struct making *making, const struct catalog_collection *collection,
    const struct catalog_index *index, struct entrysort *sort)
{
    struct indexkey_set keys;
    struct heap_scan *scan = NULL;
    struct bytes row;
    struct row_id root;
    bool found;
    err_t err;

    indexkey_set_init(&keys);
    TRY(heap_scan_begin_any(making->op, &collection->heap, &scan));
    for (;;) {
        TRY(heap_scan_next(making->op, scan, &row, &root, NULL, &found));
        if (!found)
            break;
        TRY(indexkey_make(index->spec, row, &keys));
        making->multikey |= keys.multikey;
        for (size_t i = 0; i < keys.count; i++)
            TRY(entrysort_add(sort, indexkey_set_key(&keys, i), root));
    }
out:
    heap_scan_end(scan);
    indexkey_set_fini(&keys);
    return err;
}

/* The row whose key is taken: does it live itself?  One in progress is waited for. */
static err_t
lives(struct judge *judge, struct row_id row, bool *alive)
{
    enum heap_liveness liveness;
    xid_t busy;

    for (;;) {
        TRY_RETURN(heap_liveness(judge->op, judge->heap, judge->txn, row, &liveness, &busy));
        if (liveness != HEAP_UNDECIDED)
            break;
        TRY_RETURN(txn_wait(judge->op, judge->txn, busy));
    }
    *alive = liveness == HEAP_LIVE;
    return OK;
}

static err_t
refuse(struct making *making, struct judge *judge, const struct catalog_collection *collection,
    const struct catalog_index *index, const struct index_entry *entry)
{
    struct buf row = buf_init(HEAP_ROW_MAX);
    struct row_id root = entry->row, version;
    bool found;
    xid_t busy;
    err_t err;

    TRY(heap_get_newest(making->op, judge->heap, judge->txn, &root, &row, &version, &found, &busy));
    err = keys_duplicate(
        collection, index, entry->key, found ? buf_bytes(&row) : (struct bytes){ NULL, 0 });
out:
    buf_fini(&row);
    return err;
}

static err_t
insert_all(struct making *making, struct txn *txn, const struct catalog_collection *collection,
    const struct catalog_index *index, struct entrysort *sort)
{
    struct judge judge = { making->op, &collection->heap, txn };
    struct index_entry entry;
    bool found, taken, alive;

    for (unsigned n = 0;; n++) {
        if (n % LOOK_EVERY == 0)
            TRY_RETURN(interrupt_check(making->op));
        TRY_RETURN(entrysort_next(sort, &entry, &found));
        if (!found)
            return OK;
        TRY_RETURN(judge_insert(&judge, &index->index, entry.key, entry.row, &taken));
        if (!taken)
            continue;
        TRY_RETURN(lives(&judge, entry.row, &alive));
        if (alive)
            return refuse(making, &judge, collection, index, &entry);
    }
}

static const struct catalog_index *
own_index(const struct making *making, const struct catalog_collection *collection)
{
    const struct catalog_index *index =
        collection != NULL ? catalog_find_index(collection, making->definition.name) : NULL;

    return index != NULL && index->oid == making->oid ? index : NULL;
}

static err_t
fill_in(struct making *making, struct txn *txn, struct entrysort *sort)
{
    const struct catalog_collection *collection;
    const struct catalog_index *index;

    TRY_RETURN(find(making, NULL, &collection));
    index = own_index(making, collection);
    if (index == NULL)
        return err_set(ERR_OPERATION_FAILED,
            "the collection or the index was dropped while the index was built");
    TRY_RETURN(gather(making, collection, index, sort));
    TRY_RETURN(entrysort_finish(sort));
    return insert_all(making, txn, collection, index, sort);
}

/* Entries are put in under a transaction whose fate does not matter: an entry is what its row is.
 */
static err_t
fill(struct making *making)
{
    struct entrysort *sort = NULL;
    struct txn *txn = NULL;
    char folder[4096];
    err_t err;

    if (snprintf(folder, sizeof folder, "%s/tmp", control_data_dir()) >= (int)sizeof folder)
        return err_set(ERR_IO, "the name of the data directory is too long");
    TRY(entrysort_create(folder, SORT_MEMORY, &sort));
    TRY(txn_begin(making->op, TXN_READ_COMMITTED, false, &txn));
    catalog_enter();
    err = fill_in(making, txn, sort);
    catalog_leave();
out:
    if (txn != NULL && err == OK)
        err = txn_commit(making->op, txn, false);
    else if (txn != NULL)
        txn_abort(making->op, txn);
    entrysort_destroy(sort);
    return err;
}

/* ---- transaction B ---- */

struct finish {
    struct making *making;
    csn_t csn;
};

static err_t
make_ready(void *context, struct bytes row, struct bytes *replacement)
{
    const struct finish *finish = context;
    struct catalog_form_index form;

    TRY_RETURN(catalog_form_index(row, &form));
    if (form.oid != finish->making->oid)
        return err_set(ERR_OPERATION_FAILED, "the index was dropped while it was built");
    form.state = CATALOG_INDEX_READY;
    form.usable_from = finish->csn;
    form.life = catalog_share_life();
    form.multikey |= finish->making->multikey;
    return catalog_form_make_index(finish->making->op->arena, &form, replacement);
}

/* The row becomes READY, or (`ready` false) goes, and its file with it. */
static err_t
end_in(struct making *making, struct txn *txn, bool ready)
{
    struct finish finish = { making, txn_snapshot(txn)->csn };
    struct catalog_row_change change = { make_ready, &finish };
    struct catalog_form_index form;
    struct catalog_row_key key;
    struct bytes row;
    bool found;
    xid_t xid;

    TRY_RETURN(catalog_copy_change(txn));
    TRY_RETURN(
        catalog_row_oid_key(&key, CATALOG_ROW_INDEX, making->collection, making->definition.name));
    if (!ready) {
        TRY_RETURN(catalog_row_remove(making->op, txn, &key, &row, &found));
        if (!found)
            return OK;
        TRY_RETURN(catalog_form_index(row, &form));
        if (form.oid != making->oid)
            return err_set(ERR_OPERATION_FAILED, "another index has its name by now");
        return catalog_copy_drop_file(txn, form.index.file);
    }
    TRY_RETURN(catalog_row_change(making->op, txn, &key, &change, &found));
    if (!found)
        return err_set(ERR_OPERATION_FAILED, "the index was dropped while it was built");
    TRY_RETURN(txn_xid(txn, &xid));
    return catalog_share_schema_change(xid);
}

static err_t
end(struct making *making, bool ready)
{
    struct txn *txn;
    err_t err;

    TRY_RETURN(txn_begin(making->op, TXN_READ_COMMITTED, false, &txn));
    err = end_in(making, txn, ready);
    if (err == OK)
        return txn_commit(making->op, txn, true);
    txn_abort(making->op, txn);
    return err;
}

/* The build failed for a reason that the caller is to be told; taking it back must not hide it. */
static void
take_back(struct making *making)
{
    struct op op = { .arena = making->op->arena, .verb = making->op->verb };
    struct op *asked = making->op;
    char message[4096];
    uint8_t attached[4096];
    struct bytes more = err_attached();
    int code = err_last_code();
    err_t err;

    (void)snprintf(message, sizeof message, "%s", err_message());
    if (more.size > sizeof attached)
        more.size = 0;
    if (more.size > 0)
        memcpy(attached, more.data, more.size);
    making->op = &op; /* without the deadline that may have ended it */
    err = end(making, false);
    making->op = asked;
    if (err == OK)
        return;
    catalog_share_abandon();
    log_warn("could not remove the unfinished index '%s' of '%s.%s': %s; autovacuum tries again",
        making->definition.name, making->database, making->name, err_message());
    err_note(ERR_OPERATION_FAILED, __FILE__, __LINE__, "%s", message);
    err_set_mongo(code, NULL);
    if (more.size > 0)
        err_attach((struct bytes){ attached, more.size });
}

static err_t
build(struct making *making)
{
    err_t err;

    (void)fault_pass(FAULT_INDEX_ANNOUNCED);
    TRY(catalog_quiesce(making->op));
    TRY(txn_wait_all(making->op, NULL));
    TRY(fill(making));
    (void)fault_pass(FAULT_INDEX_FILLED);
    TRY(end(making, true));
    return OK;
out:
    take_back(making);
    return err;
}

/* ---- all of it ---- */

/* A quick look without any lock: most requests for an index are for one that is there. */
static err_t
look(struct making *making, fileno_t *heap, bool *existed)
{
    const struct catalog_collection *collection;
    const struct catalog_index *there;
    err_t err;

    *existed = false;
    catalog_enter();
    TRY(find(making, NULL, &collection));
    if (collection == NULL)
        TRY(not_found(making));
    making->collection = collection->oid;
    *heap = collection->heap.file;
    there = catalog_find_index(collection, making->definition.name);
    if (there == NULL || there->state == CATALOG_INDEX_READY)
        TRY(definition_compare(collection, &making->definition, existed));
out:
    catalog_leave();
    return err;
}

static err_t
make(struct making *making, bool *existed)
{
    fileno_t heap;
    err_t err;

    TRY_RETURN(look(making, &heap, existed));
    if (*existed)
        return OK;
    for (unsigned turn = 0; !catalog_share_claim(heap); turn++)
        TRY_RETURN(nap(making->op, turn));
    TRY(announce(making, existed));
    if (!*existed)
        TRY(build(making));
out:
    catalog_share_claim_end();
    return err;
}

err_t
catalog_create_index(struct op *op, const char *tenant, const char *database, const char *name,
    struct bytes definition, bool *existed)
{
    struct making making = { .op = op, .tenant = tenant, .database = database, .name = name };

    invariant(!catalog_share_inside());
    *existed = false;
    TRY_RETURN(definition_read(op->arena, definition, &making.definition));
    return make(&making, existed);
}

/* ---- what a dead builder left ---- */

static bool
has_unfinished(const struct catalog_collection *collection)
{
    for (unsigned i = 0; collection != NULL && i < collection->index_count; i++)
        if (collection->index[i]->state == CATALOG_INDEX_BUILDING)
            return true;
    return false;
}

static err_t
clear_in(struct making *making, struct txn *txn)
{
    const struct catalog_collection *collection;

    TRY_RETURN(catalog_copy_change(txn));
    TRY_RETURN(find(making, txn, &collection));
    return collection != NULL ? drop_abandoned(making, txn, collection) : OK;
}

/* The claim is taken. */
static err_t
clear(struct making *making)
{
    struct txn *txn;
    err_t err;

    TRY_RETURN(txn_begin(making->op, TXN_READ_COMMITTED, false, &txn));
    catalog_enter();
    err = clear_in(making, txn);
    catalog_leave();
    if (err == OK)
        return txn_commit(making->op, txn, true);
    txn_abort(making->op, txn);
    return err;
}

err_t
catalog_create_index_clear(
    struct op *op, const char *tenant, const char *database, const char *name)
{
    struct making making = { .op = op, .tenant = tenant, .database = database, .name = name };
    const struct catalog_collection *collection;
    fileno_t heap = 0;
    err_t err;

    catalog_enter();
    err = find(&making, NULL, &collection);
    if (err == OK && has_unfinished(collection))
        heap = collection->heap.file;
    catalog_leave();
    if (err != OK || heap == 0 || !catalog_share_claim(heap))
        return err; /* who has the claim removes it */
    err = clear(&making);
    catalog_share_claim_end();
    if (err == OK)
        log_info("removed an unfinished index of '%s.%s'", database, name);
    return err;
}
