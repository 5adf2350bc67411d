/*
 * delay.c - random delays at the points where processes race.
 *
 * Each thread has a stream of numbers of its own, made of the seed, the process and how many
 * threads began before it in this process; a child that was forked begins a new one.  The same seed
 * gives like delays, not the same schedule: that is the kernel's.
 *
 * Of 1,024 passes 64 spin for up to some microseconds, 32 yield, 8 sleep for up to 60 microseconds;
 * of 16 thousand one sleeps for a millisecond, so that others stop spinning and go to sleep.
 *
 * IF A PROCESS DIES here, nothing is half done: all of this is private.
 */
#include "base/delay.h"

#ifdef GNEISS_FAULTS

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

bool delay_wanted;
static uint64_t seed;                 /* const after the constructor */
static _Atomic uint64_t thread_count; /* guard: none, a counter */

static _Thread_local struct {
    uint64_t state;
    pid_t pid; /* whose stream it is */
} stream;

__attribute__((constructor)) static void
read_environment(void)
{
    const char *text = getenv("GNEISS_DELAY_SEED");

    if (text == NULL || *text == '\0')
        return;
    seed = strtoull(text, NULL, 10);
    delay_wanted = true;
}

/* splitmix64 */
static uint64_t
next(void)
{
    uint64_t x = stream.state += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static void
sleep_for(long ns)
{
    const struct timespec time = { .tv_nsec = ns };
    int saved = errno;

    (void)nanosleep(&time, NULL);
    errno = saved;
}

static void
spin_for(unsigned turns)
{
    for (volatile unsigned i = 0; i < turns; i++)
        ;
}

void
delay_now(void)
{
    pid_t pid = getpid();
    uint64_t x;

    if (stream.pid != pid) {
        stream.pid = pid;
        stream.state = seed * 1000003 + (uint64_t)pid * 64 +
                       atomic_fetch_add_explicit(&thread_count, 1, memory_order_relaxed);
    }
    x = next();
    if (x % 16384 == 0)
        sleep_for(1000000);
    else if (x % 1024 < 64)
        spin_for((unsigned)(x >> 32) % 1000);
    else if (x % 1024 < 96)
        (void)sched_yield();
    else if (x % 1024 < 104)
        sleep_for((long)((x >> 32) % 60000));
}

#endif
