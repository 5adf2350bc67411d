/*
 * sorter.c - documents put in the order of their keys, in memory or in a temporary file.
 *
 *     FILLING --finish--> MEMORY   rows are in `row`, sorted
 *                     \-> MERGE    runs in the unnamed file, one buffer for each
 *     restore ----------> INLINE   rows stand in `bytes`
 *                     \-> STREAM   rows stand in a named file, one run
 *
 * A row in a file is its head (struct head), key and document; runs stand one behind the other.
 *
 * INVARIANTS
 *  S1  seq grows with each row that came in; (key, seq) is the order, so it is stable.
 *  S2  A file that was given a name is removed by sorter_destroy of whoever restored it, or by
 *      sorter_forget, or, as whoever saves chooses the name, by whoever buries him; at the latest
 *      when the server starts (everything in <data>/tmp is).
 *  S3  What is read back is checked: sizes lie within the run.
 *
 * IF A PROCESS DIES: unnamed files vanish with it; named ones are S2's.
 */
#include "backend/query/sorter.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mutant.h"
#include "base/panic.h"
#include "base/tempfile.h"
#include "shmem/interrupt.h"

#define READ_SIZE   (64u << 10)
#define INLINE_MAX  (16u << 10)
#define WRITE_SIZE  (256u << 10)
#define ROW_MAX     (64u << 20)
#define RUNS_MAX    4096
#define CHECK_EVERY 4096

struct head {
    uint32_t key_size, document_size;
    uint32_t block;
    uint32_t item;
    uint64_t seq;
};
_Static_assert(sizeof(struct head) == 24, "no holes");

struct row {
    struct head head;
    uint8_t bytes[]; /* key, document */
};

struct run {
    uint64_t at, end; /* in the file: what is not read yet */
    uint8_t *buffer;
    size_t from, have, capacity;
    bool loaded; /* the row at `from` is whole */
};

enum state { FILLING, MEMORY, MERGE };

struct sorter {
    enum state state;
    char *folder;
    uint64_t limit, seq, spilled, out;
    size_t memory, used;
    struct row **row;
    size_t count, capacity, next;
    bool heap; /* row is a heap, the greatest first */
    int fd;
    uint64_t file_size;
    struct run *run;
    size_t run_count;
    struct run *last; /* whose row was given out */
    char name[SORTER_NAME_SIZE];
    bool named;
};

static int
compare_heads(const struct head *a, const uint8_t *x, const struct head *b, const uint8_t *y)
{
    int order = bytes_compare((struct bytes){ x, a->key_size }, (struct bytes){ y, b->key_size });

    return order != 0 ? order : (a->seq > b->seq) - (a->seq < b->seq); /* S1 */
}

static int
by_key(const void *a, const void *b)
{
    const struct row *x = *(struct row *const *)a, *y = *(struct row *const *)b;

    return compare_heads(&x->head, x->bytes, &y->head, y->bytes);
}

static size_t
row_size(const struct head *head)
{
    return sizeof *head + head->key_size + head->document_size;
}

err_t
sorter_create(const char *folder, uint64_t limit, size_t memory, struct sorter **sorter)
{
    struct sorter *made = calloc(1, sizeof *made);

    if (made != NULL) {
        made->folder = strdup(folder);
        made->fd = -1;
        made->limit = limit;
        made->memory = memory;
        made->heap = limit > 0;
    }
    if (made == NULL || made->folder == NULL) {
        free(made);
        return err_set(ERR_MEMORY, "could not begin a sort: out of memory");
    }
    *sorter = made;
    return OK;
}

static void
file_path(const char *folder, const char *name, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/%s", folder, name);
}

void
sorter_destroy(struct sorter *sorter)
{
    char path[4200];

    if (sorter == NULL)
        return;
    for (size_t i = 0; i < sorter->count; i++)
        free(sorter->row[i]);
    free(sorter->row);
    for (size_t i = 0; i < sorter->run_count; i++)
        free(sorter->run[i].buffer);
    free(sorter->run);
    if (sorter->fd >= 0)
        file_close(sorter->fd);
    if (sorter->named) {
        file_path(sorter->folder, sorter->name, path, sizeof path);
        (void)unlink(path); /* S2 */
    }
    free(sorter->folder);
    free(sorter);
}

