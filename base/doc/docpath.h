/*
 * docpath.h - dotted paths: "a.b.0.c".
 *
 * A path is compiled once and walked over many documents.  Walking follows MongoDB: an
 * array on the way is entered (each element that is a document goes on with the rest of the
 * path), and a numeric part means both that position of an array and a field of that name.
 *
 * Compiled paths live in the arena they were compiled in and are read only.  No locks.
 */
#ifndef BASE_DOC_DOCPATH_H
#define BASE_DOC_DOCPATH_H

#include "base/arena.h"
#include "base/doc/bsonvalue.h"

#define DOCPATH_PARTS_MAX 200 /* MongoDB's limit */

struct docpath_part {
    struct bytes name;
    int64_t index; /* -1: not the number of an array's element */
};

struct docpath {
    struct bytes text; /* the whole path; NUL-terminated behind its end */
    uint32_t count;    /* of parts, at least 1 */
    struct docpath_part part[];
};

/* Compile; copies the text.  Empty parts are kept (they are names).
   Errors: ERR_OVERFLOW above DOCPATH_PARTS_MAX, ERR_BAD_VALUE for a NUL in it, ERR_MEMORY. */
err_t docpath_compile(
    struct arena *arena, struct bytes text, const struct docpath **path) MUST_CHECK;

enum docpath_flags {
    DOCPATH_DEFAULT = 0,
    DOCPATH_EXPAND_LEAF = 1,  /* an array at the end: its elements first, then itself */
    DOCPATH_OBJECTS_ONLY = 2, /* an array on the way yields nothing (the text protocol's indexes) */
};

struct docpath_hit {
    const struct bsonvalue *value; /* NULL: the path leads nowhere here (missing) */
    int64_t array_index; /* position in the first array that was entered implicitly; -1: none */
    bool element;        /* the value is an element of an expanded leaf array */
};

/* Called for each value; true: stop. */
typedef bool docpath_visit(void *context, const struct docpath_hit *hit);

/* Give every value that the path reaches, in document order, and a hit without value where it
   leads nowhere (as MongoDB: a document or a scalar on the way that lacks the rest; array
   elements that are no documents are silent).  *stopped (may be NULL): a visit said stop.
   Errors: ERR_CORRUPT. */
err_t docpath_walk(const struct docpath *path, struct bytes document, unsigned flags,
    docpath_visit *visit, void *context, bool *stopped) MUST_CHECK;

/* The one value reached through documents only.  Arrays on the way: not found.
   Errors: ERR_CORRUPT. */
err_t docpath_get(const struct docpath *path, struct bytes document, struct bsonvalue *value,
    bool *found) MUST_CHECK;

/* The value by which a sort looks at the document: of all values reached (leaf arrays
   expanded) the least, or for a descending sort the greatest.  Nothing reached: null; an
   empty array: undefined.  *missing (may be NULL): nothing was there. */
err_t docpath_sort_value(const struct docpath *path, struct bytes document, bool descending,
    struct bsonvalue *value, bool *missing) MUST_CHECK;

#endif
