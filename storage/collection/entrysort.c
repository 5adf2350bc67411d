/*
 * entrysort.c - putting the entries of an index in order, whatever their number.
 *
 *   entry in memory and in the file:   block u32 | item u16 | key size u16 | key
 *
 * Entries gather in one block of memory with an array of pointers that is sorted; when the memory
 * is full they are written behind each other as one run.  Merging reads each run through a window;
 * with W bytes of memory and windows of 64 KiB, W/64 KiB runs of W bytes each: 64 GiB of entries
 * for 64 MiB, and the windows shrink beyond.
 */
#include "storage/collection/entrysort.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/panic.h"
#include "base/tempfile.h"

#define WINDOW_MOST  ((size_t)64 << 10)
#define WINDOW_LEAST ((size_t)4 << 10)
#define RUNS_MAX     16384u
#define PATH_SIZE    4096

struct entry_head {
    uint32_t block;
    uint16_t item;
    uint16_t key_size;
};
_Static_assert(sizeof(struct entry_head) == 8, "in the file");

struct run {
    uint64_t at, end;   /* what is still in the file */
    uint8_t *window;    /* part that was read */
    size_t size, taken; /* of the window */
    struct index_entry entry;
};

struct entrysort {
    char path[PATH_SIZE];
    int fd; /* -1: no run was written */
    size_t memory;
    uint8_t *data;
    size_t size;
    uint8_t **entry; /* pointers into data */
    size_t count, room, given;
    uint64_t written;
    struct run *run;
    unsigned run_count, run_room;
    unsigned *heap; /* of runs, by their entries */
    unsigned heap_count;
    size_t window;
    bool merging, started;
};

err_t
entrysort_create(const char *folder, size_t memory, struct entrysort **result)
{
    struct entrysort *sort = calloc(1, sizeof *sort);
    bool made;
    err_t err;

    *result = NULL;
    if (sort == NULL)
        return err_set(ERR_MEMORY, "could not sort the entries of an index: out of memory");
    sort->fd = -1;
    sort->memory = memory;
    TRY(file_make_dir(folder, 0700, &made));
    if (snprintf(sort->path, sizeof sort->path, "%s", folder) >= PATH_SIZE)
        TRY(err_set(ERR_IO, "the name of the folder for temporary files is too long"));
    *result = sort;
    return OK;
out:
    free(sort);
    return err;
}

void
entrysort_destroy(struct entrysort *sort)
{
    if (sort == NULL)
        return;
    for (unsigned i = 0; i < sort->run_count; i++)
        free(sort->run[i].window);
    if (sort->fd >= 0)
        file_close(sort->fd);
    free(sort->run);
    free(sort->heap);
    free(sort->entry);
    free(sort->data);
    free(sort);
}

/* ---- entries ---- */

static struct index_entry
entry_at(const uint8_t *at)
{
    struct entry_head head;

    memcpy(&head, at, sizeof head);
    return (struct index_entry){ .key = { at + sizeof head, head.key_size },
        .row = { head.block, head.item } };
}

static int
compare(const struct index_entry *a, const struct index_entry *b)
{
    int order = bytes_compare(a->key, b->key);

    if (order != 0)
        return order;
    if (a->row.block != b->row.block)
        return a->row.block < b->row.block ? -1 : 1;
    return (a->row.item > b->row.item) - (a->row.item < b->row.item);
}

static int
compare_pointers(const void *a, const void *b)
{
    struct index_entry x = entry_at(*(uint8_t *const *)a), y = entry_at(*(uint8_t *const *)b);

    return compare(&x, &y);
}

/* ---- runs ---- */

/* A file without a name: nothing is left of it, however the process ends. */
static err_t
open_file(struct entrysort *sort)
{
    if (sort->fd >= 0)
        return OK;
    return tempfile_open(sort->path, &sort->fd);
}

static err_t
add_run(struct entrysort *sort, uint64_t end)
{
    if (sort->run_count == RUNS_MAX)
        return err_set(ERR_DISK_FULL, "an index has too many entries to be sorted");
    if (sort->run_count == sort->run_room) {
        unsigned room = sort->run_room > 0 ? sort->run_room * 2 : 16;
        struct run *more = realloc(sort->run, room * sizeof *more);

        if (more == NULL)
            return err_set(ERR_MEMORY, "could not sort the entries of an index: out of memory");
        sort->run = more;
        sort->run_room = room;
    }
    sort->run[sort->run_count++] = (struct run){ .at = sort->written, .end = end };
    return OK;
}

static err_t
write_run(struct entrysort *sort)
{
    struct buf out = buf_init((size_t)2 << 20);
    uint64_t at = sort->written;
    err_t err;

    TRY(open_file(sort));
    qsort(sort->entry, sort->count, sizeof *sort->entry, compare_pointers);
    for (size_t i = 0; i < sort->count; i++) {
        struct index_entry entry = entry_at(sort->entry[i]);

        TRY(buf_append(&out, sort->entry[i], sizeof(struct entry_head) + entry.key.size));
        if (out.size >= ((size_t)1 << 20) || i + 1 == sort->count) {
            TRY(file_write(sort->fd, sort->path, out.data, out.size, at, FAULT_TEMP_WRITE));
            at += out.size;
            buf_clear(&out);
        }
    }
    TRY(add_run(sort, at));
    sort->written = at;
    sort->size = sort->count = 0;
out:
    buf_fini(&out);
    return err;
}

