/*
 * json_filter.c - filters of the JSON-lines language as the engine takes them.
 *
 * A filter is copied once, from what the parser made to what the engine compiles; what the engine
 * checks as well is left to it.  Recursion is bounded by the depth of a request, 127.
 */
#include "backend/command/json_filter.h"

#include "backend/command/json_document.h"
#include "base/doc/bsonwalk.h"

struct translation {
    struct json_call *call;
    struct bsonbuild build;
};

static err_t put_filter(struct translation *t, struct bytes filter);
static err_t put_operators(struct translation *t, struct bytes operators, bool of_id);

static err_t
refuse_operator(struct translation *t, struct bytes name)
{
    return json_call_say(
        t->call, ERR_BAD_VALUE, "Invalid operator: %.*s", (int)name.size, (const char *)name.data);
}

static err_t
refuse_kind(struct translation *t, struct bytes name, const char *kind)
{
    return json_call_say(t->call, ERR_BAD_VALUE, "Query parse error: %.*s requires %s",
        (int)name.size, (const char *)name.data, kind);
}

static bool
is_operator(struct bytes key)
{
    return key.size > 0 && key.data[0] == '$';
}

/* {$op: …}, but not a reference {$ref, $id} or an extended value. */
static bool
has_operators(const struct bsonvalue *value)
{
    struct bsonwalk walk;
    struct bsonvalue member;

    if (value->type != BSONTYPE_DOCUMENT || bsonwalk_begin(&walk, value->raw) != OK)
        return false;
    while (bsonwalk_next(&walk, &member))
        if (bytes_is(member.key, "$ref"))
            return false;
        else if (is_operator(member.key))
            return true;
    return false;
}

/* A value; behind a text that is a UUID's, if it is meant as a key, its binary form (3.2). */
static void
put_key(struct translation *t, const struct bsonvalue *value, bool of_id)
{
    uint8_t uuid[16];

    json_document_put_sorted(&t->build, value);
    if (of_id && json_document_is_uuid(value, uuid))
        bsonbuild_binary(
            &t->build, (const char *)NULL, BSONSUBTYPE_UUID, ((struct bytes){ uuid, sizeof uuid }));
}

/* An equality, or its opposite; of a UUID's text as a key a choice of both forms. */
static void
put_equality(struct translation *t, bool opposite, const struct bsonvalue *value, bool of_id)
{
    struct bsonvalue renamed = *value;
    uint8_t uuid[16];

    if (of_id && json_document_is_uuid(value, uuid)) {
        bsonbuild_array_begin(&t->build, opposite ? "$nin" : "$in");
        put_key(t, value, true);
        bsonbuild_array_end(&t->build);
    } else {
        renamed.key = bytes_of(opposite ? "$ne" : "$eq");
        json_document_put_sorted(&t->build, &renamed);
    }
}

static err_t
put_choice(struct translation *t, const struct bsonvalue *value, bool of_id)
{
    struct bsonwalk walk;
    struct bsonvalue item;

    if (value->type != BSONTYPE_ARRAY)
        return refuse_kind(t, value->key, "an array");
    bsonbuild_array_begin(&t->build, value->key);
    TRY_RETURN(bsonwalk_begin(&walk, value->raw));
    while (bsonwalk_next(&walk, &item))
        put_key(t, &item, of_id);
    bsonbuild_array_end(&t->build);
    return OK;
}

/* The names that GraniteDB gives to types, where MongoDB has others. */
static const struct {
    const char *ours, *engine;
} type_names[] = { { "boolean", "bool" }, { "int32", "int" }, { "int64", "long" },
    { "document", "object" }, { "binary", "binData" }, { "objectid", "objectId" },
    { "datetime", "date" } };

static err_t
put_type(struct translation *t, struct bytes name, const struct bsonvalue *value)
{
    if (value->type == BSONTYPE_STRING) {
        struct bytes text = bsonvalue_string(value);

        for (size_t i = 0; i < sizeof type_names / sizeof type_names[0]; i++)
            if (bytes_is(text, type_names[i].ours))
                text = bytes_of(type_names[i].engine);
        bsonbuild_string(&t->build, value->key, text);
        return OK;
    }
    if (!bsonvalue_is_number(value->type))
        return refuse_kind(t, name, "a string");
    bsonbuild_element(&t->build, value);
    return OK;
}

static err_t
put_types(struct translation *t, const struct bsonvalue *value)
{
    struct bsonwalk walk;
    struct bsonvalue item;

    if (value->type != BSONTYPE_ARRAY)
        return put_type(t, value->key, value);
    bsonbuild_array_begin(&t->build, value->key);
    TRY_RETURN(bsonwalk_begin(&walk, value->raw));
    while (bsonwalk_next(&walk, &item))
        TRY_RETURN(put_type(t, value->key, &item));
    bsonbuild_array_end(&t->build);
    return OK;
}

