/*
 * catalog_copy.c - this process's private copies of definitions, and changes it has not committed.
 *
 * A copy lies in an arena of its own, in a table by name and one by oid.  Its stamp is the version
 * that was read before it was loaded (V1).  Inside a section a copy is good if its stamp is not
 * older than the section; an older one was loaded in an earlier section, so nothing points to it,
 * and it is freed when it is met.
 *
 * A transaction that has changed definitions reads the catalog itself, at each look, until it ends:
 * these copies live until the end of the section.
 *
 * INVARIANTS
 *   C1  What catalog_find returned in a section is not freed before its end.
 *   C2  Copies under a stamp are those of committed rows only.
 *   C3  A copy's number is of no other copy, in whatever thread: who remembers one, remembers the
 *       names it was found by.
 */
#include "storage/collection/catalog_copy.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/panic.h"
#include "storage/collection/catalog_form.h"
#include "storage/collection/catalog_share.h"
#include "storage/collection/definition.h"
#include "storage/collection/graveyard.h"
#include "storage/collection/statistics.h"

#define BUCKETS     512u
#define COPIES_MAX  1024u /* beyond, all are forgotten at the next section */
#define COPY_MEMORY ((size_t)64 << 20)

struct copy {
    struct catalog_collection collection; /* first */
    uint64_t stamp;
    uint64_t number;     /* C3; not 0 */
    struct arena *arena; /* holds this struct, too */
    struct copy *next_name, *next_oid;
    struct copy *next_loose;
};

/* What a transaction has changed, for its end. */
struct pending {
    struct txn *txn;
    struct pending *next;
    fileno_t *file;
    uint64_t *oid;
    size_t file_count, file_room, oid_count, oid_room;
};

static _Atomic uint64_t numbers; /* given out; guard: none, a counter */
static _Thread_local struct copy *by_name[BUCKETS], *by_oid[BUCKETS];
static _Thread_local unsigned copy_count;
static _Thread_local struct copy *last;  /* the one found last by name; in the tables, or NULL */
static _Thread_local struct copy *loose; /* copies of this section only */
static _Thread_local struct pending *pendings;

/* ---- the tables ---- */

static unsigned
name_bucket(const char *tenant, const char *database, const char *name)
{
    uint64_t hash = hash_bytes(tenant, strlen(tenant), 1);

    hash = hash_bytes(database, strlen(database), hash);
    return (unsigned)(hash_bytes(name, strlen(name), hash) % BUCKETS);
}

static unsigned
oid_bucket(uint64_t oid)
{
    return (unsigned)(hash_u64(oid) % BUCKETS);
}

static void
add(struct copy *copy)
{
    const struct catalog_collection *c = &copy->collection;
    struct copy **name = &by_name[name_bucket(c->tenant, c->database, c->name)];
    struct copy **oid = &by_oid[oid_bucket(c->oid)];

    copy->next_name = *name;
    *name = copy;
    copy->next_oid = *oid;
    *oid = copy;
    copy_count++;
}

static void
cut_out(struct copy *copy)
{
    const struct catalog_collection *c = &copy->collection;
    struct copy **at = &by_name[name_bucket(c->tenant, c->database, c->name)];

    while (*at != copy)
        at = &(*at)->next_name;
    *at = copy->next_name;
    at = &by_oid[oid_bucket(c->oid)];
    while (*at != copy)
        at = &(*at)->next_oid;
    *at = copy->next_oid;
    copy_count--;
    if (last == copy)
        last = NULL;
    arena_destroy(copy->arena);
}

static void
free_all(void)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        while (by_name[i] != NULL)
            cut_out(by_name[i]);
    }
}

static bool
good(const struct copy *copy)
{
    return copy->stamp >= catalog_share_section();
}

static inline bool
is_named(const struct copy *copy, const char *tenant, const char *database, const char *name)
{
    const struct catalog_collection *c = &copy->collection;

    return strcmp(c->name, name) == 0 && strcmp(c->database, database) == 0 &&
           strcmp(c->tenant, tenant) == 0;
}

