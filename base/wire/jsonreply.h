/*
 * jsonreply.h - replies of the JSON-lines protocol: one line, always five members in order.
 *
 * Errors: ERR_MEMORY (also the buf's limit), what jsonprint says; the buf is then as before,
 * except between begin and end, where the caller sets out->size back to where it was.
 * No locks.
 */
#ifndef BASE_WIRE_JSONREPLY_H
#define BASE_WIRE_JSONREPLY_H

#include "base/buf.h"

#define JSONREPLY_NO_TIME UINT64_MAX /* execution_time_us null */

/* `data` as a BSON document, printed with sorted members. */
err_t jsonreply_document(
    struct buf *out, struct bytes request_id, struct bytes document, uint64_t time_us) MUST_CHECK;

/* `data` as JSON text that is written as it is. */
err_t jsonreply_text(
    struct buf *out, struct bytes request_id, struct bytes json, uint64_t time_us) MUST_CHECK;

/* A failure.  `text` is escaped; what is not UTF-8 in it becomes U+FFFD. */
err_t jsonreply_error(
    struct buf *out, struct bytes request_id, struct bytes text, uint64_t time_us) MUST_CHECK;

/* The caller appends the JSON of `data` between these two. */
err_t jsonreply_begin(struct buf *out, struct bytes request_id) MUST_CHECK;
err_t jsonreply_end(struct buf *out, uint64_t time_us) MUST_CHECK;

#endif
