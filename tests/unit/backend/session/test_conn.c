/*
 * test_conn.c - a connection whose client does not read.
 */
#include "backend/session/conn.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "shmem/interrupt.h"
#include "shmem/latch.h"
#include "shmem/proc.h"
#include "shmem/segment.h"

#define REPLY        (6000000 / sizeof(uint32_t)) /* words; more than the sockets take */
#define SOCKET       65536
#define MOST_RELOADS 100
#define SOON         INT64_C(20000000000) /* less than the 60 s that a silent client is waited for */

static struct conn conn;
static int client;

/* A connection between two sockets of a known size, and a reply that does not fit. */
static int
set_up(void **state)
{
    const struct region *const regions[] = { &proc_region };
    struct config config = { .server_max_connections = 16, .server_spare_backends_max = 1 };
    struct net_address address;
    char text[NET_TEXT_MAX];
    int listener, fd, size = SOCKET;
    bool taken;

    (void)state;
    assert_int_equal(segment_create(regions, 1, &config, NULL), OK);
    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    assert_int_equal(net_listen("127.0.0.1:0", 8, &listener, &taken), OK);
    assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    assert_int_equal(net_local(listener, &address), OK);
    net_format(&address, text);
    assert_int_equal(net_connect(text, 1000, &client), OK);
    do
        assert_int_equal(net_accept(listener, &fd, &address), OK);
    while (fd < 0);
    (void)close(listener);
    memset(&conn, 0, sizeof conn);
    assert_int_equal(conn_open(&conn, fd, 1 << 20, 8 << 20), OK);
    for (uint32_t i = 0; i < REPLY; i++)
        assert_int_equal(buf_append(&conn.out, &i, sizeof i), OK);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    conn_fini(&conn);
    (void)close(client);
    proc_detach();
    segment_destroy();
    return 0;
}

/* Read what is there at the moment, or until the end; each word must be the one after the last. */
static void
hear(uint32_t *words, int flags)
{
    static _Alignas(uint32_t) uint8_t heard[SOCKET];
    size_t partly = 0;

    for (;;) {
        ssize_t n = recv(client, heard + partly, sizeof heard - partly, flags);
        size_t size = partly + (n > 0 ? (size_t)n : 0);

        if (n <= 0) {
            assert_true(n == 0 || errno == EAGAIN);
            assert_int_equal(partly, 0);
            return;
        }
        for (size_t at = 0; at + sizeof *words <= size; at += sizeof *words) {
            uint32_t word;

            memcpy(&word, heard + at, sizeof word);
            assert_int_equal(word, *words);
            (*words)++;
        }
        partly = size % sizeof *words;
        memmove(heard, heard + size - partly, partly);
    }
}

static void
a_session_that_is_ended_does_not_go_on_sending(void **state)
{
    int64_t begun = clock_now_ns();

    (void)state;
    interrupt_raise_self(INTERRUPT_TERMINATE);
    latch_clear(); /* as a lock's wait does before it looks at the interrupts */
    assert_int_equal(conn_flush(&conn), ERR_TERMINATED);
    assert_true(clock_now_ns() - begun < SOON);
}

static void
nothing_follows_the_half_of_a_reply(void **state)
{
    uint32_t words = 0;

    (void)state;
    interrupt_raise_self(INTERRUPT_TERMINATE);
    assert_int_equal(conn_flush(&conn), ERR_TERMINATED);
    hear(&words, MSG_DONTWAIT); /* there is room again */
    assert_int_equal(buf_append_text(&conn.out, "the session was ended"), OK);
    conn_close(&conn);
    hear(&words, 0);
    assert_in_range(words, 1, REPLY - 1);
}

static void
a_client_that_is_gone_is_noticed(void **state)
{
    const struct linger at_once = { .l_onoff = 1 };
    int64_t begun = clock_now_ns();

    (void)state;
    interrupt_raise_self(INTERRUPT_RELOAD); /* ends nothing */
    assert_int_equal(setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    (void)close(client);
    client = -1;
    assert_int_equal(conn_flush(&conn), ERR_HOST_UNREACHABLE);
    assert_true(clock_now_ns() - begun < SOON);
}

static volatile sig_atomic_t reloads;

static void
tell_to_reload(int signal)
{
    (void)signal;
    if (++reloads <= MOST_RELOADS) /* else it would never end if it were wrong */
        interrupt_raise_self(INTERRUPT_RELOAD);
}

static void
who_is_woken_often_does_not_wait_the_longer(void **state)
{
    struct sigaction action = { .sa_handler = tell_to_reload };
    struct itimerval often = { { 0, 100000 }, { 0, 100000 } }, never = { { 0, 0 }, { 0, 0 } };

    (void)state;
    latch_use_signal();
    reloads = 0;
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    conn_close(&conn); /* waits for a second */
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    assert_in_range(reloads, 1, MOST_RELOADS - 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_session_that_is_ended_does_not_go_on_sending, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_follows_the_half_of_a_reply, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_that_is_gone_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            who_is_woken_often_does_not_wait_the_longer, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
