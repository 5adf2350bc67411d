/*
 * pool.c - the buffer pool: finding, reading and replacing pages; looking without a pin.
 *
 * pool_buffer.c keeps the descriptors, the table and the pins; pool_write.c brings dirty pages
 * to their files.  This file holds what is made of them.
 *
 * There is no list of free buffers: at first a counter hands out those never used; a buffer
 * that lost its page later has usage 0, and the clock takes it when it comes by.
 *
 * INVARIANTS
 *   L1  A page whose checksum is wrong never becomes VALID (but for POOL_HINTS, zeroed).
 *   L2  A process waits for no page lock while it makes room, and gives up looking for a buffer
 *       after a while: so the pool takes part in no deadlock.
 *   L3  A change: content lock exclusive, critical section, DIRTY set, version odd, bytes, log
 *       record, LSN, version even.
 *
 * IF A PROCESS DIES: see pool_buffer.c.  Its rings are private and hold nothing.
 */
#include "storage/page/pool.h"

#include <string.h>
#include <time.h>

#include "base/crit.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/panic.h"
#include "base/sanitizer.h"
#include "shmem/counters.h"
#include "storage/page/datafile.h"
#include "storage/page/pool_buffer.h"
#include "storage/page/pool_write.h"
#include "storage/page/redo.h"
#include "wal/wal_flush.h"
#include "wal/wal_insert.h"

#define shared pool_buffer_shared

#define RING_BYTES_SCAN  ((size_t)256 << 10)
#define RING_BYTES_WRITE ((size_t)1 << 20)
#define RING_MAX         256u /* buffers of a ring: 1 MiB of the smallest pages */
#define RING_SHARE       8u   /* a ring has at most this part of the pool */
#define ROUNDS_MAX       50   /* looks for a buffer, 1 ms apart, before all are said to be pinned */
#define FORGET_NS_MAX    30000000000

/* ---- looking without a pin ---- */

static inline bool
look(struct page_id id, struct pool_peek *peek, bool touch)
{
#if SANITIZER_THREAD
    /* A peek reads what may be changing, by design; the thread sanitizer would report each one. */
    (void)id, (void)peek, (void)touch;
    return false;
#else
    uint64_t tag = pool_buffer_tag(id);
    buffer_t number = pool_buffer_glance(tag);
    struct buffer *buffer;
    uint32_t state;

    if (number == 0)
        return false;
    buffer = pool_buffer_at(number);
    peek->version = atomic_load_explicit(&buffer->version, memory_order_acquire);
    if ((peek->version & 1) != 0 ||
        atomic_load_explicit(&buffer->tag, memory_order_relaxed) != tag) /* B3 */
        return false;
    state = atomic_load_explicit(&buffer->state, memory_order_relaxed);
    /* The one store of a peek: once for each time that the clock has taken the last usage. */
    if (touch && (state & BUFFER_USAGE) == 0)
        (void)atomic_compare_exchange_strong(&buffer->state, &state, state + 2 * BUFFER_USAGE_ONE);
    peek->now = &buffer->version;
    peek->page = pool_buffer_page(number);
    return true;
#endif
}

bool
pool_peek(struct page_id id, struct pool_peek *peek)
{
    return look(id, peek, true);
}

err_t
pool_copy(struct page_id id, enum pool_use use, void *page)
{
    struct pool_peek peek;
    buffer_t buffer;

    if (look(id, &peek, use == POOL_NORMAL)) {
        pool_buffer_copy(page, peek.page);
        if (pool_peek_valid(&peek))
            return OK;
    }
    TRY_RETURN(pool_pin(id, use, &buffer));
    pool_lock(buffer, LW_SHARED);
    pool_buffer_copy(page, pool_page(buffer));
    pool_unlock(buffer);
    pool_unpin(buffer);
    return OK;
}

/* ---- making room ---- */

struct ring {
    unsigned next;
    buffer_t buffers[RING_MAX];
};

static _Thread_local struct ring rings[2]; /* of scans and of bulk writes */

/* Free the buffer, pinned by us alone, from its page.  False: it is wanted, or could not be
 * written. */
static bool
empty_buffer(buffer_t number, err_t *err)
{
    bool written = true;

    if ((atomic_load(&pool_buffer_at(number)->state) & BUFFER_DIRTY) != 0) {
        err_t failed = pool_write_buffer(number, false, &written);

        if (failed != OK)
            *err = failed;
    }
    return written && pool_buffer_leave(number, false);
}