static const struct catalog_collection *
look_up(const char *tenant, const char *database, const char *name)
{
    struct copy *copy, *next;

    if (last != NULL && good(last) && is_named(last, tenant, database, name))
        return &last->collection;
    copy = by_name[name_bucket(tenant, database, name)];
    for (; copy != NULL; copy = next) {
        next = copy->next_name;
        if (!is_named(copy, tenant, database, name))
            continue;
        if (good(copy)) {
            last = copy;
            return &copy->collection;
        }
        cut_out(copy);
    }
    return NULL;
}

static const struct catalog_collection *
look_up_oid(uint64_t oid)
{
    struct copy *copy = by_oid[oid_bucket(oid)], *next;

    for (; copy != NULL; copy = next) {
        next = copy->next_oid;
        if (copy->collection.oid != oid)
            continue;
        if (good(copy))
            return &copy->collection;
        cut_out(copy);
    }
    return NULL;
}

void
catalog_copy_begin(void)
{
    if (copy_count > COPIES_MAX)
        free_all();
}

void
catalog_copy_end(void)
{
    while (loose != NULL) {
        struct copy *copy = loose;

        loose = copy->next_loose;
        arena_destroy(copy->arena);
    }
}

void
catalog_copy_forget(void)
{
    catalog_copy_end();
    free_all();
}

/* ---- loading ---- */

struct loading {
    struct arena *arena;
    struct catalog_collection *collection;
};

static char *
string(struct arena *arena, struct bytes bytes)
{
    return arena_string(arena, bytes);
}

static err_t
copy_bytes(struct arena *arena, struct bytes from, struct bytes *to)
{
    const uint8_t *data = arena_copy(arena, from.data, from.size);

    *to = (struct bytes){ data, from.size };
    return data != NULL ? OK : ERR_MEMORY;
}

static err_t
add_index(void *context, struct bytes key, struct bytes row)
{
    struct loading *loading = context;
    struct catalog_collection *collection = loading->collection;
    struct catalog_form_index form;
    struct catalog_index *index;

    (void)key;
    TRY_RETURN(catalog_form_index(row, &form));
    if (collection->index_count == CATALOG_INDEXES_MAX)
        return err_set(ERR_CORRUPT, "the catalog has too many indexes for a collection");
    index = arena_zalloc(loading->arena, sizeof *index);
    if (index == NULL)
        return ERR_MEMORY;
    index->oid = form.oid;
    index->index = form.index;
    index->multikey = form.multikey;
    index->state = form.state;
    index->usable_from = form.life == catalog_share_life() ? form.usable_from : 0;
    index->name = string(loading->arena, form.name);
    if (index->name == NULL)
        return ERR_MEMORY;
    TRY_RETURN(copy_bytes(loading->arena, form.definition, &index->definition));
    TRY_RETURN(definition_compile(loading->arena, index));
    collection->index[collection->index_count++] = index;
    return OK;
}

/* In the order in which they were made: _id_ first. */
static int
compare_indexes(const void *a, const void *b)
{
    uint64_t x = (*(const struct catalog_index *const *)a)->oid;
    uint64_t y = (*(const struct catalog_index *const *)b)->oid;

    return (x > y) - (x < y);
}

static err_t
fill(struct op *op, const struct catalog_row_view *view, struct copy *copy, struct bytes row)
{
    struct catalog_collection *c = &copy->collection;
    struct loading loading = { copy->arena, c };
    struct catalog_form_collection form;
    struct catalog_row_key prefix;

    TRY_RETURN(catalog_form_collection(row, &form));
    c->oid = form.oid;
    c->tenant = string(copy->arena, form.tenant);
    c->database = string(copy->arena, form.database);
    c->name = string(copy->arena, form.name);
    if (c->tenant == NULL || c->database == NULL || c->name == NULL)
        return ERR_MEMORY;
    memcpy(c->uuid, form.uuid, sizeof c->uuid);
    c->heap = form.heap;
    c->string_keys = form.string_keys;
    TRY_RETURN(copy_bytes(copy->arena, form.options, &c->options));
    TRY_RETURN(catalog_row_oid_key(&prefix, CATALOG_ROW_INDEX, form.oid, NULL));
    TRY_RETURN(catalog_row_walk(op, view, &prefix, add_index, &loading));
    if (c->index_count == 0)
        return err_set(
            ERR_CORRUPT, "the catalog has no index _id_ for '%s.%s'", c->database, c->name);
    qsort(c->index, c->index_count, sizeof(struct catalog_index *), compare_indexes);
    return OK;
}

