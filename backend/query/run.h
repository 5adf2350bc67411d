/*
 * run.h - running a query: plan, scan, filter, sort, skip, limit, project.
 *
 * A run reads from one snapshot.  It can be saved to bytes between batches and taken up by another
 * process with the same query (a client's cursor may go on over another connection): a streaming
 * plan saves its scan's position, a sorted one the rest of its result (in memory, or in a temporary
 * file).
 */
#ifndef BACKEND_QUERY_RUN_H
#define BACKEND_QUERY_RUN_H

#include "backend/query/filter.h"
#include "storage/collection/collection.h"

struct run_query {
    struct bytes filter;     /* BSON; size 0: {} */
    struct bytes projection; /* BSON; size 0: all */
    struct bytes sort;       /* BSON; size 0: none */
    struct bytes hint;       /* BSON {"": name or key pattern}; size 0: none */
    int64_t skip;            /* ≥ 0 */
    int64_t limit;           /* 0: none */
};

struct run; /* malloced; has an arena of its own */

/* Within catalog_enter … leave.  `snapshot` is copied.  Errors: those of filters; ERR_BAD_VALUE for
   a hint that names no index; ERR_MEMORY. */
err_t run_begin(struct op *op, const struct catalog_collection *collection,
    const struct run_query *query, const struct snapshot *snapshot, struct run **run) MUST_CHECK;
/* The next document; valid until the next call. */
err_t run_next(struct op *op, struct run *run, struct bytes *document, struct row_id *root,
    bool *found) MUST_CHECK;
void run_end(struct run *run);

/* Between batches: nothing of the catalog's private copies is kept beyond catalog_leave; run_resume
 * gives the collection again. */
void run_pause(struct run *run);
err_t run_resume(
    struct op *op, struct run *run, const struct catalog_collection *collection) MUST_CHECK;
/* `name`: for the file of a sort (sorter.h), if it takes one. */
err_t run_save(struct run *run, const char *name, struct buf *state) MUST_CHECK;
err_t run_restore(struct op *op, const struct catalog_collection *collection,
    const struct run_query *query, const struct snapshot *snapshot, struct bytes state,
    struct run **run) MUST_CHECK;

/* A saved state that nobody will take up: what it keeps on disk is removed. */
void run_forget(struct bytes state);

/* Free what this thread keeps for its next run.  For threads that end before their process. */
void run_forget_private(void);

/* Memory of one sort before it spills (the setting work_mem); before anything runs. */
void run_configure(size_t memory);

/* What was chosen and why, as BSON, for explain; and how much was looked at. */
err_t run_explain(struct run *run, struct buf *document) MUST_CHECK;

#endif
