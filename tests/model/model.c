/*
 * model.c - documents as values: filters, orders, keys, updates.
 */
#include "tests/model/model.h"

#include <stdlib.h>
#include <string.h>

#define ID_TEXT_SIZE 6

static const char *const names[MODEL_FIELDS] = { "_id", "a", "b", "d", "m", "n", "p", "u", "w" };
const char *const model_path_names[MODEL_PATHS] = { "_id", "a", "b", "d", "d.x", "d.y", "m", "n",
    "p", "u", "w" };

const struct model_index model_indexes[MODEL_INDEXES] = {
    { .name = "_id_", .pattern = { 1, { { PATH_ID, 1 } } }, .unique = true },
    { .name = "a", .pattern = { 1, { { PATH_A, 1 } } } },
    { .name = "b", .pattern = { 1, { { PATH_B, -1 } } } },
    { .name = "ab", .pattern = { 2, { { PATH_A, 1 }, { PATH_B, -1 } } } },
    { .name = "m", .pattern = { 1, { { PATH_M, 1 } } } },
    { .name = "mb", .pattern = { 2, { { PATH_M, -1 }, { PATH_B, 1 } } } },
    { .name = "dx", .pattern = { 1, { { PATH_DX, 1 } } } },
    { .name = "dxy", .pattern = { 2, { { PATH_DX, -1 }, { PATH_DY, 1 } } } },
    { .name = "n", .pattern = { 1, { { PATH_N, 1 } } }, .sparse = true },
    { .name = "u", .pattern = { 1, { { PATH_U, 1 } } }, .unique = true, .sparse = true },
    { .name = "bua",
        .pattern = { 3, { { PATH_B, 1 }, { PATH_U, -1 }, { PATH_A, 1 } } },
        .unique = true },
    { .name = "w", .pattern = { 1, { { PATH_W, -1 } } }, .unique = true, .sparse = true },
    { .name = "dy", .pattern = { 1, { { PATH_DY, 1 } } }, .scalar_only = true },
};

enum model_field
model_field_of(enum model_path path)
{
    static const enum model_field fields[MODEL_PATHS] = { FIELD_ID, FIELD_A, FIELD_B, FIELD_D,
        FIELD_D, FIELD_D, FIELD_M, FIELD_N, FIELD_P, FIELD_U, FIELD_W };

    return fields[path];
}

/* ---- documents ---- */

struct scalar
model_id(unsigned slot, unsigned form)
{
    if (slot % 3 == 1)
        return (struct scalar){ .kind = VALUE_TEXT,
            .number = ((int64_t)ID_TEXT_SIZE << 32) | (int64_t)slot };
    if (form % 3 == 0)
        return value_int((int32_t)slot);
    if (form % 3 == 1)
        return (struct scalar){ .kind = VALUE_LONG, .number = slot };
    return (struct scalar){ .kind = VALUE_DOUBLE, .real = slot };
}

void
model_set(struct doc *doc, enum model_field field, const struct value *value)
{
    bool there = false;

    for (unsigned i = 0; i < doc->count; i++)
        there = there || doc->order[i] == field;
    if (!there)
        doc->order[doc->count++] = (uint8_t)field;
    doc->field[field] = *value;
}

static void
remove_field(struct doc *doc, enum model_field field)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < doc->count; i++)
        if (doc->order[i] != field)
            doc->order[kept++] = doc->order[i];
    doc->count = (uint8_t)kept;
    doc->field[field] = (struct value){ .count = 0 };
}

static bool
is_missing(const struct value *value)
{
    return !value->list && value->count == 0;
}

void
model_bson(struct bson_out *out, const struct doc *doc)
{
    size_t at = value_open(out, 0, NULL);

    for (unsigned i = 0; i < doc->count; i++)
        value_put(out, names[doc->order[i]], &doc->field[doc->order[i]]);
    value_close(out, at);
}

uint64_t
model_hash(const uint8_t *data, size_t size)
{
    uint64_t hash = size * 0x9e3779b97f4a7c15u, word = 0;

    for (; size >= 8; data += 8, size -= 8) {
        memcpy(&word, data, 8);
        hash = (hash ^ word) * 0xbf58476d1ce4e5b9u;
        hash ^= hash >> 29;
    }
    word = 0;
    if (size > 0)
        memcpy(&word, data, size);
    hash = (hash ^ word) * 0x94d049bb133111ebu;
    return hash ^ hash >> 31;
}

