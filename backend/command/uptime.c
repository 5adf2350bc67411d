/*
 * uptime.c - how long the server has been there.
 *
 * One number in shared memory, written before any fork and const after it.
 */
#include "backend/command/uptime.h"

#include "base/clock.h"

struct uptime {
    int64_t since_ns; /* const after init */
};
_Static_assert(sizeof(struct uptime) == 8, "no holes in shared memory");
static struct uptime *shared;

static size_t
region_size(const struct config *config)
{
    (void)config;
    return sizeof *shared;
}

static void
region_init(void *zeroed, const struct config *config)
{
    (void)config;
    shared = zeroed;
    shared->since_ns = clock_now_ns();
}

const struct region uptime_region = { "uptime", region_size, region_init };

int64_t
uptime_secs(void)
{
    return shared != NULL ? (clock_now_ns() - shared->since_ns) / 1000000000 : 0;
}
