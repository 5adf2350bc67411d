/*
 * judge.c - putting a key into a unique index: who else has it, and does he live?
 *
 * The index asks under its leaf's lock about every entry with an equal key (lock order: index
 * before heap); so between the answer and the entry nobody else can put one in.
 */
#include "storage/collection/judge.h"

#include <stdio.h>

#include "base/err.h"
#include "base/panic.h"
#include "shmem/interrupt.h"

#define ROWS_QUICK 16

static err_t
ask_heap(void *context, struct row_id row, enum index_verdict *verdict, xid_t *xid)
{
    struct judge *judge = context;
    enum heap_liveness liveness;

    TRY_RETURN(heap_liveness(judge->op, judge->heap, judge->txn, row, &liveness, xid));
    switch (liveness) {
    case HEAP_DEAD:
        *verdict = INDEX_FREE;
        break;
    case HEAP_LIVE:
        *verdict = INDEX_CONFLICT;
        break;
    case HEAP_UNDECIDED:
        *verdict = INDEX_WAIT;
        break;
    }
    return OK;
}

err_t
judge_insert(struct judge *judge, const struct index *index, struct bytes key, struct row_id row,
    bool *conflict)
{
    struct index_judge asks = { ask_heap, judge };
    const struct index_methods *methods = index_methods(index->kind);
    enum index_verdict verdict = INDEX_FREE;
    struct row_id other;
    xid_t xid, busy;

    *conflict = false;
    TRY_RETURN(txn_xid(judge->txn, &xid));
    for (;;) {
        TRY_RETURN(methods->insert(judge->op, index, key, row, xid, index->unique ? &asks : NULL,
            &verdict, &other, &busy));
        if (verdict != INDEX_WAIT)
            break;
        TRY_RETURN(txn_wait(judge->op, judge->txn, busy));
    }
    *conflict = index->unique && verdict == INDEX_CONFLICT;
    return OK;
}

err_t
judge_insert_many(struct judge *judge, const struct index *index, const struct index_entry *entries,
    size_t count, size_t *done)
{
    struct index_judge asks = { ask_heap, judge };
    xid_t xid;

    *done = 0;
    TRY_RETURN(txn_xid(judge->txn, &xid));
    return index_methods(index->kind)
        ->insert_many(judge->op, index, entries, count, xid, index->unique ? &asks : NULL, done);
}

/* One look at one entry. */
static err_t
look_at(struct judge *judge, struct row_id row, struct row_id self, bool *conflict, xid_t *busy)
{
    enum index_verdict verdict;
    xid_t xid = 0;

    if (row.block == self.block && row.item == self.item)
        return OK;
    TRY_RETURN(ask_heap(judge, row, &verdict, &xid));
    if (verdict == INDEX_CONFLICT)
        *conflict = true;
    else if (verdict == INDEX_WAIT)
        *busy = xid;
    return OK;
}

static err_t
probe_slowly(struct judge *judge, const struct index *index, struct bytes key, struct row_id self,
    bool *conflict, xid_t *busy)
{
    const struct index_methods *methods = index_methods(index->kind);
    struct index_range range = { .low = key, .high = key, .has_low = true, .has_high = true };
    struct index_scan *scan;
    struct index_entry entry;
    bool more = true;
    err_t err;

    TRY_RETURN(methods->scan_begin(judge->op, index, &range, &scan));
    while (more && !*conflict) {
        TRY(methods->scan_next(judge->op, scan, &entry, &more));
        if (more)
            TRY(look_at(judge, entry.row, self, conflict, busy));
    }
    err = OK;
out:
    methods->scan_end(scan);
    return err;
}

err_t
judge_probe(struct judge *judge, const struct index *index, struct bytes key, struct row_id self,
    bool *conflict)
{
    const struct index_methods *methods = index_methods(index->kind);
    struct row_id rows[ROWS_QUICK];
    size_t count;
    xid_t busy;

    for (;;) {
        *conflict = false;
        busy = 0;
        TRY_RETURN(methods->lookup(judge->op, index, key, rows, ROWS_QUICK, &count));
        if (count > ROWS_QUICK) {
            TRY_RETURN(probe_slowly(judge, index, key, self, conflict, &busy));
        } else {
            for (size_t i = 0; i < count && !*conflict; i++)
                TRY_RETURN(look_at(judge, rows[i], self, conflict, &busy));
        }
        if (*conflict || busy == 0)
            return OK;
        TRY_RETURN(txn_wait(judge->op, judge->txn, busy));
    }
}

void
judge_undo(struct judge *judge, struct row_id row)
{
    char message[512];
    int code = err_last_code();
    err_t err;

    (void)snprintf(message, sizeof message, "%s", err_message());
    err = heap_undo_insert(judge->op, judge->heap, judge->txn, row);
    if (err == OK)
        return;
    /* It stays this transaction's rubbish; what the caller is told is the first error. */
    err_note(ERR_OPERATION_FAILED, __FILE__, __LINE__, "%s", message);
    err_set_mongo(code, NULL);
}