void
model_finish(struct doc *doc)
{
    static struct bson_out out;

    out.size = 0;
    model_bson(&out, doc);
    doc->size = (uint32_t)out.size;
    doc->hash = model_hash(out.data, out.size);
}

/* ---- filters ---- */

/* What a path means in one element of a field: {x, y} is gone into. */
static struct element
part_of(const struct element *element, enum model_path path)
{
    struct element part = { .pair = false };

    if (path != PATH_DX && path != PATH_DY)
        return *element;
    if (element->pair)
        part.x = path == PATH_DX ? element->x : element->y;
    return part;
}

static bool
is_none(const struct element *element)
{
    return !element->pair && element->x.kind == VALUE_NONE;
}

static bool
satisfies(const struct element *element, enum model_operator op, const struct element *bound)
{
    bool null = !bound->pair && bound->x.kind == VALUE_NULL;
    int order = value_compare_element(element, bound);

    if (null) /* what is missing is null */
        return (op == OP_EQ || op == OP_GTE || op == OP_LTE) && (is_none(element) || order == 0);
    if (op == OP_EQ)
        return order == 0;
    if (element->pair || bound->pair || !value_same_class(element->x, bound->x))
        return false;
    if (value_is_nan(element->x) || value_is_nan(bound->x))
        return order == 0 && (op == OP_GTE || op == OP_LTE);
    return op == OP_GT    ? order > 0
           : op == OP_GTE ? order >= 0
           : op == OP_LT  ? order < 0
                          : order <= 0;
}

/* Does the value, or one of its elements, satisfy it? */
static bool
any_satisfies(const struct value *value, enum model_path path, enum model_operator op,
    const struct value *bound)
{
    const struct element none = { .pair = false };

    if (bound->list)
        return value->list && value_compare(value, bound) == 0;
    if (is_missing(value))
        return satisfies(&none, op, &bound->element[0]);
    for (unsigned i = 0; i < value->count; i++) {
        struct element part = part_of(&value->element[i], path);

        if (satisfies(&part, op, &bound->element[0]))
            return true;
    }
    return false;
}

static bool
exists(const struct value *value, enum model_path path)
{
    if (path != PATH_DX && path != PATH_DY)
        return !is_missing(value);
    for (unsigned i = 0; i < value->count; i++) {
        struct element part = part_of(&value->element[i], path);

        if (!is_none(&part))
            return true;
    }
    return false;
}

static bool
match_one(const struct doc *doc, const struct condition *condition)
{
    const struct value *value = &doc->field[model_field_of(condition->path)];
    bool any = false;

    switch (condition->op) {
    case OP_EXISTS:
        return exists(value, condition->path) == (condition->value[0].element[0].x.number != 0);
    case OP_SIZE:
        return value->list && condition->path != PATH_DX && condition->path != PATH_DY &&
               value->count == condition->value[0].element[0].x.number;
    case OP_NE:
        return !any_satisfies(value, condition->path, OP_EQ, &condition->value[0]);
    case OP_IN:
        for (unsigned i = 0; i < condition->count; i++)
            any = any || any_satisfies(value, condition->path, OP_EQ, &condition->value[i]);
        return any;
    default:
        return any_satisfies(value, condition->path, condition->op, &condition->value[0]);
    }
}

bool
model_match(const struct doc *doc, const struct filter *filter)
{
    bool any = false, all = true;

    if (!doc->there)
        return false;
    for (unsigned i = 0; i < filter->count; i++) {
        bool one = match_one(doc, &filter->condition[i]);

        any = any || one;
        all = all && one;
    }
    return filter->either && filter->count > 0 ? any : all;
}

/* ---- keys and orders ---- */

/* All keys that an index with this pattern has of a document; at most one of the fields is a list.
 */
