/*
 * proc.h - the slot of a process: all that others may want to know of it.
 *
 * A slot is taken by proc_attach and given back by proc_detach (or, when the process died, by
 * proc_bury, last of all).  Its number stands for the process in lock words, ledgers and tables.
 * The embedded library gives one to each of its threads' sessions, unit tests to each thread.
 */
#ifndef SHMEM_PROC_H
#define SHMEM_PROC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "shmem/counters.h"
#include "shmem/ledger.h"
#include "shmem/region.h"

enum proc_kind {
#define PROCKIND(name, title, most) name,
#include "base/lists/prockinds.def"
#undef PROCKIND
    PROC_KIND_COUNT
};

enum proc_wait {
#define WAIT(name, text) name,
#include "base/lists/waits.def"
#undef WAIT
    WAIT_COUNT
};

enum proc_state { PROC_FREE, PROC_STARTING, PROC_IDLE, PROC_BUSY, PROC_ENDING };

#define PROC_TEXT_MAX 96

/* guard: own process, unless said otherwise; others only read (relaxed).  Aligned to 64. */
struct proc {
    _Atomic uint32_t state;       /* enum proc_state */
    _Atomic int32_t pid;          /* 0: free; a slot is taken by one compare-and-swap of this */
    _Atomic int32_t tid;          /* of the thread */
    _Atomic uint32_t kind;        /* enum proc_kind */
    _Atomic uint64_t generation;  /* +1 each time the slot is freed */
    _Atomic uint32_t crit;        /* depth of critical sections (base/crit.h) */
    _Atomic uint32_t interrupts;  /* bits of enum interrupt; guard: atomic or/and by anyone */
    _Atomic uint32_t latch;       /* bits, see latch.c; a futex; guard: atomic, set by anyone */
    _Atomic uint32_t wait;        /* enum proc_wait */
    _Atomic uint64_t wait_object; /* what it waits for: an xid, a segment offset, a buffer … */
    _Atomic int64_t wait_since_ns;
    uint32_t index; /* own number; const after init */
    uint32_t pad;
    _Alignas(64) _Atomic uint64_t ledger[LEDGER_MAX];      /* shmem/ledger.c */
    _Alignas(64) _Atomic uint64_t counters[COUNTER_COUNT]; /* shmem/counters.c */
    /* What the session is, for titles and currentOp.  Written by the own process under
       `text_version` odd; readers retry. */
    _Alignas(64) _Atomic uint32_t text_version;
    char protocol[8];
    char peer[PROC_TEXT_MAX];
    char verb[PROC_TEXT_MAX];         /* the command being run and what it names */
    _Atomic int64_t session_since_ns; /* 0: no session */
    _Atomic int64_t verb_since_ns;    /* 0: no command running */
    _Atomic uint64_t requests;
};

extern const struct region proc_region;

/* This process's slot; NULL before proc_attach.  Const between attach and detach. */
extern _Thread_local struct proc *proc_self;

/* Slots there are: max_connections, spare backends, auxiliary processes and a reserve. */
unsigned proc_count(void);
unsigned proc_high_water(void); /* no slot at or above this number has ever been used */
struct proc *proc_at(unsigned index);

/* Take a slot.  Kinds of which there are a few at most have slots of their own.  Errors:
 * ERR_TOO_MANY. */
err_t proc_attach(enum proc_kind kind) MUST_CHECK;
/* Give it back.  The ledger must be empty, crit 0, no interrupts wanted any more. */
void proc_detach(void);
/* A thread that serves several sessions in turn (embedded library): switch.  NULL: none. */
void proc_use(struct proc *proc);

/* Give back the slot of a process that is certainly dead, after all it held was released.
   Panics if its ledger is not empty.  Also wakes whoever the dead process had set the latch of, but
   not yet woken. */
void proc_bury(unsigned index);

/* After an internal fault: is the dead process's slot a possible one?  Errors: ERR_INTERNAL. */
err_t proc_verify(unsigned index) MUST_CHECK;

/* Has the process in this slot certainly ended (a zombie has)?  A free slot's has. */
bool proc_is_dead(unsigned index);
/* The slot of this process, or -1: for whoever knows a dead child's pid. */
int proc_find(pid_t pid);

void proc_set_state(enum proc_state state); /* shown in the title by the next proc_describe */
/* What session this is; a peer begins its time, "" ends it.  This and what follows sets the process
   title through the hook below, of whose text the first `same` bytes are those of the last. */
void proc_describe(const char *protocol, const char *peer);
/* The command that is being run, and what it names.  Begins its time and counts a request. */
void proc_begin_command(const char *verb);
void proc_end_command(void);
void proc_set_title_hook(void (*set_title)(const char *text, size_t same));
/* A consistent copy of another slot's texts; false: it kept changing. */
bool proc_read_text(
    const struct proc *proc, char protocol[8], char peer[PROC_TEXT_MAX], char verb[PROC_TEXT_MAX]);

/* Say what this process waits for, and that it no longer does.  Who waits for the same thing again
   within WAIT_AGAIN_NS has not stopped waiting: the time goes on. */
#define WAIT_AGAIN_NS 200000000
void proc_wait_begin(enum proc_wait wait, uint64_t object);
void proc_wait_end(void);

/* Print what this process is and does and holds, for a panic's report.  Async-signal-safe. */
void proc_report(int fd);

/* Where counters.c keeps what counters_reset subtracts. */
_Atomic uint64_t *proc_counters_base(void);

const char *proc_kind_title(enum proc_kind kind);
const char *proc_wait_text(enum proc_wait wait);

#endif
