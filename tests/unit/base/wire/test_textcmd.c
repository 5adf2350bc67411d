/*
 * test_textcmd.c - lines of the text protocol, and every text of its section 5.1.
 */
#include "base/wire/textcmd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct textcmd command;
static char finished[512];

/* Parse from a heap block of exactly that size, so that a sanitizer sees every step beyond. */
static bool
parse(const char *line)
{
    static uint8_t *copy;
    struct textcmd_refusal refusal = { "", { NULL, 0 } };
    size_t size = strlen(line);
    bool good;

    free(copy);
    copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, line, size);
    good = textcmd_parse((struct bytes){ copy, size }, &command, &refusal);
    (void)snprintf(finished, sizeof finished, "%s%.*s", refusal.text, (int)refusal.echo.size,
        refusal.echo.size > 0 ? (const char *)refusal.echo.data : "");
    return good;
}

static void
expect(const char *line, enum textcmd_verb verb, const char *args)
{
    char out[256] = "";
    size_t used = 0;

    if (!parse(line))
        fail_msg("%s: %s", line, finished);
    assert_int_equal(command.verb, verb);
    for (unsigned i = 0; i < command.arg_count; i++)
        used += (size_t)snprintf(out + used, sizeof out - used, "%s%.*s", i > 0 ? "|" : "",
            (int)command.arg[i].size,
            command.arg[i].size > 0 ? (const char *)command.arg[i].data : "");
    assert_string_equal(out, args);
}

static void
refused(const char *line, const char *text)
{
    assert_false(parse(line));
    assert_string_equal(finished, text);
}

#define MISSING "missing argument: "

