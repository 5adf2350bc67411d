/*
 * filterparse.c - from a filter's BSON to its program.
 *
 * Nodes are appended in prefix order; open() reserves a node and close() says where its subtree
 * ends.  The document is copied into the arena first, so that the program's values may point into
 * it for as long as the program lives.
 *
 * INVARIANTS
 *  P1  Every leaf outside an ELEM_VALUE has a path; every subtree ends within the program.
 *  P2  At most DEPTH_MAX levels, NODES_MAX nodes: hostile filters end with an error.
 *
 * IF A PROCESS DIES: nothing here is shared.
 */
#include <math.h>
#include <stdlib.h>

#include "backend/query/filterbits.h"
#include "backend/query/filterprog.h"
#include "base/doc/bsonbuild.h"
#include "base/doc/bsonorder.h"
#include "base/doc/bsonwalk.h"
#include "base/panic.h"

#define DEPTH_MAX 100
#define NODES_MAX 200000

struct parse {
    struct arena *arena;
    struct filterprog_node *node;
    uint32_t count, capacity;
    unsigned depth;
};

static err_t parse_document(struct parse *parse, struct bytes document);
static err_t parse_field(
    struct parse *parse, const struct docpath *path, const struct bsonvalue *value);
static err_t parse_operators(
    struct parse *parse, const struct docpath *path, struct bytes operators);

static err_t
open_node(struct parse *parse, enum filterprog_op op, const struct docpath *path, uint32_t *at)
{
    struct filterprog_node *node;

    if (parse->count == NODES_MAX)
        return err_set(ERR_BAD_VALUE, "the filter has too many conditions");
    if (parse->count == parse->capacity) {
        uint32_t more = parse->capacity == 0 ? 8 : 2 * parse->capacity;
        struct filterprog_node *larger = arena_alloc(parse->arena, more * sizeof *larger);

        if (larger == NULL)
            return ERR_MEMORY;
        if (parse->count > 0)
            memcpy(larger, parse->node, parse->count * sizeof *larger);
        parse->node = larger;
        parse->capacity = more;
    }
    *at = parse->count++;
    node = &parse->node[*at];
    memset(node, 0, sizeof *node);
    node->op = (uint8_t)op;
    node->expand = true;
    node->path = path;
    node->end = *at + 1;
    return OK;
}

static void
close_node(struct parse *parse, uint32_t at)
{
    parse->node[at].end = parse->count;
}

static bool
begins_with_dollar(struct bytes name)
{
    return name.size > 0 && name.data[0] == '$';
}

static bool
first_field(struct bytes document, struct bsonvalue *value)
{
    struct bsonwalk walk;

    return bsonwalk_begin(&walk, document) == OK && bsonwalk_next(&walk, value);
}

bool
filterparse_is_operators(struct bytes document)
{
    struct bsonvalue first;

    return first_field(document, &first) && begins_with_dollar(first.key) &&
           !bytes_is(first.key, "$ref") && !bytes_is(first.key, "$id") &&
           !bytes_is(first.key, "$db");
}

static err_t
parse_regex(
    struct parse *parse, const struct docpath *path, struct bytes pattern, struct bytes options)
{
    struct filterprog_node *node;
    struct bsonbuild build;
    struct bsonvalue value;
    struct bytes document;
    uint32_t at;

    TRY_RETURN(open_node(parse, FILTERPROG_REGEX, path, &at));
    node = &parse->node[at];
    TRY_RETURN(regexcache_make(parse->arena, pattern, options, &node->regex));
    bsonbuild_begin_arena(&build, parse->arena);
    bsonbuild_regex(&build, "", pattern, options);
    TRY_RETURN(bsonbuild_end(&build, &document));
    if (first_field(document, &value))
        node->value = value;
    return OK;
}

static err_t
parse_regex_value(struct parse *parse, const struct docpath *path, const struct bsonvalue *value)
{
    struct bytes pattern, options;

    bsonvalue_regex(value, &pattern, &options);
    return parse_regex(parse, path, pattern, options);
}

