/*
 * sortkey.c - a sort's pattern, and a document's place in that order as bytes for memcmp.
 *
 * INVARIANT
 *  K1  The key of a document is the least of those that an index with the sort's pattern would have
 *      for it.  So whether an index or the sorter gives an order, it is the same one.
 *
 * IF A PROCESS DIES: nothing here is shared.
 */
#include "backend/query/sortkey.h"

#include "base/doc/bsonwalk.h"
#include "base/doc/keystring.h"

static err_t
refuse(int code, const char *text)
{
    err_t err = err_set(ERR_BAD_VALUE, "%s", text);

    err_set_mongo(code, NULL);
    return err;
}

static err_t
parse_field(struct arena *arena, struct sortkey *made, const struct bsonvalue *value)
{
    struct indexkey_field *field = &made->field[made->count];
    int64_t direction;

    if (value->key.size == 0 || value->key.data[value->key.size - 1] == '.')
        return refuse(40353, "FieldPath must not end with a '.'.");
    if (!bsonvalue_is_number(value->type))
        return refuse(15974, "Illegal key in $sort specification: the order must be a number");
    if (!bsonvalue_to_int64(value, false, &direction) || (direction != 1 && direction != -1))
        return refuse(15975, "$sort key ordering must be 1 (for ascending) or -1 (for descending)");
    if (bytes_is(value->key, "$natural")) {
        if (direction < 0)
            return err_set(ERR_BAD_VALUE, "{$natural: -1} is not supported");
        made->natural = true;
        return OK;
    }
    if (value->key.data[0] == '$')
        return refuse(16410, "FieldPath field names may not start with '$'. Consider using "
                             "$getField or $setField.");
    if (made->count == SORTKEY_FIELDS_MAX)
        return refuse(13103, "too many compound keys");
    for (unsigned i = 0; i < made->count; i++)
        if (bytes_equal(made->field[i].path->text, value->key))
            return refuse(7472500, "$sort key must not contain duplicate keys");
    field->descending = direction < 0;
    TRY_RETURN(docpath_compile(arena, value->key, &field->path));
    made->count++;
    return OK;
}

err_t
sortkey_compile(struct arena *arena, struct bytes document, const struct sortkey **sortkey)
{
    struct bsonvalue value;
    struct bsonwalk walk;
    struct sortkey *made;

    *sortkey = NULL;
    if (document.size <= BSONVALUE_DOCUMENT_SIZE_LEAST)
        return OK;
    made = arena_zalloc(arena, sizeof *made);
    if (made == NULL)
        return ERR_MEMORY;
    TRY_RETURN(bsonwalk_begin(&walk, document));
    while (bsonwalk_next(&walk, &value))
        TRY_RETURN(parse_field(arena, made, &value));
    TRY_RETURN(bsonwalk_end(&walk));
    if (made->natural && made->count > 0)
        return err_set(ERR_BAD_VALUE, "$natural sort cannot be combined with other fields");
    made->spec = (struct indexkey_spec){
        .field = made->field, .count = made->count, .size_max = BSONVALUE_INTERNAL_SIZE_MAX
    };
    if (!made->natural)
        *sortkey = made;
    return OK;
}

/* The value at the path, if no array stands at it or on the way. */
static err_t
find_plainly(
    const struct docpath *path, struct bytes document, struct bsonvalue *value, bool *array)
{
    bool found;

    *value = bsonvalue_of_document(document);
    for (uint32_t i = 0; i < path->count; i++) {
        found = false;
        if (value->type == BSONTYPE_DOCUMENT)
            TRY_RETURN(bsonwalk_find(value->raw, path->part[i].name, value, &found));
        if (!found) {
            *value = bsonvalue_null;
            return OK;
        }
        *array = value->type == BSONTYPE_ARRAY;
        if (*array)
            return OK;
    }
    return OK;
}

/* K1. */
static err_t
append_first_key(const struct sortkey *sortkey, struct bytes document, struct buf *key)
{
    struct indexkey_set set;
    err_t err;

    indexkey_set_init(&set);
    err = indexkey_make(&sortkey->spec, document, &set);
    if (err == ERR_CANNOT_CREATE_INDEX)
        err = refuse(2, "cannot sort with keys that are parallel arrays");
    else if (err == OK)
        err = buf_append(key, indexkey_set_key(&set, 0).data, indexkey_set_key(&set, 0).size);
    indexkey_set_fini(&set);
    return err;
}

err_t
sortkey_append(const struct sortkey *sortkey, struct bytes document, struct buf *key)
{
    size_t before = key->size;
    struct bsonvalue value;
    bool array = false;

    for (unsigned i = 0; i < sortkey->count; i++) {
        const struct indexkey_field *field = &sortkey->field[i];

        TRY_RETURN(find_plainly(field->path, document, &value, &array));
        if (array) {
            key->size = before;
            return append_first_key(sortkey, document, key);
        }
        TRY_RETURN(keystring_append(key, &value, field->descending));
    }
    return OK;
}
