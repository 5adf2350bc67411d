/*
 * text_value.h - what the text protocol calls a document, and how it is kept.
 *
 * A client sees any JSON value under a UUID.  Kept is a document whose _id is that UUID: as binary
 * of subtype 4, or (documents of the JSON listener) as its canonical text.  An object's members
 * follow _id; any other value stands under "$value".  So that this stays unambiguous, a member of
 * the top level named _id, $_id, $value, $$_id … is kept with one more $ in front.  No locks.
 */
#ifndef BACKEND_COMMAND_TEXT_VALUE_H
#define BACKEND_COMMAND_TEXT_VALUE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/doc/bsonvalue.h"
#include "base/wire/textuuid.h"

enum text_value_key {
    TEXT_VALUE_BINARY, /* _id is binary, subtype 4 */
    TEXT_VALUE_STRING, /* _id is the text of a UUID, lower-case with hyphens */
};

/* The _id of a document with this key, as a value; `room` keeps its bytes. */
#define TEXT_VALUE_ID_ROOM 48
struct bsonvalue text_value_id(
    const uint8_t uuid[16], enum text_value_key key, uint8_t room[TEXT_VALUE_ID_ROOM]);

/* The document to be kept, in `out` (which is cleared first) or in the arena.  Errors:
   ERR_FAILED_TO_PARSE "<reason> at line 1 column <c>"; ERR_TOO_LARGE "document too large: …". */
err_t text_value_parse(struct buf *out, struct arena *arena, const uint8_t uuid[16],
    enum text_value_key key, struct bytes json, struct bytes *document) MUST_CHECK;

/* The key of a kept document.  False: its _id is no UUID, so that this protocol does not see it. */
bool text_value_key(struct bytes document, uint8_t uuid[16], enum text_value_key *key);

/* Append the JSON of a kept document.  Changes the document's bytes.  Errors: ERR_MEMORY,
   ERR_CORRUPT. */
err_t text_value_print(
    struct buf *out, struct arena *arena, uint8_t *document, size_t size) MUST_CHECK;

/* The path of an index as it is kept: its first name with one more $ if need be.  In the arena. */
err_t text_value_path(struct arena *arena, struct bytes path, struct bytes *kept) MUST_CHECK;

#endif
