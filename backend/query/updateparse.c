/*
 * updateparse.c - from an update's BSON to its program.
 *
 * INVARIANTS
 *  U1  Two operators never stand at the same path, nor one above the other: what could conflict is
 *      refused here (code 40), so applying needs no order among operators.
 *  U2  Paths have at most DEPTH_MAX parts, which bounds the recursion of applying.
 *
 * IF A PROCESS DIES: nothing here is shared.
 */
#include "backend/query/filterprog.h"
#include "backend/query/updateprog.h"
#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"

#define DEPTH_MAX 100

static const struct known {
    const char *name;
    enum updateprog_op op;
} known_operators[] = {
    { "$set", UPDATEPROG_SET },
    { "$setOnInsert", UPDATEPROG_SET_ON_INSERT },
    { "$unset", UPDATEPROG_UNSET },
    { "$inc", UPDATEPROG_INC },
    { "$mul", UPDATEPROG_MUL },
    { "$min", UPDATEPROG_MIN },
    { "$max", UPDATEPROG_MAX },
    { "$rename", UPDATEPROG_RENAME_TO },
    { "$push", UPDATEPROG_PUSH },
    { "$addToSet", UPDATEPROG_ADD_TO_SET },
    { "$pull", UPDATEPROG_PULL },
    { "$pullAll", UPDATEPROG_PULL_ALL },
    { "$pop", UPDATEPROG_POP },
    { "$currentDate", UPDATEPROG_CURRENT_DATE },
    { "$bit", UPDATEPROG_BIT },
};

struct parse {
    struct arena *arena;
    struct update *update;
};

static int
compare_names(const struct updateprog_node *a, struct bytes name, int64_t index)
{
    if (a->index >= 0 && index >= 0)
        return (a->index > index) - (a->index < index);
    return bytes_compare(a->name, name);
}

static err_t
conflict(const struct docpath *path, struct bytes at)
{
    return err_set(ERR_CONFLICTING_UPDATE,
        "Updating the path '%.*s' would create a conflict at '%.*s'", (int)path->text.size,
        (const char *)path->text.data, (int)at.size, (const char *)at.data);
}

static err_t
check_name(const struct docpath *path, struct bytes name, uint32_t part)
{
    const char *text = (const char *)path->text.data;

    if (name.size == 0) {
        if (path->text.size == 0)
            return err_set(ERR_EMPTY_FIELD_NAME, "An empty update path is not valid.");
        return err_set(ERR_EMPTY_FIELD_NAME,
            "The update path '%s' contains an empty field name, which is not allowed.", text);
    }
    if (name.data[0] != '$' || bytes_is(name, "$ref") || bytes_is(name, "$id") ||
        bytes_is(name, "$db"))
        return OK;
    if (part > 0 && bytes_is(name, "$[]"))
        return OK;
    if (part == 0 && (bytes_is(name, "$") || name.data[name.size - 1] == ']'))
        return err_set(ERR_BAD_VALUE,
            "Cannot have positional (i.e. '$') element in the first position in path '%s'", text);
    if (bytes_is(name, "$") || (name.size > 2 && name.data[1] == '['))
        return err_set(ERR_BAD_VALUE, "the positional operator '%.*s' in '%s' is not supported",
            (int)name.size, (const char *)name.data, text);
    return err_set(ERR_DOLLAR_PREFIX,
        "The dollar ($) prefixed field '%.*s' in '%s' is not allowed in the context of an update "
        "document.",
        (int)name.size, (const char *)name.data, text);
}

