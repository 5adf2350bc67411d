/*
 * waits.h - who waits for whom, and where: for currentOp, and for whoever ends a process that
 * stands still with something that others want.
 *
 * All is read beside the others' work: an answer was true at some moment, and may no longer be.
 */
#ifndef STORAGE_COLLECTION_WAITS_H
#define STORAGE_COLLECTION_WAITS_H

#include <stdbool.h>
#include <stdint.h>

#include "shmem/proc.h"

#define WAITS_HOLDERS_MAX 8

struct waits {
    enum proc_wait wait; /* WAIT_NONE: it waits for nothing */
    const char *where;   /* the rank of the lock, "" for other waits */
    uint64_t object;     /* as proc_wait_begin got it */
    uint32_t turn;       /* of a lock: changes whenever it becomes free while somebody waits */
    int64_t since_ns;
    unsigned holder_count; /* of slots in `holder`; 0: not known, or nobody any more */
    uint16_t holder[WAITS_HOLDERS_MAX];
};

void waits_of(unsigned slot, struct waits *waits);

#endif
