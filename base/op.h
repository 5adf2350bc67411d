/*
 * op.h - what comes down the house with a request.
 */
#ifndef BASE_OP_H
#define BASE_OP_H

#include <stdint.h>

#include "base/arena.h"

struct op {
    struct arena *arena;    /* the request's memory; reset by whoever began the request */
    int64_t deadline_ns;    /* clock_now_ns() at which it must end; 0: none */
    int64_t waits_since_ns; /* when it first had to wait for another transaction; 0: never yet */
    const char *verb;       /* for titles, currentOp and reports; static text */
};

#endif
