/*
 * jsonprint.h - BSON as JSON text.
 *
 * Types that JSON lacks are written as MongoDB Extended JSON v2.  Doubles have the shortest
 * digits that read back as the same double; U+2028 and U+2029 are escaped; everything else
 * that is not ASCII stays raw.  Appends to a buf.
 *
 * Errors: ERR_MEMORY (also the buf's limit), ERR_CORRUPT; the buf is then as before.
 * Recursion is bounded by BSONVALUE_DEPTH_MAX (ERR_OVERFLOW).  No locks.
 */
#ifndef BASE_DOC_JSONPRINT_H
#define BASE_DOC_JSONPRINT_H

#include "base/buf.h"
#include "base/doc/bsonvalue.h"

enum jsonprint_flags {
    JSONPRINT_RELAXED = 0,   /* members in their order, compact */
    JSONPRINT_SORTED = 1,    /* members in bytewise order at every level */
    JSONPRINT_CANONICAL = 2, /* canonical Extended JSON: every type can be told */
    JSONPRINT_PRETTY = 4,    /* lines, two spaces a level, a space behind the colon */
};

/* What the text and JSON protocols send. */
#define JSONPRINT_WIRE JSONPRINT_SORTED

err_t jsonprint_document(struct buf *out, struct bytes document, unsigned flags) MUST_CHECK;
err_t jsonprint_value(struct buf *out, const struct bsonvalue *value, unsigned flags) MUST_CHECK;

/* A string with its quotes, escaped.  Bytes that are not UTF-8 become U+FFFD. */
err_t jsonprint_string(struct buf *out, struct bytes text) MUST_CHECK;

/* A finite double in T-11.3's notation; `room` has JSONPRINT_DOUBLE_MAX bytes.  Returns the
   length; no NUL.  Not finite: "Infinity", "-Infinity", "NaN". */
#define JSONPRINT_DOUBLE_MAX 32
size_t jsonprint_double(double number, char *room);

/* A date as 2026-11-20T20:12:19.487Z, without the fraction if it is 0 ms.  Years 0000…9999.
   suffix is what stands for the zone ("Z", "+00:00").  Returns the length, 0: out of range. */
#define JSONPRINT_DATE_MAX 40
size_t jsonprint_date(int64_t ms, const char *suffix, char *room);

#endif
