/*
 * test_heap.c - what each call of a heap does and answers, one process, several transactions.
 */
#include "heapfixture.h"

#include "storage/heap/heappage.h"
#include "storage/heap/prune.h"
#include "storage/page/freespace.h"

static void
a_row_is_seen_by_who_began_after_its_commit(void **state)
{
    struct txn *writer = fixture_begin(TXN_SNAPSHOT), *before = fixture_begin(TXN_SNAPSHOT), *after;
    struct row_id root = fixture_insert(writer, "granite");

    (void)state;
    fixture_expect(before, root, NULL);
    fixture_expect(writer, root, NULL); /* its own, of this statement */
    OKAY(txn_next_statement(writer));
    fixture_expect(writer, root, "granite");
    fixture_commit(writer);
    fixture_expect(before, root, NULL);
    after = fixture_begin(TXN_SNAPSHOT);
    fixture_expect(after, root, "granite");
    fixture_expect(after, root, "granite"); /* and again, with its hints set */
    fixture_commit(before);
    fixture_commit(after);
    assert_int_equal(fixture_check(), 1);
}

static void
a_row_of_a_failed_transaction_is_seen_by_nobody(void **state)
{
    struct txn *txn = fixture_begin(TXN_SNAPSHOT);
    struct row_id root = fixture_insert(txn, "slate");

    (void)state;
    txn_abort(NULL, txn);
    txn = fixture_begin(TXN_SNAPSHOT);
    fixture_expect(txn, root, NULL);
    fixture_expect(txn, root, NULL);
    assert_int_equal(fixture_count(txn), 0);
    fixture_commit(txn);
    assert_int_equal(fixture_check(), 0);
}

static void
each_snapshot_keeps_its_version(void **state)
{
    struct txn *reader[6], *txn = fixture_begin(TXN_SNAPSHOT);
    struct row_id root = fixture_insert(txn, "0"), was = root;

    (void)state;
    fixture_commit(txn);
    for (int i = 0; i < 6; i++) {
        char text[16];

        reader[i] = fixture_begin(TXN_SNAPSHOT);
        txn = fixture_begin(TXN_SNAPSHOT);
        (void)snprintf(text, sizeof text, "%d", i + 1);
        assert_int_equal(fixture_update(txn, &root, text, true, NULL), HEAP_DONE);
        assert_int_equal(root.block, was.block);
        assert_int_equal(root.item, was.item); /* heap-only */
        fixture_commit(txn);
    }
    for (int i = 5; i >= 0; i--) {
        char text[16];

        (void)snprintf(text, sizeof text, "%d", i);
        fixture_expect(reader[i], root, text);
        assert_int_equal(fixture_count(reader[i]), 1);
        if (i % 2 == 0)
            (void)fixture_vacuum();
        fixture_expect(reader[i], root, text);
        fixture_commit(reader[i]);
    }
    (void)fixture_vacuum();
    txn = fixture_begin(TXN_SNAPSHOT);
    fixture_expect(txn, root, "6");
    fixture_commit(txn);
    assert_int_equal(fixture_check(), 1);
}

static void
new_keys_give_a_new_root(void **state)
{
    struct txn *old, *txn = fixture_begin(TXN_SNAPSHOT);
    struct row_id root = fixture_insert(txn, "a"), was = root;

    (void)state;
    fixture_commit(txn);
    old = fixture_begin(TXN_SNAPSHOT);
    txn = fixture_begin(TXN_SNAPSHOT);
    assert_int_equal(fixture_update(txn, &root, "b", false, NULL), HEAP_DONE);
    assert_true(root.item != was.item || root.block != was.block);
    fixture_commit(txn);
    fixture_expect(old, was, "a");
    fixture_expect(old, root, NULL);
    txn = fixture_begin(TXN_SNAPSHOT);
    fixture_expect(txn, was, NULL);
    fixture_expect(txn, root, "b");
    assert_int_equal(fixture_count(txn), 1);
    fixture_commit(txn);
    fixture_commit(old);
}

