/*
 * update.c - applying a compiled update to a document's bytes.
 *
 * One pass: the old document is walked once; what lies between two changed fields is copied in one
 * piece, changed fields are written in their place, new ones at the end of their level in the
 * program's order.  Nothing is allocated for a field.
 *
 * INVARIANTS
 *  A1  The result has _id first and, if the document had one, the same bytes of it.
 *  A2  The result is at most BSONVALUE_DOCUMENT_SIZE_MAX bytes.
 *  A3  Recursion follows the program's tree, whose depth is bounded by its compiler.
 *
 * IF A PROCESS DIES: nothing here is shared.
 */
#include "backend/query/update.h"

#include "backend/query/filterprog.h"
#include "backend/query/number.h"
#include "backend/query/updateprog.h"
#include "base/clock.h"
#include "base/doc/bsonbuild.h"
#include "base/doc/bsonorder.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/jsonprint.h"
#include "base/doc/objectid.h"

#define TEXT_MAX 1000
#define INDEX_MAX                                                                   \
    1500000 /* elements that an update may put before one beyond the end: MongoDB's \
             */

static err_t apply_node(struct updateprog_apply *apply, const struct updateprog_node *node,
    struct bytes key, const struct bsonvalue *old);

err_t
update_put(struct buf *out, struct bytes key, const struct bsonvalue *value)
{
    uint8_t *at;

    TRY_RETURN(buf_reserve(out, 2 + key.size + value->raw.size));
    at = out->data + out->size;
    *at++ = value->type;
    if (key.size > 0)
        memcpy(at, key.data, key.size);
    at += key.size;
    *at++ = 0;
    if (value->raw.size > 0)
        memcpy(at, value->raw.data, value->raw.size);
    out->size += 2 + key.size + value->raw.size;
    return OK;
}

err_t
update_open(struct buf *out, struct bytes key, uint8_t type, size_t *at)
{
    struct bsonvalue head = { key, { (const uint8_t *)"\0\0\0\0", 4 }, type };

    TRY_RETURN(update_put(out, key, &head));
    *at = out->size - 4;
    return OK;
}

err_t
update_close(struct buf *out, size_t at)
{
    uint32_t size;

    TRY_RETURN(buf_append_byte(out, 0));
    size = (uint32_t)(out->size - at);
    memcpy(out->data + at, &size, sizeof size);
    return OK;
}

const char *
update_value_text(struct op *op, struct bytes name, const struct bsonvalue *value)
{
    struct buf text = buf_init(TEXT_MAX);
    const char *copy = NULL;

    if (jsonprint_value(&text, value, 0) == OK)
        copy = arena_printf(op->arena, "{%.*s: %.*s}", (int)name.size, (const char *)name.data,
            (int)text.size, (const char *)text.data);
    buf_fini(&text);
    return copy != NULL ? copy : "{…}";
}

const char *
update_id_text(struct op *op, struct bytes document)
{
    struct bsonvalue id;

    if (!bsonwalk_get(document, "_id", &id))
        return "{no _id}";
    return update_value_text(op, id.key, &id);
}

bool
update_creates(const struct updateprog_apply *apply, const struct updateprog_node *node)
{
    struct bsonvalue value;
    bool found;

    switch (node->op) {
    case UPDATEPROG_UNSET:
    case UPDATEPROG_RENAME_FROM:
    case UPDATEPROG_PULL:
    case UPDATEPROG_PULL_ALL:
    case UPDATEPROG_POP:
        return false;
    case UPDATEPROG_SET_ON_INSERT:
        return apply->insert;
    case UPDATEPROG_RENAME_TO:
        return docpath_get(node->from, apply->document, &value, &found) == OK && found;
    case UPDATEPROG_INNER:
        for (const struct updateprog_node *child = node->child; child != NULL; child = child->next)
            if (update_creates(apply, child))
                return true;
        return false;
    default:
        return true;
    }
}

static err_t
not_viable(struct updateprog_apply *apply, const struct updateprog_node *child, struct bytes key,
    const struct bsonvalue *old)
{
    return err_set(ERR_PATH_NOT_VIABLE, "Cannot create field '%.*s' in element %s",
        (int)child->name.size, (const char *)child->name.data,
        update_value_text(apply->op, key, old));
}

static err_t
apply_arithmetic(struct updateprog_apply *apply, const struct updateprog_node *node,
    struct bytes key, const struct bsonvalue *old)
{
    bool multiply = node->op == UPDATEPROG_MUL;
    struct bsonvalue zero, result;
    uint8_t room[16], zeros[16];

