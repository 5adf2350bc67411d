/*
 * relaxed.h - JSON as people type it, made strict: keys without quotes, single quotes, trailing
 * commas.  $ref("coll","uuid") stays as it is.
 *
 * What is no JSON at all comes out as it went in, so that the parser's complaint fits.
 */
#ifndef TOOLS_RELAXED_H
#define TOOLS_RELAXED_H

#include "base/buf.h"
#include "base/err.h"

/* Append the strict form, on one line.  Errors: ERR_MEMORY. */
err_t relaxed_strict(struct buf *out, struct bytes text) MUST_CHECK;

/* Where the text is cut: the size of the part before the first `mark` that stands outside of
   strings and brackets; text.size if there is none. */
size_t relaxed_cut(struct bytes text, char mark);

/* Bytes of the string literal that begins the text (with its quotes), 0: none begins or ends. */
size_t relaxed_string_size(struct bytes text);

#endif