static void
a_writer_is_told_who_changes_the_row(void **state)
{
    struct txn *a = fixture_begin(TXN_SNAPSHOT), *b;
    struct row_id root = fixture_insert(a, "x");
    struct heap_conflict conflict;
    xid_t xid;

    (void)state;
    fixture_commit(a);
    a = fixture_begin(TXN_SNAPSHOT);
    b = fixture_begin(TXN_SNAPSHOT);
    assert_int_equal(fixture_update(a, &root, "y", true, NULL), HEAP_DONE);
    OKAY(txn_xid(a, &xid));
    assert_int_equal(fixture_update(b, &root, "z", true, &conflict), HEAP_BUSY);
    assert_int_equal(conflict.busy, xid);
    assert_int_equal(fixture_delete(b, root, &conflict), HEAP_BUSY);
    assert_int_equal(fixture_update(a, &root, "again", true, NULL), HEAP_OWN);
    txn_abort(NULL, a);
    assert_int_equal(fixture_update(b, &root, "z", true, &conflict), HEAP_DONE);
    fixture_commit(b);
    a = fixture_begin(TXN_SNAPSHOT);
    fixture_expect(a, root, "z");
    fixture_commit(a);
    (void)fixture_vacuum();
    assert_int_equal(fixture_check(), 1);
}

static void
a_newer_version_is_a_conflict_under_a_snapshot(void **state)
{
    struct txn *a = fixture_begin(TXN_SNAPSHOT), *b;
    struct row_id root = fixture_insert(a, "x"), version, found_at;
    struct row_id gone = fixture_insert(a, "gone");
    struct heap_conflict conflict;
    enum heap_outcome outcome;
    struct buf out = buf_init(100);
    bool found, heap_only;
    xid_t busy;

    (void)state;
    fixture_commit(a);
    b = fixture_begin(TXN_SNAPSHOT);
    a = fixture_begin(TXN_SNAPSHOT);
    found_at = root;
    assert_int_equal(fixture_update(a, &found_at, "y", false, NULL), HEAP_DONE);
    assert_int_equal(fixture_delete(a, gone, NULL), HEAP_DONE);
    fixture_commit(a);
    assert_int_equal(fixture_update(b, &root, "z", true, &conflict), HEAP_CHANGED);
    assert_int_equal(conflict.newer.item, found_at.item);
    assert_int_equal(fixture_delete(b, gone, &conflict), HEAP_GONE);
    /* The newest is found through the old root, and may be changed. */
    found_at = root;
    OKAY(heap_get_newest(NULL, &fixture_heap, b, &found_at, &out, &version, &found, &busy));
    assert_true(found);
    assert_true(bytes_is(buf_bytes(&out), "y"));
    OKAY(heap_update(NULL, &fixture_heap, b, found_at, version, bytes_of("w"), true, &outcome,
        &conflict, &root, &heap_only));
    assert_int_equal(outcome, HEAP_DONE);
    assert_true(heap_only);
    fixture_commit(b);
    buf_fini(&out);
    assert_int_equal(fixture_check(), 1);
}

static void
liveness_tells_unique_indexes_what_they_must_know(void **state)
{
    struct txn *a = fixture_begin(TXN_SNAPSHOT), *b = fixture_begin(TXN_SNAPSHOT);
    struct row_id root = fixture_insert(a, "x"), undone;
    enum heap_liveness live;
    xid_t busy, xid;

    (void)state;
    OKAY(txn_xid(a, &xid));
    OKAY(heap_liveness(NULL, &fixture_heap, b, root, &live, &busy));
    assert_int_equal(live, HEAP_UNDECIDED);
    assert_int_equal(busy, xid);
    OKAY(heap_liveness(NULL, &fixture_heap, a, root, &live, &busy));
    assert_int_equal(live, HEAP_LIVE);
    undone = fixture_insert(a, "taken back");
    OKAY(heap_undo_insert(NULL, &fixture_heap, a, undone));
    OKAY(heap_liveness(NULL, &fixture_heap, b, undone, &live, &busy));
    assert_int_equal(live, HEAP_DEAD);
    fixture_commit(a);
    OKAY(heap_liveness(NULL, &fixture_heap, b, root, &live, &busy));
    assert_int_equal(live, HEAP_LIVE);
    fixture_commit(b);
    b = fixture_begin(TXN_SNAPSHOT);
    fixture_expect(b, undone, NULL);
    assert_int_equal(fixture_delete(b, root, NULL), HEAP_DONE);
    OKAY(heap_liveness(NULL, &fixture_heap, b, root, &live, &busy));
    assert_int_equal(live, HEAP_DEAD);
    fixture_commit(b);
    assert_int_equal(fixture_check(), 0);
}

