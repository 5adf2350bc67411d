/*
 * proc.c - slots.
 *
 * Form: kinds of which there are a few at most have slots of their own, first in the table; so an
 * auxiliary process always finds its place.  The rest is for backends and embedded sessions.
 *
 * INVARIANTS
 *   S1  A slot is taken by changing `pid` from 0 to the own pid in one step, and given back by
 *       storing 0 there last of all.  So a slot is never half taken without saying by whom.
 *   S2  While `pid` is not 0, only that process writes the slot (but for the atomics that say
 *       otherwise); after its death only the undertaker does.
 *   S3  A slot given back has an empty ledger and crit 0; its generation has grown.
 *   S4  `text_version` is odd while texts are being written.
 *
 * IF A PROCESS DIES in proc_attach, its pid stands in the slot and its ledger is empty: proc_bury.
 * Writing texts: readers give up until proc_bury.  In proc_detach: the same as anywhere else.
 */
#include "shmem/proc.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crit.h"
#include "base/fault.h"
#include "base/mutant.h"
#include "base/panic.h"
#include "shmem/latch.h"
#include "shmem/lwlock.h"

#define RESERVE                                                                      \
    32 /* slots beyond those of backends, for auxiliary processes and the unforeseen \
        */
#define READ_TRIES 100

_Static_assert(_Alignof(struct proc) == 64, "slots share no cache line");

static struct {
    unsigned count;
    _Atomic uint32_t high_water; /* guard: atomic, only grows */
    _Atomic uint64_t counters_base[COUNTER_COUNT];
    _Alignas(64) struct proc slots[];
} * shared; /* mapped before any fork, then const */

_Thread_local struct proc *proc_self;
static void (*title_hook)(const char *text, size_t same);
static char title[2 * PROC_TEXT_MAX + 64]; /* " " and the last that was handed out */
static size_t title_fixed;                 /* up to the verb; not 0 once one was handed out */

static const struct {
    const char *title;
    unsigned most;
} kinds[] = {
#define PROCKIND(name, title, most) { title, most },
#include "base/lists/prockinds.def"
#undef PROCKIND
};
static const char *const wait_texts[] = {
#define WAIT(name, text) text,
#include "base/lists/waits.def"
#undef WAIT
};

static unsigned
slots_wanted(const struct config *config)
{
    return (unsigned)(config->server_max_connections + config->server_spare_backends_max) + RESERVE;
}

static size_t
region_size(const struct config *config)
{
    return sizeof *shared + slots_wanted(config) * sizeof(struct proc);
}

static void
region_init(void *zeroed, const struct config *config)
{
    shared = zeroed;
    shared->count = slots_wanted(config);
    for (unsigned i = 0; i < shared->count; i++)
        shared->slots[i].index = i;
    lwlock_set_undo();
    panic_set_reporter(proc_report);
}

const struct region proc_region = { "process slots", region_size, region_init };

unsigned
proc_count(void)
{
    return shared->count;
}

unsigned
proc_high_water(void)
{
    return atomic_load_explicit(&shared->high_water, memory_order_acquire);
}

struct proc *
proc_at(unsigned index)
{
    invariant(index < shared->count);
    return &shared->slots[index];
}

_Atomic uint64_t *
proc_counters_base(void)
{
    return shared->counters_base;
}

/* The slots that this kind may have: first and one after the last. */
static void
slots_of(enum proc_kind kind, unsigned *first, unsigned *end)
{
    unsigned own = 0;

    for (unsigned i = 0; i < kind; i++)
        own += kinds[i].most;
    *first = own;
    *end = own + kinds[kind].most;
    if (kinds[kind].most == 0) {
        for (unsigned i = kind; i < PROC_KIND_COUNT; i++)
            own += kinds[i].most;
        *first = own;
        *end = shared->count;
    }
}

static void
raise_high_water(unsigned index)
{
    uint32_t old = atomic_load(&shared->high_water);

    while (old <= index && !atomic_compare_exchange_weak(&shared->high_water, &old, index + 1))
        ;
}

