/*
 * life.c - whether a process runs, by what the kernel says of it.
 *
 * How often it was switched to, and its time on a processor as well, for one that has a processor
 * to itself is not switched.
 */
#include "postmaster/life.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ticks that it had a processor: the 14th and 15th fields; the second may have blanks in it, and
   ends with the last parenthesis. */
static uint64_t
read_ticks(pid_t pid)
{
    char line[512], *at;
    uint64_t ticks = 0;
    FILE *stat;

    (void)snprintf(line, sizeof line, "/proc/%ld/stat", (long)pid);
    stat = fopen(line, "re");
    if (stat == NULL)
        return 0;
    at = fgets(line, sizeof line, stat) != NULL ? strrchr(line, ')') : NULL;
    for (unsigned field = 2; at != NULL && field < 14; field++)
        at = strchr(at + 1, ' ');
    if (at != NULL) {
        ticks = strtoull(at, &at, 10);
        ticks += strtoull(at, NULL, 10);
    }
    (void)fclose(stat);
    return ticks;
}

bool
life_read(pid_t pid, struct life *life)
{
    char line[256];
    FILE *status;

    *life = (struct life){ '?', read_ticks(pid) };
    (void)snprintf(line, sizeof line, "/proc/%ld/status", (long)pid);
    status = fopen(line, "re");
    if (status == NULL)
        return false;
    while (fgets(line, sizeof line, status) != NULL) {
        const char *count = strstr(line, "voluntary_ctxt_switches:");

        if (strncmp(line, "State:\t", 7) == 0)
            life->state = line[7];
        else if (count != NULL)
            life->ran += strtoull(strchr(count, ':') + 1, NULL, 10);
    }
    (void)fclose(status);
    return true;
}
