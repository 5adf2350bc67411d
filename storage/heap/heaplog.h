/*
 * heaplog.h - what the heap's log records say.
 *
 * Fixed part as the record's data; what belongs to a page as that page's data, which is left out if
 * the page goes in whole.  All numbers little-endian as in memory; no holes.
 *
 *   kind                    pages                    page data
 *   WAL_HEAP_INSERT         0 the page               the row's bytes without head
 *   WAL_HEAP_MULTI_INSERT   0 the page               items {item, length}, then rows with heads
 *   WAL_HEAP_UPDATE         0 the new version's      what differs from the old row's bytes
 *                           1 the old version's, if it is another
 *   WAL_HEAP_DELETE         0 the page               -
 *   WAL_HEAP_PRUNE          0 the page               items: redirects (pairs), dead, unused
 *   WAL_HEAP_FREEZE         0 the page               items: frozen, freed of xmax
 *   WAL_OVERFLOW            0 the page, made anew    its part of the row
 *   WAL_OVERFLOW_FREE       0 the page, made anew    -
 */
#ifndef STORAGE_HEAP_HEAPLOG_H
#define STORAGE_HEAP_HEAPLOG_H

#include "base/types.h"

struct heaplog_insert {
    uint32_t command;
    uint16_t item;
    uint16_t flags;
};
_Static_assert(sizeof(struct heaplog_insert) == 8, "a log record has no holes");

struct heaplog_multi {
    uint32_t count;
    uint32_t bytes; /* of the rows */
};
_Static_assert(sizeof(struct heaplog_multi) == 8, "a log record has no holes");
struct heaplog_multi_item {
    uint16_t item;
    uint16_t length;
};
_Static_assert(sizeof(struct heaplog_multi_item) == 4, "a log record has no holes");

struct heaplog_update {
    uint32_t command;
    block_t new_block;
    uint16_t old_item;
    uint16_t new_item;
    uint16_t old_flags; /* HOT_UPDATED or MOVED */
    uint16_t new_flags;
    uint16_t prefix; /* bytes at the front and the end that are the old row's */
    uint16_t suffix;
    uint32_t zero;
};
_Static_assert(sizeof(struct heaplog_update) == 24, "a log record has no holes");

struct heaplog_delete {
    uint32_t command;
    uint16_t item;
    uint16_t zero;
};
_Static_assert(sizeof(struct heaplog_delete) == 8, "a log record has no holes");

struct heaplog_prune {
    xid_t prune_xid; /* what the page's prune_xid becomes */
    uint16_t redirects;
    uint16_t dead;
    uint16_t unused;
    uint16_t zero;
};
_Static_assert(sizeof(struct heaplog_prune) == 16, "a log record has no holes");

struct heaplog_freeze {
    uint16_t frozen;
    uint16_t cleared;
    uint16_t all_frozen;
    uint16_t zero;
};
_Static_assert(sizeof(struct heaplog_freeze) == 8, "a log record has no holes");

struct heaplog_overflow {
    block_t next;
    block_t last;
    uint32_t part;
    uint32_t size;
};
_Static_assert(sizeof(struct heaplog_overflow) == 16, "a log record has no holes");

#endif
