/*
 * updatearray.c - the update operators that work on arrays.
 *
 * Appending copies the old array in one piece.  What moves or sorts elements makes a list of slices
 * in the request's arena, which is given back afterwards.
 *
 * IF A PROCESS DIES: nothing here is shared.
 */
#include <stdlib.h>

#include "backend/query/filterprog.h"
#include "backend/query/updateprog.h"
#include "base/doc/bsonbuild.h"
#include "base/doc/bsonorder.h"
#include "base/doc/bsonwalk.h"

struct list {
    struct bsonvalue *item;
    size_t count;
};

static const struct bytes empty_array = { (const uint8_t *)"\5\0\0\0", 5 };

static err_t
gather(struct op *op, struct bytes array, size_t more, struct list *list)
{
    struct bsonwalk walk;
    size_t count = bsonwalk_count(array);

    list->count = 0;
    list->item = arena_alloc(op->arena, (count + more + 1) * sizeof *list->item);
    if (list->item == NULL)
        return ERR_MEMORY;
    TRY_RETURN(bsonwalk_begin(&walk, array));
    while (bsonwalk_next(&walk, &list->item[list->count]))
        list->count++;
    return bsonwalk_end(&walk);
}

static err_t
put_item(struct buf *out, size_t index, const struct bsonvalue *value)
{
    char room[12];

    return update_put(out, bsonbuild_index_key((uint32_t)index, room), value);
}

static err_t
put_list(
    struct updateprog_apply *apply, struct bytes key, const struct bsonvalue *item, size_t count)
{
    size_t at;

    TRY_RETURN(update_open(apply->out, key, BSONTYPE_ARRAY, &at));
    for (size_t i = 0; i < count; i++)
        TRY_RETURN(put_item(apply->out, i, &item[i]));
    return update_close(apply->out, at);
}

/* The old array as it is, then more elements. */
static err_t
append(struct updateprog_apply *apply, struct bytes key, struct bytes old, struct bytes each)
{
    size_t at, count = bsonwalk_count(old);
    struct bsonvalue value;
    struct bsonwalk walk;

    TRY_RETURN(update_open(apply->out, key, BSONTYPE_ARRAY, &at));
    TRY_RETURN(buf_append(apply->out, old.data + 4, old.size - 5));
    TRY_RETURN(bsonwalk_begin(&walk, each));
    while (bsonwalk_next(&walk, &value))
        TRY_RETURN(put_item(apply->out, count++, &value));
    TRY_RETURN(bsonwalk_end(&walk));
    return update_close(apply->out, at);
}

/* For qsort_r: by the pattern; equal ones keep their order. */
static int
by_pattern(const void *a, const void *b, void *context)
{
    const struct updateprog_push *push = context;
    const struct bsonvalue *left = a, *right = b;
    int order = 0;

    if (push->by_value)
        order = bsonorder_compare(left, right) * (push->descending ? -1 : 1);
    else {
        struct bsonvalue field;
        struct bsonwalk walk;

        if (bsonwalk_begin(&walk, push->sort) == OK)
            while (order == 0 && bsonwalk_next(&walk, &field)) {
                struct bsonvalue x = bsonvalue_null, y = bsonvalue_null;
                struct bytes rest = field.key, name;
                struct bsonvalue in_x = *left, in_y = *right;
                double direction = 1;

                do {
                    const uint8_t *dot = rest.size > 0 ? memchr(rest.data, '.', rest.size) : NULL;
                    bool found;

                    name = rest;
                    if (dot != NULL)
                        name.size = (size_t)(dot - rest.data);
                    rest.data += dot != NULL ? name.size + 1 : name.size;
                    rest.size -= dot != NULL ? name.size + 1 : name.size;
                    x = y = bsonvalue_null;
                    if (in_x.type == BSONTYPE_DOCUMENT || in_x.type == BSONTYPE_ARRAY)
                        if (bsonwalk_find(in_x.raw, name, &x, &found) != OK || !found)
                            x = bsonvalue_null;
                    if (in_y.type == BSONTYPE_DOCUMENT || in_y.type == BSONTYPE_ARRAY)
                        if (bsonwalk_find(in_y.raw, name, &y, &found) != OK || !found)
                            y = bsonvalue_null;
                    in_x = x;
                    in_y = y;
                } while (rest.size > 0);
                (void)bsonvalue_to_double(&field, &direction);
                order = bsonorder_compare(&x, &y) * (direction < 0 ? -1 : 1);
            }
    }
    if (order == 0)
        order = left->key.data < right->key.data ? -1 : left->key.data > right->key.data;
    return order;
}

static err_t
push_general(struct updateprog_apply *apply, const struct updateprog_push *push, struct bytes key,
    struct bytes old)
{
    struct list list, each;
    size_t from = 0, count, where;

    TRY_RETURN(gather(apply->op, push->each, 0, &each));
    TRY_RETURN(gather(apply->op, old, each.count, &list));
    where = list.count;
    if (push->has_position && push->position < (int64_t)list.count) {
        where = push->position >= 0                      ? (size_t)push->position
                : -push->position >= (int64_t)list.count ? 0
                                                         : list.count - (size_t)-push->position;
    }
    memmove(&list.item[where + each.count], &list.item[where],
        (list.count - where) * sizeof *list.item);
    if (each.count > 0)
        memcpy(&list.item[where], each.item, each.count * sizeof *list.item);
    count = list.count + each.count;
    if (push->by_value || push->sort.size > 0) {
        /* Ties are told by address: let that be the order in which they stand here. */
        struct bsonvalue *item = list.item;

        for (size_t i = 0; i < count; i++)
            item[i].key = (struct bytes){ (const uint8_t *)&item[i], 0 };
        qsort_r(item, count, sizeof *item, by_pattern, (void *)push);
    }
    if (push->has_slice && push->slice >= 0 && (size_t)push->slice < count)
        count = (size_t)push->slice;
    else if (push->has_slice && push->slice < 0 &&
             (push->slice == INT64_MIN ? false : (size_t)-push->slice < count)) {
        from = count - (size_t)-push->slice;
        count = (size_t)-push->slice;
    }
    return put_list(apply, key, list.item + from, count);
}

