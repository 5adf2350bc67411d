/*
 * latch.c - sleeping until somebody wants something of this process.
 *
 * Form of a slot's `latch`: SET, ASLEEP (on the futex), POLLING (in ppoll or recv, wants a signal).
 *
 * INVARIANTS
 *   T1  A setter that finds ASLEEP or POLLING wakes; one that finds SET too wakes all the same, for
 *       the setter before it may have died between its two steps.
 *   T2  The own process sets ASLEEP or POLLING before it looks at SET for the last time.  The futex
 *       compares; ppoll lets the signal in, which is blocked from before the look.
 *   T3  A receive has no such mask, and to block the signal would be a system call more.  So its
 *       handler makes the socket non-blocking: a receive that has not begun yet then returns at
 *       once, for the kernel looks at its beginning; one that sleeps is ended by the signal itself.
 *
 * IF A PROCESS DIES between setting a latch and waking its owner, latch_mend (from proc_bury) wakes
 * whoever sleeps on a latch that is set.  A dead sleeper's bits are cleared with its slot.
 */
#include "shmem/latch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/delay.h"
#include "base/panic.h"
#include "shmem/futex.h"

#define SET     1u
#define ASLEEP  2u
#define POLLING 4u

#define SLICE_NS 20000000 /* how often a poll without the signal looks at the latch */

static bool signal_used; /* by this process and the children it forks */
/* guard: the only thread and its handler */
static volatile sig_atomic_t receiving_fd = -1; /* the socket of a receive */
static volatile sig_atomic_t turned;            /* it was made non-blocking */

/* It ends a ppoll or a receive. */
static void
end_wait(int number)
{
    int saved = errno;
    int fd = (int)receiving_fd;

    (void)number;
    if (fd >= 0) {
        (void)fcntl(fd, F_SETFL, O_NONBLOCK); /* T3 */
        turned = 1;
    }
    errno = saved;
}

void
latch_use_signal(void)
{
    struct sigaction action = { .sa_handler = end_wait };

    (void)sigemptyset(&action.sa_mask);
    invariant(sigaction(SIGUSR1, &action, NULL) == 0);
    signal_used = true;
}

static void
wake(struct proc *proc, uint32_t bits)
{
    int saved = errno; /* this may be a signal handler */

    if ((bits & ASLEEP) != 0)
        futex_wake(&proc->latch, INT_MAX, FUTEX_ANY);
    if ((bits & POLLING) != 0) {
        pid_t pid = atomic_load(&proc->pid);
        pid_t tid = atomic_load(&proc->tid);

        if (pid > 0 && tid > 0)
            (void)syscall(SYS_tgkill, pid, tid, SIGUSR1);
    }
    errno = saved;
}

void
latch_set(struct proc *proc)
{
    uint32_t old = atomic_fetch_or(&proc->latch, SET);

    if ((old & (ASLEEP | POLLING)) != 0)
        wake(proc, old); /* T1 */
}

void
latch_mend(void)
{
    unsigned end = proc_high_water();

    for (unsigned i = 0; i < end; i++) {
        struct proc *proc = proc_at(i);
        uint32_t bits = atomic_load(&proc->latch);

        if ((bits & SET) != 0 && (bits & (ASLEEP | POLLING)) != 0)
            wake(proc, bits);
    }
}

void
latch_clear(void)
{
    /* seq_cst: what is looked at after this is looked at after the clearing. */
    (void)atomic_fetch_and(&proc_self->latch, ~SET);
}

bool
latch_wait(int64_t until_ns)
{
    _Atomic uint32_t *latch = &proc_self->latch;

    for (;;) {
        uint32_t old = atomic_load(latch);

        if ((old & SET) != 0)
            return true;
        if (until_ns != 0 && clock_now_ns() >= until_ns)
            return false;
        if (!atomic_compare_exchange_strong(latch, &old, old | ASLEEP))
            continue;
        futex_wait(latch, old | ASLEEP, FUTEX_ANY, until_ns); /* T2 */
        (void)atomic_fetch_and(latch, ~ASLEEP);
    }
}

/* Keep the signal out; the mask that was. */
static void
block_signal(sigset_t *before)
{
    sigset_t blocked;

    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &blocked, before);
}

/* ppoll until `until_ns` at most, woken by SIGUSR1 where that is used; the ready bits. */
static int
poll_once(int fd, short events, int64_t until_ns, bool at_once)
{
    struct pollfd poll_fd = { .fd = fd, .events = events };
    struct timespec timeout = { 0, 0 };
    int64_t rest = INT64_MAX;
    static const sigset_t none; /* server processes take every signal while they poll */

    if (until_ns != 0)
        rest = until_ns - clock_now_ns();
    if (!signal_used && rest > SLICE_NS)
        rest = SLICE_NS;
    if (rest < 0 || at_once)
        rest = 0;
    timeout.tv_sec = rest / 1000000000;
    timeout.tv_nsec = rest % 1000000000;
    if (ppoll(&poll_fd, 1, rest == INT64_MAX ? NULL : &timeout, signal_used ? &none : NULL) <= 0)
        return 0;
    return poll_fd.revents;
}

int
latch_wait_fd(int fd, short events, int64_t until_ns, bool *set)
{
    _Atomic uint32_t *latch = &proc_self->latch;
    sigset_t before;
    int ready;

    if (signal_used)
        block_signal(&before); /* T2 */
    do {
        uint32_t old = atomic_fetch_or(latch, POLLING);

        ready = poll_once(fd, events, until_ns, (old & SET) != 0);
        *set = (atomic_fetch_and(latch, ~POLLING) & SET) != 0;
    } while (ready == 0 && !*set && (until_ns == 0 || clock_now_ns() < until_ns));
    if (signal_used)
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ready;
}

ssize_t
latch_receive(int fd, void *to, size_t size, bool *set)
{
    _Atomic uint32_t *latch = &proc_self->latch;
    ssize_t got;
    uint32_t old;
    int error;

    invariant(signal_used);
    receiving_fd = fd;
    old = atomic_fetch_or(latch, POLLING); /* T2 */
    delay_here();
    got = recv(fd, to, size, (old & SET) != 0 ? MSG_DONTWAIT : 0);
    error = errno;
    *set = (atomic_fetch_and(latch, ~POLLING) & SET) != 0;
    receiving_fd = -1;
    if (turned != 0) {
        turned = 0;
        (void)fcntl(fd, F_SETFL, 0);
    }
    errno = error;
    return got;
}
