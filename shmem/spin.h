/*
 * spin.h - a lock for a handful of instructions.  Holding it is a critical section: if the holder
 * dies, everything is rebuilt from the log.  No call of any kind inside.
 */
#ifndef SHMEM_SPIN_H
#define SHMEM_SPIN_H

#include <stdatomic.h>
#include <stdint.h>

struct spin {
    _Atomic uint32_t owner; /* slot + 1; 0: free */
};

void spin_init(struct spin *spin);
void spin_acquire(struct spin *spin); /* crit_begin, then the lock */
void spin_release(struct spin *spin); /* the lock, then crit_end */

#endif
