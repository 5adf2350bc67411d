/*
 * region.h - how a module asks for a place in shared memory.
 *
 * A module exports one const struct region; whoever opens the engine hands a table of
 * them to segment_create.  So the ground floor never learns who its tenants are.
 */
#ifndef SHMEM_REGION_H
#define SHMEM_REGION_H

#include <stddef.h>

#include "base/config.h"

struct region {
    const char *name;
    size_t (*size)(const struct config *config); /* bytes; rounded up to 64 */
    /* Called once before any fork, and again by segment_rebuild, with zeroed memory. */
    void (*init)(void *zeroed, const struct config *config);
};

#endif
