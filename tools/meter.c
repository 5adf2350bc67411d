/*
 * meter.c - a bar that moves.
 */
#include "tools/meter.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define BAR_WIDTH   30
#define INTERVAL_NS INT64_C(100000000)

void
meter_begin(struct meter *meter, const char *what, uint64_t total, bool quiet)
{
    *meter = (struct meter){
        .what = what,
        .total = total,
        .began_ns = clock_now_ns(),
        .terminal = !quiet && isatty(STDERR_FILENO) == 1,
    };
}

void
meter_show(struct meter *meter, uint64_t done, uint64_t count)
{
    int64_t now_ns = clock_now_ns();
    double secs = (double)(now_ns - meter->began_ns) / 1e9;
    char bar[BAR_WIDTH + 1];
    double share;
    int filled;

    if (!meter->terminal || now_ns - meter->shown_ns < INTERVAL_NS || secs <= 0)
        return;
    meter->shown_ns = now_ns;
    if (meter->total == 0 || done > meter->total) {
        (void)fprintf(
            stderr, "\r%ju %s, %.0f/s \033[K", (uintmax_t)count, meter->what, (double)count / secs);
        return;
    }
    share = (double)done / (double)meter->total;
    filled = (int)(share * BAR_WIDTH);
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', (size_t)filled);
    bar[BAR_WIDTH] = '\0';
    (void)fprintf(stderr, "\r[%s] %3.0f %%  %ju %s  %.0f/s  %.0f s left \033[K", bar, share * 100,
        (uintmax_t)count, meter->what, (double)count / secs, share > 0 ? secs / share - secs : 0.0);
}

double
meter_end(struct meter *meter)
{
    if (meter->terminal)
        (void)fputs("\r\033[K", stderr);
    return (double)(clock_now_ns() - meter->began_ns) / 1e9;
}
