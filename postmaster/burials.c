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
 *   U5  The death of an undertaker counts against the one child that it had begun with and not
 *       buried: however many others wait, it did not die over them.
 *
 * PATIENCE  An undertaker that waits can say nothing, so it is looked at while anybody is to be
 * buried, and time counts only in which it could have got on:
 *   not  while none lives: if none can be forked now, none can be after a restart;
 *   not  while it waits for the disk, or if any child has done so ever since the look before, or
 *        was ready to run and had no processor: perhaps that is whom it waits for.  A restart would
 *        want the same disk and the same processor.
 * If it was stopped, time counts whatever the others do.  So a slow disk and a busy machine cost
 * nobody a session, and an undertaker that is stopped, runs in circles or waits for what will never
 * come is replaced (burials_hurry) or despaired of.  Where the kernel cannot be asked, all time
 * counts.
 */
#include "postmaster/burials.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/log.h"
#include "postmaster/children.h"
#include "postmaster/life.h"
#include "postmaster/undertaker.h"

#define LOOK_NS       ((int64_t)BURIALS_LOOK_MS * 1000000)
#define STANDSTILL_NS (2 * LOOK_NS)
/* Longer than a census waits for one that stands. */
#define PATIENCE_NS   ((int64_t)10 * 1000000000)
#define DEATHS_MAX    4u  /* of undertakers over one child */
#define FRUITLESS_MAX 16u /* that die in a row */

