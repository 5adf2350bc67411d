/*
 * catalog_row.c - the rows of the catalog: BSON under a key.
 *
 * One heap and one unique b-tree of fixed files; the law is that of every collection (README.md),
 * with one key a row that never changes.  A row is changed by its newest version, whatever the
 * snapshot of the transaction: what exists is not a matter of when one looked.
 *
 * INVARIANTS
 *   R1  At most one committed row has a key: the tree is unique, and asks the heap.
 *   R2  Whoever changes a row waits for another's change to end; so two changes of one collection,
 *       which all begin with its row (catalog_row_hold), follow each other.
 */
#include "storage/collection/catalog_row.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "base/panic.h"
#include "shmem/interrupt.h"
#include "storage/collection/catalog.h"
#include "storage/collection/judge.h"
#include "storage/page/datafile.h"

#define ROWS_QUICK 16 /* versions of one key that are looked at without a scan */

const struct heap catalog_row_heap = { DATAFILE_CATALOG, DATAFILE_CATALOG_FREE };
const struct index catalog_row_index = { DATAFILE_CATALOG_INDEX, INDEX_BTREE, true };

static const struct index_methods *
methods(void)
{
    return index_methods(INDEX_BTREE);
}

/* ---- keys ---- */

static err_t
add_part(struct catalog_row_key *key, const char *part)
{
    size_t size = strlen(part);

    if (size == 0)
        return err_set(ERR_INVALID_NAMESPACE, "a name cannot be empty");
    if (size > CATALOG_NAME_MAX)
        return err_set(ERR_INVALID_NAMESPACE, "the name '%.60s…' is longer than %d bytes", part,
            CATALOG_NAME_MAX);
    memcpy(key->data + key->size, part, size + 1);
    key->size += size + 1;
    return OK;
}

err_t
catalog_row_key(struct catalog_row_key *key, enum catalog_row_kind kind, const char *a,
    const char *b, const char *c)
{
    const char *part[CATALOG_ROW_PARTS_MAX] = { a, b, c };

    _Static_assert(1 + CATALOG_ROW_PARTS_MAX * (CATALOG_NAME_MAX + 1) <= INDEX_KEY_MAX, "fits");
    key->data[0] = (uint8_t)kind;
    key->size = 1;
    for (unsigned i = 0; i < CATALOG_ROW_PARTS_MAX && part[i] != NULL; i++)
        TRY_RETURN(add_part(key, part[i]));
    return OK;
}

err_t
catalog_row_oid_key(
    struct catalog_row_key *key, enum catalog_row_kind kind, uint64_t oid, const char *name)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%016" PRIx64, oid);
    return catalog_row_key(key, kind, text, name, NULL);
}

/* ---- views ---- */

err_t
catalog_row_look(struct op *op, struct txn *txn, struct catalog_row_view *view)
{
    bool given;

    view->own = NULL;
    snapshot_newest(&view->snapshot, &given);
    if (!given) {
        TRY_RETURN(txn_begin(op, TXN_READ_COMMITTED, true, &view->own));
        view->snapshot = *txn_snapshot(view->own);
    }
    if (txn != NULL) {
        view->snapshot.own = txn_xid_if_any(txn);
        view->snapshot.command = UINT32_MAX;
    }
    return OK;
}

void
catalog_row_look_end(struct op *op, struct catalog_row_view *view)
{
    if (view->own != NULL)
        txn_abort(op, view->own);
    view->own = NULL;
}

/* ---- reading ---- */

struct place {
    struct row_id root, version;
    bool found;
};

/* Is the row at `root` the one?  Its bytes are appended to `out`. */
static err_t
look_at(struct op *op, const struct catalog_row_view *view, struct row_id root, struct buf *out,
    struct place *place)
{
    place->root = root;
    return heap_get(
        op, &catalog_row_heap, &view->snapshot, root, out, &place->version, &place->found);
}

/* Many versions have this key: walk them all. */
static err_t
find_slowly(struct op *op, const struct catalog_row_view *view, struct bytes key, struct buf *out,
    struct place *place)
{
    struct index_range range = { .low = key, .high = key, .has_low = true, .has_high = true };
    struct index_scan *scan;
    struct index_entry entry;
    bool more = true;
    err_t err;

