/*
 * benchtally.c - how long operations took.
 */
#include "tools/benchtally.h"

#define SUB_BITS 6
#define SUB      (1u << SUB_BITS)

static unsigned
bucket_of(uint64_t ns)
{
    unsigned shift = ns < SUB ? 0 : (unsigned)(63 - __builtin_clzll(ns)) - SUB_BITS;
    unsigned index = (shift << SUB_BITS) + (unsigned)(ns >> shift);

    return index < BENCHTALLY_BUCKETS ? index : BENCHTALLY_BUCKETS - 1;
}

/* The bucket's middle. */
static double
middle_of(unsigned index)
{
    unsigned shift = index < 2 * SUB ? 0 : (index >> SUB_BITS) - 1;
    uint64_t least = (uint64_t)(index - (shift << SUB_BITS)) << shift;

    return (double)least + (double)((UINT64_C(1) << shift) - 1) / 2;
}

void
benchtally_add(struct benchtally *tally, int64_t ns)
{
    uint64_t value = ns > 0 ? (uint64_t)ns : 0;

    tally->count++;
    tally->sum += value;
    if (value > tally->most)
        tally->most = value;
    tally->bucket[bucket_of(value)]++;
}

double
benchtally_permille_us(const struct benchtally *tally, double permille)
{
    double wanted = (double)tally->count * permille / 1000;
    uint64_t seen = 0;

    for (unsigned i = 0; i < BENCHTALLY_BUCKETS; i++) {
        seen += tally->bucket[i];
        if (tally->bucket[i] > 0 && (double)seen >= wanted)
            return (middle_of(i) < (double)tally->most ? middle_of(i) : (double)tally->most) / 1000;
    }
    return 0;
}

double
benchtally_mean_us(const struct benchtally *tally)
{
    return tally->count > 0 ? (double)tally->sum / (double)tally->count / 1000 : 0;
}
