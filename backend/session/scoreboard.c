/*
 * scoreboard.c - which backends are idle and which serve somebody.
 *
 * INVARIANTS
 *   B1  A row is written by the process that has the place; only the postmaster, when that
 *       process is gone, sets it to EMPTY.
 */
#include "backend/session/scoreboard.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/panic.h"
#include "shmem/interrupt.h"

struct row {
    _Atomic uint32_t state;      /* enum scoreboard_state; guard: B1 */
    _Atomic uint32_t proc_index; /* guard: B1 */
    _Atomic int64_t since_ns;    /* of the state; guard: B1 */
};
struct scoreboard {
    uint32_t places; /* const after init */
    uint32_t pad;
    struct row row[];
};
static struct scoreboard *shared;

static uint32_t
places_for(const struct config *config)
{
    return (uint32_t)(config->server_max_connections + config->server_spare_backends_max);
}

static size_t
region_size(const struct config *config)
{
    return sizeof *shared + places_for(config) * sizeof(struct row);
}

static void
region_init(void *zeroed, const struct config *config)
{
    shared = zeroed;
    shared->places = places_for(config);
}

const struct region scoreboard_region = { "scoreboard", region_size, region_init };

unsigned
scoreboard_places(void)
{
    return shared->places;
}

void
scoreboard_set(unsigned place, enum scoreboard_state state)
{
    struct row *row = &shared->row[place];

    invariant(place < shared->places);
    atomic_store_explicit(&row->since_ns, clock_now_ns(), memory_order_relaxed);
    atomic_store_explicit(&row->state, (uint32_t)state, memory_order_release);
}

enum scoreboard_state
scoreboard_get(unsigned place)
{
    return (enum scoreboard_state)atomic_load_explicit(
        &shared->row[place].state, memory_order_acquire);
}

void
scoreboard_set_proc(unsigned place, unsigned proc_index)
{
    atomic_store_explicit(&shared->row[place].proc_index, proc_index, memory_order_relaxed);
}

void
scoreboard_sum(struct scoreboard_sums *sums)
{
    *sums = (struct scoreboard_sums){ 0 };
    for (unsigned i = 0; i < shared->places; i++) {
        switch (scoreboard_get(i)) {
        case SCOREBOARD_STARTING:
            sums->starting++;
            break;
        case SCOREBOARD_IDLE:
            sums->idle++;
            break;
        case SCOREBOARD_SILENT:
            sums->silent++;
            break;
        case SCOREBOARD_BUSY:
            sums->busy++;
            break;
        case SCOREBOARD_EMPTY:
        case SCOREBOARD_ENDING:
            break;
        }
    }
}

bool
scoreboard_evict_silent(int64_t least_ns)
{
    int64_t oldest_ns = clock_now_ns() - least_ns;
    struct row *oldest = NULL;

    for (unsigned i = 0; i < shared->places; i++) {
        struct row *row = &shared->row[i];
        int64_t since_ns = atomic_load_explicit(&row->since_ns, memory_order_relaxed);

        if (scoreboard_get(i) == SCOREBOARD_SILENT && since_ns <= oldest_ns) {
            oldest = row;
            oldest_ns = since_ns;
        }
    }
    if (oldest == NULL)
        return false;
    interrupt_raise(
        proc_at(atomic_load_explicit(&oldest->proc_index, memory_order_relaxed)), INTERRUPT_CANCEL);
    return true;
}
