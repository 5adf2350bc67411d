/*
 * catalog.h - tenants, databases, collections and indexes: what exists.
 *
 * They are BSON rows in the engine's own heap (file DATAFILE_CATALOG) with a unique b-tree over
 * (kind, tenant, database, name), so creating and dropping is as transactional as any write.  Each
 * process keeps private copies of what it uses; a shared version word, looked at by catalog_enter,
 * tells when they are stale.
 *
 * Whoever uses collections does so between catalog_enter and catalog_leave (a statement).  A
 * definition that others must have noticed (a new index that all writers must feed; a dropped file
 * that none may read) is waited for by catalog_quiesce: until no process is inside a section that
 * began before the change.  So a statement writes one word of its own, and takes no lock on the
 * collection.
 */
#ifndef STORAGE_COLLECTION_CATALOG_H
#define STORAGE_COLLECTION_CATALOG_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/doc/indexkey.h"
#include "base/op.h"
#include "shmem/region.h"
#include "storage/heap/heap.h"
#include "storage/index/index.h"

#define CATALOG_NAME_MAX    255 /* bytes of a collection's or index's name */
#define CATALOG_INDEXES_MAX 64  /* of one collection */

enum catalog_index_state { CATALOG_INDEX_BUILDING, CATALOG_INDEX_READY };

/* All below is const for its readers, and valid until catalog_leave. */
struct catalog_index {
    uint64_t oid;
    const char *name;
    struct index index;               /* file, kind, unique */
    struct bytes definition;          /* BSON as MongoDB lists it: {v, key, name, unique?, sparse?,
                                         expireAfterSeconds?, …} */
    struct bytes key_pattern;         /* BSON {a: 1, b: -1} */
    const struct indexkey_spec *spec; /* compiled (base/doc/indexkey.h) */
    bool sparse;
    bool multikey;    /* some document gave more than one key; never taken back */
    bool scalar_only; /* made by the text protocol: T-10.1 */
    bool special;     /* partial, or with a collation */
    enum catalog_index_state state;
    csn_t usable_from; /* a snapshot older than this may not use it */
};
struct catalog_collection {
    uint64_t oid;
    const char *tenant, *database, *name;
    uint8_t uuid[16];
    struct heap heap;
    struct bytes options; /* BSON {capped, size, max, validator, …}; may be empty */
    bool string_keys;     /* T33: a document with a UUID string as _id was stored */
    unsigned index_count; /* [0] is _id_ */
    const struct catalog_index *index[CATALOG_INDEXES_MAX];
};

extern const struct region catalog_region;

/* Begin and end a statement.  Nesting is allowed. */
void catalog_enter(void);
void catalog_leave(void);

/* Free this thread's private memory of this room; not in a section.  For threads that end before
 * their process.
 */
void catalog_forget_private(void);
/* After txn_end_dead for the process that died in `slot`: what it may have committed is noticed. */
void catalog_end_dead(unsigned slot);

/* Names are checked by the callers' protocols; here only: not empty, ≤ CATALOG_NAME_MAX, no NUL.
   Lookups: *collection NULL if there is none.  Under the transaction's own changes (txn may be
   NULL: committed ones). */
err_t catalog_find(struct op *op, struct txn *txn, const char *tenant, const char *database,
    const char *name, const struct catalog_collection **collection) MUST_CHECK;
/* The same for names that are always the same, committed definitions only.  *memory is the
   caller's, kept from call to call, 0 at first: what was found for these names.  Other threads may
   use it. */
err_t catalog_find_again(struct op *op, const char *tenant, const char *database, const char *name,
    uint64_t *memory, const struct catalog_collection **collection) MUST_CHECK;
err_t catalog_find_oid(struct op *op, struct txn *txn, uint64_t oid,
    const struct catalog_collection **collection) MUST_CHECK;
const struct catalog_index *catalog_find_index(
    const struct catalog_collection *collection, const char *name);

/* Tenants and databases.  Creating what exists: ERR_NAMESPACE_EXISTS.  Dropping what does not:
 * *found false. */
