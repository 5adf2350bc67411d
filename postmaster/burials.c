/*
 * burials.c - dead children, from their end until the undertaker has let go of what they held.
 *
 * INVARIANTS
 *   U1  An order is on its way, being carried out, or answered for exactly the zombies that are
 *       `ordered`, as long as the undertaker they were given to lives.
 *   U2  When it has died, what is left in either direction of the socket is thrown away before
 *       another is told anything: so an answer is always the living one's.
 *   U3  A dead undertaker is ordered before all others: what it held while it cleaned up must not
 *       stand in its successor's way.
 *   U4  Who died in a critical section is never ordered, and is seen at once: an undertaker may be
 *       waiting for it, and would do so for ever.
 */
#include "postmaster/burials.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "postmaster/children.h"
#include "postmaster/undertaker.h"

/* Longer than a census waits for one that stands. */
#define PATIENCE_NS   ((int64_t)10 * 1000000000)
#define STANDSTILL_NS ((int64_t)BURIALS_LOOK_MS * 1000000)
#define ORDERS_MAX    4u /* undertakers that may die over one child before everything is restarted */

static struct {
    int postmaster, undertaker; /* the two ends */
    unsigned expected;          /* answers */
    int64_t moved_ns;           /* when the last answer came; at first, when it was ordered */
    int64_t hurried_ns;         /* the same, or when the undertaker was replaced for it */
    bool replaced;              /* the one that is about to be found dead was */
} burials = { .postmaster = -1, .undertaker = -1 };

err_t
burials_open(void)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return err_set_errno("could not make the undertaker's socket");
    burials.postmaster = ends[0];
    burials.undertaker = ends[1];
    return OK;
}

int
burials_fd(void)
{
    return burials.postmaster;
}

int
burials_undertaker_fd(void)
{
    return burials.undertaker;
}

static bool
order(struct child *child)
{
    struct undertaker_order order = { child->pid, child->by_signal ? child->code : 0,
        child->orders > 0 };

    if (send(burials.postmaster, &order, sizeof order, MSG_DONTWAIT | MSG_NOSIGNAL) !=
        (ssize_t)sizeof order)
        return false; /* the socket is full: later */
    child->ordered = true;
    child->orders++;
    if (burials.expected++ == 0) {
        burials.hurried_ns = clock_now_ns();
        if (child->orders == 1)
            burials.moved_ns = burials.hurried_ns;
    }
    return true;
}

/* Those of this kind, or all others. */
static bool
order_some(bool undertakers)
{
    struct child *child;
    size_t at = 0;

    while ((child = children_zombie(&at)) != NULL)
        if (!child->ordered && (child->kind == CHILD_UNDERTAKER) == undertakers && !order(child))
            return false;
    return true;
}

void
burials_order(void)
{
    if (children_living(CHILD_UNDERTAKER) > 0 && order_some(true)) /* U3 */
        (void)order_some(false);
}

static void
drain(int fd)
{
    char bytes[64];

    while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
}

void
burials_take_back(void)
{
    struct child *child;
    size_t at = 0;

    drain(burials.postmaster); /* U2 */
    drain(burials.undertaker);
    while ((child = children_zombie(&at)) != NULL) {
        if (burials.replaced && child->ordered)
            child->orders--; /* it did not die over this one */
        child->ordered = false;
    }
    burials.replaced = false;
    burials.expected = 0;
}

enum burials_answer
burials_next(pid_t *pid)
{
    struct undertaker_report report;

    if (recv(burials.postmaster, &report, sizeof report, MSG_DONTWAIT) != (ssize_t)sizeof report)
        return BURIALS_NONE;
    if (burials.expected > 0)
        burials.expected--;
    burials.moved_ns = burials.hurried_ns = clock_now_ns();
    *pid = report.pid;
    return report.buried ? BURIALS_DONE : BURIALS_DOUBT;
}

/* A check of what an internal fault left cannot be begun a second time. */
static bool
is_at_a_check(void)
{
    const struct child *child;
    size_t at = 0;

    while ((child = children_zombie(&at)) != NULL)
        if (child->ordered && child->by_signal && undertaker_is_internal(child->code))
            return true;
    return false;
}

void
burials_hurry(void)
{
    int unread = 0;

    if (burials.expected == 0 || clock_now_ns() - burials.hurried_ns < STANDSTILL_NS ||
        ioctl(burials.undertaker, FIONREAD, &unread) != 0 || unread == 0 || is_at_a_check())
        return;
    log_info("the undertaker waits while others want to be cleaned up after; another takes over");
    children_signal(CHILD_UNDERTAKER, SIGKILL);
    burials.replaced = true;
    burials.hurried_ns = clock_now_ns();
}

bool
burials_expected(void)
{
    return burials.expected > 0;
}

/* Is it one that nobody can clean up after?  Asked once: if so, all are restarted. */
static bool
is_doomed(struct child *child)
{
    if (child->judged)
        return false;
    child->judged = true;
    return undertaker_must_refuse(child->pid);
}

bool
burials_hopeless(void)
{
    int64_t long_ago_ns = clock_now_ns() - PATIENCE_NS;
    struct child *child;
    size_t at = 0;

    while ((child = children_zombie(&at)) != NULL) {
        if (is_doomed(child)) /* U4 */
            return true;
        if (child->ended_ns < long_ago_ns && burials.moved_ns < long_ago_ns) {
            log_error("the undertaker does not answer");
            return true;
        }
        if (!child->ordered && child->orders >= ORDERS_MAX) {
            log_error("%u undertakers died while they cleaned up after process %ld", child->orders,
                (long)child->pid);
            return true;
        }
    }
    return false;
}