static err_t
put_element_match(struct translation *t, const struct bsonvalue *value)
{
    struct bsonwalk walk;
    struct bsonvalue first = { .key = { NULL, 0 } };
    bool logical;

    if (value->type != BSONTYPE_DOCUMENT) {
        bsonbuild_element(&t->build, value);
        return OK;
    }
    TRY_RETURN(bsonwalk_begin(&walk, value->raw));
    (void)bsonwalk_next(&walk, &first);
    logical = bytes_is(first.key, "$and") || bytes_is(first.key, "$or") ||
              bytes_is(first.key, "$nor") || bytes_is(first.key, "$expr");
    bsonbuild_document_begin(&t->build, value->key);
    TRY_RETURN(has_operators(value) && !logical ? put_operators(t, value->raw, false)
                                                : put_filter(t, value->raw));
    bsonbuild_document_end(&t->build);
    return OK;
}

static err_t
put_not(struct translation *t, const struct bsonvalue *value, bool of_id)
{
    if (value->type != BSONTYPE_DOCUMENT) {
        bsonbuild_element(&t->build, value);
        return OK;
    }
    bsonbuild_document_begin(&t->build, value->key);
    TRY_RETURN(put_operators(t, value->raw, of_id));
    bsonbuild_document_end(&t->build);
    return OK;
}

enum filter_operator { EQ, NE, IN, TYPE, EXISTS, REGEX, ELEM_MATCH, NOT, AS_IT_IS, UNKNOWN };

static enum filter_operator
operator_of(struct bytes name)
{
    static const struct {
        const char *name;
        enum filter_operator is;
    } known[] = { { "$eq", EQ }, { "$ne", NE }, { "$in", IN }, { "$nin", IN }, { "$type", TYPE },
        { "$exists", EXISTS }, { "$regex", REGEX }, { "$elemMatch", ELEM_MATCH }, { "$not", NOT },
        { "$gt", AS_IT_IS }, { "$gte", AS_IT_IS }, { "$lt", AS_IT_IS }, { "$lte", AS_IT_IS },
        { "$options", AS_IT_IS }, { "$all", AS_IT_IS }, { "$size", AS_IT_IS }, { "$mod", AS_IT_IS },
        { "$bitsAllSet", AS_IT_IS }, { "$bitsAllClear", AS_IT_IS }, { "$bitsAnySet", AS_IT_IS },
        { "$bitsAnyClear", AS_IT_IS } };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (bytes_is(name, known[i].name))
            return known[i].is;
    return UNKNOWN;
}

static err_t
put_operator(struct translation *t, const struct bsonvalue *value, bool of_id)
{
    switch (operator_of(value->key)) {
    case EQ:
        put_equality(t, false, value, of_id);
        return OK;
    case NE:
        put_equality(t, true, value, of_id);
        return OK;
    case IN:
        return put_choice(t, value, of_id);
    case TYPE:
        return put_types(t, value);
    case EXISTS:
        if (value->type != BSONTYPE_BOOL)
            return refuse_kind(t, value->key, "a boolean");
        bsonbuild_element(&t->build, value);
        return OK;
    case REGEX:
        if (value->type != BSONTYPE_STRING && value->type != BSONTYPE_REGEX)
            return refuse_kind(t, value->key, "a string");
        bsonbuild_element(&t->build, value);
        return OK;
    case ELEM_MATCH:
        return put_element_match(t, value);
    case NOT:
        return put_not(t, value, of_id);
    case AS_IT_IS:
        json_document_put_sorted(&t->build, value);
        return OK;
    default:
        return refuse_operator(t, value->key);
    }
}

static err_t
put_operators(struct translation *t, struct bytes operators, bool of_id)
{
    struct bsonwalk walk;
    struct bsonvalue value;

    TRY_RETURN(bsonwalk_begin(&walk, operators));
    while (bsonwalk_next(&walk, &value))
        TRY_RETURN(put_operator(t, &value, of_id));
    return OK;
}

/* $and, $or, $nor. */
static err_t
put_branches(struct translation *t, const struct bsonvalue *value)
{
    struct bsonwalk walk;
    struct bsonvalue item;

    if (value->type != BSONTYPE_ARRAY)
        return refuse_kind(t, value->key, "an array");
    bsonbuild_array_begin(&t->build, value->key);
    TRY_RETURN(bsonwalk_begin(&walk, value->raw));
    while (bsonwalk_next(&walk, &item)) {
        if (item.type != BSONTYPE_DOCUMENT)
            return json_call_say(
                t->call, ERR_BAD_VALUE, "Query parse error: Query must be a JSON object");
        bsonbuild_document_begin(&t->build, (const char *)NULL);
        TRY_RETURN(put_filter(t, item.raw));
        bsonbuild_document_end(&t->build);
    }
    bsonbuild_array_end(&t->build);
    return OK;
}

