/*
 * fault_malloc.c - the fault point MALLOC: the n-th allocation fails.
 *
 * In builds with --enable-faults these definitions stand before libc's, for the house and for every
 * library in the process: who calls malloc, strdup, opendir or pcre2_compile passes the point.  A
 * program of a sanitizer goes on to the sanitizer's allocator, any other to libc's; free is theirs.
 * Nothing is counted before fault_malloc_begin: the loader and the sanitizer allocate earlier, the
 * latter before its own shadow of the memory is there, so what runs then is not instrumented.
 */
#include "base/fault_malloc.h"

#ifdef GNEISS_FAULTS

#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/sanitizer.h"

#if SANITIZER_ADDRESS || SANITIZER_THREAD
#define real_malloc  __interceptor_malloc
#define real_calloc  __interceptor_calloc
#define real_realloc __interceptor_realloc
#define real_aligned __interceptor_aligned_alloc
#else
#define real_malloc  __libc_malloc
#define real_calloc  __libc_calloc
#define real_realloc __libc_realloc
#define real_aligned __libc_memalign
#endif

extern void *real_malloc(size_t size);
extern void *real_calloc(size_t count, size_t size);
extern void *real_realloc(void *memory, size_t size);
extern void *real_aligned(size_t alignment, size_t size);

static bool begun; /* const after the constructor of fault.c */

void
fault_malloc_begin(void)
{
    begun = true;
}

static bool
fails_now(void)
{
    int saved = errno;

    if (fault_pass(FAULT_MALLOC) != FAULT_ERROR) {
        errno = saved;
        return false;
    }
    errno = ENOMEM;
    return true;
}

#ifdef __clang__
#define PLAIN \
    __attribute__((disable_sanitizer_instrumentation, no_sanitize("undefined", "coverage")))
#else
#define PLAIN
#endif

PLAIN static inline bool
fails(void)
{
    return begun && fails_now();
}

PLAIN void *
malloc(size_t size)
{
    return fails() ? NULL : real_malloc(size);
}

PLAIN void *
calloc(size_t count, size_t size)
{
    return fails() ? NULL : real_calloc(count, size);
}

PLAIN void *
realloc(void *memory, size_t size)
{
    return fails() ? NULL : real_realloc(memory, size);
}

PLAIN void *
aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : real_aligned(alignment, size);
}

#endif
