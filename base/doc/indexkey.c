/*
 * indexkey.c - the keys under which an index holds a document.
 *
 * Making keys is a recursion over arrays.  `cursor` says for each field how far its path has
 * come and what it stands on.  Each step follows all paths through documents until they end
 * or meet an array.  If none has met one, the cursors are one key.  Else all that met one must
 * have met the same (I1), and for each of its elements the step is repeated from there.
 *
 * INVARIANTS
 *   I1  At most one array is entered at a time: the fields of a key never come from elements of
 *       two arrays side by side.
 *   I2  A slot's key lies in `bytes` before the next one's until the set is sorted.
 *
 * Recursion ends after DOCPATH_PARTS_MAX steps at the latest: each array that is entered was
 * met by taking a part off a path, or ends one.
 */
#include "base/doc/indexkey.h"

#include <stdlib.h>

#include "base/doc/bsonwalk.h"
#include "base/doc/docpath.h"
#include "base/doc/keystring.h"

#define SET_BYTES_MAX ((size_t)256 * 1024 * 1024)

/* Where a field's path has come to. */
struct cursor {
    struct bsonvalue at; /* a document to go on in, or what was found */
    uint32_t part;       /* parts taken */
    bool done;           /* `at` is the value of the key */
    bool missing;
};

struct maker {
    const struct indexkey_spec *spec;
    struct indexkey_set *set;
};

void
indexkey_set_init(struct indexkey_set *set)
{
    *set = (struct indexkey_set){ .bytes = buf_init(SET_BYTES_MAX) };
}

void
indexkey_set_fini(struct indexkey_set *set)
{
    buf_fini(&set->bytes);
    free(set->slot);
    indexkey_set_init(set);
}

static void
clear(struct indexkey_set *set)
{
    buf_clear(&set->bytes);
    set->count = 0;
    set->multikey = false;
    set->missing_all = true;
    set->missing_some = false;
}

static err_t
reserve_slot(struct indexkey_set *set)
{
    size_t capacity = set->capacity > 0 ? set->capacity * 2 : 8;
    struct indexkey_slot *slot;

    if (set->count < set->capacity)
        return OK;
    slot = realloc(set->slot, capacity * sizeof *slot);
    if (slot == NULL)
        return err_set(ERR_MEMORY, "could not allocate %zu index keys", capacity);
    set->slot = slot;
    set->capacity = capacity;
    return OK;
}

static err_t
refuse(int code, const char *name, const char *why, const struct docpath *path)
{
    err_t err = err_set(ERR_CANNOT_CREATE_INDEX, "%s: '%.*s'", why, (int)path->text.size,
        (const char *)path->text.data);

    err_set_mongo(code, name);
    return err;
}

/* All cursors are done: append their key. */
static err_t
emit(struct maker *maker, const struct cursor *cursor)
{
    const struct indexkey_spec *spec = maker->spec;
    struct indexkey_set *set = maker->set;
    size_t start = set->bytes.size, size;
    size_t size_max = spec->size_max > 0 ? spec->size_max : KEYSTRING_SIZE_MAX;

    TRY_RETURN(reserve_slot(set));
    for (unsigned i = 0; i < spec->count; i++) {
        TRY_RETURN(keystring_append(&set->bytes, &cursor[i].at, spec->field[i].descending));
        if (cursor[i].missing)
            set->missing_some = true;
        else
            set->missing_all = false;
    }
    size = set->bytes.size - start;
    if (size > size_max) {
        err_t err = err_set(
            ERR_CANNOT_CREATE_INDEX, "index key too large: %zu bytes (max %zu)", size, size_max);

        err_set_mongo(17280, "KeyTooLong");
        return err;
    }
    set->slot[set->count++] = (struct indexkey_slot){ start, size };
    return OK;
}

/* Follow one path through documents until it ends, leads nowhere, or meets an array. */
static err_t
advance(const struct docpath *path, struct cursor *cursor)
{
    bool found;

    while (!cursor->done && cursor->at.type != BSONTYPE_ARRAY) {
        if (cursor->part == path->count) {
            cursor->done = true;
            return OK;
        }
        found = false;
        if (cursor->at.type == BSONTYPE_DOCUMENT) {
            struct bytes name = path->part[cursor->part].name;

            TRY_RETURN(bsonwalk_find(cursor->at.raw, name, &cursor->at, &found));
            cursor->part++;
        }
        if (!found) {
            cursor->at = bsonvalue_null;
            cursor->done = cursor->missing = true;
        }
    }
    return OK;
}

