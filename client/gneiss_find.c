/*
 * gneiss_find.c - queries and their cursors.
 *
 * A cursor reads ahead: one statement fills its batch (up to BATCH_SIZE bytes), and most calls of
 * gneiss_find_next only step through it.  Between statements a cursor holds nothing but a place in
 * the table of transactions, which keeps its snapshot's versions from being removed.
 *
 * INVARIANTS
 *   N1  `run` is NULL or paused between calls.
 *   N2  A place is held if and only if `held`; then the run is not over.
 *   N3  `batch` holds whole documents; `at` stands at the start of one, or at the end.
 *   N4  The session's spare cursor is closed: it holds nothing but the memory of its buffers.
 */
#include <stdlib.h>
#include <string.h>

#include "backend/query/run.h"
#include "base/doc/jsonparse.h"
#include "client/embed.h"
#include "shmem/interrupt.h"
#include "storage/txn/txn.h"

#define BATCH_SIZE ((size_t)64 << 10)
#define BATCH_MAX  (BATCH_SIZE + COLLECTION_DOCUMENT_MAX + ((size_t)1 << 20))
#define QUERY_MAX  ((size_t)64 << 20)
#define BATCH_KEEP (2 * BATCH_SIZE) /* bytes that the spare cursor keeps */
#define TEXT_KEEP  ((size_t)16 << 10)

struct gneiss_cursor {
    struct gneiss_collection *collection;
    struct gneiss_cursor *next;
    struct gneiss_cursor **link; /* what points to this one */
    struct run *run;
    struct run_query query; /* its documents stand in `text` */
    struct buf text;
    struct buf batch;
    size_t at;
    uint64_t oid; /* of the collection */
    uint32_t place;
    bool held;
};

static void
let_go(struct gneiss_cursor *cursor)
{
    if (cursor->run != NULL)
        run_end(cursor->run);
    cursor->run = NULL;
    if (cursor->held)
        snapshot_let_go(cursor->place);
    cursor->held = false;
}

/* Fill the batch with at least one document, or come to the end.  Within a section. */
static err_t
fill(struct op *op, struct gneiss_cursor *cursor)
{
    struct bytes document;
    struct row_id root;
    bool found = true;

    buf_clear(&cursor->batch);
    cursor->at = 0;
    while (cursor->batch.size < BATCH_SIZE) {
        TRY_RETURN(run_next(op, cursor->run, &document, &root, &found));
        if (!found) {
            let_go(cursor);
            return OK;
        }
        TRY_RETURN(buf_append(&cursor->batch, document.data, document.size));
    }
    run_pause(cursor->run);
    return OK;
}

static err_t
begin(struct op *op, struct gneiss_cursor *cursor, const struct snapshot *snapshot)
{
    const struct verb_ns *ns = &cursor->collection->ns;
    const struct catalog_collection *there;

    TRY_RETURN(catalog_find(op, NULL, ns->tenant, ns->database, ns->collection, &there));
    if (there == NULL)
        return OK;
    cursor->oid = there->oid;
    TRY_RETURN(run_begin(op, there, &cursor->query, snapshot, &cursor->run));
    TRY_RETURN(fill(op, cursor));
    if (cursor->run == NULL)
        return OK; /* it all fits into one batch */
    TRY_RETURN(snapshot_hold(snapshot, &cursor->place));
    snapshot_pass(cursor->place);
    cursor->held = true; /* N2 */
    return OK;
}

static err_t
first_statement(struct op *op, struct gneiss_cursor *cursor)
{
    struct txn *txn;
    err_t err;

    catalog_enter();
    err = txn_begin(op, TXN_READ_COMMITTED, true, &txn);
    if (err == OK) {
        err = begin(op, cursor, txn_snapshot(txn));
        txn_abort(op, txn); /* it wrote nothing */
    }
    catalog_leave();
    return err;
}

static err_t
later_statement(struct op *op, struct gneiss_cursor *cursor)
{
    const struct catalog_collection *there;
    err_t err;

    catalog_enter();
    TRY(catalog_find_oid(op, NULL, cursor->oid, &there));
    if (there == NULL) {
        err = err_set(ERR_NAMESPACE_NOT_FOUND, "the collection '%s' was dropped while it was read",
            cursor->collection->ns.collection);
        err_set_mongo(175, "QueryPlanKilled");
        goto out;
    }
    TRY(run_resume(op, cursor->run, there));
    TRY(fill(op, cursor));
out:
    if (err != OK)
        let_go(cursor);
    catalog_leave();
    return err;
}

/* ---- making one ---- */

/* Where parts of the query are put, one behind the other, before their addresses are final. */
enum part { PART_FILTER, PART_SORT, PART_PROJECTION, PART_HINT, PART_COUNT };

struct parts {
    size_t start[PART_COUNT], size[PART_COUNT];
};

static void
take_parts(struct gneiss_cursor *cursor, const struct parts *parts, uint64_t skip, uint64_t limit)
{
    struct bytes part[PART_COUNT];

    for (unsigned i = 0; i < PART_COUNT; i++)
        part[i] = parts->size[i] == 0
                      ? (struct bytes){ NULL, 0 }
                      : (struct bytes){ cursor->text.data + parts->start[i], parts->size[i] };
    cursor->query = (struct run_query){
        .filter = part[PART_FILTER],
        .sort = part[PART_SORT],
        .projection = part[PART_PROJECTION],
        .hint = part[PART_HINT],
        .skip = skip > INT64_MAX ? INT64_MAX : (int64_t)skip,
        .limit = limit > INT64_MAX ? INT64_MAX : (int64_t)limit,
    };
}

