/*
 * sortkey.h - a sort's pattern, and a document's place in that order as bytes for memcmp.
 */
#ifndef BACKEND_QUERY_SORTKEY_H
#define BACKEND_QUERY_SORTKEY_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/doc/docpath.h"

#define SORTKEY_FIELDS_MAX 32

struct sortkey_field {
    const struct docpath *path;
    bool descending;
};
struct sortkey {
    unsigned count;
    bool natural; /* {$natural: 1}: as the documents stand */
    struct sortkey_field field[SORTKEY_FIELDS_MAX];
};

/* *sortkey NULL: no order is wanted.  Errors: ERR_BAD_VALUE and MongoDB's codes. */
err_t sortkey_compile(
    struct arena *arena, struct bytes document, const struct sortkey **sortkey) MUST_CHECK;

/* Append the document's key. */
err_t sortkey_append(
    const struct sortkey *sortkey, struct bytes document, struct buf *key) MUST_CHECK;

#endif
