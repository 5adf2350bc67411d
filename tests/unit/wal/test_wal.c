/*
 * test_wal.c - opening, recovery, epochs.
 */
#include "walfixture.h"

#include "base/clock.h"

static void
what_was_flushed_is_replayed_in_order(void **state)
{
    lsn_t end = 0;

    (void)state;
    for (uint64_t i = 1; i <= 1000; i++)
        end = fixture_insert(i, i % 300);
    wal_flush(end);
    assert_true(wal_flush_done() >= end);
    fixture_crash();
    fixture_open();
    assert_false(fixture_found.clean);
    assert_int_equal(fixture_replayed_count, 1000);
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(fixture_replayed[i], i + 1);
    assert_int_equal(fixture_found.end, end);
}

static void
what_was_not_flushed_is_gone_and_its_place_is_used_again(void **state)
{
    lsn_t end = fixture_insert(1, 100);
    lsn_t lost;

    (void)state;
    wal_flush(end);
    lost = fixture_insert(2, 100);
    assert_true(lost > end);
    fixture_crash();
    fixture_open();
    assert_int_equal(fixture_replayed_count, 1);
    assert_int_equal(fixture_found.end, end);
    wal_flush(fixture_insert(3, 100));
    fixture_crash();
    fixture_open();
    assert_int_equal(fixture_replayed_count, 2);
    assert_int_equal(fixture_replayed[1], 3);
}

static void
a_stop_in_order_is_clean(void **state)
{
    (void)state;
    (void)fixture_insert(1, 100);
    assert_int_equal(checkpoint_run(CHECKPOINT_FAST | CHECKPOINT_FINAL), OK);
    assert_int_equal(wal_insert_reserve(10), ERR_SHUTDOWN);
    assert_int_equal(wal_close(), OK);
    fixture_crash();
    fixture_open();
    assert_true(fixture_found.clean);
    assert_int_equal(fixture_replayed_count, 0);
}

static void
records_go_over_from_segment_to_segment(void **state)
{
    lsn_t end = 0;
    uint64_t count = 0;

    (void)state;
    while (wal_format_segment_of(wal_insert_position()) < 4) {
        count++;
        end = fixture_insert(count, 100000 + count * 8);
    }
    wal_flush(end);
    fixture_crash();
    fixture_open();
    assert_int_equal(fixture_replayed_count, count);
    assert_int_equal(fixture_found.end, end);
}

static uint8_t checked_page[8192];

static err_t
peek_checked(struct page_id id, void *page, bool *found)
{
    (void)id;
    memcpy(page, checked_page, sizeof checked_page);
    *found = true;
    return OK;
}

static err_t
redo_checked(const struct wal_record *record)
{
    struct page_header *head = (void *)checked_page;

    assert_false(record->page[0].has_image);
    memcpy(checked_page + 100, record->page[0].data.data, record->page[0].data.size);
    head->lsn = record->end;
    return OK;
}

/* The second replay forgets a byte, as a wrong redo function would. */
static void
a_replay_that_differs_is_noticed_under_wal_check(void **state)
{
    struct page_id id = { 3, 1 };
    lsn_t end;

    (void)state;
    fixture_crash();
    fixture_config->wal_check = true;
    fixture_handlers[WAL_HEAP_INSERT].redo = redo_checked;
    wal_set_page_peek(peek_checked);
    fixture_open();
    for (unsigned change = 0; change < 2; change++) {
        static _Alignas(8) uint8_t page[8192];

        memset(page, 0, sizeof page);
        ((struct page_header *)(void *)page)->lsn = wal_insert_position() + 1;
        memcpy(page + 100, "abcd", 4);
        page[200] = (uint8_t)change;
        memset(checked_page, 0, sizeof checked_page);
        crit_begin();
        wal_insert_begin();
        wal_insert_page(0, id, page, WAL_PAGE_PLAIN);
        wal_insert_page_data(0, "abcd", 4);
        end = wal_insert(WAL_HEAP_INSERT, 1);
        crit_end();
        wal_flush(end);
        fixture_crash();
        assert_int_equal(fixture_try_open(), change == 0 ? OK : ERR_CORRUPT);
    }
    assert_non_null(strstr(err_message(), "byte 200 is 0 instead of 0x1"));
    wal_set_page_peek(NULL);
    fixture_handlers[WAL_HEAP_INSERT].redo = NULL;
}

static err_t
take_half_of_the_time(void)
{
    checkpoint_pace(500, 1000);
    return OK;
}

static void
a_checkpoint_that_is_late_is_not_spread(void **state)
{
    static const struct checkpoint_part slow = { "slow", NULL, NULL, take_half_of_the_time };
    static const struct checkpoint_part *const parts[] = { &slow };
    int64_t began = clock_now_ns();

    (void)state;
    fixture_config->max_wal_size = 32 << 20;
    fixture_config->checkpoint_timeout = 86400;
    for (uint64_t i = 1; wal_insert_position() < (lsn_t)50 << 20; i++)
        (void)fixture_insert(i, 200000);
    checkpoint_set_parts(parts, 1);
    assert_int_equal(checkpoint_run(0), OK);
    checkpoint_set_parts(NULL, 0);
    assert_true(clock_now_ns() - began < (int64_t)60 * 1000000000); /* spread: eleven hours */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            what_was_flushed_is_replayed_in_order, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_was_not_flushed_is_gone_and_its_place_is_used_again,
            fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_stop_in_order_is_clean, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            records_go_over_from_segment_to_segment, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            a_replay_that_differs_is_noticed_under_wal_check, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            a_checkpoint_that_is_late_is_not_spread, fixture_setup, fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
