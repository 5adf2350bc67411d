/*
 * rand.c - random numbers: xoshiro256** by Blackman and Vigna, seeded by splitmix64.
 */
#include "base/rand.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/panic.h"

static inline uint64_t
rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

void
rand_init(struct rand *rand, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t x = seed += 0x9e3779b97f4a7c15u;

        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
        x = (x ^ x >> 27) * 0x94d049bb133111ebu;
        rand->state[i] = x ^ x >> 31;
    }
}

void
rand_init_random(struct rand *rand)
{
    uint64_t seed;

    rand_secure(&seed, sizeof seed);
    rand_init(rand, seed);
}

uint64_t
rand_u64(struct rand *rand)
{
    uint64_t *s = rand->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t
rand_below(struct rand *rand, uint64_t bound)
{
    uint64_t uneven; /* so many of the lowest numbers would come too often */
    uint64_t x;

    invariant(bound > 0);
    uneven = -bound % bound;
    do
        x = rand_u64(rand);
    while (x < uneven);
    return x % bound;
}

double
rand_unit(struct rand *rand)
{
    return (double)(rand_u64(rand) >> 11) * 0x1p-53;
}

void
rand_bytes(struct rand *rand, void *data, size_t size)
{
    uint8_t *at = data;

    while (size > 0) {
        uint64_t word = rand_u64(rand);
        size_t part = size < sizeof word ? size : sizeof word;

        memcpy(at, &word, part);
        at += part;
        size -= part;
    }
}

void
rand_secure(void *data, size_t size)
{
    uint8_t *at = data;

    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);

        if (got < 0 && errno == EINTR)
            continue;
        invariant(got > 0);
        at += got;
        size -= (size_t)got;
    }
}
