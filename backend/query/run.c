/*
 * run.c - running a query: plan, scan, filter, sort, skip, limit, project.
 *
 *     source (one row by _id | collection scan | index scan) -> filter -> [sorter] -> skip, limit
 *     -> projection
 *
 * A saved run is a head (struct head) and, behind it, the position of its scan or the state of its
 * sorter.  The plan is made again from the query when it is taken up, over the index the head
 * names.
 *
 * INVARIANTS
 *  R1  Every document given out was checked by the filter, whatever the plan says.
 *  R2  Between run_pause and run_resume nothing points into the catalog.
 *  R3  The sorter, once there, has been filled to the end of the scan, and the scan is closed.
 *  R4  The spare run is empty: no scan, no sorter, its arena reset; so a request that runs one
 *      query at a time allocates nothing here.
 *
 * IF A PROCESS DIES: nothing here is shared; temporary files are sorter.c's.
 */
#include "backend/query/run.h"

#include <stdio.h>
#include <stdlib.h>

#include "backend/query/plan.h"
#include "backend/query/projection.h"
#include "backend/query/sorter.h"
#include "backend/query/sortkey.h"
#include "base/doc/bsonbuild.h"
#include "base/mutant.h"
#include "shmem/counters.h"
#include "shmem/interrupt.h"
#include "wal/control.h"

#define ARENA_MAX   (64u << 20)
#define CHECK_EVERY 1024
#define KEEP_MAX    (256u << 10) /* bytes of each buffer that the spare run keeps */

struct head {
    uint8_t stage, sorted, multikey, done;
    uint32_t pad;
    uint64_t index_oid;
    int64_t skip, left;
    uint64_t examined, returned;
};
_Static_assert(sizeof(struct head) == 48, "no holes");

struct run {
    struct arena *arena;
    const struct catalog_collection *collection; /* NULL while paused (R2) */
    struct snapshot snapshot;
    const struct filter *filter;
    const struct projection *projection; /* NULL: all */
    const struct sortkey *sortkey;       /* NULL, or the scan gives the order */
    struct plan plan;
    struct collection_scan *scan; /* NULL: not begun, paused or done */
    struct sorter *sorter;
    struct buf position; /* of a paused scan */
    struct buf row, projected, key;
    struct bytes filter_bytes;
    int64_t skip, left; /* left: -1 without limit */
    uint64_t limit;     /* of the sorter: skip and limit together */
    uint64_t examined, returned;
    bool id_done, scan_done, paused;
};

static size_t work_mem = 4u << 20;
static _Thread_local struct run *spare; /* R4 */

void
run_configure(size_t memory)
{
    work_mem = memory;
}

static err_t
folder_of(char *folder, size_t size)
{
    int length = snprintf(folder, size, "%s/tmp", control_data_dir());

    if (length < 0 || (size_t)length >= size)
        return err_set(ERR_IO, "the path of the data directory is too long");
    return OK;
}

static void
destroy(struct run *run)
{
    buf_fini(&run->row);
    buf_fini(&run->projected);
    buf_fini(&run->key);
    buf_fini(&run->position);
    arena_destroy(run->arena);
    free(run);
}

static err_t
create(struct run **run)
{
    struct run *made = calloc(1, sizeof *made);

    if (made == NULL)
        return err_set(ERR_MEMORY, "could not begin a query: out of memory");
    made->arena = arena_create("query", ARENA_MAX);
    if (made->arena == NULL) {
        free(made);
        return ERR_MEMORY;
    }
    made->row = buf_init(BSONVALUE_INTERNAL_SIZE_MAX);
    made->projected = buf_init(BSONVALUE_INTERNAL_SIZE_MAX);
    made->key = buf_init(BSONVALUE_INTERNAL_SIZE_MAX);
    made->position = buf_init(BSONVALUE_INTERNAL_SIZE_MAX);
    *run = made;
    return OK;
}

/* The last run's memory is taken again (R4). */
static err_t
make(const struct catalog_collection *collection, const struct snapshot *snapshot, struct run **run)
{
    struct run *made = spare;

    if (made == NULL)
        TRY_RETURN(create(&made));
    spare = NULL;
    made->collection = collection;
    made->snapshot = *snapshot;
    *run = made;
    return OK;
}

static struct buf
emptied(struct buf *buf)
{
    buf_clear(buf);
    buf_shrink(buf, KEEP_MAX);
    return *buf;
}

