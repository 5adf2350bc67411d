/*
 * docstream.h - documents out of a file of JSON: one array of them, or one behind the other (a
 * line each, or over several lines).
 *
 * Cuts only: what a document holds is for the parser to say.  Memory is bounded by the largest
 * document.  One thread, no locks.
 */
#ifndef TOOLS_DOCSTREAM_H
#define TOOLS_DOCSTREAM_H

#include "base/buf.h"
#include "base/err.h"

#define DOCSTREAM_TEXT_MAX ((size_t)64 << 20) /* bytes of one document's text */

struct docstream {
    int fd;
    const char *name; /* for messages */
    struct buf text;
    size_t at;       /* next byte not given out */
    uint64_t offset; /* bytes of the file before text.data[at] … */
    uint64_t line;   /* … and its line, from 1 */
    bool at_end;     /* all of the file is in `text` */
    bool begun, array, first, over;
};

/* "-": standard input.  After OK docstream_close must follow. */
err_t docstream_open(struct docstream *stream, const char *path) MUST_CHECK;
void docstream_close(struct docstream *stream);

/* The next value's text and the line it begins at; valid until the next call.  *found false: that
   was all.  Errors: ERR_FAILED_TO_PARSE naming file and line: not a list of values; ERR_TOO_LARGE;
   ERR_IO. */
err_t docstream_next(
    struct docstream *stream, struct bytes *text, uint64_t *line, bool *found) MUST_CHECK;

#endif