/* Try to take this buffer; if so it is pinned and has no page. */
static bool
take_buffer(buffer_t number, err_t *err)
{
    if (!pool_buffer_pin_idle(number))
        return false;
    if (empty_buffer(number, err))
        return true;
    pool_buffer_unpin(number);
    return false;
}

/* One round of the clock, as many steps as may be needed to wear every usage down. */
static buffer_t
sweep(err_t *err)
{
    uint64_t steps = (uint64_t)shared->count * (BUFFER_USAGE_MAX / BUFFER_USAGE_ONE + 2);

    for (uint64_t i = 0; i < steps; i++) {
        uint32_t hand = atomic_fetch_add_explicit(&shared->hand, 1, memory_order_relaxed);
        buffer_t number = hand % shared->count + 1;
        struct buffer *buffer = pool_buffer_at(number);
        uint32_t state = atomic_load_explicit(&buffer->state, memory_order_relaxed);

        if (pool_buffer_pins(state) != 0)
            continue;
        if ((state & BUFFER_USAGE) != 0)
            (void)atomic_compare_exchange_strong(&buffer->state, &state, state - BUFFER_USAGE_ONE);
        else if (take_buffer(number, err))
            return number;
    }
    return 0;
}

/* A buffer that was never used, or 0. */
static buffer_t
take_fresh(void)
{
    uint32_t fresh = atomic_load_explicit(&shared->fresh, memory_order_relaxed);
    err_t err;

    while (fresh < shared->count)
        if (atomic_compare_exchange_weak(&shared->fresh, &fresh, fresh + 1)) {
            if (take_buffer(fresh + 1, &err))
                return fresh + 1;
            fresh++;
        }
    return 0;
}

static unsigned
ring_size(enum pool_use use)
{
    size_t bytes = use == POOL_SCAN ? RING_BYTES_SCAN : RING_BYTES_WRITE;
    size_t size = bytes / wal_page_size;

    size = size > shared->count / RING_SHARE ? shared->count / RING_SHARE : size;
    return size < 1 ? 1 : size > RING_MAX ? RING_MAX : (unsigned)size;
}

/* The ring's next buffer, if only this process seems to want its page. */
static buffer_t
take_from_ring(struct ring *ring, enum pool_use use, err_t *err)
{
    buffer_t number = ring->buffers[ring->next];
    uint32_t state;

    /* The ring may be of an earlier segment (the library opened again): a buffer beyond `fresh` is
       one that checkpoints do not look at. */
    if (number == 0 || number > shared->count ||
        number > atomic_load_explicit(&shared->fresh, memory_order_relaxed))
        return 0;
    state = atomic_load_explicit(&pool_buffer_at(number)->state, memory_order_relaxed);
    if (pool_buffer_pins(state) != 0 || (state & BUFFER_USAGE) > BUFFER_USAGE_ONE)
        return 0;
    /* A reader shall not wait for the log because somebody changed the pages that it reads. */
    if (use == POOL_SCAN && (state & BUFFER_DIRTY) != 0)
        return 0;
    return take_buffer(number, err) ? number : 0;
}

/* A buffer without a page, pinned.  Errors: ERR_MEMORY: all are pinned; or what writing one said.
 */
static err_t
make_room(enum pool_use use, buffer_t *number)
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    struct ring *ring = NULL;
    err_t err = OK;

    if (use == POOL_SCAN || use == POOL_BULK_WRITE) {
        ring = &rings[use == POOL_SCAN ? 0 : 1];
        ring->next = (ring->next + 1) % ring_size(use);
        *number = take_from_ring(ring, use, &err);
        if (*number != 0)
            return OK;
    }
    *number = take_fresh();
    for (int round = 0; *number == 0 && round < ROUNDS_MAX; round++) {
        if (round > 0)
            (void)nanosleep(&pause, NULL);
        err = OK;
        *number = sweep(&err);
    }
    if (*number == 0 && err != OK)
        return err;
    if (*number == 0)
        return err_set(ERR_MEMORY,
            "could not make room in the buffer pool: all %u buffers are pinned; raise "
            "shared_buffers",
            shared->count);
    if (ring != NULL)
        ring->buffers[ring->next] = *number;
    return OK;
}

/* ---- finding and reading ---- */

enum fill { FILL_READ, FILL_HINTS, FILL_NEW };

