/*
 * verify.c - may what a process left behind be trusted, after an internal fault?
 *
 * Pages: the form that their kind must have; and a page that nobody has changed since it was read
 * or written must be what is on disk, but for hints.
 *
 * INVARIANTS
 *   V1  The first part waits for no lock: a living process may hold what is wanted and wait for
 * what the dead one holds. V2  A page that differs from the disk is called so only if it rested
 * from its copy until after the disk was read: else somebody may have been writing it meanwhile. V3
 * Doubt is an answer like damage: what cannot be checked is not said to be sound.
 *
 * IF A PROCESS DIES here, it is the undertaker: nothing is half done, and its successor counts the
 * check as odd, for what was pinned cannot be known any more.
 */
#include "postmaster/verify.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "backend/command/cursors.h"
#include "base/log.h"
#include "shmem/lwlock.h"
#include "shmem/proc.h"
#include "shmem/segment.h"
#include "storage/heap/heappage.h"
#include "storage/index/btree_page.h"
#include "storage/page/datafile.h"
#include "storage/page/page.h"
#include "storage/page/pool_verify.h"
#include "storage/txn/txn.h"
#include "wal/wal_flush.h"

static _Alignas(64) uint8_t in_memory[PAGE_SIZE_MAX], on_disk[PAGE_SIZE_MAX];

static bool
all_zero(const uint8_t *page)
{
    return page[0] == 0 && memcmp(page, page + 1, wal_page_size - 1) == 0;
}

/* What is wrong with the form of a page; NULL: nothing. */
static const char *
form_fault(const uint8_t *page)
{
    const struct page_header *header = (const struct page_header *)(const void *)page;
    unsigned item;

    if (header->kind == PAGE_ZERO)
        return all_zero(page) ? NULL : "a page of no kind is not empty";
    if (header->kind >= PAGE_KIND_COUNT || header->lower > header->upper ||
        header->upper > wal_page_size)
        return "its header is damaged";
    if (header->kind == PAGE_HEAP)
        return heappage_check(page, &item);
    return header->kind == PAGE_BTREE ? btree_page_fault(page) : NULL;
}

/* Changes of these kinds are always logged, so an unchanged LSN means unchanged bytes. */
static bool
kind_is_logged(unsigned kind)
{
    return kind == PAGE_HEAP || kind == PAGE_OVERFLOW || kind == PAGE_BTREE ||
           kind == PAGE_BTREE_META || kind == PAGE_CLOG;
}

static bool
differs_from_disk(struct page_id id)
{
    struct page_header *memory = (struct page_header *)(void *)in_memory;
    struct page_header *disk = (struct page_header *)(void *)on_disk;

    if (!kind_is_logged(memory->kind) || datafile_read(id, on_disk) != OK)
        return false; /* dropped meanwhile; what cannot be read will be told to who reads it */
    if (disk->lsn != memory->lsn)
        return false; /* changed meanwhile */
    if (memory->kind == PAGE_HEAP && disk->kind == PAGE_HEAP) {
        heappage_mask(in_memory);
        heappage_mask(on_disk);
    }
    memory->crc = disk->crc = 0;
    return memcmp(in_memory, on_disk, wal_page_size) != 0;
}

static err_t
verify_page(buffer_t number, unsigned slot)
{
    struct pool_verify_page page;
    const char *fault;

    pool_verify_copy(number, slot, in_memory, &page);
    if (!page.there)
        return OK;
    fault = form_fault(in_memory);
    if (fault == NULL && page.as_on_disk && differs_from_disk(page.id) &&
        pool_verify_rested(number, &page)) /* V2 */
        fault = "it is not what is on disk, and nobody changed it";
    if (fault != NULL)
        return err_set(ERR_INTERNAL, "page %" PRIu32 " of file %" PRIu32 ": %s", page.id.block,
            page.id.file, fault);
    return OK;
}

err_t
verify_held(unsigned slot, struct verify_pins *pins)
{
    pins->count = 0;
    TRY_RETURN(segment_verify());
    TRY_RETURN(proc_verify(slot));
    TRY_RETURN(ledger_verify_dead(slot));
    for (unsigned i = 0; i < LEDGER_MAX; i++) {
        uint64_t id;

        if (!ledger_names(slot, i, LEDGER_PIN, &id, NULL))
            continue;
        pins->buffer[pins->count++] = (uint32_t)id;
        if (lwlock_owner(&pool_buffer_at((buffer_t)id)->content) == (int)slot)
            TRY_RETURN(verify_page((buffer_t)id, slot));
    }
    return OK;
}

err_t
verify_left(unsigned slot, const struct verify_pins *pins)
{
    for (unsigned i = 0; i < pins->count; i++)
        TRY_RETURN(verify_page(pins->buffer[i], slot));
    TRY_RETURN(pool_verify_table());
    TRY_RETURN(txn_verify());
    TRY_RETURN(cursors_verify());
    return wal_flush_verify();
}