static void
sift_down(struct sorter *sorter, size_t at)
{
    struct row **row = sorter->row;

    for (;;) {
        size_t child = 2 * at + 1, most = at;
        struct row *swap;

        if (child < sorter->count && by_key(&row[child], &row[most]) > 0)
            most = child;
        if (child + 1 < sorter->count && by_key(&row[child + 1], &row[most]) > 0)
            most = child + 1;
        if (most == at)
            return;
        swap = row[at];
        row[at] = row[most];
        row[most] = swap;
        at = most;
    }
}

static void
sift_up(struct sorter *sorter, size_t at)
{
    struct row **row = sorter->row;

    while (at > 0 && by_key(&row[at], &row[(at - 1) / 2]) > 0) {
        struct row *swap = row[at];

        row[at] = row[(at - 1) / 2];
        row[(at - 1) / 2] = swap;
        at = (at - 1) / 2;
    }
}

static err_t
open_file(struct sorter *sorter)
{
    if (sorter->fd >= 0)
        return OK;
    TRY_RETURN(file_make_dir(sorter->folder, 0700, &(bool){ false }));
    return tempfile_open(sorter->folder, &sorter->fd);
}

/* So that another process can open it. */
static err_t
give_name(struct sorter *sorter, const char *name)
{
    invariant(strlen(name) < SORTER_NAME_SIZE);
    (void)snprintf(sorter->name, sizeof sorter->name, "%s", name);
    TRY_RETURN(tempfile_name(sorter->folder, sorter->name, sorter->file_size, &sorter->fd));
    sorter->named = true;
    (void)fault_pass(FAULT_TEMP_NAMED);
    return OK;
}

static err_t
flush(struct sorter *sorter, struct buf *block)
{
    TRY_RETURN(file_write(
        sorter->fd, sorter->folder, block->data, block->size, sorter->file_size, FAULT_TEMP_WRITE));
    sorter->file_size += block->size;
    sorter->spilled += block->size;
    buf_clear(block);
    return OK;
}

static err_t
write_row(struct sorter *sorter, struct buf *block, const struct head *head, const uint8_t *bytes)
{
    TRY_RETURN(buf_append(block, head, sizeof *head));
    TRY_RETURN(buf_append(block, bytes, head->key_size + head->document_size));
    return block->size >= WRITE_SIZE ? flush(sorter, block) : OK;
}

static err_t
write_rows(struct op *op, struct sorter *sorter, struct buf *block)
{
    err_t err = OK;

    for (size_t i = 0; i < sorter->count && err == OK; i++) {
        err = write_row(sorter, block, &sorter->row[i]->head, sorter->row[i]->bytes);
        if (err == OK && i % CHECK_EVERY == 0)
            err = interrupt_check(op);
    }
    if (err == OK && block->size > 0)
        err = flush(sorter, block);
    return err;
}

/* What is in memory becomes a run in the file. */
static err_t
spill(struct op *op, struct sorter *sorter)
{
    struct buf block = buf_init(WRITE_SIZE + ROW_MAX);
    struct run *larger, *run;
    err_t err;

    if (sorter->run_count == RUNS_MAX)
        return err_set(ERR_MEMORY, "a sort needs too much room; raise memory.work_mem");
    TRY_RETURN(open_file(sorter));
    larger = realloc(sorter->run, (sorter->run_count + 1) * sizeof *larger);
    if (larger == NULL)
        return err_set(ERR_MEMORY, "could not sort: out of memory");
    sorter->run = larger;
    qsort(sorter->row, sorter->count, sizeof(struct row *), by_key);
    sorter->heap = false;
    run = &sorter->run[sorter->run_count];
    *run = (struct run){ .at = sorter->file_size };
    err = write_rows(op, sorter, &block);
    buf_fini(&block);
    if (err != OK)
        return err;
    run->end = sorter->file_size;
    sorter->run_count++;
    for (size_t i = 0; i < sorter->count; i++)
        free(sorter->row[i]);
    sorter->count = 0;
    sorter->used = 0;
    return OK;
}