    if (old == NULL) {
        if (!multiply)
            return update_put(apply->out, key, &node->value);
        zero = bsonvalue_of_int32(zeros, 0);
        old = &zero;
        if (!number_multiply(old, &node->value, room, &result))
            result = zero;
        return update_put(apply->out, key, &result);
    }
    if (!bsonvalue_is_number(old->type))
        return err_set(ERR_TYPE_MISMATCH,
            "Cannot apply %s to a value of non-numeric type. %s has the field '%.*s' of "
            "non-numeric type %s",
            multiply ? "$mul" : "$inc", update_id_text(apply->op, apply->document),
            (int)node->name.size, (const char *)node->name.data, bsonvalue_type_name(old->type));
    if (!(multiply ? number_multiply(old, &node->value, room, &result)
                   : number_add(old, &node->value, room, &result)))
        return err_set(ERR_BAD_VALUE,
            "Failed to apply %s operations to current value ((NumberLong)%lld) for document %s",
            multiply ? "$mul" : "$inc",
            old->type == BSONTYPE_INT32 ? (long long)bsonvalue_int32(old)
                                        : (long long)bsonvalue_int64(old),
            update_id_text(apply->op, apply->document));
    /* An equal number, such as the other zero, is no change. */
    if (result.type == old->type && bsonorder_compare(&result, old) == 0)
        return update_put(apply->out, key, old);
    return update_put(apply->out, key, &result);
}

static err_t
apply_bit(struct updateprog_apply *apply, const struct updateprog_node *node, struct bytes key,
    const struct bsonvalue *old)
{
    struct bsonvalue field, result;
    struct bsonwalk walk;
    uint8_t room[16];
    int64_t bits = 0, operand = 0;
    bool wide = false;

    if (old != NULL && old->type != BSONTYPE_INT32 && old->type != BSONTYPE_INT64)
        return err_set(ERR_BAD_VALUE,
            "Cannot apply $bit to a value of non-integral type.%s has the field %.*s of "
            "non-integer type %s",
            update_id_text(apply->op, apply->document), (int)node->name.size,
            (const char *)node->name.data, bsonvalue_type_name(old->type));
    if (old != NULL) {
        (void)bsonvalue_to_int64(old, true, &bits);
        wide = old->type == BSONTYPE_INT64;
    }
    TRY_RETURN(bsonwalk_begin(&walk, node->value.raw));
    while (bsonwalk_next(&walk, &field)) {
        (void)bsonvalue_to_int64(&field, true, &operand);
        wide = wide || field.type == BSONTYPE_INT64;
        if (bytes_is(field.key, "and"))
            bits &= operand;
        else if (bytes_is(field.key, "or"))
            bits |= operand;
        else
            bits ^= operand;
    }
    TRY_RETURN(bsonwalk_end(&walk));
    result = wide ? bsonvalue_of_int64(room, bits) : bsonvalue_of_int32(room, (int32_t)bits);
    return update_put(apply->out, key, &result);
}

static err_t
apply_current_date(
    struct updateprog_apply *apply, const struct updateprog_node *node, struct bytes key)
{
    int64_t now = clock_wall_ms();
    struct bsonvalue value;
    uint8_t room[16];

    if (node->value.type == BSONTYPE_TIMESTAMP) {
        static _Thread_local uint32_t increment;
        uint64_t stamp =
            ((uint64_t)(now / 1000) << 32) | (++increment == 0 ? ++increment : increment);

        memcpy(room, &stamp, sizeof stamp);
        value = bsonvalue_make(BSONTYPE_TIMESTAMP, (struct bytes){ room, 8 });
    } else
        value = bsonvalue_of_date(room, now);
    return update_put(apply->out, key, &value);
}

static err_t
apply_rename_to(struct updateprog_apply *apply, const struct updateprog_node *node,
    struct bytes key, const struct bsonvalue *old)
{
    struct bsonvalue value;
    bool found;

    TRY_RETURN(docpath_get(node->from, apply->document, &value, &found));
    if (found)
        return update_put(apply->out, key, &value);
    return old != NULL ? update_put(apply->out, key, old) : OK;
}