/* Memory for one more entry: grows in steps, so that a small index is cheap. */
static err_t
make_room(struct entrysort *sort, size_t size)
{
    if (sort->data == NULL) {
        /* Untouched pages cost nothing; entries must not move once they are pointed to. */
        sort->data = malloc(sort->memory);
        if (sort->data == NULL)
            return err_set(ERR_MEMORY, "could not sort the entries of an index: out of memory");
    }
    if (sort->size + size > sort->memory)
        TRY_RETURN(write_run(sort));
    if (sort->count == sort->room) {
        size_t room = sort->room > 0 ? sort->room * 2 : 256;
        uint8_t **more = realloc(sort->entry, room * sizeof *more);

        if (more == NULL)
            return err_set(ERR_MEMORY, "could not sort the entries of an index: out of memory");
        sort->entry = more;
        sort->room = room;
    }
    return OK;
}

err_t
entrysort_add(struct entrysort *sort, struct bytes key, struct row_id row)
{
    struct entry_head head = { row.block, row.item, (uint16_t)key.size };
    uint8_t *to;

    invariant(key.size <= INDEX_KEY_MAX && !sort->started);
    TRY_RETURN(make_room(sort, sizeof head + key.size));
    to = sort->data + sort->size;
    memcpy(to, &head, sizeof head);
    memcpy(to + sizeof head, key.data, key.size);
    sort->entry[sort->count++] = to;
    sort->size += sizeof head + key.size;
    return OK;
}

/* ---- merging ---- */

/* The run's next entry; *more false: it has no more. */
static err_t
advance(struct entrysort *sort, struct run *run, bool *more)
{
    struct entry_head head;
    size_t left = run->size - run->taken;

    *more = true;
    if (left < sizeof head + INDEX_KEY_MAX && run->at < run->end) {
        size_t read = sort->window - left;

        memmove(run->window, run->window + run->taken, left);
        if (read > run->end - run->at)
            read = (size_t)(run->end - run->at);
        TRY_RETURN(file_read(
            sort->fd, sort->path, run->window + left, read, run->at, NULL, FAULT_TEMP_READ));
        run->at += read;
        run->size = left = left + read;
        run->taken = 0;
    }
    if (left == 0) {
        *more = false;
        return OK;
    }
    if (left < sizeof head)
        return err_set(ERR_CORRUPT, "a temporary file was changed while it was in use");
    memcpy(&head, run->window + run->taken, sizeof head);
    if (left < sizeof head + head.key_size)
        return err_set(ERR_CORRUPT, "a temporary file was changed while it was in use");
    run->entry = entry_at(run->window + run->taken);
    run->taken += sizeof head + head.key_size;
    return OK;
}

static bool
before(const struct entrysort *sort, unsigned a, unsigned b)
{
    return compare(&sort->run[sort->heap[a]].entry, &sort->run[sort->heap[b]].entry) < 0;
}

static void
sink(struct entrysort *sort, unsigned at)
{
    for (;;) {
        unsigned child = 2 * at + 1, run;

        if (child >= sort->heap_count)
            return;
        if (child + 1 < sort->heap_count && before(sort, child + 1, child))
            child++;
        if (!before(sort, child, at))
            return;
        run = sort->heap[at];
        sort->heap[at] = sort->heap[child];
        sort->heap[child] = run;
        at = child;
    }
}

static err_t
begin_merge(struct entrysort *sort)
{
    free(sort->data);
    free(sort->entry);
    sort->data = NULL;
    sort->entry = NULL;
    sort->window = sort->memory / sort->run_count;
    if (sort->window > WINDOW_MOST)
        sort->window = WINDOW_MOST;
    if (sort->window < WINDOW_LEAST)
        sort->window = WINDOW_LEAST;
    sort->heap = calloc(sort->run_count, sizeof *sort->heap);
    if (sort->heap == NULL)
        return err_set(ERR_MEMORY, "could not sort the entries of an index: out of memory");
    for (unsigned i = 0; i < sort->run_count; i++) {
        bool more;

        sort->run[i].window = malloc(sort->window);
        if (sort->run[i].window == NULL)
            return err_set(ERR_MEMORY, "could not sort the entries of an index: out of memory");
        TRY_RETURN(advance(sort, &sort->run[i], &more));
        if (more)
            sort->heap[sort->heap_count++] = i;
    }
    for (unsigned i = sort->heap_count / 2; i-- > 0;)
        sink(sort, i);
    return OK;
}

err_t
entrysort_finish(struct entrysort *sort)
{
    sort->merging = sort->run_count > 0;
    if (!sort->merging) {
        if (sort->count > 1)
            qsort(sort->entry, sort->count, sizeof *sort->entry, compare_pointers);
        return OK;
    }
    if (sort->count > 0)
        TRY_RETURN(write_run(sort));
    return begin_merge(sort);
}

static err_t
next_merged(struct entrysort *sort, struct index_entry *entry, bool *found)
{
    bool more;

    /* The entry given last is overwritten only now. */
    if (sort->started && sort->heap_count > 0) {
        TRY_RETURN(advance(sort, &sort->run[sort->heap[0]], &more));
        if (!more)
            sort->heap[0] = sort->heap[--sort->heap_count];
        sink(sort, 0);
    }
    sort->started = true;
    *found = sort->heap_count > 0;
    if (*found)
        *entry = sort->run[sort->heap[0]].entry;
    return OK;
}

err_t
entrysort_next(struct entrysort *sort, struct index_entry *entry, bool *found)
{
    if (sort->merging)
        return next_merged(sort, entry, found);
    *found = sort->given < sort->count;
    if (*found)
        *entry = entry_at(sort->entry[sort->given++]);
    return OK;
}