static struct {
    int postmaster, undertaker; /* the two ends */
    pid_t begun;                /* U5; 0: with none */
    bool waiting;               /* there was a zombie at the last look */
    bool stands;                /* the undertaker could have run and did not want to */
    bool replaced;              /* the one that is about to be found dead was */
    unsigned fruitless;         /* undertakers that died since somebody was buried */
    int64_t looked_ns;
    int64_t silent_ns;     /* that counts: since the undertaker last said anything */
    int64_t unanswered_ns; /* and since it was done with anybody but its predecessors */
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

/* ---- orders ---- */

static bool
order(struct child *child)
{
    struct undertaker_order order = { child->pid, child->by_signal ? child->code : 0,
        child->deaths > 0 };

    if (send(burials.postmaster, &order, sizeof order, MSG_DONTWAIT | MSG_NOSIGNAL) !=
        (ssize_t)sizeof order)
        return false; /* the socket is full: later */
    child->ordered = true;
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

/* ---- what the undertaker says ---- */

/* NULL: it is no zombie. */
static struct child *
find(pid_t pid)
{
    struct child *child;
    size_t at = 0;

    while ((child = children_zombie(&at)) != NULL)
        if (child->pid == pid)
            return child;
    return NULL;
}

static bool
receive(struct undertaker_report *report)
{
    const struct child *child;

    if (recv(burials.postmaster, report, sizeof *report, MSG_DONTWAIT) != (ssize_t)sizeof *report)
        return false;
    burials.silent_ns = 0;
    burials.begun = report->pid;
    if (report->progress != UNDERTAKER_BURIED)
        return true;
    burials.begun = 0;
    burials.fruitless = 0;
    child = find(report->pid);
    if (child != NULL && child->kind != CHILD_UNDERTAKER)
        burials.unanswered_ns = 0;
    return true;
}

enum burials_answer
burials_next(pid_t *pid)
{
    struct undertaker_report report;

    while (receive(&report)) {
        if (report.progress == UNDERTAKER_BEGUN)
            continue;
        *pid = report.pid;
        return report.progress == UNDERTAKER_BURIED ? BURIALS_DONE : BURIALS_DOUBT;
    }
    return BURIALS_NONE;
}

/* ---- undertakers that die ---- */

/* Is the undertaker at a check of what an internal fault left?  It cannot be begun twice. */
static bool
is_at_a_check(void)
{
    const struct child *child = burials.begun != 0 ? find(burials.begun) : NULL;

    return child != NULL && child->by_signal && undertaker_is_internal(child->code);
}

/* U2; the last that it said is taken note of. */
static void
take_all_back(void)
{
    struct undertaker_report report;
    char bytes[64];
    struct child *child;
    size_t at = 0;

    while (receive(&report))
        ;
    while (recv(burials.undertaker, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
    while ((child = children_zombie(&at)) != NULL)
        child->ordered = false;
    burials.silent_ns = 0;
    burials.stands = false;
}

void
burials_take_back(void)
{
    struct child *child;

    take_all_back();
    child = burials.begun != 0 ? find(burials.begun) : NULL;
    if (child != NULL && (!burials.replaced || is_at_a_check()))
        child->deaths++; /* U5 */
    if (!burials.replaced)
        burials.fruitless++;
    burials.begun = 0;
    burials.replaced = false;
}

void
burials_forget(void)
{
    take_all_back();
    burials.begun = 0;
    burials.replaced = false;
    burials.waiting = false;
    burials.fruitless = 0;
}

/* ---- undertakers that do not get on ---- */

/* Would it have run, or got its page, had there been a processor or a disk for it? */
static bool
is_kept(const struct life *before, const struct life *now)
{
    return before->ran == now->ran && (before->state == 'R' || before->state == 'D') &&
           (now->state == 'R' || now->state == 'D');
}

/* Could the undertaker have got on since the look before?  Sets `stands`. */
static bool
time_counts(void)
{
    struct child *child;
    size_t at = 0;
    bool kept = false, stopped, waits;
    char state = 'Z';

    while ((child = children_alive(&at)) != NULL) {
        struct life life;

        (void)life_read(child->pid, &life); /* or its state is '?' */
        kept = kept || is_kept(&child->looked, &life);
        child->looked = life;
        if (child->kind == CHILD_UNDERTAKER)
            state = life.state;
    }
    stopped = state == 'T' || state == 't';
    waits = state == 'S' || state == '?';
    burials.stands = stopped || (waits && !kept);
    return burials.stands || (state == 'R' && !kept);
}

void
burials_look(int64_t now_ns)
{
    bool waited = burials.waiting;
    int64_t since_ns = now_ns - burials.looked_ns;

    burials.waiting = children_zombie(&(size_t){ 0 }) != NULL;
    if (!waited || !burials.waiting) {
        burials.looked_ns = now_ns;
        burials.silent_ns = burials.unanswered_ns = 0;
    } else if (since_ns >= LOOK_NS) {
        burials.looked_ns = now_ns;
        if (since_ns >= 2 * LOOK_NS)
            since_ns = LOOK_NS; /* the postmaster itself has had no processor */
        if (!time_counts())
            return;
        burials.silent_ns += since_ns;
        burials.unanswered_ns += since_ns;
    }
}

void
burials_hurry(void)
{
    int unread = 0;

    if (burials.silent_ns < STANDSTILL_NS || !burials.stands || is_at_a_check() ||
        ioctl(burials.undertaker, FIONREAD, &unread) != 0 || unread == 0)
        return;
    log_info("the undertaker waits while others want to be cleaned up after; another takes over");
    children_signal(CHILD_UNDERTAKER, SIGKILL);
    burials.replaced = true;
    burials.silent_ns = 0;
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
    struct child *child;
    size_t at = 0;

    while ((child = children_zombie(&at)) != NULL) {
        if (is_doomed(child)) /* U4 */
            return true;
        if (child->deaths >= DEATHS_MAX) {
            log_error("%u undertakers died while they cleaned up after process %ld", child->deaths,
                (long)child->pid);
            return true;
        }
    }
    if (burials.fruitless >= FRUITLESS_MAX)
        log_error("%u undertakers died and cleaned up after nobody", burials.fruitless);
    else if (burials.unanswered_ns >= PATIENCE_NS)
        log_error("the undertaker does not answer");
    else
        return false;
    return true;
}
