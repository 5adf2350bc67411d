/*
 * watchdog.c - ending processes that stand still with something that others want.
 *
 * A suspect is the end of a chain of waits: others wait for it, and it waits for nobody itself.
 * That alone is no fault: a checkpoint holds its lock for minutes, a transaction may be long.  So
 * what counts is whether it runs (life.h).  One whose counts stand still has not run at all.  One
 * that is ready to run is left alone, for it only has no processor; and so is one that sleeps in
 * uninterruptible I/O: it could not die, and its disk is what has to be seen to.
 *
 * A worker that was stopped is a suspect by itself: nobody waits for a checkpointer, but the log
 * grows until its disk is full.
 *
 * How long somebody has waited does not count: who gives up after half a second and asks again
 * waits for a stopped process all the same.
 *
 * INVARIANTS
 *   D1  A suspect is remembered with its slot's generation and its counts; if any has changed, or
 *       if there is one look at which nobody waits for it, the time begins anew.
 *   D2  Killed is only whose slot has the same generation and pid still.  Its pid cannot be
 *       another's: it is buried by the process that looks, and no earlier.
 */
#include "postmaster/watchdog.h"

#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "postmaster/life.h"
#include "shmem/proc.h"
#include "storage/collection/waitgraph.h"

#define BRIEF_NS ((int64_t)1000000000) /* a wait for a light lock: no fault */

struct suspect {
    uint64_t generation;
    uint64_t ran;
    int64_t since_ns;
    uint32_t look; /* the last one that suspected it */
    uint32_t waiters;
    struct waitgraph_wait wait; /* one of its waiters' */
};

static struct suspect *suspects; /* one a slot */
static uint32_t looks;

/* Does it wait for nobody but its client? */
static bool
is_end_of_chain(unsigned slot)
{
    struct waitgraph_wait waits;

    waitgraph_look(slot, &waits);
    return waits.wait != WAIT_CLIENT && (waits.wait == WAIT_NONE || waits.holder_count == 0);
}

static void
accuse(unsigned slot, const struct waitgraph_wait *wait)
{
    struct suspect *suspect = &suspects[slot];

    if (suspect->look != looks) {
        if (suspect->look + 1 != looks)
            suspect->since_ns = 0; /* not a suspect lately */
        suspect->look = looks;
        suspect->waiters = 0;
    }
    suspect->waiters++;
    suspect->wait = *wait;
}

static void
look_at_waiters(void)
{
    int64_t now_ns = clock_now_ns();
    unsigned end = proc_high_water();

    for (unsigned slot = 0; slot < end; slot++) {
        struct waitgraph_wait waits;

        if (atomic_load(&proc_at(slot)->wait) == WAIT_NONE || atomic_load(&proc_at(slot)->pid) == 0)
            continue;
        waitgraph_look(slot, &waits);
        /* Somebody is always waiting for a light lock, for microseconds: saves looking at those. */
        if (waits.wait == WAIT_LWLOCK && now_ns - waits.since_ns < BRIEF_NS)
            continue;
        for (unsigned i = 0; i < waits.holder_count; i++)
            if (waits.holder[i] != slot && is_end_of_chain(waits.holder[i]))
                accuse(waits.holder[i], &waits);
    }
}

/* Those that work for all, and have no reason ever to be stopped. */
static bool
is_worker(unsigned slot)
{
    switch ((enum proc_kind)atomic_load(&proc_at(slot)->kind)) {
    case PROC_CHECKPOINTER:
    case PROC_WAL_WRITER:
    case PROC_BUFFER_WRITER:
    case PROC_AUTOVACUUM:
        return true;
    default:
        return false;
    }
}

static void
look_at_workers(void)
{
    static const struct waitgraph_wait nobody = { .wait = WAIT_NONE };
    unsigned end = proc_high_water();

    for (unsigned slot = 0; slot < end; slot++) {
        pid_t pid = atomic_load(&proc_at(slot)->pid);
        struct life life;

        if (pid != 0 && is_worker(slot) && suspects[slot].look != looks && life_read(pid, &life) &&
            life.state == 'T') {
            accuse(slot, &nobody);
            suspects[slot].waiters = 0;
        }
    }
}

static void
say_why(unsigned slot, pid_t pid, const struct suspect *suspect, char state)
{
    char protocol[8], peer[PROC_TEXT_MAX] = "", verb[PROC_TEXT_MAX] = "";
    const char *title = proc_kind_title((enum proc_kind)atomic_load(&proc_at(slot)->kind));
    int64_t secs = (clock_now_ns() - suspect->since_ns) / 1000000000;

    if (!proc_read_text(proc_at(slot), protocol, peer, verb))
        peer[0] = verb[0] = '\0';
    if (suspect->waiters == 0)
        log_error("%s %ld has been stopped for %" PRId64
                  " s and does not do its work: it is killed",
            title, (long)pid, secs);
    else
        log_error("%s %ld (%s, \"%s\") has not run for %" PRId64 " s (state %c), and %" PRIu32
                  " processes wait for what it holds (%s%s%s): it is killed",
            title, (long)pid, peer, verb, secs, state, suspect->waiters,
            proc_wait_text(suspect->wait.wait), suspect->wait.where[0] != '\0' ? " " : "",
            suspect->wait.where);
}

static void
end_process(unsigned slot, pid_t pid, const struct suspect *suspect, char state)
{
    if (atomic_load(&proc_at(slot)->generation) != suspect->generation ||
        atomic_load(&proc_at(slot)->pid) != pid) /* D2 */
        return;
    say_why(slot, pid, suspect, state);
    (void)kill(pid, SIGKILL);
}

static void
judge(unsigned slot, int64_t timeout_ns)
{
    struct suspect *suspect = &suspects[slot];
    uint64_t generation = atomic_load(&proc_at(slot)->generation);
    pid_t pid = atomic_load(&proc_at(slot)->pid);
    int64_t now_ns = clock_now_ns();
    struct life life;

    if (pid == 0 || slot == proc_self->index || !life_read(pid, &life) || life.state == 'Z' ||
        life.state == 'D' || life.state == 'R')
        return;
    if (suspect->since_ns == 0 || suspect->generation != generation ||
        suspect->ran != life.ran) { /* D1 */
        suspect->generation = generation;
        suspect->ran = life.ran;
        suspect->since_ns = now_ns;
    } else if (now_ns - suspect->since_ns >= timeout_ns) {
        end_process(slot, pid, suspect, life.state);
        suspect->since_ns = 0;
    }
}

void
watchdog_look(int64_t timeout_ns)
{
    unsigned end = proc_high_water();

    if (timeout_ns == 0)
        return;
    if (suspects == NULL) {
        suspects = calloc(proc_count(), sizeof *suspects);
        looks = 1; /* no suspect's `look` */
    }
    if (suspects == NULL)
        return; /* no memory; later */
    looks++;
    look_at_waiters();
    look_at_workers();
    for (unsigned slot = 0; slot < end; slot++)
        if (suspects[slot].look == looks)
            judge(slot, timeout_ns);
}