/* Rows that LZ4 can, and cannot, make smaller. */
static void
fill_row(uint8_t *row, size_t size, unsigned seed, bool packs)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;

    for (size_t i = 0; i < size; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        row[i] = packs ? (uint8_t)(i / 37 + seed) : (uint8_t)x;
    }
}

static void
rows_of_every_size_come_back(void **state)
{
    static const size_t sizes[] = { 0, 1, 7, 50, 2047, 2048, 2049, 4000, 8100, 8192, 20000, 100000,
        1000003, 5000000, HEAP_ROW_MAX };
    uint8_t *row = malloc(HEAP_ROW_MAX + 1);
    struct buf out = buf_init(HEAP_ROW_MAX + 8);

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int packs = 0; packs < 2; packs++) {
            struct txn *txn = fixture_begin(TXN_SNAPSHOT);
            struct row_id root, version;
            struct heap_scan *scan;
            struct bytes got;
            bool found;

            fill_row(row, sizes[i], (unsigned)i, packs);
            OKAY(heap_insert(NULL, &fixture_heap, txn, (struct bytes){ row, sizes[i] }, &root));
            OKAY(txn_next_statement(txn));
            buf_clear(&out);
            OKAY(buf_append(&out, "front", 5));
            OKAY(heap_get(NULL, &fixture_heap, txn_snapshot(txn), root, &out, &version, &found));
            assert_true(found);
            assert_int_equal(out.size, sizes[i] + 5);
            assert_true(sizes[i] == 0 || memcmp(out.data + 5, row, sizes[i]) == 0);
            OKAY(heap_scan_begin(NULL, &fixture_heap, txn_snapshot(txn), &scan));
            OKAY(heap_scan_next(NULL, scan, &got, &root, &version, &found));
            assert_true(found && got.size == sizes[i]);
            assert_true(sizes[i] == 0 || memcmp(got.data, row, sizes[i]) == 0);
            heap_scan_end(scan);
            assert_int_equal(fixture_delete(txn, root, NULL), HEAP_DONE);
            fixture_commit(txn);
            (void)fixture_vacuum();
            assert_int_equal(fixture_check(), 0);
        }
    }
    struct txn *txn = fixture_begin(TXN_SNAPSHOT);
    struct row_id root;

    assert_int_equal(
        heap_insert(NULL, &fixture_heap, txn, (struct bytes){ row, HEAP_ROW_MAX + 1 }, &root),
        ERR_TOO_LARGE);
    txn_abort(NULL, txn);
    buf_fini(&out);
    free(row);
}

/* Pages of the heap by kind. */
static unsigned
count_pages(enum page_kind kind)
{
    _Alignas(8) uint8_t page[PAGE_SIZE_MAX];
    unsigned count = 0;
    block_t blocks;

    OKAY(datafile_blocks(fixture_heap.file, &blocks));
    for (block_t b = 0; b < blocks; b++) {
        OKAY(pool_copy((struct page_id){ fixture_heap.file, b }, POOL_NORMAL, page));
        count += ((struct page_header *)page)->kind == kind;
    }
    return count;
}

static void
overflow_pages_are_used_again(void **state)
{
    uint8_t *row = malloc(100000);
    block_t first = 0, blocks;

    (void)state;
    fill_row(row, 100000, 3, false);
    for (int i = 0; i < 20; i++) {
        struct txn *txn = fixture_begin(TXN_SNAPSHOT);
        struct row_id root;

        OKAY(heap_insert(NULL, &fixture_heap, txn, (struct bytes){ row, 100000 }, &root));
        txn_abort(NULL, txn); /* the row is on a page, so pruning frees the chain */
        (void)fixture_vacuum();
        assert_int_equal(count_pages(PAGE_OVERFLOW), 0);
        OKAY(datafile_blocks(fixture_heap.file, &blocks));
        if (i == 1)
            first = blocks;
    }
    assert_true(blocks <= first + 16);
    free(row);
}