static err_t
parse_equal(struct parse *parse, const struct docpath *path, const struct bsonvalue *value)
{
    uint32_t at;

    if (value->type == BSONTYPE_UNDEFINED)
        return err_set(ERR_BAD_VALUE, "cannot compare to undefined");
    if (value->type == BSONTYPE_REGEX)
        return parse_regex_value(parse, path, value);
    TRY_RETURN(open_node(parse, FILTERPROG_EQ, path, &at));
    parse->node[at].value = *value;
    return OK;
}

static err_t
parse_compare(struct parse *parse, const struct docpath *path, enum filterprog_op op,
    const struct bsonvalue *value)
{
    uint32_t at;

    if (value->type == BSONTYPE_UNDEFINED)
        return err_set(ERR_BAD_VALUE, "cannot compare to undefined");
    if (value->type == BSONTYPE_REGEX)
        return err_set(ERR_BAD_VALUE, "Can't have RegEx as arg to predicate over field '%.*s'.",
            path != NULL ? (int)path->text.size : 0,
            path != NULL ? (const char *)path->text.data : "");
    TRY_RETURN(open_node(parse, op, path, &at));
    parse->node[at].value = *value;
    return OK;
}

static int
by_value(const void *a, const void *b)
{
    return bsonorder_compare(a, b);
}

static err_t
read_in_element(struct parse *parse, struct filterprog_node *node, struct bsonvalue *values,
    const struct bsonvalue *element)
{
    struct bytes pattern, options;

    switch (element->type) {
    case BSONTYPE_UNDEFINED:
        return err_set(ERR_BAD_VALUE, "InMatchExpression equality cannot be undefined");
    case BSONTYPE_REGEX:
        bsonvalue_regex(element, &pattern, &options);
        TRY_RETURN(
            regexcache_make(parse->arena, pattern, options, &node->regexes[node->regex_count++]));
        break;
    case BSONTYPE_DOCUMENT:
        if (filterparse_is_operators(element->raw))
            return err_set(ERR_BAD_VALUE, "cannot nest $ under $in");
        break;
    case BSONTYPE_NULL:
        node->has_null = true;
        break;
    default:
        break;
    }
    values[node->value_count++] = *element;
    return OK;
}

static err_t
parse_in(struct parse *parse, const struct docpath *path, const struct bsonvalue *list)
{
    struct filterprog_node *node;
    struct bsonvalue *values, element;
    struct bsonwalk walk;
    size_t count;
    uint32_t at;

    if (list->type != BSONTYPE_ARRAY)
        return err_set(ERR_BAD_VALUE, "$in needs an array");
    TRY_RETURN(open_node(parse, FILTERPROG_IN, path, &at));
    node = &parse->node[at];
    count = bsonwalk_count(list->raw);
    values = arena_alloc(parse->arena, (count + 1) * sizeof *values);
    node->regexes = arena_alloc(parse->arena, (count + 1) * sizeof(struct regexcache_ref *));
    if (values == NULL || node->regexes == NULL)
        return ERR_MEMORY;
    node->values = values;
    TRY_RETURN(bsonwalk_begin(&walk, list->raw));
    while (bsonwalk_next(&walk, &element))
        TRY_RETURN(read_in_element(parse, node, values, &element));
    TRY_RETURN(bsonwalk_end(&walk));
    qsort(values, node->value_count, sizeof *values, by_value);
    return OK;
}

/* $and, $or, $nor. */
static err_t
parse_list(struct parse *parse, enum filterprog_op op, const struct bsonvalue *list)
{
    struct bsonvalue element;
    struct bsonwalk walk;
    uint32_t at;

    if (list->type != BSONTYPE_ARRAY)
        return err_set(ERR_BAD_VALUE, "%.*s must be an array", (int)list->key.size,
            (const char *)list->key.data);
    if (bsonwalk_count(list->raw) == 0)
        return err_set(ERR_BAD_VALUE, "$and/$or/$nor must be a nonempty array");
    TRY_RETURN(open_node(parse, op, NULL, &at));
    TRY_RETURN(bsonwalk_begin(&walk, list->raw));
    while (bsonwalk_next(&walk, &element)) {
        if (element.type != BSONTYPE_DOCUMENT)
            return err_set(ERR_BAD_VALUE, "$or/$and/$nor entries need to be full objects");
        TRY_RETURN(parse_document(parse, element.raw));
    }
    TRY_RETURN(bsonwalk_end(&walk));
    close_node(parse, at);
    return OK;
}

