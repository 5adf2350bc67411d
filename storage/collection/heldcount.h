/*
 * heldcount.h - what is held in shared memory at this moment, counted.
 *
 * On a server that rests, all of it is 0 but the slots: for tests of what a dead process leaves
 * behind.  Nothing is locked meanwhile, so on a busy server the numbers are of different moments.
 */
#ifndef STORAGE_COLLECTION_HELDCOUNT_H
#define STORAGE_COLLECTION_HELDCOUNT_H

#include <stdint.h>

struct heldcount {
    uint64_t locks;        /* light locks, by the ledgers */
    uint64_t pins;         /* by the ledgers */
    uint64_t pins_counted; /* the same by the buffers: more means that a pin is nobody's */
    uint64_t io;           /* buffers being read or written */
    uint64_t places; /* of parked or several transactions, and held snapshots, by the ledgers */
    uint64_t transactions; /* that have a number and have not ended */
    uint64_t snapshots;    /* that hold vacuum back, those of open cursors among them */
    uint64_t critical;     /* processes in a critical section */
    uint64_t slots;        /* taken */
    uint64_t slots_dead;   /* taken by a process that is no more */
    uint64_t graves;       /* dropped files that wait for their last readers */
};

/* Looks at every slot and every buffer. */
void heldcount(struct heldcount *counts);

#endif
