/*
 * pool.h - the buffer pool: pages in shared memory.
 *
 * Three ways to reach a page, from cheap to dear:
 *   peek   no pin, no lock, nothing shared is written: look, copy, ask whether it was still true
 *   pin + shared lock
 *   pin + exclusive lock, and inside a critical section change_begin … change_end
 * Nothing pointing into a page outlives its lock (or the successful validation of a peek): whoever
 * needs the bytes longer copies the page.  So pruning needs the exclusive lock only.
 *
 * Page locks have rank RANK_PAGE; order among them: base/lists/lockranks.def.
 */
#ifndef STORAGE_PAGE_POOL_H
#define STORAGE_PAGE_POOL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/mutant.h"
#include "shmem/ledger.h"
#include "shmem/lwlock.h"
#include "shmem/region.h"
#include "storage/page/page.h"
#include "wal/checkpoint.h"
#include "wal/wal_record.h"

typedef uint32_t buffer_t; /* number of a buffer + 1; 0: none */

/* How long a page should stay: scans and vacuum recycle a small ring of buffers of their own.
   POOL_HINTS: as NORMAL, for pages that hold nothing but hints (free space): a damaged one is
   zeroed instead of refused. */
enum pool_use { POOL_NORMAL, POOL_SCAN, POOL_BULK_WRITE, POOL_HINTS };

extern const struct region pool_region;
extern const struct checkpoint_part pool_part;
extern const struct wal_handler pool_handler_image; /* WAL_IMAGE */

/* Pin the page, reading it if need be.  Errors: ERR_IO; ERR_CORRUPT: checksum wrong, message names
   file and block, the page is not kept; ERR_MEMORY: every buffer is pinned; a block beyond the end:
   ERR_CORRUPT. */
err_t pool_pin(struct page_id id, enum pool_use use, buffer_t *buffer) MUST_CHECK;
/* Pin without reading: the caller will make the page anew (redo of WAL_PAGE_INIT).  Extends the
 * file if need be. */
err_t pool_pin_new(struct page_id id, buffer_t *buffer) MUST_CHECK;
/* A fresh zeroed page at the file's end, pinned and locked exclusively.  Grows files in steps so
   that concurrent inserters do not queue at the end. */
err_t pool_extend(fileno_t file, enum pool_use use, buffer_t *buffer, block_t *block) MUST_CHECK;
void pool_unpin(buffer_t buffer);

void pool_lock(buffer_t buffer, enum lwlock_mode mode);
bool pool_try_lock(buffer_t buffer, enum lwlock_mode mode);
void pool_unlock(buffer_t buffer);
bool pool_locked(buffer_t buffer, enum lwlock_mode mode); /* by this process */

void *pool_page(buffer_t buffer); /* pinned */
struct page_id pool_id(buffer_t buffer);

/* Around every change of a page's bytes (hint bits excepted): exclusive lock, critical section. The
   version is odd in between, so that peeks fail.  change_end sets the page's LSN and marks it
   dirty. */
void pool_change_begin(buffer_t buffer);
void pool_change_end(buffer_t buffer, lsn_t lsn);
/* The same for the one process that recovers (storage/page/redo.c): no critical section, so that a
   bad record is an error; the page has its LSN already.  `dirty`: its bytes will differ from the
   file's. */
void pool_redo_begin(buffer_t buffer, bool dirty);
void pool_redo_end(buffer_t buffer);
/* wal_insert_page for a pinned buffer. */
void pool_log(unsigned n, buffer_t buffer, unsigned flags);
/* Dirty without a log record: pages whose loss does not matter (free space, commit numbers). */
void pool_dirty_unlogged(buffer_t buffer);
/* Hint bits are set under a shared lock by atomic stores, and do not make a page dirty: a page is
   only written for the sake of logged changes, so that no hint can tear a page that has no image.
 */

struct pool_peek {
    const uint8_t
        *page; /* may change under the reader: bound every length and offset that is read */
    const _Atomic uint32_t *now; /* the buffer's version */
    uint32_t version;
};
/* False: not in the pool, or being changed: go the way of pins. */
bool pool_peek(struct page_id id, struct pool_peek *peek);
/* True: nothing changed since pool_peek; what was read is true. */
static inline bool
pool_peek_valid(const struct pool_peek *peek)
{
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(peek->now, memory_order_relaxed) == peek->version ||
           mutant(MUTANT_PEEK_UNCHECKED);
}

/* A private, consistent copy of a whole page, for scans: by peek, or else by pin and shared lock
   (`use` as above); checks nothing else. */
err_t pool_copy(struct page_id id, enum pool_use use, void *page) MUST_CHECK;

/* Start reading a page that will be wanted soon (posix_fadvise). */
void pool_prefetch(struct page_id id);
/* Where a page lies that will be copied soon, for prefetching its bytes into the processor's cache
   and for nothing else: it may go at any time.  NULL: not in the pool. */
const uint8_t *pool_glimpse(struct page_id id);

/* Throw away all pages of a file that is going to be removed, or from `first` on if it is cut.  No
   one may be using them. */
void pool_forget(fileno_t file, block_t first);

/* The buffer writer's round: writes dirty pages that the clock hand will come to.  Returns how
 * many. */
unsigned pool_write_some(unsigned most);
err_t pool_write_all(void) MUST_CHECK; /* everything dirty, now: tests and the final checkpoint */

/* The slot of who reads or writes this buffer; -1: nobody, or there is none. */
int pool_io_owner(buffer_t buffer);

struct pool_status {
    uint64_t buffers, used, dirty, pinned;
};
void pool_status(struct pool_status *status); /* looks at every buffer */
uint32_t pool_buffers(void);                  /* how many there are */
uint64_t pool_pin_total(void); /* sum of pins over all buffers; 0 when nobody works */

#endif