void
run_end(struct run *run)
{
    if (run == NULL)
        return;
    if (run->scan != NULL)
        collection_scan_end(run->scan);
    sorter_destroy(run->sorter);
    if (spare != NULL) {
        destroy(run);
        return;
    }
    arena_reset(run->arena);
    *run = (struct run){ .arena = run->arena,
        .row = emptied(&run->row),
        .projected = emptied(&run->projected),
        .key = emptied(&run->key),
        .position = emptied(&run->position) };
    spare = run; /* R4 */
}

void
run_forget_private(void)
{
    if (spare != NULL)
        destroy(spare);
    spare = NULL;
}

static err_t
compile(struct op *op, struct run *run, const struct run_query *query, struct plan_wish *wish)
{
    const struct sortkey *sortkey;

    if (query->skip < 0 || query->limit < 0)
        return err_set(ERR_BAD_VALUE, "skip and limit must not be negative");
    TRY_RETURN(filter_compile(run->arena, query->filter, &run->filter));
    TRY_RETURN(projection_compile(run->arena, query->projection, &run->projection));
    TRY_RETURN(sortkey_compile(run->arena, query->sort, &sortkey));
    run->skip = query->skip;
    run->left = query->limit > 0 ? query->limit : -1;
    if (query->limit > 0 && query->skip <= INT64_MAX - query->limit)
        run->limit = (uint64_t)(query->limit + (mutant(MUTANT_SORT_LIMIT) ? 0 : query->skip));
    if (query->filter.size > 0) {
        run->filter_bytes.data = arena_copy(run->arena, query->filter.data, query->filter.size);
        run->filter_bytes.size = query->filter.size;
        if (run->filter_bytes.data == NULL)
            return ERR_MEMORY;
    }
    wish->filter = run->filter;
    wish->sortkey = sortkey;
    wish->hint = query->hint;
    wish->first = run->limit;
    wish->csn = run->snapshot.csn;
    TRY_RETURN(plan_make(op, run->arena, run->collection, wish, &run->plan));
    run->sortkey = run->plan.sorted ? NULL : sortkey;
    return OK;
}

static err_t
open_scan(struct op *op, struct run *run)
{
    const struct plan *plan = &run->plan;
    const struct catalog_index *index;

    if (run->scan_done || plan->stage == PLAN_ID)
        return OK;
    if (plan->stage == PLAN_SCAN)
        TRY_RETURN(collection_scan_begin(op, run->collection, &run->snapshot, &run->scan));
    else if (plan->range_count == 0)
        run->scan_done = true;
    else {
        index = plan_index(plan, run->collection);
        if (index == NULL) {
            err_t err = err_set(ERR_OPERATION_FAILED, "the index that this query used was dropped");

            err_set_mongo(175, "QueryPlanKilled");
            return err;
        }
        TRY_RETURN(collection_scan_index(op, run->collection, index, plan->ranges,
            plan->range_count, &run->snapshot, &run->scan));
    }
    if (run->scan != NULL && run->position.size > 0)
        TRY_RETURN(collection_scan_restore(op, run->scan, buf_bytes(&run->position)));
    return OK;
}

err_t
run_begin(struct op *op, const struct catalog_collection *collection, const struct run_query *query,
    const struct snapshot *snapshot, struct run **run)
{
    struct plan_wish wish = { .forced = false };
    struct run *made;
    err_t err;

    TRY_RETURN(make(collection, snapshot, &made));
    TRY(compile(op, made, query, &wish));
    TRY(open_scan(op, made));
    counters_add(
        made->plan.stage == PLAN_SCAN ? COUNTER_COLLECTION_SCANS : COUNTER_INDEX_LOOKUPS, 1);
    *run = made;
    return OK;
out:
    run_end(made);
    return err;
}

/* The next document that the filter matches, before any sorting. */
static err_t
next_match(struct op *op, struct run *run, struct bytes *document, struct row_id *root, bool *found)
{
    bool matches = false;

    *found = false;
    if (run->plan.stage == PLAN_ID) {
        if (run->id_done)
            return OK;
        run->id_done = true;
        buf_clear(&run->row);
        TRY_RETURN(collection_get(
            op, &run->snapshot, run->collection, run->plan.id_key, &run->row, root, found));
        if (!*found)
            return OK;
        run->examined++;
        *document = buf_bytes(&run->row);
        return filter_match(run->filter, *document, found);
    }
    while (!matches && run->scan != NULL) {
        TRY_RETURN(collection_scan_next(op, run->scan, document, root, found));
        if (!*found) {
            collection_scan_end(run->scan);
            run->scan = NULL;
            run->scan_done = true;
            return OK;
        }
        if (++run->examined % CHECK_EVERY == 0)
            TRY_RETURN(interrupt_check(op));
        TRY_RETURN(filter_match(run->filter, *document, &matches)); /* R1 */
    }
    *found = matches;
    return OK;
}

