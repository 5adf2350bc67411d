/*
 * test_buf.c - bytes that grow.
 */
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/fault.h"

static void
a_limit_is_kept(void **state)
{
    struct buf buf = buf_init(1000);

    (void)state;
    assert_int_equal(buf_reserve(&buf, 900), OK);
    assert_int_equal(buf_reserve(&buf, 1001), ERR_MEMORY);
    assert_int_equal(buf_printf(&buf, "%d %s", 5, "x"), OK);
    assert_int_equal(buf.size, 3);
    buf_fini(&buf);
    assert_null(buf.data);
}

static void
what_was_large_becomes_small_only_when_empty(void **state)
{
    struct buf buf = buf_init(100000);

    (void)state;
    assert_int_equal(buf_reserve(&buf, 50000), OK);
    assert_int_equal(buf_append_byte(&buf, 1), OK);
    buf_shrink_to(&buf, 1000, 500);
    assert_true(buf.capacity >= 50000);
    buf_clear(&buf);
    buf_shrink_to(&buf, 70000, 500);
    assert_true(buf.capacity >= 50000);
    buf_shrink_to(&buf, 1000, 500);
    assert_int_equal(buf.capacity, 500);
    assert_non_null(buf.data);
    buf_fini(&buf);
}

#ifdef GNEISS_FAULTS
static void
without_memory_what_there_is_stays(void **state)
{
    struct buf buf = buf_init(100000);

    (void)state;
    assert_int_equal(buf_reserve(&buf, 50000), OK);
    assert_true(fault_arm("MALLOC=error:1+"));
    buf_shrink_to(&buf, 1000, 500);
    assert_true(buf.capacity >= 50000);
    assert_int_equal(buf_reserve(&buf, 80000), ERR_MEMORY);
    assert_true(fault_arm("MALLOC=off"));
    assert_int_equal(buf_append_byte(&buf, 1), OK);
    buf_fini(&buf);
}
#endif

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_limit_is_kept),
        cmocka_unit_test(what_was_large_becomes_small_only_when_empty),
#ifdef GNEISS_FAULTS
        cmocka_unit_test(without_memory_what_there_is_stays),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
