/*
 * types.h - the numbers that have a meaning everywhere in the house.
 */
#ifndef BASE_TYPES_H
#define BASE_TYPES_H

#include <stdint.h>

typedef uint64_t xid_t; /* a transaction; 0: none; 64 bits never wrap */
typedef uint64_t csn_t; /* the number under which a transaction committed; 0: none */
typedef uint64_t lsn_t; /* a byte position in the log; 0: none */

typedef uint32_t fileno_t; /* a relation's file, data/<xx>/<fileno>; never reused; 0: none */
typedef uint32_t block_t;  /* a page within a file, from 0 */

#define BLOCK_NONE UINT32_MAX

/* The address of a page. Compared as two words; no holes. */
struct page_id {
    fileno_t file;
    block_t block;
};

/* The place of a row version: its page and its item on the page (from 1). */
struct row_id {
    block_t block;
    uint16_t item; /* 0: no place */
};

#define ROW_ID_NONE ((struct row_id){ BLOCK_NONE, 0 })

#endif