static void
every_command_yields_its_arguments(void **state)
{
    (void)state;
    expect("PING", TEXTCMD_PING, "");
    expect("ping now", TEXTCMD_PING, "");
    expect("QUIT x", TEXTCMD_QUIT, "");
    expect("LOGIN acme bob pass word ", TEXTCMD_LOGIN, "acme|bob|pass word");
    expect("TOKEN a.b.c", TEXTCMD_TOKEN, "a.b.c");
    expect("REFRESH a b", TEXTCMD_REFRESH, "a b");
    expect("whoami", TEXTCMD_WHOAMI, "");
    expect("USE my db", TEXTCMD_USE, "my db");
    expect("TOPOLOGY x", TEXTCMD_TOPOLOGY, "");
    expect("SNAPSHOT_HLC", TEXTCMD_SNAPSHOT_HLC, "");
    expect("snapshot-hlc", TEXTCMD_SNAPSHOT_HLC, "");
    expect("SCHEMA version x", TEXTCMD_SCHEMA_VERSION, "");
    expect("SCHEMA STATUS", TEXTCMD_SCHEMA_STATUS, "");
    expect("CREATE DATABASE demo", TEXTCMD_CREATE_DATABASE, "demo");
    expect("DROP DATABASE demo", TEXTCMD_DROP_DATABASE, "demo");
    expect("LIST DATABASES x", TEXTCMD_LIST_DATABASES, "");
    expect("CREATE COLLECTION docs", TEXTCMD_CREATE_COLLECTION, "docs");
    expect("DROP COLLECTION docs", TEXTCMD_DROP_COLLECTION, "docs");
    expect("list collections", TEXTCMD_LIST_COLLECTIONS, "");
    expect("CREATE TENANT a b", TEXTCMD_CREATE_TENANT, "a b");
    expect("DROP TENANT a", TEXTCMD_DROP_TENANT, "a");
    expect("LIST TENANTS", TEXTCMD_LIST_TENANTS, "");
    expect("CREATE INDEX c i a.b c", TEXTCMD_CREATE_INDEX, "c|i|a.b c");
    expect("DROP INDEX c i j", TEXTCMD_DROP_INDEX, "c|i j");
    expect("LIST INDEXES c", TEXTCMD_LIST_INDEXES, "c");
    expect("CREATE USER al@acme p w", TEXTCMD_CREATE_USER, "al@acme|p w");
    expect("DROP USER al@acme", TEXTCMD_DROP_USER, "al@acme");
    expect("LIST USERS", TEXTCMD_LIST_USERS, "");
    expect("LIST USERS @acme", TEXTCMD_LIST_USERS, "acme");
    expect("LIST USERS acme", TEXTCMD_LIST_USERS, "acme");
    expect("INSERT c u {\"a\": 1}", TEXTCMD_INSERT, "c|u|{\"a\": 1}");
    expect("UPDATE c u 5", TEXTCMD_UPDATE, "c|u|5");
    expect("GET c u more", TEXTCMD_GET, "c|u");
    expect("\tget\v c \xc2\xa0 u\xe3\x80\x80", TEXTCMD_GET, "c|u");
    expect("\xe2\x80\xa8GET\xe1\x9a\x80"
           "c\xe2\x81\x9fu\xc2\x85",
        TEXTCMD_GET, "c|u");
    expect("DELETE c u", TEXTCMD_DELETE, "c|u");
    expect("SCAN c", TEXTCMD_SCAN, "c");
    expect("SCAN c a b x", TEXTCMD_SCAN, "c|a|b");
    expect("COUNT users x", TEXTCMD_COUNT, "users x");
    expect("QUERY c i \"a b\"", TEXTCMD_QUERY, "c|i|\"a b\"");
    expect("QUERYRANGE c i 1 2", TEXTCMD_QUERY_RANGE, "c|i|1|2");
    expect("QUERYRANGE docs i \"a b\" \"c d\"", TEXTCMD_QUERY_RANGE, "docs|i|\"a b\"|\"c d\"");
    expect("QUERYRANGE c i \"a b c", TEXTCMD_QUERY_RANGE, "c|i|\"a|b c");
    expect("COMPACT c", TEXTCMD_COMPACT, "c");
    expect("FLUSH all", TEXTCMD_FLUSH, "");
    expect("STATS c", TEXTCMD_STATS, "c");
    expect("PASSWD new one", TEXTCMD_PASSWD, "new one");
    expect("ALTER USER bob password p w", TEXTCMD_ALTER_USER, "bob|p w");
    expect("GRANT read_only ON users:d TO bob x", TEXTCMD_GRANT, "read_only|users:d|bob");
    expect("revoke read_only on @t from bob", TEXTCMD_REVOKE, "read_only|@t|bob");
    expect("ELECT-WRITER n d", TEXTCMD_ELECT_WRITER, "n|d|");
    expect("ELECT_WRITER n d c x", TEXTCMD_ELECT_WRITER, "n|d|c");
    expect("REBALANCE PLAN ADD-NODE n x", TEXTCMD_REBALANCE_PLAN_ADD_NODE, "n");
    expect("REBALANCE PLAN REMOVE_NODE n", TEXTCMD_REBALANCE_PLAN_REMOVE_NODE, "n");
    expect("REBALANCE EXECUTE ADD_NODE n c", TEXTCMD_REBALANCE_EXECUTE_ADD_NODE, "n|c");
    expect("REBALANCE EXECUTE REMOVE-NODE n c", TEXTCMD_REBALANCE_EXECUTE_REMOVE_NODE, "n|c");
    expect("ALTER DATABASE d RESET CONSISTENCY", TEXTCMD_RESET_DATABASE_CONSISTENCY, "d");
    expect("SHOW DATABASE d CONSISTENCY", TEXTCMD_SHOW_DATABASE_CONSISTENCY, "d");
    expect("RESOLVE c u", TEXTCMD_RESOLVE, "c|u");
    assert_int_equal(command.depth, 1);
    expect("RESOLVE c u 64", TEXTCMD_RESOLVE, "c|u");
    assert_int_equal(command.depth, 64);
    expect("FIND c {\"a\": {\"$gt\": 1}}", TEXTCMD_FIND, "c|{\"a\": {\"$gt\": 1}}|||");
    expect("FIND c {} LIMIT 5 sort {\"a\": -1} SKIP 2", TEXTCMD_FIND, "c|{}|{\"a\": -1}|2|5");
    expect("FIND c {bad json", TEXTCMD_FIND, "c|{bad json|||");
}

static void
put_with_vc_takes_json_first_and_the_clock_last(void **state)
{
    (void)state;
    expect(
        "PUT_WITH_VC c u {\"a\": 1} {\"n\": 2}", TEXTCMD_PUT_WITH_VC, "c|u|{\"a\": 1}|{\"n\": 2}");
    expect("PUT_WITH_VC c u \"a b\" {}", TEXTCMD_PUT_WITH_VC, "c|u|\"a b\"|{}");
    expect("PUT_WITH_VC c u {\"a\": \"}\\\" \"} {}", TEXTCMD_PUT_WITH_VC,
        "c|u|{\"a\": \"}\\\" \"}|{}");
    expect("PUT_WITH_VC c u {bad one  {}", TEXTCMD_PUT_WITH_VC, "c|u|{bad one|{}");
    expect(
        "PUT_WITH_VC c u $ref(\"a\", \"b\") {}", TEXTCMD_PUT_WITH_VC, "c|u|$ref(\"a\", \"b\")|{}");
    refused("PUT_WITH_VC c u {\"a\": 1}", MISSING "PUT_WITH_VC requires <json> <vector_clock>");
    refused("PUT_WITH_VC c u {bad", MISSING "PUT_WITH_VC requires <json> <vector_clock>");
}

