/*
 * catalog_list.c - lists of what exists.
 *
 * The tree holds the rows in order of their names, so they come sorted.
 */
#include <string.h>

#include "storage/collection/catalog.h"
#include "storage/collection/catalog_form.h"
#include "storage/collection/catalog_row.h"

#define LIST_FIRST 64

struct list {
    struct arena *arena;
    unsigned part; /* which part of the key is the name, from 0 */
    bool documents;
    const char **name;
    struct bytes *document;
    size_t count, room;
};

/* Twice the room.  Old arrays stay in the arena; in sum they are no more than the last. */
static err_t
grow(struct list *list)
{
    size_t room = list->room > 0 ? list->room * 2 : LIST_FIRST;
    const char **name = arena_alloc(list->arena, room * sizeof *name);
    struct bytes *document =
        list->documents ? arena_alloc(list->arena, room * sizeof *document) : NULL;

    if (name == NULL || (list->documents && document == NULL))
        return ERR_MEMORY;
    if (list->count > 0)
        memcpy(name, list->name, list->count * sizeof *name);
    if (list->documents && list->count > 0)
        memcpy(document, list->document, list->count * sizeof *document);
    list->name = name;
    list->document = document;
    list->room = room;
    return OK;
}

static err_t
add(void *context, struct bytes key, struct bytes row)
{
    struct list *list = context;
    const char *text = (const char *)key.data + 1;

    if (list->count == list->room)
        TRY_RETURN(grow(list));
    for (unsigned i = 0; i < list->part; i++)
        text += strlen(text) + 1;
    list->name[list->count] = arena_string(list->arena, bytes_of(text));
    if (list->name[list->count] == NULL)
        return ERR_MEMORY;
    if (list->documents) {
        const uint8_t *copy = arena_copy(list->arena, row.data, row.size);

        if (copy == NULL)
            return ERR_MEMORY;
        list->document[list->count] = (struct bytes){ copy, row.size };
    }
    list->count++;
    return OK;
}

static err_t
walk(struct op *op, struct txn *txn, const struct catalog_row_key *prefix, struct list *list)
{
    struct catalog_row_view view;
    err_t err;

    list->arena = op->arena;
    TRY_RETURN(catalog_row_look(op, txn, &view));
    err = catalog_row_walk(op, &view, prefix, add, list);
    catalog_row_look_end(op, &view);
    return err;
}

static err_t
list_names(struct op *op, struct txn *txn, const struct catalog_row_key *prefix, unsigned part,
    const char *const **names, size_t *count)
{
    struct list list = { .part = part };

    TRY_RETURN(walk(op, txn, prefix, &list));
    *names = list.name;
    *count = list.count;
    return OK;
}

err_t
catalog_list_tenants(struct op *op, struct txn *txn, const char *const **names, size_t *count)
{
    struct catalog_row_key prefix;

    TRY_RETURN(catalog_row_key(&prefix, CATALOG_ROW_TENANT, NULL, NULL, NULL));
    return list_names(op, txn, &prefix, 0, names, count);
}

err_t
catalog_list_databases(
    struct op *op, struct txn *txn, const char *tenant, const char *const **names, size_t *count)
{
    struct catalog_row_key prefix;

    TRY_RETURN(catalog_row_key(&prefix, CATALOG_ROW_DATABASE, tenant, NULL, NULL));
    return list_names(op, txn, &prefix, 1, names, count);
}

err_t
catalog_list_collections(struct op *op, struct txn *txn, const char *tenant, const char *database,
    const char *const **names, size_t *count)
{
    struct catalog_row_key prefix;

    TRY_RETURN(catalog_row_key(&prefix, CATALOG_ROW_COLLECTION, tenant, database, NULL));
    return list_names(op, txn, &prefix, 2, names, count);
}

err_t
catalog_list(struct op *op, struct txn *txn, const char *kind, const char *prefix,
    const char *const **names, const struct bytes **documents, size_t *count)
{
    struct list list = { .part = 1, .documents = documents != NULL };
    struct catalog_row_key key;

    if (prefix != NULL && prefix[0] != '\0') {
        TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_OTHER, kind, prefix, NULL));
        key.size--; /* names may go on */
    } else {
        TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_OTHER, kind, NULL, NULL));
    }
    TRY_RETURN(walk(op, txn, &key, &list));
    *names = list.name;
    *count = list.count;
    if (documents != NULL)
        *documents = list.document;
    return OK;
}
