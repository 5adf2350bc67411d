/*
 * stopwatch.h - what a piece of work took, and numbers drawn for it.
 */
#ifndef BENCH_STOPWATCH_H
#define BENCH_STOPWATCH_H

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

struct stopwatch {
    double wall, processor; /* seconds */
};

static inline struct stopwatch
stopwatch_now(void)
{
    struct timespec now;
    struct rusage used;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    (void)getrusage(RUSAGE_SELF, &used);
    return (struct stopwatch){ (double)now.tv_sec + (double)now.tv_nsec * 1e-9,
        (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
            (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6 };
}

/* "OPERATIONS SECONDS CPU-SECONDS DOCUMENTS BYTES". */
static inline void
stopwatch_tell(struct stopwatch began, uint64_t operations, uint64_t documents, uint64_t bytes)
{
    struct stopwatch now = stopwatch_now();

    (void)printf("%" PRIu64 " %.9f %.6f %" PRIu64 " %" PRIu64 "\n", operations,
        now.wall - began.wall, now.processor - began.processor, documents, bytes);
    (void)fflush(stdout);
}

static inline uint64_t
stopwatch_draw(uint64_t *state) /* xorshift; the state is not 0 */
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
