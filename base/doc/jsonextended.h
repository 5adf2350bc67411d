/*
 * jsonextended.h - objects that stand for BSON types which JSON lacks.
 *
 * MongoDB Extended JSON v2, relaxed and canonical.  Works on the plain document that the
 * parser has built, so {"$oid": "…"} is a document with one string until it comes here.
 */
#ifndef BASE_DOC_JSONEXTENDED_H
#define BASE_DOC_JSONEXTENDED_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/doc/bsonvalue.h"

/* If the document is an extended value, append its payload to `payload` and set *type; else
   *type = BSONTYPE_EOO and nothing is appended.  Documents inside must have been converted
   before.  faithful: only if jsonprint (relaxed, sorted) gives back the same object.
   Errors: ERR_MEMORY. */
err_t jsonextended_convert(
    struct bytes document, bool faithful, struct buf *payload, uint8_t *type) MUST_CHECK;

/* If the document is a CRDT of the text protocol ({"$crdt":{"kind":…,"payload_b64":…}} with a
   known kind and valid base64), append it without any other members and set *is_crdt.
   Errors: ERR_MEMORY. */
err_t jsonextended_crdt(struct bytes document, struct buf *out, bool *is_crdt) MUST_CHECK;

/* Milliseconds of an ISO 8601 time as Extended JSON has it: 2026-11-20T20:12:19[.fff](Z|±hh[:]mm).
   False: not one. */
bool jsonextended_date(struct bytes text, int64_t *ms);

#endif
