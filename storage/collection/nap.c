/*
 * nap.c - waiting for what nobody announces, in steps that grow.
 */
#include "storage/collection/nap.h"

#include <sched.h>
#include <time.h>

#include "shmem/interrupt.h"

#define YIELDS  8u
#define STEP_NS 50000l
#define MOST_NS 20000000l

err_t
nap(struct op *op, unsigned turn)
{
    struct timespec pause = { 0, STEP_NS };

    TRY_RETURN(interrupt_check(op));
    if (turn < YIELDS) {
        (void)sched_yield();
        return OK;
    }
    for (unsigned i = YIELDS; i < turn && pause.tv_nsec < MOST_NS; i++)
        pause.tv_nsec *= 2;
    if (pause.tv_nsec > MOST_NS)
        pause.tv_nsec = MOST_NS;
    (void)nanosleep(&pause, NULL);
    return OK;
}