/* Find or make the child of that name, keeping them sorted. */
static err_t
descend(struct parse *parse, struct updateprog_node *parent, const struct docpath *path,
    uint32_t part, struct updateprog_node **child)
{
    struct bytes name = path->part[part].name;
    int64_t index = path->part[part].index;
    struct updateprog_node **link = &parent->child, *made;
    const uint8_t *end = name.data + name.size;

    TRY_RETURN(check_name(path, name, part));
    while (*link != NULL && compare_names(*link, name, index) < 0)
        link = &(*link)->next;
    if (*link != NULL && compare_names(*link, name, index) == 0) {
        *child = *link;
        return OK;
    }
    made = arena_zalloc(parse->arena, sizeof *made);
    if (made == NULL)
        return ERR_MEMORY;
    made->name = name;
    made->index = index;
    made->path = (struct bytes){ path->text.data, (size_t)(end - path->text.data) };
    made->all = bytes_is(name, "$[]");
    if (parent->child != NULL && (made->all || parent->child->all))
        return err_set(ERR_CONFLICTING_UPDATE,
            "Updating the path '%s' would create a conflict at '%.*s'",
            (const char *)path->text.data, (int)parent->path.size, (const char *)parent->path.data);
    made->next = *link;
    *link = made;
    *child = made;
    return OK;
}

static err_t
reach(struct parse *parse, struct bytes text, enum updateprog_op op, struct updateprog_node **leaf)
{
    struct updateprog_node *node = &parse->update->root;
    const struct docpath *path;

    TRY_RETURN(docpath_compile(parse->arena, text, &path));
    if (path->count > DEPTH_MAX)
        return err_set(ERR_OVERFLOW, "the update path has more than %d parts", DEPTH_MAX);
    for (uint32_t i = 0; i < path->count; i++) {
        TRY_RETURN(descend(parse, node, path, i, &node));
        if (node->op != UPDATEPROG_INNER)
            return conflict(path, node->path); /* U1 */
    }
    if (node->child != NULL)
        return conflict(path, node->path);
    node->op = op;
    if (bytes_is(path->part[0].name, "_id"))
        parse->update->sets_id = true;
    *leaf = node;
    return OK;
}

static err_t
read_number(const struct bsonvalue *value, const char *what, int64_t *number)
{
    if (!bsonvalue_is_number(value->type) || !bsonvalue_to_int64(value, false, number))
        return err_set(ERR_BAD_VALUE,
            "The value for %s must be an integer value but was given type: %s", what,
            bsonvalue_type_name(value->type));
    return OK;
}

static err_t
read_sort(const struct bsonvalue *value, struct updateprog_push *push)
{
    struct bsonvalue field;
    struct bsonwalk walk;
    double number = 0;

    if (bsonvalue_is_number(value->type)) {
        (void)bsonvalue_to_double(value, &number);
        if (number != 1 && number != -1)
            return err_set(ERR_BAD_VALUE, "The $sort element value must be either 1 or -1");
        push->by_value = true;
        push->descending = number < 0;
        return OK;
    }
    if (value->type != BSONTYPE_DOCUMENT)
        return err_set(ERR_BAD_VALUE,
            "The $sort is invalid: use 1/-1 to sort the whole element, or {field:1/-1} to sort "
            "embedded fields");
    if (bsonwalk_count(value->raw) == 0)
        return err_set(ERR_BAD_VALUE, "The $sort pattern is empty when it should be a set of "
                                      "fields.");
    TRY_RETURN(bsonwalk_begin(&walk, value->raw));
    while (bsonwalk_next(&walk, &field)) {
        if (!bsonvalue_to_double(&field, &number) || (number != 1 && number != -1))
            return err_set(ERR_BAD_VALUE, "The $sort element value must be either 1 or -1");
        if (field.key.size == 0)
            return err_set(ERR_BAD_VALUE, "The $sort field cannot be empty");
        if (field.key.data[0] == '.' || field.key.data[field.key.size - 1] == '.' ||
            strstr((const char *)field.key.data, "..") != NULL)
            return err_set(ERR_BAD_VALUE,
                "The $sort field is a dotted field but has an empty "
                "part: %s",
                (const char *)field.key.data);
    }
    TRY_RETURN(bsonwalk_end(&walk));
    push->sort = value->raw;
    return OK;
}

