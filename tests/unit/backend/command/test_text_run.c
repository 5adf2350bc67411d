/*
 * test_text_run.c - commands of the text protocol over a whole engine: rights, sessions, and
 * documents that other protocols made.
 */
#include "backend/command/text_run.h"

#include "backend/auth/auth.h"
#include "backend/auth/tokens.h"
#include "backend/auth/users.h"
#include "backend/command/verb_statement.h"
#include "base/clock.h"
#include "base/log.h"
#include "tests/unit/storage/collection/collfixture.h"

#define PASSWORD "correct horse"

static struct text_run run;
static struct buf out = { .limit = (size_t)256 << 20 };
static struct buf sent = { .limit = (size_t)256 << 20 };
static unsigned drained;

static err_t
drain(void *context)
{
    (void)context;
    text_run_settle(&run);
    drained++;
    TRY_RETURN(buf_append(&sent, out.data, out.size));
    buf_clear(&out);
    return OK;
}

/* Send a line; the reply, as text. */
static const char *
ask(const char *line)
{
    struct textcmd_refusal refusal;
    struct textcmd command;

    buf_clear(&out);
    buf_clear(&sent);
    drained = 0;
    assert_true(textcmd_parse(bytes_of(line), &command, &refusal));
    OKAY(text_run_command(&run, &fixture_op, &command));
    OKAY(drain(NULL));
    OKAY(buf_append_byte(&sent, '\0'));
    arena_reset(fixture_op.arena);
    assert_true(ledger_empty());
    return (const char *)sent.data;
}

static void
expect(const char *line, const char *reply)
{
    const char *got = ask(line);
    size_t size = strlen(reply);

    if (strncmp(got, reply, size) != 0 || strcmp(got + size, "\r\n") != 0)
        fail_msg("%s\nexpected %s\ngot      %s", line, reply, got);
}

static void
make_user(const char *name, const struct access_grant *grant, size_t count)
{
    struct users_user user = { .principal = { USERS_SYSTEM_TENANT, name, grant, count },
        .created_ms = clock_wall_ms(),
        .enabled = true };
    struct txn *txn = fixture_begin(TXN_READ_COMMITTED);

    OKAY(users_set_password(&user, bytes_of(PASSWORD)));
    OKAY(users_put(&fixture_op, txn, &user));
    fixture_commit(txn);
}

static void
log_in(const char *name)
{
    char line[128];

    (void)snprintf(line, sizeof line, "LOGIN %s %s %s", USERS_SYSTEM_TENANT, name, PASSWORD);
    assert_memory_equal(ask(line), "+TOKEN ", 7);
}

static int
begin(void **state)
{
    if (fixture_setup(state) != 0)
        return -1;
    OKAY(config_set(fixture_config, "server.data_dir", fixture_dir, "test"));
    OKAY(config_set(fixture_config, "auth.jwt_algorithm", "hs256", "test")); /* no keys to make */
    OKAY(auth_boot(&fixture_op, fixture_config, PASSWORD));
    OKAY(text_run_init(&run, fixture_config, &out, drain, NULL));
    return 0;
}

static int
end(void **state)
{
    text_run_fini(&run);
    verb_statement_forget();
    buf_fini(&out);
    buf_fini(&sent);
    auth_reload();
    return fixture_teardown(state);
}

static void
without_an_administrator_the_start_wants_a_password(void **state)
{
    bool any;

    (void)state;
    OKAY(users_any_administrator(&fixture_op, NULL, &any));
    assert_true(any);
    OKAY(auth_boot(&fixture_op, fixture_config, NULL)); /* there is one: the password is ignored */
    expect("LOGIN _system admin wrong", "-ERR invalid credentials");
    log_in("admin");
    expect("WHOAMI", "+USER admin TENANT _system ROLES server_admin:Server");
}

static void
a_database_is_made_by_use_only_for_those_with_a_role_in_it(void **state)
{
    static const struct access_grant reader = { ACCESS_READ_ONLY, { ACCESS_DATABASE, "d1", "" } };

    (void)state;
    make_user("ro", &reader, 1);
    make_user("nobody", NULL, 0);
    log_in("nobody");
    expect("WHOAMI", "+USER nobody TENANT _system ROLES ");
    expect("USE d1", "+OK");
    expect("LIST DATABASES", "*0");
    log_in("ro");
    expect("USE d2", "+OK");
    expect("LIST DATABASES", "*0");
    expect("USE d1", "+OK");
    expect("LIST DATABASES", "*1\r\n$2\r\nd1");
    expect("USE ../x", "-ERR database not found: ../x");
    expect("CREATE COLLECTION c1",
        "-ERR access denied: Admin on Database { name: \"d1\" } denied for user 'ro'");
    expect("COUNT c1", "-ERR collection not found: c1");
    expect("INSERT c1 x {}", "-ERR access denied: Write on Collection { database: \"d1\", "
                             "collection: \"c1\" } denied for user 'ro'");
    expect("DROP DATABASE d1", "-ERR access denied: ManageDatabases on Database { name: \"d1\" } "
                               "denied for user 'ro'");
}

