/*
 * toml.h - a reader for TOML 1.0.
 *
 * The whole document becomes a tree in an arena of the caller.  Dates and times are
 * checked for their shape and kept as text.  Limits: TOML_SIZE_MAX bytes, TOML_DEPTH_MAX
 * levels, TOML_NODES_MAX keys and values; what is beyond is an error, as is everything
 * that is not TOML: no input makes it crash, hang or take memory without bound.
 */
#ifndef BASE_TOML_H
#define BASE_TOML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

#define TOML_SIZE_MAX  ((size_t)1 << 20)
#define TOML_DEPTH_MAX 32
#define TOML_NODES_MAX 10000

enum toml_type {
    TOML_STRING,
    TOML_INTEGER,
    TOML_FLOAT,
    TOML_BOOL,
    TOML_DATETIME, /* `text` as written */
    TOML_ARRAY,
    TOML_TABLE,
};

struct toml {
    enum toml_type type;
    int line;         /* where the key or value stands, from 1 */
    struct bytes key; /* unescaped UTF-8; empty for an array's elements and the root */
    union {
        struct bytes text; /* NUL-terminated behind its size; may hold NULs */
        int64_t integer;
        double number;
        bool boolean;
    };
    struct toml *first, *last; /* what an array or table holds, in order */
    struct toml *next;         /* the next of the same array or table */
    uint32_t hash;             /* of the key; for toml.c */
    uint32_t state;            /* how a table came to be; for toml.c */
};

/* Parse; `name` is for messages.  The tree and its texts live in `arena`.
   Errors: ERR_CONFIG "<name>:<line>: <why>", ERR_MEMORY. */
err_t toml_parse(
    struct arena *arena, const char *name, struct bytes text, struct toml **root) MUST_CHECK;

/* The member of a table; NULL: there is none. */
const struct toml *toml_get(const struct toml *table, const char *key);

/* "a string", "an integer" … for messages. */
const char *toml_type_name(enum toml_type type);

#endif
