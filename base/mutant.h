/*
 * mutant.h - leaving something out on purpose, to test the tests.
 *
 * base/lists/mutants.def names what can be left out.  Built with --enable-mutants, a process leaves
 * out the one that the environment names: GNEISS_MUTANT=LEFT_PIN.  Else every call here is false
 * and compiles to nothing.
 */
#ifndef BASE_MUTANT_H
#define BASE_MUTANT_H

#include <stdbool.h>

enum mutant {
    MUTANT_NONE = 0,
#define MUTANT(name, what) MUTANT_##name,
#include "base/lists/mutants.def"
#undef MUTANT
    MUTANT_COUNT
};

#ifdef GNEISS_MUTANTS
bool mutant(enum mutant which);
#else
static inline bool
mutant(enum mutant which)
{
    (void)which;
    return false;
}
#endif

#endif
