/*
 * filter.c - running a compiled filter over a document's bytes.
 *
 * INVARIANTS
 *  F1  A run allocates nothing and looks at each field only as far as the program needs.
 *  F2  Recursion is bounded by the program's depth, which the compiler has limited.
 *  F3  `field` is what was found last in the very document that is being matched, or names nothing.
 *  F4  Comparisons hold only within a class (bsonorder_class); null and undefined are one; MinKey
 *      and MaxKey compare with everything; NaN equals NaN and compares with nothing else.
 *
 * IF A PROCESS DIES: nothing here is shared.
 */
#include "backend/query/filter.h"

#include <math.h>

#include "backend/query/filterbits.h"
#include "backend/query/filterprog.h"
#include "base/doc/bsonorder.h"
#include "base/doc/bsonwalk.h"

/* A field of a document that was looked for: {a: {$gt: 1, $lt: 5}} asks twice for the same. */
struct field {
    const uint8_t *document;
    struct bytes name; /* data NULL: none was */
    bool found;
    struct bsonvalue value;
};

struct eval {
    const struct filterprog_node *node;
    err_t err;
    struct field field; /* F3 */
};

static bool match_document(struct eval *eval, uint32_t at, struct bytes document);
static bool match_value(struct eval *eval, uint32_t at, const struct bsonvalue *value);

static bool
is_nan(const struct bsonvalue *value)
{
    double number;

    if (value->type == BSONTYPE_DOUBLE)
        return isnan(bsonvalue_double(value));
    if (value->type != BSONTYPE_DECIMAL128)
        return false;
    return bsonvalue_to_double(value, &number) && isnan(number);
}

/* Types differ in class: what still compares (F4). */
static bool
compare_across(uint8_t op, int left, int right)
{
    bool equals_too = op == FILTERPROG_EQ || op == FILTERPROG_LTE || op == FILTERPROG_GTE;

    if (left + right == BSONORDER_NULL && (left == 0 || right == 0))
        return equals_too;
    if (right == BSONORDER_MAXKEY)
        return op == FILTERPROG_LT || op == FILTERPROG_LTE;
    if (right == BSONORDER_MINKEY)
        return op == FILTERPROG_GT || op == FILTERPROG_GTE;
    return false;
}

static inline bool
holds(uint8_t op, int order)
{
    switch (op) {
    case FILTERPROG_EQ:
        return order == 0;
    case FILTERPROG_LT:
        return order < 0;
    case FILTERPROG_LTE:
        return order <= 0;
    case FILTERPROG_GT:
        return order > 0;
    default:
        return order >= 0;
    }
}

/* Whole numbers of one type, which most comparisons are of. */
static inline bool
compare_whole(const struct bsonvalue *left, const struct bsonvalue *right, int *order)
{
    int64_t a, b;

    if (left->type != right->type)
        return false;
    if (left->type == BSONTYPE_INT32) {
        a = bsonvalue_int32(left);
        b = bsonvalue_int32(right);
    } else if (left->type == BSONTYPE_INT64) {
        a = bsonvalue_int64(left);
        b = bsonvalue_int64(right);
    } else {
        return false;
    }
    *order = (a > b) - (a < b);
    return true;
}

static bool
compare(const struct filterprog_node *node, const struct bsonvalue *value)
{
    const struct bsonvalue *right = &node->value;
    int left_class, right_class, order;

    if (compare_whole(value, right, &order))
        return holds(node->op, order);
    if (node->op == FILTERPROG_EQ && value->type == right->type &&
        bytes_equal(value->raw, right->raw))
        return true;
    left_class = bsonorder_class(value->type);
    right_class = bsonorder_class(right->type);
    if (left_class != right_class)
        return compare_across(node->op, left_class, right_class);
    if (left_class == BSONORDER_NUMBER && (is_nan(value) || is_nan(right)))
        return node->op != FILTERPROG_LT && node->op != FILTERPROG_GT && is_nan(value) &&
               is_nan(right);
    return holds(node->op, bsonorder_compare(value, right));
}

static bool
match_regex(struct eval *eval, struct regexcache_ref *regex, const struct bsonvalue *value)
{
    bool matches = false;

    if (value->type != BSONTYPE_STRING && value->type != BSONTYPE_SYMBOL)
        return false;
    if (eval->err == OK)
        eval->err = regexcache_match(regex, bsonvalue_string(value), &matches);
    return matches;
}

