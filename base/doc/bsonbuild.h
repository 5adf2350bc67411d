/*
 * bsonbuild.h - writing BSON, front to back.
 *
 *     struct bsonbuild build;
 *
 *     bsonbuild_begin(&build, out);            (a struct buf; or _begin_arena)
 *     bsonbuild_int32(&build, "ok", 1);
 *     bsonbuild_array_begin(&build, "names");
 *     bsonbuild_text(&build, NULL, "a");       (in arrays keys are numbered, this is ignored)
 *     bsonbuild_array_end(&build);
 *     TRY(bsonbuild_end(&build, &document));
 *
 * The appending functions return nothing: the first failure (out of memory, over the buf's
 * limit, too deep) is kept and bsonbuild_end returns it.  Keys are `const char *` or
 * `struct bytes`; a key of a slice must not contain a NUL (ERR_BAD_VALUE).
 *
 * The document is appended behind what the buf holds already.  Until bsonbuild_end or
 * bsonbuild_cancel the buf belongs to the builder.  No locks; no allocation per field.
 */
#ifndef BASE_DOC_BSONBUILD_H
#define BASE_DOC_BSONBUILD_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/doc/bsonvalue.h"

struct bsonbuild_level {
    size_t start;   /* of its length word */
    uint32_t index; /* the next element's number, in an array */
    bool array;
};

struct bsonbuild {
    uint8_t *data;
    size_t size;
    size_t capacity;
    struct buf *buf;     /* where the bytes go, or NULL */
    struct arena *arena; /* or here */
    size_t before;       /* size of the buf at the beginning */
    err_t err;           /* the first failure */
    unsigned depth;      /* levels open; 0: ended */
    struct bsonbuild_level level[BSONVALUE_DEPTH_MAX];
};

void bsonbuild_begin(struct bsonbuild *build, struct buf *out);
void bsonbuild_begin_arena(struct bsonbuild *build, struct arena *arena);

/* Close the document.  *document (may be NULL) points into the buf or arena, valid until the
   buf is changed.  All sub-documents must be closed (an invariant).  After an error the buf is
   as before. */
err_t bsonbuild_end(struct bsonbuild *build, struct bytes *document) MUST_CHECK;

/* Room for `more` bytes: what follows up to there cannot fail for want of memory.  For those who
   are about to do what cannot be undone.  Errors: the first failure so far. */
err_t bsonbuild_reserve(struct bsonbuild *build, size_t more) MUST_CHECK;

/* Give up: the buf is as before. */
void bsonbuild_cancel(struct bsonbuild *build);

/* Bytes of the document so far; for limits. */
static inline size_t
bsonbuild_size(const struct bsonbuild *build)
{
    return build->size - build->level[0].start;
}

static inline struct bytes
bsonbuild_key_slice(struct bytes key)
{
    return key;
}

static inline struct bytes
bsonbuild_key_text(const char *key)
{
    return key != NULL ? bytes_of(key) : (struct bytes){ NULL, 0 };
}

#ifdef __cppcheck__ /* takes the commas of _Generic for operators, and crashes on some of them */
#define BSONBUILD_KEY(key) bsonbuild_key_text(key)
#else
#define BSONBUILD_KEY(key) \
    (_Generic((key),                   \
        struct bytes: bsonbuild_key_slice, \
        char *: bsonbuild_key_text,    \
        const char *: bsonbuild_key_text, \
        void *: bsonbuild_key_text)(key))
#endif

