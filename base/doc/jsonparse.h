/*
 * jsonparse.h - JSON into BSON, strictly by RFC 8259, with exact reasons and positions.
 *
 * The reasons are those of the text protocol's section 5.4 ("expected value", "trailing
 * comma", …).  Doubles are correctly rounded whatever the locale.  Of members with one name
 * the first place and the last value count.  Work is O(n log n) for any input, recursion is
 * bounded by depth_max.  No locks.
 */
#ifndef BASE_DOC_JSONPARSE_H
#define BASE_DOC_JSONPARSE_H

#include "base/buf.h"
#include "base/doc/bsonvalue.h"
#include "base/doc/jsonplace.h"

enum jsonparse_numbers {
    JSONPARSE_INT64, /* whole numbers are int64, else double (text protocol) */
    JSONPARSE_INT32, /* int32 if it fits, else int64, else double (JSON lines, import, shell) */
};

enum jsonparse_extended {
    JSONPARSE_PLAIN,    /* no extended JSON: all objects are plain */
    JSONPARSE_EXTENDED, /* Extended JSON v2, relaxed and canonical */
    JSONPARSE_FAITHFUL, /* only what jsonprint (relaxed, sorted) gives back as the same object */
};

struct jsonparse_options {
    enum jsonparse_numbers numbers;
    enum jsonparse_extended extended;
    unsigned depth_max; /* levels; 0: JSONPARSE_DEPTH_MAX */
    size_t size_max;    /* bytes of BSON; 0: BSONVALUE_INTERNAL_SIZE_MAX */
    bool prefix;        /* one value may be followed by anything; see `used` */
    bool references;    /* $ref("coll","uuid") is a value, and CRDT objects are put in form */
};

#define JSONPARSE_DEPTH_MAX 127

extern const struct jsonparse_options jsonparse_text;   /* the text protocol */
extern const struct jsonparse_options jsonparse_lines;  /* JSON lines */
extern const struct jsonparse_options jsonparse_import; /* import and shell: extended */

struct jsonparse_result {
    struct bsonvalue value; /* in `out`, valid until it is changed; key is empty */
    size_t used;            /* bytes read; with `prefix`: up to the value's end, no white space */
    bool duplicate;         /* some object named a member twice */
    const char *reason;     /* after an error: why, static text */
    size_t position;        /* 1-based byte that cannot be accepted, or bytes read at the end */
    size_t line, column;    /* the same with lines counted, both from 1 */
};

/* Read one value; its BSON payload is appended to `out` (a document or array: complete).
   Errors: ERR_FAILED_TO_PARSE, message "<reason> at line 1 column <position>" (the protocols'
   form; importers use line and column); ERR_TOO_LARGE "document too large: <n> bytes (max …)"
   (n: what had been read); ERR_MEMORY.  After an error `out` is as before. */
err_t jsonparse_value(struct buf *out, struct bytes text, const struct jsonparse_options *options,
    struct jsonparse_result *result) MUST_CHECK;

/* The same where only an object will do: ERR_FAILED_TO_PARSE "expected an object" otherwise. */
err_t jsonparse_document(struct buf *out, struct bytes text,
    const struct jsonparse_options *options, struct bytes *document) MUST_CHECK;

/* jsonplace_find, for those who read: where in a valid text the member path[0].path[1]… has its
   value (see jsonplace.h).  Slow; for errors only. */
struct jsonparse_place jsonparse_locate(struct bytes text, const char *const *path, unsigned parts);

#endif
