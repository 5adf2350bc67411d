/*
 * test_net.c - addresses and sockets.
 */
#include "base/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

static void
address_texts_are_split_strictly(void **state)
{
    static const char *const bad[] = { "", "6380", "host", "host:", "host:65536", "host:-1",
        "host:1x", "::1:80", "[::1]", "[::1]80", "[a]:1", "a b:1", "a/b:1", "h:000001" };
    char host[NET_HOST_MAX];
    uint16_t port;

    (void)state;
    assert_int_equal(net_split("[::1]:6380", host, &port), OK);
    assert_string_equal(host, "::1");
    assert_int_equal(port, 6380);
    assert_int_equal(net_split(":0", host, &port), OK);
    assert_string_equal(host, "");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(net_address_valid(bad[i]));
        assert_int_equal(net_split(bad[i], host, &port), ERR_BAD_VALUE);
    }
}

static void
a_connection_has_two_printable_ends(void **state)
{
    struct net_address local, peer, seen;
    char text[NET_TEXT_MAX], client_text[NET_TEXT_MAX], seen_text[NET_TEXT_MAX];
    struct pollfd wait;
    int listener, client, server;
    bool taken;

    (void)state;
    assert_int_equal(net_listen("127.0.0.1:0", 8, &listener, &taken), OK);
    assert_int_equal(fcntl(listener, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(net_accept(listener, &server, &seen), OK);
    assert_int_equal(server, -1);
    assert_int_equal(net_local(listener, &local), OK);
    net_format(&local, text);
    assert_memory_equal(text, "127.0.0.1:", 10);
    assert_int_equal(net_connect(text, 1000, &client), OK);
    wait = (struct pollfd){ .fd = listener, .events = POLLIN };
    assert_int_equal(poll(&wait, 1, 2000), 1);
    assert_int_equal(net_accept(listener, &server, &seen), OK);
    assert_true(server >= 0);
    assert_int_equal(fcntl(server, F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(net_local(client, &local), OK);
    assert_int_equal(net_peer(server, &peer), OK);
    net_format(&local, client_text);
    net_format(&peer, seen_text);
    assert_string_equal(client_text, seen_text);
    assert_true(net_is_loopback(&seen));
    net_set_nodelay(server);
    net_set_quickack(server);
    net_set_keepalive(server, 60, 10, 3);
    (void)close(server);
    (void)close(client);
    (void)close(listener);
}

static void
an_address_in_use_is_told_as_such(void **state)
{
    struct net_address local;
    char text[NET_TEXT_MAX];
    int listener, second;
    bool taken;

    (void)state;
    assert_int_equal(net_listen("127.0.0.1:0", 8, &listener, &taken), OK);
    assert_false(taken);
    assert_int_equal(net_local(listener, &local), OK);
    net_format(&local, text);
    assert_int_equal(net_listen(text, 8, &second, &taken), ERR_IO);
    assert_true(taken);
    assert_int_equal(second, -1);
    (void)close(listener);
}

static void
a_refused_connection_names_the_address(void **state)
{
    struct net_address local;
    char text[NET_TEXT_MAX];
    int listener, client;

    (void)state;
    assert_int_equal(net_listen("127.0.0.1:0", 8, &listener, NULL), OK);
    assert_int_equal(net_local(listener, &local), OK);
    net_format(&local, text);
    (void)close(listener);
    assert_int_equal(net_connect(text, 1000, &client), ERR_HOST_UNREACHABLE);
    assert_int_equal(client, -1);
    assert_non_null(strstr(err_message(), text));
}

static struct net_address
address(const char *text)
{
    struct net_address found;

    assert_int_equal(net_resolve(text, &found), OK);
    return found;
}

static void
networks_match_by_their_leading_bits(void **state)
{
    static const struct {
        const char *list, *address;
        bool matches;
    } cases[] = {
        { "127.0.0.0/8,::1", "127.9.9.9:1", true },
        { "127.0.0.0/8,::1", "[::1]:1", true },
        { "127.0.0.0/8,::1", "128.0.0.1:1", false },
        { "10.1.2.3", "10.1.2.3:1", true },
        { "10.1.2.3", "10.1.2.4:1", false },
        { "10.1.2.0/23", "10.1.3.255:1", true },
        { "10.1.2.0/23", "10.1.4.0:1", false },
        { "0.0.0.0/0", "9.9.9.9:1", true },
        { "0.0.0.0/0", "[2001:db8::1]:1", false },
        { " 2001:db8::/33 ", "[2001:db8:7fff::1]:1", true },
        { " 2001:db8::/33 ", "[2001:db8:8000::1]:1", false },
        { "127.0.0.0/8", "[::ffff:127.0.0.1]:1", true },
        { "", "127.0.0.1:1", false },
    };
    static const char *const bad[] = { "x", "1.2.3", "1.2.3.4/33", "::/129", "1.2.3.4/",
        "1.2.3.4,,", "1.2.3.4/-1" };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_address one = address(cases[i].address);

        assert_true(net_list_valid(cases[i].list));
        if (net_list_match(cases[i].list, &one) != cases[i].matches)
            fail_msg("%s in %s", cases[i].address, cases[i].list);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(net_list_valid(bad[i]));
}

static void
loopback_is_told_from_the_rest(void **state)
{
    struct net_address mapped = address("[::ffff:127.0.0.1]:7");
    char text[NET_TEXT_MAX];
    bool loopback;

    (void)state;
    assert_int_equal(net_text_is_loopback("127.0.0.1:1", &loopback), OK);
    assert_true(loopback);
    assert_int_equal(net_text_is_loopback("[::1]:1", &loopback), OK);
    assert_true(loopback);
    assert_int_equal(net_text_is_loopback(":1", &loopback), OK);
    assert_false(loopback);
    assert_true(net_is_loopback(&mapped));
    net_format(&mapped, text);
    assert_string_equal(text, "127.0.0.1:7");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(address_texts_are_split_strictly),
        cmocka_unit_test(a_connection_has_two_printable_ends),
        cmocka_unit_test(an_address_in_use_is_told_as_such),
        cmocka_unit_test(a_refused_connection_names_the_address),
        cmocka_unit_test(networks_match_by_their_leading_bits),
        cmocka_unit_test(loopback_is_told_from_the_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
