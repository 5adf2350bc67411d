/*
 * test_fault.c - fault points.
 */
#include "base/fault.h"

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

#include "base/log.h"
#include "base/sanitizer.h"

static void
an_unarmed_point_lets_pass(void **state)
{
    (void)state;
    assert_int_equal(fault_pass(FAULT_NONE), FAULT_OFF);
    assert_int_equal(fault_pass(FAULT_WAL_SYNC), FAULT_OFF);
}

#ifdef GNEISS_FAULTS

static void
points_have_names(void **state)
{
    (void)state;
    assert_string_equal(fault_name(FAULT_WAL_SYNC), "WAL_SYNC");
    assert_string_equal(fault_name(FAULT_NONE), "NONE");
    assert_string_equal(fault_name(FAULT_COUNT), "?");
    assert_string_equal(fault_name(FAULT_LOGGED_WAL_XID_BOUND), "LOGGED_WAL_XID_BOUND");
    assert_string_equal(fault_kind(FAULT_WAL_SYNC), "SYNC");
    assert_string_equal(fault_actions(FAULT_WAL_SYNC), "delay stop kill eio");
}

static void
a_pass_may_be_an_error_by_action(void **state)
{
    (void)state;
    assert_true(fault_arm("SLOT_TAKE=error:1"));
    assert_int_equal(fault_check(FAULT_SLOT_TAKE), ERR_INTERNAL);
    assert_non_null(strstr(err_message(), "SLOT_TAKE"));
    assert_int_equal(fault_check(FAULT_SLOT_TAKE), OK);
    assert_int_equal(fault_hits(FAULT_SLOT_TAKE), 1);
    assert_true(fault_arm("SLOT_TAKE=enospc:1"));
    assert_int_equal(fault_check(FAULT_SLOT_TAKE), ERR_DISK_FULL);
    assert_true(fault_arm("SLOT_TAKE=off"));
}

static void
malformed_texts_are_refused(void **state)
{
    static const char *const texts[] = { "WAL_SYNC", "WAL_SYNC=", "WAL_SYNC=maybe", "NOWHERE=kill",
        "WAL_SYNC=kill:x", "WAL_SYNC=kill:2x", "WAL_SYNC=kill:+",
        "WAL_SYNC=kill:", "WAL_SYNC=kill:1:a-kind-that-is-too-long-to-keep", "NONE=kill", "=" };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_false(fault_arm(texts[i]));
    assert_true(fault_arm(""));
    assert_true(fault_arm("wal_sync=off,"));
}

static void
the_nth_pass_is_hit_once(void **state)
{
    (void)state;
    assert_true(fault_arm("DATA_WRITE=eio:3"));
    for (int pass = 1; pass <= 6; pass++)
        assert_int_equal(fault_pass(FAULT_DATA_WRITE), pass == 3 ? FAULT_EIO : FAULT_OFF);
    assert_int_equal(fault_passes(FAULT_DATA_WRITE), 6);
    assert_true(fault_arm("DATA_WRITE=off"));
}

static void
only_the_kind_that_was_named_is_hit(void **state)
{
    (void)state;
    assert_true(fault_arm("DATA_SYNC=enospc:0:checkpointer"));
    assert_int_equal(fault_pass(FAULT_DATA_SYNC), FAULT_OFF);
    log_context.process = "checkpointer";
    assert_int_equal(fault_pass(FAULT_DATA_SYNC), FAULT_ENOSPC);
    assert_int_equal(fault_pass(FAULT_DATA_SYNC), FAULT_ENOSPC);
    log_context.process = NULL;
    assert_true(fault_arm("DATA_SYNC=off"));
}

static void
every_pass_from_the_nth_on_is_hit(void **state)
{
    (void)state;
    assert_true(fault_arm("DATA_WRITE=eio:3+"));
    for (int pass = 1; pass <= 6; pass++)
        assert_int_equal(fault_pass(FAULT_DATA_WRITE), pass >= 3 ? FAULT_EIO : FAULT_OFF);
    assert_true(fault_arm("DATA_WRITE=off"));
}

static void
only_the_process_that_was_named_is_hit(void **state)
{
    char text[64];

    (void)state;
    assert_true(fault_arm("DATA_WRITE=eio:0:1"));
    assert_int_equal(fault_pass(FAULT_DATA_WRITE), FAULT_OFF);
    (void)snprintf(text, sizeof text, "DATA_WRITE=eio:0:%d", (int)getpid());
    assert_true(fault_arm(text));
    assert_int_equal(fault_pass(FAULT_DATA_WRITE), FAULT_EIO);
    assert_true(fault_arm("DATA_WRITE=off"));
}

/* Not called by their names: a compiler that knows them leaves out what is not used. */
static void *(*volatile take)(size_t) = malloc;
static void *(*volatile take_many)(size_t, size_t) = calloc;
static void *(*volatile take_aligned)(size_t, size_t) = aligned_alloc;
static void *(*volatile move)(void *, size_t) = realloc;

/* Each of the calls, and one that libc makes for itself. */
static void
the_nth_allocation_fails(void **state)
{
    void *memory, *moved;

    (void)state;
    assert_true(fault_arm("MALLOC=error:2"));
    memory = take(10);
    assert_non_null(memory);
    errno = 0;
    moved = move(memory, 20);
    assert_int_equal(errno, ENOMEM);
    assert_null(moved);
    free(memory);
    assert_true(fault_arm("MALLOC=error:1+"));
    assert_null(take(1));
    assert_null(take_many(1, 1));
    assert_null(take_aligned(64, 64));
    assert_int_equal(fault_hits(FAULT_MALLOC), 3);
    if (!SANITIZER_ADDRESS) /* which has a strdup of its own */
        assert_null(strdup("x"));
    assert_true(fault_arm("MALLOC=off"));
    memory = strdup("x");
    assert_non_null(memory);
    free(memory);
}

static void
passes_of_all_processes_count_and_a_kill_kills(void **state)
{
    int status;
    pid_t child;

    (void)state;
    assert_true(fault_arm("DATA_EXTEND=kill:2"));
    assert_int_equal(fault_pass(FAULT_DATA_EXTEND), FAULT_OFF);
    child = fork();
    if (child == 0) {
        (void)fault_pass(FAULT_DATA_EXTEND);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_int_equal(fault_passes(FAULT_DATA_EXTEND), 2);
    assert_true(fault_arm("DATA_EXTEND=off"));
}

#endif

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unarmed_point_lets_pass),
#ifdef GNEISS_FAULTS
        cmocka_unit_test(points_have_names),
        cmocka_unit_test(a_pass_may_be_an_error_by_action),
        cmocka_unit_test(malformed_texts_are_refused),
        cmocka_unit_test(the_nth_pass_is_hit_once),
        cmocka_unit_test(only_the_kind_that_was_named_is_hit),
        cmocka_unit_test(every_pass_from_the_nth_on_is_hit),
        cmocka_unit_test(only_the_process_that_was_named_is_hit),
        cmocka_unit_test(the_nth_allocation_fails),
        cmocka_unit_test(passes_of_all_processes_count_and_a_kill_kills),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
