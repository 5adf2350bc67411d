/*
 * spin.c - a lock for a handful of instructions.
 *
 * IF A PROCESS DIES holding it, its critical depth is above 0: everything is rebuilt from the log.
 */
#include "shmem/spin.h"

#include <sched.h>

#include "base/crit.h"
#include "base/panic.h"
#include "shmem/proc.h"

#define TRIES_BEFORE_YIELD 100
#define NO_SLOT            UINT32_MAX

static uint32_t
own_mark(void)
{
    return proc_self != NULL ? proc_self->index + 1 : NO_SLOT;
}

static void
pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void
spin_init(struct spin *spin)
{
    atomic_init(&spin->owner, 0);
}

void
spin_acquire(struct spin *spin)
{
    unsigned tries = 0;
    uint32_t free_mark = 0;

    crit_begin();
    while (!atomic_compare_exchange_weak_explicit(
        &spin->owner, &free_mark, own_mark(), memory_order_acquire, memory_order_relaxed)) {
        invariant(free_mark != own_mark() || free_mark == NO_SLOT || free_mark == 0);
        while (atomic_load_explicit(&spin->owner, memory_order_relaxed) != 0) {
            pause_briefly();
            if (++tries % TRIES_BEFORE_YIELD == 0)
                (void)sched_yield(); /* the owner may want this very processor */
        }
        free_mark = 0;
    }
}

void
spin_release(struct spin *spin)
{
    invariant(atomic_load_explicit(&spin->owner, memory_order_relaxed) == own_mark());
    atomic_store_explicit(&spin->owner, 0, memory_order_release);
    crit_end();
}
