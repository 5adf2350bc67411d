/*
 * wal_ring.c - the log's buffer.
 *
 * Taking space is a handful of instructions under a spin; copying goes on in parallel.
 *
 * INVARIANTS
 *   R1  A right's `inserting` is at or before the start of what its holder has taken and not
 *       yet copied: it is set to TAKING before space is taken, to the start after, and to
 *       NOTHING only when all is copied.  So a position read from `position`, and then all
 *       `inserting` at or beyond it, mean that all before it is copied.
 *   R2  The redo point changes only while all rights are held exclusively: who holds one
 *       sees the redo point that counts for his record.
 *   R3  `previous` is the start of the record that ends at `position`.
 *
 * LOCKS  RANK_WAL_INSERT: the rights, several only by wal_ring_move_redo, by number; then the spin.
 *
 * IF A PROCESS DIES between enter and leave it is in a critical section: everything is
 * rebuilt from the log on disk.
 */
#include "wal/wal_ring.h"

#include <stdatomic.h>
#include <string.h>

#include "base/crit.h"
#include "base/delay.h"
#include "base/panic.h"
#include "shmem/lwlock.h"
#include "shmem/proc.h"
#include "shmem/spin.h"
#include "wal/wal_page.h"
#include "wal/wal_segment.h"

#define TAKING       ((lsn_t)1)
#define NOTHING      UINT64_MAX
#define CAPACITY_MIN ((uint64_t)2 * WAL_RECORD_MAX)

struct right {
    _Alignas(64) struct lwlock lock; /* RANK_WAL_INSERT */
    _Atomic lsn_t inserting;         /* guard: holder of lock; flushers read (R1) */
};
_Static_assert(sizeof(struct right) == 64, "a cache line each");

struct ring {
    _Alignas(64) struct spin spin;
    _Atomic lsn_t position; /* guard: spin; read by all */
    lsn_t previous;         /* guard: spin; R3 */
    _Alignas(64) struct right right[WAL_RING_LOCKS];
    _Alignas(64) _Atomic lsn_t redo; /* guard: all rights (R2) */
    _Atomic uint32_t open;           /* guard: wal.c, before and after others */
    uint32_t epoch;                  /* const after wal_ring_open */
    uint64_t system_id;              /* const after wal_ring_open */
    uint64_t capacity;               /* const after init; a power of two */
    bool images;                     /* const after init */
    bool check;                      /* const after init */
    _Alignas(4096) uint8_t bytes[];  /* guard: what was taken belongs to the taker */
};

static struct ring *shared;
static _Thread_local unsigned favourite; /* the right tried first; + 1 */

static uint64_t
capacity_of(const struct config *config)
{
    uint64_t capacity = CAPACITY_MIN;

    while (capacity < (uint64_t)config->wal_buffers)
        capacity *= 2;
    return capacity;
}

size_t
wal_ring_size(const struct config *config)
{
    return sizeof *shared + capacity_of(config) + 4096;
}

void
wal_ring_init(void *zeroed, const struct config *config)
{
    uintptr_t aligned = ((uintptr_t)zeroed + 4095) & ~(uintptr_t)4095;

    shared = (void *)aligned;
    spin_init(&shared->spin);
    for (unsigned i = 0; i < WAL_RING_LOCKS; i++) {
        lwlock_init(&shared->right[i].lock, RANK_WAL_INSERT);
        atomic_init(&shared->right[i].inserting, NOTHING);
    }
    shared->capacity = capacity_of(config);
    shared->images = config->full_page_images;
    shared->check = config->wal_check;
}

void
wal_ring_open(lsn_t position, lsn_t previous, lsn_t redo, uint32_t epoch, uint64_t system_id)
{
    invariant(wal_format_offset(position) >= WAL_FORMAT_HEAD && position % 8 == 0);
    invariant(position - previous < UINT32_MAX || previous == 0);
    shared->previous = previous;
    shared->epoch = epoch;
    shared->system_id = system_id;
    atomic_store(&shared->redo, redo);
    atomic_store(&shared->position, position);
    atomic_store(&shared->open, 1);
}

void
wal_ring_close(void)
{
    atomic_store(&shared->open, 0);
}

bool
wal_ring_is_open(void)
{
    return atomic_load_explicit(&shared->open, memory_order_relaxed) != 0;
}

