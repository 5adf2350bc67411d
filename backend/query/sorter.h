/*
 * sorter.h - documents put in the order of their keys, in memory or in a temporary file.
 *
 * Rows go in with a key, then come out by memcmp of the keys, equal ones as they came.  With a
 * limit only the first ones are kept (a heap).  Beyond `memory` bytes sorted runs are written to a
 * file in <data>/tmp that has no name any more, and merged.  What is left can be saved to bytes: a
 * little of it in the bytes themselves, more in a named file, which whoever takes it up removes.
 *
 * It belongs to one process.  Errors: ERR_MEMORY, ERR_DISK_FULL, ERR_IO, ERR_CORRUPT.
 */
#ifndef BACKEND_QUERY_SORTER_H
#define BACKEND_QUERY_SORTER_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/op.h"
#include "base/types.h"

#define SORTER_NAME_SIZE 32 /* of a file's name, NUL included */

struct sorter;

/* limit 0: all.  `folder` is where temporary files go; copied. */
err_t sorter_create(
    const char *folder, uint64_t limit, size_t memory, struct sorter **sorter) MUST_CHECK;
void sorter_destroy(struct sorter *sorter); /* NULL: nothing */

err_t sorter_add(struct op *op, struct sorter *sorter, struct bytes key, struct bytes document,
    struct row_id root) MUST_CHECK;
err_t sorter_finish(struct op *op, struct sorter *sorter) MUST_CHECK;
/* Valid until the next call. */
err_t sorter_next(struct op *op, struct sorter *sorter, struct bytes *document, struct row_id *root,
    bool *found) MUST_CHECK;

/* What is left, as bytes; afterwards the sorter can only be destroyed.  If it takes a file, its
   name is `name`, shorter than SORTER_NAME_SIZE; one of a restored sorter keeps the name that it
   has. */
err_t sorter_save(
    struct op *op, struct sorter *sorter, const char *name, struct buf *state) MUST_CHECK;
err_t sorter_restore(const char *folder, struct bytes state, struct sorter **sorter) MUST_CHECK;
/* Give up a saved state: its file is removed. */
void sorter_forget(const char *folder, struct bytes state);

/* Bytes written to temporary files. */
uint64_t sorter_spilled(const struct sorter *sorter);

#endif
