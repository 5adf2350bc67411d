/*
 * bsonorder.h - MongoDB's order of values across all types.
 *
 * The order of classes is the table of README.md; numbers of all four types compare by
 * value, exactly.  keystring's bytes compare in this same order.
 *
 * Comparing cannot fail: damage ends the damaged document early.  Symbols are strings.
 * No locks, no allocation.
 */
#ifndef BASE_DOC_BSONORDER_H
#define BASE_DOC_BSONORDER_H

#include "base/doc/bsonvalue.h"

/* A type's class, in MongoDB's numbers: types of one class compare with each other in
   filters ($gt and its like look only within the class). */
enum bsonorder_class {
    BSONORDER_MINKEY = -1,
    BSONORDER_UNDEFINED = 0,
    BSONORDER_NULL = 5,
    BSONORDER_NUMBER = 10,
    BSONORDER_STRING = 15,
    BSONORDER_DOCUMENT = 20,
    BSONORDER_ARRAY = 25,
    BSONORDER_BINARY = 30,
    BSONORDER_OBJECTID = 35,
    BSONORDER_BOOL = 40,
    BSONORDER_DATE = 45,
    BSONORDER_TIMESTAMP = 47,
    BSONORDER_REGEX = 50,
    BSONORDER_DBPOINTER = 55,
    BSONORDER_CODE = 60,
    BSONORDER_CODE_W_SCOPE = 65,
    BSONORDER_MAXKEY = 127,
};

int bsonorder_class(uint8_t type);

/* <0, 0, >0.  Keys are not looked at. */
int bsonorder_compare(const struct bsonvalue *a, const struct bsonvalue *b);

/* Numbers only (any of the four types): NaN equals NaN and is below all others. */
int bsonorder_compare_numbers(const struct bsonvalue *a, const struct bsonvalue *b);

/* Field by field: class, then name, then value; the shorter of two is less. */
int bsonorder_compare_documents(struct bytes a, struct bytes b);

static inline bool
bsonorder_equal(const struct bsonvalue *a, const struct bsonvalue *b)
{
    return (a->type == b->type && bytes_equal(a->raw, b->raw)) || bsonorder_compare(a, b) == 0;
}

#endif
