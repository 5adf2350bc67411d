/*
 * pool_write.c - bringing dirty pages to their files.
 *
 * INVARIANTS
 *   W1  The log is on disk up to the page's LSN before the page is written.
 *   W2  One process at a time writes a page (`io`), so an older copy never follows a newer one.
 *   W3  DIRTY is cleared after the write, and only if nothing changed since the copy was taken
 *       (CHANGED): a buffer that is not dirty is the file's content, in the kernel at least.
 *   W4  DIRTY is set before the change is logged (pool_change_begin).  So whatever the log holds
 *       before a checkpoint's redo point is in a buffer that was dirty when the checkpoint
 *       looked, or was being written and still is dirty.
 *   W5  CHECKPOINT is cleared only after a write whose copy was taken after it was set, or when
 *       the buffer is no longer dirty.
 *   W6  The content lock is held for a copy, not for a write; it is never waited for by who
 *       makes room for another page, for that process may hold page locks itself.
 *
 * IF A PROCESS DIES while writing, the page in the file may be torn; it is dirty still, and its
 * image is in the log (or it holds hints only).
 */
#include "storage/page/pool_write.h"

#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mutant.h"
#include "shmem/counters.h"
#include "storage/page/datafile.h"
#include "wal/wal_flush.h"

#define AHEAD_SHARE 8u /* the buffer writer looks this part of the pool ahead of the clock */

#define shared pool_buffer_shared

static _Thread_local _Alignas(64) uint8_t copy[PAGE_SIZE_MAX]; /* private to the process */

/* Take the copy.  *marked: the checkpoint's mark stood when it was taken. */
static bool
take_copy(buffer_t number, bool wait, bool *marked)
{
    struct buffer *buffer = pool_buffer_at(number);

    if (wait)
        lwlock_acquire(&buffer->content, LW_SHARED);
    else if (!lwlock_try(&buffer->content, LW_SHARED))
        return false; /* W6 */
    *marked = (pool_buffer_set(buffer, 0, BUFFER_CHANGED) & BUFFER_CHECKPOINT) != 0;
    pool_buffer_copy(copy, pool_buffer_page(number));
    lwlock_release(&buffer->content);
    return true;
}

/* After a successful write: what is no longer so. */
static void
settle(struct buffer *buffer, bool marked)
{
    uint32_t state = atomic_load(&buffer->state);
    uint32_t gone;

    do
        gone = (marked ? BUFFER_CHECKPOINT : 0) |
               ((state & BUFFER_CHANGED) == 0 ? BUFFER_DIRTY : 0); /* W3, W5 */
    while (!atomic_compare_exchange_weak(&buffer->state, &state, state & ~gone));
}

static err_t
write_copy(struct page_id id)
{
    struct page_header *header = (struct page_header *)(void *)copy;

    if (header->kind == PAGE_ZERO)
        return datafile_write(id, copy);
    if (!mutant(MUTANT_PAGE_BEFORE_LOG))
        wal_flush(header->lsn); /* W1 */
    header->crc = page_checksum(copy, id);
    counters_add(COUNTER_PAGES_WRITTEN, 1);
    return datafile_write(id, copy);
}

err_t
pool_write_buffer(buffer_t number, bool wait, bool *written)
{
    struct buffer *buffer = pool_buffer_at(number);
    struct page_id id = pool_buffer_id(atomic_load(&buffer->tag));
    bool marked = false;
    err_t err = OK;

    *written = false;
    while (!pool_buffer_io_begin(number)) { /* W2 */
        if (!wait)
            return OK;
        pool_buffer_io_wait(number);
    }
    if ((atomic_load(&buffer->state) & BUFFER_DIRTY) == 0) {
        *written = true;
    } else if (take_copy(number, wait, &marked)) {
        err = write_copy(id);
        if (err == OK)
            settle(buffer, marked);
        else
            (void)pool_buffer_set(buffer, BUFFER_CHANGED, 0);
        *written = err == OK;
    }
    pool_buffer_io_end(number, 0, 0);
    return err;
}

