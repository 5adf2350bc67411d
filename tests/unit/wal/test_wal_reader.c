/*
 * test_wal_reader.c - the end of the log, and damage of it.
 */
#include "walfixture.h"

#include <time.h>

/* Read from `from` on; yields how many records, and why it ended. */
static uint64_t
read_all(lsn_t from, enum wal_read_result *result)
{
    char folder[WAL_SEGMENT_PATH_MAX];
    struct wal_reader *reader;
    struct wal_record record;
    uint64_t count = 0;

    fixture_wal_folder(folder);
    reader = wal_reader_create(folder, wal_page_size, 0);
    assert_non_null(reader);
    wal_reader_seek(reader, from);
    for (;;) {
        assert_int_equal(wal_reader_next(reader, &record, result), OK);
        if (*result != WAL_READ_RECORD)
            break;
        if (record.kind == WAL_NUMBERS)
            assert_true(fixture_is_whole(&record));
        count++;
    }
    wal_reader_destroy(reader);
    return count;
}

/* Five durable records; start of each and the end. */
static void
write_five(lsn_t at[6])
{
    for (unsigned i = 0; i < 5; i++) {
        at[i] = wal_insert_position();
        at[5] = fixture_insert(i + 1, 20 + i * 13);
        wal_flush(at[5]);
    }
}

static void
a_bit_flipped_in_the_middle_is_damage_at_every_position(void **state)
{
    enum wal_read_result result;
    lsn_t at[6];

    (void)state;
    write_five(at);
    for (lsn_t lsn = at[2]; lsn < at[3]; lsn++) {
        uint8_t byte;
        uint8_t bad;

        fixture_peek(lsn, &byte, 1);
        bad = (uint8_t)(byte ^ 1u << lsn % 8);
        fixture_poke(lsn, &bad, 1);
        assert_int_equal(read_all(at[0], &result), 2);
        assert_int_equal(result, WAL_READ_DAMAGED);
        assert_non_null(strstr(err_message(), "2 valid records follow"));
        fixture_poke(lsn, &byte, 1);
    }
    assert_int_equal(read_all(at[0], &result), 5);
    assert_int_equal(result, WAL_READ_END);
}

static void
a_bit_flipped_in_the_last_record_is_a_torn_end(void **state)
{
    enum wal_read_result result;
    lsn_t at[6];

    (void)state;
    write_five(at);
    for (lsn_t lsn = at[4]; lsn < at[5]; lsn += 3) {
        uint8_t byte;
        uint8_t bad;

        fixture_peek(lsn, &byte, 1);
        bad = (uint8_t)(byte ^ 1u << lsn % 8);
        fixture_poke(lsn, &bad, 1);
        assert_int_equal(read_all(at[0], &result), 4);
        assert_int_equal(result, WAL_READ_TORN);
        fixture_poke(lsn, &byte, 1);
    }
}

static void
the_last_record_may_be_torn_at_every_byte(void **state)
{
    enum wal_read_result result;
    uint8_t zeros[256] = { 0 };
    lsn_t at[6];

    (void)state;
    write_five(at);
    for (lsn_t lsn = at[5] - 1; lsn >= at[4]; lsn--) {
        fixture_poke(lsn, zeros, 1);
        if (lsn > at[5] - 8)
            continue; /* mostly filling */
        assert_int_equal(read_all(at[0], &result), 4);
        assert_int_equal(result, lsn == at[4] ? WAL_READ_END : WAL_READ_TORN);
    }
}

static void
a_zeroed_sector_in_the_middle_is_damage(void **state)
{
    enum wal_read_result result;
    uint8_t zeros[512] = { 0 };
    lsn_t from = wal_insert_position();
    lsn_t end = 0;

    (void)state;
    for (unsigned i = 1; i <= 40; i++)
        wal_flush(end = fixture_insert(i, 100));
    for (lsn_t sector = (from + 511) & ~(lsn_t)511; sector + 512 + 200 < end; sector += 512) {
        uint8_t kept[512];

        fixture_peek(sector, kept, 512);
        fixture_poke(sector, zeros, 512);
        (void)read_all(from, &result);
        assert_int_equal(result, WAL_READ_DAMAGED);
        fixture_poke(sector, kept, 512);
    }
}