static err_t
load(struct op *op, const struct catalog_row_view *view, const struct catalog_row_key *key,
    struct copy **result)
{
    struct arena_mark mark = arena_mark(op->arena);
    struct arena *arena = NULL;
    struct copy *copy;
    struct bytes row;
    bool found;
    err_t err;

    *result = NULL;
    TRY(catalog_row_get(op, view, key, &row, &found));
    if (!found)
        goto out;
    arena = arena_create("catalog", COPY_MEMORY);
    copy = arena != NULL ? arena_zalloc(arena, sizeof *copy) : NULL;
    if (copy == NULL)
        TRY(ERR_MEMORY);
    copy->arena = arena;
    TRY(fill(op, view, copy, row));
    *result = copy;
    arena = NULL;
out:
    arena_destroy(arena);
    arena_rewind(op->arena, mark);
    return err;
}

/* The key of the row of collection `oid`; found by its row of places. */
static err_t
key_of_oid(struct op *op, const struct catalog_row_view *view, uint64_t oid,
    struct catalog_row_key *key, bool *found)
{
    struct catalog_form_place place;
    struct bytes row;

    TRY_RETURN(catalog_row_oid_key(key, CATALOG_ROW_OID, oid, NULL));
    TRY_RETURN(catalog_row_get(op, view, key, &row, found));
    if (!*found)
        return OK;
    TRY_RETURN(catalog_form_place(row, &place));

    const char *tenant = string(op->arena, place.tenant);
    const char *database = string(op->arena, place.database);
    const char *name = string(op->arena, place.name);

    if (tenant == NULL || database == NULL || name == NULL)
        return ERR_MEMORY;
    return catalog_row_key(key, CATALOG_ROW_COLLECTION, tenant, database, name);
}

/* `key` or, if it is NULL, `oid`.  `lasting`: keep it for later sections. */
static err_t
load_now(struct op *op, struct txn *txn, const struct catalog_row_key *key, uint64_t oid,
    bool lasting, const struct catalog_collection **collection)
{
    uint64_t stamp = catalog_share_version(); /* before the rows: V1 */
    struct catalog_row_view view;
    struct catalog_row_key by_place;
    struct copy *copy = NULL;
    bool found = true;
    err_t err;

    TRY_RETURN(catalog_row_look(op, txn, &view));
    if (key == NULL) {
        TRY(key_of_oid(op, &view, oid, &by_place, &found));
        key = &by_place;
    }
    if (found)
        TRY(load(op, &view, key, &copy));
    if (copy == NULL)
        goto out;
    copy->stamp = stamp;
    copy->number = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed) + 1;
    *collection = &copy->collection;
    if (lasting) {
        add(copy);
    } else {
        copy->next_loose = loose;
        loose = copy;
    }
out:
    catalog_row_look_end(op, &view);
    return err;
}

err_t
catalog_copy_find(struct op *op, struct txn *txn, const char *tenant, const char *database,
    const char *name, const struct catalog_collection **collection)
{
    bool changed = pendings != NULL && txn != NULL && catalog_copy_changed(txn);
    struct catalog_row_key key;

    invariant(catalog_share_inside());
    *collection = changed ? NULL : look_up(tenant, database, name);
    if (*collection != NULL)
        return OK;
    TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_COLLECTION, tenant, database, name));
    return load_now(op, changed ? txn : NULL, &key, 0, !changed, collection);
}

err_t
catalog_copy_find_again(struct op *op, const char *tenant, const char *database, const char *name,
    uint64_t *memory, const struct catalog_collection **collection)
{
    invariant(catalog_share_inside());
    if (last != NULL && last->number == *memory && good(last)) { /* C3 */
        *collection = &last->collection;
        return OK;
    }
    TRY_RETURN(catalog_copy_find(op, NULL, tenant, database, name, collection));
    /* One that was loaded just now is not `last` yet; it is next time. */
    *memory = last != NULL && *collection == &last->collection ? last->number : 0;
    return OK;
}

