/*
 * counters.c - counters in the slots.
 *
 * A slot's counters outlive the processes that use it: they only grow, and a total is their sum.
 * A reset notes the totals of that moment, to be subtracted; so nobody but the owner ever writes a
 * counter.  A process that dies has counted or has not: nothing to undo.
 */
#include "shmem/counters.h"

#include "base/panic.h"
#include "shmem/proc.h"

_Thread_local _Atomic uint64_t *counters_own;

static const char *const keys[] = {
#define COUNTER(name, key, help) key,
#include "base/lists/counters.def"
#undef COUNTER
};

static uint64_t
sum(enum counter counter)
{
    uint64_t total = 0;
    unsigned end = proc_high_water();

    for (unsigned i = 0; i < end; i++)
        total += atomic_load_explicit(&proc_at(i)->counters[counter], memory_order_relaxed);
    return total;
}

uint64_t
counters_total(enum counter counter)
{
    invariant(counter < COUNTER_COUNT);
    return sum(counter) -
           atomic_load_explicit(&proc_counters_base()[counter], memory_order_relaxed);
}

void
counters_reset(void)
{
    for (unsigned i = 0; i < COUNTER_COUNT; i++)
        atomic_store_explicit(&proc_counters_base()[i], sum((enum counter)i), memory_order_relaxed);
}

const char *
counters_key(enum counter counter)
{
    invariant(counter < COUNTER_COUNT);
    return keys[counter];
}
