/*
 * collection_change.c - changing or deleting one document, whoever else is at it.
 *
 *   find the version to change ─▶ decide ─▶ keys of both ─▶ taken? ─▶ heap ─▶ indexes ─▶ sink
 *        ▲                                                             │
 *        └──────────── it has changed meanwhile, or was waited for ◀───┘
 *
 * Under read committed the version is the newest committed one (or the own); under snapshot rules
 * it is the one that the snapshot sees, and a newer one is a conflict.
 *
 * INVARIANTS
 *   U1  Nothing is changed before all unique keys were found free: so a refused update leaves no
 *       trace.  If another takes one in between, what is half done cannot be taken back alone: then
 *       it is ERR_WRITE_CONFLICT, and the transaction must be rolled back.
 *   U2  A version that stays at its root has the keys of the one before in every index.
 *
 * IF A PROCESS DIES anywhere, its transaction has failed: the old version lives.
 */
#include "storage/collection/collection.h"

#include "base/fault.h"
#include "base/mutant.h"
#include "shmem/interrupt.h"
#include "storage/collection/collection_sink.h"
#include "storage/collection/judge.h"
#include "storage/collection/keys.h"
#include "storage/collection/statistics.h"

#define KEEP_ROW ((size_t)1 << 20)

struct change {
    struct op *op;
    struct txn *txn;
    const struct catalog_collection *collection;
    const struct collection_decider *decider;
    struct row_id root, version;
    struct buf *row; /* the version, as it is */
    enum collection_action action;
    bool done;
    bool strict; /* snapshot rules */
};

static bool
strict_rules(const struct txn *txn)
{
    return txn_isolation(txn) >= TXN_REPEATABLE_READ;
}

static err_t
conflict(void)
{
    return err_set(ERR_WRITE_CONFLICT,
        "WriteConflict error: this operation conflicted with another operation. Please retry your "
        "operation or multi-document transaction.");
}

/* The version that is to be changed.  *wait: whose end is to be waited for first. */
static err_t
find_version(struct change *change, bool *found, xid_t *wait)
{
    const struct heap *heap = &change->collection->heap;

    *wait = 0;
    buf_clear(change->row);
    if (change->strict)
        return heap_get(change->op, heap, txn_snapshot(change->txn), change->root, change->row,
            &change->version, found);
    return heap_get_newest(
        change->op, heap, change->txn, &change->root, change->row, &change->version, found, wait);
}

/* ---- what the heap said ---- */

static err_t
settle(struct change *change, enum heap_outcome outcome, const struct heap_conflict *met)
{
    switch (outcome) {
    case HEAP_DONE:
        change->done = true;
        break;
    case HEAP_OWN: /* once a statement is enough */
        change->action = COLLECTION_KEEP;
        change->done = true;
        break;
    case HEAP_BUSY:
        return txn_wait(change->op, change->txn, met->busy);
    case HEAP_GONE:
    case HEAP_CHANGED:
        if (change->strict)
            return conflict();
        break;
    }
    return OK;
}

/* ---- deleting ---- */

static err_t delete (struct change *change)
{
    const struct catalog_collection *collection = change->collection;
    struct heap_conflict met;
    enum heap_outcome outcome;

    TRY_RETURN(heap_delete(
        change->op, &collection->heap, change->txn, change->root, change->version, &outcome, &met));
    TRY_RETURN(settle(change, outcome, &met));
    if (outcome != HEAP_DONE)
        return OK;
    statistics_note(collection->oid, -1, 1);
    return collection_tell(
        change->op, change->txn, collection, buf_bytes(change->row), (struct bytes){ NULL, 0 });
}

/* ---- replacing ---- */

/* U1. */
static err_t
probe(struct change *change, struct judge *judge, struct bytes document,
    const struct indexkey_set *old, const struct indexkey_set *new)
{
    const struct catalog_collection *collection = change->collection;

    for (unsigned i = 0; i < collection->index_count; i++) {
        const struct catalog_index *index = collection->index[i];

        if (!index->index.unique)
            continue;
        for (size_t k = 0; k < new[i].count; k++) {
            struct bytes key = indexkey_set_key(&new[i], k);
            bool taken;

            if (keys_have(&old[i], key))
                continue;
            TRY_RETURN(judge_probe(judge, &index->index, key, change->root, &taken));
            if (taken)
                return keys_duplicate(collection, index, key, document);
        }
    }
    return OK;
}

static err_t
insert_keys(
    struct change *change, struct judge *judge, const struct indexkey_set *new, struct row_id root)
{
    const struct catalog_collection *collection = change->collection;

