/*
 * keys.c - the keys of one document in all indexes of its collection.
 */
#include "storage/collection/keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/doc/bsonbuild.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/docpath.h"
#include "base/doc/jsonprint.h"
#include "base/doc/keystring.h"
#include "base/doc/objectid.h"
#include "base/ids.h"
#include "base/mutant.h"
#include "storage/collection/catalog_copy.h"
#include "storage/collection/catalog_form.h"
#include "storage/collection/catalog_row.h"

#define UUID_TEXT   36u
#define MESSAGE_MAX 3000u
#define KEEP_BYTES  ((size_t)64 << 10)

static _Thread_local struct indexkey_set sets_of[KEYS_USES][CATALOG_INDEXES_MAX];
static _Thread_local unsigned sets_made;

/* ---- sets ---- */

static void
make_room(unsigned count)
{
    for (; sets_made < count; sets_made++) {
        for (unsigned use = 0; use < KEYS_USES; use++)
            indexkey_set_init(&sets_of[use][sets_made]);
    }
}

void
keys_forget(void)
{
    for (unsigned i = 0; i < sets_made; i++) {
        for (unsigned use = 0; use < KEYS_USES; use++)
            indexkey_set_fini(&sets_of[use][i]);
    }
    sets_made = 0;
}

err_t
keys_make(const struct catalog_collection *collection, struct bytes document, enum keys_use use,
    const struct indexkey_set **sets)
{
    make_room(collection->index_count);
    *sets = sets_of[use];
    for (unsigned i = 0; i < collection->index_count; i++)
        TRY_RETURN(indexkey_make(collection->index[i]->spec, document, &sets_of[use][i]));
    return OK;
}

bool
keys_same(const struct indexkey_set *a, const struct indexkey_set *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (!bytes_equal(indexkey_set_key(a, i), indexkey_set_key(b, i)))
            return false;
    }
    return true;
}

