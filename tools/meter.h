/*
 * meter.h - a bar that moves, for who waits at a terminal; and the line that sums up.
 */
#ifndef TOOLS_METER_H
#define TOOLS_METER_H

#include <stdbool.h>
#include <stdint.h>

struct meter {
    const char *what; /* "documents" */
    uint64_t total;   /* bytes to go through; 0: unknown */
    int64_t began_ns, shown_ns;
    bool terminal;
};

void meter_begin(struct meter *meter, const char *what, uint64_t total, bool quiet);
/* Show how far it is; writes at most ten times a second, and only to a terminal. */
void meter_show(struct meter *meter, uint64_t done, uint64_t count);
/* Wipe the bar.  Yields the seconds since the beginning. */
double meter_end(struct meter *meter);

#endif
