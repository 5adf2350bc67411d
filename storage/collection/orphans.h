/*
 * orphans.h - data files that belong to nobody, on a live server.
 *
 * Inside storage/collection only.
 */
#ifndef STORAGE_COLLECTION_ORPHANS_H
#define STORAGE_COLLECTION_ORPHANS_H

#include "base/op.h"
#include "base/types.h"

/* Files that no row of the catalog names and no transaction is making: left by a process that died.
   In the op's arena.  Waits for the transactions in progress.  *total: files there are. */
err_t orphans_find(struct op *op, fileno_t **files, size_t *count, uint64_t *total) MUST_CHECK;
/* Give them to the graveyard. */
err_t orphans_bury(struct op *op) MUST_CHECK;

#endif
