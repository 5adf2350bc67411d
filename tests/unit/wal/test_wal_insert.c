/*
 * test_wal_insert.c - records in parallel, through the ring, with page images.
 */
#include "walfixture.h"

#include <pthread.h>
#include <stdatomic.h>

#include "wal/wal_ring.h"

#define THREADS 4
#define EACH    1500

static uint64_t
mix(uint64_t x)
{
    return (x * 2654435761u) >> 7;
}

static void *
insert_and_flush(void *argument)
{
    uint64_t base = (uint64_t)(uintptr_t)argument * 1000000;

    invariant(proc_attach(PROC_EMBEDDED) == OK);
    for (uint64_t i = 1; i <= EACH; i++) {
        size_t size = mix(base + i) % 700;
        lsn_t end = fixture_insert(base + i, i % 100 == 0 ? size * 60 : size);

        if (i % 64 == 0)
            wal_flush(end);
    }
    proc_detach();
    return NULL;
}

static void *
flush_now_and_then(void *stop)
{
    invariant(proc_attach(PROC_WAL_WRITER) == OK);
    while (!atomic_load((_Atomic int *)stop)) {
        wal_flush_background();
        usleep(300);
    }
    proc_detach();
    return NULL;
}

/* Read it all back: everything whole, each process's records in its order. */
static void
check_all(lsn_t from, uint64_t threads, uint64_t each)
{
    struct wal_reader *reader;
    struct wal_record record;
    enum wal_read_result result;
    char folder[WAL_SEGMENT_PATH_MAX];
    uint64_t last[64] = { 0 };
    lsn_t previous = 0;

    fixture_wal_folder(folder);
    reader = wal_reader_create(folder, wal_page_size, 0);
    wal_reader_seek(reader, from);
    for (;;) {
        uint64_t who;

        assert_int_equal(wal_reader_next(reader, &record, &result), OK);
        if (result != WAL_READ_RECORD)
            break;
        if (previous != 0)
            assert_int_equal(record.previous, previous);
        previous = record.start;
        if (record.kind != WAL_NUMBERS)
            continue;
        assert_true(fixture_is_whole(&record));
        who = record.xid / 1000000;
        assert_int_equal(record.xid % 1000000, last[who] + 1);
        last[who]++;
    }
    for (uint64_t i = 1; i <= threads; i++)
        assert_int_equal(last[i], each);
    wal_reader_destroy(reader);
}

static void
inserters_and_flushers_at_once_lose_and_mix_nothing(void **state)
{
    lsn_t from = wal_insert_position();
    pthread_t thread[THREADS + 1];
    _Atomic int stop = 0;

    (void)state;
    pthread_create(&thread[THREADS], NULL, flush_now_and_then, &stop);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, insert_and_flush, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    atomic_store(&stop, 1);
    pthread_join(thread[THREADS], NULL);
    wal_flush(wal_insert_position());
    check_all(from, THREADS, EACH);
}

static void *
move_the_redo_point(void *stop)
{
    invariant(proc_attach(PROC_CHECKPOINTER) == OK);
    while (!atomic_load((_Atomic int *)stop))
        invariant(checkpoint_run(CHECKPOINT_FAST) == OK);
    proc_detach();
    return NULL;
}

struct page {
    struct page_header head;
    uint8_t rest[8192 - sizeof(struct page_header)];
};

/* A page that holds its own count of changes; logged as a difference. */
static lsn_t
change_page(struct page *page, uint64_t number, struct page_id id, unsigned flags)
{
    lsn_t end;

    assert_int_equal(wal_insert_reserve(64), OK);
    crit_begin();
    memcpy(page->rest, &number, sizeof number);
    wal_insert_begin();
    wal_insert_page(0, id, page, flags);
    wal_insert_page_data(0, &number, sizeof number);
    end = wal_insert(WAL_IMAGE, number);
    page->head.lsn = end;
    crit_end();
    return end;
}

static uint64_t
checkpoints_done(void)
{
    struct checkpoint_status status;

    usleep(100);
    checkpoint_status(&status);
    return status.completed;
}