    TRY_RETURN(methods()->scan_begin(op, &catalog_row_index, &range, &scan));
    while (more && !place->found) {
        TRY(methods()->scan_next(op, scan, &entry, &more));
        if (more)
            TRY(look_at(op, view, entry.row, out, place));
    }
    err = OK;
out:
    methods()->scan_end(scan);
    return err;
}

static err_t
find(struct op *op, const struct catalog_row_view *view, const struct catalog_row_key *key,
    struct buf *out, struct place *place)
{
    struct bytes bytes = { key->data, key->size };
    struct row_id rows[ROWS_QUICK];
    size_t count;

    place->found = false;
    TRY_RETURN(methods()->lookup(op, &catalog_row_index, bytes, rows, ROWS_QUICK, &count));
    if (count > ROWS_QUICK)
        return find_slowly(op, view, bytes, out, place);
    for (size_t i = 0; i < count && !place->found; i++)
        TRY_RETURN(look_at(op, view, rows[i], out, place));
    return OK;
}

static err_t
keep(struct op *op, const struct buf *buf, struct bytes *row)
{
    const uint8_t *copy = arena_copy(op->arena, buf->data, buf->size);

    *row = (struct bytes){ copy, buf->size };
    return copy != NULL || buf->size == 0 ? OK : ERR_MEMORY;
}

err_t
catalog_row_get(struct op *op, const struct catalog_row_view *view,
    const struct catalog_row_key *key, struct bytes *row, bool *found)
{
    struct buf buf = buf_init(HEAP_ROW_MAX);
    struct place place;
    err_t err;

    *found = false;
    *row = (struct bytes){ NULL, 0 };
    TRY(find(op, view, key, &buf, &place));
    if (!place.found)
        goto out;
    TRY(keep(op, &buf, row));
    *found = true;
out:
    buf_fini(&buf);
    return err;
}

err_t
catalog_row_walk(struct op *op, const struct catalog_row_view *view,
    const struct catalog_row_key *prefix,
    err_t (*visit)(void *context, struct bytes key, struct bytes row), void *context)
{
    struct bytes bytes = { prefix->data, prefix->size };
    struct index_range range = {
        .low = bytes, .high = bytes, .has_low = true, .has_high = true, .high_prefix_included = true
    };
    struct buf buf = buf_init(HEAP_ROW_MAX);
    struct index_scan *scan;
    struct index_entry entry;
    struct place place;
    bool more;
    err_t err;

    TRY_RETURN(methods()->scan_begin(op, &catalog_row_index, &range, &scan));
    for (;;) {
        TRY(methods()->scan_next(op, scan, &entry, &more));
        if (!more)
            break;
        buf_clear(&buf);
        TRY(look_at(op, view, entry.row, &buf, &place));
        if (place.found)
            TRY(visit(context, entry.key, buf_bytes(&buf)));
    }
out:
    methods()->scan_end(scan);
    buf_fini(&buf);
    return err;
}

/* ---- writing ---- */

err_t
catalog_row_insert(struct op *op, struct txn *txn, const struct catalog_row_key *key,
    struct bytes row, bool *existed)
{
    struct judge judge = { op, &catalog_row_heap, txn };
    struct row_id root;
    bool conflict;
    xid_t xid;
    err_t err;

    *existed = false;
    TRY_RETURN(txn_xid(txn, &xid));
    TRY_RETURN(heap_insert(op, &catalog_row_heap, txn, row, &root));
    (void)fault_pass(FAULT_CATALOG_ROW);
    TRY(judge_insert(
        &judge, &catalog_row_index, (struct bytes){ key->data, key->size }, root, &conflict));
    if (!conflict)
        return OK;
    *existed = true;
out:
    judge_undo(&judge, root);
    return err;
}

/* What one attempt at changing a row came to. */
static err_t
settle(struct op *op, struct txn *txn, enum heap_outcome outcome,
    const struct heap_conflict *conflict, bool *done)
{
    *done = outcome == HEAP_DONE;
    switch (outcome) {
    case HEAP_BUSY:
        return txn_wait(op, txn, conflict->busy);
    case HEAP_OWN:
        /* Made or changed by this very statement: what follows is another. */
        return txn_next_statement(txn);
    case HEAP_DONE:
    case HEAP_GONE:
    case HEAP_CHANGED:
        break;
    }
    return OK;
}

