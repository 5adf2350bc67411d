/*
 * segment.h - the one piece of memory that all processes of a server share.
 *
 * Mapped before the first fork at one address for all; so pointers into it may be
 * shared, but whatever names a place in it for a third party uses its offset.
 * One segment a process at a time.
 */
#ifndef SHMEM_SEGMENT_H
#define SHMEM_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "shmem/region.h"

/* Make the segment, zeroed, with these regions in this order, and init each.
   `name`: of a POSIX object as shm_open wants it (the object is unlinked as soon as it is mapped,
   so that nothing can be left behind; children inherit the mapping); NULL: anonymous memory.
   Asks for huge pages by madvise: they are to be had for a named object if /dev/shm is mounted with
   huge=advise, for other memory as /sys/kernel/mm/transparent_hugepage says.  Errors: ERR_MEMORY
   with how much was asked for and what setting to lower. */
err_t segment_create(const struct region *const *regions, size_t count, const struct config *config,
    const char *name) MUST_CHECK;
/* The same for a process whose threads are all there is: memory of its own, which the children of
   a fork do not have.  Kernels give huge pages to such memory more readily than to shared. */
err_t segment_create_private(
    const struct region *const *regions, size_t count, const struct config *config) MUST_CHECK;

/* Zero everything and init again.  Only when no other process is attached. */
void segment_rebuild(const struct config *config);

void segment_destroy(void);

size_t segment_size(void);
/* First byte and first byte after; const while the segment is there. */
extern char *segment_begin, *segment_end;

void segment_stray(const void *pointer) __attribute__((noreturn, cold));

static inline bool
segment_holds(const void *pointer)
{
    return (const char *)pointer >= segment_begin && (const char *)pointer < segment_end;
}

static inline uint64_t
segment_offset(const void *pointer) /* the pointer must lie in the segment */
{
    if (__builtin_expect(!segment_holds(pointer), 0))
        segment_stray(pointer);
    return (uint64_t)((const char *)pointer - segment_begin);
}

static inline void *
segment_pointer(uint64_t offset)
{
    if (__builtin_expect(offset >= (uint64_t)(segment_end - segment_begin), 0))
        segment_stray(segment_begin + offset);
    return segment_begin + offset;
}

/* After an internal fault: is what nobody writes still empty?  Errors: ERR_INTERNAL. */
err_t segment_verify(void) MUST_CHECK;

/* For status and reports: name and size of each region. */
size_t segment_region_count(void);
const char *segment_region_name(size_t index, size_t *size);

#endif
