/*
 * test_heap_model.c - random histories against a model, threads as processes, and death at any
 * time.
 */
#include "heapfixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/panic.h"
#include "storage/heap/heappage.h"
#include "wal/wal_insert.h"

/* ---- a model: every version of every row, with the number of the commit that made and ended it
 * ---- */

#define ROWS     200u
#define VERSIONS 40000u
#define OPEN     8u

struct version {
    unsigned row;
    unsigned from, to; /* commits; to = UINT32_MAX: alive */
    uint32_t content;
};
struct model_row {
    struct row_id root;
    bool used; /* a version is alive */
    int last;  /* index of it */
};
struct reader {
    struct txn *txn;
    unsigned at; /* commits it sees */
};

static struct version versions[VERSIONS];
static unsigned version_count, commits;
static struct model_row rows[ROWS];
static struct row_id version_root[VERSIONS];
static uint64_t random_state;

static uint32_t
draw(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 20) % below;
}

/* A row's bytes from its content: sizes from a few bytes to several pages. */
static struct bytes
content_bytes(uint32_t content)
{
    static uint8_t bytes[40000];
    size_t size = 12 + content % 97 + (content % 61 == 0 ? content % 30000 : 0);

    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(content * 2654435761u >> (i % 23));
    memcpy(bytes, &content, sizeof content);
    return (struct bytes){ bytes, size };
}

static void
read_all(struct reader *reader)
{
    struct buf out = buf_init(1u << 20);
    unsigned seen = 0;

    for (unsigned i = 0; i < version_count; i++) {
        struct row_id place;
        bool found, alive = versions[i].from <= reader->at && versions[i].to > reader->at;

        if (!alive)
            continue;
        seen++;
        buf_clear(&out);
        OKAY(heap_get(
            NULL, &fixture_heap, txn_snapshot(reader->txn), version_root[i], &out, &place, &found));
        assert_true(found);
        assert_true(bytes_equal(buf_bytes(&out), content_bytes(versions[i].content)));
    }
    assert_int_equal(fixture_count(reader->txn), seen);
    buf_fini(&out);
}

/* One writing transaction of a few changes, committed or not. */
static void
write_some(void)
{
    struct txn *txn = fixture_begin(TXN_SNAPSHOT);
    struct model_row before[ROWS];
    unsigned changed[8], count = 1 + draw(4), first = version_count;
    bool keep = draw(4) != 0;

    memcpy(before, rows, sizeof rows);
    for (unsigned i = 0; i < count; i++) {
        struct model_row *row = &rows[changed[i] = draw(ROWS)];
        uint32_t content = draw(1u << 30);
        struct heap_conflict conflict;
        enum heap_outcome outcome;
        struct row_id version, root;
        bool found, heap_only, ends = false;

        OKAY(txn_next_statement(txn));
        if (!row->used) {
            OKAY(heap_insert(NULL, &fixture_heap, txn, content_bytes(content), &row->root));
        } else {
            OKAY(heap_get(
                NULL, &fixture_heap, txn_snapshot(txn), row->root, NULL, &version, &found));
            assert_true(found);
            ends = draw(4) == 0;
            if (ends)
                OKAY(
                    heap_delete(NULL, &fixture_heap, txn, row->root, version, &outcome, &conflict));
            else
                OKAY(heap_update(NULL, &fixture_heap, txn, row->root, version,
                    content_bytes(content), draw(3) != 0, &outcome, &conflict, &root, &heap_only));
            assert_int_equal(outcome, HEAP_DONE);
            if (keep)
                versions[row->last].to = commits + 1;
            if (!ends)
                row->root = root;
        }
        row->used = !ends;
        if (!ends) {
            row->last = (int)version_count;
            version_root[version_count] = row->root;
            versions[version_count++] =
                (struct version){ changed[i], commits + 1, UINT32_MAX, content };
        }
    }
    if (keep) {
        fixture_commit(txn);
        commits++;
    } else {
        txn_abort(NULL, txn);
        memcpy(rows, before, sizeof rows);
        version_count = first;
    }
}

