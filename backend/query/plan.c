/*
 * plan.c - how a query's documents are found.
 *
 * For each usable index, bounds are taken from the conjuncts of the filter: field by field, points
 * ($eq, $in) go on to the next field, a range ends.  Points multiply to at most RANGES_MAX ranges.
 * The ranges are disjoint and in key order, so a scan over all of them yields index order.
 *
 * INVARIANTS
 *  N1  A document that the filter matches has a key in one of the ranges: bounds are made only from
 *      conditions and values for which that holds (no arrays, no regexes, no $ne; null means
 *      undefined and null; a range stays in its class).
 *  N2  An index that leaves documents out is used only if a bound shows that they cannot match:
 *      sparse ones with a bound that null does not satisfy, partial and scalar-only ones never.
 *  N3  With a multikey index two conditions on one path are not intersected, and two paths that
 *      begin with the same name are not bounded together: different elements may satisfy them.
 *  N4  An index gives an order only where the first key of a document that a scan meets is its sort
 *      key: it is not multikey, or all of it is scanned (sortkey.c, K1).
 *
 * IF A PROCESS DIES: nothing here is shared.
 */
#include "backend/query/plan.h"

#include <math.h>
#include <stdlib.h>

#include "backend/query/filterprog.h"
#include "base/doc/bsonorder.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/keystring.h"
#include "base/mutant.h"

#define RANGES_MAX     256
#define CONJUNCTS_MAX  64
#define SAMPLED_RANGES 8

struct conjuncts {
    const struct filterprog_node *leaf[CONJUNCTS_MAX];
    unsigned count;
};

struct bounds {
    struct arena *arena;
    struct bytes *prefix; /* keys of the points so far */
    size_t count;
    struct bytes low, high; /* components of the range that ends it; sizes 0: none */
    unsigned fields;
    uint32_t single; /* bits: fields bounded to one point */
    bool excludes_null;
    bool empty;
};

/* The leaves that every match must satisfy. */
static void
collect(const struct filter *filter, struct conjuncts *conjuncts)
{
    for (uint32_t i = 1; i < filter->count;) {
        const struct filterprog_node *node = &filter->node[i];

        if (node->op == FILTERPROG_AND) {
            i++;
            continue;
        }
        if (node->path != NULL && conjuncts->count < CONJUNCTS_MAX && node->op >= FILTERPROG_EQ &&
            node->op <= FILTERPROG_IN)
            conjuncts->leaf[conjuncts->count++] = node;
        i = node->end;
    }
}

static err_t
keep(struct arena *arena, const struct buf *key, struct bytes *kept)
{
    kept->data = arena_copy(arena, key->data, key->size);
    kept->size = key->size;
    return kept->data != NULL ? OK : ERR_MEMORY;
}

static bool
is_null(const struct bsonvalue *value)
{
    return value->type == BSONTYPE_NULL || value->type == BSONTYPE_UNDEFINED;
}

/* Can equality with this value be looked up? (N1) */
static bool
is_point(const struct bsonvalue *value)
{
    return value->type != BSONTYPE_ARRAY && value->type != BSONTYPE_UNDEFINED;
}

/* Can an order comparison with this value be looked up? (N1) */
static bool
is_rangeable(const struct bsonvalue *value)
{
    switch (bsonorder_class(value->type)) {
    case BSONORDER_NUMBER:
    case BSONORDER_STRING:
    case BSONORDER_DOCUMENT:
    case BSONORDER_BINARY:
    case BSONORDER_OBJECTID:
    case BSONORDER_BOOL:
    case BSONORDER_DATE:
    case BSONORDER_TIMESTAMP:
        return true;
    default:
        return false;
    }
}

