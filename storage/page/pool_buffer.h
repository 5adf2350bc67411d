/*
 * pool_buffer.h - the pool's inside: descriptors, the table of pages, pins.  For pool*.c only.
 *
 * The words of a descriptor, and what each may say, are explained in pool_buffer.c.
 */
#ifndef STORAGE_PAGE_POOL_BUFFER_H
#define STORAGE_PAGE_POOL_BUFFER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "shmem/condition.h"
#include "storage/page/pool.h"

#define POOL_BUFFER_PARTITIONS 128u

/* Bits of `state`. */
#define BUFFER_PINS       0x0000ffffu /* processes that hold it pinned */
#define BUFFER_PIN        0x00000001u
#define BUFFER_USAGE      0x000f0000u /* how often it was wanted lately, 0 … USAGE_MAX */
#define BUFFER_USAGE_ONE  0x00010000u
#define BUFFER_USAGE_MAX  0x00050000u
#define BUFFER_VALID      0x00100000u /* the bytes are the page's */
#define BUFFER_DIRTY      0x00200000u /* they differ from the file's, or may */
#define BUFFER_CHANGED    0x00400000u /* dirty again since the copy for the last write was taken */
#define BUFFER_CHECKPOINT 0x00800000u /* the running checkpoint must see it written */
#define BUFFER_FROZEN     0x01000000u /* pins are being counted: nobody may add or drop one */

#define POOL_BUFFER_NO_SLOT UINT32_MAX /* a counter of pins without a slot */

struct buffer {
    _Atomic uint64_t tag;     /* page; 0: none.  guard: partition's lock and the one pin; B2 */
    _Atomic uint32_t state;   /* guard: compare and swap */
    _Atomic uint32_t version; /* odd: bytes may change.  guard: content exclusive, or io */
    struct lwlock content;
    _Atomic uint32_t next;    /* chain in the table, buffer + 1.  guard: partition's lock */
    _Atomic uint32_t io;      /* slot + 1 of who reads or writes it; 0: nobody.  guard: CAS */
    struct condition idle;    /* changes when io becomes 0 */
    _Atomic uint32_t counter; /* slot + 1 of who counts the pins for a dead process.  guard: CAS */
    uint32_t pad[3];
};
_Static_assert(sizeof(struct buffer) == 64, "a cache line");

struct pool_buffer_partition {
    struct lwlock lock;
    char pad[48];
};
_Static_assert(sizeof(struct pool_buffer_partition) == 64, "a cache line");

struct pool_buffer_shared {
    uint32_t count;            /* const after init */
    uint32_t bucket_mask;      /* const after init */
    struct buffer *buffers;    /* const after init */
    _Atomic uint32_t *buckets; /* const after init; first buffer + 1 of each chain */
    uint8_t *pages;            /* const after init */
    uint64_t pad[4];
    _Alignas(64) _Atomic uint32_t fresh; /* buffers below were used; guard: none, only raised */
    _Alignas(64) _Atomic uint32_t hand;  /* of the clock; guard: none, wraps */
    _Alignas(64) struct pool_buffer_partition partitions[POOL_BUFFER_PARTITIONS];
};

extern struct pool_buffer_shared *pool_buffer_shared; /* const after the region was set up */

size_t pool_buffer_region_size(const struct config *config);
void pool_buffer_region_init(void *zeroed, const struct config *config);

static inline uint64_t
pool_buffer_tag(struct page_id id)
{
    return (uint64_t)id.file << 32 | id.block;
}

/* In which chain this page's buffer is.  Neighbours in a file have neighbouring buckets: of sixteen
   pages one cache line says where they are, and pages of one file are not in each other's way.
   Files begin anywhere. */
static inline uint32_t
pool_buffer_bucket(uint64_t tag)
{
    return ((uint32_t)tag + (uint32_t)((tag >> 32) * 0x9e3779b97f4a7c15u >> 32)) &
           pool_buffer_shared->bucket_mask;
}

static inline struct page_id
pool_buffer_id(uint64_t tag)
{
    return (struct page_id){ (fileno_t)(tag >> 32), (block_t)tag };
}

static inline struct buffer *
pool_buffer_at(buffer_t number)
{
    return &pool_buffer_shared->buffers[number - 1];
}

static inline uint8_t *
pool_buffer_page(buffer_t number)
{
    return pool_buffer_shared->pages + (size_t)(number - 1) * wal_page_size;
}

static inline uint32_t
pool_buffer_pins(uint32_t state)
{
    return state & BUFFER_PINS;
}

struct lwlock *pool_buffer_partition(uint64_t tag);

/* Look without a lock; what is found may be gone at once.  0: not seen (it may be there). */
static inline buffer_t pool_buffer_glance(uint64_t tag);
buffer_t pool_buffer_glance_on(buffer_t number, uint64_t tag); /* the rest of a chain */

static inline buffer_t
pool_buffer_glance(uint64_t tag)
{
    buffer_t number = atomic_load_explicit(
        &pool_buffer_shared->buckets[pool_buffer_bucket(tag)], memory_order_acquire);

    return number == 0 ||
                   atomic_load_explicit(&pool_buffer_at(number)->tag, memory_order_acquire) == tag
               ? number
               : pool_buffer_glance_on(number, tag);
}

/* The page's buffer or 0; the partition's lock is held. */
buffer_t pool_buffer_find(uint64_t tag);
/* Put the page in a buffer that has none (pinned by us alone); partition exclusive. */
void pool_buffer_enter(buffer_t number, uint64_t tag);
/* Take the page from its buffer, if our pin is the only one and (unless `discard`) it is clean.
   Takes the partition's lock.  False: somebody wants it. */
bool pool_buffer_leave(buffer_t number, bool discard);

/* Pin a page found by a glance; false: it is no longer that valid page. */
bool pool_buffer_pin_valid(buffer_t number, uint64_t tag, bool touch);
/* Pin whatever is there; the partition's lock is held, or it has no page. */
void pool_buffer_pin(buffer_t number, bool touch);
/* Pin only if nobody has; for the clock.  False: somebody has. */
bool pool_buffer_pin_idle(buffer_t number);
void pool_buffer_unpin(buffer_t number);
bool pool_buffer_pinned(buffer_t number); /* by this process */

/* The right to read or write the buffer's bytes from or to its file.  Pinned.  False: another has
 * it. */
bool pool_buffer_io_begin(buffer_t number);
/* Let go, setting and clearing bits of `state` first. */
void pool_buffer_io_end(buffer_t number, uint32_t set, uint32_t clear);
int pool_buffer_io_owner(buffer_t number); /* as pool_io_owner */
void pool_buffer_io_wait(buffer_t number); /* until nobody has it, or 100 ms */

uint32_t pool_buffer_set(
    struct buffer *buffer, uint32_t set, uint32_t clear); /* yields the old state */

/* Copy a page that may get hints, or change, meanwhile. */
void pool_buffer_copy(void *to, const void *from);

#endif