/* Everything into the sorter (R3). */
static err_t
sort_all(struct op *op, struct run *run)
{
    struct bytes document;
    struct row_id root;
    char folder[4100];
    bool found;

    TRY_RETURN(folder_of(folder, sizeof folder));
    TRY_RETURN(sorter_create(folder, run->limit, work_mem, &run->sorter));
    for (;;) {
        TRY_RETURN(next_match(op, run, &document, &root, &found));
        if (!found)
            break;
        buf_clear(&run->key);
        TRY_RETURN(sortkey_append(run->sortkey, document, &run->key));
        TRY_RETURN(sorter_add(op, run->sorter, buf_bytes(&run->key), document, root));
    }
    return sorter_finish(op, run->sorter);
}

static err_t
next_row(struct op *op, struct run *run, struct bytes *document, struct row_id *root, bool *found)
{
    if (run->sortkey == NULL)
        return next_match(op, run, document, root, found);
    if (run->sorter == NULL)
        TRY_RETURN(sort_all(op, run));
    return sorter_next(op, run->sorter, document, root, found);
}

err_t
run_next(struct op *op, struct run *run, struct bytes *document, struct row_id *root, bool *found)
{
    *found = false;
    if (run->left == 0)
        return OK;
    for (;; run->skip--) {
        TRY_RETURN(next_row(op, run, document, root, found));
        if (!*found)
            return OK;
        if (run->skip == 0)
            break;
    }
    if (run->left > 0)
        run->left--;
    run->returned++;
    if (run->projection == NULL)
        return OK;
    TRY_RETURN(projection_apply(run->projection, *document, &run->projected));
    *document = buf_bytes(&run->projected);
    return OK;
}

/* Take the scan's position and close it.  After an error it is as if the run had ended. */
static err_t
close_scan(struct run *run)
{
    err_t err;

    if (run->scan == NULL)
        return OK;
    buf_clear(&run->position);
    err = collection_scan_save(run->scan, &run->position);
    collection_scan_end(run->scan);
    run->scan = NULL;
    return err;
}

void
run_pause(struct run *run)
{
    /* Without a position it cannot go on: run_resume tells. */
    run->paused = close_scan(run) == OK;
    run->collection = NULL;
}

err_t
run_resume(struct op *op, struct run *run, const struct catalog_collection *collection)
{
    if (!run->paused)
        return err_set(ERR_MEMORY, "could not go on with a query: its position was lost");
    run->collection = collection;
    run->paused = false;
    if (run->sorter != NULL)
        return OK;
    return open_scan(op, run);
}

err_t
run_save(struct run *run, const char *name, struct buf *state)
{
    struct op op = { .arena = run->arena };
    struct head head = { .stage = (uint8_t)run->plan.stage,
        .multikey = run->plan.multikey,
        .index_oid = run->plan.index_oid,
        .skip = run->skip,
        .left = run->left,
        .examined = run->examined,
        .returned = run->returned };

    head.sorted = run->sorter != NULL;
    head.done = run->scan_done || run->id_done;
    TRY_RETURN(buf_append(state, &head, sizeof head));
    if (run->sorter != NULL)
        return sorter_save(&op, run->sorter, name, state);
    TRY_RETURN(close_scan(run));
    return buf_append(state, run->position.data, run->position.size);
}

err_t
run_restore(struct op *op, const struct catalog_collection *collection,
    const struct run_query *query, const struct snapshot *snapshot, struct bytes state,
    struct run **run)
{
    struct plan_wish wish = { .forced = true };
    struct head head;
    struct run *made;
    struct bytes rest;
    char folder[4100];
    err_t err;

    if (state.size < sizeof head)
        return err_set(ERR_CORRUPT, "the state of a query is damaged");
    memcpy(&head, state.data, sizeof head);
    rest = (struct bytes){ state.data + sizeof head, state.size - sizeof head };
    wish.stage = (enum plan_stage)head.stage;
    wish.index_oid = head.index_oid;
    wish.multikey = head.multikey;
    TRY_RETURN(make(collection, snapshot, &made));
    /* An _id plan is made by itself; its one row is either out or not. */
    wish.forced = wish.stage != PLAN_ID;
    TRY(compile(op, made, query, &wish));
    made->skip = head.skip;
    made->left = head.left;
    made->examined = head.examined;
    made->returned = head.returned;
    made->id_done = made->scan_done = head.done;
    if (head.sorted) {
        TRY(folder_of(folder, sizeof folder));
        TRY(sorter_restore(folder, rest, &made->sorter));
    } else {
        TRY(buf_append(&made->position, rest.data, rest.size));
        TRY(open_scan(op, made));
    }
    *run = made;
    return OK;
out:
    run_end(made);
    return err;
}

