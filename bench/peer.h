/*
 * peer.h - the face that every store in this process shows.
 *
 * A program of bench/ is linked with one peer_NAME.c, which implements all of this for one store;
 * so there is one store a process, and nothing stands between the loop that measures and the
 * store.  What fails ends the program (die.h).
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bench/documents.h"

#define PEER_CACHE ((uint64_t)1 << 30) /* bytes of cache that each store may have */

/* The tables of a store; PEER_INDEXED has an index on age, the others have none. */
enum peer_table { PEER_DOCS, PEER_INDEXED, PEER_GROW, PEER_TABLES };

struct peer_document {
    int64_t id;
    int32_t age;
    const void *data;
    size_t size;
};

/* What a reader was given.  `room` belongs to the caller. */
struct peer_seen {
    uint8_t *room;
    uint64_t documents, bytes;
    int64_t ids; /* sum of their _id */
};

/* A document that is the caller's already. */
static inline void
peer_count(struct peer_seen *seen, const void *data, size_t size)
{
    int64_t id;

    memcpy(&id, (const uint8_t *)data + DOCUMENTS_ID_AT, sizeof id);
    seen->documents++;
    seen->bytes += size;
    seen->ids += id;
}

/* A document that lies in the store's memory: it becomes the caller's by being copied. */
static inline void
peer_take(struct peer_seen *seen, const void *data, size_t size)
{
    memcpy(seen->room, data, size);
    peer_count(seen, seen->room, size);
}

/* Tables that are not there are made; `cache` bytes of memory. */
void peer_open(const char *directory, uint64_t cache);
void peer_close(void);
/* Whether a commit waits for the disk; at first it does. */
void peer_set_durable(bool durable);
/* Put the store in order after it was filled, as its manual advises. */
void peer_settle(void);

/* One commit for all of them. */
void peer_insert(enum peer_table table, const struct peer_document *documents, size_t count);
void peer_get(enum peer_table table, int64_t id, struct peer_seen *seen);
void peer_scan(enum peer_table table, struct peer_seen *seen);
/* Of PEER_INDEXED, by the index: low <= age <= high. */
void peer_range(int32_t low, int32_t high, struct peer_seen *seen);
void peer_set_age(enum peer_table table, int64_t id, int32_t age); /* one commit */
void peer_delete(enum peer_table table, int64_t id);               /* one commit */

#endif
