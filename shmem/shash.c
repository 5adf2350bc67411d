/*
 * shash.c - a hash table in shared memory.
 *
 * Form: a head, partitions, then for each partition its buckets and its entries.  An entry is
 *   0 next   index of the next in chain or free list, + 1; 0: none
 *   4 hash   the upper half of the key's hash
 *   8 key, padded to 8; then value, padded to 8
 * Partition and bucket come from the hash.  Every partition has entries of its own: its even share
 * of the capacity, and six standard deviations more, so that a full partition means a full table.
 *
 * INVARIANTS
 *   H1  An entry is in the chain of its key's bucket, or in the free list, or was never used.
 *   H2  No two entries of a table have equal keys.
 *   H3  `count` is the number of entries in the partition's chains.
 *
 * IF A PROCESS DIES in the middle of a change of links, its critical depth is above 0: everything
 * is rebuilt from the log.  Outside, the partition's lock is let go of and the links are whole.
 */
#include "shmem/shash.h"

#include <string.h>
#include <sys/random.h>

#include "base/crit.h"
#include "base/hash.h"
#include "base/panic.h"

#define PARTITIONS_LEAST 16
#define PARTITIONS_MOST  64
#define SHARE_WANTED     256 /* entries a partition, while there are few partitions */

struct entry {
    uint32_t next;
    uint32_t hash;
    uint64_t data[];
};
_Static_assert(sizeof(struct entry) == 8, "the key follows at once");

struct partition {
    _Alignas(64) struct lwlock lock; /* RANK_HASH */
    uint32_t free_first;             /* guard: lock; index + 1 */
    uint32_t used_end;               /* guard: lock; entries from here on were never used */
    _Atomic uint32_t count;          /* guard: lock; read without for shash_count */
    uint32_t pad[9];
};
_Static_assert(sizeof(struct partition) == 64, "a cache line each");

struct shash { /* all but the partitions const after shash_init */
    uint64_t seed;
    uint32_t key_size;
    uint32_t value_at; /* within an entry's data */
    uint32_t value_size;
    uint32_t entry_size;
    uint32_t partitions; /* a power of two */
    uint32_t buckets;    /* of each partition; a power of two */
    uint32_t entries;    /* of each partition */
    uint32_t pad[7];
    struct partition partition[];
};
_Static_assert(sizeof(struct shash) == 64, "partitions are aligned");

static uint32_t
round_up_8(uint32_t size)
{
    return (size + 7) & ~UINT32_C(7);
}

static uint32_t
root_of(uint32_t n)
{
    uint32_t root = 0;

    while ((uint64_t)root * root < n)
        root++;
    return root;
}

/* Work out the form from the three numbers. */
static struct shash
form(uint32_t capacity, uint32_t key_size, uint32_t value_size)
{
    struct shash form = { .key_size = key_size, .value_size = value_size };
    uint32_t share;

    invariant(capacity > 0 && capacity < UINT32_MAX / 4);
    invariant(key_size > 0 && key_size < 1 << 16 && value_size < 1 << 20);
    form.value_at = round_up_8(key_size);
    form.entry_size = (uint32_t)sizeof(struct entry) + form.value_at + round_up_8(value_size);
    form.partitions = PARTITIONS_LEAST;
    while (form.partitions < PARTITIONS_MOST && capacity / form.partitions > SHARE_WANTED)
        form.partitions *= 2;
    share = capacity / form.partitions + 1;
    form.entries = share + 6 * root_of(share) + 8;
    if (form.entries > capacity)
        form.entries = capacity;
    form.buckets = 8;
    while (form.buckets < share)
        form.buckets *= 2;
    return form;
}

static size_t
partition_bytes(const struct shash *table)
{
    size_t size =
        (size_t)table->buckets * sizeof(uint32_t) + (size_t)table->entries * table->entry_size;

    return (size + 63) & ~(size_t)63;
}

size_t
shash_size(uint32_t capacity, uint32_t key_size, uint32_t value_size)
{
    struct shash table = form(capacity, key_size, value_size);

    return sizeof table + table.partitions * (sizeof(struct partition) + partition_bytes(&table));
}

struct shash *
shash_init(void *zeroed, uint32_t capacity, uint32_t key_size, uint32_t value_size)
{
    struct shash *table = zeroed;

    *table = form(capacity, key_size, value_size);
    /* Clients choose keys; they must not choose chains.  Without a seed it works, slower at worst.
     */
    if (getrandom(&table->seed, sizeof table->seed, GRND_NONBLOCK) != (ssize_t)sizeof table->seed)
        table->seed = (uint64_t)(uintptr_t)zeroed;
    for (uint32_t i = 0; i < table->partitions; i++)
        lwlock_init(&table->partition[i].lock, RANK_HASH);
    return table;
}

struct place {
    struct partition *partition;
    uint32_t *buckets;
    uint8_t *entries;
    uint32_t *bucket; /* the key's */
    uint32_t hash;
};

static struct place
place_in(struct shash *table, uint32_t number)
{
    uint8_t *memory =
        (uint8_t *)&table->partition[table->partitions] + number * partition_bytes(table);

    return (struct place){ .partition = &table->partition[number],
        .buckets = (uint32_t *)(void *)memory,
        .entries = memory + (size_t)table->buckets * sizeof(uint32_t) };
}

