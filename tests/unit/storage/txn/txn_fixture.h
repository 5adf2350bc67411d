/*
 * txn_fixture.h - transactions over a real pool and a real log in a scratch folder.
 */
#ifndef TESTS_UNIT_STORAGE_TXN_FIXTURE_H
#define TESTS_UNIT_STORAGE_TXN_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/log.h"
#include "shmem/ledger.h"
#include "shmem/lwlock.h"
#include "shmem/proc.h"
#include "shmem/segment.h"
#include "storage/page/datafile.h"
#include "storage/page/pool.h"
#include "storage/txn/csn.h"
#include "storage/txn/txn.h"
#include "storage/txn/txntable.h"
#include "wal/checkpoint.h"
#include "wal/wal.h"
#include "wal/wal_flush.h"
#include "wal/wal_insert.h"

static char fixture_dir[64];
static struct config *fixture_config;

static inline void
fixture_start(void)
{
    static const struct region *const regions[] = { &proc_region, &control_region, &wal_region,
        &datafile_region, &pool_region, &txn_region };
    static const struct checkpoint_part *const parts[] = { &txn_part, &pool_part, &datafile_part };
    static struct wal_handler handlers[WAL_KIND_COUNT];
    struct wal_recovery recovery;
    struct control control;

    handlers[WAL_IMAGE] = pool_handler_image;
    handlers[WAL_FILE_CREATE] = datafile_handler_create;
    handlers[WAL_FILE_UNLINK] = datafile_handler_unlink;
    handlers[WAL_FILE_TRUNCATE] = datafile_handler_truncate;
    handlers[WAL_COMMIT] = txn_handler_commit;
    handlers[WAL_ABORT] = txn_handler_abort;
    handlers[WAL_XID_BOUND] = txn_handler_xid_bound;
    assert_int_equal(control_read(fixture_dir, &control), OK);
    assert_int_equal(segment_create(regions, 6, fixture_config, NULL), OK);
    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    control_share(&control, fixture_dir);
    assert_int_equal(datafile_open_dir(fixture_dir), OK);
    checkpoint_set_parts(parts, 3);
    ledger_set_undo(LEDGER_PLACE, txn_place_undo);
    if (wal_open(fixture_config, fixture_dir, handlers, NULL, &recovery) != OK)
        fail_msg("%s", err_message());
    txn_recovered();
}

/* `ring`: entries of the ring of commit numbers; 0: as the settings say. */
static inline void
fixture_open(uint32_t ring)
{
    const char *base = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";

    log_setup(LOG_FORMAT_TEXT, LOG_FATAL, 2);
    fixture_config = config_create();
    assert_non_null(fixture_config);
    fixture_config->server_max_connections = 64;
    fixture_config->shared_buffers = 4 << 20;
    fixture_config->wal_sync = false;
    fixture_config->max_transactions = 32;
    fixture_config->max_cursors = 32;
    fixture_config->deadlock_timeout_ms = 20;
    (void)snprintf(fixture_dir, sizeof fixture_dir, "%.40s/gneiss-txn-XXXXXX", base);
    assert_non_null(mkdtemp(fixture_dir));
    assert_int_equal(datafile_make_dir(fixture_dir), OK);
    assert_int_equal(control_create(fixture_dir, 8192), OK);
    assert_int_equal(wal_create(fixture_dir), OK);
    csn_use_ring(ring);
    fixture_start();
}

/* What a crash leaves is what was written. */
static inline void
fixture_crash(void)
{
    proc_use(NULL);
    segment_destroy();
    fixture_start();
}

static inline void
fixture_close(void)
{
    char command[128];

    assert_int_equal(txn_running(), 0);
    assert_true(ledger_empty());
    assert_true(lwlock_none_held());
    assert_int_equal(pool_pin_total(), 0);
    txn_forget_private();
    proc_detach();
    segment_destroy();
    config_destroy(fixture_config);
    csn_use_ring(0);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", fixture_dir);
    assert_int_equal(system(command), 0);
}

static inline struct txn *
fixture_begin(bool own_place)
{
    struct txn *txn;

    if (txn_begin(NULL, TXN_SNAPSHOT, own_place, &txn) != OK)
        fail_msg("%s", err_message());
    return txn;
}

static inline xid_t
fixture_xid(struct txn *txn)
{
    xid_t xid;

    if (txn_xid(txn, &xid) != OK)
        fail_msg("%s", err_message());
    return xid;
}

static inline void
fixture_commit(struct txn *txn)
{
    if (txn_commit(NULL, txn, false) != OK)
        fail_msg("%s", err_message());
}

/* Commit `count` transactions that do nothing else; the last one's xid. */
static inline xid_t
fixture_burn(unsigned count)
{
    xid_t xid = 0;

    while (count-- > 0) {
        struct txn *txn = fixture_begin(true);

        xid = fixture_xid(txn);
        fixture_commit(txn);
    }
    return xid;
}

static inline enum xid_fate
fixture_fate(xid_t xid)
{
    enum xid_fate fate;
    csn_t csn;

    if (snapshot_fate(xid, &fate, &csn) != OK)
        fail_msg("%s", err_message());
    return fate;
}

static inline bool
fixture_sees(const struct snapshot *snapshot, xid_t xid)
{
    enum xid_fate fate;
    bool sees;

    if (snapshot_sees(snapshot, xid, &sees, &fate) != OK)
        fail_msg("%s", err_message());
    return sees;
}

#endif