/* They are in order. */
bool
keys_have(const struct indexkey_set *set, struct bytes key)
{
    size_t low = 0, high = set->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = bytes_compare(indexkey_set_key(set, middle), key);

        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* ---- what the catalog must know ---- */

struct flip {
    struct op *op;
};

static err_t
set_multikey(void *context, struct bytes row, struct bytes *replacement)
{
    const struct flip *flip = context;
    struct catalog_form_index form;

    TRY_RETURN(catalog_form_index(row, &form));
    form.multikey = true;
    return catalog_form_make_index(flip->op->arena, &form, replacement);
}

static err_t
set_string_keys(void *context, struct bytes row, struct bytes *replacement)
{
    const struct flip *flip = context;
    struct catalog_form_collection form;

    TRY_RETURN(catalog_form_collection(row, &form));
    form.string_keys = true;
    return catalog_form_make_collection(flip->op->arena, &form, replacement);
}

/* Change one row, in a transaction of its own if the caller's has not changed definitions.  Its
   commit record stands before that of any row that needs it, so it need not be waited for. */
static err_t
flip_row(struct op *op, struct txn *txn, const struct catalog_row_key *key,
    const struct catalog_row_change *change)
{
    bool together = catalog_copy_changed(txn), found;
    struct txn *own = txn;
    err_t err;

    if (!together)
        TRY_RETURN(txn_begin(op, TXN_READ_COMMITTED, false, &own));
    TRY(catalog_copy_change(own));
    TRY(catalog_row_change(op, own, key, change, &found));
    if (!together) {
        err = txn_commit(op, own, false);
        own = NULL;
    }
out:
    if (!together && own != NULL)
        txn_abort(op, own);
    return err;
}

static err_t
announce_multikey(struct op *op, struct txn *txn, const struct catalog_collection *collection,
    const struct catalog_index *index)
{
    struct flip flip = { op };
    struct catalog_row_change change = { set_multikey, &flip };
    struct catalog_row_key key;

    TRY_RETURN(catalog_row_oid_key(&key, CATALOG_ROW_INDEX, collection->oid, index->name));
    TRY_RETURN(flip_row(op, txn, &key, &change));
    /* This process's own copy: the next document of the statement need not do it again. */
    ((struct catalog_index *)(uintptr_t)index)->multikey = true;
    return OK;
}

static bool
is_uuid_text(struct bytes document)
{
    struct bsonvalue id;
    struct uuid uuid;

    return bsonwalk_get(document, "_id", &id) && id.type == BSONTYPE_STRING &&
           bsonvalue_string(&id).size == UUID_TEXT && ids_parse(bsonvalue_string(&id), &uuid);
}

err_t
keys_announce(struct op *op, struct txn *txn, const struct catalog_collection *collection,
    struct bytes document, const struct indexkey_set *sets)
{
    struct flip flip = { op };
    struct catalog_row_change change = { set_string_keys, &flip };
    struct catalog_row_key key;

    for (unsigned i = 0; i < collection->index_count; i++) {
        if (sets[i].multikey && !collection->index[i]->multikey &&
            !mutant(MUTANT_ARRAYS_UNANNOUNCED))
            TRY_RETURN(announce_multikey(op, txn, collection, collection->index[i]));
    }
    if (collection->string_keys || !is_uuid_text(document))
        return OK;
    TRY_RETURN(catalog_row_key(
        &key, CATALOG_ROW_COLLECTION, collection->tenant, collection->database, collection->name));
    TRY_RETURN(flip_row(op, txn, &key, &change));
    ((struct catalog_collection *)(uintptr_t)collection)->string_keys = true;
    return OK;
}

/* ---- duplicates ---- */

/* Looking for the value whose component stands at this place of the key. */
struct component {
    struct bytes key; /* the rest */
    bool descending;
    struct buf text;
    struct bsonvalue value;
    bool found;
    size_t size;
};

static bool
try_value(void *context, const struct docpath_hit *hit)
{
    struct component *component = context;
    const struct bsonvalue *value = hit->value != NULL ? hit->value : &bsonvalue_null;

    buf_clear(&component->text);
    if (keystring_append(&component->text, value, component->descending) != OK)
        return false;
    component->found = component->text.size <= component->key.size &&
                       memcmp(component->text.data, component->key.data, component->text.size) == 0;
    component->value = *value;
    component->size = component->text.size;
    return component->found;
}

/* The values of `document` that make up `key`: {a: 1, b: "x"}. */
static err_t
key_value(const struct catalog_index *index, struct bytes key, struct bytes document,
    struct buf *out, struct bytes *values)
{
    struct component component = { .key = key, .text = buf_init(INDEX_KEY_MAX * 64) };
    struct bsonbuild build;
    err_t err = OK;

    bsonbuild_begin(&build, out);
    for (unsigned i = 0; i < index->spec->count; i++) {
        const struct indexkey_field *field = &index->spec->field[i];

        component.descending = field->descending;
        component.found = false;
        component.value = bsonvalue_null;
        err = docpath_walk(field->path, document, DOCPATH_EXPAND_LEAF, try_value, &component, NULL);
        if (err != OK)
            break;
        if (component.found) {
            component.key.data += component.size;
            component.key.size -= component.size;
        }
        bsonbuild_value(&build, field->path->text, &component.value);
    }
    buf_fini(&component.text);
    if (err != OK) {
        bsonbuild_cancel(&build);
        return err;
    }
    return bsonbuild_end(&build, values);
}

static err_t
print_value(struct buf *text, const struct bsonvalue *value)
{
    char hex[2 * OBJECTID_SIZE + 1];

    if (value->type != BSONTYPE_OBJECTID)
        return jsonprint_value(text, value, JSONPRINT_RELAXED);
    objectid_print(bsonvalue_objectid(value), hex);
    return buf_printf(text, "ObjectId('%s')", hex);
}

/* { a: 1, b: "x" }, as MongoDB prints it. */
static err_t
print_values(struct buf *text, struct bytes values)
{
    struct bsonwalk walk;
    struct bsonvalue value;
    const char *before = "{ ";

    TRY_RETURN(bsonwalk_begin(&walk, values));
    while (bsonwalk_next(&walk, &value)) {
        TRY_RETURN(buf_printf(
            text, "%s%.*s: ", before, (int)value.key.size, (const char *)value.key.data));
        TRY_RETURN(print_value(text, &value));
        before = ", ";
    }
    return buf_append_text(text, " }");
}

static void
attach(const struct catalog_index *index, struct bytes values)
{
    struct buf out = buf_init(MESSAGE_MAX + 1000);
    struct bsonbuild build;
    struct bytes document;

    bsonbuild_begin(&build, &out);
    bsonbuild_document(&build, "keyPattern", index->key_pattern);
    bsonbuild_document(&build, "keyValue", values);
    if (bsonbuild_end(&build, &document) == OK)
        err_attach(document);
    buf_fini(&out);
}

err_t
keys_duplicate(const struct catalog_collection *collection, const struct catalog_index *index,
    struct bytes key, struct bytes document)
{
    struct buf out = buf_init(BSONVALUE_INTERNAL_SIZE_MAX), text = buf_init(MESSAGE_MAX);
    struct bytes values = { NULL, 0 };
    err_t err;

    if (key_value(index, key, document, &out, &values) != OK || print_values(&text, values) != OK)
        text.size = 0;
    err = err_set(ERR_DUPLICATE_KEY,
        "E11000 duplicate key error collection: %s.%s index: %s dup key: %.*s",
        collection->database, collection->name, index->name, (int)text.size,
        text.size > 0 ? (const char *)text.data : "");
    if (values.size > 0 && values.size < MESSAGE_MAX)
        attach(index, values);
    buf_fini(&text);
    buf_fini(&out);
    return err;
}