static err_t
parse_not(struct parse *parse, const struct docpath *path, const struct bsonvalue *value)
{
    uint32_t at, inner;

    TRY_RETURN(open_node(parse, FILTERPROG_NOT, path, &at));
    if (value->type == BSONTYPE_REGEX)
        TRY_RETURN(parse_regex_value(parse, path, value));
    else if (value->type == BSONTYPE_DOCUMENT) {
        if (bsonwalk_count(value->raw) == 0)
            return err_set(ERR_BAD_VALUE, "$not cannot be empty");
        TRY_RETURN(open_node(parse, FILTERPROG_AND, NULL, &inner));
        TRY_RETURN(parse_operators(parse, path, value->raw));
        close_node(parse, inner);
    } else
        return err_set(ERR_BAD_VALUE, "$not needs a regex or a document");
    close_node(parse, at);
    return OK;
}

static err_t
parse_exists(struct parse *parse, const struct docpath *path, const struct bsonvalue *value)
{
    uint32_t negation = 0, at;
    bool wanted = bsonvalue_truth(value);

    if (!wanted)
        TRY_RETURN(open_node(parse, FILTERPROG_NOT, path, &negation));
    TRY_RETURN(open_node(parse, FILTERPROG_EXISTS, path, &at));
    parse->node[at].expand = false;
    if (!wanted)
        close_node(parse, negation);
    return OK;
}

static err_t
type_of_name(struct bytes name, uint64_t *types)
{
    static const uint8_t all[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18,
        19, BSONTYPE_MAXKEY, BSONTYPE_MINKEY };

    if (bytes_is(name, "number")) {
        *types |= filterprog_type_bit(BSONTYPE_INT32) | filterprog_type_bit(BSONTYPE_INT64) |
                  filterprog_type_bit(BSONTYPE_DOUBLE) | filterprog_type_bit(BSONTYPE_DECIMAL128);
        return OK;
    }
    for (size_t i = 0; i < sizeof all; i++)
        if (bytes_is(name, bsonvalue_type_name(all[i]))) {
            *types |= filterprog_type_bit(all[i]);
            return OK;
        }
    return err_set(ERR_BAD_VALUE, "Unknown type name alias: %.*s",
        (int)(name.size < 100 ? name.size : 100), (const char *)name.data);
}

static err_t
add_type(const struct bsonvalue *value, uint64_t *types)
{
    double number;

    if (value->type == BSONTYPE_STRING)
        return type_of_name(bsonvalue_string(value), types);
    if (!bsonvalue_is_number(value->type))
        return err_set(ERR_TYPE_MISMATCH, "type must be represented as a number or a string");
    if (bsonvalue_to_double(value, &number) && number == 0)
        return err_set(ERR_BAD_VALUE,
            "$type: 0 is not a valid type code; use {$exists: false} instead of {$type: 0}");
    if (number == -1)
        *types |= filterprog_type_bit(BSONTYPE_MINKEY);
    else if (number == BSONTYPE_MAXKEY)
        *types |= filterprog_type_bit(BSONTYPE_MAXKEY);
    else if (number >= 1 && number <= BSONTYPE_DECIMAL128 && number == floor(number))
        *types |= filterprog_type_bit((uint8_t)number);
    else
        return err_set(ERR_BAD_VALUE, "Invalid numerical type code: %.17g", number);
    return OK;
}

