/*
 * undertaker.c - cleaning up after a child that died.
 *
 * The order is that of a rollback: light locks and page locks, pages being read or written, pins,
 * then the transactions (their waiters wake), and the slot last of all, so that whoever looks at
 * the dead process's number still finds it taken while anything is left.  Each step may be done
 * twice: if the undertaker dies half-way outside a critical section, its successor cleans up after
 * it, then does the same again (the order of burials: postmaster/burials.c).
 *
 * WHAT IT MAY NOT TRUST: a slot with crit above 0 (something shared is half changed), and what a
 * process did that ended by an internal fault: it may have written anywhere.  Both are answered
 * "not buried".
 */
#include "postmaster/undertaker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/log.h"
#include "shmem/interrupt.h"
#include "shmem/latch.h"
#include "shmem/proc.h"
#include "storage/collection/catalog.h"
#include "storage/txn/txn.h"

bool
undertaker_is_internal(int signal)
{
    return signal == SIGSEGV || signal == SIGBUS || signal == SIGABRT || signal == SIGILL ||
           signal == SIGFPE || signal == SIGSYS || signal == SIGTRAP;
}

static err_t
clean_up(unsigned slot)
{
    TRY_RETURN(ledger_release_dead(slot));
    (void)fault_pass(FAULT_BURY_HELD);
    TRY_RETURN(txn_end_dead(slot));
    catalog_end_dead(slot);
    (void)fault_pass(FAULT_BURY_ENDED);
    proc_bury(slot);
    return OK;
}

static bool
bury(const struct undertaker_order *order, const char *crash_isolation)
{
    int slot = proc_find(order->pid);
    uint32_t crit;

    if (slot < 0)
        return true; /* it held nothing yet, or no longer: the usual end */
    crit = atomic_load(&proc_at((unsigned)slot)->crit);
    if (crit > 0) {
        log_error("process %ld died in the middle of a change", (long)order->pid);
        return false;
    }
    if (undertaker_is_internal(order->signal) && strcmp(crash_isolation, "fast") != 0) {
        log_error("process %ld died of an internal fault", (long)order->pid);
        return false;
    }
    if (clean_up((unsigned)slot) != OK) {
        log_error("could not clean up after process %ld: %s", (long)order->pid, err_message());
        return false;
    }
    log_warn("cleaned up after process %ld; other sessions go on", (long)order->pid);
    return true;
}

void
undertaker_run(int fd, const char *const *crash_isolation)
{
    while (!interrupt_pending(INTERRUPT_TERMINATE)) {
        struct undertaker_order order;
        struct undertaker_report report;
        ssize_t size;
        bool set;

        latch_clear();
        if (latch_wait_fd(fd, POLLIN, 0, &set) == 0)
            continue;
        size = recv(fd, &order, sizeof order, MSG_DONTWAIT);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (size != (ssize_t)sizeof order)
            return; /* the postmaster is gone */
        report = (struct undertaker_report){ order.pid, bury(&order, *crash_isolation) };
        if (send(fd, &report, sizeof report, MSG_NOSIGNAL) != (ssize_t)sizeof report)
            return;
    }
}