static void
every_snapshot_sees_its_rows_whatever_is_pruned(void **state)
{
    struct reader reader[OPEN] = { 0 };

    (void)state;
    random_state = 20240607;
    version_count = commits = 0;
    memset(rows, 0, sizeof rows);
    for (unsigned step = 0; step < 4000; step++) {
        unsigned n = draw(OPEN);

        write_some();
        if (draw(10) == 0) {
            if (reader[n].txn != NULL) {
                read_all(&reader[n]);
                fixture_commit(reader[n].txn);
                reader[n].txn = NULL;
            } else {
                reader[n].txn = fixture_begin(TXN_SNAPSHOT);
                reader[n].at = commits;
            }
        }
        if (draw(100) == 0)
            (void)fixture_vacuum();
        if (draw(500) == 0)
            (void)fixture_check();
    }
    for (unsigned n = 0; n < OPEN; n++) {
        if (reader[n].txn == NULL)
            continue;
        read_all(&reader[n]);
        fixture_commit(reader[n].txn);
    }
    (void)fixture_vacuum();

    struct reader last = { fixture_begin(TXN_SNAPSHOT), commits };

    read_all(&last);
    assert_int_equal(fixture_check(), fixture_count(last.txn));
    fixture_commit(last.txn);
}

/* ---- threads as processes ---- */

#define ACCOUNTS 40u
#define MONEY    1000
#define THREADS  4u

/* Where each account's row is now, as an index would tell: block and item in one word.  Written
   after the commit that moved it. */
static _Atomic uint64_t accounts[ACCOUNTS];
static _Atomic bool stop;

static struct row_id
account_root(unsigned account)
{
    uint64_t place = atomic_load(&accounts[account]);

    return (struct row_id){ (block_t)(place >> 16), (uint16_t)place };
}

static void
note_root(unsigned account, struct row_id root)
{
    atomic_store(&accounts[account], (uint64_t)root.block << 16 | root.item);
}

/* Add `amount` to an account's newest version, waiting for whoever else changes it. */
static void
add_to(struct txn *txn, unsigned account, int amount, struct row_id *root, bool *failed)
{
    struct buf out = buf_init(100);

    *failed = false;
    for (;;) {
        struct heap_conflict conflict;
        enum heap_outcome outcome;
        struct row_id version, at = account_root(account);
        bool found, heap_only;
        xid_t busy;
        int balance;

        buf_clear(&out);
        OKAY(heap_get_newest(NULL, &fixture_heap, txn, &at, &out, &version, &found, &busy));
        if (found) {
            invariant(out.size == sizeof balance);
            memcpy(&balance, out.data, sizeof balance);
            balance += amount;
            OKAY(heap_update(NULL, &fixture_heap, txn, at, version,
                (struct bytes){ (uint8_t *)&balance, sizeof balance }, true, &outcome, &conflict,
                root, &heap_only));
            if (outcome == HEAP_DONE) {
                buf_fini(&out);
                return;
            }
            invariant(outcome == HEAP_BUSY || outcome == HEAP_CHANGED || outcome == HEAP_OWN);
            if (outcome == HEAP_OWN)
                OKAY(txn_next_statement(txn));
            busy = conflict.busy;
        }
        if (busy != 0 && txn_wait(NULL, txn, busy) != OK) {
            *failed = true; /* a deadlock: give up, all of it */
            buf_fini(&out);
            return;
        }
    }
}

static void *
transfer_all_day(void *argument)
{
    uint64_t seed = (uint64_t)(uintptr_t)argument * 7919 + 1;

    OKAY(proc_attach(PROC_BACKEND));
    for (unsigned i = 0; i < 300; i++) {
        struct txn *txn;
        bool failed;
        unsigned from, to;
        struct row_id root_from, root_to;

        seed = seed * 6364136223846793005u + 1442695040888963407u;
        from = (unsigned)(seed >> 33) % ACCOUNTS;
        to = (unsigned)(seed >> 45) % ACCOUNTS;
        OKAY(txn_begin(NULL, TXN_READ_COMMITTED, true, &txn));
        add_to(txn, from, -1, &root_from, &failed);
        if (!failed) {
            OKAY(txn_next_statement(txn));
            add_to(txn, to, 1, &root_to, &failed);
        }
        if (failed || i % 16 == 7)
            txn_abort(NULL, txn);
        else {
            /* Noted while others still wait for the rows, so that the last one noted is the newest.
             */
            note_root(from, root_from);
            note_root(to, root_to);
            OKAY(txn_commit(NULL, txn, false));
        }
    }
    txn_forget_private();
    proc_detach();
    return NULL;
}

static void *
count_all_day(void *argument)
{
    uint64_t *rounds = argument;

    OKAY(proc_attach(PROC_BACKEND));
    while (!atomic_load(&stop)) {
        struct heap_scan *scan;
        struct row_id root, version;
        struct bytes row;
        struct txn *txn;
        int sum = 0, balance;
        unsigned count = 0;
        bool found;

        OKAY(txn_begin(NULL, TXN_SNAPSHOT, true, &txn));
        OKAY(heap_scan_begin(NULL, &fixture_heap, txn_snapshot(txn), &scan));
        for (;;) {
            OKAY(heap_scan_next(NULL, scan, &row, &root, &version, &found));
            if (!found)
                break;
            memcpy(&balance, row.data, sizeof balance);
            sum += balance;
            count++;
        }
        heap_scan_end(scan);
        invariant(count == ACCOUNTS && sum == (int)ACCOUNTS * MONEY);
        OKAY(txn_commit(NULL, txn, false));
        ++*rounds;
    }
    txn_forget_private();
    proc_detach();
    return NULL;
}

