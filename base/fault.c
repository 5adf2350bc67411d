/*
 * fault.c - fault points.
 *
 * The table of points lies in memory that is shared with every process forked
 * later, so that "the third write of the log" means the third of the whole server,
 * and a point can be armed at run time for all.
 *
 * The text that arms:   name=action[:nth[:process-kind]],...
 *   name          as in base/lists/faults.def, in any case
 *   action        off error delay stop kill torn short eio enospc skip
 *   nth           act on the n-th pass from now on, once; "n+": on it and on every later one;
 *                 0 or left out: on every pass
 *   process-kind  count only passes of this kind ("backend"), or of the process with this number
 *                 ("4711"); left out: of all
 *
 * INVARIANTS
 *   P1  A point's `action` is stored last when it is armed and first when it is
 *       disarmed: who sees an action sees its nth and kind.
 *
 * IF A PROCESS DIES at a pass, nothing is half done: every word is written at once.
 */
#include "base/fault.h"

#ifdef GNEISS_FAULTS

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/delay.h"
#include "base/fault_malloc.h"
#include "base/log.h"

#define KIND_MAX 24

/* What makes sense at a point of each kind. */
#define STEP   "delay stop kill"
#define CRIT   STEP
#define ANY    STEP
#define ALLOC  STEP " error"
#define READ   STEP " eio short"
#define WRITE  STEP " eio enospc short torn"
#define SYNC   STEP " eio"
#define CALL   STEP " eio enospc"
#define MEMORY "error"

static const struct {
    const char *name, *kind, *what, *actions;
} table[FAULT_COUNT] = {
    { "NONE", "", "", "" },
#define FAULT(name, kind, what) { #name, #kind, what, kind },
#include "base/lists/faults.def"
#undef FAULT
};

struct point {
    _Atomic uint64_t passes;  /* guard: none, a counter */
    _Atomic uint64_t hits;    /* guard: none, a counter */
    _Atomic uint64_t counted; /* guard: none, passes of the kind since it was armed */
    _Atomic uint64_t nth;     /* guard: P1 */
    _Atomic bool onward;      /* guard: P1; the passes after the nth, too */
    _Atomic pid_t pid;        /* guard: P1; 0: any */
    _Atomic uint32_t action;  /* guard: P1 */
    char kind[KIND_MAX];      /* guard: P1; "" means all */
};

static struct point private_points[FAULT_COUNT]; /* used if there is no shared memory to be had */
static struct point *shared = private_points;    /* const after the constructor */

static const char *const action_names[] = { "off", "error", "delay", "stop", "kill", "torn",
    "short", "eio", "enospc", "skip" };
_Static_assert(sizeof action_names / sizeof *action_names == FAULT_ACTION_COUNT, "one each");

__attribute__((constructor)) static void
arm_from_environment(void)
{
    const char *text = getenv("GNEISS_FAULTS");
    void *memory = mmap(
        NULL, sizeof private_points, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory != MAP_FAILED)
        shared = memory;
    fault_malloc_begin();
    if (text != NULL && !fault_arm(text)) {
        (void)fprintf(stderr, "Error: GNEISS_FAULTS: could not understand '%s'\n", text);
        _exit(1);
    }
}