static err_t
apply_push(struct updateprog_apply *apply, const struct updateprog_node *node, struct bytes key,
    const struct bsonvalue *old)
{
    const struct updateprog_push *push = node->push;
    struct bytes array = empty_array;

    if (old != NULL) {
        if (old->type != BSONTYPE_ARRAY)
            return err_set(ERR_BAD_VALUE,
                "The field '%.*s' must be an array but is of type %s in document %s",
                (int)node->path.size, (const char *)node->path.data, bsonvalue_type_name(old->type),
                update_id_text(apply->op, apply->document));
        array = old->raw;
    }
    if (!push->has_position && !push->has_slice && !push->by_value && push->sort.size == 0)
        return append(apply, key, array, push->each);
    return push_general(apply, push, key, array);
}

static bool
contains(const struct list *list, const struct bsonvalue *value)
{
    for (size_t i = 0; i < list->count; i++)
        if (bsonorder_equal(&list->item[i], value))
            return true;
    return false;
}

static err_t
apply_add_to_set(struct updateprog_apply *apply, const struct updateprog_node *node,
    struct bytes key, const struct bsonvalue *old)
{
    struct bytes array = empty_array;
    struct list list, each;
    size_t before;

    if (old != NULL) {
        if (old->type != BSONTYPE_ARRAY)
            return err_set(ERR_BAD_VALUE,
                "Cannot apply $addToSet to non-array field. Field named '%.*s' has non-array type "
                "%s",
                (int)node->name.size, (const char *)node->name.data,
                bsonvalue_type_name(old->type));
        array = old->raw;
    }
    TRY_RETURN(gather(apply->op, node->push->each, 0, &each));
    TRY_RETURN(gather(apply->op, array, each.count, &list));
    before = list.count;
    for (size_t i = 0; i < each.count; i++)
        if (!contains(&list, &each.item[i]))
            list.item[list.count++] = each.item[i];
    if (old != NULL && list.count == before)
        return update_put(apply->out, key, old);
    return put_list(apply, key, list.item, list.count);
}

static err_t
pulled(const struct updateprog_node *node, const struct bsonvalue *element, bool *out)
{
    struct bsonvalue value;
    struct bsonwalk walk;

    *out = false;
    if (node->op == UPDATEPROG_PULL_ALL) {
        TRY_RETURN(bsonwalk_begin(&walk, node->value.raw));
        while (!*out && bsonwalk_next(&walk, &value))
            *out = bsonorder_equal(&value, element);
        return OK;
    }
    if (node->filter == NULL) {
        *out = bsonorder_equal(&node->value, element);
        return OK;
    }
    if (!node->filter_documents)
        return filter_match_value(node->filter, element, out);
    if (element->type != BSONTYPE_DOCUMENT)
        return OK;
    return filter_match(node->filter, element->raw, out);
}

static err_t
apply_pull(struct updateprog_apply *apply, const struct updateprog_node *node, struct bytes key,
    const struct bsonvalue *old)
{
    struct bsonvalue element;
    struct bsonwalk walk;
    size_t at, count = 0;
    bool out;

    if (old->type != BSONTYPE_ARRAY)
        return err_set(ERR_BAD_VALUE, "Cannot apply %s to a non-array value",
            node->op == UPDATEPROG_PULL ? "$pull" : "$pullAll");
    TRY_RETURN(update_open(apply->out, key, BSONTYPE_ARRAY, &at));
    TRY_RETURN(bsonwalk_begin(&walk, old->raw));
    while (bsonwalk_next(&walk, &element)) {
        TRY_RETURN(pulled(node, &element, &out));
        if (!out)
            TRY_RETURN(put_item(apply->out, count++, &element));
    }
    TRY_RETURN(bsonwalk_end(&walk));
    return update_close(apply->out, at);
}

static err_t
apply_pop(struct updateprog_apply *apply, const struct updateprog_node *node, struct bytes key,
    const struct bsonvalue *old)
{
    int64_t which = 1;
    struct list list;

    if (old->type != BSONTYPE_ARRAY)
        return err_set(ERR_TYPE_MISMATCH, "Path '%.*s' contains an element of non-array type '%s'",
            (int)node->path.size, (const char *)node->path.data, bsonvalue_type_name(old->type));
    TRY_RETURN(gather(apply->op, old->raw, 0, &list));
    (void)bsonvalue_to_int64(&node->value, true, &which);
    if (list.count == 0)
        return update_put(apply->out, key, old);
    return put_list(apply, key, which < 0 ? list.item + 1 : list.item, list.count - 1);
}

err_t
updatearray_apply(struct updateprog_apply *apply, const struct updateprog_node *node,
    struct bytes key, const struct bsonvalue *old)
{
    struct arena_mark mark = arena_mark(apply->op->arena);
    err_t err;

    switch (node->op) {
    case UPDATEPROG_PUSH:
        err = apply_push(apply, node, key, old);
        break;
    case UPDATEPROG_ADD_TO_SET:
        err = apply_add_to_set(apply, node, key, old);
        break;
    case UPDATEPROG_POP:
        err = apply_pop(apply, node, key, old);
        break;
    default:
        err = apply_pull(apply, node, key, old);
        break;
    }
    arena_rewind(apply->op->arena, mark);
    return err;
}
