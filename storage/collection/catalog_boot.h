/*
 * catalog_boot.h - the catalog's part in opening a data directory.
 */
#ifndef STORAGE_COLLECTION_CATALOG_BOOT_H
#define STORAGE_COLLECTION_CATALOG_BOOT_H

#include "base/op.h"
#include "base/types.h"
#include "wal/checkpoint.h"
#include "wal/wal_record.h"

extern const struct checkpoint_part catalog_boot_part; /* notes schema version and next oid */
extern const struct wal_handler catalog_boot_handler_numbers; /* WAL_NUMBERS */

/* Make the catalog's own files, in one transaction; a new data directory. */
err_t catalog_boot_create(struct op *op) MUST_CHECK;

/* Call `owned` for every file that the catalog or a row in it names, its own files and
   DATAFILE_CLOG and DATAFILE_CSN included. */
err_t catalog_boot_files(
    struct op *op, void (*owned)(void *context, fileno_t file), void *context) MUST_CHECK;

/* After recovery: rows of indexes that were being built, and their files' names, are removed; the
 * shared part is set up. */
err_t catalog_boot_open(struct op *op) MUST_CHECK;

#endif
