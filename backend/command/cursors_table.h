/*
 * cursors_table.h - the places of cursors in shared memory; beneath cursors.h.
 */
#ifndef BACKEND_COMMAND_CURSORS_TABLE_H
#define BACKEND_COMMAND_CURSORS_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/config.h"
#include "storage/txn/snapshot.h"

#define CURSORS_TABLE_NAME_MAX  400  /* "tenant/database.collection", NUL included */
#define CURSORS_TABLE_QUERY_MAX 1024 /* bytes that fit into a place; longer ones go to a file */
#define CURSORS_TABLE_STATE_MAX 512
#define CURSORS_TABLE_NONE      UINT32_MAX

/* What a place holds.  guard: whoever has taken the place; `id`, `owner`, `name` also the table's
   lock, under which they are read by everyone. */
struct cursors_table_entry {
    int64_t id;
    uint64_t owner;
    uint64_t collection; /* its oid */
    uint64_t turn;       /* +1 each time it is parked: a live run of an earlier turn is stale */
    uint64_t delivered;  /* documents given since the state was saved */
    struct snapshot snapshot;
    uint32_t hold; /* the snapshot's place; CURSORS_TABLE_NONE: not held */
    uint32_t query_size, state_size;
    bool query_in_file, state_in_file, no_timeout;
    char name[CURSORS_TABLE_NAME_MAX];
    uint8_t query[CURSORS_TABLE_QUERY_MAX];
    uint8_t state[CURSORS_TABLE_STATE_MAX];
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
/* Is this still the id and turn of what is parked there?  A glance, without a lock. */
bool cursors_table_current(uint32_t index, int64_t id, uint64_t turn);
uint64_t cursors_table_count(void);

/* Copy the snapshot's hold into the place: from now on it is the place's. */
void cursors_table_keep_snapshot(uint32_t index, const struct snapshot *snapshot, uint32_t hold);

/* Query or state that are too large for the place (size 0: it stands there): one file a place,
   written once.  Reading leaves alone what is not in the file. */
err_t cursors_table_write_file(uint32_t index, struct bytes query, struct bytes state) MUST_CHECK;
err_t cursors_table_read_file(
    uint32_t index, struct arena *arena, struct bytes *query, struct bytes *state) MUST_CHECK;

#endif
