/*
 * bsonwalk.h - going through the fields of a BSON document without copying.
 *
 *     struct bsonwalk walk;
 *     struct bsonvalue value;
 *
 *     TRY(bsonwalk_begin(&walk, document));
 *     while (bsonwalk_next(&walk, &value))
 *         …;
 *     TRY(bsonwalk_end(&walk));
 *
 * A walk never reads outside the slice, whatever the bytes are; damage ends it and
 * bsonwalk_end says so (ERR_CORRUPT).  Bytes that come from a client are put through
 * bsonwalk_validate once; after that bsonwalk_end cannot fail.
 *
 * No locks; nothing is owned.  The bytes must stay where they are while values are used.
 */
#ifndef BASE_DOC_BSONWALK_H
#define BASE_DOC_BSONWALK_H

#include "base/bytes.h"
#include "base/doc/bsonvalue.h"
#include "base/err.h"

struct bsonwalk {
    const uint8_t *at;  /* the next element's type byte */
    const uint8_t *end; /* the document's terminating NUL */
    bool damaged;
};

/* Errors: ERR_CORRUPT where length or terminator are wrong. */
err_t bsonwalk_begin(struct bsonwalk *walk, struct bytes document) MUST_CHECK;

/* The payload's size for all types, or -1 if it does not fit before `end`. */
ptrdiff_t bsonwalk_payload_size(uint8_t type, const uint8_t *at, const uint8_t *end);

/* Sizes of payloads of fixed size, 0xff for all other types. */
extern const uint8_t bsonwalk_fixed_size[32];

/* Yield the next element.  False: no more, or damage; bsonwalk_end tells. */
static inline bool
bsonwalk_next(struct bsonwalk *walk, struct bsonvalue *value)
{
    const uint8_t *at = walk->at;
    size_t key_size;
    ptrdiff_t size;

    if (at >= walk->end)
        return false;
    value->type = at[0];
    key_size = strlen((const char *)at + 1); /* the document's last byte is a NUL */
    value->key = (struct bytes){ at + 1, key_size };
    at += key_size + 2;
    size = value->type < 32 ? bsonwalk_fixed_size[value->type] : 0xff;
    if (size == 0xff || size > walk->end - at)
        size = bsonwalk_payload_size(value->type, at, walk->end);
    if (size < 0) {
        walk->damaged = true;
        walk->at = walk->end;
        return false;
    }
    value->raw = (struct bytes){ at, (size_t)size };
    walk->at = at + size;
    return true;
}

/* After the last bsonwalk_next.  Errors: ERR_CORRUPT. */
err_t bsonwalk_end(const struct bsonwalk *walk) MUST_CHECK;

/* The first field of that name.  Errors: ERR_CORRUPT if damage is met before it. */
err_t bsonwalk_find(
    struct bytes document, struct bytes key, struct bsonvalue *value, bool *found) MUST_CHECK;

/* The same for trusted documents and literal names; damage counts as not found. */
bool bsonwalk_get(struct bytes document, const char *key, struct bsonvalue *value);

/* How many fields, at the top level.  Damage ends the count. */
size_t bsonwalk_count(struct bytes document);

struct bsonwalk_limits {
    size_t size_max;    /* bytes of the whole document */
    unsigned depth_max; /* levels, the document itself is 1; at most BSONVALUE_DEPTH_MAX */
};

/* Check everything: lengths at every level, terminators, UTF-8 of keys and texts, booleans,
   inner lengths; unknown types are refused, deprecated ones (undefined, dbpointer, symbol)
   are data.  limits NULL: BSONVALUE_INTERNAL_SIZE_MAX and BSONVALUE_MONGO_DEPTH_MAX.
   Errors: ERR_INVALID_BSON, ERR_TOO_LARGE, ERR_OVERFLOW (too deep); the message names the
   field and the byte. */
err_t bsonwalk_validate(struct bytes document, const struct bsonwalk_limits *limits) MUST_CHECK;

/* The position of the first byte that is not UTF-8 (overlong forms and surrogates are not),
   or text.size. */
size_t bsonwalk_utf8_valid_size(struct bytes text);

#endif