static int
by_bytes(const void *a, const void *b)
{
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

static err_t
add_point(struct bounds *bounds, struct bytes *made, size_t *count, struct buf *key,
    const struct bsonvalue *value, bool descending)
{
    for (size_t i = 0; i < bounds->count; i++) {
        buf_clear(key);
        TRY_RETURN(buf_append(key, bounds->prefix[i].data, bounds->prefix[i].size));
        TRY_RETURN(keystring_append(key, value, descending));
        TRY_RETURN(keep(bounds->arena, key, &made[(*count)++]));
    }
    return OK;
}

/* Multiply the prefixes by the points of a leaf (EQ or IN).  *used false: too many. */
static err_t
take_points(struct bounds *bounds, const struct filterprog_node *leaf, bool descending,
    struct buf *key, bool *used)
{
    const struct bsonvalue *values = leaf->op == FILTERPROG_IN ? leaf->values : &leaf->value;
    size_t points = leaf->op == FILTERPROG_IN ? leaf->value_count : 1, count = 0, kept = 0;
    struct bytes *made;

    *used = false;
    if (bounds->count * (points + 1) > RANGES_MAX)
        return OK;
    made = arena_alloc(bounds->arena, (bounds->count * (points + 1) + 1) * sizeof *made);
    if (made == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < points; i++) {
        if (is_null(&values[i]))
            TRY_RETURN(add_point(bounds, made, &count, key, &bsonvalue_undefined, descending));
        TRY_RETURN(add_point(bounds, made, &count, key, &values[i], descending));
    }
    qsort(made, count, sizeof *made, by_bytes);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || !bytes_equal(made[kept - 1], made[i]))
            made[kept++] = made[i];
    bounds->empty = bounds->empty || kept == 0;
    if (kept == bounds->count && kept > 0)
        bounds->single |= 1u << bounds->fields;
    bounds->prefix = made;
    bounds->count = kept;
    *used = true;
    return OK;
}

static bool
points_usable(const struct filterprog_node *leaf)
{
    if (leaf->op == FILTERPROG_EQ)
        return is_point(&leaf->value);
    if (leaf->op != FILTERPROG_IN || leaf->regex_count > 0)
        return false;
    for (uint32_t i = 0; i < leaf->value_count; i++)
        if (!is_point(&leaf->values[i]))
            return false;
    return true;
}

static bool
leaf_takes_null(const struct filterprog_node *leaf)
{
    if (leaf->op == FILTERPROG_EQ)
        return is_null(&leaf->value);
    return leaf->op == FILTERPROG_IN && leaf->has_null;
}

/* Narrow low and high by one comparison. */
static err_t
narrow(struct bounds *bounds, const struct filterprog_node *leaf, bool descending, struct buf *key)
{
    bool above = leaf->op == FILTERPROG_GT || leaf->op == FILTERPROG_GTE;
    bool inclusive = leaf->op == FILTERPROG_GTE || leaf->op == FILTERPROG_LTE;
    bool as_low = above != descending;
    struct bytes low = { NULL, 0 }, high = low;
    struct bytes *near = as_low ? &low : &high, *far = as_low ? &high : &low;

    buf_clear(key);
    TRY_RETURN(keystring_append(key, &leaf->value, descending));
    /* The value itself is within: a low bound begins with it, a high one behind it. */
    if (inclusive != as_low && !(descending && mutant(MUTANT_RANGE_DESCENDING)))
        keystring_successor(key);
    TRY_RETURN(keep(bounds->arena, key, near));
    buf_clear(key);
    if (as_low)
        TRY_RETURN(keystring_append_class_high(key, leaf->value.type, descending));
    else
        TRY_RETURN(keystring_append_class_low(key, leaf->value.type, descending));
    TRY_RETURN(keep(bounds->arena, key, far));
    if (bounds->low.size == 0 || bytes_compare(low, bounds->low) > 0)
        bounds->low = low;
    if (bounds->high.size == 0 || bytes_compare(high, bounds->high) < 0)
        bounds->high = high;
    return OK;
}

/* Paths of a multikey index whose first names are equal may meet in one array (N3). */
static bool
shares_head(const struct indexkey_spec *spec, unsigned field)
{
    for (unsigned i = 0; i < field; i++)
        if (bytes_equal(spec->field[i].path->part[0].name, spec->field[field].path->part[0].name))
            return true;
    return false;
}

