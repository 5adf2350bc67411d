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
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
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

/* What came, until there is nothing more. */
static char *
all_of(int fd)
{
    static char all[4 << 20];
    size_t size = 0;
    ssize_t now;

    while (size < sizeof all - 1 && (now = recv(fd, all + size, sizeof all - 1 - size, 0)) != 0) {
        if (now < 0)
            now = read(fd, all + size, sizeof all - 1 - size);
        if (now <= 0)
            break;
        size += (size_t)now;
    }
    all[size] = '\0';
    return all;
}

/* `out` waits, as whatever a server is started with does. */
static void
is_not_stopped_by_who_does_not_read(int in, int out)
{
    char *text, *last;

    (void)alarm(60); /* or this never ends */
    log_setup(LOG_FORMAT_JSON, LOG_INFO, out);
    for (unsigned i = 0; i < 20000; i++)
        log_info("nobody reads record %u", i);
    text = all_of(in);
    assert_non_null(strstr(text, "nobody reads record 0\""));
    assert_null(strstr(text, "nobody reads record 19999\""));
    assert_int_equal(text[strlen(text) - 1], '\n');
    log_info("somebody reads again");
    text = all_of(in);
    last = strstr(text, "somebody reads again");
    assert_non_null(last);
    assert_non_null(strstr(text, "records are missing here"));
    assert_true(strstr(text, "records are missing here") < last);
    log_info("nothing is missing now");
    assert_null(strstr(all_of(in), "missing here"));
    (void)alarm(0);
}

static void
who_does_not_read_a_pipe_stops_nobody(void **state)
{
    int waiting[2];

    (void)state;
    assert_int_equal(pipe2(waiting, O_CLOEXEC), 0);
    assert_int_equal(fcntl(waiting[0], F_SETFL, O_NONBLOCK), 0);
    is_not_stopped_by_who_does_not_read(waiting[0], waiting[1]);
    assert_int_equal(fcntl(waiting[1], F_GETFL) & O_NONBLOCK, 0); /* others' writes still wait */
    log_setup(LOG_FORMAT_TEXT, LOG_INFO, -1);
    (void)close(waiting[0]);
    (void)close(waiting[1]);
}

static void
who_does_not_read_a_socket_stops_nobody(void **state)
{
    int waiting[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, waiting), 0);
    assert_int_equal(fcntl(waiting[0], F_SETFL, O_NONBLOCK), 0);
    is_not_stopped_by_who_does_not_read(waiting[0], waiting[1]);
    log_setup(LOG_FORMAT_TEXT, LOG_INFO, -1);
    (void)close(waiting[0]);
    (void)close(waiting[1]);
}

static void
a_record_that_a_full_disk_halved_keeps_its_line(void **state)
{
    char name[] = "/tmp/test_log.XXXXXX", text[4096], *half, *next;
    struct rlimit small = { 40, RLIM_INFINITY }, before;
    int fd = mkstemp(name);
    ssize_t size;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(unlink(name), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    log_setup(LOG_FORMAT_JSON, LOG_INFO, fd);
    small.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0); /* what a full disk looks like */
    log_info("half of this is written");
    log_info("and nothing of this");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    log_info("there is room again");
    log_setup(LOG_FORMAT_TEXT, LOG_INFO, -1);
    size = pread(fd, text, sizeof text - 1, 0);
    assert_true(size > 40);
    text[size] = '\0';
    half = strchr(text, '\n');
    assert_ptr_equal(half, text + 40);
    assert_memory_equal(half + 1, "{\"ts\":", 6);
    assert_non_null(strstr(half, ": 2 records are missing here"));
    next = strstr(half, "there is room again");
    assert_non_null(next);
    assert_string_equal(strchr(next, '\n'), "\n");
    (void)close(fd);
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
        cmocka_unit_test(who_does_not_read_a_pipe_stops_nobody),
        cmocka_unit_test(who_does_not_read_a_socket_stops_nobody),
        cmocka_unit_test(a_record_that_a_full_disk_halved_keeps_its_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