static err_t
parse_push(struct parse *parse, struct updateprog_node *node, bool modifiers)
{
    struct updateprog_push *push = arena_zalloc(parse->arena, sizeof *push);
    struct bsonvalue field;
    struct bsonwalk walk;
    struct bsonbuild build;
    bool known_too = node->op == UPDATEPROG_PUSH;

    if (push == NULL)
        return ERR_MEMORY;
    node->push = push;
    if (!modifiers || node->value.type != BSONTYPE_DOCUMENT ||
        !bsonwalk_get(node->value.raw, "$each", &field)) {
        bsonbuild_begin_arena(&build, parse->arena);
        bsonbuild_value(&build, "0", &node->value);
        return bsonbuild_end(&build, &push->each);
    }
    TRY_RETURN(bsonwalk_begin(&walk, node->value.raw));
    while (bsonwalk_next(&walk, &field)) {
        if (bytes_is(field.key, "$each")) {
            if (field.type != BSONTYPE_ARRAY)
                return err_set(known_too ? ERR_BAD_VALUE : ERR_TYPE_MISMATCH,
                    "The argument to $each in %s must be an array but it was of type: %s",
                    known_too ? "$push" : "$addToSet", bsonvalue_type_name(field.type));
            push->each = field.raw;
        } else if (known_too && bytes_is(field.key, "$position")) {
            TRY_RETURN(read_number(&field, "$position", &push->position));
            push->has_position = true;
        } else if (known_too && bytes_is(field.key, "$slice")) {
            TRY_RETURN(read_number(&field, "$slice", &push->slice));
            push->has_slice = true;
        } else if (known_too && bytes_is(field.key, "$sort"))
            TRY_RETURN(read_sort(&field, push));
        else
            return err_set(ERR_BAD_VALUE,
                known_too ? "Unrecognized clause in $push: %s"
                          : "Found unexpected fields after $each in $addToSet: %s",
                (const char *)field.key.data);
    }
    return bsonwalk_end(&walk);
}

static err_t
parse_pull(struct parse *parse, struct updateprog_node *node)
{
    struct bsonbuild build;
    struct bytes condition;

    if (node->value.type == BSONTYPE_DOCUMENT) {
        struct bsonvalue first;

        if (filterparse_is_operators(node->value.raw) &&
            !bsonwalk_get(node->value.raw, "$or", &first) &&
            !bsonwalk_get(node->value.raw, "$and", &first) &&
            !bsonwalk_get(node->value.raw, "$nor", &first))
            return filterparse_condition(parse->arena, node->value.raw, &node->filter);
        node->filter_documents = true;
        return filter_compile(parse->arena, node->value.raw, &node->filter);
    }
    if (node->value.type != BSONTYPE_REGEX)
        return OK;
    bsonbuild_begin_arena(&build, parse->arena);
    bsonbuild_value(&build, "$regex", &node->value);
    TRY_RETURN(bsonbuild_end(&build, &condition));
    return filterparse_condition(parse->arena, condition, &node->filter);
}

static err_t
parse_current_date(struct updateprog_node *node)
{
    struct bsonvalue type;

    if (node->value.type == BSONTYPE_BOOL) {
        node->value.type = BSONTYPE_DATE;
        return OK;
    }
    if (node->value.type == BSONTYPE_DOCUMENT && bsonwalk_count(node->value.raw) == 1 &&
        bsonwalk_get(node->value.raw, "$type", &type) && type.type == BSONTYPE_STRING) {
        struct bytes name = bsonvalue_string(&type);

        if (bytes_is(name, "date") || bytes_is(name, "timestamp")) {
            node->value.type =
                bytes_is(name, "date") ? (uint8_t)BSONTYPE_DATE : (uint8_t)BSONTYPE_TIMESTAMP;
            return OK;
        }
        return err_set(
            ERR_BAD_VALUE, "The '$type' string field is required to be 'date' or 'timestamp'");
    }
    return err_set(ERR_BAD_VALUE,
        "%s is not valid type for $currentDate. Please use a boolean ('true') or a $type "
        "expression ({$type: 'timestamp/date'}).",
        bsonvalue_type_name(node->value.type));
}