/* A numeric part that is a position of the array is taken as such; beyond the array's end it is
   a name in its elements, as any other part. */
static err_t
take_position(const struct docpath *path, struct cursor *cursor, bool *taken)
{
    int64_t wanted, index = 0;
    struct bsonwalk walk;
    struct bsonvalue element;

    *taken = false;
    if (cursor->done || cursor->at.type != BSONTYPE_ARRAY || cursor->part == path->count)
        return OK;
    wanted = path->part[cursor->part].index;
    if (wanted < 0)
        return OK;
    TRY_RETURN(bsonwalk_begin(&walk, cursor->at.raw));
    for (; bsonwalk_next(&walk, &element); index++)
        if (index == wanted) {
            cursor->at = element;
            cursor->part++;
            *taken = true;
            return OK;
        }
    return bsonwalk_end(&walk);
}

static err_t
settle(struct maker *maker, struct cursor *cursor, const uint8_t **array)
{
    const struct indexkey_spec *spec = maker->spec;
    bool taken = false;

    *array = NULL;
    for (unsigned i = 0; i < spec->count; i++) {
        do {
            TRY_RETURN(advance(spec->field[i].path, &cursor[i]));
            TRY_RETURN(take_position(spec->field[i].path, &cursor[i], &taken));
        } while (taken);
        if (cursor[i].done)
            continue;
        if (spec->hashed)
            return refuse(16766, NULL, "hash index cannot hold an array", spec->field[i].path);
        if (*array != NULL && *array != cursor[i].at.raw.data) /* I1 */
            return refuse(171, "CannotIndexParallelArrays", "cannot index parallel arrays",
                spec->field[i].path);
        *array = cursor[i].at.raw.data;
    }
    return OK;
}

/* Put the cursors that met the array on one of its elements; `element` NULL: it is empty. */
static void
enter(const struct indexkey_spec *spec, const struct cursor *from, struct cursor *to,
    const struct bsonvalue *element)
{
    for (unsigned i = 0; i < spec->count; i++) {
        bool ended = from[i].part == spec->field[i].path->count;

        to[i] = from[i];
        if (from[i].done)
            continue;
        if (ended) {
            to[i].at = element != NULL ? *element : bsonvalue_undefined;
            to[i].done = true;
        } else if (element != NULL && element->type == BSONTYPE_DOCUMENT)
            to[i].at = *element;
        else {
            to[i].at = bsonvalue_null;
            to[i].done = to[i].missing = true;
        }
    }
}

static err_t
make(struct maker *maker, struct cursor *cursor)
{
    struct cursor inner[INDEXKEY_FIELDS_MAX];
    struct bsonvalue array = bsonvalue_null, element;
    struct bsonwalk walk;
    const uint8_t *met;
    size_t count = 0;

    TRY_RETURN(settle(maker, cursor, &met));
    if (met == NULL)
        return emit(maker, cursor);
    maker->set->multikey = true;
    for (unsigned i = 0; i < maker->spec->count; i++)
        if (!cursor[i].done)
            array = cursor[i].at;
    TRY_RETURN(bsonwalk_begin(&walk, array.raw));
    for (; bsonwalk_next(&walk, &element); count++) {
        enter(maker->spec, cursor, inner, &element);
        TRY_RETURN(make(maker, inner));
    }
    TRY_RETURN(bsonwalk_end(&walk));
    if (count > 0)
        return OK;
    enter(maker->spec, cursor, inner, NULL);
    return make(maker, inner);
}

static _Thread_local const uint8_t *sorted_bytes; /* qsort hands no context down */

static int
compare_slots(const void *a, const void *b)
{
    const struct indexkey_slot *x = a, *y = b;

    return bytes_compare((struct bytes){ sorted_bytes + x->start, x->size },
        (struct bytes){ sorted_bytes + y->start, y->size });
}