static err_t
parse_type(struct parse *parse, const struct docpath *path, const struct bsonvalue *value)
{
    struct bsonvalue element;
    struct bsonwalk walk;
    uint64_t types = 0;
    uint32_t at;

    if (value->type == BSONTYPE_ARRAY) {
        if (bsonwalk_count(value->raw) == 0)
            return err_set(ERR_FAILED_TO_PARSE, "$type must match at least one type");
        TRY_RETURN(bsonwalk_begin(&walk, value->raw));
        while (bsonwalk_next(&walk, &element))
            TRY_RETURN(add_type(&element, &types));
        TRY_RETURN(bsonwalk_end(&walk));
    } else
        TRY_RETURN(add_type(value, &types));
    TRY_RETURN(open_node(parse, FILTERPROG_TYPE, path, &at));
    parse->node[at].types = types;
    return OK;
}

static err_t
parse_size(struct parse *parse, const struct docpath *path, const struct bsonvalue *value)
{
    int64_t number;
    uint32_t at;

    if (!bsonvalue_is_number(value->type))
        return err_set(ERR_BAD_VALUE, "Failed to parse $size. Expected a number in: $size");
    if (!bsonvalue_to_int64(value, false, &number) || number > INT32_MAX)
        return err_set(ERR_BAD_VALUE, "Failed to parse $size. Expected an integer: $size");
    if (number < 0)
        return err_set(
            ERR_BAD_VALUE, "Failed to parse $size. Expected a non-negative number in: $size");
    TRY_RETURN(open_node(parse, FILTERPROG_SIZE, path, &at));
    parse->node[at].expand = false;
    parse->node[at].number = number;
    return OK;
}

static err_t
parse_mod(struct parse *parse, const struct docpath *path, const struct bsonvalue *value)
{
    struct bsonvalue element;
    struct bsonwalk walk;
    int64_t number[2] = { 0, 0 };
    size_t count;
    uint32_t at;

    if (value->type != BSONTYPE_ARRAY)
        return err_set(ERR_BAD_VALUE, "malformed mod, needs to be an array");
    count = bsonwalk_count(value->raw);
    if (count < 2)
        return err_set(ERR_BAD_VALUE, "malformed mod, not enough elements");
    if (count > 2)
        return err_set(ERR_BAD_VALUE, "malformed mod, too many elements");
    TRY_RETURN(bsonwalk_begin(&walk, value->raw));
    for (int i = 0; bsonwalk_next(&walk, &element); i++) {
        const char *what = i == 0 ? "divisor" : "remainder";

        if (!bsonvalue_is_number(element.type))
            return err_set(ERR_BAD_VALUE, "malformed mod, %s not a number", what);
        if (!bsonvalue_to_int64(&element, true, &number[i]))
            return err_set(ERR_BAD_VALUE,
                "malformed mod, %s value is invalid :: caused by :: out of bounds or not finite",
                what);
    }
    TRY_RETURN(bsonwalk_end(&walk));
    if (number[0] == 0)
        return err_set(ERR_BAD_VALUE, "divisor cannot be 0");
    TRY_RETURN(open_node(parse, FILTERPROG_MOD, path, &at));
    parse->node[at].divisor = number[0];
    parse->node[at].number = number[1];
    return OK;
}

static err_t
parse_bits(struct parse *parse, const struct docpath *path, const struct bsonvalue *value)
{
    static const char *const name[] = { [FILTERBITS_ALL_SET] = "$bitsAllSet",
        [FILTERBITS_ALL_CLEAR] = "$bitsAllClear",
        [FILTERBITS_ANY_SET] = "$bitsAnySet",
        [FILTERBITS_ANY_CLEAR] = "$bitsAnyClear" };
    struct filterprog_node *node;
    int test = FILTERBITS_ALL_SET;
    uint32_t at;

    while (!bytes_is(value->key, name[test]) && test < FILTERBITS_ANY_CLEAR)
        test++;
    TRY_RETURN(open_node(parse, FILTERPROG_BITS, path, &at));
    node = &parse->node[at];
    node->number = test;
    return filterbits_parse(parse->arena, value, &node->bits, &node->bit_count);
}

/* A regex here is a value like others. */
static err_t
parse_eq_operator(struct parse *parse, const struct docpath *path, const struct bsonvalue *value)
{
    uint32_t at;

    if (value->type != BSONTYPE_REGEX)
        return parse_equal(parse, path, value);
    TRY_RETURN(open_node(parse, FILTERPROG_EQ, path, &at));
    parse->node[at].value = *value;
    return OK;
}