/* Such a page has room for all that an empty one has, but no part of a long row may go there. */
static void
many_large_rows_are_not_got_at_once(void **state)
{
    uint8_t *row = malloc(50000);
    struct bytes rows[4];
    struct row_id roots[4];
    struct heap_got got[4];
    struct txn *txn = fixture_begin(TXN_SNAPSHOT);
    struct buf out = buf_init((size_t)1 << 20);
    size_t count = 4;

    (void)state;
    fill_row(row, 50000, 1, false);
    for (int i = 0; i < 4; i++)
        rows[i] = (struct bytes){ row, 50000 };
    OKAY(heap_insert_many(NULL, &fixture_heap, txn, rows, 4, roots));
    fixture_commit(txn);
    txn = fixture_begin(TXN_SNAPSHOT);
    OKAY(heap_get_many(NULL, &fixture_heap, txn_snapshot(txn), roots, &count, &out, got));
    assert_int_equal(count, 2);
    assert_true(got[0].found && got[1].found);
    assert_int_equal(got[0].end, 50000);
    assert_int_equal(got[1].end, 100000);
    fixture_commit(txn);
    buf_fini(&out);
    free(row);
}

static void
a_page_of_dead_items_is_passed_over(void **state)
{
    _Alignas(8) uint8_t page[PAGE_SIZE_MAX];
    uint8_t *row = malloc(100000);
    struct txn *txn = fixture_begin(TXN_SNAPSHOT);
    struct prune_plan plan;
    struct row_id root;
    buffer_t buffer;

    (void)state;
    fill_row(row, 100000, 3, false);
    OKAY(heap_insert(NULL, &fixture_heap, txn, (struct bytes){ row, 100 }, &root));
    fixture_commit(txn);
    txn = fixture_begin(TXN_SNAPSHOT);
    assert_int_equal(fixture_delete(txn, root, NULL), HEAP_DONE);
    fixture_commit(txn);
    OKAY(pool_pin((struct page_id){ fixture_heap.file, root.block }, POOL_NORMAL, &buffer));
    pool_lock(buffer, LW_EXCLUSIVE);
    OKAY(prune_page(buffer, true, &plan));
    pool_unlock(buffer);
    pool_unpin(buffer);
    OKAY(pool_copy((struct page_id){ fixture_heap.file, root.block }, POOL_NORMAL, page));
    assert_int_equal(
        heappage_item_state(heappage_item(page, root.item)), HEAPPAGE_DEAD); /* not unused */
    assert_true(heappage_free(page) >= heappage_empty_free());
    OKAY(freespace_note(fixture_heap.map, root.block, heappage_free(page)));
    txn = fixture_begin(TXN_SNAPSHOT);
    OKAY(heap_insert(NULL, &fixture_heap, txn, (struct bytes){ row, 100000 }, &root));
    fixture_commit(txn);
    assert_int_equal(fixture_check(), 1);
    free(row);
}

static void
many_rows_go_in_with_few_records(void **state)
{
    static struct bytes rows[5000];
    static struct row_id roots[5000];
    static char text[5000][24];
    struct txn *txn = fixture_begin(TXN_SNAPSHOT);
    uint8_t *large = malloc(9000);

    (void)state;
    fill_row(large, 9000, 1, false);
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(text[i], sizeof text[i], "row %d", i);
        rows[i] = bytes_of(text[i]);
    }
    rows[2500] = (struct bytes){ large, 9000 };
    OKAY(heap_insert_many(NULL, &fixture_heap, txn, rows, 5000, roots));
    fixture_commit(txn);
    txn = fixture_begin(TXN_SNAPSHOT);
    for (int i = 0; i < 5000; i++)
        if (i != 2500)
            fixture_expect(txn, roots[i], text[i]);
    assert_int_equal(fixture_count(txn), 5000);
    fixture_commit(txn);
    assert_int_equal(fixture_vacuum().rows_live, 5000);
    assert_int_equal(fixture_check(), 5000);
    txn = fixture_begin(TXN_SNAPSHOT);
    for (int i = 0; i < 5000; i++)
        if (i != 2500)
            fixture_expect(txn, roots[i], text[i]);
    assert_int_equal(fixture_count(txn), 5000); /* frozen */
    fixture_commit(txn);
    free(large);
}

