/*
 * futex.h - sleeping in the kernel on a word of shared memory, between processes.
 *
 * Never FUTEX_PRIVATE: the words lie in memory that many processes map.
 */
#ifndef SHMEM_FUTEX_H
#define SHMEM_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>

#define FUTEX_ANY UINT32_MAX /* every class of sleepers */

/* Sleep while *word == seen, until woken for a class in `classes`, a signal, or `until_ns`
   (clock_now_ns; 0: for ever).  May return for no reason: look again. */
void futex_wait(const _Atomic uint32_t *word, uint32_t seen, uint32_t classes, int64_t until_ns);

/* Wake at most `most` sleepers of these classes.  Async-signal-safe. */
void futex_wake(const _Atomic uint32_t *word, int most, uint32_t classes);

#endif
