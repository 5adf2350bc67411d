/*
 * textuuid.h - UUIDs as text.
 *
 * Section 5.3 of the text protocol.  The 16 bytes are in network order, as BSON's binary
 * subtype 4 has them.  No locks, no allocation.
 */
#ifndef BASE_WIRE_TEXTUUID_H
#define BASE_WIRE_TEXTUUID_H

#include "base/buf.h"
#include "base/bytes.h"

#define TEXTUUID_SIZE 36 /* of the hyphenated text, without a NUL */

/* 8-4-4-4-12, 32 hex digits, {…}, urn:uuid:…; digits of any case.  False: not a UUID. */
bool textuuid_parse(struct bytes text, uint8_t uuid[16]);

/* After textuuid_parse said no: append "invalid UUID '<as typed>': <reason>". */
err_t textuuid_explain(struct buf *out, struct bytes text) MUST_CHECK;

/* Hyphenated and lower-case; writes exactly TEXTUUID_SIZE bytes, no NUL. */
void textuuid_print(const uint8_t uuid[16], char *room);

#endif