#define bsonbuild_double(b, key, number) bsonbuild_put_double((b), BSONBUILD_KEY(key), (number))
#define bsonbuild_int32(b, key, number)  bsonbuild_put_int32((b), BSONBUILD_KEY(key), (number))
#define bsonbuild_int64(b, key, number)  bsonbuild_put_int64((b), BSONBUILD_KEY(key), (number))
#define bsonbuild_bool(b, key, truth)    bsonbuild_put_bool((b), BSONBUILD_KEY(key), (truth))
#define bsonbuild_null(b, key)           bsonbuild_put_empty((b), BSONBUILD_KEY(key), BSONTYPE_NULL)
#define bsonbuild_undefined(b, key)      bsonbuild_put_empty((b), BSONBUILD_KEY(key), BSONTYPE_UNDEFINED)
#define bsonbuild_minkey(b, key)         bsonbuild_put_empty((b), BSONBUILD_KEY(key), BSONTYPE_MINKEY)
#define bsonbuild_maxkey(b, key)         bsonbuild_put_empty((b), BSONBUILD_KEY(key), BSONTYPE_MAXKEY)
#define bsonbuild_date(b, key, ms)       bsonbuild_put_date((b), BSONBUILD_KEY(key), (ms))
#define bsonbuild_objectid(b, key, oid)  bsonbuild_put_objectid((b), BSONBUILD_KEY(key), (oid))
#define bsonbuild_string(b, key, text)   bsonbuild_put_string((b), BSONBUILD_KEY(key), (text))
#define bsonbuild_text(b, key, text)     bsonbuild_put_string((b), BSONBUILD_KEY(key), bytes_of(text))
#define bsonbuild_binary(b, key, sub, bytes_) \
    bsonbuild_put_binary((b), BSONBUILD_KEY(key), (sub), (bytes_))
#define bsonbuild_timestamp(b, key, stamp) bsonbuild_put_timestamp((b), BSONBUILD_KEY(key), (stamp))
#define bsonbuild_regex(b, key, pattern, options) \
    bsonbuild_put_regex((b), BSONBUILD_KEY(key), (pattern), (options))
#define bsonbuild_document(b, key, document) \
    bsonbuild_put_raw((b), BSONBUILD_KEY(key), BSONTYPE_DOCUMENT, (document))
#define bsonbuild_array(b, key, array) \
    bsonbuild_put_raw((b), BSONBUILD_KEY(key), BSONTYPE_ARRAY, (array))
#define bsonbuild_value(b, key, value) \
    bsonbuild_put_raw((b), BSONBUILD_KEY(key), (value)->type, (value)->raw)
#define bsonbuild_document_begin(b, key) bsonbuild_open((b), BSONBUILD_KEY(key), false)
#define bsonbuild_array_begin(b, key)    bsonbuild_open((b), BSONBUILD_KEY(key), true)
#define bsonbuild_document_end(b)        bsonbuild_close((b), false)
#define bsonbuild_array_end(b)           bsonbuild_close((b), true)

void bsonbuild_put_double(struct bsonbuild *build, struct bytes key, double number);
void bsonbuild_put_int32(struct bsonbuild *build, struct bytes key, int32_t number);
void bsonbuild_put_int64(struct bsonbuild *build, struct bytes key, int64_t number);
void bsonbuild_put_bool(struct bsonbuild *build, struct bytes key, bool truth);
void bsonbuild_put_empty(struct bsonbuild *build, struct bytes key, uint8_t type);
void bsonbuild_put_date(struct bsonbuild *build, struct bytes key, int64_t ms);
void bsonbuild_put_objectid(struct bsonbuild *build, struct bytes key, const uint8_t *oid);
void bsonbuild_put_string(struct bsonbuild *build, struct bytes key, struct bytes text);
void bsonbuild_put_binary(
    struct bsonbuild *build, struct bytes key, uint8_t subtype, struct bytes data);
void bsonbuild_put_timestamp(struct bsonbuild *build, struct bytes key, uint64_t stamp);
void bsonbuild_put_regex(
    struct bsonbuild *build, struct bytes key, struct bytes pattern, struct bytes options);

/* A payload as it stands, under another key. */
void bsonbuild_put_raw(
    struct bsonbuild *build, struct bytes key, uint8_t type, struct bytes payload);

void bsonbuild_open(struct bsonbuild *build, struct bytes key, bool array);
void bsonbuild_close(struct bsonbuild *build, bool array);

/* One element as it stands in another document, key and all. */
void bsonbuild_element(struct bsonbuild *build, const struct bsonvalue *value);

/* All elements of a document, as they stand (in an array: renumbered).  Errors kept: ERR_CORRUPT.
 */
void bsonbuild_elements(struct bsonbuild *build, struct bytes document);

/* The same with the members put in bytewise order at every level (arrays keep theirs). */
void bsonbuild_elements_sorted(struct bsonbuild *build, struct bytes document);

/* The key of an array's element: "0", "1", …; `room` has 12 bytes and may be what is returned. */
struct bytes bsonbuild_index_key(uint32_t index, char *room);

#endif