static err_t
parse_bit(struct updateprog_node *node)
{
    struct bsonvalue field;
    struct bsonwalk walk;

    if (node->value.type != BSONTYPE_DOCUMENT || bsonwalk_count(node->value.raw) == 0)
        return err_set(ERR_BAD_VALUE,
            "The $bit modifier is not compatible with a %s. You must pass in an embedded document: "
            "{$bit: {field: {and/or/xor: #}}",
            bsonvalue_type_name(node->value.type));
    TRY_RETURN(bsonwalk_begin(&walk, node->value.raw));
    while (bsonwalk_next(&walk, &field)) {
        if (!bytes_is(field.key, "and") && !bytes_is(field.key, "or") &&
            !bytes_is(field.key, "xor"))
            return err_set(ERR_BAD_VALUE,
                "The $bit modifier only supports 'and', 'or', and 'xor', not '%s'",
                (const char *)field.key.data);
        if (field.type != BSONTYPE_INT32 && field.type != BSONTYPE_INT64)
            return err_set(ERR_BAD_VALUE,
                "The $bit modifier field must be an Integer(32/64 bit); a '%s' is not supported "
                "here",
                bsonvalue_type_name(field.type));
    }
    return bsonwalk_end(&walk);
}

static err_t
parse_rename(struct parse *parse, const struct bsonvalue *value)
{
    struct updateprog_node *source, *target;
    struct bytes to;

    if (value->type != BSONTYPE_STRING)
        return err_set(ERR_BAD_VALUE, "The 'to' field for $rename must be a string: %s",
            (const char *)value->key.data);
    to = bsonvalue_string(value);
    if (bytes_equal(value->key, to))
        return err_set(ERR_BAD_VALUE, "The source and target field for $rename must differ: %s",
            (const char *)value->key.data);
    if (memmem(value->key.data, value->key.size, "$[", 2) != NULL ||
        memmem(to.data, to.size, "$[", 2) != NULL)
        return err_set(ERR_BAD_VALUE, "The source and target of $rename may not be dynamic: %s",
            (const char *)value->key.data);
    TRY_RETURN(reach(parse, value->key, UPDATEPROG_RENAME_FROM, &source));
    TRY_RETURN(reach(parse, to, UPDATEPROG_RENAME_TO, &target));
    return docpath_compile(parse->arena, value->key, &target->from);
}

static err_t
check_pop(const struct bsonvalue *value)
{
    int64_t number;

    if (!bsonvalue_is_number(value->type))
        return err_set(
            ERR_FAILED_TO_PARSE, "Expected a number in: %s", (const char *)value->key.data);
    if (!bsonvalue_to_int64(value, false, &number))
        return err_set(
            ERR_FAILED_TO_PARSE, "Expected an integer: %s", (const char *)value->key.data);
    if (number != 1 && number != -1)
        return err_set(ERR_FAILED_TO_PARSE, "$pop expects 1 or -1, found: %lld", (long long)number);
    return OK;
}

static err_t
parse_field(struct parse *parse, enum updateprog_op op, const struct bsonvalue *value)
{
    struct updateprog_node *node;

    if (op == UPDATEPROG_RENAME_TO)
        return parse_rename(parse, value);
    TRY_RETURN(reach(parse, value->key, op, &node));
    node->value = *value;
    switch (op) {
    case UPDATEPROG_INC:
    case UPDATEPROG_MUL:
        if (!bsonvalue_is_number(value->type))
            return err_set(ERR_TYPE_MISMATCH, "Cannot %s with non-numeric argument: {%s: %s}",
                op == UPDATEPROG_INC ? "increment" : "multiply", (const char *)value->key.data,
                bsonvalue_type_name(value->type));
        return OK;
    case UPDATEPROG_PUSH:
    case UPDATEPROG_ADD_TO_SET:
        return parse_push(parse, node, true);
    case UPDATEPROG_PULL:
        return parse_pull(parse, node);
    case UPDATEPROG_PULL_ALL:
        if (value->type != BSONTYPE_ARRAY)
            return err_set(ERR_BAD_VALUE, "$pullAll requires an array argument but was given a %s",
                bsonvalue_type_name(value->type));
        return OK;
    case UPDATEPROG_POP:
        return check_pop(value);
    case UPDATEPROG_CURRENT_DATE:
        return parse_current_date(node);
    case UPDATEPROG_BIT:
        return parse_bit(node);
    default:
        return OK;
    }
}