static err_t
parse_elem_match(struct parse *parse, const struct docpath *path, const struct bsonvalue *value)
{
    struct bsonvalue first;
    uint32_t at, inner;
    bool as_value;

    if (value->type != BSONTYPE_DOCUMENT)
        return err_set(ERR_BAD_VALUE, "$elemMatch needs an Object");
    as_value = first_field(value->raw, &first) && filterparse_is_operators(value->raw) &&
               !bytes_is(first.key, "$and") && !bytes_is(first.key, "$or") &&
               !bytes_is(first.key, "$nor") && !bytes_is(first.key, "$where");
    TRY_RETURN(
        open_node(parse, as_value ? FILTERPROG_ELEM_VALUE : FILTERPROG_ELEM_OBJECT, path, &at));
    parse->node[at].expand = false;
    if (as_value) {
        TRY_RETURN(open_node(parse, FILTERPROG_AND, NULL, &inner));
        TRY_RETURN(parse_operators(parse, path, value->raw));
        close_node(parse, inner);
    } else
        TRY_RETURN(parse_document(parse, value->raw));
    close_node(parse, at);
    return OK;
}

static err_t
parse_all(struct parse *parse, const struct docpath *path, const struct bsonvalue *list)
{
    struct bsonvalue element, first;
    struct bsonwalk walk;
    uint32_t at;
    int elem_matches = -1;

    if (list->type != BSONTYPE_ARRAY)
        return err_set(ERR_BAD_VALUE, "$all needs an array");
    TRY_RETURN(open_node(parse, FILTERPROG_AND, NULL, &at));
    TRY_RETURN(bsonwalk_begin(&walk, list->raw));
    while (bsonwalk_next(&walk, &element)) {
        bool is_match = element.type == BSONTYPE_DOCUMENT && first_field(element.raw, &first) &&
                        bytes_is(first.key, "$elemMatch");

        if (elem_matches < 0)
            elem_matches = is_match;
        if (elem_matches != is_match)
            return err_set(ERR_BAD_VALUE, elem_matches == 1 ? "$all/$elemMatch has to be consistent"
                                                            : "no $ expressions in $all");
        if (is_match)
            TRY_RETURN(parse_elem_match(parse, path, &first));
        else if (element.type == BSONTYPE_DOCUMENT && filterparse_is_operators(element.raw))
            return err_set(ERR_BAD_VALUE, "no $ expressions in $all");
        else
            TRY_RETURN(parse_equal(parse, path, &element));
    }
    TRY_RETURN(bsonwalk_end(&walk));
    if (elem_matches < 0)
        TRY_RETURN(open_node(parse, FILTERPROG_FALSE, NULL, &(uint32_t){ 0 }));
    close_node(parse, at);
    return OK;
}

/* $regex with the $options that may stand beside it. */
static err_t
parse_regex_operator(struct parse *parse, const struct docpath *path, struct bytes operators,
    const struct bsonvalue *value)
{
    struct bytes pattern, options = { NULL, 0 };
    struct bsonvalue given;

    if (value->type == BSONTYPE_STRING)
        pattern = bsonvalue_string(value);
    else if (value->type == BSONTYPE_REGEX)
        bsonvalue_regex(value, &pattern, &options);
    else
        return err_set(ERR_BAD_VALUE, "$regex has to be a string");
    if (bsonwalk_get(operators, "$options", &given)) {
        err_t err;

        if (given.type != BSONTYPE_STRING)
            return err_set(ERR_BAD_VALUE, "$options has to be a string");
        if (options.size > 0) {
            err = err_set(ERR_BAD_VALUE, "options set in both $regex and $options");
            err_set_mongo(value->raw.data < given.raw.data ? 51075 : 51074, NULL);
            return err;
        }
        options = bsonvalue_string(&given);
    }
    if (memchr(pattern.size > 0 ? (const char *)pattern.data : "", 0, pattern.size) != NULL)
        return err_set(ERR_BAD_VALUE, "Regular expression cannot contain an embedded null byte");
    if (memchr(options.size > 0 ? (const char *)options.data : "", 0, options.size) != NULL) {
        err_t err = err_set(ERR_BAD_VALUE,
            "Regular expression options string cannot contain an embedded null byte");

        err_set_mongo(51108, NULL);
        return err;
    }
    return parse_regex(parse, path, pattern, options);
}