static void *
change_own_page(void *argument)
{
    struct page page = { .head = { .lower = 64, .upper = 8000 } };

    invariant(proc_attach(PROC_EMBEDDED) == OK);
    memset(page.rest, (int)(uintptr_t)argument, sizeof page.rest);
    for (uint64_t i = 1; i <= 200 || checkpoints_done() < 4; i++)
        (void)change_page(&page, i, (struct page_id){ (fileno_t)(uintptr_t)argument, 1 }, 0);
    proc_detach();
    return NULL;
}

/* Every page's first record behind each redo point has its image; checked by reading all. */
static void
the_first_change_after_a_redo_point_carries_the_page(void **state)
{
    lsn_t from = wal_insert_position();
    _Atomic int stop = 0;
    pthread_t thread[3];
    lsn_t redo[4000];
    size_t redo_count = 0;
    lsn_t imaged[3] = { 0 };
    struct wal_record record;
    enum wal_read_result result;
    char folder[WAL_SEGMENT_PATH_MAX];
    struct wal_reader *reader;

    (void)state;
    pthread_create(&thread[2], NULL, move_the_redo_point, &stop);
    for (uintptr_t i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, change_own_page, (void *)(i + 1));
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    atomic_store(&stop, 1);
    pthread_join(thread[2], NULL);
    wal_flush(wal_insert_position());

    fixture_wal_folder(folder);
    reader = wal_reader_create(folder, wal_page_size, 0);
    for (int pass = 0; pass < 2; pass++) {
        wal_reader_seek(reader, from);
        for (;;) {
            struct wal_format_checkpoint data;
            fileno_t file;

            assert_int_equal(wal_reader_next(reader, &record, &result), OK);
            if (result != WAL_READ_RECORD)
                break;
            if (pass == 0 && record.kind == WAL_CHECKPOINT && redo_count < 4000) {
                memcpy(&data, record.data.data, sizeof data);
                redo[redo_count++] = data.redo;
            }
            if (pass == 0 || record.kind != WAL_IMAGE)
                continue;
            file = record.page[0].id.file;
            if (record.page[0].has_image) {
                struct page page;

                assert_int_equal(wal_record_restore(&record, 0, &page), OK);
                assert_int_equal(page.head.lsn, record.end);
                assert_memory_equal(page.rest, &record.xid, 8);
                assert_int_equal(page.rest[30], file);
                assert_int_equal(page.rest[100], 0); /* the hole */
                assert_int_equal(page.rest[sizeof page.rest - 1], file);
                imaged[file] = record.start;
            }
            /* No redo point lies between the last image and this record. */
            for (size_t i = 0; i < redo_count; i++)
                assert_false(redo[i] > imaged[file] && redo[i] <= record.start);
        }
    }
    assert_true(redo_count > 2);
    wal_reader_destroy(reader);
}

static void
images_survive_with_and_without_hole_packed_and_not(void **state)
{
    lsn_t from = wal_insert_position();
    struct wal_record record;
    enum wal_read_result result;
    char folder[WAL_SEGMENT_PATH_MAX];
    struct wal_reader *reader;
    static struct page page[8];
    static struct page copy;
    struct rand rand;

    (void)state;
    rand_init(&rand, 7);
    crit_begin();
    wal_insert_begin();
    for (unsigned i = 0; i < 8; i++) {
        if (i & 1)
            rand_bytes(&rand, page[i].rest, sizeof page[i].rest);
        if (i & 2) {
            page[i].head.lower = (uint16_t)(24 + i * 100);
            page[i].head.upper = (uint16_t)(i & 4 ? 8192 : 5000 + i);
            memset((uint8_t *)&page[i] + page[i].head.lower, 0,
                (size_t)(page[i].head.upper - page[i].head.lower));
        }
        wal_insert_page(i, (struct page_id){ 9, i }, &page[i], WAL_PAGE_IMAGE);
        wal_insert_page_data(i, "abc", i % 4);
    }
    wal_flush(wal_insert(WAL_IMAGE, 1));
    crit_end();
    fixture_wal_folder(folder);
    reader = wal_reader_create(folder, wal_page_size, 0);
    wal_reader_seek(reader, from);
    assert_int_equal(wal_reader_next(reader, &record, &result), OK);
    assert_int_equal(result, WAL_READ_RECORD);
    assert_int_equal(record.page_count, 8);
    for (unsigned i = 0; i < 8; i++) {
        assert_true(record.page[i].has_image);
        assert_int_equal(record.page[i].id.block, i);
        assert_int_equal(record.page[i].data.size, i % 4);
        assert_int_equal(record.page[i].compressed, (i & 1) == 0);
        assert_int_equal(wal_record_restore(&record, i, &copy), OK);
        page[i].head.lsn = record.end;
        assert_memory_equal(&copy, &page[i], sizeof copy);
    }
    wal_reader_destroy(reader);
}