static void *
vacuum_all_day(void *argument)
{
    (void)argument;
    OKAY(proc_attach(PROC_BACKEND));
    while (!atomic_load(&stop)) {
        (void)fixture_vacuum();
        (void)usleep(2000);
    }
    txn_forget_private();
    proc_detach();
    return NULL;
}

static void
no_money_is_made_or_lost(void **state)
{
    pthread_t writer[THREADS], reader, cleaner;
    struct txn *txn = fixture_begin(TXN_SNAPSHOT);
    int balance = MONEY;
    uint64_t rounds = 0;

    (void)state;
    atomic_store(&stop, false);
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        struct row_id root;

        OKAY(heap_insert(NULL, &fixture_heap, txn,
            (struct bytes){ (uint8_t *)&balance, sizeof balance }, &root));
        note_root(i, root);
    }
    fixture_commit(txn);
    assert_int_equal(pthread_create(&reader, NULL, count_all_day, &rounds), 0);
    assert_int_equal(pthread_create(&cleaner, NULL, vacuum_all_day, NULL), 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&writer[i], NULL, transfer_all_day, (void *)(i + 1)), 0);
    for (unsigned i = 0; i < THREADS; i++)
        (void)pthread_join(writer[i], NULL);
    atomic_store(&stop, true);
    (void)pthread_join(reader, NULL);
    (void)pthread_join(cleaner, NULL);
    assert_true(rounds > 0);
    (void)fixture_vacuum();
    assert_int_equal(fixture_check(), ACCOUNTS);
}

/* ---- death at any time ---- */

#define SLOTS 50u

/* What the child acknowledged, in memory that survives it. */
struct ledgerbook {
    _Atomic uint64_t acknowledged[SLOTS]; /* content of the last commit of each row; 0: none */
    _Atomic uint64_t trying[SLOTS];
    _Atomic uint64_t commits;
};

static void
fill_big(uint8_t *row, size_t size, uint64_t content)
{
    memset(row, (int)(content & 0xff), size);
    for (size_t i = 0; i + 8 <= size; i += 512)
        memcpy(row + i, &content, sizeof content);
    memcpy(row, &content, sizeof content);
}

static size_t
size_of_content(uint64_t content)
{
    return content % 7 == 0 ? 30000 + content % 9000 : 40 + content % 100;
}

static void
child_writes(struct ledgerbook *book, uint64_t seed, uint64_t first)
{
    static uint8_t row[64 << 10];
    struct row_id root[SLOTS];
    bool used[SLOTS] = { false };
    uint64_t x = seed * 0x9e3779b97f4a7c15u + 12345;

    for (uint64_t content = first;; content++) {
        struct heap_conflict conflict;
        enum heap_outcome outcome;
        struct row_id version, new_root = ROW_ID_NONE;
        struct txn *txn;
        unsigned n;
        bool found, heap_only;

        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        n = (unsigned)(x >> 40) % SLOTS;
        fill_big(row, size_of_content(content * SLOTS + n), content * SLOTS + n);

        struct bytes bytes = { row, size_of_content(content * SLOTS + n) };

        OKAY(txn_begin(NULL, TXN_SNAPSHOT, true, &txn));
        if (!used[n]) {
            OKAY(heap_insert(NULL, &fixture_heap, txn, bytes, &new_root));
        } else {
            OKAY(heap_get(NULL, &fixture_heap, txn_snapshot(txn), root[n], NULL, &version, &found));
            invariant(found);
            OKAY(heap_update(NULL, &fixture_heap, txn, root[n], version, bytes, (x & 3) != 0,
                &outcome, &conflict, &new_root, &heap_only));
            invariant(outcome == HEAP_DONE);
        }
        if ((x & 15) == 7) {
            txn_abort(NULL, txn);
            continue;
        }
        atomic_store(&book->trying[n], content * SLOTS + n);
        OKAY(txn_commit(NULL, txn, true));
        atomic_store(&book->acknowledged[n], content * SLOTS + n);
        atomic_fetch_add(&book->commits, 1);
        root[n] = new_root;
        used[n] = true;
        if (content % 64 == 5)
            (void)fixture_vacuum();
        if (content % 150 == 30)
            OKAY(checkpoint_run(CHECKPOINT_FAST));
    }
}

