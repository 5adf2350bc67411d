/*
 * json_document.h - documents as the JSON-lines language has them (sections 3.1 to 3.6).
 *
 * Stored, such a document is {_id, _metadata, members in bytewise order}.  _metadata is
 * {created_at: date, size_bytes: int32, updated_at: date, version: int64}, kept by this language.
 * Errors: ERR_MEMORY, ERR_CORRUPT, and what is said.  No locks.
 */
#ifndef BACKEND_COMMAND_JSON_DOCUMENT_H
#define BACKEND_COMMAND_JSON_DOCUMENT_H

#include "base/arena.h"
#include "base/doc/bsonbuild.h"

/* A value with the members of all documents in it in bytewise order, under its own key. */
void json_document_put_sorted(struct bsonbuild *build, const struct bsonvalue *value);

/* size_bytes of the user's fields (3.4). */
uint64_t json_document_size(struct bytes document);

/* What is stored for a client's document: with an _id, made if need be; with _metadata if
   `metadata`, without the client's own.  Errors: ERR_INVALID_ID_FIELD. */
err_t json_document_insert(struct arena *arena, struct bytes document, bool metadata,
    int64_t now_ms, struct bytes *stored) MUST_CHECK;

/* What is stored after a change of `before` into `after`: in `out`, which is cleared first;
   `before` itself if no field differs.  A document that has no _metadata stays without.  */
err_t json_document_renew(struct buf *out, struct bytes before, struct bytes after, int64_t now_ms,
    struct bytes *stored) MUST_CHECK;

/* What is stored for a document that an upsert made, under `id`; NULL: a new one. */
err_t json_document_upsert(struct buf *out, struct bytes made, const struct bsonvalue *id,
    bool metadata, int64_t now_ms, struct bytes *stored) MUST_CHECK;

/* As one flat object of JSON. */
err_t json_document_print(struct buf *out, struct bytes document, bool metadata) MUST_CHECK;
/* A key as JSON: a UUID is shown as its text. */
err_t json_document_print_id(struct buf *out, const struct bsonvalue *id) MUST_CHECK;

/* Is it a text in the form in which UUIDs are shown? */
bool json_document_is_uuid(const struct bsonvalue *value, uint8_t uuid[16]);

#endif