static unsigned
keys_of(const struct doc *doc, const struct pattern *pattern, struct model_key *keys)
{
    const struct element undefined = { .x.kind = VALUE_UNDEFINED };
    unsigned count = 1;

    for (unsigned i = 0; i < pattern->count; i++) {
        const struct value *value = &doc->field[model_field_of(pattern->part[i].path)];

        if (value->list && value->count > count)
            count = value->count;
    }
    memset(keys, 0, count * sizeof *keys);
    for (unsigned k = 0; k < count; k++) {
        for (unsigned i = 0; i < pattern->count; i++) {
            const struct value *value = &doc->field[model_field_of(pattern->part[i].path)];
            struct element *part = &keys[k].part[i];

            if (value->list && value->count == 0)
                *part = undefined;
            else if (value->count > 0)
                *part = part_of(&value->element[value->list ? k : 0], pattern->part[i].path);
            if (is_none(part))
                part->x = value_null();
        }
    }
    return count;
}

int
model_compare(const struct pattern *pattern, const struct model_key *a, const struct model_key *b)
{
    for (unsigned i = 0; i < pattern->count; i++) {
        int order = value_compare_element(&a->part[i], &b->part[i]);

        if (order != 0)
            return pattern->part[i].direction * order;
    }
    return 0;
}

void
model_place(const struct doc *doc, const struct pattern *pattern, struct model_key *place)
{
    struct model_key keys[VALUE_ELEMENTS];
    unsigned count = keys_of(doc, pattern, keys);

    *place = keys[0];
    for (unsigned i = 1; i < count; i++)
        if (model_compare(pattern, &keys[i], place) < 0)
            *place = keys[i];
}

bool
model_holds(const struct model_index *index, const struct doc *doc)
{
    if (!index->sparse)
        return true;
    for (unsigned i = 0; i < index->pattern.count; i++) {
        enum model_path path = index->pattern.part[i].path;

        if (exists(&doc->field[model_field_of(path)], path))
            return true;
    }
    return false;
}

bool
model_clashes_in(
    const struct collection *collection, unsigned index, unsigned slot, const struct doc *doc)
{
    const struct model_index *there = &model_indexes[index];
    struct model_key mine[VALUE_ELEMENTS], others[VALUE_ELEMENTS];
    unsigned count;

    if (!there->unique || !model_holds(there, doc))
        return false;
    count = keys_of(doc, &there->pattern, mine);
    for (unsigned other = 0; other < MODEL_SLOTS; other++) {
        const struct doc *second = &collection->doc[other];
        unsigned second_count;

        if (other == slot || !second->there || !model_holds(there, second))
            continue;
        second_count = keys_of(second, &there->pattern, others);
        for (unsigned i = 0; i < count; i++)
            for (unsigned k = 0; k < second_count; k++)
                if (model_compare(&there->pattern, &mine[i], &others[k]) == 0)
                    return true;
    }
    return false;
}

bool
model_clashes(const struct collection *collection, unsigned slot, const struct doc *doc)
{
    for (unsigned index = 1; index < MODEL_INDEXES; index++)
        if ((collection->indexes >> index & 1) != 0 &&
            model_clashes_in(collection, index, slot, doc))
            return true;
    return false;
}

/* ---- updates ---- */

static enum outcome
calculate(struct scalar old, struct scalar by, bool multiply, struct scalar *result)
{
    if (!value_is_number(old))
        return OUTCOME_REFUSED;
    if (old.kind == VALUE_DOUBLE || by.kind == VALUE_DOUBLE) {
        double x = old.kind == VALUE_DOUBLE ? old.real : (double)old.number;
        double y = by.kind == VALUE_DOUBLE ? by.real : (double)by.number;

        *result = (struct scalar){ .kind = VALUE_DOUBLE, .real = multiply ? x * y : x + y };
        return value_is_nan(*result) || (result->real < (double)MODEL_NUMBER_MAX &&
                                            result->real > -(double)MODEL_NUMBER_MAX)
                   ? OUTCOME_DONE
                   : OUTCOME_BEYOND;
    }
    result->number = multiply ? old.number * by.number : old.number + by.number;
    result->kind =
        old.kind == VALUE_LONG || by.kind == VALUE_LONG || result->number != (int32_t)result->number
            ? VALUE_LONG
            : VALUE_INT;
    return llabs(result->number) < MODEL_NUMBER_MAX ? OUTCOME_DONE : OUTCOME_BEYOND;
}

