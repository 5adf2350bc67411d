/*
 * title.h - what ps shows of a process.
 *
 * Overwrites the memory of argv and environment, as setproctitle does on BSD.
 */
#ifndef POSTMASTER_TITLE_H
#define POSTMASTER_TITLE_H

#include <stddef.h>

/* Once, before anything keeps pointers into the environment; copies the environment away. */
void title_init(int argc, char **argv);
/* "gneissd: <text>". */
void title_set(const char *text);
/* The same, of whose text the first `same` bytes are those of the last. */
void title_amend(const char *text, size_t same);

#endif
