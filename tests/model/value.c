/*
 * value.c - values of documents for the model.
 */
#include "tests/model/value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_RANDOM 250 /* longer ones are letters at random; shorter ones differ at their end */

struct value
value_of(struct scalar scalar)
{
    struct value value = { .count = scalar.kind == VALUE_NONE ? 0 : 1 };

    value.element[0].x = scalar;
    return value;
}

struct scalar
value_int(int32_t number)
{
    return (struct scalar){ .kind = VALUE_INT, .number = number };
}

struct scalar
value_null(void)
{
    return (struct scalar){ .kind = VALUE_NULL };
}

/* ---- order ---- */

bool
value_is_number(struct scalar scalar)
{
    return scalar.kind >= VALUE_INT && scalar.kind <= VALUE_DOUBLE;
}

bool
value_is_nan(struct scalar scalar)
{
    return scalar.kind == VALUE_DOUBLE && isnan(scalar.real);
}

/* null < numbers < text < documents (5) < lists (6) < truth < dates */
static int
class_of(struct scalar scalar)
{
    static const int classes[] = { 0, 1, 2, 3, 3, 3, 4, 7, 8 };

    return classes[scalar.kind];
}

bool
value_same_class(struct scalar a, struct scalar b)
{
    return class_of(a) == class_of(b);
}

static size_t
text_of(int64_t number, char *text)
{
    size_t size = (size_t)(number >> 32);
    uint32_t rest = (uint32_t)number;

    for (size_t i = size; i > 0; i--) {
        if (size > TEXT_RANDOM) {
            rest = rest * 1664525u + 1013904223u;
            text[i - 1] = (char)('A' + (rest >> 27));
        } else {
            text[i - 1] = (char)('a' + rest % 10);
            rest /= 10;
        }
    }
    text[size] = '\0';
    return size;
}

static int
compare_texts(int64_t a, int64_t b)
{
    static char text_a[VALUE_TEXT_MAX + 1], text_b[VALUE_TEXT_MAX + 1];

    if (a == b)
        return 0;
    (void)text_of(a, text_a);
    (void)text_of(b, text_b);
    return strcmp(text_a, text_b);
}

/* Whole numbers here are small enough for a double to hold them. */
static int
compare_numbers(struct scalar a, struct scalar b)
{
    double x = a.kind == VALUE_DOUBLE ? a.real : (double)a.number;
    double y = b.kind == VALUE_DOUBLE ? b.real : (double)b.number;

    if (isnan(x) || isnan(y))
        return isnan(y) - isnan(x);
    return x < y ? -1 : x > y;
}

int
value_compare_scalar(struct scalar a, struct scalar b)
{
    if (class_of(a) != class_of(b))
        return class_of(a) < class_of(b) ? -1 : 1;
    if (value_is_number(a))
        return compare_numbers(a, b);
    if (a.kind == VALUE_TEXT)
        return compare_texts(a.number, b.number);
    if (a.kind == VALUE_BOOL || a.kind == VALUE_DATE)
        return a.number < b.number ? -1 : a.number > b.number;
    return 0;
}

/* The i-th field of a pair as it stands; NULL: it has no more. */
static const struct scalar *
field_at(const struct element *pair, int i, char *name)
{
    const struct scalar *field[2] = { &pair->x, &pair->y };
    int first = pair->y_first ? 1 : 0;

    for (int k = 0; k < 2; k++) {
        int which = k == 0 ? first : 1 - first;

        if (field[which]->kind == VALUE_NONE)
            continue;
        if (i-- == 0) {
            *name = which == 0 ? 'x' : 'y';
            return field[which];
        }
    }
    return NULL;
}

static int
compare_pairs(const struct element *a, const struct element *b)
{
    for (int i = 0; i < 3; i++) {
        char name_a = 0, name_b = 0;
        const struct scalar *x = field_at(a, i, &name_a);
        const struct scalar *y = field_at(b, i, &name_b);

        if (x == NULL || y == NULL)
            return (x != NULL) - (y != NULL);
        if (!value_same_class(*x, *y))
            return class_of(*x) < class_of(*y) ? -1 : 1;
        if (name_a != name_b)
            return name_a < name_b ? -1 : 1;
        if (value_compare_scalar(*x, *y) != 0)
            return value_compare_scalar(*x, *y);
    }
    return 0;
}

