/*
 * children.c - the processes that the postmaster starts.
 *
 * A child is killed when the postmaster is gone: prctl asks the kernel for SIGUSR2 at the
 * parent's death, which raises INTERRUPT_TERMINATE, and a pipe that only the postmaster holds open
 * for writing ends every wait for clients.
 */
#include "postmaster/children.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "postmaster/title.h"

#define CHILDREN_FIRST 64

static const struct child_main *mains;
static void (*prepare_child)(enum child_kind kind);

static struct {
    struct child *child;
    size_t count, capacity;
    unsigned by_kind[CHILD_KIND_COUNT], zombies[CHILD_KIND_COUNT];
} list;

void
children_set_mains(const struct child_main table[CHILD_KIND_COUNT])
{
    mains = table;
}

const struct child_main *
children_main(enum child_kind kind)
{
    return &mains[kind];
}

void
children_set_prepare(void (*prepare)(enum child_kind kind))
{
    prepare_child = prepare;
}

static err_t
reserve_entry(void)
{
    size_t capacity = list.capacity > 0 ? list.capacity * 2 : CHILDREN_FIRST;
    struct child *more;

    if (list.count < list.capacity)
        return OK;
    more = realloc(list.child, capacity * sizeof *more);
    if (more == NULL)
        return err_set(ERR_MEMORY, "could not note another child process");
    list.child = more;
    list.capacity = capacity;
    return OK;
}

/* When memory runs out, a session is to die rather than the postmaster, or a worker whose death
   may restart all.  Anyone may make itself the more likely victim; what fails changes nothing. */
static void
offer_to_die_first(enum child_kind kind)
{
    static const char backend[] = "600", worker[] = "200";
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (kind == CHILD_BACKEND)
        (void)!write(fd, backend, sizeof backend - 1);
    else
        (void)!write(fd, worker, sizeof worker - 1);
    (void)close(fd);
}

static void __attribute__((noreturn))
live(enum child_kind kind, const struct child_env *env, pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGUSR2);
    if (getppid() != parent)
        _exit(1); /* it died before prctl */
    log_context.process = mains[kind].title;
    title_set(mains[kind].title);
    offer_to_die_first(kind);
    prepare_child(kind);
    _exit(mains[kind].run(env));
}

err_t
children_start(enum child_kind kind, const struct child_env *env)
{
    pid_t parent = getpid();
    pid_t pid;

    TRY_RETURN(reserve_entry());
    errno = EAGAIN;
    pid = fault_pass(FAULT_FORK) == FAULT_ERROR ? -1 : fork();
    if (pid < 0)
        return err_set(
            ERR_TOO_MANY, "could not start a %s: %s", mains[kind].title, strerror(errno));
    if (pid == 0)
        live(kind, env, parent);
    list.child[list.count++] = (struct child){
        .pid = pid, .kind = kind, .place = env->place, .started_ns = clock_now_ns()
    };
    list.by_kind[kind]++;
    return OK;
}

/* Has this one ended?  Leaves it a zombie. */
static bool
look_at(struct child *child)
{
    siginfo_t info = { .si_pid = 0 };

    if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid != child->pid)
        return false;
    child->ended = true;
    child->ended_ns = clock_now_ns();
    list.zombies[child->kind]++;
    child->by_signal = info.si_code != CLD_EXITED;
    child->code = info.si_status;
    return true;
}

bool
children_ended(struct child *ended)
{
    for (size_t i = 0; i < list.count; i++) {
        if (!list.child[i].ended && look_at(&list.child[i])) {
            *ended = list.child[i];
            return true;
        }
    }
    return false;
}

static struct child *
walk(size_t *at, bool ended)
{
    while (*at < list.count) {
        struct child *child = &list.child[(*at)++];

        if (child->ended == ended)
            return child;
    }
    return NULL;
}

struct child *
children_zombie(size_t *at)
{
    return walk(at, true);
}

struct child *
children_alive(size_t *at)
{
    return walk(at, false);
}

bool
children_release(pid_t pid, struct child *child)
{
    for (size_t i = 0; i < list.count; i++) {
        if (list.child[i].pid != pid)
            continue;
        (void)waitpid(pid, NULL, 0);
        *child = list.child[i];
        list.child[i] = list.child[--list.count];
        list.by_kind[child->kind]--;
        if (child->ended)
            list.zombies[child->kind]--;
        return true;
    }
    return false;
}

unsigned
children_count(enum child_kind kind)
{
    return list.by_kind[kind];
}

unsigned
children_living(enum child_kind kind)
{
    return list.by_kind[kind] - list.zombies[kind];
}

unsigned
children_count_all(void)
{
    return (unsigned)list.count;
}

void
children_signal(enum child_kind kind, int signal)
{
    for (size_t i = 0; i < list.count; i++)
        if (list.child[i].kind == kind && !list.child[i].ended)
            (void)kill(list.child[i].pid, signal);
}

void
children_signal_all(int signal)
{
    for (size_t i = 0; i < list.count; i++)
        if (!list.child[i].ended)
            (void)kill(list.child[i].pid, signal);
}
