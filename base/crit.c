/*
 * crit.c - critical sections.
 *
 * The release fence in crit_begin orders the raised depth before every later store
 * of the section, and the release store in crit_end orders the section before the
 * lowered depth: whoever sees a half-done change also sees a depth above 0.
 */
#include "base/crit.h"

#include <stddef.h>

#include "base/panic.h"

_Thread_local _Atomic uint32_t *crit_depth;
_Thread_local _Atomic uint32_t crit_depth_private;

void
crit_publish(_Atomic uint32_t *depth)
{
    invariant(!crit_active());
    crit_depth = depth;
}

void
crit_underflow(void)
{
    panic(__FILE__, __LINE__, "crit_end without crit_begin");
}