void
proc_use(struct proc *proc)
{
    invariant(lwlock_none_held());
    proc_self = proc;
    ledger_use(proc != NULL ? proc->ledger : NULL);
    counters_own = proc != NULL ? proc->counters : NULL;
    crit_publish(proc != NULL ? &proc->crit : NULL);
}

err_t
proc_attach(enum proc_kind kind)
{
    unsigned first;
    unsigned end;

    invariant(kind < PROC_KIND_COUNT && proc_self == NULL);
    TRY_RETURN(fault_check(FAULT_SLOT_TAKE));
    slots_of(kind, &first, &end);
    for (unsigned i = first; i < end; i++) {
        struct proc *proc = &shared->slots[i];
        int32_t nobody = 0;

        if (atomic_load_explicit(&proc->pid, memory_order_relaxed) != 0)
            continue;
        raise_high_water(i); /* first: else nobody looks for who dies behind the next line */
        if (!atomic_compare_exchange_strong(&proc->pid, &nobody, getpid())) /* S1 */
            continue;
        (void)fault_pass(FAULT_SLOT_TAKEN);
        atomic_store(&proc->tid, (int32_t)syscall(SYS_gettid));
        atomic_store(&proc->kind, kind);
        atomic_store(&proc->state, PROC_STARTING);
        proc_use(proc);
        return OK;
    }
    return err_set(ERR_TOO_MANY,
        "could not take a process slot: all %u for processes of kind \"%s\" are in use",
        end - first, kinds[kind].title);
}

/* Empty the texts; also what a dead writer left half done.  S4 */
static void
clear_texts(struct proc *proc)
{
    uint32_t version = atomic_load(&proc->text_version);

    atomic_store(&proc->text_version, version | 1);
    __atomic_store_n(&proc->protocol[0], '\0', __ATOMIC_RELEASE);
    __atomic_store_n(&proc->peer[0], '\0', __ATOMIC_RELEASE);
    __atomic_store_n(&proc->verb[0], '\0', __ATOMIC_RELEASE);
    atomic_store(&proc->text_version, (version | 1) + 1);
}

static void
give_back(struct proc *proc)
{
    for (unsigned i = 0; i < LEDGER_MAX; i++)
        invariant(atomic_load_explicit(&proc->ledger[i], memory_order_relaxed) == 0); /* S3 */
    clear_texts(proc);
    atomic_store(&proc->crit, 0);
    atomic_store(&proc->interrupts, 0);
    atomic_store(&proc->latch, 0);
    atomic_store(&proc->wait, WAIT_NONE);
    atomic_store(&proc->wait_object, 0);
    atomic_store(&proc->wait_since_ns, 0);
    atomic_store(&proc->session_since_ns, 0);
    atomic_store(&proc->verb_since_ns, 0);
    atomic_store(&proc->requests, 0);
    atomic_store(&proc->tid, 0);
    atomic_store(&proc->state, PROC_FREE);
    if (!mutant(MUTANT_LEFT_GENERATION))
        atomic_fetch_add(&proc->generation, 1);
    atomic_store(&proc->pid, 0); /* S1 */
}

void
proc_detach(void)
{
    struct proc *proc = proc_self;

    invariant(proc != NULL && ledger_empty() && !crit_active());
    atomic_store(&proc->state, PROC_ENDING);
    proc_use(NULL);
    give_back(proc);
}

void
proc_bury(unsigned index)
{
    struct proc *proc = proc_at(index);

    invariant(proc != proc_self);
    if (atomic_load(&proc->pid) != 0 && !mutant(MUTANT_LEFT_SLOT))
        give_back(proc);
    latch_mend();
}

err_t
proc_verify(unsigned index)
{
    const struct proc *proc = proc_at(index);

    if (proc->index != index || atomic_load(&proc->kind) >= PROC_KIND_COUNT ||
        atomic_load(&proc->wait) >= WAIT_COUNT || atomic_load(&proc->state) > PROC_ENDING ||
        proc->protocol[sizeof proc->protocol - 1] != '\0' ||
        proc->peer[PROC_TEXT_MAX - 1] != '\0' || proc->verb[PROC_TEXT_MAX - 1] != '\0')
        return err_set(ERR_INTERNAL, "slot %u is damaged", index);
    return OK;
}

