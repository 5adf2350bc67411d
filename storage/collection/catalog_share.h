/*
 * catalog_share.h - the catalog's part of shared memory: version, sections, numbers, claims.
 *
 * Inside storage/collection only.
 */
#ifndef STORAGE_COLLECTION_CATALOG_SHARE_H
#define STORAGE_COLLECTION_CATALOG_SHARE_H

#include <stdbool.h>

#include "base/config.h"
#include "base/op.h"
#include "base/types.h"
#include "wal/wal_record.h"

size_t catalog_share_size(const struct config *config);
void catalog_share_init(void *zeroed, const struct config *config);

/* Sections.  A process inside one has not left version `catalog_share_section` behind. */
void catalog_share_enter(void);
void catalog_share_leave(void);
bool catalog_share_inside(void);
uint64_t catalog_share_section(void); /* the version at which this process entered */

/* Grows with every change of a definition, after the change is visible; never the same in two
   segments. */
uint64_t catalog_share_version(void);
uint64_t catalog_share_bump(void); /* the new one */
uint64_t catalog_share_life(void); /* differs in each segment */
/* No process is inside a section that it entered before `version`. */
bool catalog_share_passed(uint64_t version);
/* Is the process of this slot in such a section? */
bool catalog_share_is_older(unsigned slot, uint64_t version);

/* Numbers of collections and indexes, never given twice.  Errors: as wal_insert_reserve. */
err_t catalog_share_oid(uint64_t *oid) MUST_CHECK;
void catalog_share_numbers(uint64_t *next_oid, uint64_t *schema_version); /* for a checkpoint */
void catalog_share_restore(uint64_t next_oid, uint64_t schema_version);   /* never lower */
uint64_t catalog_share_schema_version(void);
/* +1, logged under the transaction that makes or drops an index. */
err_t catalog_share_schema_change(xid_t xid) MUST_CHECK;
err_t catalog_share_redo(const struct wal_record *record) MUST_CHECK;
err_t catalog_share_describe(const struct wal_record *record, struct buf *text) MUST_CHECK;

/* One vacuum or index build of a heap at a time; a dead process's claim does not count. */
bool catalog_share_claim(fileno_t heap);
void catalog_share_claim_end(void);

/* An index may have been left unfinished: by a dead process that had a claim, or because it could
   not be taken back.  Autovacuum is woken, and asks once for each time. */
void catalog_share_abandon(void);
void catalog_share_claim_dead(unsigned slot);
bool catalog_share_abandoned(void);

#endif