static struct place
place_of(struct shash *table, const void *key)
{
    uint64_t hash = hash_bytes(key, table->key_size, table->seed);
    struct place place = place_in(table, (uint32_t)(hash & (table->partitions - 1)));

    place.hash = (uint32_t)(hash >> 32);
    place.bucket = &place.buckets[hash >> 8 & (table->buckets - 1)];
    return place;
}

static struct entry *
entry_at(const struct shash *table, const struct place *place, uint32_t link)
{
    invariant(link - 1 < table->entries);
    return (struct entry *)(void *)(place->entries + (size_t)(link - 1) * table->entry_size);
}

static void *
value_in(const struct shash *table, struct entry *entry)
{
    return (uint8_t *)entry->data + table->value_at;
}

/* The link that leads to the key's entry, or the 0 at the end of its chain. */
static uint32_t *
link_to(struct shash *table, const struct place *place, const void *key)
{
    uint32_t *link = place->bucket;

    while (*link != 0) {
        struct entry *entry = entry_at(table, place, *link);

        if (entry->hash == place->hash && memcmp(entry->data, key, table->key_size) == 0)
            break;
        link = &entry->next;
    }
    return link;
}

void
shash_lock(struct shash *table, const void *key, enum lwlock_mode mode)
{
    lwlock_acquire(&place_of(table, key).partition->lock, mode);
}

void
shash_unlock(struct shash *table, const void *key)
{
    lwlock_release(&place_of(table, key).partition->lock);
}

void *
shash_find(struct shash *table, const void *key)
{
    struct place place = place_of(table, key);
    uint32_t link;

    invariant(lwlock_held(&place.partition->lock, LW_SHARED));
    link = *link_to(table, &place, key);
    return link != 0 ? value_in(table, entry_at(table, &place, link)) : NULL;
}

/* A count is changed under the lock, so one plain store does. */
static void
count_change(struct partition *partition, uint32_t by)
{
    uint32_t count = atomic_load_explicit(&partition->count, memory_order_relaxed);

    atomic_store_explicit(&partition->count, count + by, memory_order_relaxed); /* H3 */
}

err_t
shash_insert(struct shash *table, const void *key, void **value, bool *made)
{
    struct place place = place_of(table, key);
    struct partition *partition = place.partition;
    struct entry *entry;
    uint32_t link;

    invariant(lwlock_held(&partition->lock, LW_EXCLUSIVE));
    link = *link_to(table, &place, key); /* H2 */
    *made = link == 0;
    if (link != 0) {
        *value = value_in(table, entry_at(table, &place, link));
        return OK;
    }
    if (partition->free_first == 0 && partition->used_end == table->entries)
        return err_set(ERR_TOO_MANY, "a shared table of %u entries is full",
            table->entries * table->partitions);

    crit_begin();
    if (partition->free_first != 0) {
        link = partition->free_first;
        partition->free_first = entry_at(table, &place, link)->next;
    } else {
        link = ++partition->used_end;
    }
    entry = entry_at(table, &place, link);
    entry->hash = place.hash;
    memcpy(entry->data, key, table->key_size);
    memset(value_in(table, entry), 0, table->value_size);
    entry->next = *place.bucket;
    *place.bucket = link; /* H1 */
    count_change(partition, 1);
    crit_end();
    *value = value_in(table, entry);
    return OK;
}

/* Take the entry that *link leads to out of its chain. */
static void
unlink_entry(struct shash *table, const struct place *place, uint32_t *link)
{
    uint32_t gone = *link;
    struct entry *entry = entry_at(table, place, gone);

    crit_begin();
    *link = entry->next;
    entry->next = place->partition->free_first;
    place->partition->free_first = gone; /* H1 */
    count_change(place->partition, UINT32_MAX);
    crit_end();
}

bool
shash_remove(struct shash *table, const void *key)
{
    struct place place = place_of(table, key);
    uint32_t *link;

    invariant(lwlock_held(&place.partition->lock, LW_EXCLUSIVE));
    link = link_to(table, &place, key);
    if (*link == 0)
        return false;
    unlink_entry(table, &place, link);
    return true;
}

uint32_t
shash_count(const struct shash *table)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < table->partitions; i++)
        count += atomic_load_explicit(&table->partition[i].count, memory_order_relaxed);
    return count;
}

void
shash_sweep(
    struct shash *table, bool (*visit)(const void *key, void *value, void *context), void *context)
{
    for (uint32_t i = 0; i < table->partitions; i++) {
        struct place place = place_in(table, i);

        lwlock_acquire(&place.partition->lock, LW_EXCLUSIVE);
        for (uint32_t j = 0; j < table->buckets; j++) {
            uint32_t *link = &place.buckets[j];

            while (*link != 0) {
                struct entry *entry = entry_at(table, &place, *link);

                if (visit(entry->data, value_in(table, entry), context))
                    unlink_entry(table, &place, link);
                else
                    link = &entry->next;
            }
        }
        lwlock_release(&place.partition->lock);
    }
}
