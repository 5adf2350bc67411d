/*
 * world.h - what outlives the process that plays: the model, what may have to be undone, the story.
 *
 * It lies in memory that is shared with the processes that are forked to play: when one is killed,
 * the next goes on with it.
 *
 * The model is changed first, step by step, each with its journal entries; then the engine is
 * asked.  After a kill the engine has done a beginning of these steps: they are undone from the end
 * until both are equal.  What is known to be on disk is struck out of the journal.
 */
#ifndef TESTS_MODEL_WORLD_H
#define TESTS_MODEL_WORLD_H

#include "tests/model/model.h"

#define WORLD_JOURNAL 4096
#define WORLD_STORY   8192 /* operations that are remembered */
#define WORLD_NOTE    100
#define WORLD_BYTES   900

struct operation {
    uint64_t number;
    char note[WORLD_NOTE];
    uint32_t size[3]; /* of filter, update or document, sort; 0: none, or too large to be kept */
    uint8_t data[3][WORLD_BYTES];
};

enum entry_kind { ENTRY_DOC, ENTRY_INDEXES, ENTRY_THERE };
struct entry {
    uint64_t step;
    enum entry_kind kind;
    unsigned collection, slot;
    uint32_t indexes;
    bool there;
    struct doc before;
};

struct world {
    struct collection collection[MODEL_COLLECTIONS];
    uint64_t seed, operation, step;
    unsigned journal_count;
    struct entry journal[WORLD_JOURNAL];
    struct operation story[WORLD_STORY];
    /* a life that is to end by a kill */
    bool armed, ends; /* ends: the process has done what it should */
    char fault[64];   /* the point that is armed */
    bool recovering;  /* it may be killed by a point before it plays */
    uint64_t armed_at;
    /* figures */
    uint64_t kills, kills_in_recovery, reopens, compares, undone, conflicts, found, cursors,
        changes, vacuums, checkpoints, built;
};
extern struct world *world; /* const after world_make */

void world_make(uint64_t seed);

/* ---- the model, with its journal ---- */
void world_begin_step(void);
void world_set_doc(unsigned collection, unsigned slot, const struct doc *doc);
void world_set_indexes(unsigned collection, uint32_t indexes);
void world_set_there(unsigned collection, bool there);
bool world_has_step(void); /* Has this step changed anything? */
/* Undo the last step; false: nothing is left to undo. */
bool world_undo(void);
/* All so far is on disk. */
void world_forget_journal(void);

/* ---- the story ---- */
void world_note(unsigned part, const struct bson_out *bson); /* 0 filter, 1 update, 2 sort */
void world_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Print the last operations, those that changed the document (slot below MODEL_SLOTS), and end
   this process as failed. */
void world_fail(unsigned collection, unsigned slot, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));
void world_print_last(unsigned count);

#endif
