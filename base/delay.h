/*
 * delay.h - random delays at the points where processes race.
 *
 * A call of delay_here stands between two steps of something that many processes do at once; each
 * fault point is one (base/fault.c).  In builds with --enable-faults, and with GNEISS_DELAY_SEED in
 * the environment, such a call now and then yields the processor, spins, or sleeps for some
 * microseconds, so that schedules happen which else take a year.  In other builds it is nothing.
 */
#ifndef BASE_DELAY_H
#define BASE_DELAY_H

#include <stdbool.h>
#include <stdint.h>

#ifdef GNEISS_FAULTS
extern bool delay_wanted; /* const after the program has begun */
void delay_now(void);

static inline void
delay_here(void)
{
    if (__builtin_expect(delay_wanted, 0))
        delay_now();
}
#else
static inline void
delay_here(void)
{
}
#endif

#endif