/* After a crash the map may be newer than the heap. */
static void
a_map_that_promises_too_much_is_corrected(void **state)
{
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);
    size_t size = wal_page_size * 3;
    uint8_t *row = malloc(size);
    struct row_id root;
    size_t room;

    (void)state;
    for (size_t i = 0; i < size; i++)
        row[i] = (uint8_t)(i * 2654435761u >> 11); /* does not pack */
    for (block_t b = 5000; b < 5003; b++)
        OKAY(freespace_note(fixture_heap.map, b, wal_page_size));
    OKAY(heap_insert(NULL, &fixture_heap, txn, (struct bytes){ row, 20 }, &root));
    OKAY(heap_insert(NULL, &fixture_heap, txn, (struct bytes){ row, size }, &root));
    assert_true(root.block < 100);
    OKAY(freespace_get(fixture_heap.map, 5001, &room));
    assert_int_equal(room, 0);
    fixture_commit(txn);
    free(row);
}

/* A page whose checksum is right and whose rows overlap: made by somebody who wants harm. */
static void
rows_that_overlap_are_damage_and_no_more(void **state)
{
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);
    struct heap_vacuum_result result;
    struct row_id root = { 0, 0 };
    struct heappage *page;
    buffer_t buffer;

    (void)state;
    for (unsigned i = 0; i < 20; i++)
        OKAY(heap_insert(
            NULL, &fixture_heap, txn, (struct bytes){ (const uint8_t *)"abcdefgh", 8 }, &root));
    txn_abort(NULL, txn); /* all of them may be pruned */
    OKAY(pool_pin((struct page_id){ fixture_heap.file, root.block }, POOL_NORMAL, &buffer));
    pool_lock(buffer, LW_EXCLUSIVE);
    page = pool_page(buffer);
    for (unsigned n = 1; n <= heappage_count(page); n++) {
        unsigned offset = heappage_item_offset(page->item[n - 1]);

        heappage_set_item(page, n,
            heappage_item_make(offset, HEAPPAGE_NORMAL,
                (wal_page_size - offset) & 0x7fffu)); /* each as long as the page lets it be */
    }
    heappage_set_item(
        page, 1, heappage_item_make(64, HEAPPAGE_NORMAL, (wal_page_size - 64) & 0x7fffu));
    pool_unlock(buffer);
    pool_unpin(buffer);
    assert_int_equal(heap_vacuum(NULL, &fixture_heap, NULL, NULL, &result), ERR_CORRUPT);
}

static void
a_scan_goes_on_where_it_is_told(void **state)
{
    struct txn *txn = fixture_begin(TXN_SNAPSHOT);
    struct row_id root[700], at, version;
    struct heap_scan *scan;
    struct bytes row;
    char text[64];
    bool found;

    (void)state;
    for (int i = 0; i < 700; i++) {
        (void)snprintf(text, sizeof text, "the row of number %d", i);
        root[i] = fixture_insert(txn, text);
    }
    OKAY(txn_next_statement(txn));
    for (int from = 0; from < 700; from += 61) {
        OKAY(heap_scan_begin(NULL, &fixture_heap, txn_snapshot(txn), &scan));
        heap_scan_seek(scan, root[from]);
        for (int i = from + 1; i < 700; i++) {
            OKAY(heap_scan_next(NULL, scan, &row, &at, &version, &found));
            assert_true(found);
            assert_true(at.block == root[i].block && at.item == root[i].item);
        }
        OKAY(heap_scan_next(NULL, scan, &row, &at, &version, &found));
        assert_false(found);
        heap_scan_seek(scan, ROW_ID_NONE);
        OKAY(heap_scan_next(NULL, scan, &row, &at, &version, &found));
        assert_true(found && at.item == root[0].item);
        heap_scan_end(scan);
    }
    fixture_commit(txn);
}

struct forgotten {
    size_t count;
    struct row_id last;
};

