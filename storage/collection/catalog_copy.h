/*
 * catalog_copy.h - this process's private copies of definitions, and changes it has not committed.
 *
 * Inside storage/collection only.
 */
#ifndef STORAGE_COLLECTION_CATALOG_COPY_H
#define STORAGE_COLLECTION_CATALOG_COPY_H

#include "storage/collection/catalog.h"
#include "storage/collection/catalog_row.h"

/* As catalog_find, catalog_find_again and catalog_find_oid. */
err_t catalog_copy_find(struct op *op, struct txn *txn, const char *tenant, const char *database,
    const char *name, const struct catalog_collection **collection) MUST_CHECK;
err_t catalog_copy_find_again(struct op *op, const char *tenant, const char *database,
    const char *name, uint64_t *memory, const struct catalog_collection **collection) MUST_CHECK;
err_t catalog_copy_find_oid(struct op *op, struct txn *txn, uint64_t oid,
    const struct catalog_collection **collection) MUST_CHECK;
/* The one in the catalog now, not from the copies.  Valid until catalog_leave. */
err_t catalog_copy_fresh(struct op *op, struct txn *txn, const char *tenant, const char *database,
    const char *name, const struct catalog_collection **collection) MUST_CHECK;

/* The outermost section begins or has ended. */
void catalog_copy_begin(void);
void catalog_copy_end(void);
/* Free all that this process (thread) keeps. */
void catalog_copy_forget(void);

/* What a transaction that changes definitions has to do at its end.  Made at its first change. */
err_t catalog_copy_change(struct txn *txn) MUST_CHECK;
/* A file that has no owner any more once the transaction has committed. */
err_t catalog_copy_drop_file(struct txn *txn, fileno_t file) MUST_CHECK;
/* A collection whose statistics mean nothing any more then. */
err_t catalog_copy_drop_oid(struct txn *txn, uint64_t oid) MUST_CHECK;

/* Has this transaction changed definitions? */
bool catalog_copy_changed(const struct txn *txn);

#endif
