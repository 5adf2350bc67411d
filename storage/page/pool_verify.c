/*
 * pool_verify.c - are the pool's structures what they can be?
 *
 * Others go on meanwhile.  A chain is walked under its partition's lock (B1, B2 of pool_buffer.c);
 * a buffer that no walk came to is looked for once more under the lock of the page that it has
 * then.
 *
 * INVARIANTS
 *   V1  Nothing is called damage that a living process may have been changing: a chain is looked at
 *       under its lock, a page is copied under its own, and who compares a copy with anything else
 *       asks afterwards whether the page has rested.
 *   V2  One lock at a time is waited for, and none while a page is pinned: so no other process can
 *       wait for this one.
 *
 * IF A PROCESS DIES here, its locks are released like any other's; it changes nothing.  The one
 * that goes on with its work cannot know what was pinned before: postmaster/undertaker.c refuses.
 */
#include "storage/page/pool_verify.h"

#include <stdlib.h>

#include "shmem/proc.h"
#include "storage/page/datafile.h"

#define shared pool_buffer_shared

/* Under the partition's lock.  A buffer may be in `seen` already: it had a page of another
   partition when the walk was there.  So a circle is a chain longer than there are buffers. */
static err_t
walk_chain(uint32_t bucket, uint8_t *seen)
{
    buffer_t number = atomic_load(&shared->buckets[bucket]);

    for (uint32_t steps = 0; number != 0; steps++) {
        const struct buffer *buffer;

        if (number > shared->count || steps == shared->count)
            return err_set(ERR_INTERNAL, "a chain of the pool's table is damaged");
        seen[number / 8] = (uint8_t)(seen[number / 8] | 1u << number % 8);
        buffer = pool_buffer_at(number);
        if (atomic_load(&buffer->tag) == 0 ||
            pool_buffer_bucket(atomic_load(&buffer->tag)) != bucket)
            return err_set(ERR_INTERNAL, "a page of the pool is in another's chain");
        number = atomic_load(&buffer->next);
    }
    return OK;
}

static err_t
walk_partition(uint32_t partition, uint8_t *seen)
{
    err_t err;

    TRY_RETURN(lwlock_verify(&shared->partitions[partition].lock));
    lwlock_acquire(&shared->partitions[partition].lock, LW_SHARED);
    for (uint32_t bucket = partition; bucket <= shared->bucket_mask;
         bucket += POOL_BUFFER_PARTITIONS)
        TRY(walk_chain(bucket, seen));
    err = OK;
out:
    lwlock_release(&shared->partitions[partition].lock);
    return err;
}

/* Is it in the chain of its page, if it has one now? */
static bool
is_chained(buffer_t number)
{
    uint64_t tag = atomic_load(&pool_buffer_at(number)->tag);
    bool found;

    if (tag == 0)
        return true;
    lwlock_acquire(pool_buffer_partition(tag), LW_SHARED);
    found = atomic_load(&pool_buffer_at(number)->tag) != tag || pool_buffer_find(tag) == number;
    lwlock_release(pool_buffer_partition(tag));
    return found;
}

static err_t
look_at(buffer_t number, const uint8_t *seen)
{
    struct buffer *buffer = pool_buffer_at(number);
    uint32_t io = atomic_load(&buffer->io);
    uint32_t counter = atomic_load(&buffer->counter);
    uint32_t pins = pool_buffer_pins(atomic_load(&buffer->state));

    TRY_RETURN(lwlock_verify(&buffer->content));
    if ((buffer->content.rank != RANK_PAGE && buffer->content.rank != RANK_CLOG_PAGE) ||
        io > proc_count() || pins > proc_count() ||
        (counter > proc_count() && counter != POOL_BUFFER_NO_SLOT))
        return err_set(ERR_INTERNAL, "a descriptor of the pool is damaged");
    if ((seen[number / 8] & 1u << number % 8) == 0 && !is_chained(number))
        return err_set(ERR_INTERNAL, "a page of the pool is in no chain");
    return OK;
}

err_t
pool_verify_table(void)
{
    uint8_t *seen = calloc(1, shared->count / 8 + 1);
    err_t err;

    if (seen == NULL)
        return err_set(ERR_MEMORY, "could not check the pool: out of memory");
    for (uint32_t i = 0; i < POOL_BUFFER_PARTITIONS; i++)
        TRY(walk_partition(i, seen));
    for (buffer_t number = 1; number <= shared->count; number++)
        TRY(look_at(number, seen));
    err = OK;
out:
    free(seen);
    return err;
}

void
pool_verify_copy(buffer_t number, unsigned slot, void *copy, struct pool_verify_page *page)
{
    struct buffer *buffer = pool_buffer_at(number);
    bool alone = lwlock_owner(&buffer->content) == (int)slot;
    uint32_t state;

    if (!alone)
        lwlock_acquire(&buffer->content, LW_SHARED);
    state = atomic_load(&buffer->state);
    page->id = pool_buffer_id(atomic_load(&buffer->tag));
    page->there = (state & BUFFER_VALID) != 0 && atomic_load(&buffer->tag) != 0;
    page->as_on_disk = page->there && (state & BUFFER_DIRTY) == 0;
    page->version = atomic_load(&buffer->version);
    pool_buffer_copy(copy, pool_buffer_page(number));
    if (!alone)
        lwlock_release(&buffer->content);
    /* Without a pin it may have become another page's: that one is read for itself. */
    page->there = page->there && atomic_load(&buffer->tag) == pool_buffer_tag(page->id) &&
                  (atomic_load(&buffer->state) & BUFFER_VALID) != 0;
}

bool
pool_verify_rested(buffer_t number, const struct pool_verify_page *page)
{
    const struct buffer *buffer = pool_buffer_at(number);

    /* The version last: it is made odd after DIRTY is set, and before a buffer changes its page. */
    return atomic_load(&buffer->tag) == pool_buffer_tag(page->id) &&
           (atomic_load(&buffer->state) & (BUFFER_VALID | BUFFER_DIRTY)) == BUFFER_VALID &&
           atomic_load(&buffer->version) == page->version;
}
