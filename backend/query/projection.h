/*
 * projection.h - which fields of a document are wanted.
 *
 * Inclusion or exclusion of fields, dotted or nested, with MongoDB's rules for _id and arrays.
 * Compiled once into a tree by names; run over bytes, copying slices.  No locks.
 */
#ifndef BACKEND_QUERY_PROJECTION_H
#define BACKEND_QUERY_PROJECTION_H

#include "base/arena.h"
#include "base/buf.h"

struct projection;

/* *projection NULL: everything is wanted.  Errors: MongoDB's codes 31249 (collision), 31253 and
   31254 (mixed), 31250, ERR_BAD_VALUE for what is not supported. */
err_t projection_compile(
    struct arena *arena, struct bytes document, const struct projection **projection) MUST_CHECK;

/* Append what is wanted of the document to `out` (cleared first). */
err_t projection_apply(
    const struct projection *projection, struct bytes document, struct buf *out) MUST_CHECK;

#endif
