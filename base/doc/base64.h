/*
 * base64.h - RFC 4648 base64, padded.
 */
#ifndef BASE_DOC_BASE64_H
#define BASE_DOC_BASE64_H

#include <stdbool.h>

#include "base/buf.h"

/* Append the text of the bytes.  Errors: ERR_MEMORY. */
err_t base64_encode(struct buf *out, struct bytes data) MUST_CHECK;

/* Append the bytes of the text.  *valid false: not padded base64, nothing appended.
   Errors: ERR_MEMORY. */
err_t base64_decode(struct buf *out, struct bytes text, bool *valid) MUST_CHECK;

#endif