static err_t
forget(void *context, const struct row_id *dead, size_t count)
{
    struct forgotten *all = context;

    for (size_t i = 0; i < count; i++) {
        assert_true(all->count == 0 || dead[i].block > all->last.block ||
                    (dead[i].block == all->last.block && dead[i].item > all->last.item));
        all->last = dead[i];
        all->count++;
    }
    return OK;
}

static void
vacuum_forgets_before_it_frees(void **state)
{
    struct txn *txn = fixture_begin(TXN_SNAPSHOT), *old;
    struct row_id root[300];
    struct heap_vacuum_result result;
    struct forgotten all = { 0, ROW_ID_NONE };
    block_t before, after;

    (void)state;
    for (int i = 0; i < 300; i++)
        root[i] = fixture_insert(txn, "limestone, sandstone, marble");
    fixture_commit(txn);
    old = fixture_begin(TXN_SNAPSHOT);
    txn = fixture_begin(TXN_SNAPSHOT);
    for (int i = 0; i < 300; i += 2)
        assert_int_equal(fixture_delete(txn, root[i], NULL), HEAP_DONE);
    fixture_commit(txn);
    OKAY(heap_vacuum(NULL, &fixture_heap, forget, &all, &result));
    assert_int_equal(all.count, 0); /* `old` sees them */
    assert_int_equal(fixture_count(old), 300);
    fixture_commit(old);
    OKAY(heap_vacuum(NULL, &fixture_heap, forget, &all, &result));
    assert_int_equal(all.count, 150);
    assert_int_equal(result.versions_removed, 150);
    assert_int_equal(result.rows_live, 150);
    OKAY(datafile_blocks(fixture_heap.file, &before));
    txn = fixture_begin(TXN_SNAPSHOT);
    for (int i = 0; i < 150; i++)
        (void)fixture_insert(txn, "limestone, sandstone, marble");
    fixture_commit(txn);
    OKAY(datafile_blocks(fixture_heap.file, &after));
    assert_int_equal(before, after);
    assert_int_equal(fixture_check(), 300);
}

static void
a_row_updated_without_end_needs_no_more_room(void **state)
{
    struct txn *txn = fixture_begin(TXN_SNAPSHOT);
    struct row_id root = fixture_insert(txn, "counter 0"), was = root;
    block_t blocks;
    char text[64];

    (void)state;
    fixture_commit(txn);
    for (int i = 1; i <= 5000; i++) {
        txn = fixture_begin(TXN_SNAPSHOT);
        (void)snprintf(text, sizeof text, "counter %d", i);
        assert_int_equal(fixture_update(txn, &root, text, true, NULL), HEAP_DONE);
        fixture_commit(txn);
    }
    assert_true(root.block == was.block && root.item == was.item);
    txn = fixture_begin(TXN_SNAPSHOT);
    fixture_expect(txn, root, "counter 5000");
    fixture_commit(txn);
    OKAY(datafile_blocks(fixture_heap.file, &blocks));
    assert_true(blocks <= 64);
    assert_int_equal(fixture_check(), 1);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_row_is_seen_by_who_began_after_its_commit),
        TEST(a_row_of_a_failed_transaction_is_seen_by_nobody),
        TEST(each_snapshot_keeps_its_version),
        TEST(new_keys_give_a_new_root),
        TEST(a_writer_is_told_who_changes_the_row),
        TEST(a_newer_version_is_a_conflict_under_a_snapshot),
        TEST(liveness_tells_unique_indexes_what_they_must_know),
        TEST(rows_of_every_size_come_back),
        TEST(overflow_pages_are_used_again),
        TEST(a_page_of_dead_items_is_passed_over),
        TEST(many_large_rows_are_not_got_at_once),
        TEST(many_rows_go_in_with_few_records),
        TEST(a_map_that_promises_too_much_is_corrected),
        TEST(rows_that_overlap_are_damage_and_no_more),
        TEST(a_scan_goes_on_where_it_is_told),
        TEST(vacuum_forgets_before_it_frees),
        TEST(a_row_updated_without_end_needs_no_more_room),
    };

    const struct CMUnitTest by_size[] = {
        TEST(rows_of_every_size_come_back),
        TEST(rows_that_overlap_are_damage_and_no_more),
        TEST(vacuum_forgets_before_it_frees),
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