static err_t
grow(struct sorter *sorter)
{
    size_t more = sorter->capacity == 0 ? 64 : 2 * sorter->capacity;
    struct row **larger;

    if (sorter->count < sorter->capacity)
        return OK;
    larger = realloc(sorter->row, more * sizeof(struct row *));
    if (larger == NULL)
        return err_set(ERR_MEMORY, "could not sort: out of memory");
    sorter->row = larger;
    sorter->capacity = more;
    return OK;
}

err_t
sorter_add(struct op *op, struct sorter *sorter, struct bytes key, struct bytes document,
    struct row_id root)
{
    bool full = sorter->heap && sorter->count == sorter->limit;
    struct head head = { (uint32_t)key.size, (uint32_t)document.size, root.block, root.item,
        sorter->seq++ };
    struct row *row;

    if (full && compare_heads(&head, key.data, &sorter->row[0]->head, sorter->row[0]->bytes) > 0)
        return OK;
    row = malloc(row_size(&head));
    if (row == NULL && !mutant(MUTANT_MEMORY_UNCHECKED))
        return err_set(ERR_MEMORY, "could not sort: out of memory");
    row->head = head;
    if (key.size > 0)
        memcpy(row->bytes, key.data, key.size);
    memcpy(row->bytes + key.size, document.data, document.size);
    sorter->used += row_size(&head) + sizeof(void *);
    if (full) {
        sorter->used -= row_size(&sorter->row[0]->head) + sizeof(void *);
        free(sorter->row[0]);
        sorter->row[0] = row;
        sift_down(sorter, 0);
    } else {
        err_t err = grow(sorter);

        if (err != OK) {
            free(row);
            return err;
        }
        sorter->row[sorter->count++] = row;
        if (sorter->heap)
            sift_up(sorter, sorter->count - 1);
    }
    return sorter->used > sorter->memory ? spill(op, sorter) : OK;
}

err_t
sorter_finish(struct op *op, struct sorter *sorter)
{
    if (sorter->run_count > 0 && sorter->count > 0)
        TRY_RETURN(spill(op, sorter));
    sorter->state = sorter->run_count > 0 ? MERGE : MEMORY;
    if (sorter->state == MEMORY && sorter->count > 1)
        qsort(sorter->row, sorter->count, sizeof(struct row *), by_key);
    return OK;
}

/* Make sure that the run's buffer has `want` bytes from `from`. */
static err_t
fill(struct sorter *sorter, struct run *run, size_t want)
{
    size_t rest = run->have - run->from, more;

    if (rest >= want)
        return OK;
    if (want - rest > run->end - run->at)
        return err_set(ERR_CORRUPT, "a temporary file of a sort is damaged"); /* S3 */
    if (run->from > 0)
        memmove(run->buffer, run->buffer + run->from, rest);
    run->from = 0;
    run->have = rest;
    if (want > run->capacity || run->buffer == NULL) {
        size_t capacity = want > READ_SIZE ? want : READ_SIZE;
        uint8_t *larger = realloc(run->buffer, capacity);

        if (larger == NULL)
            return err_set(ERR_MEMORY, "could not sort: out of memory");
        run->buffer = larger;
        run->capacity = capacity;
    }
    more = run->capacity - rest;
    if (more > run->end - run->at)
        more = (size_t)(run->end - run->at);
    TRY_RETURN(file_read(
        sorter->fd, sorter->folder, run->buffer + rest, more, run->at, NULL, FAULT_TEMP_READ));
    run->at += more;
    run->have += more;
    return OK;
}

static struct head
head_of(const struct run *run)
{
    struct head head;

    memcpy(&head, run->buffer + run->from, sizeof head);
    return head;
}

