/*
 * condition.c - waiting until something shared has become so.
 *
 * Form of `changes`: bit 0 says that somebody may sleep, the bits above count wakes.
 *
 * INVARIANTS
 *   O1  A process sleeps only on a value with bit 0 set, put there by itself or another sleeper.
 *   O2  Every wake changes the value and clears bit 0 in one step; if it was set, all are woken.
 *       So a wake after condition_prepare either changes the value before the sleeper sleeps (the
 *       kernel looks) or finds bit 0 set.  Both in one word: with a flag beside, a slow waker could
 *       clear the flag of a sleeper that came after it.
 *
 * IF A PROCESS DIES asleep, bit 0 may be set for nobody: one futile system call.  If a waker dies
 * between O2's step and the system call, sleepers look again after 100 ms.
 */
#include "shmem/condition.h"

#include <limits.h>

#include "base/clock.h"
#include "base/fault.h"
#include "shmem/futex.h"
#include "shmem/interrupt.h"

#define LOOK_NS 100000000

void
condition_init(struct condition *condition)
{
    atomic_init(&condition->changes, 0);
}

uint32_t
condition_prepare(struct condition *condition)
{
    /* acquire: who has seen a wake also sees what was made so before it. */
    return atomic_load_explicit(&condition->changes, memory_order_acquire) & ~UINT32_C(1);
}

static void
sleep_on(struct condition *condition, uint32_t seen, int64_t until_ns)
{
    uint32_t old = seen;

    if (!atomic_compare_exchange_strong(&condition->changes, &old, seen | 1) && old != (seen | 1))
        return;                                                     /* it has changed */
    futex_wait(&condition->changes, seen | 1, FUTEX_ANY, until_ns); /* O1 */
}

err_t
condition_wait(
    struct op *op, struct condition *condition, uint32_t seen, enum proc_wait why, uint64_t object)
{
    int64_t until = clock_now_ns() + LOOK_NS;

    TRY_RETURN(interrupt_check(op));
    if (op != NULL && op->deadline_ns != 0 && op->deadline_ns < until)
        until = op->deadline_ns;
    proc_wait_begin(why, object);
    sleep_on(condition, seen, until);
    proc_wait_end();
    return interrupt_check(op);
}

void
condition_wait_plain(
    struct condition *condition, uint32_t seen, enum proc_wait why, uint64_t object)
{
    proc_wait_begin(why, object);
    sleep_on(condition, seen, clock_now_ns() + LOOK_NS);
    proc_wait_end();
}

void
condition_wake(struct condition *condition)
{
    uint32_t old = atomic_load_explicit(&condition->changes, memory_order_relaxed);

    while (
        !atomic_compare_exchange_weak(&condition->changes, &old, (old & ~UINT32_C(1)) + 2)) /* O2 */
        ;
    (void)fault_pass(FAULT_CONDITION_CHANGED);
    if ((old & 1) != 0)
        futex_wake(&condition->changes, INT_MAX, FUTEX_ANY);
}