static bool
arm_one(char *text)
{
    char *action = strchr(text, '=');
    char *nth = action != NULL ? strchr(action, ':') : NULL;
    char *kind = nth != NULL ? strchr(nth + 1, ':') : NULL;
    unsigned long long count = 0;
    enum fault point = FAULT_NONE;
    size_t which = 0;
    bool onward = false;
    char *end;

    if (action == NULL)
        return false;
    *action++ = '\0';
    if (nth != NULL)
        *nth++ = '\0';
    if (kind != NULL)
        *kind++ = '\0';
    for (point = 1; point < FAULT_COUNT && strcasecmp(table[point].name, text) != 0; point++)
        ;
    while (which < FAULT_ACTION_COUNT && strcmp(action_names[which], action) != 0)
        which++;
    if (point == FAULT_COUNT || which == FAULT_ACTION_COUNT)
        return false;
    if (nth != NULL) {
        count = strtoull(nth, &end, 10);
        onward = end != nth && strcmp(end, "+") == 0;
        if (end == nth || (*end != '\0' && !onward))
            return false;
    }
    if (kind != NULL && strlen(kind) >= KIND_MAX)
        return false;
    atomic_store(&shared[point].action, FAULT_OFF);
    atomic_store(&shared[point].counted, 0);
    atomic_store(&shared[point].hits, 0);
    atomic_store(&shared[point].nth, count);
    atomic_store(&shared[point].onward, onward);
    atomic_store(&shared[point].pid, kind != NULL ? (pid_t)strtol(kind, NULL, 10) : 0);
    (void)snprintf(shared[point].kind, KIND_MAX, "%s", kind != NULL ? kind : "");
    atomic_store(&shared[point].action, (uint32_t)which); /* P1 */
    return true;
}

bool
fault_arm(const char *text)
{
    char copy[1024];
    char *rest = copy;
    char *one;

    if (strlen(text) >= sizeof copy)
        return false;
    (void)snprintf(copy, sizeof copy, "%s", text);
    while ((one = strsep(&rest, ",")) != NULL)
        if (*one != '\0' && !arm_one(one))
            return false;
    return true;
}

uint64_t
fault_passes(enum fault point)
{
    return atomic_load(&shared[point].passes);
}

uint64_t
fault_hits(enum fault point)
{
    return atomic_load(&shared[point].hits);
}

const char *
fault_name(enum fault point)
{
    return point < FAULT_COUNT ? table[point].name : "?";
}

const char *
fault_kind(enum fault point)
{
    return table[point].kind;
}

const char *
fault_what(enum fault point)
{
    return table[point].what;
}

const char *
fault_actions(enum fault point)
{
    return table[point].actions;
}

/* Is this a process whose passes count? */
static bool
is_meant(const struct point *point)
{
    const char *kind = log_context.process != NULL ? log_context.process : "";
    pid_t pid = atomic_load(&point->pid);

    if (pid != 0)
        return pid == getpid();
    return point->kind[0] == '\0' || strcmp(point->kind, kind) == 0;
}

/* Is it this pass that the point was armed for? */
static enum fault_action
action_now(struct point *point)
{
    enum fault_action action = atomic_load(&point->action);
    uint64_t nth, pass;

    if (action == FAULT_OFF || !is_meant(point))
        return FAULT_OFF;
    nth = atomic_load(&point->nth);
    pass = atomic_fetch_add(&point->counted, 1) + 1;
    if (nth == 0 || pass == nth || (pass > nth && atomic_load(&point->onward)))
        return action;
    return FAULT_OFF;
}

enum fault_action
fault_pass(enum fault point)
{
    const struct timespec delay = { .tv_nsec = 100000000 };
    enum fault_action action;

    if (point == FAULT_NONE)
        return FAULT_OFF;
    (void)atomic_fetch_add_explicit(&shared[point].passes, 1, memory_order_relaxed);
    delay_here();
    action = action_now(&shared[point]);
    if (action != FAULT_OFF)
        (void)atomic_fetch_add(&shared[point].hits, 1);
    switch (action) {
    case FAULT_DELAY:
        (void)nanosleep(&delay, NULL);
        return FAULT_OFF;
    case FAULT_STOP:
        (void)raise(SIGSTOP);
        return FAULT_OFF;
    case FAULT_KILL:
        (void)raise(SIGKILL);
        return FAULT_OFF;
    default:
        return action;
    }
}

err_t
fault_check(enum fault point)
{
    switch (fault_pass(point)) {
    case FAULT_ERROR:
        return err_set(ERR_INTERNAL, "could not go on: fault point %s", fault_name(point));
    case FAULT_EIO:
        return err_set(ERR_IO, "could not go on: fault point %s", fault_name(point));
    case FAULT_ENOSPC:
        return err_set(ERR_DISK_FULL, "could not go on: fault point %s", fault_name(point));
    default:
        return OK;
    }
}

#endif