unsigned
wal_ring_enter(void)
{
    unsigned i;

    invariant(crit_active());
    invariant(wal_ring_is_open());
    if (favourite == 0)
        favourite = 1 + proc_self->index % WAL_RING_LOCKS;
    i = favourite - 1;
    if (!lwlock_try(&shared->right[i].lock, LW_EXCLUSIVE)) {
        i = (i + 1) % WAL_RING_LOCKS;
        favourite = 1 + i;
        lwlock_acquire(&shared->right[i].lock, LW_EXCLUSIVE);
    }
    return i;
}

void
wal_ring_take(unsigned right, uint32_t size, struct wal_ring_place *place)
{
    _Atomic lsn_t *inserting = &shared->right[right].inserting;
    lsn_t start;
    lsn_t end;

    invariant(size % 8 == 0 && size <= WAL_RECORD_MAX);
    atomic_store_explicit(inserting, TAKING, memory_order_relaxed); /* R1; published by the spin */
    spin_acquire(&shared->spin);
    start = atomic_load_explicit(&shared->position, memory_order_relaxed);
    end = wal_format_advance(start, size);
    place->previous = shared->previous;
    shared->previous = start; /* R3 */
    atomic_store_explicit(&shared->position, end, memory_order_release);
    spin_release(&shared->spin);
    delay_here();
    atomic_store_explicit(inserting, start, memory_order_release);
    place->start = start;
    place->end = end;
}

lsn_t
wal_ring_copy(lsn_t at, const void *data, size_t size)
{
    const uint8_t *from = data;
    uint64_t mask = shared->capacity - 1;

    while (size > 0) {
        size_t part = WAL_SEGMENT_SIZE - wal_format_offset(at);
        size_t wrap = (size_t)(shared->capacity - (at & mask));

        part = part < wrap ? part : wrap;
        part = part < size ? part : size;
        memcpy(shared->bytes + (at & mask), from, part);
        from += part;
        size -= part;
        at += part;
        if (wal_format_offset(at) == 0) {
            struct wal_format_segment head;

            wal_segment_head(&head, shared->system_id, wal_page_size, wal_format_segment_of(at));
            memcpy(shared->bytes + (at & mask), &head, sizeof head);
            at += sizeof head;
        }
    }
    return at;
}

void
wal_ring_leave(unsigned right)
{
    atomic_store_explicit(&shared->right[right].inserting, NOTHING, memory_order_release); /* R1 */
    lwlock_release(&shared->right[right].lock);
}

lsn_t
wal_ring_position(void)
{
    return atomic_load_explicit(&shared->position, memory_order_acquire);
}

lsn_t
wal_ring_redo(void)
{
    return atomic_load_explicit(&shared->redo, memory_order_acquire);
}

uint32_t
wal_ring_epoch(void)
{
    return shared->epoch;
}

uint64_t
wal_ring_system_id(void)
{
    return shared->system_id;
}

uint64_t
wal_ring_capacity(void)
{
    return shared->capacity;
}

bool
wal_ring_images(void)
{
    return shared->images;
}

bool
wal_ring_check(void)
{
    return shared->check;
}

lsn_t
wal_ring_move_redo(void)
{
    lsn_t redo;

    for (unsigned i = 0; i < WAL_RING_LOCKS; i++)
        lwlock_acquire(&shared->right[i].lock, LW_EXCLUSIVE);
    redo = wal_ring_position();
    atomic_store_explicit(&shared->redo, redo, memory_order_release); /* R2 */
    for (unsigned i = WAL_RING_LOCKS; i-- > 0;)
        lwlock_release(&shared->right[i].lock);
    return redo;
}

lsn_t
wal_ring_ready(lsn_t limit)
{
    for (unsigned i = 0; i < WAL_RING_LOCKS; i++) {
        lsn_t inserting = atomic_load_explicit(&shared->right[i].inserting, memory_order_acquire);

        if (inserting < limit)
            limit = inserting;
    }
    return limit;
}

int
wal_ring_copier(lsn_t limit)
{
    int slot = -1;

    for (unsigned i = 0; i < WAL_RING_LOCKS; i++) {
        lsn_t inserting = atomic_load_explicit(&shared->right[i].inserting, memory_order_acquire);

        if (inserting < limit) {
            limit = inserting;
            slot = lwlock_owner(&shared->right[i].lock);
        }
    }
    return slot;
}

const uint8_t *
wal_ring_at(lsn_t lsn, size_t *size)
{
    uint64_t at = lsn & (shared->capacity - 1);

    *size = (size_t)(shared->capacity - at);
    return shared->bytes + at;
}
