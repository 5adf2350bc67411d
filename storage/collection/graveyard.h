/*
 * graveyard.h - files of dropped things that somebody may still be reading.
 *
 * Inside storage/collection only.
 */
#ifndef STORAGE_COLLECTION_GRAVEYARD_H
#define STORAGE_COLLECTION_GRAVEYARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/types.h"

size_t graveyard_size(void);
void graveyard_init(void *zeroed);

/* The file is to go when no section that began before `version` is left.  Cannot fail: if the
   table is full it stays until the next start, which the log is told. */
void graveyard_put(fileno_t file, uint64_t version);
/* Remove those whose time has come. */
void graveyard_empty(void);
bool graveyard_has(fileno_t file);
size_t graveyard_count(void);

#endif
