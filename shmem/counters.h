/*
 * counters.h - counters that cost an addition in the own cache line.
 */
#ifndef SHMEM_COUNTERS_H
#define SHMEM_COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum counter {
#define COUNTER(name, key, help) name,
#include "base/lists/counters.def"
#undef COUNTER
    COUNTER_COUNT
};

/* The own slot's counters; NULL without a slot.  Set by proc.c. */
extern _Thread_local _Atomic uint64_t *counters_own;

/* Add to the own slot's counter; without a slot (proc_self NULL) nothing happens.  One writer, so
   no locked instruction. */
static inline void
counters_add(enum counter counter, uint64_t n)
{
    _Atomic uint64_t *own = counters_own;

    if (own != NULL)
        atomic_store_explicit(&own[counter],
            atomic_load_explicit(&own[counter], memory_order_relaxed) + n, memory_order_relaxed);
}

/* The sum over all slots, the dead ones' included, since the start or the last reset. */
uint64_t counters_total(enum counter counter);
void counters_reset(void);
const char *counters_key(enum counter counter);

#endif
