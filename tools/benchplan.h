/*
 * benchplan.h - what `gneiss bench` does: workloads, and which document is next.
 *
 * Documents have numbers.  Those that were loaded are 0 … docs - 1; those that a run inserts begin
 * at a base that no other run has, so that runs may follow each other on one collection.  Every
 * ten of the loaded ones have a name in common, which is itself a number.
 * One thread.  No locks.
 */
#ifndef TOOLS_BENCHPLAN_H
#define TOOLS_BENCHPLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rand.h"

#define BENCHPLAN_NAMESAKES   10  /* documents of one name */
#define BENCHPLAN_RANGE_NAMES 26  /* names of a range: 260 documents */
#define BENCHPLAN_SCAN_LENGTH 100 /* documents of a scan; YCSB E: up to so many */

enum bench_kind {
    BENCH_GET,
    BENCH_INSERT,
    BENCH_UPDATE,
    BENCH_DELETE,
    BENCH_SCAN,
    BENCH_INDEX,
    BENCH_RANGE,
    /* What surrounds the work. */
    BENCH_BANNER,
    BENCH_HELLO,
    BENCH_LOGIN,
    BENCH_TOKEN,
    BENCH_USE,
    BENCH_DATABASE,
    BENCH_DROP,
    BENCH_COLLECTION,
    BENCH_MAKE_INDEX,
    BENCH_LOAD,
    BENCH_KIND_COUNT
};

struct bench_op {
    enum bench_kind kind;
    bool then_update; /* a read that is followed by an update of the same document */
    uint8_t age;      /* 10 … 99; a field's value */
    uint32_t length;  /* documents of a scan, or to be loaded; names of a range */
    uint32_t serial;  /* so that a reply can be told from another */
    uint64_t id;      /* the document's number, or the first one's */
    uint64_t name;    /* a document's, or the first of a range */
    int64_t began_ns;
};

struct benchplan_workload {
    const char *name;
    uint8_t get, insert, update, delete, scan, index, range, renew; /* per cent */
    bool latest;                                                    /* reads what was new */
    bool connects; /* every operation is a connection of its own */
    bool zipf;
};
const struct benchplan_workload *benchplan_find(const char *name); /* NULL: there is none */

/* Numbers below n, small ones more often: Gray et al., "Quickly Generating Billion-Record
   Synthetic Databases", SIGMOD 1994, as YCSB uses it, with theta 0.99. */
struct benchplan_zipf {
    uint64_t n;
    double alpha, zeta, eta, half;
};

#define BENCHPLAN_WINDOW 65536 /* inserts that are not acknowledged, at most */

struct benchplan {
    const struct benchplan_workload *workload;
    uint64_t docs, names; /* loaded, and how many names they have */
    uint64_t base;        /* number of the first document that this run inserts */
    uint64_t inserted;    /* given out */
    uint64_t known;       /* all before are acknowledged */
    uint64_t deleted;     /* given out */
    struct rand rand;
    struct benchplan_zipf zipf;
    uint8_t acknowledged[BENCHPLAN_WINDOW];
};

void benchplan_init(struct benchplan *plan, const struct benchplan_workload *workload,
    uint64_t docs, uint64_t seed);

/* The next operation.  False: there is nothing left to do (all documents are deleted). */
bool benchplan_next(struct benchplan *plan, struct bench_op *op);
/* It was acknowledged. */
void benchplan_done(struct benchplan *plan, const struct bench_op *op);

/* The name of a document. */
uint64_t benchplan_name(const struct benchplan *plan, uint64_t id);
/* How many loaded documents have a name of [name, name + names). */
uint64_t benchplan_namesakes(const struct benchplan *plan, uint64_t name, uint64_t names);

#endif
