/*
 * benchrun.h - the clients of `gneiss bench`: one thread drives all of them.
 *
 * Each client has as many requests under way as its pipeline allows: it sends them together, and
 * the next ones when all are answered.
 */
#ifndef TOOLS_BENCHRUN_H
#define TOOLS_BENCHRUN_H

#include "base/err.h"
#include "base/net.h"
#include "tools/benchtally.h"
#include "tools/benchwire.h"

struct benchrun_client;

struct benchrun {
    unsigned clients, pipeline, idle; /* idle: connections beside that say nothing */
    uint64_t count;                   /* operations; 0: `seconds` */
    double seconds;
    bool quiet;
    struct benchwire wire;
    struct benchtally tally;
    uint64_t begun, done, errors, documents;
    double took_secs;
    char why[160]; /* the first error */
    /* Its own. */
    struct net_address address;
    struct benchrun_client *client, *idler;
    int64_t began_ns, until_ns;
    uint32_t serial;
    int epoll_fd;
    bool exhausted; /* nothing is begun any more */
};

/* Errors of all: the server cannot be reached or breaks off, or refuses what the run needs. */
err_t benchrun_load(struct benchrun *run, bool indexed) MUST_CHECK; /* a new collection */
err_t benchrun_work(struct benchrun *run) MUST_CHECK;

#endif