/* A power cut may leave a later part of one write and not an earlier one. */
static void
a_hole_in_what_was_never_synced_is_a_torn_end(void **state)
{
    enum wal_read_result result;
    uint8_t zeros[64] = { 0 };
    lsn_t from = wal_insert_position();
    lsn_t at[10];
    lsn_t end = 0;

    (void)state;
    wal_flush(fixture_insert(1, 100));
    for (unsigned i = 0; i < 10; i++) {
        at[i] = wal_insert_position();
        end = fixture_insert(i + 2, 100);
    }
    wal_flush(end);
    fixture_forget_hint(); /* the cut came before the sync was done */
    fixture_poke(at[3], zeros, sizeof zeros);
    assert_int_equal(read_all(from, &result), 4);
    assert_true(result == WAL_READ_TORN || result == WAL_READ_END);
}

static void
damage_in_the_last_group_is_found_by_the_note_of_the_last_sync(void **state)
{
    enum wal_read_result result;
    lsn_t from = wal_insert_position();
    lsn_t at[10];
    lsn_t end = 0;

    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        at[i] = wal_insert_position();
        end = fixture_insert(i + 2, 100);
    }
    wal_flush(end);
    fixture_poke(at[3] + 50, "#", 1);
    assert_int_equal(read_all(from, &result), 3);
    assert_int_equal(result, WAL_READ_DAMAGED);
}

static void
recovery_refuses_damage_and_names_it(void **state)
{
    lsn_t at[6];
    char text[64];

    (void)state;
    write_five(at);
    fixture_crash();
    fixture_poke(at[1] + 33, "#", 1);
    assert_int_equal(fixture_try_open(), ERR_CORRUPT);
    (void)snprintf(text, sizeof text, "from LSN %#jx", (uintmax_t)at[1]);
    assert_non_null(strstr(err_message(), text));
    assert_non_null(strstr(err_message(), "3 valid records follow"));
}

static void
damage_that_is_accepted_is_left_behind(void **state)
{
    lsn_t at[6];
    lsn_t end;

    (void)state;
    write_five(at);
    fixture_crash();
    fixture_poke(at[1] + 33, "#", 1);
    fixture_config->wal_accept_loss = true;
    fixture_open();
    fixture_config->wal_accept_loss = false;
    assert_int_equal(fixture_replayed_count, 1);
    assert_true(fixture_found.lost >= at[5] - at[1]);
    /* No LSN is given again that a page may carry. */
    assert_true(fixture_found.end > at[5]);
    assert_int_equal(checkpoint_run(CHECKPOINT_FAST), OK);
    end = fixture_insert(77, 100);
    wal_flush(end);
    fixture_crash();
    fixture_open();
    assert_int_equal(fixture_replayed_count, 1);
    assert_int_equal(fixture_replayed[0], 77);
    assert_int_equal(fixture_found.end, end);
}

static void
segments_that_are_gone_are_left_behind_too(void **state)
{
    struct control control;
    uint64_t count = 0;
    lsn_t end;
    char folder[WAL_SEGMENT_PATH_MAX];

    (void)state;
    fixture_wal_folder(folder);
    (void)fixture_insert(++count, 100);
    assert_int_equal(checkpoint_run(CHECKPOINT_FAST), OK);
    while (wal_format_segment_of(wal_insert_position()) < 4)
        (void)fixture_insert(++count, 200000);
    end = wal_insert_position();
    wal_flush(end);
    control_get(&control);
    fixture_crash();
    for (uint64_t number = wal_format_segment_of(control.redo); number < 16; number++)
        assert_int_equal(wal_segment_remove(folder, number), OK);
    assert_int_equal(fixture_try_open(), ERR_CORRUPT);
    fixture_crash();
    fixture_config->wal_accept_loss = true;
    fixture_open();
    fixture_config->wal_accept_loss = false;
    /* No LSN is given again that a page may carry. */
    assert_true(fixture_found.end > end);
    assert_true(fixture_found.lost >= end - control.redo);
}

static void
an_end_that_was_on_disk_and_is_gone_is_refused(void **state)
{
    uint8_t zeros[64] = { 0 };
    lsn_t at[6];

    (void)state;
    write_five(at);
    fixture_crash();
    fixture_poke(at[4], zeros, sizeof zeros);
    assert_int_equal(fixture_try_open(), ERR_CORRUPT);
    assert_non_null(strstr(err_message(), "had been on disk up to"));
}

static void
leftovers_of_an_end_cut_off_never_come_back(void **state)
{
    enum wal_read_result result;
    uint8_t zeros[40] = { 0 };
    lsn_t from = wal_insert_position();
    lsn_t at[10];
    lsn_t end = 0;

    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        at[i] = wal_insert_position();
        end = fixture_insert(i + 1, 16); /* as long as WAL_EPOCH, so that places fit */
    }
    wal_flush(end);
    fixture_crash();
    fixture_forget_hint();
    fixture_poke(at[4], zeros, sizeof zeros);
    fixture_open();
    assert_int_equal(fixture_replayed_count, 4);
    assert_int_equal(fixture_found.end, at[4]);
    /* What stands behind WAL_EPOCH now is the old record 6, whole and at its own place. */
    assert_int_equal(read_all(from, &result), 5);
    assert_true(result != WAL_READ_DAMAGED);
    fixture_crash();
    fixture_open();
    assert_int_equal(fixture_replayed_count, 4);
}

