/*
 * title.c - what ps shows of a process.
 *
 * The kernel shows the bytes between the first argument and the end of the last; argv strings and
 * the environment lie one behind the other, so with the environment copied away there is room.
 */
#include "postmaster/title.h"

#include <stdlib.h>
#include <string.h>

static char *room;                        /* const after title_init */
static size_t room_size;                  /* const after title_init */
static size_t shown_size;                 /* what is not zero */
static char **kept __attribute__((used)); /* the copied environment, for leak checkers */

extern char **environ;

void
title_init(int argc, char **argv)
{
    char *end = argv[0] + strlen(argv[0]) + 1;
    char **copy;
    size_t count = 0;

    for (int i = 1; i < argc; i++)
        if (argv[i] == end)
            end = argv[i] + strlen(argv[i]) + 1;
    while (environ[count] != NULL)
        count++;
    copy = calloc(count + 1, sizeof *copy);
    if (copy == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        if (environ[i] == end)
            end = environ[i] + strlen(environ[i]) + 1;
        copy[i] = strdup(environ[i]);
        if (copy[i] == NULL) {
            free(copy);
            return;
        }
    }
    environ = kept = copy;
    room = argv[0];
    room_size = (size_t)(end - argv[0]);
    shown_size = room_size;
}

void
title_set(const char *text)
{
    title_amend(text, 0);
}

void
title_amend(const char *text, size_t same)
{
    static const char name[] = "gneissd: ";
    size_t size = same + strlen(text + same);

    if (room_size < sizeof name)
        return;
    if (size > room_size - sizeof name)
        size = room_size - sizeof name;
    if (same == 0)
        memcpy(room, name, sizeof name - 1);
    if (same < size)
        memcpy(room + sizeof name - 1 + same, text + same, size - same);
    size += sizeof name - 1;
    if (size < shown_size)
        memset(room + size, 0, shown_size - size);
    shown_size = size;
}
