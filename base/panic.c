/*
 * panic.c - stopping at once.
 *
 * The critical depth is raised for good before anything else: whoever cleans up after dead
 * processes then knows that shared memory, or the disk, is not to be trusted, wherever this one
 * stood, and restarts everything.
 */
#include "base/panic.h"

#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crit.h"

#define FRAMES_MAX  48
#define REPORT_SECS 5

static void (*reporter)(int fd);

void
panic_set_reporter(void (*report)(int fd))
{
    reporter = report;
}

void
panic(const char *file, int line, const char *why)
{
    static _Thread_local int depth;
    void *frames[FRAMES_MAX] = { NULL };
    char text[1200];
    int size;

    if (depth++ > 0)
        abort(); /* the report itself failed */
    crit_begin();
    /* Where nobody reads stderr the report is cut short, and the signal ends the process. */
    (void)signal(SIGALRM, SIG_DFL);
    (void)alarm(REPORT_SECS);
    size = snprintf(text, sizeof text, "PANIC %s:%d: %s\n", file, line, why);
    if (size > (int)sizeof text - 1)
        size = (int)sizeof text - 1;
    (void)!write(STDERR_FILENO, text, (size_t)size);
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), STDERR_FILENO);
    if (reporter != NULL)
        reporter(STDERR_FILENO);
    abort();
}
