/*
 * shellprint.h - documents and help as the shell prints them: two spaces, keys sorted, _id first.
 *
 * On stdout.  `scratch` is cleared and used.  Errors: ERR_MEMORY; ERR_FAILED_TO_PARSE where a
 * server sent what is no JSON.
 */
#ifndef TOOLS_SHELLPRINT_H
#define TOOLS_SHELLPRINT_H

#include "base/buf.h"
#include "base/err.h"

/* A document under its id, and a line's end. */
err_t shellprint_document(struct buf *scratch, struct bytes id, struct bytes json) MUST_CHECK;
/* "<uuid> <json>": by itself with a line's end, and as an element of an array. */
err_t shellprint_only_row(struct buf *scratch, struct bytes row) MUST_CHECK;
err_t shellprint_row(struct buf *scratch, struct bytes row) MUST_CHECK;
/* Any JSON, and a line's end. */
err_t shellprint_value(struct buf *scratch, struct bytes json) MUST_CHECK;

/* Of one topic, or (empty) all.  False: there is none, and it was said. */
bool shellprint_help(struct bytes topic);

#endif
