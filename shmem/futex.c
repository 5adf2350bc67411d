/*
 * futex.c - sleeping in the kernel.
 */
#include "shmem/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void
futex_wait(const _Atomic uint32_t *word, uint32_t seen, uint32_t classes, int64_t until_ns)
{
    struct timespec until = { until_ns / 1000000000, until_ns % 1000000000 };

    /* FUTEX_WAIT_BITSET's time is absolute, on CLOCK_MONOTONIC. */
    (void)syscall(
        SYS_futex, word, FUTEX_WAIT_BITSET, seen, until_ns != 0 ? &until : NULL, NULL, classes);
}

void
futex_wake(const _Atomic uint32_t *word, int most, uint32_t classes)
{
    int saved = errno; /* this may be a signal handler */

    (void)syscall(SYS_futex, word, FUTEX_WAKE_BITSET, most, NULL, NULL, classes);
    errno = saved;
}
