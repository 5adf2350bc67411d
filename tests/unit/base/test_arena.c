/*
 * test_arena.c - memory of a request, growing bytes, errors and critical sections.
 */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/crit.h"
#include "base/panic.h"

static void
memory_is_aligned_and_stays_below_the_ceiling(void **state)
{
    struct arena *arena = arena_create("a test", 100000);
    size_t total = 0;

    (void)state;
    for (size_t size = 1; size < 300; size++) {
        uint8_t *memory = arena_alloc(arena, size);

        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % 16, 0);
        memset(memory, (int)size, size);
        total += (size + 15) / 16 * 16;
        assert_int_equal(arena_used(arena), total);
    }
    assert_null(arena_alloc(arena, arena_ceiling(arena) - total + 1));
    assert_non_null(strstr(err_message(), "a test"));
    assert_null(arena_alloc(arena, PTRDIFF_MAX));
    arena_reset(arena);
    assert_int_equal(arena_used(arena), 0);
    assert_non_null(arena_alloc(arena, 99000));
    arena_destroy(arena);
    arena_destroy(NULL);
}

static void
a_mark_is_gone_back_to(void **state)
{
    struct arena *arena = arena_create("a test", (size_t)8 << 20);
    char *kept = arena_printf(arena, "%d", 42);

    (void)state;
    for (int round = 0; round < 100; round++) {
        struct arena_mark mark = arena_mark(arena);
        struct arena_mark inner;

        for (int i = 0; i < 50; i++)
            assert_non_null(arena_zalloc(arena, 1000));
        inner = arena_mark(arena);
        assert_non_null(arena_copy(arena, "x", 1));
        arena_rewind(arena, inner);
        arena_rewind(arena, mark);
    }
    assert_string_equal(kept, "42");
    assert_string_equal(arena_string(arena, bytes_of("text")), "text");
    assert_true(arena_used(arena) < 100);
    arena_destroy(arena);
}

static void
a_new_ceiling_holds_from_then_on(void **state)
{
    struct arena *arena = arena_create("a test", 100000);

    (void)state;
    assert_non_null(arena_alloc(arena, 80000));
    arena_set_ceiling(arena, 50000);
    assert_null(arena_alloc(arena, 16));
    arena_reset(arena);
    assert_null(arena_alloc(arena, 60000));
    arena_set_ceiling(arena, 200000);
    assert_non_null(arena_alloc(arena, 150000));
    arena_destroy(arena);
}

static void
a_buf_grows_to_its_limit_and_keeps_what_it_has(void **state)
{
    struct buf buf = buf_init(1000);

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(buf_append(&buf, "0123456789", 10), OK);
    assert_int_equal(buf_append_byte(&buf, 1), ERR_MEMORY);
    assert_int_equal(buf.size, 1000);
    buf_clear(&buf);
    assert_int_equal(buf_printf(&buf, "%s-%d", "a", 5), OK);
    assert_int_equal(buf_append_text(&buf, "!"), OK);
    assert_true(bytes_is(buf_bytes(&buf), "a-5!"));
    buf_clear(&buf);
    buf_shrink(&buf, 0);
    assert_null(buf.data);
    buf_fini(&buf);
}

static void
slices_compare_like_memcmp(void **state)
{
    (void)state;
    assert_true(bytes_compare(bytes_of("a"), bytes_of("ab")) < 0);
    assert_true(bytes_compare(bytes_of("b"), bytes_of("ab")) > 0);
    assert_int_equal(bytes_compare(bytes_of(""), (struct bytes){ NULL, 0 }), 0);
    assert_true(bytes_equal(bytes_of("x"), bytes_of("x")));
}

static void
an_error_has_a_message_a_code_and_what_goes_with_it(void **state)
{
    (void)state;
    assert_int_equal(err_set(ERR_DUPLICATE_KEY, "key %d", 7), ERR_DUPLICATE_KEY);
    assert_string_equal(err_message(), "key 7");
    assert_int_equal(err_last_code(), 11000);
    assert_string_equal(err_last_name(), "DuplicateKey");
    err_attach(bytes_of("document"));
    assert_int_equal(err_attached().size, 8);
    err_set_mongo(51, NULL);
    assert_int_equal(err_last_code(), 51);
    assert_string_equal(err_last_name(), "Location51");
    errno = ENOSPC;
    assert_int_equal(err_set_errno("could not write %s", "x"), ERR_DISK_FULL);
    assert_string_equal(err_message(), "could not write x: No space left on device");
    assert_int_equal(err_attached().size, 0);
    assert_int_equal(err_set(ERR_DEADLOCK, "%s", ""), ERR_DEADLOCK);
    assert_string_equal(err_message(), "deadlock");
    assert_int_equal(err_mongo_code(ERR_DEADLOCK), 112);
    assert_string_equal(err_mongo_name(OK), "OK");
}

/* How a child of this test ends that runs `act`, its stderr closed. */
static int
signal_of(void (*act)(void))
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)close(STDERR_FILENO);
        act();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void
fail_in_section(void)
{
    crit_begin();
    (void)err_set(ERR_IO, "inside");
}

static void
end_without_begin(void)
{
    crit_end();
}

static void
section_that_ends(void)
{
    crit_begin();
    crit_end();
    (void)err_set(ERR_IO, "outside");
}

static void
an_error_in_a_critical_section_is_a_panic(void **state)
{
    (void)state;
    assert_int_equal(signal_of(fail_in_section), SIGABRT);
    assert_int_equal(signal_of(end_without_begin), SIGABRT);
    assert_int_equal(signal_of(section_that_ends), 0);
}

static void
the_depth_can_be_read_by_others(void **state)
{
    _Atomic uint32_t depth = 0;

    (void)state;
    crit_publish(&depth);
    crit_begin();
    crit_begin();
    assert_int_equal(depth, 2);
    assert_true(crit_active());
    crit_end();
    crit_end();
    assert_int_equal(depth, 0);
    crit_publish(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_aligned_and_stays_below_the_ceiling),
        cmocka_unit_test(a_mark_is_gone_back_to),
        cmocka_unit_test(a_new_ceiling_holds_from_then_on),
        cmocka_unit_test(a_buf_grows_to_its_limit_and_keeps_what_it_has),
        cmocka_unit_test(slices_compare_like_memcmp),
        cmocka_unit_test(an_error_has_a_message_a_code_and_what_goes_with_it),
        cmocka_unit_test(an_error_in_a_critical_section_is_a_panic),
        cmocka_unit_test(the_depth_can_be_read_by_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