/* An operator on the value at its path, or where there is none (old NULL). */
static err_t
apply_leaf(struct updateprog_apply *apply, const struct updateprog_node *node, struct bytes key,
    const struct bsonvalue *old)
{
    int order;

    if (old == NULL && !update_creates(apply, node))
        return OK;
    switch (node->op) {
    case UPDATEPROG_SET_ON_INSERT:
        return update_put(apply->out, key, apply->insert || old == NULL ? &node->value : old);
    case UPDATEPROG_UNSET:
    case UPDATEPROG_RENAME_FROM:
        return OK;
    case UPDATEPROG_INC:
    case UPDATEPROG_MUL:
        return apply_arithmetic(apply, node, key, old);
    case UPDATEPROG_MIN:
    case UPDATEPROG_MAX:
        order = old == NULL ? 0 : bsonorder_compare(&node->value, old);
        if (old != NULL && (node->op == UPDATEPROG_MIN ? order >= 0 : order <= 0))
            return update_put(apply->out, key, old);
        return update_put(apply->out, key, &node->value);
    case UPDATEPROG_RENAME_TO:
        return apply_rename_to(apply, node, key, old);
    case UPDATEPROG_CURRENT_DATE:
        return apply_current_date(apply, node, key);
    case UPDATEPROG_BIT:
        return apply_bit(apply, node, key, old);
    case UPDATEPROG_SET:
        return update_put(apply->out, key, &node->value);
    default:
        return updatearray_apply(apply, node, key, old);
    }
}

/* All fields of a level: `old` is the document there, or an empty one. */
static err_t
apply_fields(struct updateprog_apply *apply, const struct updateprog_node *node, struct bytes old)
{
    const uint8_t *from = old.data + 4;
    const struct updateprog_node *child;
    struct bsonvalue value;
    struct bsonwalk walk;
    uint64_t met = 0;
    unsigned at;

    TRY_RETURN(bsonwalk_begin(&walk, old));
    while (bsonwalk_next(&walk, &value)) {
        const uint8_t *start = value.key.data - 1;

        for (child = node->child, at = 0; child != NULL; child = child->next, at++)
            if (bytes_equal(child->name, value.key))
                break;
        if (child == NULL)
            continue;
        if (at < 64 && (met >> at & 1) != 0)
            continue; /* a name that stands there twice: the first is the one */
        met |= at < 64 ? UINT64_C(1) << at : 0;
        TRY_RETURN(buf_append(apply->out, from, (size_t)(start - from)));
        from = value.raw.data + value.raw.size;
        TRY_RETURN(apply_node(apply, child, value.key, &value));
    }
    TRY_RETURN(bsonwalk_end(&walk));
    TRY_RETURN(buf_append(apply->out, from, (size_t)(old.data + old.size - 1 - from)));
    for (child = node->child, at = 0; child != NULL; child = child->next, at++) {
        bool found = at < 64 && (met >> at & 1) != 0;

        if (at >= 64)
            TRY_RETURN(bsonwalk_find(old, child->name, &value, &found));
        if (!found)
            TRY_RETURN(apply_node(apply, child, child->name, NULL));
    }
    return OK;
}

/* An element of an array keeps its place: what is taken away leaves null. */
static err_t
apply_element(struct updateprog_apply *apply, const struct updateprog_node *node, struct bytes key,
    const struct bsonvalue *old)
{
    if (node->op == UPDATEPROG_UNSET)
        return update_put(apply->out, key, &bsonvalue_null);
    if (node->op == UPDATEPROG_RENAME_FROM || node->op == UPDATEPROG_RENAME_TO)
        return err_set(ERR_BAD_VALUE,
            "The source and target of $rename cannot be array elements: '%.*s' in doc with %s",
            (int)node->path.size, (const char *)node->path.data,
            update_id_text(apply->op, apply->document));
    return apply_node(apply, node, key, old);
}

/* Elements beyond the end of an array that had `count`. */
static err_t
extend_array(struct updateprog_apply *apply, const struct updateprog_node *child, int64_t count)
{
    char room[12];

    for (; child != NULL; child = child->next) {
        if (child->index < count || !update_creates(apply, child))
            continue;
        if (child->index - count > INDEX_MAX)
            return err_set(ERR_BAD_VALUE,
                "Cannot create field '%.*s': it is too far beyond the end of the array",
                (int)child->name.size, (const char *)child->name.data);
        for (; count < child->index; count++)
            TRY_RETURN(update_put(
                apply->out, bsonbuild_index_key((uint32_t)count, room), &bsonvalue_null));
        TRY_RETURN(apply_element(apply, child, child->name, NULL));
        count++;
    }
    return OK;
}

