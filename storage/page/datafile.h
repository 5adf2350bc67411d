/*
 * datafile.h - the files that hold pages.
 *
 * One file for each heap, index, free-space map and so on: <data>/data/<2 hex>/<8 hex> of its
 * number. Numbers are never reused.  Names of collections never become paths.
 */
#ifndef STORAGE_PAGE_DATAFILE_H
#define STORAGE_PAGE_DATAFILE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/types.h"
#include "shmem/region.h"
#include "wal/checkpoint.h"
#include "wal/wal_record.h"

/* Fixed numbers; the catalog's own files. Others begin at DATAFILE_FIRST. */
enum datafile_fixed {
    DATAFILE_CLOG = 1,
    DATAFILE_CSN = 2, /* not kept over a restart */
    DATAFILE_CATALOG = 3,
    DATAFILE_CATALOG_FREE = 4,
    DATAFILE_CATALOG_INDEX = 5,
    DATAFILE_FIRST = 16
};

extern const struct region datafile_region;
extern const struct checkpoint_part
    datafile_part; /* syncs what was written; notes the next number */
extern const struct wal_handler datafile_handler_create, datafile_handler_unlink,
    datafile_handler_truncate;

err_t datafile_open_dir(const char *data_dir) MUST_CHECK; /* once a process (and its threads) */
err_t datafile_make_dir(const char *data_dir) MUST_CHECK; /* those that are missing */

/* A number for a new file; durable enough never to be given twice. */
err_t datafile_next(fileno_t *file) MUST_CHECK;

/* Make an empty file and log that (under `xid`: recovery removes it if that never committed – the
   caller sees to it that rollback does too). */
err_t datafile_create(fileno_t file, xid_t xid) MUST_CHECK;
/* Remove now: forgets its pages in the pool first.  A missing file is fine.  Not logged: the commit
   record of the drop names the file, or it belonged to nobody. */
err_t datafile_unlink(fileno_t file) MUST_CHECK;
/* The same, logged first: replay makes such a file anew, and must give its room back where it was
   given back, for on a full disk others may have it by now. */
err_t datafile_remove(fileno_t file) MUST_CHECK;

/* Pages it has, by its size; cached in shared memory. */
err_t datafile_blocks(fileno_t file, block_t *count) MUST_CHECK;
bool datafile_exists(fileno_t file);

/* Raw access, for the pool and for tools.  `page` has wal_page_size bytes; write sets nothing: the
   caller has put the checksum in.  Writing notes that the file must be synced by the next
   checkpoint. */
err_t datafile_read(struct page_id id, void *page) MUST_CHECK;
err_t datafile_write(struct page_id id, const void *page) MUST_CHECK;
/* Grow to at least `count` pages of zeroes (allocated: a full disk is told here). */
err_t datafile_extend(fileno_t file, block_t count) MUST_CHECK;
/* One more page, zeroed, for this caller alone; the file grows in steps.  It may have been handed
   out before a crash and be in use: look whether it is still zero.  */
err_t datafile_hand_out(fileno_t file, block_t *block) MUST_CHECK;
void datafile_take_back(fileno_t file, block_t block); /* it was not used after all; best effort */
/* Ask the kernel to read it soon. */
void datafile_will_need(struct page_id id);
err_t datafile_cut(fileno_t file, block_t count, xid_t xid) MUST_CHECK; /* logged; vacuum's */

/* Call `visit` for every file there is: for the search for files that nobody owns. */
err_t datafile_walk(
    err_t (*visit)(fileno_t file, uint64_t size, void *context), void *context) MUST_CHECK;

#endif
