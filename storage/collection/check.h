/*
 * check.h - is everything as it should be?  Pages, heaps, trees, and that heaps and indexes agree.
 */
#ifndef STORAGE_COLLECTION_CHECK_H
#define STORAGE_COLLECTION_CHECK_H

#include <stdio.h>

#include "base/op.h"

struct check_result {
    uint64_t files, pages, collections, indexes, documents, entries;
    uint64_t faults;
};
/* Checks all tenants, or one collection (names not NULL).  Each fault is a line on `out` (and at
   most 1,000 of them); goes on behind damage.  On a live server too: writers go on, differences are
   looked at again before they are told. */
err_t check_run(struct op *op, const char *tenant, const char *database, const char *collection,
    FILE *out, struct check_result *result) MUST_CHECK;

#endif
