/*
 * rand.h - random numbers.
 *
 * `struct rand` is fast and predictable: for samples, jitter, skip levels and tests that
 * print their seed.  rand_secure is for whatever an enemy must not guess.
 */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

/* xoshiro256**.  The caller's; one thread. */
struct rand {
    uint64_t state[4];
};

void rand_init(struct rand *rand, uint64_t seed); /* the same seed, the same numbers */
void rand_init_random(struct rand *rand);         /* seeded by the system */

uint64_t rand_u64(struct rand *rand);
uint64_t rand_below(struct rand *rand, uint64_t bound); /* 0 … bound - 1, evenly; bound > 0 */
double rand_unit(struct rand *rand);                    /* 0 <= x < 1 */
void rand_bytes(struct rand *rand, void *data, size_t size);

/* From the system's generator.  Cannot fail on a system that works; panics otherwise, for
   there is nothing secure to go on with. */
void rand_secure(void *data, size_t size);

#endif