static enum outcome
change_number(struct value *value, const struct change *change)
{
    struct scalar by = change->value.element[0].x, result;
    enum outcome outcome;

    if (is_missing(value)) {
        if (change->verb == DO_MUL) { /* nothing, in the type of the factor */
            if (by.kind == VALUE_DOUBLE)
                by.real = 0;
            else
                by.number = 0;
        }
        *value = value_of(by);
        return OUTCOME_DONE;
    }
    if (value->list || value->element[0].pair)
        return OUTCOME_REFUSED;
    outcome = calculate(value->element[0].x, by, change->verb == DO_MUL, &result);
    if (outcome == OUTCOME_DONE)
        *value = value_of(result);
    return outcome;
}

static enum outcome
change_list(struct value *value, const struct change *change)
{
    const struct element *element = &change->value.element[0];
    unsigned kept = 0;
    bool has = false;

    if (is_missing(value) && (change->verb == DO_PULL || change->verb == DO_POP))
        return OUTCOME_DONE;
    if (is_missing(value))
        value->list = true;
    if (!value->list)
        return OUTCOME_REFUSED;
    for (unsigned i = 0; i < value->count; i++)
        has = has || value_compare_element(&value->element[i], element) == 0;
    if (change->verb == DO_POP) {
        if (value->count > 0 && element->x.number < 0)
            memmove(
                value->element, value->element + 1, (value->count - 1u) * sizeof *value->element);
        value->count = (uint8_t)(value->count - (value->count > 0 ? 1 : 0));
    } else if (change->verb == DO_PULL) {
        for (unsigned i = 0; i < value->count; i++)
            if (value_compare_element(&value->element[i], element) != 0)
                value->element[kept++] = value->element[i];
        value->count = (uint8_t)kept;
    } else if (change->verb == DO_PUSH || !has) {
        if (value->count == VALUE_ELEMENTS)
            return OUTCOME_BEYOND;
        value->element[value->count++] = *element;
    }
    return OUTCOME_DONE;
}

/* d.x or d.y. */
static enum outcome
change_part(struct value *value, const struct change *change)
{
    struct element *pair = &value->element[0];
    bool is_x = change->path == PATH_DX;
    struct scalar *part = is_x ? &pair->x : &pair->y;
    const struct scalar *other = is_x ? &pair->y : &pair->x;

    if (change->verb == DO_UNSET) {
        if (!value->list && value->count > 0 && pair->pair)
            part->kind = VALUE_NONE;
        return OUTCOME_DONE;
    }
    if (is_missing(value)) {
        memset(pair, 0, sizeof *pair);
        value->count = 1;
        pair->pair = true;
    } else if (value->list || !pair->pair) {
        return OUTCOME_REFUSED;
    }
    if (part->kind == VALUE_NONE && other->kind != VALUE_NONE)
        pair->y_first = is_x; /* it comes behind the other */
    else if (part->kind == VALUE_NONE)
        pair->y_first = !is_x;
    *part = change->value.element[0].x;
    return OUTCOME_DONE;
}

static enum outcome
change_value(struct value *value, const struct change *change)
{
    int order = value_compare(&change->value, value);

    if (change->path == PATH_DX || change->path == PATH_DY)
        return change_part(value, change);
    switch (change->verb) {
    case DO_SET:
        *value = change->value;
        return OUTCOME_DONE;
    case DO_MIN:
    case DO_MAX:
        if (is_missing(value) || (change->verb == DO_MIN ? order < 0 : order > 0))
            *value = change->value;
        return OUTCOME_DONE;
    case DO_INC:
    case DO_MUL:
        return change_number(value, change);
    default:
        return change_list(value, change);
    }
}

static enum outcome
apply(struct doc *doc, const struct doc *before, const struct change *change)
{
    enum model_field field = model_field_of(change->path);
    struct value value = before->field[field];
    enum outcome outcome;

    if (change->verb == DO_RENAME) {
        if (is_missing(&value))
            return OUTCOME_DONE;
        remove_field(doc, field);
        model_set(doc, model_field_of(change->to), &value);
        return OUTCOME_DONE;
    }
    if (change->verb == DO_UNSET && change->path != PATH_DX && change->path != PATH_DY) {
        remove_field(doc, field);
        return OUTCOME_DONE;
    }
    outcome = change_value(&value, change);
    if (outcome == OUTCOME_DONE && !is_missing(&value))
        model_set(doc, field, &value);
    return outcome;
}

/* The name that may be new in the document because of it. */
static enum model_field
target_of(const struct change *change)
{
    return model_field_of(change->verb == DO_RENAME ? change->to : change->path);
}