static err_t
bad_page(struct page_id id, const void *page)
{
    const struct page_header *header = page;
    err_t err = err_set(ERR_CORRUPT,
        "could not use block %u of data file %08x (data/%02x/%08x): it is damaged (kind %u, "
        "checksum "
        "%08x, expected %08x)",
        id.block, id.file, id.file & 0xff, id.file, header->kind, header->crc,
        page_checksum(page, id));

    log_error("%s", err_message());
    return err;
}

static err_t
read_page(struct page_id id, enum fill fill, void *page)
{
    err_t err;

    if (fill == FILL_NEW) {
        memset(page, 0, wal_page_size);
        return OK;
    }
    counters_add(COUNTER_POOL_MISSES, 1);
    err = datafile_read(id, page);
    if (err == OK && !page_valid(page, id)) { /* L1 */
        if (fill == FILL_READ)
            return bad_page(id, page);
        log_warn("block %u of the free space map %08x was damaged: zeroed", id.block, id.file);
        memset(page, 0, wal_page_size);
    }
    return err;
}

/* The bytes are going to be read.  Odd already, unless a reader died between making it even and
   saying VALID (B3). */
static void
forbid_peeks(struct buffer *buffer)
{
    uint32_t version = atomic_load_explicit(&buffer->version, memory_order_relaxed);

    atomic_store_explicit(&buffer->version, version | 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

/* Make the buffer, pinned by us, VALID.  On error the pin is gone. */
static err_t
fill_buffer(buffer_t number, struct page_id id, enum fill fill)
{
    struct buffer *buffer = pool_buffer_at(number);
    err_t err;

    for (;;) {
        if ((atomic_load_explicit(&buffer->state, memory_order_acquire) & BUFFER_VALID) != 0)
            return OK;
        if (pool_buffer_io_begin(number))
            break;
        pool_buffer_io_wait(number);
    }
    if ((atomic_load_explicit(&buffer->state, memory_order_acquire) & BUFFER_VALID) != 0) {
        pool_buffer_io_end(number, 0, 0); /* somebody did it just before we could */
        return OK;
    }
    forbid_peeks(buffer);
    err = read_page(id, fill, pool_buffer_page(number));
    if (err == OK) {
        uint32_t version = atomic_load_explicit(&buffer->version, memory_order_relaxed);

        atomic_store_explicit(&buffer->version, version + 1, memory_order_release); /* B3 */
        pool_buffer_io_end(number, BUFFER_VALID, 0);
        return OK;
    }
    pool_buffer_io_end(number, 0, 0);
    /* Unless somebody else wants it too, and perhaps succeeds. */
    if ((atomic_load(&buffer->state) & BUFFER_VALID) == 0)
        (void)pool_buffer_leave(number, false);
    pool_buffer_unpin(number);
    return err;
}

/* Pin the page's buffer, or a new one for it; it may not be VALID yet. */
static err_t
pin_slowly(uint64_t tag, enum pool_use use, bool touch, buffer_t *number)
{
    struct lwlock *lock = pool_buffer_partition(tag);
    buffer_t room;

    lwlock_acquire(lock, LW_SHARED);
    *number = pool_buffer_find(tag);
    if (*number != 0)
        pool_buffer_pin(*number, touch);
    lwlock_release(lock);
    if (*number != 0)
        return OK;
    TRY_RETURN(fault_check(FAULT_POOL_ROOM));
    TRY_RETURN(make_room(use, &room));
    (void)fault_pass(FAULT_PAGE_EVICTED);
    lwlock_acquire(lock, LW_EXCLUSIVE);
    *number = pool_buffer_find(tag);
    if (*number != 0) {
        pool_buffer_pin(*number, touch);
    } else {
        pool_buffer_enter(room, tag);
        if (touch)
            (void)pool_buffer_set(pool_buffer_at(room), BUFFER_USAGE_ONE, 0);
    }
    lwlock_release(lock);
    if (*number != 0)
        pool_buffer_unpin(room); /* somebody was faster; the clock finds it again */
    else
        *number = room;
    return OK;
}

static err_t
pin_page(struct page_id id, enum pool_use use, enum fill fill, buffer_t *number)
{
    uint64_t tag = pool_buffer_tag(id);
    bool touch = use == POOL_NORMAL || use == POOL_HINTS;

    invariant(!crit_active());
    if (tag >> 32 == 0) /* 0 as a tag says: no page */
        return err_set(
            ERR_CORRUPT, "could not use block %u of a data file without a number", id.block);
    *number = pool_buffer_glance(tag);
    if (*number != 0 && pool_buffer_pin_valid(*number, tag, touch)) {
        counters_add(COUNTER_POOL_HITS, 1);
        return OK;
    }
    TRY_RETURN(pin_slowly(tag, use, touch, number));
    (void)fault_pass(FAULT_PAGE_ENTERED);
    return fill_buffer(*number, id, fill);
}

err_t
pool_pin(struct page_id id, enum pool_use use, buffer_t *buffer)
{
    return pin_page(id, use, use == POOL_HINTS ? FILL_HINTS : FILL_READ, buffer);
}

err_t
pool_pin_new(struct page_id id, buffer_t *buffer)
{
    if (id.block == BLOCK_NONE)
        return err_set(ERR_CORRUPT,
            "could not use block %u of data file %08x: there is no such block", id.block, id.file);
    TRY_RETURN(datafile_extend(id.file, id.block + 1));
    return pin_page(id, POOL_NORMAL, FILL_NEW, buffer);
}

err_t
pool_extend(fileno_t file, enum pool_use use, buffer_t *buffer, block_t *block)
{
    for (;;) {
        struct page_id id = { .file = file };
        const struct page_header *header;
        err_t err;

        *buffer = 0; /* of the turn before: the disk may be full now */
        TRY_RETURN(datafile_hand_out(file, &id.block));
        (void)fault_pass(FAULT_PAGE_HANDED_OUT);
        err = pin_page(id, use, FILL_READ, buffer);
        if (err != OK) {
            datafile_take_back(file, id.block);
            return err;
        }
        /* Redo, or whoever came across the zeroed page, may use it: then the next one.  Trying
           only, for the caller may hold page locks that such a one waits for. */
        if (pool_try_lock(*buffer, LW_EXCLUSIVE)) {
            header = pool_page(*buffer);
            *block = id.block;
            if (header->kind == PAGE_ZERO)
                return OK;
            pool_unlock(*buffer);
        }
        pool_unpin(*buffer);
    }
}

void
pool_unpin(buffer_t buffer)
{
    pool_buffer_unpin(buffer);
}

/* ---- content ---- */

void
pool_lock(buffer_t buffer, enum lwlock_mode mode)
{
    lwlock_acquire(&pool_buffer_at(buffer)->content, mode);
}

bool
pool_try_lock(buffer_t buffer, enum lwlock_mode mode)
{
    return lwlock_try(&pool_buffer_at(buffer)->content, mode);
}

void
pool_unlock(buffer_t buffer)
{
    lwlock_release(&pool_buffer_at(buffer)->content);
}

bool
pool_locked(buffer_t buffer, enum lwlock_mode mode)
{
    return lwlock_held(&pool_buffer_at(buffer)->content, mode);
}

void *
pool_page(buffer_t buffer)
{
    return pool_buffer_page(buffer);
}

struct page_id
pool_id(buffer_t buffer)
{
    return pool_buffer_id(atomic_load_explicit(&pool_buffer_at(buffer)->tag, memory_order_relaxed));
}

/* Make the version odd before any byte changes (L3). */
static void
open_change(struct buffer *buffer)
{
    uint32_t version = atomic_load_explicit(&buffer->version, memory_order_relaxed);

    invariant((version & 1) == 0); /* one change at a time */
    atomic_store_explicit(&buffer->version, version + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

static void
close_change(struct buffer *buffer)
{
    uint32_t version = atomic_load_explicit(&buffer->version, memory_order_relaxed);

    invariant((version & 1) == 1);
    atomic_store_explicit(&buffer->version, version + 1, memory_order_release);
}

void
pool_change_begin(buffer_t number)
{
    struct buffer *buffer = pool_buffer_at(number);

    invariant(crit_active());
    invariant(lwlock_held(&buffer->content, LW_EXCLUSIVE));
    (void)pool_buffer_set(buffer, BUFFER_DIRTY | BUFFER_CHANGED, 0); /* W4 */
    open_change(buffer);
}

void
pool_change_end(buffer_t number, lsn_t lsn)
{
    ((struct page_header *)pool_page(number))->lsn = lsn;
    close_change(pool_buffer_at(number));
}

void
pool_redo_begin(buffer_t number, bool dirty)
{
    struct buffer *buffer = pool_buffer_at(number);

    invariant(lwlock_held(&buffer->content, LW_EXCLUSIVE));
    if (dirty)
        (void)pool_buffer_set(buffer, BUFFER_DIRTY | BUFFER_CHANGED, 0);
    open_change(buffer);
}

void
pool_redo_end(buffer_t number)
{
    close_change(pool_buffer_at(number));
}

void
pool_log(unsigned n, buffer_t buffer, unsigned flags)
{
    wal_insert_page(n, pool_id(buffer), pool_page(buffer), flags);
}

void
pool_dirty_unlogged(buffer_t buffer)
{
    (void)pool_buffer_set(pool_buffer_at(buffer), BUFFER_DIRTY | BUFFER_CHANGED, 0);
}

void
pool_prefetch(struct page_id id)
{
    if (pool_buffer_glance(pool_buffer_tag(id)) == 0)
        datafile_will_need(id);
}

const uint8_t *
pool_glimpse(struct page_id id)
{
    buffer_t number = pool_buffer_glance(pool_buffer_tag(id));

    return number != 0 ? pool_buffer_page(number) : NULL;
}

/* ---- forgetting ---- */

/* Throw the buffer's page away if it still is one of them; a writer that has it pinned is waited
 * for. */
static void
forget_buffer(buffer_t number, fileno_t file, block_t first)
{
    const struct timespec pause = { .tv_nsec = 100000 };
    struct buffer *buffer = pool_buffer_at(number);

    for (int64_t waited = 0;; waited += pause.tv_nsec) {
        struct page_id id = pool_buffer_id(atomic_load(&buffer->tag));

        if (id.file != file || id.block < first)
            return;
        if (pool_buffer_pin_idle(number)) {
            id = pool_buffer_id(atomic_load(&buffer->tag));
            if (id.file == file && id.block >= first)
                (void)pool_buffer_leave(number, true);
            pool_buffer_unpin(number);
            continue;
        }
        invariant(waited < FORGET_NS_MAX); /* somebody uses what the caller says nobody uses */
        (void)nanosleep(&pause, NULL);
    }
}

void
pool_forget(fileno_t file, block_t first)
{
    uint32_t used = atomic_load(&shared->fresh);

    for (buffer_t number = 1; number <= used; number++) {
        struct page_id id = pool_buffer_id(
            atomic_load_explicit(&pool_buffer_at(number)->tag, memory_order_relaxed));

        if (id.file == file && id.block >= first)
            forget_buffer(number, file, first);
    }
}

/* ---- reports ---- */

uint32_t
pool_buffers(void)
{
    return shared->count;
}

int
pool_io_owner(buffer_t buffer)
{
    return pool_buffer_io_owner(buffer);
}

void
pool_status(struct pool_status *status)
{
    *status = (struct pool_status){ .buffers = shared->count };
    for (buffer_t number = 1; number <= shared->count; number++) {
        uint32_t state = atomic_load_explicit(&pool_buffer_at(number)->state, memory_order_relaxed);

        status->used += (state & BUFFER_VALID) != 0;
        status->dirty += (state & BUFFER_DIRTY) != 0;
        status->pinned += pool_buffer_pins(state) != 0;
    }
}

uint64_t
pool_pin_total(void)
{
    uint64_t total = 0;

    for (buffer_t number = 1; number <= shared->count; number++)
        total += pool_buffer_pins(atomic_load(&pool_buffer_at(number)->state));
    return total;
}

/* ---- what others are handed ---- */

static err_t
redo_image(const struct wal_record *record)
{
    for (unsigned n = 0; n < record->page_count; n++) {
        enum redo_need need;
        buffer_t buffer;

        TRY_RETURN(redo_page(record, n, &need, &buffer));
        redo_done(record, need, buffer);
    }
    return OK;
}

static err_t
describe_image(const struct wal_record *record, struct buf *text)
{
    for (unsigned n = 0; n < record->page_count; n++)
        TRY_RETURN(buf_printf(text, "%spage %08x/%u", n > 0 ? ", " : "", record->page[n].id.file,
            record->page[n].id.block));
    return OK;
}

const struct region pool_region = { "buffer pool", pool_buffer_region_size,
    pool_buffer_region_init };
const struct checkpoint_part pool_part = { "buffer pool", NULL, NULL, pool_write_checkpoint };
const struct wal_handler pool_handler_image = { redo_image, describe_image, NULL };
