/*
 * clock.h - time.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

int64_t clock_now_ns(void);  /* CLOCK_MONOTONIC, for deadlines and durations */
int64_t clock_wall_ms(void); /* milliseconds since 1970-01-01 UTC */

#endif