bool
proc_is_dead(unsigned index)
{
    struct proc *proc = proc_at(index);
    pid_t pid = atomic_load(&proc->pid);
    pid_t tid = atomic_load(&proc->tid);
    struct pollfd ended = { .fd = -1, .events = POLLIN };
    bool dead;

    if (pid == 0)
        return true;
    if (pid == getpid()) /* a thread of the embedded library, or this process */
        return tid != 0 && syscall(SYS_tgkill, pid, tid, 0) != 0 && errno == ESRCH;
    /* A pidfd of a zombie is readable, while kill(2) finds it alive. */
    ended.fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (ended.fd < 0)
        return errno == ESRCH;
    dead = poll(&ended, 1, 0) > 0;
    (void)close(ended.fd);
    return dead;
}

int
proc_find(pid_t pid)
{
    unsigned end = proc_high_water();

    for (unsigned i = 0; pid != 0 && i < end; i++)
        if (atomic_load(&shared->slots[i].pid) == pid)
            return (int)i;
    return -1;
}

/* Append " text" unless it is empty; by hand, because this is done twice a request. */
static char *
append_word(char *end, const char *text)
{
    if (text[0] == '\0')
        return end;
    *end++ = ' ';
    while (*text != '\0')
        *end++ = *text++;
    return end;
}

/* Hand out the title with the verb that is there now. */
static void
show_verb(void)
{
    if (title_hook == NULL)
        return;
    *append_word(title + title_fixed, proc_self->verb) = '\0';
    title_hook(title + 1, title_fixed - 1);
}

/* Compose and hand out "backend 127.0.0.1:5123 find" or "backend idle". */
static void
show_title(void)
{
    char *end = title;

    if (title_hook == NULL)
        return;
    end = append_word(end, proc_kind_title((enum proc_kind)atomic_load(&proc_self->kind)));
    if (proc_self->peer[0] == '\0' && proc_self->verb[0] == '\0' &&
        atomic_load(&proc_self->state) == PROC_IDLE)
        end = append_word(end, "idle");
    end = append_word(end, proc_self->peer);
    title_fixed = (size_t)(end - title);
    *append_word(end, proc_self->verb) = '\0';
    title_hook(title + 1, 0);
}

void
proc_set_state(enum proc_state state)
{
    invariant(proc_self != NULL && state != PROC_FREE);
    atomic_store_explicit(&proc_self->state, state, memory_order_relaxed);
}

/*
 * A seqlock without fences: every byte is stored with release after the odd version, and loaded
 * with acquire before the version is looked at again.  On x86 these are plain moves.
 */
static void
put_text(char *to, size_t size, const char *from)
{
    size_t length = strnlen(from, size - 1);

    for (size_t i = 0; i < length; i++)
        __atomic_store_n(&to[i], from[i], __ATOMIC_RELEASE);
    __atomic_store_n(&to[length], '\0', __ATOMIC_RELEASE);
}

static void
get_text(char *to, size_t size, const char *from)
{
    size_t i = 0;

    while (i + 1 < size && (to[i] = __atomic_load_n(&from[i], __ATOMIC_ACQUIRE)) != '\0')
        i++;
    to[i] = '\0';
}

/* S4: begin and end writing texts. */
static uint32_t
open_texts(struct proc *proc)
{
    uint32_t version = atomic_load_explicit(&proc->text_version, memory_order_relaxed);

    atomic_store_explicit(&proc->text_version, version + 1, memory_order_relaxed);
    return version;
}

static void
close_texts(struct proc *proc, uint32_t version)
{
    atomic_store_explicit(&proc->text_version, version + 2, memory_order_release);
}

void
proc_describe(const char *protocol, const char *peer)
{
    struct proc *proc = proc_self;
    uint32_t version;

    invariant(proc != NULL);
    version = open_texts(proc);
    put_text(proc->protocol, sizeof proc->protocol, protocol);
    put_text(proc->peer, sizeof proc->peer, peer);
    put_text(proc->verb, sizeof proc->verb, "");
    close_texts(proc, version);
    atomic_store_explicit(
        &proc->session_since_ns, peer[0] != '\0' ? clock_now_ns() : 0, memory_order_relaxed);
    atomic_store_explicit(&proc->verb_since_ns, 0, memory_order_relaxed);
    show_title();
}