static bool
has_number_part(const struct docpath *path)
{
    for (uint32_t i = 0; i < path->count; i++)
        if (path->part[i].index >= 0)
            return true;
    return false;
}

/* Bound one field.  *more: it was points, the next field may be bounded, too. */
static err_t
bound_field(struct bounds *bounds, const struct conjuncts *conjuncts,
    const struct indexkey_field *field, bool multikey, struct buf *key, bool *more)
{
    bool used = false, ranged = false;

    *more = false;
    for (int pass = 0; pass < 2; pass++) /* $eq first */
        for (unsigned i = 0; i < conjuncts->count; i++) {
            const struct filterprog_node *leaf = conjuncts->leaf[i];

            if (!bytes_equal(leaf->path->text, field->path->text) ||
                leaf->op != (pass == 0 ? FILTERPROG_EQ : FILTERPROG_IN) || !points_usable(leaf))
                continue;
            TRY_RETURN(take_points(bounds, leaf, field->descending, key, &used));
            if (used) {
                bounds->excludes_null = bounds->excludes_null || !leaf_takes_null(leaf);
                bounds->fields++;
                *more = true;
                return OK;
            }
        }
    for (unsigned i = 0; i < conjuncts->count; i++) {
        const struct filterprog_node *leaf = conjuncts->leaf[i];

        if (!bytes_equal(leaf->path->text, field->path->text) || leaf->op < FILTERPROG_LT ||
            leaf->op > FILTERPROG_GTE || !is_rangeable(&leaf->value))
            continue;
        if (ranged && multikey) /* N3 */
            break;
        TRY_RETURN(narrow(bounds, leaf, field->descending, key));
        ranged = true;
    }
    if (ranged) {
        bounds->excludes_null = true;
        bounds->fields++;
        if (bytes_compare(bounds->low, bounds->high) >= 0)
            bounds->empty = true;
    }
    return OK;
}

static err_t
join(struct arena *arena, struct bytes a, struct bytes b, struct bytes *both)
{
    uint8_t *data = arena_alloc(arena, a.size + b.size + 1);

    if (data == NULL)
        return ERR_MEMORY;
    if (a.size > 0)
        memcpy(data, a.data, a.size);
    if (b.size > 0)
        memcpy(data + a.size, b.data, b.size);
    *both = (struct bytes){ data, a.size + b.size };
    return OK;
}

/* From prefixes and the last range to what the index is asked.  *usable false: a key is longer than
   the index takes. */
static err_t
make_ranges(const struct bounds *bounds, struct buf *key, struct plan *plan, bool *usable)
{
    size_t count = bounds->empty ? 0 : bounds->count;
    struct index_range *ranges = arena_zalloc(bounds->arena, (count + 1) * sizeof *ranges);

    *usable = true;
    if (ranges == NULL)
        return ERR_MEMORY;
    plan->ranges = ranges;
    plan->range_count = count;
    for (size_t i = 0; i < count; i++) {
        struct index_range *range = &ranges[i];

        range->high_excluded = true;
        TRY_RETURN(join(bounds->arena, bounds->prefix[i], bounds->low, &range->low));
        if (bounds->high.size > 0)
            TRY_RETURN(join(bounds->arena, bounds->prefix[i], bounds->high, &range->high));
        else {
            buf_clear(key);
            TRY_RETURN(buf_append(key, range->low.data, range->low.size));
            keystring_successor(key);
            TRY_RETURN(keep(bounds->arena, key, &range->high));
        }
        range->has_low = range->low.size > 0;
        range->has_high = range->high.size > 0;
        if (range->low.size > INDEX_KEY_MAX || range->high.size > INDEX_KEY_MAX)
            *usable = false;
    }
    return OK;
}

/* Does index order, forward or backward, give the sort?  Fields bounded to a point may be left out.
 */