/* Every row that was acknowledged is there, as acknowledged or as last tried; no row twice. */
static void
compare_with_book(struct ledgerbook *book)
{
    struct txn *txn = fixture_begin(TXN_SNAPSHOT);
    struct heap_scan *scan;
    struct row_id root, version;
    bool met[SLOTS] = { false }, found;
    struct bytes row;

    OKAY(heap_scan_begin(NULL, &fixture_heap, txn_snapshot(txn), &scan));
    for (;;) {
        uint64_t content;

        OKAY(heap_scan_next(NULL, scan, &row, &root, &version, &found));
        if (!found)
            break;
        memcpy(&content, row.data, sizeof content);
        assert_int_equal(row.size, size_of_content(content));
        assert_false(met[content % SLOTS]);
        met[content % SLOTS] = true;
        assert_true(content == book->acknowledged[content % SLOTS] ||
                    content == book->trying[content % SLOTS]);
    }
    for (unsigned n = 0; n < SLOTS; n++)
        assert_true(met[n] || book->acknowledged[n] == 0);
    heap_scan_end(scan);
    fixture_commit(txn);
}

static void
what_was_acknowledged_survives_a_kill(void **state)
{
    struct ledgerbook *book =
        mmap(NULL, sizeof *book, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_true(book != MAP_FAILED);
    for (unsigned round = 0; round < 6; round++) {
        pid_t child;
        int status;

        /* Each round has a heap of its own; the earlier ones stay in the directory. */
        fixture_new_heap();
        OKAY(checkpoint_run(CHECKPOINT_FAST));
        fixture_crash();
        memset(book, 0, sizeof *book);
        child = fork();
        if (child == 0) {
            fixture_start();
            child_writes(book, round + 1, 1);
            _exit(1);
        }
        for (int ms = 0; ms < 5000 && atomic_load(&book->commits) < 3 + round * 41; ms++)
            (void)usleep(1000);
        (void)usleep(round * 377);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        fixture_start();
        (void)fixture_check();
        compare_with_book(book);
        (void)fixture_vacuum();
        (void)fixture_check();
        compare_with_book(book);
        assert_true(atomic_load(&book->commits) > 0);
    }
    (void)munmap(book, sizeof *book);
}

/* ---- replay ---- */

static void
replay_gives_the_same_pages(void **state)
{
    static uint8_t before[1200][PAGE_SIZE_MAX], after[PAGE_SIZE_MAX];
    block_t blocks, now;

    (void)state;
    OKAY(checkpoint_run(CHECKPOINT_FAST));
    random_state = 77;
    version_count = commits = 0;
    memset(rows, 0, sizeof rows);
    for (unsigned step = 0; step < 800; step++) {
        write_some();
        if (step % 100 == 50)
            (void)fixture_vacuum();
    }
    OKAY(datafile_blocks(fixture_heap.file, &blocks));
    assert_true(blocks < 1200);
    for (block_t b = 0; b < blocks; b++)
        OKAY(pool_copy((struct page_id){ fixture_heap.file, b }, POOL_NORMAL, before[b]));
    wal_flush(wal_insert_position());
    fixture_crash();
    fixture_start();
    assert_true(fixture_found.records > 800);
    fixture_describe_all();
    OKAY(datafile_blocks(fixture_heap.file, &now));
    for (block_t b = 0; b < blocks; b++) {
        memset(after, 0, sizeof after);
        if (b < now)
            OKAY(pool_copy((struct page_id){ fixture_heap.file, b }, POOL_NORMAL, after));
        heappage_mask(before[b]);
        heappage_mask(after);
        memset(before[b] + 8, 0, 4); /* the checksum is set when written */
        memset(after + 8, 0, 4);
        assert_memory_equal(before[b], after, wal_page_size);
    }
    (void)fixture_check();
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_snapshot_sees_its_rows_whatever_is_pruned),
        TEST(no_money_is_made_or_lost),
        TEST(what_was_acknowledged_survives_a_kill),
        TEST(replay_gives_the_same_pages),
    };

    const struct CMUnitTest by_size[] = {
        TEST(every_snapshot_sees_its_rows_whatever_is_pruned),
        TEST(replay_gives_the_same_pages),
    };
    int failed = cmocka_run_group_tests_name("pages of 8 KiB", tests, NULL, NULL);

    fixture_page_size = 4096;
    failed += cmocka_run_group_tests_name("pages of 4 KiB", by_size, NULL, NULL);
    fixture_page_size = 16384;
    failed += cmocka_run_group_tests_name("pages of 16 KiB", by_size, NULL, NULL);
    fixture_page_size = 32768;
    failed += cmocka_run_group_tests_name("pages of 32 KiB", by_size, NULL, NULL);
    return failed;
}