static bool
in_list(struct eval *eval, const struct filterprog_node *node, const struct bsonvalue *value)
{
    uint32_t low = 0, high = node->value_count;

    if (node->has_null && (value->type == BSONTYPE_NULL || value->type == BSONTYPE_UNDEFINED))
        return true;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = bsonorder_compare(value, &node->values[middle]);

        if (order == 0)
            return true;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    for (uint32_t i = 0; i < node->regex_count; i++)
        if (match_regex(eval, node->regexes[i], value))
            return true;
    return false;
}

static bool
match_mod(const struct filterprog_node *node, const struct bsonvalue *value)
{
    int64_t number;

    if (!bsonvalue_is_number(value->type) || !bsonvalue_to_int64(value, true, &number))
        return false;
    /* The least int64 by −1 overflows the machine's division. */
    return (node->divisor == -1 ? 0 : number % node->divisor) == node->number;
}

static bool
match_elements(struct eval *eval, const struct filterprog_node *node, const struct bsonvalue *array)
{
    uint32_t child = (uint32_t)(node - eval->node) + 1;
    struct bsonvalue element;
    struct bsonwalk walk;

    if (array->type != BSONTYPE_ARRAY)
        return false;
    if (bsonwalk_begin(&walk, array->raw) != OK) {
        eval->err = ERR_CORRUPT;
        return false;
    }
    while (bsonwalk_next(&walk, &element)) {
        if (node->op == FILTERPROG_ELEM_VALUE) {
            if (match_value(eval, child, &element))
                return true;
        } else if ((element.type == BSONTYPE_DOCUMENT || element.type == BSONTYPE_ARRAY) &&
                   match_document(eval, child, element.raw))
            return true;
    }
    return false;
}

static bool
has_size(const struct bsonvalue *array, int64_t size)
{
    return array->type == BSONTYPE_ARRAY && (int64_t)bsonwalk_count(array->raw) == size;
}

/* A leaf on one value, or on a missing one (NULL). */
static bool
match_leaf(struct eval *eval, const struct filterprog_node *node, const struct bsonvalue *value)
{
    switch (node->op) {
    case FILTERPROG_EXISTS:
        return value != NULL;
    case FILTERPROG_EQ:
    case FILTERPROG_LT:
    case FILTERPROG_LTE:
    case FILTERPROG_GT:
    case FILTERPROG_GTE:
        if (value == NULL)
            return node->value.type != BSONTYPE_UNDEFINED &&
                   compare_across(node->op, BSONORDER_UNDEFINED, bsonorder_class(node->value.type));
        return compare(node, value);
    case FILTERPROG_IN:
        return value == NULL ? node->has_null : in_list(eval, node, value);
    default:
        break;
    }
    if (value == NULL)
        return false;
    switch (node->op) {
    case FILTERPROG_REGEX:
        return match_regex(eval, node->regex, value) ||
               (value->type == BSONTYPE_REGEX && bsonorder_equal(value, &node->value));
    case FILTERPROG_MOD:
        return match_mod(node, value);
    case FILTERPROG_TYPE:
        return (node->types & filterprog_type_bit(value->type)) != 0;
    case FILTERPROG_SIZE:
        return has_size(value, node->number);
    case FILTERPROG_BITS:
        return filterbits_match(
            (enum filterbits_test)node->number, node->bits, node->bit_count, value);
    case FILTERPROG_ELEM_OBJECT:
    case FILTERPROG_ELEM_VALUE:
        return match_elements(eval, node, value);
    default:
        return false;
    }
}

/* As a field's value: the elements of an array, then the whole. */
static bool
match_field(struct eval *eval, const struct filterprog_node *node, const struct bsonvalue *value)
{
    struct bsonvalue element;
    struct bsonwalk walk;

    if (value->type == BSONTYPE_ARRAY && node->expand) {
        if (bsonwalk_begin(&walk, value->raw) != OK) {
            eval->err = ERR_CORRUPT;
            return false;
        }
        while (bsonwalk_next(&walk, &element))
            if (match_leaf(eval, node, &element))
                return true;
    }
    return match_leaf(eval, node, value);
}

struct visit {
    struct eval *eval;
    const struct filterprog_node *node;
};

static bool
visit_leaf(void *context, const struct docpath_hit *hit)
{
    const struct visit *visit = context;

    return match_leaf(visit->eval, visit->node, hit->value);
}

