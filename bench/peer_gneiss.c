/*
 * peer_gneiss.c - Gneiss as a library: client/gneiss.h and nothing else of the house.
 *
 * gneiss_get and gneiss_find_next give a copy that is the caller's until its next call; so there
 * is no second copy here.  Filters and updates are BSON, as a program with a BSON library would
 * have them, written into the same bytes each time.  BENCH_SETTINGS in the environment holds more
 * settings, "memory.wal_buffers=1MB;wal.sync=false".
 */
#include "bench/die.h"
#include "bench/peer.h"
#include "client/gneiss.h"

#define CHECK(call)                                                       \
    do {                                                                  \
        if ((call) != GNEISS_OK)                                          \
            die("%s: %s", #call, gneiss_session_error(session)->message); \
    } while (0)
#define BATCH_MAX    1000
#define SETTINGS_MAX 8

/* {"age": int32}, {"age": {"$gte": int32, "$lte": int32}}, {"_id": int64}, {"$set": {"age": int32}}
 */
static uint8_t by_age[] = "\x0e\0\0\0\x10"
                          "age\0....";
static uint8_t by_range[] = "\x23\0\0\0\x03"
                            "age\0\x19\0\0\0\x10$gte\0....\x10$lte\0....\0";
static uint8_t by_id[] = "\x12\0\0\0\x12_id\0........";
static uint8_t set_age[] = "\x19\0\0\0\x03$set\0\x0e\0\0\0\x10"
                           "age\0....\0";
#define BY_AGE_AT  9
#define BY_LOW_AT  19
#define BY_HIGH_AT 29
#define BY_ID_AT   9
#define SET_AGE_AT 19

static struct gneiss *db;
static struct gneiss_session *session;
static struct gneiss_collection *collections[PEER_TABLES];

static const char *const *
more_settings(void)
{
    static const char *settings[SETTINGS_MAX + 1];
    const char *given = getenv("BENCH_SETTINGS");
    char *text = given != NULL ? strdup(given) : NULL, *rest = NULL;
    size_t count = 0;

    for (char *one = text != NULL ? strtok_r(text, ";", &rest) : NULL;
         one != NULL && count < SETTINGS_MAX; one = strtok_r(NULL, ";", &rest))
        settings[count++] = one;
    settings[count] = NULL;
    return settings;
}

void
peer_open(const char *directory, uint64_t cache)
{
    static const char *const names[PEER_TABLES] = { "docs", "indexed", "grow" };
    const struct gneiss_options options = {
        .create = true, .shared_buffers = cache, .settings = more_settings()
    };
    struct gneiss_error error;
    int code;

    db = gneiss_open(directory, &options, &error);
    if (db == NULL)
        die("open: %s", error.message);
    session = gneiss_session_open(db, &error);
    if (session == NULL)
        die("session: %s", error.message);
    for (unsigned i = 0; i < PEER_TABLES; i++) {
        collections[i] = gneiss_collection(session, "bench", names[i]);
        if (collections[i] == NULL)
            die("collection: %s", gneiss_session_error(session)->message);
    }
    code = gneiss_create_collection(collections[PEER_INDEXED], NULL);
    if (code != GNEISS_EXISTS)
        CHECK(code);
    CHECK(gneiss_create_index_json(
        collections[PEER_INDEXED], "{\"key\": {\"age\": 1}, \"name\": \"age\"}", NULL));
}

void
peer_close(void)
{
    struct gneiss_error error;

    gneiss_session_close(session);
    if (gneiss_close(db, &error) != GNEISS_OK)
        die("close: %s", error.message);
}

void
peer_set_durable(bool durable)
{
    gneiss_session_set_durable(session, durable);
}

void
peer_settle(void)
{
    CHECK(gneiss_checkpoint(session));
}

void
peer_insert(enum peer_table table, const struct peer_document *documents, size_t count)
{
    struct gneiss_bson batch[BATCH_MAX];

    if (count == 1) {
        CHECK(gneiss_insert(collections[table],
            (struct gneiss_bson){ documents[0].data, documents[0].size }, NULL));
        return;
    }
    if (count > BATCH_MAX)
        die("a batch of %zu documents is larger than %d", count, BATCH_MAX);
    for (size_t i = 0; i < count; i++)
        batch[i] = (struct gneiss_bson){ documents[i].data, documents[i].size };
    CHECK(gneiss_insert_many(collections[table], batch, count));
}

void
peer_get(enum peer_table table, int64_t id, struct peer_seen *seen)
{
    const struct gneiss_id key = gneiss_id_int64(id);
    struct gneiss_bson document;
    bool found;

    CHECK(gneiss_get(collections[table], &key, &document, &found));
    if (found)
        peer_count(seen, document.data, document.size);
}

static void
read_all(enum peer_table table, const struct gneiss_query *query, struct peer_seen *seen)
{
    struct gneiss_cursor *cursor;
    struct gneiss_bson document;
    bool found;

    CHECK(gneiss_find(collections[table], query, &cursor));
    for (;;) {
        CHECK(gneiss_find_next(cursor, &document, &found));
        if (!found)
            break;
        peer_count(seen, document.data, document.size);
    }
    gneiss_find_close(cursor);
}

void
peer_scan(enum peer_table table, struct peer_seen *seen)
{
    read_all(table, NULL, seen);
}

void
peer_range(int32_t low, int32_t high, struct peer_seen *seen)
{
    struct gneiss_query query = { .filter = { by_age, sizeof by_age } };

    if (low == high)
        memcpy(by_age + BY_AGE_AT, &low, sizeof low);
    else {
        memcpy(by_range + BY_LOW_AT, &low, sizeof low);
        memcpy(by_range + BY_HIGH_AT, &high, sizeof high);
        query.filter = (struct gneiss_bson){ by_range, sizeof by_range };
    }
    read_all(PEER_INDEXED, &query, seen);
}

void
peer_set_age(enum peer_table table, int64_t id, int32_t age)
{
    struct gneiss_update_result result;

    memcpy(by_id + BY_ID_AT, &id, sizeof id);
    memcpy(set_age + SET_AGE_AT, &age, sizeof age);
    CHECK(gneiss_update(collections[table], (struct gneiss_bson){ by_id, sizeof by_id },
        (struct gneiss_bson){ set_age, sizeof set_age }, GNEISS_ONE, &result));
    if (result.matched != 1)
        die("document %lld is not there", (long long)id);
}

void
peer_delete(enum peer_table table, int64_t id)
{
    uint64_t deleted;

    memcpy(by_id + BY_ID_AT, &id, sizeof id);
    CHECK(gneiss_delete(
        collections[table], (struct gneiss_bson){ by_id, sizeof by_id }, GNEISS_ONE, &deleted));
    if (deleted != 1)
        die("document %lld is not there", (long long)id);
}
