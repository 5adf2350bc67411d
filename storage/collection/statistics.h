/*
 * statistics.h - how many documents collections have, about.
 *
 * Inside storage/collection only.  A table in shared memory by oid; what is not known in it yet is
 * counted or guessed at the first question.
 */
#ifndef STORAGE_COLLECTION_STATISTICS_H
#define STORAGE_COLLECTION_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

size_t statistics_size(void);
void statistics_init(void *zeroed);

/* A statement has added so many rows, and left so many dead versions.  Kept by this process until
   statistics_flush. */
void statistics_note(uint64_t oid, int64_t rows, int64_t dead);
void statistics_flush(void);

/* What is known.  `known` false: nobody has counted since the start; rows and dead are then what
   changed since. */
struct statistics {
    bool known;
    int64_t rows, dead;
};
struct statistics statistics_get(uint64_t oid);
/* Counted just now. */
void statistics_set(uint64_t oid, uint64_t rows, uint64_t dead);
void statistics_forget(uint64_t oid); /* dropped */

#endif