static int
class_of_element(const struct element *element)
{
    return element->pair ? 5 : class_of(element->x);
}

int
value_compare_element(const struct element *a, const struct element *b)
{
    if (class_of_element(a) != class_of_element(b))
        return class_of_element(a) < class_of_element(b) ? -1 : 1;
    return a->pair ? compare_pairs(a, b) : value_compare_scalar(a->x, b->x);
}

static int
class_of_value(const struct value *value)
{
    return value->list ? 6 : value->count == 0 ? 0 : class_of_element(&value->element[0]);
}

int
value_compare(const struct value *a, const struct value *b)
{
    if (class_of_value(a) != class_of_value(b))
        return class_of_value(a) < class_of_value(b) ? -1 : 1;
    for (int i = 0; i < a->count && i < b->count; i++) {
        int order = value_compare_element(&a->element[i], &b->element[i]);

        if (order != 0)
            return order;
    }
    return a->count < b->count ? -1 : a->count > b->count;
}

/* ---- BSON ---- */

static void *
room(struct bson_out *out, size_t size)
{
    if (out->size + size > out->capacity) {
        out->capacity = 2 * (out->size + size);
        out->data = realloc(out->data, out->capacity);
        if (out->data == NULL)
            abort();
    }
    out->size += size;
    return out->data + out->size - size;
}

static void
head(struct bson_out *out, uint8_t type, const char *name)
{
    size_t size = strlen(name) + 1;
    uint8_t *at = room(out, 1 + size);

    at[0] = type;
    memcpy(at + 1, name, size);
}

size_t
value_open(struct bson_out *out, uint8_t type, const char *name)
{
    if (type != 0)
        head(out, type, name);
    (void)room(out, 4);
    return out->size - 4;
}

void
value_close(struct bson_out *out, size_t at)
{
    uint32_t size;

    *(uint8_t *)room(out, 1) = 0;
    size = (uint32_t)(out->size - at);
    memcpy(out->data + at, &size, sizeof size);
}

static void
put_string(struct bson_out *out, const char *name, const char *text, size_t size)
{
    uint32_t with_nul = (uint32_t)size + 1;

    head(out, 0x02, name);
    memcpy(room(out, 4), &with_nul, 4);
    memcpy(room(out, with_nul), text, with_nul);
}

void
value_put_text(struct bson_out *out, const char *name, const char *text)
{
    put_string(out, name, text, strlen(text));
}

void
value_put_scalar(struct bson_out *out, const char *name, struct scalar scalar)
{
    static const uint8_t types[] = { 0, 0x06, 0x0a, 0x10, 0x12, 0x01, 0x02, 0x08, 0x09 };
    static char text[VALUE_TEXT_MAX + 1];
    int32_t small = (int32_t)scalar.number;

    if (scalar.kind == VALUE_NONE)
        return;
    if (scalar.kind == VALUE_TEXT) {
        size_t size = text_of(scalar.number, text);

        put_string(out, name, text, size);
        return;
    }
    head(out, types[scalar.kind], name);
    if (scalar.kind == VALUE_INT)
        memcpy(room(out, 4), &small, 4);
    else if (scalar.kind == VALUE_BOOL)
        *(uint8_t *)room(out, 1) = (uint8_t)scalar.number;
    else if (scalar.kind != VALUE_NULL && scalar.kind != VALUE_UNDEFINED)
        memcpy(room(out, 8), &scalar.number, 8); /* doubles too: one union */
}

void
value_put_element(struct bson_out *out, const char *name, const struct element *element)
{
    size_t at;

    if (!element->pair) {
        value_put_scalar(out, name, element->x);
        return;
    }
    at = value_open(out, 0x03, name);
    if (element->y_first)
        value_put_scalar(out, "y", element->y);
    value_put_scalar(out, "x", element->x);
    if (!element->y_first)
        value_put_scalar(out, "y", element->y);
    value_close(out, at);
}

void
value_put(struct bson_out *out, const char *name, const struct value *value)
{
    size_t at;

    if (!value->list) {
        if (value->count > 0)
            value_put_element(out, name, &value->element[0]);
        return;
    }
    at = value_open(out, 0x04, name);
    for (int i = 0; i < value->count; i++) {
        char number[12];

        (void)snprintf(number, sizeof number, "%d", i);
        value_put_element(out, number, &value->element[i]);
    }
    value_close(out, at);
}
