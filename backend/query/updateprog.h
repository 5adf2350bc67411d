/*
 * updateprog.h - the form of a compiled update, for the room's own use.
 *
 * Operators become a tree by path: a node has a name, and either children (sorted as MongoDB sorts
 * them: numbers by value, else bytewise) or one operator.  It is made once, in an arena, and is not
 * changed by applying it.
 */
#ifndef BACKEND_QUERY_UPDATEPROG_H
#define BACKEND_QUERY_UPDATEPROG_H

#include "backend/query/filter.h"
#include "backend/query/update.h"
#include "base/buf.h"
#include "base/doc/bsonvalue.h"
#include "base/doc/docpath.h"

enum updateprog_op {
    UPDATEPROG_INNER,
    UPDATEPROG_SET,
    UPDATEPROG_SET_ON_INSERT,
    UPDATEPROG_UNSET,
    UPDATEPROG_INC,
    UPDATEPROG_MUL,
    UPDATEPROG_MIN,
    UPDATEPROG_MAX,
    UPDATEPROG_RENAME_FROM, /* taken away */
    UPDATEPROG_RENAME_TO,   /* `from` says whence */
    UPDATEPROG_PUSH,
    UPDATEPROG_ADD_TO_SET,
    UPDATEPROG_PULL,
    UPDATEPROG_PULL_ALL,
    UPDATEPROG_POP,
    UPDATEPROG_CURRENT_DATE,
    UPDATEPROG_BIT,
};

struct updateprog_push {
    struct bytes each; /* an array */
    struct bytes sort; /* a pattern; size 0: none */
    int64_t position, slice;
    bool has_position, has_slice, by_value, descending;
};

struct updateprog_node {
    struct bytes name, path; /* path: the whole one, for messages */
    int64_t index;           /* of an array's element; -1: no number */
    struct updateprog_node *child, *next;
    enum updateprog_op op;
    bool all;               /* the name is $[]: every element */
    struct bsonvalue value; /* the operand */
    const struct updateprog_push *push;
    const struct filter *filter; /* PULL: the condition; NULL: equality with `value` */
    bool filter_documents;       /* … on elements as documents, else on them as fields */
    const struct docpath *from;
};

struct update {
    bool replacement, sets_id;
    struct bytes document; /* REPLACE: the new document */
    struct updateprog_node root;
};

/* One application. */
struct updateprog_apply {
    struct op *op;
    struct buf *out;
    struct bytes document; /* before */
    bool insert;
};

err_t update_put(struct buf *out, struct bytes key, const struct bsonvalue *value) MUST_CHECK;
/* Write an element's head, and later the end of the document that it opened at *at. */
err_t update_open(struct buf *out, struct bytes key, uint8_t type, size_t *at) MUST_CHECK;
err_t update_close(struct buf *out, size_t at) MUST_CHECK;

/* The operators of arrays (updatearray.c): `old` NULL: missing. */
err_t updatearray_apply(struct updateprog_apply *apply, const struct updateprog_node *node,
    struct bytes key, const struct bsonvalue *old) MUST_CHECK;

/* Does the operator make a field that is not there? */
bool update_creates(const struct updateprog_apply *apply, const struct updateprog_node *node);

/* What update_compile does. */
err_t updateparse_document(struct arena *arena, struct bytes document, enum update_rule rule,
    const struct update **update) MUST_CHECK;

/* Put equalities of a filter into the tree as $set. */
err_t updateparse_set(struct arena *arena, struct update *update, struct bytes path,
    const struct bsonvalue *value) MUST_CHECK;

/* {_id: …} of the document as text for messages, in op's arena; never NULL. */
const char *update_id_text(struct op *op, struct bytes document);
const char *update_value_text(struct op *op, struct bytes name, const struct bsonvalue *value);

#endif