static void
a_session_by_token_ends_with_the_token(void **state)
{
    char line[4096];
    const char *tokens;

    (void)state;
    log_in("admin");
    (void)snprintf(line, sizeof line, "LOGIN _system admin %s", PASSWORD);
    tokens = ask(line) + 7;
    (void)snprintf(line, sizeof line, "TOKEN %.*s", (int)strcspn(tokens, " "), tokens);
    expect("USE d1", "+OK");
    expect(line, "+OK");
    assert_true(run.proven); /* the own token does not shorten a session by password */
    assert_true(run.valid_until_ms > clock_wall_ms() + 86400 * 1000);
    assert_string_equal(run.database, "d1");
    text_run_fini(&run);
    OKAY(text_run_init(&run, fixture_config, &out, drain, NULL));
    expect("WHOAMI", "-ERR not authenticated");
    expect(line, "+OK");
    assert_false(run.proven);
    assert_true(run.valid_until_ms <= clock_wall_ms() + 3600 * 1000 + 1000);
    run.valid_until_ms = clock_wall_ms() - 1;
    expect("WHOAMI", "-ERR token expired");
    expect("PING", "+PONG");
    log_in("admin");
}

#define ID(n) "00000000-0000-4000-8000-00000000000" n

static void
documents_of_the_json_listener_are_seen_under_their_uuid(void **state)
{
    static const char *const foreign[] = { "{\"_id\":\"" ID("2") "\",\"v\":\"string\"}",
        "{\"_id\":\"" ID("4") "\",\"v\":4}", "{\"_id\":\"not a uuid\"}", "{\"_id\":7}",
        "{\"_id\":\"" ID("A") "\"}", "{\"_id\":{\"$oid\":\"0123456789abcdef01234567\"}}" };
    const struct verb_ns ns = { USERS_SYSTEM_TENANT, "d1", "mixed" };
    const struct verb_write write = { .existing = true };
    struct verb_insert_result result;

    (void)state;
    log_in("admin");
    expect("USE d1", "+OK");
    expect("CREATE COLLECTION mixed", "+OK");
    expect("INSERT mixed " ID("3") " 3", "+OK");
    expect("INSERT mixed " ID("1") " 1", "+OK");
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        struct buf bson = buf_init(4096);
        struct bytes document;

        OKAY(jsonparse_document(&bson, bytes_of(foreign[i]), &jsonparse_import, &document));
        OKAY(verb_insert(&fixture_op, &ns, &document, 1, true, true, write, NULL, &result));
        buf_fini(&bson);
    }
    expect("COUNT mixed", ":4");
    expect("SCAN mixed", "*4\r\n$38\r\n" ID("1") " 1\r\n$51\r\n" ID(
                             "2") " {\"v\":\"string\"}\r\n"
                                  "$38\r\n" ID("3") " 3\r\n$44\r\n" ID("4") " {\"v\":4}");
    expect("SCAN mixed " ID("2") " " ID("3"),
        "*2\r\n$51\r\n" ID("2") " {\"v\":\"string\"}\r\n$38\r\n" ID("3") " 3");
    expect("GET mixed " ID("4"), "$7\r\n{\"v\":4}");
    expect("INSERT mixed " ID("4") " 0", "-ERR key " ID("4") " already exists");
    expect("UPDATE mixed " ID("4") " [4]", "+OK");
    expect("GET mixed " ID("4"), "$3\r\n[4]");
    expect("DELETE mixed " ID("2"), "+OK");
    expect("DELETE mixed " ID("2"), "-ERR key " ID("2") " not found");
    expect("COUNT mixed", ":3");
}

static void
a_long_scan_is_counted_first_and_sent_in_pieces(void **state)
{
    static char line[5000];
    const char *at;
    unsigned seen = 0;

    (void)state;
    log_in("admin");
    expect("USE d1", "+OK");
    expect("CREATE COLLECTION long", "+OK");
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(line, sizeof line, "INSERT long %08x-0000-4000-8000-000000000000 \"%0*u\"",
            (i * 7919u) % 1000u, 4000, i);
        expect(line, "+OK");
    }
    at = ask("SCAN long");
    assert_true(drained > 3);
    assert_memory_equal(at, "*1000\r\n", 7);
    for (at = strchr(at, '\n') + 1; *at != '\0'; at = strchr(strchr(at, '\n') + 1, '\n') + 1) {
        char key[16];

        (void)snprintf(key, sizeof key, "%08x-", seen);
        assert_memory_equal(at, "$4039\r\n", 7);
        assert_memory_equal(at + 7, key, 9);
        seen++;
    }
    assert_int_equal(seen, 1000);
    expect("COUNT long", ":1000");
    expect("DROP DATABASE d1", "+OK");
    expect("COUNT long", "-ERR no database selected (use USE <db>)");
}

static void
what_is_logged_after_the_end_names_no_user(void **state)
{
    (void)state;
    log_in("admin");
    assert_string_equal(log_context.user, "admin");
    text_run_fini(&run);
    assert_null(log_context.user); /* it was in the memory that is gone */
    assert_null(log_context.tenant);
    OKAY(text_run_init(&run, fixture_config, &out, drain, NULL));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_an_administrator_the_start_wants_a_password),
        cmocka_unit_test(a_database_is_made_by_use_only_for_those_with_a_role_in_it),
        cmocka_unit_test(a_session_by_token_ends_with_the_token),
        cmocka_unit_test(documents_of_the_json_listener_are_seen_under_their_uuid),
        cmocka_unit_test(a_long_scan_is_counted_first_and_sent_in_pieces),
        cmocka_unit_test(what_is_logged_after_the_end_names_no_user),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
