/*
 * hash.c - a fast hash of bytes.
 *
 * Sixteen bytes at a time are folded in by one 64 x 64 -> 128 bit multiplication, as
 * wyhash does.  Unlike there, both factors are mixed with words made from the seed:
 * who does not know the seed cannot choose a factor that is zero and so cancel the other.
 */
#include "base/hash.h"

#include <string.h>

static inline uint64_t
load(const uint8_t *data, size_t size)
{
    uint64_t word = 0;

    memcpy(&word, data, size);
    return word;
}

static inline uint64_t
fold(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide_t;
    wide_t product = (wide_t)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t
hash_bytes(const void *data, size_t size, uint64_t seed)
{
    const uint8_t *at = data;
    uint64_t left = hash_u64(seed ^ 0xa0761d6478bd642fu);
    uint64_t right = hash_u64(seed ^ 0xe7037ed1a0b428dbu);
    uint64_t state = hash_u64(left + size);
    size_t rest = size;

    for (; rest > 16; at += 16, rest -= 16)
        state = fold(load(at, 8) ^ left ^ state, load(at + 8, 8) ^ right);
    if (rest > 8) {
        left ^= load(at, 8);
        right ^= load(at + 8, rest - 8);
    } else if (rest > 0) {
        left ^= load(at, rest);
    }
    state = fold(left ^ state, right ^ 0x8ebc6af09c88c6e3u);
    return hash_u64(state ^ size);
}
