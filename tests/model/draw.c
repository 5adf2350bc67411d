/*
 * draw.c - documents, filters, orders and updates at random.
 */
#include "tests/model/draw.h"

#include <math.h>
#include <string.h>

static uint64_t state;

/* splitmix64 */
static uint64_t
next(void)
{
    uint64_t x = state += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

void
draw_seed(uint64_t seed, uint64_t operation)
{
    state = seed * 0x2545f4914f6cdd1du + operation;
    state = next();
}

uint64_t
draw_below(uint64_t bound)
{
    return next() % bound;
}

bool
draw_once_in(unsigned times)
{
    return next() % times == 0;
}

/* ---- values ---- */

static struct scalar
text(unsigned size, unsigned which)
{
    return (struct scalar){ .kind = VALUE_TEXT, .number = ((int64_t)size << 32) | which };
}

/* A whole number in one of the types that are equal. */
static struct scalar
whole(int64_t number)
{
    unsigned form = (unsigned)draw_below(10);

    if (form == 0)
        return (struct scalar){ .kind = VALUE_LONG, .number = number };
    if (form == 1)
        return (struct scalar){ .kind = VALUE_DOUBLE, .real = (double)number };
    return value_int((int32_t)number);
}

static struct scalar
any_scalar(unsigned values)
{
    switch (draw_below(20)) {
    case 0:
        return value_null();
    case 1:
        return text(1, (unsigned)draw_below(4));
    case 2:
        return text(60 + (unsigned)draw_below(3) * 20, (unsigned)draw_below(3));
    case 3:
        return (struct scalar){ .kind = VALUE_BOOL, .number = (int64_t)draw_below(2) };
    case 4:
        return (struct scalar){ .kind = VALUE_DATE, .number = (int64_t)draw_below(4) - 1 };
    case 5:
        return (struct scalar){ .kind = VALUE_DOUBLE,
            .real = draw_once_in(8) ? NAN : (double)draw_below(values) - 1.5 };
    default:
        return whole((int64_t)draw_below(values) - 2);
    }
}

static struct element
any_pair(void)
{
    struct element pair = { .pair = true, .x = any_scalar(6), .y = any_scalar(4) };

    if (draw_once_in(8))
        pair.x.kind = VALUE_NONE;
    if (draw_once_in(8))
        pair.y.kind = VALUE_NONE;
    pair.y_first = draw_once_in(4);
    return pair;
}

static struct value
any_list(unsigned least, unsigned values, bool pairs)
{
    struct value list = { .list = true, .count = (uint8_t)(least + draw_below(4)) };

    for (unsigned i = 0; i < list.count; i++) {
        if (pairs)
            list.element[i] = any_pair();
        else
            list.element[i].x =
                values > 100 ? whole((int64_t)draw_below(values)) : any_scalar(values);
    }
    return list;
}

static struct scalar
any_payload(void)
{
    unsigned kind = (unsigned)draw_below(100), which = (unsigned)next();

    if (kind < 80)
        return text((unsigned)draw_below(100), which);
    if (kind < 96)
        return text((unsigned)draw_below(1000), which);
    if (kind < 99 || !draw_once_in(4))
        return text((unsigned)draw_below(6000), which);
    return text((unsigned)draw_below(VALUE_TEXT_MAX), which);
}

/* What a field of a document is like. */
static struct value
value_for(enum model_field field)
{
    struct value pair = { .count = 1 };

    switch (field) {
    case FIELD_B:
        return value_of(draw_once_in(6) ? any_scalar(4) : whole((int64_t)draw_below(5)));
    case FIELD_D:
        if (draw_once_in(3))
            return any_list(1, 0, true);
        if (draw_once_in(10))
            return value_of(value_null());
        pair.element[0] = any_pair();
        return pair;
    case FIELD_M:
        return draw_once_in(3) ? value_of(any_scalar(8)) : any_list(0, 8, false);
    case FIELD_N:
        return value_of(
            draw_once_in(10) ? value_int(INT32_MAX - 3) : whole((int64_t)draw_below(12) - 5));
    case FIELD_P:
        return value_of(any_payload());
    case FIELD_U:
        return value_of(draw_once_in(10) ? text(90, (unsigned)draw_below(1000))
                                         : whole((int64_t)draw_below(2500)));
    case FIELD_W:
        return draw_once_in(4) ? value_of(whole((int64_t)draw_below(6000)))
                               : any_list(0, 6000, false);
    default:
        return value_of(any_scalar(12));
    }
}

struct doc
draw_doc(unsigned slot)
{
    struct doc doc = { .there = true };
    unsigned first = (unsigned)draw_below(MODEL_FIELDS - 1);
    struct value value = value_of(model_id(slot, (unsigned)draw_below(3)));

    model_set(&doc, FIELD_ID, &value);
    for (unsigned i = 0; i < MODEL_FIELDS - 1; i++) {
        unsigned field = 1 + (first + i) % (MODEL_FIELDS - 1);

        if (draw_once_in(field == FIELD_B || field == FIELD_U ? 25 : 6))
            continue;
        value = value_for(field);
        model_set(&doc, field, &value);
    }
    model_finish(&doc);
    return doc;
}

/* ---- filters and orders ---- */

static struct value
operand_for(enum model_path path)
{
    struct value value;

    if (path == PATH_ID)
        return value_of(model_id((unsigned)draw_below(MODEL_SLOTS), (unsigned)draw_below(3)));
    if (path == PATH_DX || path == PATH_DY)
        return value_of(any_scalar(6));
    value = value_for(model_field_of(path));
    if (value.list && !draw_once_in(4)) { /* one of its elements, mostly */
        if (value.count == 0)
            return value_of(value_null());
        value.list = false;
        value.count = 1;
    }
    return value;
}

static struct condition
any_condition(void)
{
    static const enum model_path paths[] = { PATH_ID, PATH_A, PATH_A, PATH_B, PATH_B, PATH_DX,
        PATH_DX, PATH_DY, PATH_M, PATH_M, PATH_N, PATH_N, PATH_U, PATH_U, PATH_W, PATH_D };
    struct condition condition = { .path = paths[draw_below(16)], .count = 1 };
    unsigned kind = (unsigned)draw_below(20);

    condition.op = kind < 7    ? OP_EQ
                   : kind < 13 ? OP_GT + (enum model_operator)draw_below(4)
                   : kind < 17 ? OP_IN
                   : kind < 18 ? OP_NE
                   : kind < 19 ? OP_EXISTS
                               : OP_SIZE;
    if (condition.op == OP_IN)
        condition.count = (unsigned)draw_below(MODEL_IN + 1);
    for (unsigned i = 0; i < condition.count; i++)
        condition.value[i] = operand_for(condition.path);
    /* Ranges end in scalars here; what a document or a list is less than is another matter. */
    if (condition.op >= OP_GT && condition.op <= OP_LTE &&
        (condition.value[0].list || condition.value[0].element[0].pair))
        condition.op = OP_EQ;
    if (condition.op == OP_EXISTS)
        condition.value[0] =
            value_of((struct scalar){ .kind = VALUE_BOOL, .number = (int64_t)draw_below(2) });
    if (condition.op == OP_SIZE)
        condition.value[0] = value_of(value_int((int32_t)draw_below(4)));
    return condition;
}

struct filter
draw_filter(void)
{
    struct filter filter = {
        .count = draw_once_in(12) ? 0 : 1 + (unsigned)draw_below(MODEL_CONDITIONS)
    };
    unsigned seen = 0;

    filter.plain = true;
    for (unsigned i = 0; i < filter.count; i++) {
        filter.condition[i] = any_condition();
        if (draw_once_in(3) && i > 0) { /* both ends of a range */
            filter.condition[i].path = filter.condition[i - 1].path;
            filter.condition[i].value[0] = operand_for(filter.condition[i].path);
            if (filter.condition[i].op == OP_EXISTS || filter.condition[i].op == OP_SIZE ||
                filter.condition[i].value[0].list || filter.condition[i].value[0].element[0].pair)
                filter.condition[i].op = OP_NE;
            filter.condition[i].count = 1;
        }
        filter.plain = filter.plain && (seen >> filter.condition[i].path & 1) == 0;
        seen |= 1u << filter.condition[i].path;
    }
    filter.plain = filter.plain && draw_below(3) > 0;
    filter.either = !filter.plain && draw_once_in(4);
    return filter;
}

struct filter
draw_id_filter(unsigned slot)
{
    struct filter filter = { .count = 1, .plain = true };

    filter.condition[0].path = PATH_ID;
    filter.condition[0].count = 1;
    filter.condition[0].value[0] = value_of(model_id(slot, (unsigned)draw_below(3)));
    return filter;
}

struct pattern
draw_sort(const struct filter *filter, bool *total)
{
    static const enum model_path paths[] = { PATH_A, PATH_B, PATH_DX, PATH_DY, PATH_M, PATH_N,
        PATH_U };
    struct pattern sort = { .count = 0 };
    unsigned wanted = (unsigned)draw_below(3), seen = 0;

    if (draw_once_in(4)) { /* as an index has it, or the other way round */
        int turn = draw_once_in(2) ? 1 : -1;

        sort = model_indexes[draw_below(MODEL_INDEXES)].pattern;
        for (unsigned i = 0; i < sort.count; i++)
            sort.part[i].direction *= turn;
        *total = sort.part[0].path == PATH_ID;
        return sort;
    }
    for (unsigned i = 0; i < wanted; i++) {
        enum model_path path = paths[draw_below(7)];

        if (filter->count > 0 && i == 0 && draw_once_in(2))
            path = filter->condition[draw_below(filter->count)].path;
        if (path == PATH_D || path == PATH_W) /* no index has such an order */
            continue;

        /* One field with lists at most: side by side they have no order. */
        if ((seen >> path & 1) != 0)
            continue;
        if (path == PATH_M)
            seen |= 1u << PATH_DX | 1u << PATH_DY;
        if (path == PATH_DX || path == PATH_DY)
            seen |= 1u << PATH_M;
        seen |= 1u << path;
        sort.part[sort.count].path = path;
        sort.part[sort.count++].direction = draw_once_in(2) ? 1 : -1;
    }
    *total = sort.count == 0 || draw_below(3) > 0 || (seen >> PATH_ID & 1) != 0;
    if (*total && (seen >> PATH_ID & 1) == 0) {
        sort.part[sort.count].path = PATH_ID;
        sort.part[sort.count++].direction = draw_once_in(2) ? 1 : -1;
    }
    return sort;
}

/* ---- updates ---- */

static struct change
any_change(bool many)
{
    /* What one statement does to many documents must not depend on their order: unique keys get
       the same new value everywhere, or none. */
    static const enum model_path free_paths[] = { PATH_A, PATH_B, PATH_D, PATH_DX, PATH_DY, PATH_M,
        PATH_N, PATH_P };
    static const enum model_path all_paths[] = { PATH_A, PATH_B, PATH_D, PATH_DX, PATH_DY, PATH_M,
        PATH_N, PATH_P, PATH_U, PATH_W };
    struct change change = { .path = many ? free_paths[draw_below(8)] : all_paths[draw_below(10)] };
    unsigned kind = (unsigned)draw_below(12);

    change.value = value_for(model_field_of(change.path));
    change.verb = DO_SET;
    if (change.path == PATH_DX || change.path == PATH_DY) {
        change.value = value_of(any_scalar(6));
        change.verb = kind < 3 ? DO_UNSET : DO_SET;
    } else if (kind < 2) {
        change.verb = DO_UNSET;
    } else if (change.path == PATH_N && kind < 10) {
        change.verb = kind < 8 ? DO_INC : DO_MUL;
        change.value = value_of(kind < 7 ? whole((int64_t)draw_below(5) - 2)
                                         : (struct scalar){ .kind = VALUE_DOUBLE, .real = 0.5 });
    } else if ((change.path == PATH_M || change.path == PATH_W) && kind < 10) {
        change.verb = DO_PUSH + (enum model_verb)draw_below(4);
        change.value =
            value_of(change.path == PATH_M ? any_scalar(8) : whole((int64_t)draw_below(6000)));
        if (change.verb == DO_POP)
            change.value = value_of(value_int(draw_once_in(2) ? 1 : -1));
    } else if (change.path == PATH_A && kind < 6) {
        change.verb = kind < 4 ? DO_MIN : DO_MAX;
    } else if (change.path == PATH_A && kind == 6 && !many) {
        change.verb = DO_RENAME;
        change.to = draw_once_in(2) ? PATH_B : PATH_N;
    } else if (change.path == PATH_U && kind < 5) {
        change.verb = DO_INC;
        change.value = value_of(value_int((int32_t)draw_below(3)));
    }
    if (change.verb == DO_UNSET)
        change.value = value_of(value_int(1));
    return change;
}

struct update
draw_update(unsigned slot, bool many)
{
    struct update update = { .replace = !many && draw_once_in(3) };
    unsigned wanted = 1 + (unsigned)draw_below(MODEL_CHANGES), seen = 0;

    if (update.replace) {
        update.replacement = draw_doc(slot);
        return update;
    }
    for (unsigned i = 0; i < wanted; i++) {
        struct change change = any_change(many);
        unsigned fields = 1u << model_field_of(change.path);

        if (change.verb == DO_RENAME)
            fields |= 1u << model_field_of(change.to);
        if ((seen & fields) != 0)
            continue;
        seen |= fields;
        update.change[update.count++] = change;
    }
    return update;
}
