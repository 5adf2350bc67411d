/*
 * mongo_debug.c - crashMe: this session's process dies, in the way that is asked for.  Only in
 * builds with fault points, and only if server.enable_test_commands says so.
 *
 *     {crashMe: "segv"}    at the next instruction that touches memory; so
 *      bus abort overflow  a bad access, abort(3), a stack without end
 *      kill stop exit      SIGKILL or SIGSTOP to itself; exit(0) with all that it holds
 *      panic               a broken invariant
 *      critical            a bad access inside a critical section
 *      scribble            a bad access after it has written over its own slot
 *
 * Sanitizers catch such signals to tell of them, so their handlers are taken away first.
 */
#ifdef GNEISS_FAULTS

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/command/mongo_fields.h"
#include "base/crit.h"
#include "base/log.h"
#include "base/panic.h"
#include "shmem/proc.h"

#define PAGE ((size_t)4096)

static void
touch_nothing(void)
{
    volatile char *nowhere = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    *nowhere = 1;
}

/* A page of a file that ends before it. */
static void
touch_beyond(void)
{
    int fd = memfd_create("empty", MFD_CLOEXEC);
    volatile char *beyond = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    *beyond = 1;
}

/* Deeper than any stack: 4 TiB. */
static unsigned
descend(unsigned depth)
{
    volatile unsigned char room[PAGE];

    room[0] = (unsigned char)depth;
    return depth > 0 ? descend(depth - 1) + room[0] : 0;
}

static void
overflow(void)
{
    log_warn("a stack without end had one: %u", descend(1u << 30));
}

static void
kill_self(void)
{
    (void)raise(SIGKILL);
}

static void
stop_self(void)
{
    (void)raise(SIGSTOP);
}

static void
leave(void)
{
    _exit(0);
}

static void
break_invariant(void)
{
    panic(__FILE__, __LINE__, "crashMe: \"panic\"");
}

static void
crash_critically(void)
{
    crit_begin();
    touch_nothing();
    crit_end();
}

static void
scribble(void)
{
    memset(proc_self->verb, 'x', sizeof proc_self->verb);
    touch_nothing();
}

static const struct {
    const char *name;
    void (*die)(void);
} ways[] = {
    { "segv", touch_nothing },
    { "bus", touch_beyond },
    { "abort", abort },
    { "overflow", overflow },
    { "kill", kill_self },
    { "stop", stop_self },
    { "exit", leave },
    { "panic", break_invariant },
    { "critical", crash_critically },
    { "scribble", scribble },
};

err_t
mongo_debug_crash(struct mongo_request *request, struct bsonbuild *reply)
{
    struct bytes wanted;

    (void)reply;
    TRY_RETURN(mongo_fields_parse(request, NULL, NULL));
    if (!request->client->config->enable_test_commands)
        return err_set(ERR_UNAUTHORIZED, "crashMe wants server.enable_test_commands = true");
    if (request->value.type != BSONTYPE_STRING)
        return err_set(ERR_TYPE_MISMATCH, "crashMe wants a string: the way to die");
    wanted = bsonvalue_string(&request->value);
    for (unsigned i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (!bytes_is(wanted, ways[i].name))
            continue;
        log_warn("crashMe: %s", ways[i].name);
        (void)signal(SIGSEGV, SIG_DFL);
        (void)signal(SIGBUS, SIG_DFL);
        (void)signal(SIGABRT, SIG_DFL);
        ways[i].die();
        return OK; /* it was stopped, and goes on */
    }
    return err_set(ERR_BAD_VALUE, "crashMe knows no way \"%.*s\"", (int)wanted.size,
        (const char *)wanted.data);
}

#endif