static err_t
parse_operator(struct parse *parse, const struct bsonvalue *operator)
{
    enum updateprog_op op = UPDATEPROG_INNER;
    struct bsonvalue value;
    struct bsonwalk walk;

    for (size_t i = 0; i < sizeof known_operators / sizeof known_operators[0]; i++)
        if (bytes_is(operator->key, known_operators[i].name))
            op = known_operators[i].op;
    if (op == UPDATEPROG_INNER)
        return err_set(ERR_FAILED_TO_PARSE,
            "Unknown modifier: %.*s. Expected a valid update modifier or pipeline-style update "
            "specified as an array",
            (int)(operator->key.size < 200 ? operator->key.size : 200),
            (const char *)operator->key.data);
    if (operator->type != BSONTYPE_DOCUMENT)
        return err_set(ERR_FAILED_TO_PARSE,
            "Modifiers operate on fields but we found type %s instead. For example: {$mod: "
            "{<field>: ...}} not {%s: ...}",
            bsonvalue_type_name(operator->type), (const char *)operator->key.data);
    TRY_RETURN(bsonwalk_begin(&walk, operator->raw));
    while (bsonwalk_next(&walk, &value))
        TRY_RETURN(parse_field(parse, op, &value));
    return bsonwalk_end(&walk);
}

static err_t
check_replacement(struct bytes document)
{
    struct bsonvalue value;
    struct bsonwalk walk;

    TRY_RETURN(bsonwalk_begin(&walk, document));
    while (bsonwalk_next(&walk, &value))
        if (value.key.size > 0 && value.key.data[0] == '$')
            return err_set(ERR_DOLLAR_PREFIX,
                "The dollar ($) prefixed field '%s' in '%s' is not allowed in the context of an "
                "update's replacement document. Consider using an aggregation pipeline with "
                "$replaceWith.",
                (const char *)value.key.data, (const char *)value.key.data);
    return bsonwalk_end(&walk);
}

err_t
updateparse_document(
    struct arena *arena, struct bytes document, enum update_rule rule, const struct update **update)
{
    struct update *made = arena_zalloc(arena, sizeof *made);
    struct parse parse = { arena, made };
    struct bsonvalue value;
    struct bsonwalk walk;
    uint8_t *copy = arena_copy(arena, document.data, document.size);
    bool first = true;

    if (made == NULL || copy == NULL)
        return ERR_MEMORY;
    *update = made;
    made->document = (struct bytes){ copy, document.size };
    TRY_RETURN(bsonwalk_begin(&walk, made->document));
    while (bsonwalk_next(&walk, &value)) {
        bool dollar = value.key.size > 0 && value.key.data[0] == '$';

        if (first && rule != UPDATE_OPERATORS && (rule == UPDATE_REPLACE || !dollar))
            break;
        if (!dollar)
            return err_set(ERR_FAILED_TO_PARSE,
                "Unknown modifier: %s. Expected a valid update modifier or pipeline-style update "
                "specified as an array",
                (const char *)value.key.data);
        TRY_RETURN(parse_operator(&parse, &value));
        first = false;
    }
    TRY_RETURN(bsonwalk_end(&walk));
    made->replacement = first && rule != UPDATE_OPERATORS;
    return made->replacement ? check_replacement(made->document) : OK;
}

err_t
updateparse_set(
    struct arena *arena, struct update *update, struct bytes path, const struct bsonvalue *value)
{
    struct parse parse = { arena, update };
    struct updateprog_node *node;

    TRY_RETURN(reach(&parse, path, UPDATEPROG_SET, &node));
    node->value = *value;
    return OK;
}
