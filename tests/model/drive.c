/*
 * drive.c - the engine under test.
 */
#include "tests/model/drive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/embed.h"
#include "storage/collection/check.h"
#include "storage/collection/vacuum.h"
#include "tests/model/world.h"

#define DATABASE "game"
#define BUFFERS  ((uint64_t)1 << 20) /* once or twice, by the seed */

struct gneiss_session *drive_session;
struct gneiss_collection *drive_collection[MODEL_COLLECTIONS];
static struct gneiss *db;

void
drive_open(const char *directory, uint64_t seed)
{
    static const uint32_t page_sizes[] = { 4096, 8192, 16384 };
    const char *const settings[] = { "memory.work_mem=65536", "memory.wal_buffers=262144",
        "wal.max_wal_size=33554432", "wal.checkpoint_timeout_secs=5",
        "wal.checkpoint_completion_percent=10", "wal.writer_delay_ms=20",
        "storage.buffer_writer_delay_ms=20", "storage.autovacuum_naptime_secs=1",
        seed % 4 == 3 ? "wal.check=true" : NULL, NULL };
    const struct gneiss_options options = { .create = true,
        .sessions_max = 4,
        .shared_buffers = BUFFERS << seed % 2,
        .page_size = page_sizes[seed % 3],
        .lazy = true,
        .log_fd = 2,
        .settings = settings };
    struct gneiss_error error;

    db = gneiss_open(directory, &options, &error);
    if (db == NULL)
        world_fail(0, MODEL_SLOTS, "the directory does not open: %s", error.message);
    drive_session = gneiss_session_open(db, &error);
    if (drive_session == NULL)
        world_fail(0, MODEL_SLOTS, "no session: %s", error.message);
    for (unsigned i = 0; i < MODEL_COLLECTIONS; i++)
        drive_collection[i] =
            gneiss_collection(drive_session, DATABASE, (const char[]){ 'c', (char)('0' + i), 0 });
}

void
drive_close(void)
{
    struct gneiss_error error;

    gneiss_session_close(drive_session);
    if (gneiss_close(db, &error) != GNEISS_OK)
        world_fail(0, MODEL_SLOTS, "the directory does not close: %s", error.message);
}

/* Written by hand, as the model's own BSON is: an _id comes first. */
unsigned
drive_slot(struct gneiss_bson document)
{
    const uint8_t *data = document.data;
    unsigned slot = 0;
    int32_t small;
    int64_t large;
    double real;

    if (document.size < 13 || memcmp(data + 5, "_id", 4) != 0)
        return MODEL_SLOTS;
    memcpy(&small, data + 9, sizeof small);
    if (data[4] == 0x10)
        return (unsigned)small;
    if (data[4] == 0x02 && document.size > 20) {
        for (unsigned i = 0; i < 6; i++)
            slot = slot * 10 + (unsigned)(data[13 + i] - 'a');
        return slot;
    }
    memcpy(&large, data + 9, sizeof large);
    memcpy(&real, data + 9, sizeof real);
    return data[4] == 0x12 ? (unsigned)large : data[4] == 0x01 ? (unsigned)real : MODEL_SLOTS;
}

struct gneiss_bson
drive_get(unsigned collection, unsigned slot)
{
    static char text[8] = "aaaaaa";
    struct scalar scalar = model_id(slot, (unsigned)world->operation);
    struct gneiss_id id;
    struct gneiss_bson document = { NULL, 0 };
    unsigned rest = slot;
    bool found = false;

    if (scalar.kind == VALUE_TEXT) {
        for (unsigned i = 6; i-- > 0; rest /= 10)
            text[i] = (char)('a' + rest % 10);
        id = gneiss_id_string(text);
    } else {
        id = gneiss_id_int64((int64_t)slot);
    }
    if (gneiss_get(drive_collection[collection], &id, &document, &found) != GNEISS_OK)
        world_fail(collection, slot, "get: %s", drive_message());
    return found ? document : (struct gneiss_bson){ NULL, 0 };
}

const char *
drive_message(void)
{
    return gneiss_session_error(drive_session)->message;
}

struct gneiss_bson
drive_bson(const struct bson_out *out)
{
    return (struct gneiss_bson){ out->size > 0 ? out->data : NULL, out->size };
}

void
drive_vacuum(void)
{
    err_t err;

    TRY(embed_enter(drive_session, "vacuum"));
    TRY(vacuum_round(&drive_session->op, 0));
out:
    if (embed_leave(drive_session, err) != GNEISS_OK)
        world_fail(0, MODEL_SLOTS, "vacuum: %s", drive_message());
}

uint64_t
drive_check(char *report, size_t size)
{
    struct check_result result = { .faults = 0 };
    FILE *out = fmemopen(report, size, "w");
    err_t err;

    if (out == NULL)
        abort();
    TRY(embed_enter(drive_session, "check"));
    TRY(check_run(&drive_session->op, "_default", NULL, NULL, out, &result));
out:
    (void)fclose(out);
    if (embed_leave(drive_session, err) != GNEISS_OK)
        world_fail(0, MODEL_SLOTS, "check: %s", drive_message());
    return result.faults;
}
