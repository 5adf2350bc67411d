/*
 * catalog_form.h - what the catalog's rows say: BSON both ways.
 *
 * Inside storage/collection only.  The fields are listed in README.md; they are on disk.
 */
#ifndef STORAGE_COLLECTION_CATALOG_FORM_H
#define STORAGE_COLLECTION_CATALOG_FORM_H

#include "storage/collection/catalog.h"

/* Slices point into the row. */
struct catalog_form_collection {
    uint64_t oid;
    struct bytes tenant, database, name;
    uint8_t uuid[16];
    struct heap heap;
    struct bytes options;
    bool string_keys;
};
struct catalog_form_index {
    uint64_t oid, collection;
    struct bytes name, definition;
    struct index index;
    enum catalog_index_state state;
    bool multikey;
    csn_t usable_from;
    uint64_t life; /* of the server: usable_from means something in the same life only */
};
struct catalog_form_place {
    struct bytes tenant, database, name;
};

/* Rows, in the arena.  Errors: ERR_MEMORY, ERR_TOO_LARGE. */
err_t catalog_form_make_collection(struct arena *arena,
    const struct catalog_form_collection *collection, struct bytes *row) MUST_CHECK;
err_t catalog_form_make_index(
    struct arena *arena, const struct catalog_form_index *index, struct bytes *row) MUST_CHECK;
err_t catalog_form_make_place(
    struct arena *arena, const struct catalog_form_place *place, struct bytes *row) MUST_CHECK;
/* A tenant or a database; options may be empty. */
err_t catalog_form_make_name(
    struct arena *arena, const char *name, struct bytes options, struct bytes *row) MUST_CHECK;

/* Errors: ERR_CORRUPT. */
err_t catalog_form_collection(
    struct bytes row, struct catalog_form_collection *collection) MUST_CHECK;
err_t catalog_form_index(struct bytes row, struct catalog_form_index *index) MUST_CHECK;
err_t catalog_form_place(struct bytes row, struct catalog_form_place *place) MUST_CHECK;
err_t catalog_form_name(struct bytes row, struct bytes *name, struct bytes *options) MUST_CHECK;

#endif
