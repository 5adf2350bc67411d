/*
 * indexkey.h - the keys under which an index holds a document.
 *
 * As MongoDB makes them: an array at or on the way to an indexed path gives one key for each
 * element (the index is then multikey); a missing field is null, an empty array undefined;
 * at most one array among a compound index's paths (two paths through the same array are
 * one).  The keys of one document are distinct and in memcmp order.
 *
 * A set is made once and refilled for each document; it allocates only when it must grow.
 * It belongs to one process.  No locks.
 */
#ifndef BASE_DOC_INDEXKEY_H
#define BASE_DOC_INDEXKEY_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

#define INDEXKEY_FIELDS_MAX 32 /* MongoDB's limit */

struct docpath;

struct indexkey_field {
    const struct docpath *path;
    bool descending;
};

struct indexkey_spec {
    const struct indexkey_field *field;
    unsigned count;
    size_t size_max;  /* bytes of a key; 0: KEYSTRING_SIZE_MAX */
    bool sparse;      /* leave out documents that have none of the fields */
    bool hashed;      /* equality only: arrays are refused */
    bool scalar_only; /* one path through documents only; anything but a scalar is left out */
};

struct indexkey_slot {
    size_t start; /* in the set's bytes */
    size_t size;
};

struct indexkey_set {
    struct buf bytes;
    struct indexkey_slot *slot;
    size_t count; /* of keys; 0: the index does not hold the document */
    size_t capacity;
    bool multikey;     /* an array was met */
    bool missing_all;  /* none of the fields was there */
    bool missing_some; /* at least one was not */
};

void indexkey_set_init(struct indexkey_set *set);
void indexkey_set_fini(struct indexkey_set *set);

static inline struct bytes
indexkey_set_key(const struct indexkey_set *set, size_t index)
{
    return (struct bytes){ set->bytes.data + set->slot[index].start, set->slot[index].size };
}

/* Build a spec from MongoDB's key pattern {a: 1, "b.c": -1, d: "hashed"}; lives in the arena.
   Errors: ERR_CANNOT_CREATE_INDEX with MongoDB's messages. */
err_t indexkey_spec_parse(
    struct arena *arena, struct bytes pattern, struct indexkey_spec *spec) MUST_CHECK;

/* Fill the set with the document's keys, each at most size_max bytes.
   Errors: ERR_CANNOT_CREATE_INDEX with the exact codes 171 (parallel arrays), 16766 (array in
   a hashed index), 17280 KeyTooLong; ERR_CORRUPT; ERR_MEMORY.  The set is empty then. */
err_t indexkey_make(
    const struct indexkey_spec *spec, struct bytes document, struct indexkey_set *set) MUST_CHECK;

#endif
