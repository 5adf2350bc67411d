/*
 * test_log.c - the server's log.
 */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

static int ends[2];
static char got[20000];

static int
open_pipe(void **state)
{
    (void)state;
    memset(&log_context, 0, sizeof log_context);
    return pipe2(ends, O_NONBLOCK | O_CLOEXEC);
}

static int
close_pipe(void **state)
{
    (void)state;
    log_setup(LOG_FORMAT_TEXT, LOG_INFO, -1);
    memset(&log_context, 0, sizeof log_context);
    (void)close(ends[0]);
    return close(ends[1]);
}

static const char *
logged(void)
{
    ssize_t size = read(ends[0], got, sizeof got - 1);

    got[size > 0 ? size : 0] = '\0';
    return got;
}

static void
json_records_carry_what_is_known(void **state)
{
    const char *line;

    (void)state;
    log_setup(LOG_FORMAT_JSON, LOG_INFO, ends[1]);
    log_context = (struct log_context){ .process = "backend",
        .peer = "127.0.0.1:9",
        .protocol = "text",
        .tenant = "t",
        .user = "a\"b",
        .cmd = "GET" };
    log_record(LOG_WARN, 42, "could not %s", "do it");
    line = logged();
    assert_memory_equal(line, "{\"ts\":\"20", 9);
    assert_non_null(strstr(line, "Z\",\"level\":\"warn\",\"msg\":\"could not do it\",\"pid\":"));
    assert_non_null(
        strstr(line, ",\"process\":\"backend\",\"peer\":\"127.0.0.1:9\",\"protocol\":\"text\","
                     "\"tenant\":\"t\",\"user\":\"a\\\"b\",\"cmd\":\"GET\",\"elapsed_us\":42}\n"));
}

static void
one_event_is_one_line_of_valid_text(void **state)
{
    const char *line;

    (void)state;
    log_setup(LOG_FORMAT_JSON, LOG_DEBUG, ends[1]);
    log_info("a\nb\r\x1b[31m\"\\ \xff \xc3\xa4 \xed\xa0\x80");
    line = logged();
    assert_non_null(
        strstr(line, "a\\u000ab\\u000d\\u001b[31m\\\"\\\\ \xef\xbf\xbd \xc3\xa4 \xef\xbf\xbd"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    log_setup(LOG_FORMAT_TEXT, LOG_DEBUG, ends[1]);
    log_context.user = "x\ny";
    log_info("a\nb");
    line = logged();
    assert_non_null(strstr(line, "] a\\x0ab user=x\\x0ay\n"));
}

static void
a_long_record_is_cut_to_four_kib_and_still_closed(void **state)
{
    static char text[10000], value[3000];
    const char *line;

    (void)state;
    memset(text, '\x01', sizeof text - 1);
    memset(value, '"', sizeof value - 1);
    log_context = (struct log_context){ value, value, value, value, value, value };
    log_setup(LOG_FORMAT_JSON, LOG_DEBUG, ends[1]);
    log_record(LOG_ERROR, INT64_MAX, "%s", text);
    line = logged();
    assert_true(strlen(line) <= 4096);
    assert_string_equal(line + strlen(line) - 2, "}\n");
    log_setup(LOG_FORMAT_TEXT, LOG_DEBUG, ends[1]);
    log_record(LOG_ERROR, 1, "%s", text);
    line = logged();
    assert_true(strlen(line) <= 4096);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void
lower_levels_and_no_file_are_silent(void **state)
{
    (void)state;
    log_setup(LOG_FORMAT_TEXT, LOG_WARN, ends[1]);
    assert_false(log_enabled(LOG_INFO));
    assert_true(log_enabled(LOG_ERROR));
    log_info("not to be seen");
    assert_string_equal(logged(), "");
    log_setup(LOG_FORMAT_TEXT, LOG_DEBUG, -1);
    assert_false(log_enabled(LOG_FATAL));
    log_fatal("nor this");
    assert_string_equal(logged(), "");
}

#define WITH_PIPE(test) cmocka_unit_test_setup_teardown(test, open_pipe, close_pipe)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PIPE(json_records_carry_what_is_known),
        WITH_PIPE(one_event_is_one_line_of_valid_text),
        WITH_PIPE(a_long_record_is_cut_to_four_kib_and_still_closed),
        WITH_PIPE(lower_levels_and_no_file_are_silent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