err_t catalog_create_tenant(struct op *op, struct txn *txn, const char *tenant) MUST_CHECK;
err_t catalog_drop_tenant(
    struct op *op, struct txn *txn, const char *tenant, bool *found) MUST_CHECK;
err_t catalog_tenant_exists(
    struct op *op, struct txn *txn, const char *tenant, bool *exists) MUST_CHECK;
err_t catalog_create_database(
    struct op *op, struct txn *txn, const char *tenant, const char *database) MUST_CHECK;
err_t catalog_drop_database(struct op *op, struct txn *txn, const char *tenant,
    const char *database, bool *found) MUST_CHECK;
err_t catalog_database_exists(struct op *op, struct txn *txn, const char *tenant,
    const char *database, bool *exists) MUST_CHECK;
/* `options` of a database (BSON; consistency defaults): empty if none. In op's arena. */
err_t catalog_database_options(struct op *op, struct txn *txn, const char *tenant,
    const char *database, struct bytes *options) MUST_CHECK;
err_t catalog_set_database_options(struct op *op, struct txn *txn, const char *tenant,
    const char *database, struct bytes options) MUST_CHECK;

/* Collections.  Database and tenant are created as needed.  Every collection has the index _id_. */
err_t catalog_create_collection(struct op *op, struct txn *txn, const char *tenant,
    const char *database, const char *name, struct bytes options) MUST_CHECK;
err_t catalog_drop_collection(struct op *op, struct txn *txn, const char *tenant,
    const char *database, const char *name, bool *found) MUST_CHECK;
err_t catalog_rename_collection(struct op *op, struct txn *txn, const char *tenant,
    const char *database, const char *from, const char *to_database, const char *to,
    bool drop_target) MUST_CHECK;

/* Lists, sorted by name, in op's arena. */
err_t catalog_list_tenants(
    struct op *op, struct txn *txn, const char *const **names, size_t *count) MUST_CHECK;
err_t catalog_list_databases(struct op *op, struct txn *txn, const char *tenant,
    const char *const **names, size_t *count) MUST_CHECK;
err_t catalog_list_collections(struct op *op, struct txn *txn, const char *tenant,
    const char *database, const char *const **names, size_t *count) MUST_CHECK;

/* Indexes.  `definition` as MongoDB's createIndexes takes one: {key: {…}, name, unique, sparse, …}
   and, ours, scalarOnly. Builds beside writers, in transactions of its own (not in the caller's):
   when it returns OK it is ready; a crash in between leaves nothing.  *existed: the same definition
   was there.  Errors: ERR_DUPLICATE_KEY, ERR_INDEX_OPTIONS (85), ERR_INDEX_KEY_SPECS (86),
   ERR_CANNOT_CREATE_INDEX. */
err_t catalog_create_index(struct op *op, const char *tenant, const char *database,
    const char *name, struct bytes definition, bool *existed) MUST_CHECK;
/* Remove what a builder of this collection left unfinished, unless somebody builds on it now. */
err_t catalog_create_index_clear(
    struct op *op, const char *tenant, const char *database, const char *name) MUST_CHECK;
err_t catalog_drop_index(struct op *op, const char *tenant, const char *database, const char *name,
    const char *index, bool *found) MUST_CHECK;

/* +1 for each index made or dropped (T: SCHEMA VERSION). */
uint64_t catalog_schema_version(void);

/* Rows that floors above keep in the catalog (users, roles, server settings), by kind and name:
 * BSON in, BSON out (op's arena). */
err_t catalog_put(struct op *op, struct txn *txn, const char *kind, const char *name,
    struct bytes document) MUST_CHECK;
err_t catalog_get(struct op *op, struct txn *txn, const char *kind, const char *name,
    struct bytes *document, bool *found) MUST_CHECK;
err_t catalog_remove(
    struct op *op, struct txn *txn, const char *kind, const char *name, bool *found) MUST_CHECK;
err_t catalog_list(struct op *op, struct txn *txn, const char *kind, const char *prefix,
    const char *const **names, const struct bytes **documents, size_t *count) MUST_CHECK;

/* Wait until every process has left the sections it was in when this was called.  Not inside a
 * section. */
err_t catalog_quiesce(struct op *op) MUST_CHECK;

#endif