static err_t
load(struct sorter *sorter, struct run *run, bool *there)
{
    struct head head;

    *there = run->loaded;
    if (run->loaded || (run->from == run->have && run->at == run->end))
        return OK;
    TRY_RETURN(fill(sorter, run, sizeof head));
    head = head_of(run);
    if (head.key_size > ROW_MAX || head.document_size > ROW_MAX)
        return err_set(ERR_CORRUPT, "a temporary file of a sort is damaged");
    TRY_RETURN(fill(sorter, run, row_size(&head)));
    run->loaded = *there = true;
    return OK;
}

static void
pass(struct sorter *sorter)
{
    struct head head;

    if (sorter->last == NULL)
        return;
    head = head_of(sorter->last);
    sorter->last->from += row_size(&head);
    sorter->last->loaded = false;
    sorter->last = NULL;
}

/* The least row of all runs. */
static err_t
next_merged(struct sorter *sorter, struct head *head, const uint8_t **bytes, bool *found)
{
    struct run *least = NULL;
    struct head other;
    bool there;

    pass(sorter);
    for (size_t i = 0; i < sorter->run_count; i++) {
        struct run *run = &sorter->run[i];

        TRY_RETURN(load(sorter, run, &there));
        if (!there)
            continue;
        other = head_of(run);
        if (least == NULL ||
            compare_heads(&other, run->buffer + run->from + sizeof other, head, *bytes) < 0) {
            least = run;
            *head = other;
            *bytes = run->buffer + run->from + sizeof other;
        }
    }
    sorter->last = least;
    *found = least != NULL;
    return OK;
}

static err_t
next_row(struct sorter *sorter, struct head *head, const uint8_t **bytes, bool *found)
{
    *found = false;
    if (sorter->limit > 0 && sorter->out == sorter->limit)
        return OK;
    if (sorter->state == MERGE)
        TRY_RETURN(next_merged(sorter, head, bytes, found));
    else if (sorter->next < sorter->count) {
        *head = sorter->row[sorter->next]->head;
        *bytes = sorter->row[sorter->next]->bytes;
        sorter->next++;
        *found = true;
    }
    sorter->out += *found;
    return OK;
}

err_t
sorter_next(
    struct op *op, struct sorter *sorter, struct bytes *document, struct row_id *root, bool *found)
{
    const uint8_t *bytes = NULL;
    struct head head;

    (void)op;
    TRY_RETURN(next_row(sorter, &head, &bytes, found));
    if (!*found)
        return OK;
    *document = (struct bytes){ bytes + head.key_size, head.document_size };
    *root = (struct row_id){ head.block, (uint16_t)head.item };
    return OK;
}

/* State: 'F', name (SORTER_NAME_SIZE), from, end; or 'I' and rows. */
static err_t
note_file(struct sorter *sorter, uint64_t from, struct buf *state)
{
    TRY_RETURN(buf_append_byte(state, 'F'));
    TRY_RETURN(buf_append(state, sorter->name, SORTER_NAME_SIZE));
    TRY_RETURN(buf_append(state, &from, sizeof from));
    return buf_append(state, &sorter->file_size, sizeof sorter->file_size);
}

static err_t
save_rows(
    struct op *op, struct sorter *sorter, struct sorter *file, const char *name, struct buf *state)
{
    struct buf block = buf_init(WRITE_SIZE + ROW_MAX);
    const uint8_t *bytes = NULL;
    struct head head;
    bool found;
    err_t err = OK;

    for (uint64_t n = 0;; n++) {
        TRY(next_row(sorter, &head, &bytes, &found));
        if (!found)
            break;
        if (n % CHECK_EVERY == 0)
            TRY(interrupt_check(op));
        TRY(buf_append(&block, &head, sizeof head));
        TRY(buf_append(&block, bytes, head.key_size + head.document_size));
        if (block.size < (file->fd < 0 ? INLINE_MAX : WRITE_SIZE))
            continue;
        TRY(open_file(file));
        TRY(flush(file, &block));
    }
    if (file->fd < 0) {
        TRY(buf_append_byte(state, 'I'));
        TRY(buf_append(state, block.data, block.size));
        goto out;
    }
    if (block.size > 0)
        TRY(flush(file, &block));
    TRY(give_name(file, name)); /* as late as can be: who dies before leaves nothing */
    TRY(note_file(file, 0, state));
    file->named = false; /* S2: the state's from now on */
out:
    buf_fini(&block);
    return err;
}

