/*
 * undertaker.c - cleaning up after a child that died.
 *
 * The order is that of a rollback: light locks and page locks, pages being read or written, pins,
 * then the transactions (their waiters wake), and the slot last of all, so that whoever looks at
 * the dead process's number still finds it taken while anything is left.  Each step may be done
 * twice: if the undertaker dies half-way outside a critical section, its successor cleans up after
 * it, then does the same again (the order of burials: postmaster/burials.c).
 *
 * Ending a transaction may want what another dead process holds.  So the locks of all that it was
 * told of are let go of before the first transaction is ended; who dies while it waits is not
 * among them, and then it is replaced (burials_hurry), and its successor told of both.
 *
 * WHAT IT MAY NOT TRUST: a slot with crit above 0 (something shared is half changed), for which
 * there is no order; and what a process did that ended by an internal fault, for it may have
 * written anywhere: server.crash_isolation says what is done then.
 *   verify  what can be checked is (verify.h), and cleaned up if nothing is odd
 *   fast    cleaned up
 *   strict  "not buried"
 */
#include "postmaster/undertaker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mutant.h"
#include "postmaster/verify.h"
#include "postmaster/watchdog.h"
#include "shmem/interrupt.h"
#include "shmem/latch.h"
#include "shmem/proc.h"
#include "storage/collection/catalog.h"
#include "storage/txn/txn.h"

#define LOOK_NS        ((int64_t)1000000000)
#define ORDERS_AT_ONCE 64u

bool
undertaker_is_internal(int signal)
{
    return signal == SIGSEGV || signal == SIGBUS || signal == SIGABRT || signal == SIGILL ||
           signal == SIGFPE || signal == SIGSYS || signal == SIGTRAP;
}

bool
undertaker_must_refuse(pid_t pid)
{
    int slot = proc_find(pid);

    if (slot < 0 || atomic_load(&proc_at((unsigned)slot)->crit) == 0 || mutant(MUTANT_LEFT_CRIT))
        return false;
    log_error("process %ld died in the middle of a change", (long)pid);
    return true;
}

static err_t
clean_up(unsigned slot)
{
    TRY_RETURN(ledger_release_dead(slot));
    (void)fault_pass(FAULT_BURY_HELD);
    TRY_RETURN(txn_end_dead(slot));
    catalog_end_dead(slot);
    (void)fault_pass(FAULT_BURY_ENDED);
    return OK;
}

/* Clean up after an internal fault, if nothing is odd before and afterwards.  A check that was
   begun by another cannot be gone on with: what was pinned is known only before the cleaning. */
static err_t
clean_up_verified(unsigned slot, bool again)
{
    struct verify_pins pins;

    if (again)
        return err_set(ERR_INTERNAL, "the check of what it left was not finished");
    TRY_RETURN(verify_held(slot, &pins));
    TRY_RETURN(clean_up(slot));
    return verify_left(slot, &pins);
}

/* After an internal fault outside a critical section. */
static err_t
clean_up_by_policy(unsigned slot, bool again, const char *crash_isolation)
{
    if (strcmp(crash_isolation, "strict") == 0)
        return err_set(ERR_INTERNAL, "server.crash_isolation is strict");
    if (strcmp(crash_isolation, "fast") == 0)
        return clean_up(slot);
    return clean_up_verified(slot, again);
}

static bool
bury(const struct undertaker_order *order, const char *crash_isolation)
{
    int slot = proc_find(order->pid);
    err_t err;

    if (slot < 0)
        return true; /* it held nothing yet, or no longer: the usual end */
    err = undertaker_is_internal(order->signal)
              ? clean_up_by_policy((unsigned)slot, order->again, crash_isolation)
              : clean_up((unsigned)slot);
    if (err != OK) {
        log_error("will not clean up after process %ld: %s", (long)order->pid, err_message());
        return false;
    }
    proc_bury((unsigned)slot);
    log_warn("cleaned up after process %ld; other sessions go on", (long)order->pid);
    return true;
}

/* Nobody is to wait for a dead process's locks while the transactions of others are ended.  What a
   process with an internal fault holds is looked at first, unless that does not matter. */
static void
unlock(const struct undertaker_order *order, const char *crash_isolation)
{
    int slot = proc_find(order->pid);

    if (slot < 0 || (undertaker_is_internal(order->signal) && strcmp(crash_isolation, "fast") != 0))
        return;
    if (ledger_unlock_dead((unsigned)slot) != OK)
        log_debug(
            "unlocking for process %ld: %s", (long)order->pid, err_message()); /* bury tells */
}

/* The orders that are there; false: the postmaster is gone. */
static bool
receive(int fd, struct undertaker_order *orders, size_t *count)
{
    for (*count = 0; *count < ORDERS_AT_ONCE; (*count)++) {
        ssize_t size = recv(fd, &orders[*count], sizeof *orders, MSG_DONTWAIT);

        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (size != (ssize_t)sizeof *orders)
            return false;
    }
    return true;
}

/* False: the postmaster is gone. */
static bool
tell(int fd, pid_t pid, enum undertaker_progress progress)
{
    struct undertaker_report report = { pid, (int)progress };

    return send(fd, &report, sizeof report, MSG_NOSIGNAL) == (ssize_t)sizeof report;
}

static bool
serve(int fd, const struct config *config)
{
    struct undertaker_order orders[ORDERS_AT_ONCE];
    size_t count;

    if (!receive(fd, orders, &count))
        return false;
    for (size_t i = 0; i < count; i++)
        unlock(&orders[i], config->server_crash_isolation);
    for (size_t i = 0; i < count; i++) {
        enum undertaker_progress end;

        if (!tell(fd, orders[i].pid, UNDERTAKER_BEGUN))
            return false;
        end =
            bury(&orders[i], config->server_crash_isolation) ? UNDERTAKER_BURIED : UNDERTAKER_DOUBT;
        if (!tell(fd, orders[i].pid, end))
            return false;
    }
    return true;
}

void
undertaker_run(int fd, const struct config *config, void (*reload)(void))
{
    int64_t look_ns = 0;

    while (!interrupt_pending(INTERRUPT_TERMINATE)) {
        bool set;

        latch_clear();
        if (interrupt_take(INTERRUPT_RELOAD))
            reload();
        if (clock_now_ns() >= look_ns) {
            watchdog_look(config->server_lock_holder_timeout_secs * 1000000000);
            look_ns = clock_now_ns() + LOOK_NS;
        }
        if (latch_wait_fd(fd, POLLIN, look_ns, &set) != 0 && !serve(fd, config))
            return;
    }
}
