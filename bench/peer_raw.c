/*
 * peer_raw.c - no store at all: what the machine itself can do.
 *
 * Reading is a memcpy of the same documents from an array; an insert is a write of the same bytes
 * behind each other into a file that was written to before, and an fdatasync.  So there is no key,
 * no index, no checksum, and nobody else: the limit that a store can come near to.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/die.h"
#include "bench/peer.h"

#define FILE_SIZE ((uint64_t)32 << 20)
#define STEP      ((size_t)1 << 20)

struct table {
    uint8_t *documents; /* document i at i * size */
    size_t size, count, room;
};

static struct table tables[PEER_TABLES];
static int file = -1;
static uint64_t at;
static bool waits = true;

void
peer_open(const char *directory, uint64_t cache)
{
    char path[4096];
    void *zeros = calloc(1, STEP);

    (void)cache;
    (void)snprintf(path, sizeof path, "%s/raw", directory);
    file = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (file < 0 || zeros == NULL)
        die("could not make %s: %s", path, strerror(errno));
    for (uint64_t i = 0; i < FILE_SIZE; i += STEP)
        if (pwrite(file, zeros, STEP, (off_t)i) != (ssize_t)STEP)
            die("could not write to %s: %s", path, strerror(errno));
    if (fsync(file) != 0)
        die("could not sync %s: %s", path, strerror(errno));
    free(zeros);
}

void
peer_close(void)
{
    (void)close(file);
}

void
peer_set_durable(bool durable)
{
    waits = durable;
}

void
peer_settle(void)
{
}

static void
keep(struct table *table, const struct peer_document *document)
{
    if (table->count * document->size >= table->room) {
        table->room = table->room == 0 ? STEP : table->room * 2;
        table->documents = realloc(table->documents, table->room + DOCUMENTS_SIZE_MAX);
        if (table->documents == NULL)
            die("out of memory");
    }
    memcpy(table->documents + table->count++ * document->size, document->data, document->size);
    table->size = document->size;
}

void
peer_insert(enum peer_table table, const struct peer_document *documents, size_t count)
{
    size_t first = tables[table].count, size;
    const uint8_t *bytes;

    for (size_t i = 0; i < count; i++)
        keep(&tables[table], &documents[i]);
    size = count * tables[table].size;
    bytes = tables[table].documents + first * tables[table].size;
    if (at + size > FILE_SIZE)
        at = 0;
    if (pwrite(file, bytes, size, (off_t)at) != (ssize_t)size)
        die("could not write: %s", strerror(errno));
    at += size;
    if (waits && fdatasync(file) != 0)
        die("could not sync: %s", strerror(errno));
}

void
peer_get(enum peer_table table, int64_t id, struct peer_seen *seen)
{
    peer_take(seen, tables[table].documents + (size_t)id * tables[table].size, tables[table].size);
}

void
peer_scan(enum peer_table table, struct peer_seen *seen)
{
    for (size_t i = 0; i < tables[table].count; i++)
        peer_take(seen, tables[table].documents + i * tables[table].size, tables[table].size);
}

void
peer_range(int32_t low, int32_t high, struct peer_seen *seen)
{
    (void)low, (void)high, (void)seen;
    die("memory has no index");
}

void
peer_set_age(enum peer_table table, int64_t id, int32_t age)
{
    memcpy(tables[table].documents + (size_t)id * tables[table].size + DOCUMENTS_AGE_AT, &age,
        sizeof age);
}

void
peer_delete(enum peer_table table, int64_t id)
{
    (void)table, (void)id;
    die("an array forgets nothing");
}
