/*
 * value.h - values of documents for the model: plain structs, their order, their form as BSON.
 *
 * Written from what MongoDB documents, without a line of the engine's.
 */
#ifndef TESTS_MODEL_VALUE_H
#define TESTS_MODEL_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VALUE_ELEMENTS 6
#define VALUE_TEXT_MAX 70000

enum value_kind {
    VALUE_NONE,      /* a field that is not there */
    VALUE_UNDEFINED, /* in keys only: what an empty list sorts as */
    VALUE_NULL,
    VALUE_INT,
    VALUE_LONG,
    VALUE_DOUBLE,
    VALUE_TEXT, /* `number`: its length << 32 | a number that makes it different */
    VALUE_BOOL,
    VALUE_DATE
};

struct scalar {
    enum value_kind kind;
    union {
        int64_t number;
        double real;
    };
};

/* A scalar (in x), or {x: …, y: …} of which either may be missing. */
struct element {
    bool pair, y_first;
    struct scalar x, y;
};

/* Not a list: `count` is 0 (not there) or 1. */
struct value {
    bool list;
    uint8_t count;
    struct element element[VALUE_ELEMENTS];
};

struct value value_of(struct scalar scalar);
struct scalar value_int(int32_t number);
struct scalar value_null(void);

/* MongoDB's order of all types; what is missing comes first.  As of memcmp. */
int value_compare_scalar(struct scalar a, struct scalar b);
int value_compare_element(const struct element *a, const struct element *b);
int value_compare(const struct value *a, const struct value *b);
/* May a range with this bound contain it? */
bool value_same_class(struct scalar a, struct scalar b);
bool value_is_number(struct scalar scalar);
bool value_is_nan(struct scalar scalar);

/* ---- BSON ---- */

struct bson_out {
    uint8_t *data;
    size_t size, capacity;
};
size_t value_open(struct bson_out *out, uint8_t type, const char *name); /* type 0: the outermost */
void value_close(struct bson_out *out, size_t at);
void value_put_scalar(struct bson_out *out, const char *name, struct scalar scalar);
void value_put_element(struct bson_out *out, const char *name, const struct element *element);
void value_put(struct bson_out *out, const char *name, const struct value *value);
void value_put_text(struct bson_out *out, const char *name, const char *text);

#endif
