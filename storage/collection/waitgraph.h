/*
 * waitgraph.h - who waits for whom, and where: for currentOp, and for whoever ends a process that
 * stands still with something that others want.
 *
 * All is read beside the others' work: an answer was true at some moment, and may no longer be.
 */
#ifndef STORAGE_COLLECTION_WAITGRAPH_H
#define STORAGE_COLLECTION_WAITGRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "shmem/proc.h"

#define WAITGRAPH_HOLDERS_MAX 8

struct waitgraph_wait {
    enum proc_wait wait; /* WAIT_NONE: it waits for nothing */
    const char *where;   /* the rank of the lock, "" for other waits */
    uint64_t object;     /* as proc_wait_begin got it */
    int64_t since_ns;
    unsigned holder_count; /* of slots in `holder`; 0: not known, or nobody any more */
    uint16_t holder[WAITGRAPH_HOLDERS_MAX];
};

/* What the process in this slot waits for; nothing, if that is just changing. */
void waitgraph_look(unsigned slot, struct waitgraph_wait *waits);

#endif