static inline bool
same_name(struct bytes a, struct bytes b)
{
    return a.size == b.size &&
           (a.size == 0 || (a.data[0] == b.data[0] && memcmp(a.data, b.data, a.size) == 0));
}

/* NULL: the document is damaged. */
static const struct field *
find_field(struct eval *eval, struct bytes name, struct bytes document)
{
    struct field *field = &eval->field;
    struct bsonwalk walk;

    if (field->name.data != NULL && field->document == document.data &&
        same_name(field->name, name))
        return field;
    field->name.data = NULL;
    if (bsonwalk_begin(&walk, document) != OK) {
        eval->err = ERR_CORRUPT;
        return NULL;
    }
    do
        field->found = bsonwalk_next(&walk, &field->value);
    while (field->found && !same_name(field->value.key, name));
    field->document = document.data;
    field->name = name;
    return field;
}

static bool
match_path(struct eval *eval, const struct filterprog_node *node, struct bytes document)
{
    const struct docpath *path = node->path;
    struct visit visit = { eval, node };
    bool stopped = false;
    err_t err;

    if (path->count == 1) {
        const struct field *field = find_field(eval, path->part[0].name, document);

        if (field == NULL)
            return false;
        return field->found ? match_field(eval, node, &field->value) : match_leaf(eval, node, NULL);
    }
    err = docpath_walk(path, document, node->expand ? DOCPATH_EXPAND_LEAF : DOCPATH_DEFAULT,
        visit_leaf, &visit, &stopped);
    if (err != OK)
        eval->err = err;
    return stopped;
}

/* A node on a whole document. */
static bool
match_document(struct eval *eval, uint32_t at, struct bytes document)
{
    const struct filterprog_node *node = &eval->node[at];
    uint32_t child = at + 1;

    switch (node->op) {
    case FILTERPROG_FALSE:
        return false;
    case FILTERPROG_AND:
        for (; child < node->end; child = eval->node[child].end)
            if (!match_document(eval, child, document))
                return false;
        return true;
    case FILTERPROG_OR:
    case FILTERPROG_NOR:
        for (; child < node->end; child = eval->node[child].end)
            if (match_document(eval, child, document))
                return node->op == FILTERPROG_OR;
        return node->op == FILTERPROG_NOR;
    case FILTERPROG_NOT:
        return !match_document(eval, child, document);
    default:
        return match_path(eval, node, document);
    }
}

/* A node on one value: leaves look at it as it is. */
static bool
match_value(struct eval *eval, uint32_t at, const struct bsonvalue *value)
{
    const struct filterprog_node *node = &eval->node[at];
    uint32_t child = at + 1;

    switch (node->op) {
    case FILTERPROG_FALSE:
        return false;
    case FILTERPROG_AND:
        for (; child < node->end; child = eval->node[child].end)
            if (!match_value(eval, child, value))
                return false;
        return true;
    case FILTERPROG_NOT:
        return !match_value(eval, child, value);
    default:
        return match_leaf(eval, node, value);
    }
}

/* A condition's node on one value as a field's: each leaf looks at elements, too. */
static bool
match_condition(struct eval *eval, uint32_t at, const struct bsonvalue *value)
{
    const struct filterprog_node *node = &eval->node[at];
    uint32_t child = at + 1;

    switch (node->op) {
    case FILTERPROG_FALSE:
        return false;
    case FILTERPROG_AND:
        for (; child < node->end; child = eval->node[child].end)
            if (!match_condition(eval, child, value))
                return false;
        return true;
    case FILTERPROG_NOT:
        return !match_condition(eval, child, value);
    default:
        return match_field(eval, node, value);
    }
}

err_t
filter_compile(struct arena *arena, struct bytes document, const struct filter **filter)
{
    return filterparse_document(arena, document, filter);
}

err_t
filter_match(const struct filter *filter, struct bytes document, bool *matches)
{
    struct eval eval = { .node = filter->node };

    *matches = match_document(&eval, 0, document);
    return eval.err;
}

err_t
filter_match_value(const struct filter *filter, const struct bsonvalue *value, bool *matches)
{
    struct eval eval = { .node = filter->node };

    *matches = match_condition(&eval, 0, value);
    return eval.err;
}

bool
filter_is_empty(const struct filter *filter)
{
    return filter->count == 1;
}

struct bytes
filter_only_id(const struct filter *filter)
{
    return filter->only_id;
}
