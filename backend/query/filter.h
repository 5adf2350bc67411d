/*
 * filter.h - MongoDB's filters, compiled once, run over BSON bytes.
 */
#ifndef BACKEND_QUERY_FILTER_H
#define BACKEND_QUERY_FILTER_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

struct filter; /* in the arena it was compiled in */

/* Errors: ERR_BAD_VALUE and MongoDB's other codes and messages: unknown operators are errors. */
err_t filter_compile(
    struct arena *arena, struct bytes document, const struct filter **filter) MUST_CHECK;
err_t filter_match(const struct filter *filter, struct bytes document, bool *matches) MUST_CHECK;
bool filter_is_empty(const struct filter *filter);

/* If the filter is nothing but an equality on _id with a value that is neither regex nor array nor
   undefined: that value as a BSON document {"": value}; size 0 otherwise. */
struct bytes filter_only_id(const struct filter *filter);

#endif