static err_t
copy_query(struct gneiss_cursor *cursor, const struct gneiss_query *query)
{
    const struct gneiss_bson given[PART_COUNT] = { query->filter, query->sort, query->projection,
        query->hint };
    struct parts parts;

    for (unsigned i = 0; i < PART_COUNT; i++) {
        TRY_RETURN(embed_check(given[i], true));
        parts.start[i] = cursor->text.size;
        parts.size[i] = given[i].size;
        TRY_RETURN(buf_append(&cursor->text, given[i].data, given[i].size));
    }
    take_parts(cursor, &parts, query->skip, query->limit);
    return OK;
}

static err_t
parse_query(struct gneiss_cursor *cursor, const char *filter, const char *sort, uint64_t skip,
    uint64_t limit)
{
    const char *const given[PART_COUNT] = { filter, sort, NULL, NULL };
    struct parts parts = { { 0 }, { 0 } };
    struct bytes made;

    for (unsigned i = 0; i < PART_COUNT; i++) {
        if (given[i] == NULL)
            continue;
        parts.start[i] = cursor->text.size;
        TRY_RETURN(jsonparse_document(&cursor->text, bytes_of(given[i]), &jsonparse_import, &made));
        parts.size[i] = made.size;
    }
    take_parts(cursor, &parts, skip, limit);
    return OK;
}

static err_t
make(struct gneiss_collection *collection, struct gneiss_cursor **made)
{
    struct gneiss_session *session = collection->session;
    struct gneiss_cursor *cursor = session->spare_cursor;

    session->spare_cursor = NULL;
    if (cursor == NULL) {
        cursor = calloc(1, sizeof *cursor);
        if (cursor == NULL)
            return err_set(ERR_MEMORY, "out of memory for a cursor");
        cursor->text = buf_init(QUERY_MAX);
        cursor->batch = buf_init(BATCH_MAX);
    }
    cursor->collection = collection;
    cursor->next = session->cursors;
    cursor->link = &session->cursors;
    if (cursor->next != NULL)
        cursor->next->link = &cursor->next;
    session->cursors = cursor;
    *made = cursor;
    return OK;
}

static struct buf
emptied(struct buf *buf, size_t keep)
{
    buf_clear(buf);
    buf_shrink(buf, keep);
    return *buf;
}

static void
release(struct gneiss_cursor *cursor)
{
    buf_fini(&cursor->text);
    buf_fini(&cursor->batch);
    free(cursor);
}

static void
destroy(struct gneiss_cursor *cursor)
{
    struct gneiss_session *session = cursor->collection->session;

    let_go(cursor);
    *cursor->link = cursor->next;
    if (cursor->next != NULL)
        cursor->next->link = cursor->link;
    if (session->spare_cursor != NULL) {
        release(cursor);
        return;
    }
    *cursor = (struct gneiss_cursor){ .text = emptied(&cursor->text, TEXT_KEEP),
        .batch = emptied(&cursor->batch, BATCH_KEEP) };
    session->spare_cursor = cursor; /* N4 */
}

void
gneiss_find_forget_spare(struct gneiss_session *session)
{
    if (session->spare_cursor != NULL)
        release(session->spare_cursor);
    session->spare_cursor = NULL;
}

int
gneiss_find(struct gneiss_collection *collection, const struct gneiss_query *query,
    struct gneiss_cursor **cursor)
{
    const struct gneiss_query all = { .limit = 0 };
    struct gneiss_cursor *made = NULL;
    err_t err;

    *cursor = NULL;
    err = embed_enter(collection->session, "find");
    if (err != OK)
        return embed_error(NULL, err);
    TRY(make(collection, &made));
    TRY(copy_query(made, query != NULL ? query : &all));
    TRY(first_statement(&collection->session->op, made));
    *cursor = made;
    made = NULL;
out:
    if (made != NULL)
        destroy(made);
    return embed_leave(collection->session, err);
}

int
gneiss_find_json(struct gneiss_collection *collection, const char *filter, const char *sort,
    uint64_t skip, uint64_t limit, struct gneiss_cursor **cursor)
{
    struct gneiss_cursor *made = NULL;
    err_t err;

    *cursor = NULL;
    err = embed_enter(collection->session, "find");
    if (err != OK)
        return embed_error(NULL, err);
    TRY(make(collection, &made));
    TRY(parse_query(made, filter, sort, skip, limit));
    TRY(first_statement(&collection->session->op, made));
    *cursor = made;
    made = NULL;
out:
    if (made != NULL)
        destroy(made);
    return embed_leave(collection->session, err);
}

/* ---- stepping ---- */

int
gneiss_find_next(struct gneiss_cursor *cursor, struct gneiss_bson *document, bool *found)
{
    struct gneiss_session *session = cursor->collection->session;
    const uint8_t *start;

    *found = false;
    if (cursor->at == cursor->batch.size && cursor->run != NULL) {
        err_t err = embed_enter(session, "getMore");
        int code;

        if (err != OK)
            return embed_error(NULL, err);
        err = interrupt_check(&session->op);
        if (err == OK)
            err = later_statement(&session->op, cursor);
        code = embed_leave(session, err);
        if (code != GNEISS_OK)
            return code;
    }
    if (cursor->at == cursor->batch.size)
        return GNEISS_OK;
    start = cursor->batch.data + cursor->at;
    *document = (struct gneiss_bson){ start, bsonvalue_load32(start) };
    cursor->at += document->size; /* N3 */
    *found = true;
    return GNEISS_OK;
}

void
gneiss_find_close(struct gneiss_cursor *cursor)
{
    struct gneiss_session *session;

    if (cursor == NULL)
        return;
    session = cursor->collection->session;
    if (proc_self != session->proc || embed_opening != session->opening)
        embed_switch(session);
    destroy(cursor);
}