enum outcome
model_update(const struct doc *before, const struct update *update, struct doc *after)
{
    enum outcome worst = OUTCOME_DONE;

    if (update->replace) {
        struct doc made = update->replacement;

        made.field[FIELD_ID] = before->field[FIELD_ID];
        memcpy(made.story, before->story, sizeof made.story);
        *after = made;
        model_finish(after);
        return OUTCOME_DONE;
    }
    *after = *before;
    for (unsigned field = 0; field < MODEL_FIELDS; field++) { /* new ones come by name */
        for (unsigned i = 0; i < update->count; i++) {
            enum outcome outcome;

            if (target_of(&update->change[i]) != field)
                continue;
            outcome = apply(after, before, &update->change[i]);
            if (outcome > worst)
                worst = outcome;
        }
    }
    if (worst == OUTCOME_DONE)
        model_finish(after);
    return worst;
}

/* ---- as BSON ---- */

static void
put_condition(struct bson_out *out, const struct condition *condition)
{
    static const char *const operators[] = { "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in",
        "$exists", "$size" };
    size_t at = value_open(out, 0x03, model_path_names[condition->path]), list;

    if (condition->op == OP_IN) {
        list = value_open(out, 0x04, "$in");
        for (unsigned i = 0; i < condition->count; i++)
            value_put(out, (const char[]){ (char)('0' + i), 0 }, &condition->value[i]);
        value_close(out, list);
    } else {
        value_put(out, operators[condition->op], &condition->value[0]);
    }
    value_close(out, at);
}

void
model_put_filter(struct bson_out *out, const struct filter *filter)
{
    size_t whole = value_open(out, 0, NULL), list, one;

    if (filter->plain || filter->count == 0) {
        for (unsigned i = 0; i < filter->count; i++)
            put_condition(out, &filter->condition[i]);
    } else {
        list = value_open(out, 0x04, filter->either ? "$or" : "$and");
        for (unsigned i = 0; i < filter->count; i++) {
            one = value_open(out, 0x03, (const char[]){ (char)('0' + i), 0 });
            put_condition(out, &filter->condition[i]);
            value_close(out, one);
        }
        value_close(out, list);
    }
    value_close(out, whole);
}

/* `name` NULL: a document of its own. */
void
model_put_pattern(struct bson_out *out, const char *name, const struct pattern *pattern)
{
    size_t at = value_open(out, name != NULL ? 0x03 : 0, name);

    for (unsigned i = 0; i < pattern->count; i++)
        value_put_scalar(
            out, model_path_names[pattern->part[i].path], value_int(pattern->part[i].direction));
    value_close(out, at);
}

void
model_put_index(struct bson_out *out, const struct model_index *index)
{
    const struct scalar yes = { .kind = VALUE_BOOL, .number = 1 };
    size_t at = value_open(out, 0, NULL);

    model_put_pattern(out, "key", &index->pattern);
    value_put_text(out, "name", index->name);
    if (index->unique)
        value_put_scalar(out, "unique", yes);
    if (index->sparse)
        value_put_scalar(out, "sparse", yes);
    if (index->scalar_only)
        value_put_scalar(out, "scalarOnly", yes);
    value_close(out, at);
}

void
model_put_update(struct bson_out *out, const struct update *update)
{
    static const char *const verbs[MODEL_VERBS] = { "$set", "$unset", "$inc", "$mul", "$min",
        "$max", "$push", "$addToSet", "$pull", "$pop", "$rename" };
    size_t whole = value_open(out, 0, NULL);

    for (unsigned i = 0; update->replace && i < update->replacement.count; i++) {
        unsigned field = update->replacement.order[i];

        if (field != FIELD_ID)
            value_put(out, names[field], &update->replacement.field[field]);
    }
    for (unsigned verb = 0; !update->replace && verb < MODEL_VERBS; verb++) {
        size_t at = 0;

        for (unsigned i = 0; i < update->count; i++) {
            const struct change *change = &update->change[i];

            if (change->verb != verb)
                continue;
            if (at == 0)
                at = value_open(out, 0x03, verbs[verb]);
            if (verb == DO_RENAME)
                value_put_text(out, model_path_names[change->path], model_path_names[change->to]);
            else
                value_put(out, model_path_names[change->path], &change->value);
        }
        if (at != 0)
            value_close(out, at);
    }
    value_close(out, whole);
}