static err_t
parse_negated(struct parse *parse, const struct docpath *path, const struct bsonvalue *value)
{
    uint32_t at;

    TRY_RETURN(open_node(parse, FILTERPROG_NOT, path, &at));
    if (bytes_is(value->key, "$ne")) {
        if (value->type == BSONTYPE_REGEX)
            return err_set(ERR_BAD_VALUE, "Can't have regex as arg to $ne.");
        TRY_RETURN(parse_equal(parse, path, value));
    } else {
        if (value->type != BSONTYPE_ARRAY)
            return err_set(ERR_BAD_VALUE, "$nin needs an array");
        TRY_RETURN(parse_in(parse, path, value));
    }
    close_node(parse, at);
    return OK;
}

typedef err_t parse_operator(
    struct parse *parse, const struct docpath *path, const struct bsonvalue *value);

static const struct operator
{
    const char *name;
    enum filterprog_op compare; /* with parse NULL */
    parse_operator *parse;
}
operators_known[] = {
    { "$eq", 0, parse_eq_operator },
    { "$gt", FILTERPROG_GT, NULL },
    { "$gte", FILTERPROG_GTE, NULL },
    { "$lt", FILTERPROG_LT, NULL },
    { "$lte", FILTERPROG_LTE, NULL },
    { "$ne", 0, parse_negated },
    { "$in", 0, parse_in },
    { "$nin", 0, parse_negated },
    { "$not", 0, parse_not },
    { "$exists", 0, parse_exists },
    { "$type", 0, parse_type },
    { "$size", 0, parse_size },
    { "$mod", 0, parse_mod },
    { "$bitsAllSet", 0, parse_bits },
    { "$bitsAllClear", 0, parse_bits },
    { "$bitsAnySet", 0, parse_bits },
    { "$bitsAnyClear", 0, parse_bits },
    { "$all", 0, parse_all },
    { "$elemMatch", 0, parse_elem_match },
};

static err_t
parse_one_operator(struct parse *parse, const struct docpath *path, struct bytes operators,
    const struct bsonvalue *value)
{
    struct bsonvalue other;

    for (size_t i = 0; i < sizeof operators_known / sizeof operators_known[0]; i++) {
        const struct operator* known = & operators_known[i];

        if (!bytes_is(value->key, known->name))
            continue;
        if (known->parse != NULL)
            return known->parse(parse, path, value);
        return parse_compare(parse, path, known->compare, value);
    }
    if (bytes_is(value->key, "$regex"))
        return parse_regex_operator(parse, path, operators, value);
    if (bytes_is(value->key, "$options")) {
        if (!bsonwalk_get(operators, "$regex", &other))
            return err_set(ERR_BAD_VALUE, "$options needs a $regex");
        return OK;
    }
    if (bytes_is(value->key, "$comment"))
        return OK;
    return err_set(ERR_BAD_VALUE, "unknown operator: %.*s",
        (int)(value->key.size < 200 ? value->key.size : 200), (const char *)value->key.data);
}

static err_t
parse_operators(struct parse *parse, const struct docpath *path, struct bytes operators)
{
    struct bsonvalue value;
    struct bsonwalk walk;

    if (++parse->depth > DEPTH_MAX)
        return err_set(ERR_BAD_VALUE, "the filter is nested too deeply");
    TRY_RETURN(bsonwalk_begin(&walk, operators));
    while (bsonwalk_next(&walk, &value))
        TRY_RETURN(parse_one_operator(parse, path, operators, &value));
    TRY_RETURN(bsonwalk_end(&walk));
    parse->depth--;
    return OK;
}

static err_t
parse_field(struct parse *parse, const struct docpath *path, const struct bsonvalue *value)
{
    if (value->type == BSONTYPE_DOCUMENT && filterparse_is_operators(value->raw))
        return parse_operators(parse, path, value->raw);
    return parse_equal(parse, path, value);
}

