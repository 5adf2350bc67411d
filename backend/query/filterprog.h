/*
 * filterprog.h - the form of a compiled filter, for the room's own use (matching, planning).
 *
 * A program is an array of nodes in prefix order: a node's subtree is [itself, end), its first
 * child stands behind it, the next child at the child's `end`.  Node 0 is an AND.  Everything is in
 * one arena and is not changed once it is made, except for regexes' memory of their slot.
 */
#ifndef BACKEND_QUERY_FILTERPROG_H
#define BACKEND_QUERY_FILTERPROG_H

#include "backend/query/filter.h"
#include "backend/query/regexcache.h"
#include "base/doc/bsonvalue.h"
#include "base/doc/docpath.h"

enum filterprog_op {
    FILTERPROG_FALSE,
    FILTERPROG_AND, /* of none: true */
    FILTERPROG_OR,
    FILTERPROG_NOR,
    FILTERPROG_NOT, /* one child */
    /* Leaves: `path` is set, except inside FILTERPROG_ELEM_VALUE. */
    FILTERPROG_EQ,
    FILTERPROG_LT,
    FILTERPROG_LTE,
    FILTERPROG_GT,
    FILTERPROG_GTE,
    FILTERPROG_IN,
    FILTERPROG_REGEX,
    FILTERPROG_MOD,
    FILTERPROG_EXISTS,
    FILTERPROG_TYPE,
    FILTERPROG_SIZE,
    FILTERPROG_BITS,
    FILTERPROG_ELEM_OBJECT, /* children: an AND, run on elements as documents */
    FILTERPROG_ELEM_VALUE,  /* children: an AND, run on elements as values */
};

struct filterprog_node {
    uint8_t op;
    bool expand;   /* elements of an array at the path are looked at, too */
    bool has_null; /* IN: null (or undefined) is in the list */
    uint32_t end;
    const struct docpath *path;
    struct bsonvalue value;          /* comparisons; REGEX: the value for equality with a regex */
    const struct bsonvalue *values;  /* IN: sorted by bsonorder */
    struct regexcache_ref **regexes; /* IN */
    struct regexcache_ref *regex;
    const uint32_t *bits; /* BITS: positions; `number` is the test */
    uint32_t value_count, regex_count, bit_count;
    int64_t divisor, number; /* MOD: value % divisor == number; SIZE: number */
    uint64_t types;          /* TYPE: bits of filterprog_type_bit */
};

struct filter {
    const struct filterprog_node *node;
    uint32_t count;
    struct bytes only_id; /* filter_only_id */
};

static inline uint64_t
filterprog_type_bit(uint8_t type)
{
    if (type < 32)
        return UINT64_C(1) << type;
    return type == BSONTYPE_MAXKEY ? UINT64_C(1) << 40 : UINT64_C(1) << 41;
}

/* Is the filter a list of operators ({$gt: 1}), to be looked at as a value's condition? */
bool filterparse_is_operators(struct bytes document);

/* What filter_compile does. */
err_t filterparse_document(
    struct arena *arena, struct bytes document, const struct filter **filter) MUST_CHECK;

/* Compile {$gt: 1, …} as a condition on values; root is an ELEM_VALUE's AND. */
err_t filterparse_condition(
    struct arena *arena, struct bytes operators, const struct filter **filter) MUST_CHECK;

/* Run such a condition on one value; an array's elements are looked at as well (as if it were a
   field). */
err_t filter_match_value(
    const struct filter *filter, const struct bsonvalue *value, bool *matches) MUST_CHECK;

#endif
