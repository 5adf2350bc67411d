/*
 * mutant.c - which mutant the environment names.
 */
#include "base/mutant.h"

#ifdef GNEISS_MUTANTS

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[MUTANT_COUNT] = {
    "NONE",
#define MUTANT(name, what) #name,
#include "base/lists/mutants.def"
#undef MUTANT
};

static enum mutant chosen; /* const after the constructor */

__attribute__((constructor)) static void
choose(void)
{
    const char *name = getenv("GNEISS_MUTANT");

    if (name == NULL || name[0] == '\0')
        return;
    while (chosen < MUTANT_COUNT && strcmp(names[chosen], name) != 0)
        chosen++;
    if (chosen == MUTANT_COUNT) {
        (void)fprintf(stderr, "Error: GNEISS_MUTANT: there is no mutant '%s'\n", name);
        _exit(1);
    }
}

bool
mutant(enum mutant which)
{
    return which == chosen;
}

#endif
