/*
 * projection.c - which fields of a document are wanted.
 *
 * INVARIANTS
 *  J1  A node either has children or stands for the whole field, never both.
 *  J2  Recursion is bounded by the depth of paths (DEPTH_MAX) and of arrays in validated documents.
 *
 * IF A PROCESS DIES: nothing here is shared.
 */
#include "backend/query/projection.h"

#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/docpath.h"

#define DEPTH_MAX 100

struct node {
    struct bytes name;
    struct node *child, *next;
};

struct projection {
    bool include; /* the fields of the tree are wanted; else all but them */
    struct node root;
};

struct parse {
    struct arena *arena;
    struct projection *made;
    bool decided;
    bool id_excluded, id_included;
};

static err_t
add_path(struct parse *parse, struct bytes text)
{
    struct node *node = &parse->made->root, *child;
    const struct docpath *path;

    TRY_RETURN(docpath_compile(parse->arena, text, &path));
    if (path->count > DEPTH_MAX)
        return err_set(ERR_OVERFLOW, "a projected path has more than %d parts", DEPTH_MAX);
    for (uint32_t i = 0; i < path->count; i++) {
        const struct bytes name = path->part[i].name;
        bool last = i + 1 == path->count;
        struct node **link = &node->child;

        if (name.size == 0)
            return err_set(ERR_BAD_VALUE, "FieldPath field names may not be empty strings.");
        if (name.data[0] == '$')
            return err_set(ERR_BAD_VALUE, "positional projection '%s' is not supported",
                (const char *)path->text.data);
        while (*link != NULL && !bytes_equal((*link)->name, name))
            link = &(*link)->next;
        child = *link;
        if (child != NULL && (last || child->child == NULL)) { /* J1 */
            err_t err =
                err_set(ERR_BAD_VALUE, "Path collision at %s", (const char *)path->text.data);

            err_set_mongo(last && child->child != NULL ? 31250 : 31249, NULL);
            return err;
        }
        if (child == NULL) {
            child = arena_zalloc(parse->arena, sizeof *child);
            if (child == NULL)
                return ERR_MEMORY;
            child->name = name;
            *link = child;
        }
        node = child;
    }
    return OK;
}

static err_t
decide(struct parse *parse, struct bytes path, bool include)
{
    if (parse->decided && parse->made->include != include) {
        err_t err = err_set(ERR_BAD_VALUE,
            include ? "Cannot do inclusion on field %.*s in exclusion projection"
                    : "Cannot do exclusion on field %.*s in inclusion projection",
            (int)path.size, (const char *)path.data);

        err_set_mongo(include ? 31253 : 31254, NULL);
        return err;
    }
    parse->decided = true;
    parse->made->include = include;
    return OK;
}

static err_t
parse_fields(struct parse *parse, struct bytes document, struct bytes prefix, unsigned depth)
{
    struct bsonvalue value;
    struct bsonwalk walk;

    if (depth > DEPTH_MAX)
        return err_set(ERR_OVERFLOW, "the projection is nested too deeply");
    TRY_RETURN(bsonwalk_begin(&walk, document));
    while (bsonwalk_next(&walk, &value)) {
        struct bytes path = value.key;

        if (path.size == 0)
            return err_set(ERR_BAD_VALUE, "FieldPath field names may not be empty strings.");
        if (path.data[0] == '$')
            return err_set(
                ERR_BAD_VALUE, "unsupported projection operator: %s", (const char *)path.data);
        if (prefix.size > 0) {
            char *text = arena_printf(parse->arena, "%.*s.%.*s", (int)prefix.size,
                (const char *)prefix.data, (int)path.size, (const char *)path.data);

            if (text == NULL)
                return ERR_MEMORY;
            path = bytes_of(text);
        }
        if (value.type == BSONTYPE_DOCUMENT && bsonwalk_count(value.raw) > 0) {
            TRY_RETURN(parse_fields(parse, value.raw, path, depth + 1));
            continue;
        }
        if (value.type == BSONTYPE_DOCUMENT) {
            err_t err = err_set(ERR_BAD_VALUE,
                "An empty sub-projection is not a valid value. Found empty object at path");

            err_set_mongo(51270, NULL);
            return err;
        }
        if (value.type != BSONTYPE_BOOL && !bsonvalue_is_number(value.type))
            return err_set(ERR_BAD_VALUE, "expressions in projections are not supported: %s",
                (const char *)value.key.data);
        if (bytes_is(path, "_id")) {
            parse->id_included = bsonvalue_truth(&value);
            parse->id_excluded = !parse->id_included;
            continue;
        }
        TRY_RETURN(decide(parse, path, bsonvalue_truth(&value)));
        TRY_RETURN(add_path(parse, path));
    }
    return bsonwalk_end(&walk);
}