static bool
gives_order(const struct indexkey_spec *spec, const struct sortkey *sortkey, uint32_t single,
    bool *backward)
{
    unsigned field = 0;
    int direction = 0; /* 1: forward, -1: backward */

    for (unsigned i = 0; i < sortkey->count; i++) {
        const struct indexkey_field *wanted = &sortkey->field[i];
        int now;

        while (field < spec->count && (single >> field & 1) != 0 &&
               !bytes_equal(spec->field[field].path->text, wanted->path->text))
            field++;
        if (field == spec->count ||
            !bytes_equal(spec->field[field].path->text, wanted->path->text)) {
            bool constant = false;

            for (unsigned j = 0; j < field; j++)
                constant =
                    constant || ((single >> j & 1) != 0 &&
                                    bytes_equal(spec->field[j].path->text, wanted->path->text));
            if (!constant)
                return false;
            continue;
        }
        now = spec->field[field].descending == wanted->descending ? 1 : -1;
        if ((single >> field & 1) == 0) {
            if (direction != 0 && direction != now)
                return false;
            direction = now;
        }
        field++;
    }
    *backward = direction < 0;
    return true;
}

/* May the index be used at all for this snapshot? */
static bool
is_usable(const struct catalog_index *index, const struct plan_wish *wish)
{
    if (index->state != CATALOG_INDEX_READY || index->usable_from > wish->csn ||
        index->scalar_only || index->special || /* N2 */
        index->index.kind != INDEX_BTREE || index->spec->hashed)
        return false;
    for (unsigned i = 0; i < index->spec->count; i++)
        if (has_number_part(index->spec->field[i].path))
            return false;
    return true;
}

static err_t
estimate(struct op *op, const struct catalog_index *index, const struct plan *plan, uint64_t *rows)
{
    const struct index_methods *methods = index_methods(index->index.kind);
    size_t sampled = plan->range_count < SAMPLED_RANGES ? plan->range_count : SAMPLED_RANGES;
    uint64_t one;

    *rows = 0;
    for (size_t i = 0; i < sampled; i++) {
        TRY_RETURN(methods->estimate(op, &index->index, &plan->ranges[i], &one));
        *rows += one;
    }
    if (sampled > 0)
        *rows = *rows * plan->range_count / sampled;
    return OK;
}

/* A plan over one index.  *useful: it bounds something or gives the order. */
static err_t
plan_over(struct arena *arena, const struct catalog_index *index, const struct plan_wish *wish,
    const struct conjuncts *conjuncts, bool insist, struct plan *plan, bool *useful)
{
    const struct indexkey_spec *spec = index->spec;
    bool multikey = wish->forced ? wish->multikey : index->multikey, more = true, usable;
    struct bytes nothing = { NULL, 0 };
    struct bounds bounds = { .arena = arena, .prefix = &nothing, .count = 1 };
    struct buf key = buf_init(BSONVALUE_INTERNAL_SIZE_MAX);
    bool backward = false;
    err_t err = OK;

    *useful = false;
    *plan = (struct plan){ .stage = PLAN_INDEX, .index_oid = index->oid, .multikey = multikey };
    for (unsigned i = 0; more && i < spec->count; i++) {
        if (multikey && shares_head(spec, i))
            break;
        TRY(bound_field(&bounds, conjuncts, &spec->field[i], multikey, &key, &more));
    }
    TRY(make_ranges(&bounds, &key, plan, &usable));
    if (!usable ||
        (index->sparse && !bounds.excludes_null && !insist && !mutant(MUTANT_SPARSE_FOR_NULL)))
        goto out; /* N2 */
    plan->bounded = bounds.fields;
    if (wish->sortkey != NULL &&
        (!multikey || bounds.fields == 0 || mutant(MUTANT_ARRAY_ORDER))) /* N4 */
        plan->sorted = gives_order(spec, wish->sortkey, bounds.single, &backward);
    plan->backward = plan->sorted && backward;
    *useful = bounds.fields > 0 || plan->sorted || insist;
    if (!*useful)
        goto out;
    plan->index_name.data = arena_copy(arena, index->name, strlen(index->name) + 1);
    plan->index_name.size = strlen(index->name);
    plan->key_pattern.data = arena_copy(arena, index->key_pattern.data, index->key_pattern.size);
    plan->key_pattern.size = index->key_pattern.size;
    if (plan->index_name.data == NULL || plan->key_pattern.data == NULL)
        err = ERR_MEMORY;
out:
    buf_fini(&key);
    return err;
}

