/*
 * cursors_table.h - the places of cursors in shared memory; beneath cursors.h.
 */
#ifndef BACKEND_COMMAND_CURSORS_TABLE_H
#define BACKEND_COMMAND_CURSORS_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/query/sorter.h"
#include "base/arena.h"
#include "base/config.h"
#include "storage/txn/snapshot.h"

#define CURSORS_TABLE_NAME_MAX  400  /* "tenant/database.collection", NUL included */
#define CURSORS_TABLE_QUERY_MAX 1024 /* bytes that fit into a place; longer ones go to a file */
#define CURSORS_TABLE_STATE_MAX 1280 /* a position in an index: a key and a little */
#define CURSORS_TABLE_NONE      UINT32_MAX

/* What a place holds.  guard: whoever has taken the place; `id`, `owner`, `name` also the table's
   lock, under which they are read by everyone. */
struct cursors_table_entry {
    int64_t id;
    uint64_t owner;
    uint64_t collection; /* its oid */
    struct snapshot snapshot;
    uint32_t hold; /* the snapshot's place; CURSORS_TABLE_NONE: not held */
    uint32_t query_size, state_size;
    uint32_t next_size; /* of a document that did not fit into the last batch; always in the file */
    bool query_in_file, state_in_file, no_timeout;
    char name[CURSORS_TABLE_NAME_MAX];
    uint8_t query[CURSORS_TABLE_QUERY_MAX];
    uint8_t state[CURSORS_TABLE_STATE_MAX]; /* run_save; size 0: the run has it, or there is none */
};

size_t cursors_table_size(const struct config *config);
void cursors_table_init(void *zeroed, const struct config *config);

/* A free place, taken by this process (LEDGER_CURSOR until parked or freed), with a new id. Errors:
   ERR_TOO_MANY. */
err_t cursors_table_add(uint32_t *index) MUST_CHECK;
struct cursors_table_entry *cursors_table_at(uint32_t index); /* taken by this process */

enum cursors_table_answer {
    CURSORS_TABLE_TAKEN,
    CURSORS_TABLE_MISSING,
    CURSORS_TABLE_BUSY, /* another request has it */
    CURSORS_TABLE_OTHER_NAME,
    CURSORS_TABLE_OTHER_OWNER
};
/* Take the cursor up.  `name` NULL: any, and any owner. */
enum cursors_table_answer cursors_table_take(
    int64_t id, const char *name, uint64_t owner, uint32_t *index);
/* Let go of it; freed if it was killed meanwhile. */
void cursors_table_park(uint32_t index, int64_t now_ns);
void cursors_table_free(uint32_t index);
/* Free a parked one, have a taken one freed when it is parked.  False: there is none. */
bool cursors_table_kill(int64_t id, const char *name);
/* Kill all of this owner (0: of nobody in particular) that are idle since before `idle_since_ns`.
 */
void cursors_table_sweep(uint64_t owner, int64_t idle_since_ns);
uint64_t cursors_table_count(void);
/* After an internal fault: is the table a possible one?  Errors: ERR_INTERNAL: what is odd. */
err_t cursors_table_verify(void) MUST_CHECK;

/* Copy the snapshot's hold into the place: from now on it is the place's. */
void cursors_table_keep_snapshot(uint32_t index, const struct snapshot *snapshot, uint32_t hold);

/* The name for the file of a sort that is saved for this place; nobody else's, in this run or
 * another. */
void cursors_table_sort_name(uint32_t index, char name[SORTER_NAME_SIZE]);

/* What does not fit into the place goes to a file of its own: the query, written once, and behind
   it the state and the document that was not taken, written anew each time it is parked.  Size 0:
   not in the file.  Both keep the entry's sizes and flags. */
err_t cursors_table_write_query(uint32_t index, struct bytes query) MUST_CHECK;
err_t cursors_table_write_tail(uint32_t index, struct bytes state, struct bytes next) MUST_CHECK;
/* Reading leaves alone what is not in the file. */
err_t cursors_table_read_file(uint32_t index, struct arena *arena, struct bytes *query,
    struct bytes *state, struct bytes *next) MUST_CHECK;

#endif