static err_t
apply_array(struct updateprog_apply *apply, const struct updateprog_node *node, struct bytes key,
    const struct bsonvalue *old)
{
    const struct updateprog_node *child = node->child;
    struct bsonvalue value;
    struct bsonwalk walk;
    int64_t count = 0;
    size_t at;

    for (; child != NULL; child = child->next)
        if (child->index < 0 && !child->all &&
            (update_creates(apply, child) || child->op == UPDATEPROG_POP))
            return not_viable(apply, child, key, old);
    TRY_RETURN(update_open(apply->out, key, BSONTYPE_ARRAY, &at));
    TRY_RETURN(bsonwalk_begin(&walk, old->raw));
    for (; bsonwalk_next(&walk, &value); count++) {
        for (child = node->child; child != NULL; child = child->next)
            if (child->all || child->index == count)
                break;
        if (child == NULL)
            TRY_RETURN(update_put(apply->out, value.key, &value));
        else
            TRY_RETURN(apply_element(apply, child, value.key, &value));
    }
    TRY_RETURN(bsonwalk_end(&walk));
    if (node->child != NULL && !node->child->all)
        TRY_RETURN(extend_array(apply, node->child, count));
    return update_close(apply->out, at);
}

static err_t
apply_node(struct updateprog_apply *apply, const struct updateprog_node *node, struct bytes key,
    const struct bsonvalue *old)
{
    size_t at;

    if (node->op != UPDATEPROG_INNER)
        return apply_leaf(apply, node, key, old);
    if (node->child->all && (old == NULL || old->type != BSONTYPE_ARRAY)) {
        if (old == NULL)
            return err_set(ERR_BAD_VALUE,
                "The path '%.*s' must exist in the document in order to apply array updates.",
                (int)node->path.size, (const char *)node->path.data);
        return err_set(ERR_BAD_VALUE, "Cannot apply array updates to non-array element %s",
            update_value_text(apply->op, key, old));
    }
    if (old == NULL) {
        if (!update_creates(apply, node))
            return OK;
        TRY_RETURN(update_open(apply->out, key, BSONTYPE_DOCUMENT, &at));
        TRY_RETURN(apply_fields(apply, node, bsonvalue_empty_document));
        return update_close(apply->out, at);
    }
    if (old->type == BSONTYPE_ARRAY)
        return apply_array(apply, node, key, old);
    if (old->type == BSONTYPE_DOCUMENT) {
        TRY_RETURN(update_open(apply->out, key, BSONTYPE_DOCUMENT, &at));
        TRY_RETURN(apply_fields(apply, node, old->raw));
        return update_close(apply->out, at);
    }
    for (const struct updateprog_node *child = node->child; child != NULL; child = child->next)
        if (update_creates(apply, child) || child->op == UPDATEPROG_POP)
            return not_viable(apply, child, key, old);
    return update_put(apply->out, key, old);
}

/* The elements of `document` with _id (if any) in front. */
static err_t
put_id_first(struct buf *out, struct bytes document, const struct bsonvalue *id)
{
    struct bytes name = bytes_of("_id");
    struct bsonvalue value;
    struct bsonwalk walk;

    if (id != NULL)
        TRY_RETURN(update_put(out, name, id));
    TRY_RETURN(bsonwalk_begin(&walk, document));
    while (bsonwalk_next(&walk, &value))
        if (!bytes_equal(value.key, name))
            TRY_RETURN(update_put(out, value.key, &value));
    return bsonwalk_end(&walk);
}

static err_t
apply_replacement(struct updateprog_apply *apply, const struct update *update)
{
    struct bsonvalue had, has;
    bool old_id = bsonwalk_get(apply->document, "_id", &had);
    bool new_id = bsonwalk_get(update->document, "_id", &has);

    if (old_id && new_id && !bsonorder_equal(&had, &has))
        return err_set(ERR_IMMUTABLE_FIELD,
            "After applying the update, the (immutable) field '_id' was found to have been "
            "altered to _id: %s",
            update_id_text(apply->op, update->document));
    return put_id_first(apply->out, update->document, old_id ? &had : new_id ? &has : NULL);
}

static err_t
check_result(struct updateprog_apply *apply, const struct update *update)
{
    struct bytes result = buf_bytes(apply->out);
    struct bsonvalue had, has;
    bool found;

    if (result.size > BSONVALUE_DOCUMENT_SIZE_MAX) /* A2 */
        return err_set(ERR_TOO_LARGE, "Resulting document after update is larger than %u",
            BSONVALUE_DOCUMENT_SIZE_MAX);
    if (!update->sets_id || !bsonwalk_get(apply->document, "_id", &had))
        return OK;
    found = bsonwalk_get(result, "_id", &has);
    if (!found || had.type != has.type || !bytes_equal(had.raw, has.raw)) /* A1 */
        return err_set(ERR_IMMUTABLE_FIELD,
            "Performing an update on the path '_id' would modify the immutable field '_id'");
    return OK;
}

