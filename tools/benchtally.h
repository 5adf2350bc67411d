/*
 * benchtally.h - how long operations took: counts in buckets that grow with what they count.
 *
 * 64 buckets for each power of two, so a percentile is true to 1.6 per cent.  Nanoseconds.
 */
#ifndef TOOLS_BENCHTALLY_H
#define TOOLS_BENCHTALLY_H

#include <stdint.h>

#define BENCHTALLY_BUCKETS (64 * 40) /* beyond an hour */

struct benchtally {
    uint64_t count, sum, most;
    uint64_t bucket[BENCHTALLY_BUCKETS];
};

void benchtally_add(struct benchtally *tally, int64_t ns);
/* The time within which so many of a thousand were done; 0 of an empty tally. */
double benchtally_permille_us(const struct benchtally *tally, double permille);
double benchtally_mean_us(const struct benchtally *tally);

#endif
