/*
 * crit.h - critical sections: shared memory is half changed, so nothing may fail.
 *
 * The depth lies where other processes can read it (in the process's slot, see
 * shmem/proc.h), so that whoever cleans up after a dead process knows whether it
 * died with something half done.
 */
#ifndef BASE_CRIT_H
#define BASE_CRIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where this process's depth is kept; NULL until crit_publish: in the private word. */
extern _Thread_local _Atomic uint32_t *crit_depth;
extern _Thread_local _Atomic uint32_t crit_depth_private;

static inline _Atomic uint32_t *
crit_word(void)
{
    return crit_depth != NULL ? crit_depth : &crit_depth_private;
}

/* From now on keep it in `*depth` (NULL: in the private word again).  Not inside a section. */
void crit_publish(_Atomic uint32_t *depth);

static inline void
crit_begin(void)
{
    _Atomic uint32_t *word = crit_word();

    atomic_store_explicit(
        word, atomic_load_explicit(word, memory_order_relaxed) + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* see crit.c */
}

static inline bool
crit_active(void)
{
    return atomic_load_explicit(crit_word(), memory_order_relaxed) > 0;
}

void crit_underflow(void) __attribute__((noreturn, cold));

static inline void
crit_end(void)
{
    _Atomic uint32_t *word = crit_word();
    uint32_t depth = atomic_load_explicit(word, memory_order_relaxed);

    if (depth == 0)
        crit_underflow();
    atomic_store_explicit(word, depth - 1, memory_order_release);
}

#endif