err_t
sorter_save(struct op *op, struct sorter *sorter, const char *name, struct buf *state)
{
    struct sorter *file;
    err_t err;

    if (sorter->named) {
        struct run *run = &sorter->run[0];

        pass(sorter);
        TRY_RETURN(note_file(sorter, run->at - (run->have - run->from), state));
        sorter->named = false;
        return OK;
    }
    TRY_RETURN(sorter_create(sorter->folder, 0, 0, &file));
    err = save_rows(op, sorter, file, name, state);
    sorter_destroy(file);
    return err;
}

static err_t
restore_inline(struct sorter *sorter, struct bytes state)
{
    struct run *run = calloc(1, sizeof *run);

    if (run == NULL)
        return err_set(ERR_MEMORY, "could not take up a sort: out of memory");
    sorter->run = run;
    sorter->run_count = 1;
    run->buffer = malloc(state.size + 1);
    if (run->buffer == NULL)
        return err_set(ERR_MEMORY, "could not take up a sort: out of memory");
    if (state.size > 0)
        memcpy(run->buffer, state.data, state.size);
    run->have = run->capacity = state.size;
    return OK;
}

static err_t
restore_file(struct sorter *sorter, struct bytes state)
{
    char path[4200];

    if (state.size != SORTER_NAME_SIZE + 16 || memchr(state.data, 0, SORTER_NAME_SIZE) == NULL ||
        memchr(state.data, '/', SORTER_NAME_SIZE) != NULL)
        return err_set(ERR_CORRUPT, "the state of a sort is damaged");
    sorter->run = calloc(1, sizeof *sorter->run);
    if (sorter->run == NULL)
        return err_set(ERR_MEMORY, "could not take up a sort: out of memory");
    sorter->run_count = 1;
    memcpy(sorter->name, state.data, SORTER_NAME_SIZE);
    memcpy(&sorter->run->at, state.data + SORTER_NAME_SIZE, 8);
    memcpy(&sorter->run->end, state.data + SORTER_NAME_SIZE + 8, 8);
    sorter->file_size = sorter->run->end;
    if (sorter->run->at > sorter->run->end)
        return err_set(ERR_CORRUPT, "the state of a sort is damaged");
    file_path(sorter->folder, sorter->name, path, sizeof path);
    TRY_RETURN(file_open(path, O_RDWR, 0, &sorter->fd, NULL));
    sorter->named = true;
    return OK;
}

err_t
sorter_restore(const char *folder, struct bytes state, struct sorter **sorter)
{
    struct bytes rest = { state.data + 1, state.size - 1 };
    struct sorter *made;
    err_t err;

    if (state.size < 1)
        return err_set(ERR_CORRUPT, "the state of a sort is damaged");
    TRY_RETURN(sorter_create(folder, 0, 0, &made));
    made->state = MERGE;
    err = state.data[0] == 'F' ? restore_file(made, rest) : restore_inline(made, rest);
    if (err != OK) {
        sorter_destroy(made);
        return err;
    }
    *sorter = made;
    return OK;
}

void
sorter_forget(const char *folder, struct bytes state)
{
    char path[4200];

    if (state.size != 1 + SORTER_NAME_SIZE + 16 || state.data[0] != 'F' ||
        memchr(state.data + 1, 0, SORTER_NAME_SIZE) == NULL ||
        memchr(state.data + 1, '/', SORTER_NAME_SIZE) != NULL)
        return;
    file_path(folder, (const char *)state.data + 1, path, sizeof path);
    (void)unlink(path);
}

uint64_t
sorter_spilled(const struct sorter *sorter)
{
    return sorter->spilled;
}
