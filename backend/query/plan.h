/*
 * plan.h - how a query's documents are found: by _id, by ranges of an index, or by reading all.
 *
 * A plan is only about candidates: the filter is checked on every document that it yields.  What an
 * index's ranges leave out is proven not to match; in doubt an index is not used.
 */
#ifndef BACKEND_QUERY_PLAN_H
#define BACKEND_QUERY_PLAN_H

#include "backend/query/filter.h"
#include "backend/query/sortkey.h"
#include "base/buf.h"
#include "storage/collection/collection.h"

enum plan_stage { PLAN_SCAN, PLAN_ID, PLAN_INDEX }; /* numbers stand in saved runs */

struct plan {
    enum plan_stage stage;
    bool sorted;   /* documents come in the wanted order */
    bool backward; /* INDEX */
    bool multikey; /* what the index was taken for */
    struct bytes id_key;
    uint64_t index_oid;
    struct index_range *ranges;
    size_t range_count;
    /* For explain: in the arena. */
    struct bytes index_name, key_pattern;
    unsigned bounded; /* fields of the index that are bounded */
    double cost;
};

struct plan_wish {
    const struct filter *filter;
    const struct sortkey *sortkey; /* NULL: none */
    struct bytes hint;
    uint64_t first; /* how many are wanted (skip and limit); 0: all */
    csn_t csn;      /* of the snapshot */
    /* A run that is taken up again: what it used. */
    bool forced;
    enum plan_stage stage;
    uint64_t index_oid;
    bool multikey;
};

/* All the plan points to is in the arena.  Errors: ERR_BAD_VALUE for a hint that names no index;
   with `forced` 175 (QueryPlanKilled) if the index is gone. */
err_t plan_make(struct op *op, struct arena *arena, const struct catalog_collection *collection,
    const struct plan_wish *wish, struct plan *plan) MUST_CHECK;

/* The index that the plan uses, in this copy of the catalog; NULL: gone. */
const struct catalog_index *plan_index(
    const struct plan *plan, const struct catalog_collection *collection);

#endif
