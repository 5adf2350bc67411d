/*
 * orphans.c - data files that belong to nobody, on a live server.
 *
 * A file that is there, whose maker has ended, and that no committed row names, was made by a
 * transaction that failed, or dropped by one that committed.  In order: list the files; wait until
 * every transaction that has an xid then has ended; ask the catalog.  What a file's maker committed
 * is seen by the asking, since a file is made under the xid of its row.
 *
 * A dropped file that is on its way to the graveyard may be found, too: so what is found is not
 * removed but buried, behind those who may still be reading it; removing it twice harms nothing.
 */
#include "storage/collection/orphans.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "storage/collection/catalog_boot.h"
#include "storage/collection/catalog_share.h"
#include "storage/collection/graveyard.h"
#include "storage/page/datafile.h"
#include "storage/txn/txn.h"

#define FIRST 256

struct numbers {
    struct arena *arena;
    fileno_t *file;
    size_t count, room;
    err_t err; /* the first failure */
};

static void
add(struct numbers *numbers, fileno_t file)
{
    if (numbers->count == numbers->room) {
        size_t room = numbers->room > 0 ? numbers->room * 2 : FIRST;
        fileno_t *more = arena_alloc(numbers->arena, room * sizeof *more);

        if (more == NULL) {
            numbers->err = ERR_MEMORY;
            return;
        }
        if (numbers->count > 0)
            memcpy(more, numbers->file, numbers->count * sizeof *more);
        numbers->file = more;
        numbers->room = room;
    }
    numbers->file[numbers->count++] = file;
}

static err_t
note_there(fileno_t file, uint64_t size, void *context)
{
    struct numbers *numbers = context;

    (void)size;
    add(numbers, file);
    return numbers->err;
}

static void
note_owned(void *context, fileno_t file)
{
    add(context, file);
}

static int
compare_files(const void *a, const void *b)
{
    fileno_t x = *(const fileno_t *)a, y = *(const fileno_t *)b;

    return (x > y) - (x < y);
}

err_t
orphans_find(struct op *op, fileno_t **files, size_t *count, uint64_t *total)
{
    struct numbers there = { .arena = op->arena }, owned = { .arena = op->arena };
    size_t kept = 0;

    TRY_RETURN(datafile_walk(note_there, &there));
    TRY_RETURN(txn_wait_all(op, NULL));
    TRY_RETURN(catalog_boot_files(op, note_owned, &owned));
    TRY_RETURN(owned.err);
    qsort(owned.file, owned.count, sizeof *owned.file, compare_files);
    *total = there.count;
    for (size_t i = 0; i < there.count; i++) {
        fileno_t file = there.file[i];

        if (bsearch(&file, owned.file, owned.count, sizeof file, compare_files) == NULL &&
            !graveyard_has(file) && datafile_exists(file))
            there.file[kept++] = file;
    }
    *files = there.file;
    *count = kept;
    return OK;
}

err_t
orphans_bury(struct op *op)
{
    uint64_t total, version;
    fileno_t *file;
    size_t count;

    TRY_RETURN(orphans_find(op, &file, &count, &total));
    if (count == 0)
        return OK;
    version = catalog_share_bump();
    for (size_t i = 0; i < count; i++)
        graveyard_put(file[i], version);
    log_info("%zu data files that belong to nobody will be removed", count);
    return OK;
}