static err_t
run(struct updateprog_apply *apply, const struct update *update)
{
    buf_clear(apply->out);
    TRY_RETURN(buf_reserve(apply->out, apply->document.size + update->document.size + 64));
    TRY_RETURN(buf_append(apply->out, "\0\0\0\0", 4));
    if (update->replacement)
        TRY_RETURN(apply_replacement(apply, update));
    else
        TRY_RETURN(apply_fields(apply, &update->root, apply->document));
    TRY_RETURN(update_close(apply->out, 0));
    return check_result(apply, update);
}

err_t
update_compile(
    struct arena *arena, struct bytes document, enum update_rule rule, const struct update **update)
{
    return updateparse_document(arena, document, rule, update);
}

bool
update_is_replacement(const struct update *update)
{
    return update->replacement;
}

err_t
update_apply(const struct update *update, struct op *op, struct bytes document, struct buf *out,
    bool *changed)
{
    struct updateprog_apply apply = { op, out, document, false };

    TRY_RETURN(run(&apply, update));
    *changed = !bytes_equal(document, buf_bytes(out));
    return OK;
}

/* The equalities that hold for every document the filter matches, as $set. */
static err_t
take_equalities(struct op *op, const struct filter *filter, bool only_id, struct update *base)
{
    for (uint32_t i = 1; i < filter->count; i++) {
        const struct filterprog_node *node = &filter->node[i];
        const struct bsonvalue *value = &node->value;
        err_t err;

        if (node->op == FILTERPROG_AND)
            continue; /* its children follow */
        i = node->end - 1;
        if (node->op == FILTERPROG_OR && i > 0 &&
            filter->node[node - filter->node + 1].end == node->end) {
            i = (uint32_t)(node - filter->node); /* an $or of one */
            continue;
        }
        if (node->op == FILTERPROG_IN && node->value_count == 1 && node->regex_count == 0)
            value = &node->values[0];
        else if (node->op != FILTERPROG_EQ)
            continue;
        if (only_id && !bytes_is(node->path->text, "_id"))
            continue;
        err = updateparse_set(op->arena, base, node->path->text, value);
        if (err != OK && err != ERR_MEMORY) {
            err = err_set(ERR_BAD_VALUE,
                "cannot infer query fields to set, path '%s' is matched twice",
                (const char *)node->path->text.data);
            err_set_mongo(54, "NotSingleValueField");
        }
        TRY_RETURN(err);
    }
    return OK;
}

/* Put _id in front, made if need be, and the whole again into `out`. */
static err_t
finish_upsert(struct op *op, struct buf *out)
{
    uint8_t oid[OBJECTID_SIZE];
    struct bsonvalue id, first;
    struct bsonwalk walk;
    uint8_t *copy;
    size_t size = out->size;

    if (bsonwalk_get(buf_bytes(out), "_id", &id)) {
        TRY_RETURN(bsonwalk_begin(&walk, buf_bytes(out)));
        if (bsonwalk_next(&walk, &first) && bytes_is(first.key, "_id"))
            return OK;
    }
    copy = arena_copy(op->arena, out->data, size);
    if (copy == NULL)
        return ERR_MEMORY;
    if (!bsonwalk_get((struct bytes){ copy, size }, "_id", &id)) {
        objectid_make(oid);
        id = bsonvalue_make(BSONTYPE_OBJECTID, (struct bytes){ oid, OBJECTID_SIZE });
    }
    buf_clear(out);
    TRY_RETURN(buf_append(out, "\0\0\0\0", 4));
    TRY_RETURN(put_id_first(out, (struct bytes){ copy, size }, &id));
    return update_close(out, 0);
}

err_t
update_upsert(const struct update *update, struct op *op, struct bytes filter, struct buf *out)
{
    struct updateprog_apply apply = { op, out, bsonvalue_empty_document, true };
    struct update *base = arena_zalloc(op->arena, sizeof *base);
    const struct filter *compiled;
    uint8_t *copy;

    if (base == NULL)
        return ERR_MEMORY;
    TRY_RETURN(filter_compile(op->arena, filter, &compiled));
    TRY_RETURN(take_equalities(op, compiled, update->replacement, base));
    if (base->root.child != NULL) {
        TRY_RETURN(run(&apply, base));
        copy = arena_copy(op->arena, out->data, out->size);
        if (copy == NULL)
            return ERR_MEMORY;
        apply.document = (struct bytes){ copy, out->size };
    }
    TRY_RETURN(run(&apply, update));
    TRY_RETURN(finish_upsert(op, out));
    if (out->size > BSONVALUE_DOCUMENT_SIZE_MAX)
        return err_set(ERR_TOO_LARGE, "Resulting document after upsert is larger than %u",
            BSONVALUE_DOCUMENT_SIZE_MAX);
    return OK;
}