/* As many small pieces as there may be fill the room in which they are collected. */
static void
a_record_of_many_small_pieces_is_whole(void **state)
{
    static struct page page, copy;
    static uint8_t piece[24][256];
    lsn_t from = wal_insert_position();
    struct wal_record record;
    enum wal_read_result result;
    char folder[WAL_SEGMENT_PATH_MAX];
    struct wal_reader *reader;

    (void)state;
    page.head.lower = 64;
    page.head.upper = 8000;
    memset(page.rest + 8000 - sizeof page.head, 7, 192);
    for (unsigned last = 1; last <= 256; last += 5) {
        const uint8_t *data;

        crit_begin();
        wal_insert_begin();
        wal_insert_page(0, (struct page_id){ 9, 1 }, &page, WAL_PAGE_IMAGE);
        for (unsigned i = 0; i < 24; i++) {
            memset(piece[i], (int)(i + last), sizeof piece[i]);
            wal_insert_page_data(0, piece[i], i == 15 ? last : 252);
        }
        wal_flush(wal_insert(WAL_IMAGE, 1));
        crit_end();
        fixture_wal_folder(folder);
        reader = wal_reader_create(folder, wal_page_size, 0);
        wal_reader_seek(reader, from);
        assert_int_equal(wal_reader_next(reader, &record, &result), OK);
        assert_int_equal(result, WAL_READ_RECORD);
        assert_int_equal(record.page[0].data.size, 23 * 252 + last);
        data = record.page[0].data.data;
        for (unsigned i = 0; i < 24; i++) {
            size_t size = i == 15 ? last : 252;

            assert_memory_equal(data, piece[i], size);
            data += size;
        }
        assert_int_equal(wal_record_restore(&record, 0, &copy), OK);
        page.head.lsn = record.end;
        assert_memory_equal(&copy, &page, sizeof copy);
        wal_reader_destroy(reader);
        from = wal_insert_position();
    }
}

static void *
flush_it_all(void *lsn)
{
    invariant(proc_attach(PROC_EMBEDDED) == OK);
    wal_flush(*(lsn_t *)lsn);
    proc_detach();
    return NULL;
}

/* An inserter may wait for the WAL writer to make a segment, and the leader of a round for that
   inserter: then the WAL writer must not wait for the leader. */
static void
the_wal_writer_never_waits_for_another_round(void **state)
{
    lsn_t first = fixture_insert(1, 100);
    struct wal_ring_place place;
    static const uint8_t zeros[64];
    pthread_t leader;
    unsigned right;

    (void)state;
    crit_begin();
    right = wal_ring_enter();
    wal_ring_take(right, sizeof zeros, &place);
    pthread_create(&leader, NULL, flush_it_all, &place.end);
    usleep(20000); /* it leads a round, and waits for what we took */
    assert_true(wal_flush_done() < first);
    (void)alarm(20);
    wal_flush_background();
    (void)alarm(0);
    (void)wal_ring_copy(place.start, zeros, sizeof zeros);
    wal_ring_leave(right);
    crit_end();
    pthread_join(leader, NULL);
    assert_true(wal_flush_done() >= place.end);
}

static void
the_largest_record_goes_through_the_smallest_ring(void **state)
{
    lsn_t from = wal_insert_position();

    (void)state;
    for (uint64_t i = 1; i <= 9; i++)
        (void)fixture_insert(1000000 + i, WAL_RECORD_MAX - 32);
    wal_flush(wal_insert_position());
    check_all(from, 1, 9);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            inserters_and_flushers_at_once_lose_and_mix_nothing, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            the_first_change_after_a_redo_point_carries_the_page, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            images_survive_with_and_without_hole_packed_and_not, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            a_record_of_many_small_pieces_is_whole, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            the_wal_writer_never_waits_for_another_round, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            the_largest_record_goes_through_the_smallest_ring, fixture_setup, fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