void
run_forget(struct bytes state)
{
    struct head head;
    char folder[4100];

    if (state.size < sizeof head)
        return;
    memcpy(&head, state.data, sizeof head);
    if (head.sorted && folder_of(folder, sizeof folder) == OK)
        sorter_forget(folder, (struct bytes){ state.data + sizeof head, state.size - sizeof head });
}

static void
explain_bounds(struct bsonbuild *build, const struct plan *plan)
{
    bsonbuild_array_begin(build, "indexBounds");
    for (size_t i = 0; i < plan->range_count; i++) {
        const struct index_range *range = &plan->ranges[i];

        bsonbuild_document_begin(build, NULL);
        if (range->has_low)
            bsonbuild_binary(build, "from", BSONSUBTYPE_GENERIC, range->low);
        if (range->has_high)
            bsonbuild_binary(build, "below", BSONSUBTYPE_GENERIC, range->high);
        bsonbuild_document_end(build);
    }
    bsonbuild_array_end(build);
}

static void
explain_plan(struct bsonbuild *build, const struct run *run)
{
    const struct plan *plan = &run->plan;
    static const char *const name[] = {
        [PLAN_SCAN] = "COLLSCAN", [PLAN_ID] = "IDHACK", [PLAN_INDEX] = "IXSCAN"
    };
    int open = 0;

    bsonbuild_document_begin(build, "winningPlan");
    if (run->left >= 0) {
        bsonbuild_text(build, "stage", "LIMIT");
        bsonbuild_document_begin(build, "inputStage");
        open++;
    }
    if (run->projection != NULL) {
        bsonbuild_text(build, "stage", "PROJECTION_DEFAULT");
        bsonbuild_document_begin(build, "inputStage");
        open++;
    }
    if (run->sortkey != NULL) {
        bsonbuild_text(build, "stage", "SORT");
        bsonbuild_document_begin(build, "inputStage");
        open++;
    }
    if (plan->stage == PLAN_INDEX) {
        bsonbuild_text(build, "stage", "FETCH");
        bsonbuild_document_begin(build, "inputStage");
        open++;
    }
    bsonbuild_text(build, "stage", name[plan->stage]);
    if (plan->stage == PLAN_INDEX) {
        bsonbuild_document(build, "keyPattern", plan->key_pattern);
        bsonbuild_string(build, "indexName", plan->index_name);
        bsonbuild_bool(build, "isMultiKey", plan->multikey);
        explain_bounds(build, plan);
    }
    if (plan->stage != PLAN_ID)
        bsonbuild_text(build, "direction", plan->backward ? "backward" : "forward");
    while (open-- > 0)
        bsonbuild_document_end(build);
    bsonbuild_document_end(build);
}

err_t
run_explain(struct run *run, struct buf *document)
{
    const struct catalog_collection *collection = run->collection;
    struct bsonbuild build;
    char name[2 * CATALOG_NAME_MAX + 2] = "";

    if (collection != NULL)
        (void)snprintf(name, sizeof name, "%s.%s", collection->database, collection->name);
    bsonbuild_begin(&build, document);
    bsonbuild_document_begin(&build, "queryPlanner");
    bsonbuild_text(&build, "namespace", name);
    bsonbuild_document(&build, "parsedQuery",
        run->filter_bytes.size > 0 ? run->filter_bytes : bsonvalue_empty_document);
    explain_plan(&build, run);
    bsonbuild_array_begin(&build, "rejectedPlans");
    bsonbuild_array_end(&build);
    bsonbuild_document_end(&build);
    bsonbuild_document_begin(&build, "executionStats");
    bsonbuild_int64(&build, "nReturned", (int64_t)run->returned);
    bsonbuild_int64(&build, "totalDocsExamined", (int64_t)run->examined);
    bsonbuild_int64(
        &build, "spilledBytes", run->sorter != NULL ? (int64_t)sorter_spilled(run->sorter) : 0);
    bsonbuild_document_end(&build);
    return bsonbuild_end(&build, NULL);
}
