/*
 * fault.h - fault points: places where a test makes something go wrong.
 *
 * base/lists/faults.def names them.  Without --enable-faults every call here
 * compiles to nothing.  With it, a point can be armed (by environment
 * GNEISS_FAULTS="name=action[:nth[:process-kind]],…", base/fault.c, or by command) with an action.
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum fault {
    FAULT_NONE = 0,
#define FAULT(name, kind, what) FAULT_##name,
#include "base/lists/faults.def"
#undef FAULT
    FAULT_COUNT
};

enum fault_action {
    FAULT_OFF,
    FAULT_ERROR,  /* the call fails as an internal error; an allocation: there is no memory */
    FAULT_DELAY,  /* 100 ms */
    FAULT_STOP,   /* SIGSTOP to itself */
    FAULT_KILL,   /* SIGKILL to itself */
    FAULT_TORN,   /* a write stops half-way, then SIGKILL */
    FAULT_SHORT,  /* a write or read yields fewer bytes */
    FAULT_EIO,    /* errno EIO */
    FAULT_ENOSPC, /* errno ENOSPC */
    FAULT_SKIP,   /* a sync is left out and said to be done: for a test of the tests */
    FAULT_ACTION_COUNT
};

#ifdef GNEISS_FAULTS
/* Count a pass; carries out DELAY, STOP and KILL itself, returns the others to the caller. */
enum fault_action fault_pass(enum fault point);
/* Arm from a text as in the environment; false: malformed.  See base/fault.c. */
bool fault_arm(const char *text);
uint64_t fault_passes(enum fault point);
uint64_t fault_hits(enum fault point); /* how often its action was carried out since it was armed */
/* A pass that may fail: ERR_INTERNAL, ERR_IO or ERR_DISK_FULL by action. */
err_t fault_check(enum fault point) MUST_CHECK;
const char *fault_name(enum fault point);
const char *fault_kind(enum fault point); /* "STEP", "CRIT", … */
const char *fault_what(enum fault point);
const char *fault_actions(enum fault point); /* those that make sense there, by blanks */
#else
static inline enum fault_action
fault_pass(enum fault point)
{
    (void)point;
    return FAULT_OFF;
}
static inline err_t MUST_CHECK
fault_check(enum fault point)
{
    (void)point;
    return OK;
}
static inline const char *
fault_name(enum fault point)
{
    (void)point;
    return "";
}
#endif

#endif