static err_t
parse_top_operator(struct parse *parse, const struct bsonvalue *value)
{
    if (bytes_is(value->key, "$and"))
        return parse_list(parse, FILTERPROG_AND, value);
    if (bytes_is(value->key, "$or"))
        return parse_list(parse, FILTERPROG_OR, value);
    if (bytes_is(value->key, "$nor"))
        return parse_list(parse, FILTERPROG_NOR, value);
    if (bytes_is(value->key, "$comment"))
        return OK;
    return err_set(ERR_BAD_VALUE,
        "unknown top level operator: %.*s. If you have a field name that starts with a '$' "
        "symbol, consider using $getField or $setField.",
        (int)(value->key.size < 200 ? value->key.size : 200), (const char *)value->key.data);
}

static err_t
parse_document(struct parse *parse, struct bytes document)
{
    const struct docpath *path;
    struct bsonvalue value;
    struct bsonwalk walk;
    uint32_t at;

    if (++parse->depth > DEPTH_MAX)
        return err_set(ERR_BAD_VALUE, "the filter is nested too deeply");
    TRY_RETURN(open_node(parse, FILTERPROG_AND, NULL, &at));
    TRY_RETURN(bsonwalk_begin(&walk, document));
    while (bsonwalk_next(&walk, &value)) {
        if (begins_with_dollar(value.key) && !bytes_is(value.key, "$ref") &&
            !bytes_is(value.key, "$id") && !bytes_is(value.key, "$db")) {
            TRY_RETURN(parse_top_operator(parse, &value));
            continue;
        }
        TRY_RETURN(docpath_compile(parse->arena, value.key, &path));
        TRY_RETURN(parse_field(parse, path, &value));
    }
    TRY_RETURN(bsonwalk_end(&walk));
    close_node(parse, at);
    parse->depth--;
    return OK;
}

static struct bytes
copy_document(struct arena *arena, struct bytes document)
{
    const uint8_t *data = arena_copy(arena, document.data, document.size);

    return (struct bytes){ data, data != NULL ? document.size : 0 };
}

static err_t
finish(struct parse *parse, const struct filter **filter)
{
    struct filter *made = arena_zalloc(parse->arena, sizeof *made);

    if (made == NULL)
        return ERR_MEMORY;
    invariant(parse->count > 0); /* P1 */
    made->node = parse->node;
    made->count = parse->count;
    *filter = made;
    return OK;
}

static err_t
note_only_id(struct parse *parse, struct filter *filter)
{
    const struct filterprog_node *node = &filter->node[1];
    struct bsonbuild build;

    if (filter->count != 2 || node->op != FILTERPROG_EQ || !bytes_is(node->path->text, "_id") ||
        node->value.type == BSONTYPE_ARRAY)
        return OK;
    bsonbuild_begin_arena(&build, parse->arena);
    bsonbuild_value(&build, "", &node->value);
    return bsonbuild_end(&build, &filter->only_id);
}

err_t
filterparse_document(struct arena *arena, struct bytes document, const struct filter **filter)
{
    struct parse parse = { .arena = arena };
    struct bytes copy;

    if (document.size == 0)
        document = bsonvalue_empty_document;
    copy = copy_document(arena, document);
    if (copy.data == NULL)
        return ERR_MEMORY;
    TRY_RETURN(parse_document(&parse, copy));
    TRY_RETURN(finish(&parse, filter));
    return note_only_id(&parse, (struct filter *)*filter);
}

err_t
filterparse_condition(struct arena *arena, struct bytes operators, const struct filter **filter)
{
    struct parse parse = { .arena = arena };
    struct bytes copy = copy_document(arena, operators);
    uint32_t at;

    if (copy.data == NULL)
        return ERR_MEMORY;
    TRY_RETURN(open_node(&parse, FILTERPROG_AND, NULL, &at));
    TRY_RETURN(parse_operators(&parse, NULL, copy));
    close_node(&parse, at);
    return finish(&parse, filter);
}
