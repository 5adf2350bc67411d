/*
 * bsonvalue.h - one BSON value, as a slice of the document that holds it.
 *
 * A value owns nothing: key and raw point into bytes that somebody else keeps (a pinned
 * page, the request's arena).  bsonwalk makes values; it has checked that the payload is
 * complete for its type, so the accessors below check nothing and never read outside it,
 * even in bytes that were not validated.
 *
 * Units: dates are milliseconds since 1970-01-01 UTC.  No locks, no errors.
 */
#ifndef BASE_DOC_BSONVALUE_H
#define BASE_DOC_BSONVALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"

enum bsontype {
    BSONTYPE_EOO = 0x00, /* no value; never inside a document */
    BSONTYPE_DOUBLE = 0x01,
    BSONTYPE_STRING = 0x02,
    BSONTYPE_DOCUMENT = 0x03,
    BSONTYPE_ARRAY = 0x04,
    BSONTYPE_BINARY = 0x05,
    BSONTYPE_UNDEFINED = 0x06,
    BSONTYPE_OBJECTID = 0x07,
    BSONTYPE_BOOL = 0x08,
    BSONTYPE_DATE = 0x09,
    BSONTYPE_NULL = 0x0a,
    BSONTYPE_REGEX = 0x0b,
    BSONTYPE_DBPOINTER = 0x0c,
    BSONTYPE_CODE = 0x0d,
    BSONTYPE_SYMBOL = 0x0e,
    BSONTYPE_CODE_W_SCOPE = 0x0f,
    BSONTYPE_INT32 = 0x10,
    BSONTYPE_TIMESTAMP = 0x11,
    BSONTYPE_INT64 = 0x12,
    BSONTYPE_DECIMAL128 = 0x13,
    BSONTYPE_MAXKEY = 0x7f,
    BSONTYPE_MINKEY = 0xff,
};

enum bsonsubtype {
    BSONSUBTYPE_GENERIC = 0,
    BSONSUBTYPE_OLD_BINARY = 2, /* its payload begins with a second length */
    BSONSUBTYPE_OLD_UUID = 3,
    BSONSUBTYPE_UUID = 4,
};

/* What a document may have, MongoDB's numbers. */
#define BSONVALUE_DOCUMENT_SIZE_MAX   (16u * 1024 * 1024)
#define BSONVALUE_INTERNAL_SIZE_MAX   (BSONVALUE_DOCUMENT_SIZE_MAX + 16u * 1024)
#define BSONVALUE_DEPTH_MAX           255 /* of anything that this room makes or walks */
#define BSONVALUE_MONGO_DEPTH_MAX     100 /* of a document that a MongoDB client stores */
#define BSONVALUE_DOCUMENT_SIZE_LEAST 5   /* an empty document */

struct bsonvalue {
    struct bytes key; /* without its NUL; size 0 where there is no key */
    struct bytes raw; /* the payload as it stands in the document */
    uint8_t type;     /* enum bsontype */
};

/* Little-endian loads from anywhere. */
static inline uint32_t
bsonvalue_load32(const uint8_t *at)
{
    uint32_t word;

    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint64_t
bsonvalue_load64(const uint8_t *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return word;
}

/* The accessors: the caller has looked at `type`. */
static inline double
bsonvalue_double(const struct bsonvalue *value)
{
    double number;

    memcpy(&number, value->raw.data, sizeof number);
    return number;
}

static inline int32_t
bsonvalue_int32(const struct bsonvalue *value)
{
    return (int32_t)bsonvalue_load32(value->raw.data);
}

/* An int64 or a date. */
static inline int64_t
bsonvalue_int64(const struct bsonvalue *value)
{
    return (int64_t)bsonvalue_load64(value->raw.data);
}

static inline bool
bsonvalue_bool(const struct bsonvalue *value)
{
    return value->raw.data[0] != 0;
}

/* A timestamp as MongoDB orders it: seconds << 32 | increment. */
static inline uint64_t
bsonvalue_timestamp(const struct bsonvalue *value)
{
    return bsonvalue_load64(value->raw.data);
}

/* The text of a string, symbol or code, without its length and NUL; may contain NULs. */
static inline struct bytes
bsonvalue_string(const struct bsonvalue *value)
{
    return (struct bytes){ value->raw.data + 4, value->raw.size - 5 };
}

/* The 12 bytes of an ObjectId. */
static inline const uint8_t *
bsonvalue_objectid(const struct bsonvalue *value)
{
    return value->raw.data;
}

/* The bytes of a binary (of subtype 2: with its inner length) and its subtype. */
static inline struct bytes
bsonvalue_binary(const struct bsonvalue *value, uint8_t *subtype)
{
    *subtype = value->raw.data[4];
    return (struct bytes){ value->raw.data + 5, value->raw.size - 5 };
}

/* Pattern and options of a regex. */
void bsonvalue_regex(const struct bsonvalue *value, struct bytes *pattern, struct bytes *options);

/* Code and scope of a code with scope. */
void bsonvalue_code_w_scope(const struct bsonvalue *value, struct bytes *code, struct bytes *scope);

/* Collection and the 12 bytes of the ObjectId of a DBPointer. */
void bsonvalue_dbpointer(
    const struct bsonvalue *value, struct bytes *collection, const uint8_t **oid);

static inline bool
bsonvalue_is_number(uint8_t type)
{
    return type == BSONTYPE_INT32 || type == BSONTYPE_INT64 || type == BSONTYPE_DOUBLE ||
           type == BSONTYPE_DECIMAL128;
}

/* The number as int64.  False: not a number, not whole, or out of range.  `truncate`: drop a
   fraction instead of refusing it. */
bool bsonvalue_to_int64(const struct bsonvalue *value, bool truncate, int64_t *number);

/* The number as the nearest double.  False: not a number. */
bool bsonvalue_to_double(const struct bsonvalue *value, double *number);

/* MongoDB's truth: false, null, undefined, missing and every zero are false (NaN is true). */
bool bsonvalue_truth(const struct bsonvalue *value);

/* MongoDB's name of a type: "double", "string", "object", "array", "binData", … */
const char *bsonvalue_type_name(uint8_t type);

/* A value whose payload is `raw`, without a key. */
static inline struct bsonvalue
bsonvalue_make(uint8_t type, struct bytes raw)
{
    return (struct bsonvalue){ { NULL, 0 }, raw, type };
}

/* A complete document as a value. */
static inline struct bsonvalue
bsonvalue_of_document(struct bytes document)
{
    return bsonvalue_make(BSONTYPE_DOCUMENT, document);
}

/* Values that are not in any document; `room` (16 bytes) keeps the payload. */
struct bsonvalue bsonvalue_of_int32(uint8_t *room, int32_t number);
struct bsonvalue bsonvalue_of_int64(uint8_t *room, int64_t number);
struct bsonvalue bsonvalue_of_double(uint8_t *room, double number);
struct bsonvalue bsonvalue_of_date(uint8_t *room, int64_t ms);
struct bsonvalue bsonvalue_of_bool(uint8_t *room, bool truth);

/* Shared constants. */
extern const struct bsonvalue bsonvalue_null;
extern const struct bsonvalue bsonvalue_undefined;
extern const struct bsonvalue bsonvalue_minkey;
extern const struct bsonvalue bsonvalue_maxkey;
extern const struct bytes bsonvalue_empty_document;

#endif