static err_t
replace(struct op *op, struct txn *txn, const struct catalog_row_key *key,
    const struct place *place, struct bytes row, enum heap_outcome *outcome,
    struct heap_conflict *conflict)
{
    struct judge judge = { op, &catalog_row_heap, txn };
    bool heap_only, clash;
    struct row_id root;

    TRY_RETURN(heap_update(op, &catalog_row_heap, txn, place->root, place->version, row, true,
        outcome, conflict, &root, &heap_only));
    if (*outcome != HEAP_DONE || heap_only)
        return OK;
    TRY_RETURN(judge_insert(
        &judge, &catalog_row_index, (struct bytes){ key->data, key->size }, root, &clash));
    if (clash)
        return err_set(ERR_CORRUPT, "the catalog has two rows with one key");
    return OK;
}

/* What is to be done to the row that the view sees. */
static err_t
apply(struct op *op, struct txn *txn, const struct catalog_row_key *key,
    const struct catalog_row_change *change, const struct place *place, struct bytes row,
    enum heap_outcome *outcome, struct heap_conflict *conflict)
{
    struct bytes new = { NULL, 0 };

    TRY_RETURN(change->change(change->context, row, &new));
    if (new.size > 0)
        return replace(op, txn, key, place, new, outcome, conflict);
    return heap_delete(op, &catalog_row_heap, txn, place->root, place->version, outcome, conflict);
}

static err_t
change_once(struct op *op, struct txn *txn, const struct catalog_row_key *key,
    const struct catalog_row_change *change, struct buf *buf, bool *found, bool *done)
{
    struct heap_conflict conflict = { 0, ROW_ID_NONE };
    enum heap_outcome outcome = HEAP_GONE;
    struct catalog_row_view view;
    struct place place;
    err_t err;

    buf_clear(buf);
    TRY_RETURN(catalog_row_look(op, txn, &view));
    TRY(find(op, &view, key, buf, &place));
    *found = place.found;
    *done = !place.found;
    /* The view is kept until then: without it the version's place could be another's by now. */
    if (place.found)
        TRY(apply(op, txn, key, change, &place, buf_bytes(buf), &outcome, &conflict));
out:
    catalog_row_look_end(op, &view);
    if (err == OK && place.found)
        err = settle(op, txn, outcome, &conflict, done);
    return err;
}

err_t
catalog_row_change(struct op *op, struct txn *txn, const struct catalog_row_key *key,
    const struct catalog_row_change *change, bool *found)
{
    struct buf buf = buf_init(HEAP_ROW_MAX);
    bool done = false;
    xid_t xid;
    err_t err;

    *found = false;
    TRY(txn_xid(txn, &xid));
    while (!done) {
        TRY(interrupt_check(op));
        TRY(change_once(op, txn, key, change, &buf, found, &done));
    }
out:
    buf_fini(&buf);
    return err;
}

struct removal {
    struct op *op;
    struct bytes *row;
};

static err_t
remove_it(void *context, struct bytes row, struct bytes *replacement)
{
    const struct removal *removal = context;

    *replacement = (struct bytes){ NULL, 0 };
    if (removal->row == NULL)
        return OK;
    *removal->row = (struct bytes){ arena_copy(removal->op->arena, row.data, row.size), row.size };
    return removal->row->data != NULL ? OK : ERR_MEMORY;
}

err_t
catalog_row_remove(struct op *op, struct txn *txn, const struct catalog_row_key *key,
    struct bytes *row, bool *found)
{
    struct removal removal = { op, row };
    struct catalog_row_change change = { remove_it, &removal };

    return catalog_row_change(op, txn, key, &change, found);
}

static err_t
leave_it(void *context, struct bytes row, struct bytes *replacement)
{
    (void)context;
    *replacement = row;
    return OK;
}

err_t
catalog_row_hold(struct op *op, struct txn *txn, const struct catalog_row_key *key, bool *found)
{
    static const struct catalog_row_change change = { leave_it, NULL };

    return catalog_row_change(op, txn, key, &change, found);
}
