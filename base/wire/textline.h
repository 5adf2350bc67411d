/*
 * textline.h - cutting a stream of bytes into lines.
 *
 * The text and the JSON listener share it.  The caller owns the input buffer and keeps in it
 * what was not consumed; the framer keeps only where it stands.  However the bytes arrive,
 * one at a time or all at once, the same lines and complaints come out in the same order.
 * No locks, no allocation, no errors.
 */
#ifndef BASE_WIRE_TEXTLINE_H
#define BASE_WIRE_TEXTLINE_H

#include "base/bytes.h"

#define TEXTLINE_LIMIT 1048576 /* default of limits.max_line_bytes */

struct textline {
    size_t limit;    /* bytes of a line with its terminator; at least 2 */
    size_t searched; /* bytes at the front of the input known to hold no newline */
    bool discarding; /* within a line that was too long, before its newline */
};

enum textline_result {
    TEXTLINE_MORE,     /* no whole line yet: consume, read more, come again */
    TEXTLINE_LINE,     /* *line is one line, without its terminator */
    TEXTLINE_TOO_LONG, /* said once for each line over the limit; the connection goes on */
    TEXTLINE_NOT_UTF8, /* close without an answer */
    TEXTLINE_END,      /* at_end, and everything has been yielded */
};

void textline_init(struct textline *framer, size_t limit);

/* Look for the next line at the front of `input`.  `at_end`: no bytes will follow, so that a
   last line without a newline counts.  Whatever the result, the caller then drops *consumed
   bytes from the front of the input (*line stays valid until the caller overwrites them).
   After TEXTLINE_MORE at most limit − 1 bytes are left over. */
enum textline_result textline_next(
    struct textline *framer, struct bytes input, bool at_end, struct bytes *line, size_t *consumed);

/* Is it well-formed UTF-8?  Fast where all is ASCII. */
bool textline_is_utf8(struct bytes text);

#endif
