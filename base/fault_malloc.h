/*
 * fault_malloc.h - the fault point MALLOC.  Only base/fault.c calls this.
 */
#ifndef BASE_FAULT_MALLOC_H
#define BASE_FAULT_MALLOC_H

#ifdef GNEISS_FAULTS
void fault_malloc_begin(void); /* from now on allocations pass the point */
#endif

#endif