static void
old_content_of_recycled_segments_is_not_read(void **state)
{
    enum wal_read_result result;
    uint64_t count = 0;
    lsn_t from;

    (void)state;
    while (wal_format_segment_of(wal_insert_position()) < 4)
        (void)fixture_insert(++count, 60000);
    assert_int_equal(checkpoint_run(CHECKPOINT_FAST), OK); /* recycles 1 to 3 */
    from = wal_insert_redo_point();
    while (wal_format_segment_of(wal_insert_position()) < 6)
        (void)fixture_insert(++count, 60000);
    wal_flush(wal_insert_position());
    (void)read_all(from, &result);
    assert_true(result == WAL_READ_END || result == WAL_READ_TORN);
    fixture_crash();
    fixture_open();
    assert_true(fixture_replayed_count > 0);
    assert_int_equal(fixture_replayed[fixture_replayed_count - 1], count);
}

static void
a_damaged_head_of_a_later_segment_is_damage(void **state)
{
    enum wal_read_result result;
    lsn_t from = wal_insert_position();
    uint64_t count = 0;

    (void)state;
    while (wal_format_segment_of(wal_insert_position()) < 3)
        (void)fixture_insert(++count, 200000);
    wal_flush(wal_insert_position());
    fixture_poke((lsn_t)2 * WAL_SEGMENT_SIZE + 20, "#", 1);
    (void)read_all(from, &result);
    assert_int_equal(result, WAL_READ_DAMAGED);
}

/* What a client has written that knows the log's form, in a segment that was used before. */
static void
fill_with_heads(lsn_t lsn, uint32_t epoch)
{
    enum { COUNT = 2048 };
    static struct wal_format_record heads[COUNT];

    for (unsigned i = 0; i < COUNT; i++)
        heads[i] = (struct wal_format_record){ (uint32_t)WAL_NUMBERS << 24 | WAL_RECORD_MAX, 0, 7,
            8, WAL_FORMAT_BEHIND_NONE, epoch, 0xbadbad };
    while (wal_format_segment_of(lsn) == wal_format_segment_of(lsn + sizeof heads)) {
        fixture_poke(lsn, heads, sizeof heads);
        lsn += sizeof heads;
    }
}

/* Ratio of the processor's time, so that it holds on any machine; by the CRC of each it was
 * 100,000. */
static void
heads_of_large_records_behind_the_end_do_not_hold_up_the_search(void **state)
{
    static uint8_t segment[WAL_SEGMENT_SIZE];
    enum wal_read_result result;
    struct wal_format_record last;
    clock_t once, all;
    lsn_t at[6];

    (void)state;
    write_five(at);
    fixture_peek(at[4], &last, sizeof last);
    fill_with_heads(at[5], last.epoch);
    once = clock();
    for (unsigned i = 0; i < 10; i++)
        segment[i] = (uint8_t)crc32c(i, segment, sizeof segment);
    once = (clock() - once) / 10 + 1;
    all = clock();
    assert_int_equal(read_all(at[0], &result), 5);
    all = clock() - all;
    assert_int_equal(result, WAL_READ_TORN);
    print_message("as long as the CRC of %ld segments\n", (long)(all / once));
    assert_true(all / once < 5000);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_bit_flipped_in_the_middle_is_damage_at_every_position),
        TEST(a_bit_flipped_in_the_last_record_is_a_torn_end),
        TEST(the_last_record_may_be_torn_at_every_byte),
        TEST(a_zeroed_sector_in_the_middle_is_damage),
        TEST(a_hole_in_what_was_never_synced_is_a_torn_end),
        TEST(damage_in_the_last_group_is_found_by_the_note_of_the_last_sync),
        TEST(recovery_refuses_damage_and_names_it),
        TEST(damage_that_is_accepted_is_left_behind),
        TEST(segments_that_are_gone_are_left_behind_too),
        TEST(an_end_that_was_on_disk_and_is_gone_is_refused),
        TEST(leftovers_of_an_end_cut_off_never_come_back),
        TEST(old_content_of_recycled_segments_is_not_read),
        TEST(a_damaged_head_of_a_later_segment_is_damage),
        TEST(heads_of_large_records_behind_the_end_do_not_hold_up_the_search),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