void
proc_begin_command(const char *verb)
{
    struct proc *proc = proc_self;
    uint32_t version = open_texts(proc);

    put_text(proc->verb, sizeof proc->verb, verb);
    close_texts(proc, version);
    atomic_store_explicit(&proc->verb_since_ns, clock_now_ns(), memory_order_relaxed);
    atomic_store_explicit(&proc->requests,
        atomic_load_explicit(&proc->requests, memory_order_relaxed) + 1, memory_order_relaxed);
    show_verb();
}

void
proc_end_command(void)
{
    struct proc *proc = proc_self;
    uint32_t version = open_texts(proc);

    put_text(proc->verb, sizeof proc->verb, "");
    close_texts(proc, version);
    atomic_store_explicit(&proc->verb_since_ns, 0, memory_order_relaxed);
    show_verb();
}

void
proc_set_title_hook(void (*set_title)(const char *text, size_t same))
{
    title_hook = set_title;
}

bool
proc_read_text(
    const struct proc *proc, char protocol[8], char peer[PROC_TEXT_MAX], char verb[PROC_TEXT_MAX])
{
    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t before = atomic_load_explicit(&proc->text_version, memory_order_acquire);

        if ((before & 1) != 0)
            continue;
        get_text(protocol, sizeof proc->protocol, proc->protocol);
        get_text(peer, PROC_TEXT_MAX, proc->peer);
        get_text(verb, PROC_TEXT_MAX, proc->verb);
        if (atomic_load_explicit(&proc->text_version, memory_order_relaxed) == before)
            return true;
    }
    return false;
}

static _Thread_local int64_t wait_ended_ns; /* of the last wait */

void
proc_wait_begin(enum proc_wait wait, uint64_t object)
{
    static _Thread_local enum proc_wait last;
    int64_t now_ns;

    if (proc_self == NULL)
        return;
    if (wait == WAIT_CLIENT) { /* nobody asks since when, and each request begins with one */
        atomic_store_explicit(&proc_self->wait, wait, memory_order_relaxed);
        return;
    }
    now_ns = clock_now_ns();
    if (wait != last || now_ns - wait_ended_ns > WAIT_AGAIN_NS ||
        atomic_load_explicit(&proc_self->wait_object, memory_order_relaxed) != object)
        atomic_store_explicit(&proc_self->wait_since_ns, now_ns, memory_order_relaxed);
    last = wait;
    /* In this order: who reads the object finds the wait before it over. */
    atomic_store_explicit(&proc_self->wait_object, object, memory_order_release);
    atomic_store_explicit(&proc_self->wait, wait, memory_order_release);
}

void
proc_wait_end(void)
{
    if (proc_self == NULL)
        return;
    if (atomic_load_explicit(&proc_self->wait, memory_order_relaxed) != WAIT_CLIENT)
        wait_ended_ns = clock_now_ns();
    atomic_store_explicit(&proc_self->wait, WAIT_NONE, memory_order_relaxed);
}

void
proc_report(int fd)
{
    char line[2 * PROC_TEXT_MAX + 160];
    int size;

    if (proc_self == NULL)
        return;
    size = snprintf(line, sizeof line,
        "  slot %u (%s), critical depth %u, verb \"%s\", waits for \"%s\"\n", proc_self->index,
        proc_kind_title((enum proc_kind)atomic_load(&proc_self->kind)),
        atomic_load(&proc_self->crit), proc_self->verb,
        proc_wait_text((enum proc_wait)atomic_load(&proc_self->wait)));
    if (size > 0 &&
        write(fd, line, (size_t)size < sizeof line ? (size_t)size : sizeof line - 1) >= 0)
        ledger_report(fd);
}

const char *
proc_kind_title(enum proc_kind kind)
{
    return kind < PROC_KIND_COUNT ? kinds[kind].title : "unknown";
}

const char *
proc_wait_text(enum proc_wait wait)
{
    return wait < WAIT_COUNT ? wait_texts[wait] : "unknown";
}
