/*
 * csn.h - under which number a recent xid committed: a ring in shared memory, and pages for
 * what falls out of it while some snapshot still needs it.  Gives out xids, too, since the
 * ring must have room for them.
 *
 * Inside storage/txn only.  README.md, "Commit numbers".
 */
#ifndef STORAGE_TXN_CSN_H
#define STORAGE_TXN_CSN_H

#include "base/config.h"
#include "storage/page/pool.h"
#include "storage/txn/snapshot.h"
#include "storage/txn/txntable.h"

size_t csn_size(const struct config *config);
void csn_init(void *zeroed, const struct config *config);
/* Entries of the ring of segments made after this: a power of two, at least 4096 (0: by the
   settings).  For tests. */
void csn_use_ring(uint32_t entries);

/* Give the place an xid.  Once in a few thousand it logs that, and may do I/O.  No page lock may be
   held. Errors: ERR_DISK_FULL, ERR_SHUTDOWN, ERR_IO; ERR_TOO_MANY: a snapshot is older than the
   spill has room for. */
err_t csn_give_xid(struct place *place, xid_t *xid) MUST_CHECK;

/* What became of it. */
err_t csn_fate(xid_t xid, enum xid_fate *fate, csn_t *csn) MUST_CHECK;

/* Whether it has fallen out of the ring; and then the page on which its number will have to stand,
   pinned (else *buffer = 0).  Before a commit is logged, so that csn_commit need not fail. */
err_t csn_prepare(xid_t xid, buffer_t *buffer) MUST_CHECK;
/* Number the commit of the place's xid, and clear that.  `buffer`: from csn_prepare; unpinned. */
csn_t csn_commit(struct place *place, buffer_t buffer);
/* Note that the place's xid is rolled back, and clear it. */
void csn_abort(struct place *place);

/* Xids below this may be in use; durable with every record that names one. */
xid_t csn_bound_noted(void);
xid_t csn_bound_given(void); /* an xid at or above was drawn and never handed out */
/* Recovery: no xid below will be given.  csn_recovered: what was running has failed. */
void csn_restore_bound(xid_t bound);
void csn_recovered(void);
xid_t csn_first(void); /* of this life */
xid_t csn_ring_low(void);

#endif
