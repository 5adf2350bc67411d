/*
 * hash.h - hashes for tables in memory.  Not for anything that outlives a process
 * or that an enemy may choose keys for; those use hash_bytes with a secret seed.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t
hash_u64(uint64_t x)
{
    x ^= x >> 32; /* the finisher of Stafford's Mix13, as in splitmix64 */
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    return x;
}
uint64_t hash_bytes(const void *data, size_t size, uint64_t seed);

#endif
