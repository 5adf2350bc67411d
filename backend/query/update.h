/*
 * update.h - MongoDB's updates: replacement documents and operators, compiled once, run over BSON
 * bytes.
 */
#ifndef BACKEND_QUERY_UPDATE_H
#define BACKEND_QUERY_UPDATE_H

#include "backend/query/filter.h"
#include "base/buf.h"
#include "base/op.h"

struct update;

enum update_rule {
    UPDATE_BY_SHAPE,  /* operators if the first key begins with $, else a replacement (mongo) */
    UPDATE_REPLACE,   /* a replacement, whatever keys it has */
    UPDATE_OPERATORS, /* operators only */
};
err_t update_compile(struct arena *arena, struct bytes document, enum update_rule rule,
    const struct update **update) MUST_CHECK;
bool update_is_replacement(const struct update *update);
/* The document after the update, appended to `out` (which is cleared first); _id stays first.
   *changed: differs from before. Errors: MongoDB's, ERR_IMMUTABLE_FIELD for a changed _id,
   ERR_TOO_LARGE. */
err_t update_apply(const struct update *update, struct op *op, struct bytes document,
    struct buf *out, bool *changed) MUST_CHECK;
/* The document that an upsert inserts: equalities of the filter, then the update; with an _id, made
 * if need be. */
err_t update_upsert(
    const struct update *update, struct op *op, struct bytes filter, struct buf *out) MUST_CHECK;

#endif