static bool
has_id_child(const struct projection *projection)
{
    for (const struct node *child = projection->root.child; child != NULL; child = child->next)
        if (bytes_is(child->name, "_id"))
            return true;
    return false;
}

err_t
projection_compile(struct arena *arena, struct bytes document, const struct projection **projection)
{
    struct parse parse = { .arena = arena };
    uint8_t *copy;

    *projection = NULL;
    if (document.size <= BSONVALUE_DOCUMENT_SIZE_LEAST)
        return OK;
    copy = arena_copy(arena, document.data, document.size);
    parse.made = arena_zalloc(arena, sizeof *parse.made);
    if (copy == NULL || parse.made == NULL)
        return ERR_MEMORY;
    TRY_RETURN(
        parse_fields(&parse, (struct bytes){ copy, document.size }, (struct bytes){ NULL, 0 }, 1));
    if (!parse.decided)
        parse.made->include = parse.id_included;
    if (parse.made->include ? !parse.id_excluded && !has_id_child(parse.made) : parse.id_excluded)
        TRY_RETURN(add_path(&parse, bytes_of("_id")));
    *projection = parse.made;
    return OK;
}

static err_t put_fields(
    bool include, const struct node *node, struct bytes document, bool array, struct buf *out);

static err_t
put_whole(struct buf *out, const struct bsonvalue *value)
{
    const uint8_t *start = value->key.data - 1;

    return buf_append(out, start, (size_t)(value->raw.data + value->raw.size - start));
}

static err_t
put_nested(bool include, const struct node *node, const struct bsonvalue *value, struct bytes key,
    struct buf *out)
{
    TRY_RETURN(buf_append_byte(out, value->type));
    TRY_RETURN(buf_append(out, key.data, key.size));
    TRY_RETURN(buf_append_byte(out, 0));
    return put_fields(include, node, value->raw, value->type == BSONTYPE_ARRAY, out);
}

/* The elements of an array: documents and arrays are looked into, others stay or go. */
static err_t
put_elements(bool include, const struct node *node, struct bytes array, struct buf *out)
{
    struct bsonvalue value;
    struct bsonwalk walk;
    uint32_t count = 0;
    char room[12];

    TRY_RETURN(bsonwalk_begin(&walk, array));
    while (bsonwalk_next(&walk, &value)) {
        struct bytes key = bsonbuild_index_key(count, room);

        if (value.type == BSONTYPE_DOCUMENT || value.type == BSONTYPE_ARRAY)
            TRY_RETURN(put_nested(include, node, &value, key, out));
        else if (include)
            continue;
        else {
            TRY_RETURN(buf_append_byte(out, value.type));
            TRY_RETURN(buf_append(out, key.data, key.size));
            TRY_RETURN(buf_append_byte(out, 0));
            TRY_RETURN(buf_append(out, value.raw.data, value.raw.size));
        }
        count++;
    }
    return bsonwalk_end(&walk);
}

static err_t
put_fields(
    bool include, const struct node *node, struct bytes document, bool array, struct buf *out)
{
    size_t start = out->size;
    struct bsonvalue value;
    struct bsonwalk walk;
    uint32_t size;

    TRY_RETURN(buf_append(out, "\0\0\0\0", 4));
    if (array)
        TRY_RETURN(put_elements(include, node, document, out));
    else {
        TRY_RETURN(bsonwalk_begin(&walk, document));
        while (bsonwalk_next(&walk, &value)) {
            const struct node *child = node->child;

            while (child != NULL && !bytes_equal(child->name, value.key))
                child = child->next;
            if (child == NULL || child->child == NULL) {
                if ((child != NULL) == include)
                    TRY_RETURN(put_whole(out, &value));
            } else if (value.type == BSONTYPE_DOCUMENT || value.type == BSONTYPE_ARRAY)
                TRY_RETURN(put_nested(include, child, &value, value.key, out));
            else if (!include)
                TRY_RETURN(put_whole(out, &value));
        }
        TRY_RETURN(bsonwalk_end(&walk));
    }
    TRY_RETURN(buf_append_byte(out, 0));
    size = (uint32_t)(out->size - start);
    memcpy(out->data + start, &size, sizeof size);
    return OK;
}

err_t
projection_apply(const struct projection *projection, struct bytes document, struct buf *out)
{
    buf_clear(out);
    return put_fields(projection->include, &projection->root, document, false, out);
}