static void
concerns_stand_before_the_command(void **state)
{
    char room[TEXTCMD_CONCERN_TEXT_MAX];

    (void)state;
    expect("READ_CONCERN R=1 write_concern w=2 INSERT c u 1", TEXTCMD_INSERT, "c|u|1");
    assert_true(command.prefix.has_read && command.prefix.has_write);
    assert_int_equal(command.prefix.read, 1);
    assert_int_equal(command.prefix.write, 2);
    assert_string_equal(textcmd_check_concerns(&command, 1, room),
        "invalid consistency concerns: require R and W in [1, 1]");
    assert_null(textcmd_check_concerns(&command, 2, room));
    expect("READ_CONCERN R=0 GET c u", TEXTCMD_GET, "c|u");
    assert_non_null(textcmd_check_concerns(&command, 1, room));
    expect("WRITE_CONCERN W=1 GET c u", TEXTCMD_GET, "c|u");
    assert_string_equal(textcmd_check_concerns(&command, 1, room),
        "write concern is only supported for write commands");
    expect("READ_CONCERN R=1 PING", TEXTCMD_PING, "");
    assert_string_equal(textcmd_check_concerns(&command, 1, room),
        "consistency concerns are only supported for data commands");
    expect("PING", TEXTCMD_PING, "");
    assert_null(textcmd_check_concerns(&command, 1, room));
    refused("READ_CONCERN R=1", "unknown command: ");
    refused("READ_CONCERN", MISSING "READ_CONCERN requires R=<n>");
    refused("READ_CONCERN R=65536 GET c u", MISSING "READ_CONCERN requires R=<n>");
    refused("READ_CONCERN R= GET c u", MISSING "READ_CONCERN requires R=<n>");
    refused("WRITE_CONCERN R=1 GET c u", MISSING "WRITE_CONCERN requires W=<n>");
    refused(
        "READ_CONCERN R=1 READ_CONCERN R=1 PING", MISSING "READ_CONCERN specified more than once");
    refused("WRITE_CONCERN W=1 WRITE_CONCERN W=1 PING",
        MISSING "WRITE_CONCERN specified more than once");
    expect("ALTER DATABASE d SET CONSISTENCY WRITE_CONCERN W=3 READ_CONCERN R=0",
        TEXTCMD_SET_DATABASE_CONSISTENCY, "d");
    assert_int_equal(command.setting.write, 3);
    assert_true(command.setting.has_read);
    assert_false(command.prefix.has_read);
}

