/*
 * test_config.c - settings.
 */
#include "base/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "base/file.h"

static char path[64];
static struct config *config;

static int
begin(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/gneiss-test-config-%d.toml", (int)getpid());
    config = config_create();
    return config == NULL;
}

static int
end(void **state)
{
    (void)state;
    config_destroy(config);
    (void)unlink(path);
    return 0;
}

static err_t
load(const char *text)
{
    assert_int_equal(file_replace(path, text, strlen(text), 0600), OK);
    return config_load(config, path);
}

static void
is_refused(const char *text, const char *why)
{
    char expected[256];

    (void)snprintf(expected, sizeof expected, "%s:%s", path, why);
    assert_int_equal(load(text), ERR_CONFIG);
    if (strncmp(err_message(), expected, strlen(expected)) != 0)
        fail_msg("%s, expected %s", err_message(), expected);
}

static void
defaults_are_those_of_the_list_and_pass_the_check(void **state)
{
    (void)state;
    assert_string_equal(config->server_bind, "0.0.0.0:6380");
    assert_int_equal(config->shared_buffers, 128 << 20);
    assert_true(config->wal_sync);
    assert_int_equal(config_check(config), OK);
    for (size_t i = 0; i < config_count(); i++) {
        struct config_entry entry = config_entry(i);
        char value[4096];

        config_format(config, i, value, sizeof value);
        assert_true(entry.help[0] != '\0');
        if (config_set(config, entry.key, value, "default") != OK)
            fail_msg("%s", err_message());
    }
}

static void
a_file_sets_values_of_every_kind(void **state)
{
    (void)state;
    assert_int_equal(load("[server]\nbind = \"[::1]:7000\"\nmax_connections = 12\n"
                          "[tls]\nenabled = true\n[memory]\nshared_buffers = \"64MB\"\n"
                          "wal_buffers = 1048576\n[json]\ntrusted = [\"10.0.0.0/8\", \"::1\"]\n"),
        OK);
    assert_string_equal(config->server_bind, "[::1]:7000");
    assert_int_equal(config->server_max_connections, 12);
    assert_true(config->tls_enabled);
    assert_int_equal(config->shared_buffers, 64 << 20);
    assert_int_equal(config->wal_buffers, 1 << 20);
    assert_string_equal(config->json_trusted, "10.0.0.0/8,::1");
}

static void
grumpydbs_own_file_is_taken(void **state)
{
    (void)state;
    assert_int_equal(load("[server]\nbind = \"127.0.0.1:6380\"\n[auth]\njwt_algorithm = \"hs256\"\n"
                          "[cluster]\npeers = [{ node_id = \"a\", addr = \"b:1\" }]\n"
                          "[[cluster.writers]]\ncollection = \"c\"\nnode_id = \"a\"\n"
                          "[somebody_elses]\nkey = 1\n"),
        OK);
    assert_string_equal(config->auth_jwt_algorithm, "hs256");
}

static void
bad_values_name_file_line_key_and_reason(void **state)
{
    (void)state;
    is_refused("[server]\n\nmax_connections = 0\n", "3: server.max_connections: 0 is not between");
    is_refused("[server]\nmax_connections = \"x\"\n", "2: server.max_connections: wants a whole");
    is_refused("[server]\nbind = 6380\n", "2: server.bind: wants a string, not an integer");
    is_refused("[server]\nbind = \"6380\"\n", "2: server.bind: wants host:port");
    is_refused("[auth]\njwt_algorithm = \"none\"\n", "2: auth.jwt_algorithm: 'none' is not one");
    is_refused("[auth]\njwt_algorithm = \"\"\n", "2: auth.jwt_algorithm: may not be empty");
    is_refused("[tls]\nenabled = 1\n", "2: tls.enabled: wants true or false");
    is_refused(
        "[memory]\nshared_buffers = \"64 bananas\"\n", "2: memory.shared_buffers: wants a size");
    is_refused(
        "[memory]\nshared_buffers = \"9999999TB\"\n", "2: memory.shared_buffers: wants a size");
    is_refused("[memory]\nshared_buffers = \"1kB\"\n",
        "2: memory.shared_buffers: 1kB is not between 1MB and 1TB");
    is_refused("[storage]\npage_size = 5000\n", "2: storage.page_size: '5000' is not one of");
    is_refused("[json]\ntrusted = [\"10.0.0.0/99\"]\n", "2: json.trusted: wants addresses");
    is_refused("[json]\ntrusted = [1]\n", "2: json.trusted: wants an array of strings");
    is_refused("[cluster]\npeers = 3\n", "2: cluster.peers: wants an array of tables");
    is_refused("server = 1\n", "1: server: wants a table");
    is_refused("[server\n", "1: ] is expected");
    is_refused("[server]\ndata_dir = \"a\\u0000b\"\n", "2: server.data_dir: holds a NUL");
    assert_int_equal(config_load(config, "/tmp/there-is-no-such-file.toml"), ERR_CONFIG);
    assert_string_equal(config->auth_jwt_algorithm, "rs256");
}

