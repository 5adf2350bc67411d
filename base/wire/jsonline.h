/*
 * jsonline.h - requests of the JSON-lines protocol.
 *
 * Framing is textline's, with blank lines left out and white space trimmed.  A request is
 * decoded into BSON once; its members' presence and JSON kinds are checked against
 * base/lists/jsonverbs.def, so that a verb finds what it needs in the type it expects.
 * No locks.
 */
#ifndef BASE_WIRE_JSONLINE_H
#define BASE_WIRE_JSONLINE_H

#include "base/buf.h"
#include "base/doc/bsonvalue.h"
#include "base/wire/textline.h"

#define JSONLINE_LIMIT 48000000 /* default of json.max_request_bytes */

enum jsonline_verb {
#define JSONVERB(id, type, ...) id,
#include "base/lists/jsonverbs.def"
#undef JSONVERB
    JSONLINE_VERB_COUNT
};

struct jsonline_request {
    enum jsonline_verb verb;
    struct bytes request_id; /* UTF-8 text, may be empty */
    bool has_auth_token;
    struct bytes auth_token;
    struct bytes command; /* BSON document, with its member `type` */
};

/* As textline_next; blank lines are passed over in silence. */
enum textline_result jsonline_next(
    struct textline *framer, struct bytes input, bool at_end, struct bytes *line, size_t *consumed);

/* Decode a line.  `scratch` is cleared and then holds what *request points into, until it is
   changed.  *refused: the line is no request; `scratch` then holds the text of the error to
   answer ("Parse error: … at line 1 column N"), with request_id "unknown" and no time.
   Errors: ERR_MEMORY (also scratch's limit). */
err_t jsonline_decode(struct buf *scratch, struct bytes line, struct jsonline_request *request,
    bool *refused) MUST_CHECK;

/* The text for TEXTLINE_TOO_LONG. */
err_t jsonline_too_long(struct buf *scratch, size_t limit) MUST_CHECK;

const char *jsonline_type(enum jsonline_verb verb); /* the member `type` */

/* Find the verb of a `type`; also for the commands inside `explain`. */
bool jsonline_verb(struct bytes type, enum jsonline_verb *verb);

#endif
