/*
 * docpath.c - dotted paths.
 *
 * The walk is a recursion over the parts of the path and, at arrays, over their elements;
 * its depth is bounded by DOCPATH_PARTS_MAX, since each step takes a part off.  A numeric part
 * branches (position and name), so a hostile document could be walked in exponentially many
 * ways; a budget of steps in proportion to its size refuses that.
 */
#include "base/doc/docpath.h"

#include "base/doc/bsonorder.h"
#include "base/doc/bsonwalk.h"

struct visitor {
    const struct docpath *path;
    unsigned flags;
    docpath_visit *visit;
    void *context;
    size_t budget; /* documents that may still be looked at */
    bool stopped;
};

static err_t walk_document(
    struct visitor *visitor, struct bytes document, uint32_t part, int64_t array_index);

/* The number that a part is, or -1; "007" and "" are names only. */
static int64_t
index_of(struct bytes name)
{
    int64_t index = 0;

    if (name.size == 0 || name.size > 9 || (name.size > 1 && name.data[0] == '0'))
        return -1;
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] < '0' || name.data[i] > '9')
            return -1;
        index = index * 10 + (name.data[i] - '0');
    }
    return index;
}

err_t
docpath_compile(struct arena *arena, struct bytes text, const struct docpath **path)
{
    struct docpath *made;
    const uint8_t *at;
    uint32_t count = 1;
    size_t start = 0;

    if (text.size > 0 && memchr(text.data, 0, text.size) != NULL)
        return err_set(ERR_BAD_VALUE, "a path contains a NUL character");
    for (size_t i = 0; i < text.size; i++)
        count += text.data[i] == '.';
    if (count > DOCPATH_PARTS_MAX)
        return err_set(ERR_OVERFLOW, "a path has more than %d parts", DOCPATH_PARTS_MAX);
    made = arena_alloc(arena, sizeof *made + count * sizeof made->part[0]);
    at = made != NULL ? (const uint8_t *)arena_string(arena, text) : NULL;
    if (at == NULL)
        return ERR_MEMORY;
    made->text = (struct bytes){ at, text.size };
    made->count = 0;
    for (size_t i = 0; i <= text.size; i++)
        if (i == text.size || at[i] == '.') {
            struct docpath_part *part = &made->part[made->count++];

            part->name = (struct bytes){ at + start, i - start };
            part->index = index_of(part->name);
            start = i + 1;
        }
    *path = made;
    return OK;
}

static void
give(struct visitor *visitor, const struct bsonvalue *value, int64_t array_index, bool element)
{
    struct docpath_hit hit = { value, array_index, element };

    visitor->stopped = visitor->visit(visitor->context, &hit);
}

/* The path ends at this value. */
static err_t
leaf(struct visitor *visitor, const struct bsonvalue *value, int64_t array_index)
{
    struct bsonwalk walk;
    struct bsonvalue element;
    int64_t index = 0;

    if (value->type == BSONTYPE_ARRAY && (visitor->flags & DOCPATH_EXPAND_LEAF) != 0) {
        TRY_RETURN(bsonwalk_begin(&walk, value->raw));
        for (; !visitor->stopped && bsonwalk_next(&walk, &element); index++)
            give(visitor, &element, array_index >= 0 ? array_index : index, true);
        if (!visitor->stopped)
            TRY_RETURN(bsonwalk_end(&walk));
    }
    if (!visitor->stopped)
        give(visitor, value, array_index, false);
    return OK;
}

static err_t walk_array(
    struct visitor *visitor, struct bytes array, uint32_t part, int64_t array_index);

/* `part` parts of the path have led to this value. */
static err_t
walk_value(
    struct visitor *visitor, const struct bsonvalue *value, uint32_t part, int64_t array_index)
{
    if (part == visitor->path->count)
        return leaf(visitor, value, array_index);
    if (value->type == BSONTYPE_DOCUMENT)
        return walk_document(visitor, value->raw, part, array_index);
    if (value->type == BSONTYPE_ARRAY)
        return walk_array(visitor, value->raw, part, array_index);
    give(visitor, NULL, array_index, false);
    return OK;
}

