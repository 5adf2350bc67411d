/*
 * keystring.h - values as bytes that memcmp orders as bsonorder orders the values.
 *
 * A key is the concatenation of its components; a component tells its own end, and no
 * component is a prefix of another, so compound keys need no separator and all keys with
 * equal leading components form one range [prefix, keystring_successor(prefix)).  A
 * descending component is the ascending one with every byte inverted.  The form is the
 * table of README.md; it is on disk.
 *
 * Numbers that are equal give equal bytes whatever their type, so a value cannot be
 * restored from its key.  Nothing here looks at the length of keys; indexkey does.
 *
 * Bounds of a scan are byte strings as well: low is inclusive, high exclusive.
 *     a == x       [x, successor(x))            a > x (its class only)  [successor(x), class_high)
 *     a < x        [class_low, x)               a >= x                  [x, class_high)
 * With a descending component swap the roles: a > x is [class_low, x), as class_low and
 * class_high are given the direction.
 *
 * Errors: ERR_MEMORY; ERR_CORRUPT for damaged sub-documents; ERR_OVERFLOW above
 * BSONVALUE_DEPTH_MAX levels.  After an error the buf is as before.  No locks.
 */
#ifndef BASE_DOC_KEYSTRING_H
#define BASE_DOC_KEYSTRING_H

#include "base/buf.h"
#include "base/doc/bsonvalue.h"

/* What a key may have unless the caller says otherwise. */
#define KEYSTRING_SIZE_MAX 1024

/* Append one component. */
err_t keystring_append(struct buf *key, const struct bsonvalue *value, bool descending) MUST_CHECK;

/* Append the least byte string that every component of the class of `type` is at or above. */
err_t keystring_append_class_low(struct buf *key, uint8_t type, bool descending) MUST_CHECK;

/* Append the least byte string that is above every component of the class of `type`. */
err_t keystring_append_class_high(struct buf *key, uint8_t type, bool descending) MUST_CHECK;

/* Append what all strings that begin with `prefix` have in common:
   the range is [it, successor(it)) in both directions. */
err_t keystring_append_string_prefix(
    struct buf *key, struct bytes prefix, bool descending) MUST_CHECK;

/* Change the key into the least byte string above everything that begins with it.
   An empty key (or one of 0xff only) has none and becomes empty: no bound.  A prefix of
   whole components always has one. */
void keystring_successor(struct buf *key);

#endif
