/*
 * uptime.h - how long the server has been there.
 */
#ifndef BACKEND_COMMAND_UPTIME_H
#define BACKEND_COMMAND_UPTIME_H

#include <stdint.h>

#include "shmem/region.h"

extern const struct region uptime_region;

/* Whole seconds since shared memory was made; 0 where nobody gave this region its place (the
   embedded library). */
int64_t uptime_secs(void);

#endif
