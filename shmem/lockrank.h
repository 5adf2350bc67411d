/*
 * lockrank.h - the one order in which light locks are taken.
 */
#ifndef SHMEM_LOCKRANK_H
#define SHMEM_LOCKRANK_H

enum lockrank {
    RANK_NONE = 0,
#define LOCKRANK(name, most, what) name,
#include "base/lists/lockranks.def"
#undef LOCKRANK
    RANK_COUNT
};

#endif