static const struct {
    const char *line, *text;
} missing[] = {
    { "TOKEN", "TOKEN requires <jwt>" },
    { "REFRESH", "REFRESH requires <refresh_token>" },
    { "USE ", "USE requires <database>" },
    { "COMPACT", "COMPACT requires <collection>" },
    { "COUNT", "COUNT requires <collection>" },
    { "STATS", "STATS requires <collection>" },
    { "PASSWD", "PASSWD requires <new_password>" },
    { "LIST INDEXES", "LIST INDEXES requires <collection>" },
    { "CREATE DATABASE", "CREATE DATABASE requires <name>" },
    { "CREATE COLLECTION", "CREATE COLLECTION requires <name>" },
    { "CREATE TENANT", "CREATE TENANT requires <name>" },
    { "DROP DATABASE", "DROP DATABASE requires <name>" },
    { "DROP COLLECTION", "DROP COLLECTION requires <name>" },
    { "DROP TENANT", "DROP TENANT requires <name>" },
    { "DROP USER", "DROP USER requires <username>" },
    { "CREATE", "CREATE requires DATABASE|COLLECTION|INDEX|USER|TENANT" },
    { "DROP", "DROP requires DATABASE|COLLECTION|INDEX|USER|TENANT" },
    { "LIST", "LIST requires DATABASES|COLLECTIONS|INDEXES|USERS|TENANTS" },
    { "SCHEMA", "SCHEMA requires VERSION|STATUS" },
    { "ALTER", "ALTER requires DATABASE" },
    { "SHOW", "SHOW requires DATABASE" },
    { "LOGIN", "LOGIN requires <tenant> <username> <password>" },
    { "LOGIN t", "LOGIN requires <username>" },
    { "LOGIN t u", "LOGIN requires <password>" },
    { "CREATE INDEX", "CREATE INDEX requires <collection> <index_name> <field_path>" },
    { "CREATE INDEX c", "CREATE INDEX requires <index_name>" },
    { "CREATE INDEX c i", "CREATE INDEX requires <field_path>" },
    { "DROP INDEX", "DROP INDEX requires <collection> <index_name>" },
    { "DROP INDEX c", "DROP INDEX requires <index_name>" },
    { "CREATE USER", "CREATE USER requires <username> <password>" },
    { "CREATE USER u", "CREATE USER requires <password>" },
    { "INSERT", "INSERT requires <collection> <uuid> <json>" },
    { "INSERT c", "INSERT requires <uuid>" },
    { "INSERT c u", "INSERT requires <json>" },
    { "UPDATE", "UPDATE requires <collection> <uuid> <json>" },
    { "UPDATE c", "UPDATE requires <uuid>" },
    { "UPDATE c u", "UPDATE requires <json>" },
    { "GET", "GET requires <collection> <uuid>" },
    { "GET c", "GET requires <uuid>" },
    { "DELETE", "DELETE requires <collection> <uuid>" },
    { "DELETE c", "DELETE requires <uuid>" },
    { "SCAN", "SCAN requires <collection>" },
    { "SCAN c a", "SCAN range requires both <start_uuid> <end_uuid>" },
    { "PUT_WITH_VC", "PUT_WITH_VC requires <collection> <uuid> <json> <vector_clock>" },
    { "PUT_WITH_VC c", "PUT_WITH_VC requires <uuid>" },
    { "PUT_WITH_VC c u", "PUT_WITH_VC requires <json> <vector_clock>" },
    { "QUERY", "QUERY requires <collection> <index_name> <json_value>" },
    { "QUERY c", "QUERY requires <index_name>" },
    { "QUERY c i", "QUERY requires <json_value>" },
    { "QUERYRANGE", "QUERYRANGE requires <collection> <index_name> <start> <end>" },
    { "QUERYRANGE c", "QUERYRANGE requires <index_name>" },
    { "QUERYRANGE c i", "QUERYRANGE requires <start>" },
    { "QUERYRANGE c i 1", "QUERYRANGE requires <end>" },
    { "GRANT", "GRANT requires <role> ON <resource> TO <username>" },
    { "GRANT r", "GRANT syntax: GRANT <role> ON <resource> TO <username>" },
    { "GRANT r AT x TO u", "GRANT syntax: GRANT <role> ON <resource> TO <username>" },
    { "GRANT r ON", "GRANT requires <resource>" },
    { "GRANT r ON x", "GRANT syntax: GRANT <role> ON <resource> TO <username>" },
    { "GRANT r ON x FROM u", "GRANT syntax: GRANT <role> ON <resource> TO <username>" },
    { "GRANT r ON x TO", "GRANT requires <username>" },
    { "REVOKE", "REVOKE requires <role> ON <resource> FROM <username>" },
    { "REVOKE r ON x TO u", "REVOKE syntax: REVOKE <role> ON <resource> FROM <username>" },
    { "REVOKE r ON", "REVOKE requires <resource>" },
    { "REVOKE r ON x FROM", "REVOKE requires <username>" },
    { "ALTER DATABASE", "ALTER DATABASE requires <name> SET|RESET CONSISTENCY" },
    { "ALTER DATABASE d", "ALTER DATABASE <name> requires SET|RESET CONSISTENCY" },
    { "ALTER DATABASE d FOO", "ALTER DATABASE <name> requires SET|RESET CONSISTENCY" },
    { "ALTER DATABASE d SET", "ALTER DATABASE <name> SET requires CONSISTENCY" },
    { "ALTER DATABASE d RESET", "ALTER DATABASE <name> RESET requires <CONSISTENCY>" },
    { "ALTER DATABASE d RESET X", "ALTER DATABASE <name> RESET requires CONSISTENCY" },
    { "ALTER DATABASE d SET CONSISTENCY",
        "ALTER DATABASE <name> SET CONSISTENCY requires READ_CONCERN and/or WRITE_CONCERN" },
    { "ALTER DATABASE d SET CONSISTENCY X",
        "SET CONSISTENCY expects READ_CONCERN and/or WRITE_CONCERN" },
    { "ALTER DATABASE d SET CONSISTENCY READ_CONCERN W=1", "READ_CONCERN requires R=<n>" },
    { "ALTER USER u", "ALTER USER requires <name> PASSWORD <new_password>" },
    { "SHOW DATABASE", "SHOW DATABASE requires <name> CONSISTENCY" },
    { "SHOW DATABASE d", "SHOW DATABASE <name> requires <CONSISTENCY>" },
    { "SHOW DATABASE d X", "SHOW DATABASE <name> requires CONSISTENCY" },
    { "ELECT-WRITER", "ELECT-WRITER requires <node_id> <database> [collection]" },
    { "ELECT_WRITER n", "ELECT-WRITER requires <database>" },
    { "REBALANCE", "REBALANCE requires PLAN|EXECUTE and ADD-NODE|REMOVE-NODE" },
    { "REBALANCE PLAN X", "REBALANCE requires PLAN|EXECUTE and ADD-NODE|REMOVE-NODE" },
    { "REBALANCE PLAN ADD-NODE", "REBALANCE PLAN ADD-NODE requires <node_id>" },
    { "REBALANCE PLAN REMOVE-NODE", "REBALANCE PLAN REMOVE-NODE requires <node_id>" },
    { "REBALANCE EXECUTE ADD-NODE", "REBALANCE EXECUTE ADD-NODE requires <node_id> <collection>" },
    { "REBALANCE EXECUTE ADD-NODE n", "REBALANCE EXECUTE ADD-NODE requires <collection>" },
    { "REBALANCE EXECUTE REMOVE-NODE n", "REBALANCE EXECUTE REMOVE-NODE requires <collection>" },
    { "RESOLVE", "RESOLVE requires <collection> <uuid>" },
    { "RESOLVE c", "RESOLVE requires <uuid>" },
    { "FIND", "FIND requires <collection> <filter>" },
    { "FIND c", "FIND requires <collection> <filter>" },
};

