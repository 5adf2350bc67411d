/*
 * test_wal_inspect.c - the log printed for people.
 */
#include "walfixture.h"

#include "wal/wal_inspect.h"

static void
records_are_printed_and_damage_is_named(void **state)
{
    char *text = NULL;
    size_t size = 0;
    lsn_t at[3];
    FILE *out;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        at[i] = wal_insert_position();
        wal_flush(fixture_insert(i + 7, 30));
    }
    out = open_memstream(&text, &size);
    assert_int_equal(wal_inspect(fixture_dir, 0, 0, fixture_handlers, out), OK);
    (void)fclose(out);
    assert_non_null(strstr(text, "WAL_EPOCH xid 0"));
    assert_non_null(strstr(text, "WAL_NUMBERS xid 9 len 64 pages: 30 bytes of data\n"));
    assert_non_null(strstr(text, "end: nothing more was written\n"));
    free(text);

    fixture_poke(at[1] + 40, "#", 1);
    out = open_memstream(&text, &size);
    assert_int_equal(wal_inspect(fixture_dir, at[0], 0, fixture_handlers, out), ERR_CORRUPT);
    (void)fclose(out);
    assert_non_null(strstr(text, "DAMAGED: the log is damaged"));
    assert_null(strstr(text, "xid 9"));
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            records_are_printed_and_damage_is_named, fixture_setup, fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