static void
sort_and_unite(struct indexkey_set *set)
{
    size_t kept = 0;

    if (set->count < 2)
        return;
    sorted_bytes = set->bytes.data;
    qsort(set->slot, set->count, sizeof set->slot[0], compare_slots);
    for (size_t i = 1; i < set->count; i++)
        if (compare_slots(&set->slot[kept], &set->slot[i]) != 0)
            set->slot[++kept] = set->slot[i];
    set->count = kept + 1;
}

static err_t
make_scalar(struct maker *maker, struct bytes document)
{
    struct cursor cursor = { .done = true };
    bool found;

    TRY_RETURN(docpath_get(maker->spec->field[0].path, document, &cursor.at, &found));
    if (!found || cursor.at.type == BSONTYPE_ARRAY || cursor.at.type == BSONTYPE_DOCUMENT)
        return OK;
    return emit(maker, &cursor);
}

static err_t
make_all(struct maker *maker, struct bytes document)
{
    struct cursor cursor[INDEXKEY_FIELDS_MAX];

    if (maker->spec->scalar_only)
        return make_scalar(maker, document);
    for (unsigned i = 0; i < maker->spec->count; i++)
        cursor[i] = (struct cursor){ .at = bsonvalue_of_document(document) };
    return make(maker, cursor);
}

err_t
indexkey_make(const struct indexkey_spec *spec, struct bytes document, struct indexkey_set *set)
{
    struct maker maker = { spec, set };
    err_t err;

    clear(set);
    err = make_all(&maker, document);
    if (err != OK || (spec->sparse && set->missing_all)) {
        set->count = 0;
        return err;
    }
    sort_and_unite(set);
    return OK;
}

/* Key patterns */

static err_t
bad_pattern(const char *why, struct bytes name)
{
    return err_set(ERR_CANNOT_CREATE_INDEX, "%s: '%.*s'", why,
        (int)(name.size < 256 ? name.size : 256), (const char *)name.data);
}

static err_t
check_name(struct bytes name)
{
    for (size_t i = 0; i <= name.size; i++) {
        bool first = i == 0 || name.data[i - 1] == '.';

        if (first && (i == name.size || name.data[i] == '.'))
            return bad_pattern("Index keys cannot contain an empty field", name);
        if (first && name.data[i] == '$')
            return bad_pattern("Index key contains an illegal field name: "
                               "field name starts with '$'",
                name);
    }
    return OK;
}

static err_t
parse_field(struct arena *arena, const struct bsonvalue *value, struct indexkey_spec *spec,
    struct indexkey_field *field)
{
    double direction;

    TRY_RETURN(check_name(value->key));
    field->descending = false;
    if (value->type == BSONTYPE_STRING) {
        if (!bytes_is(bsonvalue_string(value), "hashed"))
            return bad_pattern("Unknown index plugin", bsonvalue_string(value));
        spec->hashed = true;
    } else {
        if (!bsonvalue_to_double(value, &direction))
            return bad_pattern("Values in v:2 index key pattern must be numbers or strings; "
                               "found another type for",
                value->key);
        if (direction == 0 || direction != direction)
            return bad_pattern("Values in the index key pattern cannot be 0", value->key);
        field->descending = direction < 0;
    }
    return docpath_compile(arena, value->key, &field->path);
}

err_t
indexkey_spec_parse(struct arena *arena, struct bytes pattern, struct indexkey_spec *spec)
{
    struct indexkey_field *field = arena_alloc(arena, INDEXKEY_FIELDS_MAX * sizeof *field);
    struct bsonwalk walk;
    struct bsonvalue value;

    *spec = (struct indexkey_spec){ .field = field };
    if (field == NULL)
        return ERR_MEMORY;
    TRY_RETURN(bsonwalk_begin(&walk, pattern));
    while (bsonwalk_next(&walk, &value)) {
        if (spec->count == INDEXKEY_FIELDS_MAX)
            return err_set(ERR_CANNOT_CREATE_INDEX, "Index key pattern has more than %d fields",
                INDEXKEY_FIELDS_MAX);
        TRY_RETURN(parse_field(arena, &value, spec, &field[spec->count]));
        spec->count++;
    }
    TRY_RETURN(bsonwalk_end(&walk));
    if (spec->count == 0)
        return err_set(ERR_CANNOT_CREATE_INDEX, "Index keys cannot be an empty object");
    return OK;
}
