/*
 * peer_rocksdb.c - RocksDB: one key space, tables told apart by their first byte, the index kept by
 * hand in the same batch.  A put is blind: RocksDB does not look whether the key was there.
 */
#include <endian.h>
#include <rocksdb/c.h>

#include "bench/die.h"
#include "bench/peer.h"

#define KEY_SIZE   9  /* table, id */
#define INDEX_SIZE 13 /* 'i', age, id */
#define INDEX      'i'
#define BLOOM_BITS 10

static rocksdb_t *db;
static rocksdb_options_t *options;
static rocksdb_cache_t *blocks;
static rocksdb_writeoptions_t *writing;
static rocksdb_readoptions_t *reading;

static void
check(char *error, const char *what)
{
    if (error != NULL)
        die("%s: %s", what, error);
}

static void
make_key(char *key, enum peer_table table, int64_t id)
{
    uint64_t order = htobe64((uint64_t)id);

    key[0] = (char)('a' + (int)table);
    memcpy(key + 1, &order, sizeof order);
}

static void
make_entry(char *entry, int32_t age, int64_t id)
{
    uint32_t age_order = htobe32((uint32_t)age);
    uint64_t order = htobe64((uint64_t)id);

    entry[0] = INDEX;
    memcpy(entry + 1, &age_order, sizeof age_order);
    memcpy(entry + 1 + sizeof age_order, &order, sizeof order);
}

void
peer_open(const char *directory, uint64_t cache)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    char *error = NULL;

    options = rocksdb_options_create();
    blocks = rocksdb_cache_create_lru(cache);
    rocksdb_block_based_options_set_block_cache(table, blocks);
    rocksdb_block_based_options_set_filter_policy(
        table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
    rocksdb_block_based_options_set_data_block_index_type(
        table, rocksdb_block_based_table_data_block_index_type_binary_search_and_hash);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_increase_parallelism(options, 2);
    rocksdb_options_set_max_open_files(options, -1);
    db = rocksdb_open(options, directory, &error);
    check(error, "open");
    writing = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(writing, 1);
    reading = rocksdb_readoptions_create();
}

void
peer_close(void)
{
    rocksdb_close(db);
    rocksdb_writeoptions_destroy(writing);
    rocksdb_readoptions_destroy(reading);
    rocksdb_cache_destroy(blocks);
    rocksdb_options_destroy(options);
}

void
peer_set_durable(bool durable)
{
    rocksdb_writeoptions_set_sync(writing, durable);
}

void
peer_settle(void)
{
    rocksdb_compact_range(db, NULL, 0, NULL, 0);
}

void
peer_insert(enum peer_table table, const struct peer_document *documents, size_t count)
{
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    char *error = NULL, key[KEY_SIZE], entry[INDEX_SIZE];

    for (size_t i = 0; i < count; i++) {
        make_key(key, table, documents[i].id);
        rocksdb_writebatch_put(batch, key, sizeof key, documents[i].data, documents[i].size);
        if (table == PEER_INDEXED) {
            make_entry(entry, documents[i].age, documents[i].id);
            rocksdb_writebatch_put(batch, entry, sizeof entry, "", 0);
        }
    }
    rocksdb_write(db, writing, batch, &error);
    check(error, "write");
    rocksdb_writebatch_destroy(batch);
}

void
peer_get(enum peer_table table, int64_t id, struct peer_seen *seen)
{
    char *error = NULL, key[KEY_SIZE];
    rocksdb_pinnableslice_t *slice;
    const char *data;
    size_t size;

    make_key(key, table, id);
    slice = rocksdb_get_pinned(db, reading, key, sizeof key, &error);
    check(error, "get");
    data = slice != NULL ? rocksdb_pinnableslice_value(slice, &size) : NULL;
    if (data != NULL)
        peer_take(seen, data, size);
    rocksdb_pinnableslice_destroy(slice);
}

void
peer_scan(enum peer_table table, struct peer_seen *seen)
{
    const char end = (char)('b' + (int)table);
    rocksdb_readoptions_t *bounded = rocksdb_readoptions_create();
    rocksdb_iterator_t *iterator;
    char key[KEY_SIZE];
    size_t size;

    rocksdb_readoptions_set_iterate_upper_bound(bounded, &end, 1);
    iterator = rocksdb_create_iterator(db, bounded);
    make_key(key, table, 0);
    for (rocksdb_iter_seek(iterator, key, sizeof key); rocksdb_iter_valid(iterator);
         rocksdb_iter_next(iterator)) {
        const char *data = rocksdb_iter_value(iterator, &size);

        peer_take(seen, data, size);
    }
    rocksdb_iter_destroy(iterator);
    rocksdb_readoptions_destroy(bounded);
}

void
peer_range(int32_t low, int32_t high, struct peer_seen *seen)
{
    char from[INDEX_SIZE], end[INDEX_SIZE];
    rocksdb_readoptions_t *bounded = rocksdb_readoptions_create();
    rocksdb_iterator_t *iterator;
    size_t size;

    make_entry(from, low, 0);
    make_entry(end, high + 1, 0);
    rocksdb_readoptions_set_iterate_upper_bound(bounded, end, sizeof end);
    iterator = rocksdb_create_iterator(db, bounded);
    for (rocksdb_iter_seek(iterator, from, sizeof from); rocksdb_iter_valid(iterator);
         rocksdb_iter_next(iterator)) {
        uint64_t order;

        memcpy(&order, rocksdb_iter_key(iterator, &size) + 5, sizeof order);
        peer_get(PEER_INDEXED, (int64_t)be64toh(order), seen);
    }
    rocksdb_iter_destroy(iterator);
    rocksdb_readoptions_destroy(bounded);
}

void
peer_set_age(enum peer_table table, int64_t id, int32_t age)
{
    uint8_t changed[DOCUMENTS_SIZE_MAX];
    struct peer_seen seen = { .room = changed };
    char *error = NULL, key[KEY_SIZE];

    peer_get(table, id, &seen);
    memcpy(changed + DOCUMENTS_AGE_AT, &age, sizeof age);
    make_key(key, table, id);
    rocksdb_put(db, writing, key, sizeof key, (const char *)changed, seen.bytes, &error);
    check(error, "put");
}

void
peer_delete(enum peer_table table, int64_t id)
{
    char *error = NULL, key[KEY_SIZE];

    make_key(key, table, id);
    rocksdb_delete(db, writing, key, sizeof key, &error);
    check(error, "delete");
}
