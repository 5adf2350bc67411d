/*
 * scoreboard.h - which backends are idle and which serve somebody.
 *
 * One word a backend, written by itself; the postmaster only reads.  A row belongs to a place that
 * the postmaster gave out at fork, and is cleared by it when the child is gone.
 */
#ifndef BACKEND_SESSION_SCOREBOARD_H
#define BACKEND_SESSION_SCOREBOARD_H

#include <stdbool.h>
#include <stdint.h>

#include "shmem/proc.h"
#include "shmem/region.h"

enum scoreboard_state {
    SCOREBOARD_EMPTY,
    SCOREBOARD_STARTING,
    SCOREBOARD_IDLE,
    SCOREBOARD_SILENT, /* has a connection that has not sent a whole request yet */
    SCOREBOARD_BUSY,   /* has a session */
    SCOREBOARD_ENDING
};

extern const struct region scoreboard_region;

unsigned scoreboard_places(void);
void scoreboard_set(unsigned place, enum scoreboard_state state);
enum scoreboard_state scoreboard_get(unsigned place);
/* The slot (shmem/proc.h) of the backend at this place; to end a silent session. */
void scoreboard_set_proc(unsigned place, unsigned proc_index);

struct scoreboard_sums {
    unsigned starting, idle, silent, busy;
};
void scoreboard_sum(struct scoreboard_sums *sums);

/* End the longest silent connection, if one has been silent for at least `least_ns`; true: one was
 * told to. */
bool scoreboard_evict_silent(int64_t least_ns);

#endif