/* A backward scan takes the ranges from the last to the first. */
static void
turn_round(struct plan *plan)
{
    if (!plan->backward)
        return;
    for (size_t i = 0, j = plan->range_count; i + 1 < j && !mutant(MUTANT_RANGES_UNTURNED);
         i++, j--) {
        struct index_range swap = plan->ranges[i];

        plan->ranges[i] = plan->ranges[j - 1];
        plan->ranges[j - 1] = swap;
    }
    for (size_t i = 0; i < plan->range_count; i++)
        plan->ranges[i].backward = true;
}

static err_t
price(struct op *op, const struct catalog_index *index, const struct plan_wish *wish, uint64_t all,
    struct plan *plan)
{
    uint64_t rows = all;
    double sorting = 0;

    if (plan->bounded > 0)
        TRY_RETURN(estimate(op, index, plan, &rows));
    if (wish->sortkey != NULL && !plan->sorted)
        sorting = 0.3 * (double)rows * log2((double)rows + 2);
    else if (wish->first > 0 && wish->first < rows && filter_is_empty(wish->filter))
        rows = wish->first;
    plan->cost = (double)rows * 1.5 + sorting - 0.01 * plan->bounded;
    return OK;
}

/* {_id: x} among the conjuncts: one look-up (N1: null would also mean missing, and _id never is).
 */
static err_t
plan_id(struct arena *arena, const struct conjuncts *conjuncts, struct plan *plan, bool *found)
{
    struct buf key = buf_init(BSONVALUE_INTERNAL_SIZE_MAX);
    err_t err = OK;

    *found = false;
    for (unsigned i = 0; i < conjuncts->count && !*found; i++) {
        const struct filterprog_node *leaf = conjuncts->leaf[i];

        if (leaf->op != FILTERPROG_EQ || !bytes_is(leaf->path->text, "_id") ||
            !is_point(&leaf->value) || is_null(&leaf->value))
            continue;
        TRY(keystring_append(&key, &leaf->value, false));
        if (key.size > INDEX_KEY_MAX)
            break;
        *plan = (struct plan){ .stage = PLAN_ID, .sorted = true };
        TRY(keep(arena, &key, &plan->id_key));
        *found = true;
    }
out:
    buf_fini(&key);
    return err;
}

static err_t
find_hinted(const struct catalog_collection *collection, struct bytes hint, bool *natural,
    const struct catalog_index **index)
{
    struct bsonvalue value, order;
    struct bsonwalk walk;

    *natural = false;
    *index = NULL;
    TRY_RETURN(bsonwalk_begin(&walk, hint));
    if (!bsonwalk_next(&walk, &value))
        return OK;
    if (value.type == BSONTYPE_DOCUMENT && bsonwalk_get(value.raw, "$natural", &order)) {
        *natural = true;
        return OK;
    }
    for (unsigned i = 0; i < collection->index_count && *index == NULL; i++) {
        const struct catalog_index *each = collection->index[i];
        struct bsonvalue pattern = bsonvalue_of_document(each->key_pattern);

        if (value.type == BSONTYPE_STRING ? bytes_is(bsonvalue_string(&value), each->name)
                                          : bsonorder_equal(&value, &pattern))
            *index = each;
    }
    if (value.type != BSONTYPE_STRING && value.type != BSONTYPE_DOCUMENT)
        return err_set(ERR_FAILED_TO_PARSE, "Hint must be a string or an object");
    if (*index == NULL)
        return err_set(ERR_BAD_VALUE,
            "error processing query: planner returned error :: caused "
            "by :: hint provided does not correspond to an existing index");
    return OK;
}