/* A whole filter negated: {$nor: [filter]}. */
static err_t
put_negated(struct translation *t, const struct bsonvalue *value)
{
    if (value->type != BSONTYPE_DOCUMENT)
        return json_call_say(
            t->call, ERR_BAD_VALUE, "Query parse error: Query must be a JSON object");
    bsonbuild_array_begin(&t->build, "$nor");
    bsonbuild_document_begin(&t->build, (const char *)NULL);
    TRY_RETURN(put_filter(t, value->raw));
    bsonbuild_document_end(&t->build);
    bsonbuild_array_end(&t->build);
    return OK;
}

static err_t
put_field(struct translation *t, const struct bsonvalue *value)
{
    bool of_id = bytes_is(value->key, "_id");
    uint8_t uuid[16];

    if (has_operators(value)) {
        bsonbuild_document_begin(&t->build, value->key);
        TRY_RETURN(put_operators(t, value->raw, of_id));
        bsonbuild_document_end(&t->build);
    } else if (of_id && json_document_is_uuid(value, uuid)) {
        bsonbuild_document_begin(&t->build, value->key);
        put_equality(t, false, value, true);
        bsonbuild_document_end(&t->build);
    } else
        json_document_put_sorted(&t->build, value);
    return OK;
}

static err_t
put_filter(struct translation *t, struct bytes filter)
{
    struct bsonwalk walk;
    struct bsonvalue value;

    TRY_RETURN(bsonwalk_begin(&walk, filter));
    while (bsonwalk_next(&walk, &value)) {
        if (!is_operator(value.key))
            TRY_RETURN(put_field(t, &value));
        else if (bytes_is(value.key, "$and") || bytes_is(value.key, "$or") ||
                 bytes_is(value.key, "$nor"))
            TRY_RETURN(put_branches(t, &value));
        else if (bytes_is(value.key, "$not"))
            TRY_RETURN(put_negated(t, &value));
        else if (bytes_is(value.key, "$expr") || bytes_is(value.key, "$comment"))
            bsonbuild_element(&t->build, &value);
        else
            return refuse_operator(t, value.key);
    }
    return t->build.err;
}

err_t
json_filter_of(struct json_call *call, const char *name, bool reads, struct bytes *filter)
{
    struct translation t = { .call = call };
    struct bsonvalue value;
    bool given = json_call_member(call, name, &value);
    err_t err;

    *filter = bsonvalue_empty_document;
    if (!given && reads)
        return OK;
    if (!given || value.type != BSONTYPE_DOCUMENT)
        return json_call_say(call, ERR_BAD_VALUE, "Query parse error: Query must be a JSON object");
    bsonbuild_begin_arena(&t.build, call->op->arena);
    err = put_filter(&t, value.raw);
    if (err != OK) {
        bsonbuild_cancel(&t.build);
        return err;
    }
    TRY_RETURN(bsonbuild_end(&t.build, filter));
    call->filter = *filter;
    return OK;
}

bool
json_filter_uuid(struct bytes filter, struct bsonvalue *text, struct bsonvalue *binary)
{
    struct bsonwalk walk;
    struct bsonvalue id, choice, more;

    return bsonwalk_get(filter, "_id", &id) && id.type == BSONTYPE_DOCUMENT &&
           bsonwalk_count(id.raw) == 1 && bsonwalk_get(id.raw, "$in", &choice) &&
           bsonwalk_begin(&walk, choice.raw) == OK && bsonwalk_next(&walk, text) &&
           text->type == BSONTYPE_STRING && bsonwalk_next(&walk, binary) &&
           binary->type == BSONTYPE_BINARY && !bsonwalk_next(&walk, &more);
}

err_t
json_filter_split(
    struct json_call *call, struct bytes filter, struct bytes each[2], unsigned *count)
{
    struct bsonvalue form[2];
    struct bsonbuild build;

    each[0] = filter;
    *count = 1;
    if (bsonwalk_count(filter) != 1 || !json_filter_uuid(filter, &form[0], &form[1]))
        return OK;
    *count = 2;
    for (unsigned i = 0; i < 2; i++) {
        bsonbuild_begin_arena(&build, call->op->arena);
        bsonbuild_value(&build, "_id", &form[i]);
        TRY_RETURN(bsonbuild_end(&build, &each[i]));
    }
    return OK;
}
