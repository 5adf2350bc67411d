/*
 * sortkey.h - a sort's pattern, and a document's place in that order as bytes for memcmp.
 */
#ifndef BACKEND_QUERY_SORTKEY_H
#define BACKEND_QUERY_SORTKEY_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/doc/docpath.h"
#include "base/doc/indexkey.h"

#define SORTKEY_FIELDS_MAX INDEXKEY_FIELDS_MAX

struct sortkey {
    unsigned count;
    bool natural;              /* {$natural: 1}: as the documents stand */
    struct indexkey_spec spec; /* of an index that would give this order; its fields are `field` */
    struct indexkey_field field[SORTKEY_FIELDS_MAX];
};

/* *sortkey NULL: no order is wanted.  Errors: ERR_BAD_VALUE and MongoDB's codes. */
err_t sortkey_compile(
    struct arena *arena, struct bytes document, const struct sortkey **sortkey) MUST_CHECK;

/* Append the document's key.  Errors: 2 by err_set_mongo: two of the fields meet arrays side by
   side; ERR_CORRUPT, ERR_MEMORY. */
err_t sortkey_append(
    const struct sortkey *sortkey, struct bytes document, struct buf *key) MUST_CHECK;

#endif