static void
the_environment_beats_the_file(void **state)
{
    char *const good[] = { "GNEISS_SERVER_DATA_DIR=/x", "GNEISS_MEMORY_WORK_MEM=8MB", "HOME=/",
        "GNEISS_LOG=debug", "GNEISS_JSON_METADATA=off", "GNEISS_FAULTS=", "GNEISS_SERVER_TYPO=1",
        NULL };
    char *const bad[] = { "GNEISS_LOG_LEVEL=loud", NULL };

    (void)state;
    assert_int_equal(load("[server]\ndata_dir = \"/y\"\n"), OK);
    assert_int_equal(config_load_environment(config, good), OK);
    assert_string_equal(config->server_data_dir, "/x");
    assert_int_equal(config->work_mem, 8 << 20);
    assert_string_equal(config->log_level, "debug");
    assert_false(config->json_metadata);
    assert_int_equal(config_load_environment(config, bad), ERR_CONFIG);
    assert_string_equal(err_message(), "environment GNEISS_LOG_LEVEL: log.level: 'loud' is not one "
                                       "of: debug info warn error");
}

static void
flags_are_checked_like_the_rest(void **state)
{
    (void)state;
    assert_int_equal(config_set(config, "server.bind", "localhost:1", "--bind"), OK);
    assert_int_equal(config_set(config, "http.bind", "", "--no-http"), OK);
    assert_int_equal(config_set(config, "server.nothing", "1", "--x"), ERR_CONFIG);
    assert_int_equal(config_set(config, "server.max_connections", "12x", "--x"), ERR_CONFIG);
    assert_int_equal(config_set(config, "tls.enabled", "maybe", "--x"), ERR_CONFIG);
    assert_int_equal(config_set(config, "memory.work_mem", "1g", "--x"), OK);
    assert_int_equal(config->work_mem, 1 << 30);
}

static void
settings_that_do_not_go_together_are_refused(void **state)
{
    static const char *const pairs[][2] = { { "server.spare_backends_min", "500" },
        { "tls.cert_file", "x.pem" }, { "cluster.cluster_id", "not-a-uuid" } };

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct config *one = config_create();

        assert_int_equal(config_set(one, pairs[i][0], pairs[i][1], "t"), OK);
        assert_int_equal(config_check(one), ERR_CONFIG);
        config_destroy(one);
    }
}

static void
a_reload_takes_over_only_what_may_change(void **state)
{
    struct config *fresh = config_clone(config);

    (void)state;
    assert_non_null(fresh);
    assert_int_equal(config_set(fresh, "log.level", "error", "t"), OK);
    assert_int_equal(config_set(fresh, "server.data_dir", "/elsewhere", "t"), OK);
    assert_int_equal(config_set(fresh, "wal.checkpoint_timeout_secs", "60", "t"), OK);
    assert_int_equal(config_reload(config, fresh), OK);
    assert_string_equal(config->log_level, "error");
    assert_string_equal(config->server_data_dir, "./data");
    assert_int_equal(config->checkpoint_timeout, 60);
    config_destroy(fresh);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(defaults_are_those_of_the_list_and_pass_the_check),
        CASE(a_file_sets_values_of_every_kind),
        CASE(grumpydbs_own_file_is_taken),
        CASE(bad_values_name_file_line_key_and_reason),
        CASE(the_environment_beats_the_file),
        CASE(flags_are_checked_like_the_rest),
        CASE(settings_that_do_not_go_together_are_refused),
        CASE(a_reload_takes_over_only_what_may_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
