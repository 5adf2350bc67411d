/*
 * textreply.h - the replies of the text protocol, appended to an output buffer.
 *
 * Nothing that a client or a document supplied can break a line: in simple and error texts
 * control characters, U+0085, U+2028 and U+2029 become '?', and an error that is no forward
 * never looks like one (section 2.3 of the protocol).  Bulks are written as they are: JSON
 * from jsonprint holds neither CR nor LF.
 *
 * Errors: ERR_MEMORY (also the buf's limit); the buf is then as before.  No locks.
 */
#ifndef BASE_WIRE_TEXTREPLY_H
#define BASE_WIRE_TEXTREPLY_H

#include "base/buf.h"
#include "base/wire/textcmd.h"

#define TEXTREPLY_BANNER "+GRUMPYDB 4.0.0\r\n"

err_t textreply_simple(struct buf *out, const char *text) MUST_CHECK;
err_t textreply_simple_bytes(struct buf *out, struct bytes text) MUST_CHECK;
err_t textreply_integer(struct buf *out, int64_t number) MUST_CHECK;
err_t textreply_null(struct buf *out) MUST_CHECK;
err_t textreply_array(struct buf *out, uint64_t count) MUST_CHECK; /* then `count` bulks */

/* "-ERR <text>\r\n"; the text without the prefix. */
err_t textreply_error(struct buf *out, struct bytes text) MUST_CHECK;
err_t textreply_error_text(struct buf *out, const char *text) MUST_CHECK;
err_t textreply_refusal(struct buf *out, const struct textcmd_refusal *refusal) MUST_CHECK;

/* The one error that drivers shall follow: "forward to <node>@<addr>; …", not disarmed. */
err_t textreply_forward(struct buf *out, struct bytes text) MUST_CHECK;

err_t textreply_bulk(struct buf *out, struct bytes body) MUST_CHECK;

/* An element of a document array: the key as UUID text, a space, the JSON. */
err_t textreply_document(struct buf *out, const uint8_t uuid[16], struct bytes json) MUST_CHECK;

/* A bulk whose body is written straight into `out` between begin and end.  The header gets the
   width of `size_guess` bytes; if the body turns out otherwise it is moved by a byte or so.
   To give up, set out->size = bulk.start. */
struct textreply_bulk {
    size_t start; /* of the header */
    size_t body;  /* where the body begins */
};
err_t textreply_bulk_begin(
    struct buf *out, size_t size_guess, struct textreply_bulk *bulk) MUST_CHECK;
err_t textreply_bulk_end(struct buf *out, const struct textreply_bulk *bulk) MUST_CHECK;

#endif