/* Each element that is a document goes on with this part; a numeric part is a position too. */
static err_t
walk_array(struct visitor *visitor, struct bytes array, uint32_t part, int64_t array_index)
{
    int64_t wanted = visitor->path->part[part].index, index = 0;
    struct bsonwalk walk;
    struct bsonvalue element;

    if ((visitor->flags & DOCPATH_OBJECTS_ONLY) != 0)
        return OK;
    TRY_RETURN(bsonwalk_begin(&walk, array));
    for (; !visitor->stopped && bsonwalk_next(&walk, &element); index++) {
        int64_t outer = array_index >= 0 ? array_index : index;

        if (element.type == BSONTYPE_DOCUMENT)
            TRY_RETURN(walk_document(visitor, element.raw, part, outer));
        if (index == wanted && !visitor->stopped)
            TRY_RETURN(walk_value(visitor, &element, part + 1, array_index));
    }
    return visitor->stopped ? OK : bsonwalk_end(&walk);
}

static err_t
walk_document(struct visitor *visitor, struct bytes document, uint32_t part, int64_t array_index)
{
    struct bsonvalue value;
    bool found;

    if (visitor->budget-- == 0) {
        visitor->budget = 0;
        return err_set(ERR_OVERFLOW, "the path '%.*s' is ambiguous in too many ways",
            (int)(visitor->path->text.size < 256 ? visitor->path->text.size : 256),
            (const char *)visitor->path->text.data);
    }
    TRY_RETURN(bsonwalk_find(document, visitor->path->part[part].name, &value, &found));
    if (found)
        return walk_value(visitor, &value, part + 1, array_index);
    give(visitor, NULL, array_index, false);
    return OK;
}

err_t
docpath_walk(const struct docpath *path, struct bytes document, unsigned flags,
    docpath_visit *visit, void *context, bool *stopped)
{
    struct visitor visitor = { path, flags, visit, context, document.size + 16, false };
    err_t err = walk_document(&visitor, document, 0, -1);

    if (stopped != NULL)
        *stopped = visitor.stopped;
    return err;
}

err_t
docpath_get(const struct docpath *path, struct bytes document, struct bsonvalue *value, bool *found)
{
    for (uint32_t i = 0; i < path->count; i++) {
        TRY_RETURN(bsonwalk_find(document, path->part[i].name, value, found));
        if (!*found || i + 1 == path->count)
            return OK;
        *found = false;
        if (value->type != BSONTYPE_DOCUMENT)
            return OK;
        document = value->raw;
    }
    return OK;
}

/* Sorting */

struct extreme {
    struct bsonvalue best;
    bool descending;
    bool any;     /* best is set */
    bool present; /* a value was there, be it null */
};

static void
consider(struct extreme *extreme, const struct bsonvalue *value)
{
    int order = extreme->any ? bsonorder_compare(value, &extreme->best) : -1;

    if (!extreme->any || (extreme->descending ? order > 0 : order < 0))
        extreme->best = *value;
    extreme->any = true;
}

static bool
take_extreme(void *context, const struct docpath_hit *hit)
{
    struct extreme *extreme = context;

    if (hit->value == NULL) {
        consider(extreme, &bsonvalue_null);
        return false;
    }
    extreme->present = true;
    if (hit->element || hit->value->type != BSONTYPE_ARRAY)
        consider(extreme, hit->value);
    else if (hit->value->raw.size <= BSONVALUE_DOCUMENT_SIZE_LEAST)
        consider(extreme, &bsonvalue_undefined); /* the others have given their elements */
    return false;
}

err_t
docpath_sort_value(const struct docpath *path, struct bytes document, bool descending,
    struct bsonvalue *value, bool *missing)
{
    struct extreme extreme = { .descending = descending };

    TRY_RETURN(docpath_walk(path, document, DOCPATH_EXPAND_LEAF, take_extreme, &extreme, NULL));
    *value = extreme.any ? extreme.best : bsonvalue_null;
    if (missing != NULL)
        *missing = !extreme.present;
    return OK;
}
