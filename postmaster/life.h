/*
 * life.h - whether a process runs, by what the kernel says of it.
 */
#ifndef POSTMASTER_LIFE_H
#define POSTMASTER_LIFE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct life {
    char state;   /* R, S, D (uninterruptible), T, t, Z … as in /proc */
    uint64_t ran; /* switches to it and ticks that it had: stands still if it does not run */
};

/* False: it is gone, or the kernel cannot be asked; its state is '?' then. */
bool life_read(pid_t pid, struct life *life);

#endif