    for (unsigned i = 0; i < collection->index_count; i++) {
        if (mutant(MUTANT_UPDATE_LEAVES_INDEX) && i > 0 && i + 1 == collection->index_count)
            break;
        for (size_t k = 0; k < new[i].count; k++) {
            bool taken;

            TRY_RETURN(judge_insert(
                judge, &collection->index[i]->index, indexkey_set_key(&new[i], k), root, &taken));
            if (taken)
                return conflict();
        }
    }
    return OK;
}

/* The keys of both documents; *same: they differ in no index. */
static err_t
compare_keys(struct change *change, struct bytes document, const struct indexkey_set **old,
    const struct indexkey_set **new, bool *same)
{
    const struct catalog_collection *collection = change->collection;

    *same = true;
    TRY_RETURN(keys_make(collection, document, KEYS_NEW, new));
    TRY_RETURN(keys_make(collection, buf_bytes(change->row), KEYS_OLD, old));
    for (unsigned i = 0; i < collection->index_count && *same; i++) {
        if (mutant(MUTANT_KEYS_UNCOMPARED) && i > 1)
            break;
        *same = keys_same(&(*old)[i], &(*new)[i]);
    }
    return OK;
}

static err_t
replace(struct change *change, struct bytes document)
{
    const struct catalog_collection *collection = change->collection;
    struct judge judge = { change->op, &collection->heap, change->txn };
    const struct indexkey_set *old, *new;
    struct heap_conflict met;
    enum heap_outcome outcome;
    struct row_id root;
    bool same, heap_only;

    if (document.size > COLLECTION_DOCUMENT_MAX)
        return err_set(ERR_TOO_LARGE,
            "Resulting document after update is larger than %u bytes: %zu", COLLECTION_DOCUMENT_MAX,
            document.size);
    TRY_RETURN(compare_keys(change, document, &old, &new, &same));
    if (!same) {
        TRY_RETURN(keys_announce(change->op, change->txn, collection, document, new));
        TRY_RETURN(probe(change, &judge, document, old, new));
    }
    TRY_RETURN(heap_update(change->op, &collection->heap, change->txn, change->root,
        change->version, document, same, &outcome, &met, &root, &heap_only));
    TRY_RETURN(settle(change, outcome, &met));
    if (outcome != HEAP_DONE)
        return OK;
    (void)fault_pass(FAULT_ROW_MOVED);
    if (!heap_only)
        TRY_RETURN(insert_keys(change, &judge, new, root));
    statistics_note(collection->oid, 0, 1);
    return collection_tell(change->op, change->txn, collection, buf_bytes(change->row), document);
}

/* ---- once around ---- */

static err_t
attempt(struct change *change)
{
    struct bytes replacement = { NULL, 0 };
    bool found;
    xid_t wait;

    TRY_RETURN(find_version(change, &found, &wait));
    if (wait != 0)
        return txn_wait(change->op, change->txn, wait);
    change->action = COLLECTION_KEEP;
    change->done = !found;
    if (!found)
        return OK;
    TRY_RETURN(change->decider->decide(
        change->decider->context, buf_bytes(change->row), &change->action, &replacement));
    switch (change->action) {
    case COLLECTION_KEEP:
        change->done = true;
        break;
    case COLLECTION_DELETE:
        return delete (change);
    case COLLECTION_REPLACE:
        return replace(change, replacement);
    }
    return OK;
}

static _Thread_local struct buf kept; /* the row of the last change, reused */

void
collection_change_forget(void)
{
    buf_fini(&kept);
    kept = buf_init(HEAP_ROW_MAX);
}

err_t
collection_change(struct op *op, struct txn *txn, const struct catalog_collection *collection,
    struct row_id root, const struct collection_decider *decider, enum collection_action *action)
{
    struct buf row = kept; /* a decider may change documents itself */
    struct change change = { .op = op,
        .txn = txn,
        .collection = collection,
        .decider = decider,
        .root = root,
        .row = &row,
        .strict = strict_rules(txn) };
    xid_t xid;
    err_t err;

    kept = buf_init(HEAP_ROW_MAX);
    row.limit = HEAP_ROW_MAX;
    TRY(txn_xid(txn, &xid));
    while (!change.done) {
        TRY(interrupt_check(op));
        TRY(attempt(&change));
    }
out:
    *action = err == OK ? change.action : COLLECTION_KEEP;
    buf_shrink(&row, KEEP_ROW);
    buf_fini(&kept);
    kept = row;
    return err;
}