err_t
catalog_copy_find_oid(
    struct op *op, struct txn *txn, uint64_t oid, const struct catalog_collection **collection)
{
    bool changed = pendings != NULL && txn != NULL && catalog_copy_changed(txn);

    invariant(catalog_share_inside());
    *collection = changed ? NULL : look_up_oid(oid);
    if (*collection != NULL)
        return OK;
    return load_now(op, changed ? txn : NULL, NULL, oid, !changed, collection);
}

err_t
catalog_copy_fresh(struct op *op, struct txn *txn, const char *tenant, const char *database,
    const char *name, const struct catalog_collection **collection)
{
    struct catalog_row_key key;

    invariant(catalog_share_inside());
    *collection = NULL;
    TRY_RETURN(catalog_row_key(&key, CATALOG_ROW_COLLECTION, tenant, database, name));
    return load_now(op, txn, &key, 0, false, collection);
}

/* ---- changes ---- */

static struct pending *
find_pending(const struct txn *txn)
{
    struct pending *pending = pendings;

    while (pending != NULL && pending->txn != txn)
        pending = pending->next;
    return pending;
}

bool
catalog_copy_changed(const struct txn *txn)
{
    return find_pending(txn) != NULL;
}

static void
end_change(void *context, bool committed)
{
    struct pending *pending = context, **at = &pendings;

    while (*at != pending)
        at = &(*at)->next;
    *at = pending->next;
    if (committed) {
        uint64_t version;

        (void)fault_pass(FAULT_CATALOG_COMMITTED);
        version = catalog_share_bump();
        (void)fault_pass(FAULT_CATALOG_RAISED);
        for (size_t i = 0; i < pending->file_count; i++)
            graveyard_put(pending->file[i], version);
        for (size_t i = 0; i < pending->oid_count; i++)
            statistics_forget(pending->oid[i]);
    }
    free(pending->file);
    free(pending->oid);
    free(pending);
}

err_t
catalog_copy_change(struct txn *txn)
{
    struct pending *pending;
    err_t err;

    if (catalog_copy_changed(txn))
        return OK;
    pending = calloc(1, sizeof *pending);
    if (pending == NULL)
        return err_set(ERR_MEMORY, "could not change the catalog: out of memory");
    pending->txn = txn;
    TRY(txn_at_end(txn, end_change, pending));
    pending->next = pendings;
    pendings = pending;
    return OK;
out:
    free(pending);
    return err;
}

/* The array with room for one more of `size` bytes; NULL: out of memory, the array is as it was. */
static void *
grow(void *array, size_t *room, size_t count, size_t size)
{
    size_t more = *room > 0 ? *room * 2 : 8;
    void *grown = array;

    if (count < *room)
        return array;
    grown = realloc(array, more * size);
    if (grown == NULL)
        err_note(ERR_MEMORY, __FILE__, __LINE__,
            "could not note what a transaction drops: out of memory");
    else
        *room = more;
    return grown;
}

err_t
catalog_copy_drop_file(struct txn *txn, fileno_t file)
{
    struct pending *pending;
    fileno_t *files;

    TRY_RETURN(catalog_copy_change(txn));
    pending = find_pending(txn);
    files = grow(pending->file, &pending->file_room, pending->file_count, sizeof file);
    if (files == NULL)
        return ERR_MEMORY;
    pending->file = files;
    files[pending->file_count++] = file;
    return OK;
}

err_t
catalog_copy_drop_oid(struct txn *txn, uint64_t oid)
{
    struct pending *pending;
    uint64_t *oids;

    TRY_RETURN(catalog_copy_change(txn));
    pending = find_pending(txn);
    oids = grow(pending->oid, &pending->oid_room, pending->oid_count, sizeof oid);
    if (oids == NULL)
        return ERR_MEMORY;
    pending->oid = oids;
    oids[pending->oid_count++] = oid;
    return OK;
}
