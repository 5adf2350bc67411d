/*
 * vacuum.c - giving back what dead versions take.
 *
 * One vacuum (or index build) of a heap at a time, by a claim in shared memory that dies with its
 * process.  The section is kept while it runs: an index that is made meanwhile waits for it
 * (catalog_quiesce), so no entry of a row that is freed is left in an index that this vacuum did
 * not know.
 *
 * IF A PROCESS DIES, heap_vacuum's steps are each whole, and the next vacuum goes on.
 */
#include "storage/collection/vacuum.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "shmem/interrupt.h"
#include "storage/collection/catalog_row.h"
#include "storage/collection/catalog_share.h"
#include "storage/collection/graveyard.h"
#include "storage/collection/nap.h"
#include "storage/collection/orphans.h"
#include "storage/collection/statistics.h"

#define CLAIM_WAIT_NS  2000000000
#define DEAD_LEAST     1000 /* fewer dead versions bring on no vacuum */
#define CATALOG_ROUNDS 12u  /* rounds of autovacuum between two of the catalog */
#define UNFINISHED     (-1) /* in the place of a share of dead documents: see to builds only */
#define ORPHANS_ROUNDS 60u  /* and between two searches for files that nobody owns */

/* Dead roots of one batch, in order of place. */
struct batch {
    const struct row_id *dead;
    size_t count;
};

struct forgetting {
    struct op *op;
    const struct index *const *index;
    unsigned count;
};

static int
compare_rows(const void *a, const void *b)
{
    const struct row_id *x = a, *y = b;

    if (x->block != y->block)
        return x->block < y->block ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

static bool
is_dead(void *context, struct row_id row)
{
    const struct batch *batch = context;

    return bsearch(&row, batch->dead, batch->count, sizeof row, compare_rows) != NULL;
}

static err_t
forget(void *context, const struct row_id *dead, size_t count)
{
    const struct forgetting *forgetting = context;
    struct batch batch = { dead, count };
    uint64_t removed;

    for (unsigned i = 0; i < forgetting->count; i++) {
        const struct index *index = forgetting->index[i];

        TRY_RETURN(
            index_methods(index->kind)->remove(forgetting->op, index, is_dead, &batch, &removed));
    }
    return OK;
}

/* The claim is taken. */
static err_t
vacuum_claimed(struct op *op, const struct catalog_collection *collection, uint64_t *live)
{
    const struct index *index[CATALOG_INDEXES_MAX];
    struct forgetting forgetting = { op, index, collection->index_count };
    struct heap_vacuum_result result;
    err_t err;

    for (unsigned i = 0; i < collection->index_count; i++)
        index[i] = &collection->index[i]->index;
    TRY(heap_vacuum(op, &collection->heap, forget, &forgetting, &result));
    statistics_flush();
    statistics_set(collection->oid, result.rows_live, 0);
    *live = result.rows_live;
out:
    catalog_share_claim_end();
    return err;
}

err_t
vacuum_collection(struct op *op, const struct catalog_collection *collection, uint64_t *live)
{
    int64_t until_ns = clock_now_ns() + CLAIM_WAIT_NS;

    /* Not for ever: an index build that has the claim waits for this section. */
    for (unsigned turn = 0; !catalog_share_claim(collection->heap.file); turn++) {
        if (clock_now_ns() > until_ns)
            return err_set(ERR_LOCK_TIMEOUT,
                "the collection is being vacuumed, or an index built on it: try again later");
        TRY_RETURN(nap(op, turn));
    }
    return vacuum_claimed(op, collection, live);
}

/* The catalog's own heap and tree. */
static err_t
vacuum_catalog(struct op *op)
{
    const struct index *index[] = { &catalog_row_index };
    struct forgetting forgetting = { op, index, 1 };
    struct heap_vacuum_result result;
    err_t err;

    if (!catalog_share_claim(catalog_row_heap.file))
        return OK;
    err = heap_vacuum(op, &catalog_row_heap, forget, &forgetting, &result);
    catalog_share_claim_end();
    return err;
}

static bool
calls_for_it(uint64_t oid, int64_t percent)
{
    struct statistics known = statistics_get(oid);

    return known.dead >= DEAD_LEAST && known.dead >= known.rows * percent / 100;
}

/* One collection, if it calls for it; found anew, for it may be gone. */
static err_t
look_at(struct op *op, const char *tenant, const char *database, const char *name, int64_t percent)
{
    const struct catalog_collection *collection;
    uint64_t live;
    err_t err;

    catalog_enter();
    TRY(catalog_find(op, NULL, tenant, database, name, &collection));
    if (collection != NULL && calls_for_it(collection->oid, percent) &&
        catalog_share_claim(collection->heap.file))
        TRY(vacuum_claimed(op, collection, &live));
out:
    catalog_leave();
    return err;
}

static err_t
look_at_database(struct op *op, const char *tenant, const char *database, int64_t percent)
{
    const char *const *names;
    size_t count;

    TRY_RETURN(catalog_list_collections(op, NULL, tenant, database, &names, &count));
    for (size_t i = 0; i < count; i++) {
        TRY_RETURN(interrupt_check(op));
        if (percent == UNFINISHED ? catalog_create_index_clear(op, tenant, database, names[i]) != OK
                                  : look_at(op, tenant, database, names[i], percent) != OK)
            log_warn("vacuum of '%s.%s': %s", database, names[i], err_message());
    }
    return OK;
}

static err_t
look_at_all(struct op *op, int64_t percent)
{
    const char *const *tenants, *const *databases;
    size_t tenant_count, database_count;

    TRY_RETURN(catalog_list_tenants(op, NULL, &tenants, &tenant_count));
    for (size_t i = 0; i < tenant_count; i++) {
        TRY_RETURN(catalog_list_databases(op, NULL, tenants[i], &databases, &database_count));
        for (size_t k = 0; k < database_count; k++)
            TRY_RETURN(look_at_database(op, tenants[i], databases[k], percent));
    }
    return OK;
}

err_t
vacuum_round(struct op *op, int64_t dead_percent)
{
    static _Thread_local unsigned round;

    graveyard_empty();
    if (++round % CATALOG_ROUNDS == 0)
        TRY_RETURN(vacuum_catalog(op));
    if (round % ORPHANS_ROUNDS == 0)
        TRY_RETURN(orphans_bury(op));
    return look_at_all(op, dead_percent);
}

err_t
vacuum_unfinished(struct op *op)
{
    return catalog_share_abandoned() ? look_at_all(op, UNFINISHED) : OK;
}
