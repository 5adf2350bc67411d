/*
 * shash.h - a hash table in shared memory, of fixed capacity, by partitions.
 *
 * Keys and values are bytes of fixed size.  A caller works on an entry while it holds its
 * partition's lock (rank RANK_HASH), taken by shash_lock.
 */
#ifndef SHMEM_SHASH_H
#define SHMEM_SHASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "shmem/lwlock.h"

struct shash; /* lies in a region of its owner */

size_t shash_size(uint32_t capacity, uint32_t key_size, uint32_t value_size);
struct shash *shash_init(void *zeroed, uint32_t capacity, uint32_t key_size, uint32_t value_size);

/* Lock the partition of `key`; at most one at a time. */
void shash_lock(struct shash *table, const void *key, enum lwlock_mode mode);
void shash_unlock(struct shash *table, const void *key);
/* The value, or NULL.  Valid while the lock is held. */
void *shash_find(struct shash *table, const void *key);
/* The value, new (zeroed, *made = true) or old; exclusive.  Errors: ERR_TOO_MANY: the table is
 * full. */
err_t shash_insert(struct shash *table, const void *key, void **value, bool *made) MUST_CHECK;
bool shash_remove(struct shash *table, const void *key); /* exclusive */
uint32_t shash_count(const struct shash *table);
/* Call `visit` for every entry, partition by partition, under its exclusive lock; it may ask for
   removal by returning true. */
void shash_sweep(
    struct shash *table, bool (*visit)(const void *key, void *value, void *context), void *context);

#endif