static err_t
plan_hinted(struct arena *arena, const struct catalog_index *index, const struct plan_wish *wish,
    const struct conjuncts *conjuncts, struct plan *plan)
{
    bool useful = false;

    if (is_usable(index, wish))
        TRY_RETURN(plan_over(arena, index, wish, conjuncts, true, plan, &useful));
    if (!useful)
        return err_set(ERR_BAD_VALUE, "the hinted index '%s' cannot serve this query", index->name);
    return OK;
}

static err_t
choose(struct op *op, struct arena *arena, const struct catalog_collection *collection,
    const struct plan_wish *wish, const struct conjuncts *conjuncts, struct plan *plan)
{
    const struct catalog_index *best = NULL;
    struct plan candidate;
    uint64_t all = 0;
    bool useful, priced = false;

    for (unsigned i = 0; i < collection->index_count; i++) {
        const struct catalog_index *index = collection->index[i];

        if (!is_usable(index, wish))
            continue;
        TRY_RETURN(plan_over(arena, index, wish, conjuncts, false, &candidate, &useful));
        if (!useful)
            continue;
        if (best != NULL && !priced) {
            TRY_RETURN(collection_count_estimate(op, collection, &all));
            TRY_RETURN(price(op, best, wish, all, plan));
            priced = true;
        }
        if (best != NULL)
            TRY_RETURN(price(op, index, wish, all, &candidate));
        if (best == NULL || candidate.cost < plan->cost) {
            best = index;
            *plan = candidate;
        }
    }
    return OK;
}

const struct catalog_index *
plan_index(const struct plan *plan, const struct catalog_collection *collection)
{
    for (unsigned i = 0; i < collection->index_count; i++)
        if (collection->index[i]->oid == plan->index_oid)
            return collection->index[i];
    return NULL;
}

static err_t
plan_forced(struct arena *arena, const struct catalog_collection *collection,
    const struct plan_wish *wish, const struct conjuncts *conjuncts, struct plan *plan)
{
    const struct catalog_index *index;
    bool useful = false;

    plan->stage = wish->stage;
    plan->index_oid = wish->index_oid;
    if (plan->stage != PLAN_INDEX)
        return OK;
    index = plan_index(plan, collection);
    if (index != NULL)
        TRY_RETURN(plan_over(arena, index, wish, conjuncts, true, plan, &useful));
    if (!useful) {
        err_t err = err_set(ERR_OPERATION_FAILED, "the index that this query used was dropped");

        err_set_mongo(175, "QueryPlanKilled");
        return err;
    }
    return OK;
}

err_t
plan_make(struct op *op, struct arena *arena, const struct catalog_collection *collection,
    const struct plan_wish *wish, struct plan *plan)
{
    struct conjuncts conjuncts = { .count = 0 };
    const struct catalog_index *hinted = NULL;
    bool natural = false, found = false;

    *plan = (struct plan){ .stage = PLAN_SCAN };
    collect(wish->filter, &conjuncts);
    if (wish->forced) {
        TRY_RETURN(plan_forced(arena, collection, wish, &conjuncts, plan));
        turn_round(plan);
        return OK;
    }
    if (wish->hint.size > BSONVALUE_DOCUMENT_SIZE_LEAST)
        TRY_RETURN(find_hinted(collection, wish->hint, &natural, &hinted));
    if (natural)
        return OK;
    if (hinted == NULL || hinted == collection->index[0])
        TRY_RETURN(plan_id(arena, &conjuncts, plan, &found));
    if (found)
        return OK;
    if (hinted != NULL)
        TRY_RETURN(plan_hinted(arena, hinted, wish, &conjuncts, plan));
    else
        TRY_RETURN(choose(op, arena, collection, wish, &conjuncts, plan));
    turn_round(plan);
    return OK;
}