/* ---- checkpoint ---- */

struct todo {
    uint64_t tag;
    buffer_t buffer;
    uint32_t pad;
};

static int
compare_todo(const void *a, const void *b)
{
    uint64_t x = ((const struct todo *)a)->tag;
    uint64_t y = ((const struct todo *)b)->tag;

    return (x > y) - (x < y);
}

/* Mark what is dirty now, and list it. */
static uint32_t
mark_dirty(struct todo *list)
{
    uint32_t used = atomic_load(&shared->fresh);
    uint32_t count = 0;

    for (buffer_t number = 1; number <= used && number <= shared->count; number++) {
        struct buffer *buffer = pool_buffer_at(number);
        uint32_t state = atomic_load(&buffer->state);

        while ((state & BUFFER_DIRTY) != 0 &&
               !atomic_compare_exchange_weak(&buffer->state, &state, state | BUFFER_CHECKPOINT))
            ;
        if ((state & BUFFER_DIRTY) != 0)
            list[count++] = (struct todo){ atomic_load(&buffer->tag), number, 0 };
    }
    return count;
}

/* Write one of them, if nobody has meanwhile. */
static err_t
write_marked(const struct todo *todo)
{
    struct buffer *buffer = pool_buffer_at(todo->buffer);
    bool written;
    err_t err = OK;

    if ((atomic_load(&buffer->state) & BUFFER_CHECKPOINT) == 0)
        return OK;
    pool_buffer_pin(todo->buffer, false);
    if ((atomic_load(&buffer->state) & BUFFER_CHECKPOINT) != 0 && atomic_load(&buffer->tag) != 0)
        err = pool_write_buffer(todo->buffer, true, &written);
    if (err == OK)
        (void)pool_buffer_set(buffer, 0, BUFFER_CHECKPOINT);
    pool_buffer_unpin(todo->buffer);
    return err;
}

static err_t
write_all(bool paced)
{
    struct todo *list = malloc((size_t)shared->count * sizeof *list);
    uint32_t count;
    err_t err = OK;

    if (list == NULL)
        return err_set(ERR_MEMORY, "could not list the dirty pages: out of memory");
    count = mark_dirty(list);
    (void)fault_pass(FAULT_CHECKPOINT_MARKED);
    qsort(list, count, sizeof *list, compare_todo);
    for (uint32_t i = 0; i < count && err == OK; i++) {
        err = write_marked(&list[i]);
        if (paced)
            checkpoint_pace(i + 1, count);
    }
    free(list);
    return err;
}

err_t
pool_write_checkpoint(void)
{
    return write_all(true);
}

err_t
pool_write_all(void)
{
    return write_all(false);
}

/* ---- the buffer writer ---- */

unsigned
pool_write_some(unsigned most)
{
    static _Thread_local bool told; /* an error is logged once until a write succeeds again */
    uint32_t hand = atomic_load_explicit(&shared->hand, memory_order_relaxed);
    uint32_t ahead = shared->count / AHEAD_SHARE + 1;
    unsigned done = 0;

    for (uint32_t i = 0; i < ahead && done < most; i++) {
        buffer_t number = (hand + i) % shared->count + 1;
        uint32_t state = atomic_load_explicit(&pool_buffer_at(number)->state, memory_order_relaxed);
        bool written = false;

        if ((state & BUFFER_DIRTY) == 0 || (state & BUFFER_USAGE) != 0 ||
            pool_buffer_pins(state) != 0 || !pool_buffer_pin_idle(number))
            continue;
        if (pool_write_buffer(number, false, &written) == OK) {
            done += written ? 1 : 0;
            told = told && !written;
        } else if (!told) {
            told = true;
            log_error("%s", err_message());
        }
        pool_buffer_unpin(number);
    }
    return done;
}
