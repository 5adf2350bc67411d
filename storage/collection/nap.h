/*
 * nap.h - waiting for what nobody announces, in steps that grow.
 */
#ifndef STORAGE_COLLECTION_NAP_H
#define STORAGE_COLLECTION_NAP_H

#include "base/op.h"

/* The turn-th wait, from 0: some microseconds at first, 20 ms at last.  No light lock may be held.
   Errors: ERR_INTERRUPTED, ERR_TERMINATED, ERR_MAX_TIME. */
err_t nap(struct op *op, unsigned turn) MUST_CHECK;

#endif