static void
every_missing_argument_has_its_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++) {
        assert_false(parse(missing[i].line));
        assert_memory_equal(finished, MISSING, strlen(MISSING));
        assert_string_equal(finished + strlen(MISSING), missing[i].text);
    }
}

static void
unknown_words_are_echoed_as_typed(void **state)
{
    (void)state;
    refused("", "empty command");
    refused(" \t\xe2\x80\x80 ", "empty command");
    refused("foo bar", "unknown command: foo");
    refused("GETx", "unknown command: GETx");
    refused("create Foo x", "unknown command: CREATE Foo");
    refused("DROP FOO", "unknown command: DROP FOO");
    refused("LIST FOO", "unknown command: LIST FOO");
    refused("SCHEMA FOO", "unknown command: SCHEMA FOO");
    refused("ALTER FOO", "unknown command: ALTER FOO");
    refused("SHOW FOO", "unknown command: SHOW FOO");
    refused("*3", "unknown command: *3");
    refused("\x07\x05\x14", "unknown command: \x07\x05\x14");
    refused("GE\x7f c u", "unknown command: GE\x7f");
    refused("SNAPSHOT\x7fHLC", "unknown command: SNAPSHOT\x7fHLC");
    refused("\xc3\xa4", "unknown command: \xc3\xa4");
    refused("\xe2", "unknown command: \xe2"); /* never reached over the wire: not UTF-8 */
}

static void
labels_and_needs_come_from_the_list(void **state)
{
    (void)state;
    assert_string_equal(textcmd_label(TEXTCMD_QUERY_RANGE), "QUERY_RANGE");
    assert_int_equal(textcmd_needs(TEXTCMD_LOGIN), TEXTCMD_FREE);
    assert_int_equal(
        textcmd_needs(TEXTCMD_GET), TEXTCMD_NEEDS_LOGIN | TEXTCMD_NEEDS_DATABASE | TEXTCMD_READS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_yields_its_arguments),
        cmocka_unit_test(put_with_vc_takes_json_first_and_the_clock_last),
        cmocka_unit_test(concerns_stand_before_the_command),
        cmocka_unit_test(every_missing_argument_has_its_text),
        cmocka_unit_test(unknown_words_are_echoed_as_typed),
        cmocka_unit_test(labels_and_needs_come_from_the_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
