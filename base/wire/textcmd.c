/*
 * textcmd.c - one line of the text protocol, parsed.
 *
 * Form: a line is cut into words from the left; the verb's word is found by length and first
 * letter in a small table, whose row says how the rest is read.  Most commands are a row of
 * `struct shape`: how many words, whether the last takes the rest of the line, and what is
 * said when the n-th is missing.  Only the others have a function.
 *
 * INVARIANTS
 *   T1  The parser never looks outside the line and never recurses.
 *   T2  The line is trimmed first: after a run of white space there is always a word, or the
 *       line is over; the rest of a line never ends in white space.
 *   T3  Every refusal's finished text is `text` and then `echo`.
 */
#include "base/wire/textcmd.h"

#include <stdio.h>

#include "base/wire/textspace.h"

#define MISSING "missing argument: "

struct parser {
    const uint8_t *at;
    const uint8_t *end;
    struct textcmd *command;
    struct textcmd_refusal *refusal;
};

typedef bool parse_fn(struct parser *p);

/* ---------------------------------------------------------------- white space and words */

static inline void
skip_blanks(struct parser *p)
{
    size_t size;

    while (p->at < p->end && (size = textspace_size(p->at, p->end)) > 0)
        p->at += size;
}

/* Take a word and the white space behind it.  False: the line is over. */
static inline bool
take_word(struct parser *p, struct bytes *word)
{
    const uint8_t *at = p->at;

    while (
        at < p->end && (textspace_class[*at] == TEXTSPACE_PLAIN || textspace_size(at, p->end) == 0))
        at++;
    *word = (struct bytes){ p->at, (size_t)(at - p->at) };
    p->at = at;
    skip_blanks(p);
    return word->size > 0;
}

/* Take all that is left.  False: nothing is. */
static inline bool
take_rest(struct parser *p, struct bytes *rest)
{
    *rest = (struct bytes){ p->at, (size_t)(p->end - p->at) };
    p->at = p->end;
    return rest->size > 0;
}

/* Is it this word, of capital letters and signs?  ASCII letters of either case. */
static inline bool
is_word(struct bytes typed, const char *word, size_t size)
{
    if (typed.size != size)
        return false;
    for (size_t i = 0; i < size; i++) {
        uint8_t c = typed.data[i];

        if (c >= 'a' && c <= 'z')
            c = (uint8_t)(c - ('a' - 'A'));
        if (c != (uint8_t)word[i])
            return false;
    }
    return true;
}
#define IS(typed, literal) is_word((typed), (literal), sizeof(literal) - 1)

static bool
refuse(struct parser *p, const char *text)
{
    *p->refusal = (struct textcmd_refusal){ text, { NULL, 0 } };
    return false;
}

static bool
refuse_echo(struct parser *p, const char *text, struct bytes echo)
{
    *p->refusal = (struct textcmd_refusal){ text, echo };
    return false;
}

static inline bool
accept(struct parser *p, enum textcmd_verb verb, unsigned arg_count)
{
    p->command->verb = verb;
    p->command->arg_count = arg_count;
    return true;
}

/* ---------------------------------------------------------------- commands of plain words */

struct shape {
    enum textcmd_verb verb;
    uint8_t words;          /* arguments, all required */
    bool rest;              /* the last one takes the rest of the line */
    const char *missing[4]; /* said when the n-th is missing */
};

static bool
parse_shape(struct parser *p, const struct shape *shape)
{
    for (unsigned i = 0; i < shape->words; i++) {
        struct bytes *arg = &p->command->arg[i];
        bool last = i + 1u == shape->words;

        if (!(last && shape->rest ? take_rest(p, arg) : take_word(p, arg)))
            return refuse(p, shape->missing[i]);
    }
    return accept(p, shape->verb, shape->words);
}

#define SHAPE_0(function, id)              \
    static bool function(struct parser *p) \
    {                                      \
        return accept(p, id, 0);           \
    }
#define SHAPE(function, id, words, rest, ...)                                   \
    static bool function(struct parser *p)                                      \
    {                                                                           \
        static const struct shape shape = { id, words, rest, { __VA_ARGS__ } }; \
        return parse_shape(p, &shape);                                          \
    }

SHAPE_0(parse_ping, TEXTCMD_PING)
SHAPE_0(parse_quit, TEXTCMD_QUIT)
SHAPE_0(parse_whoami, TEXTCMD_WHOAMI)
SHAPE_0(parse_topology, TEXTCMD_TOPOLOGY)
SHAPE_0(parse_snapshot_hlc, TEXTCMD_SNAPSHOT_HLC)
SHAPE_0(parse_flush, TEXTCMD_FLUSH)
SHAPE_0(parse_schema_version, TEXTCMD_SCHEMA_VERSION)
SHAPE_0(parse_schema_status, TEXTCMD_SCHEMA_STATUS)
SHAPE_0(parse_list_databases, TEXTCMD_LIST_DATABASES)
SHAPE_0(parse_list_collections, TEXTCMD_LIST_COLLECTIONS)
SHAPE_0(parse_list_tenants, TEXTCMD_LIST_TENANTS)
SHAPE(parse_login, TEXTCMD_LOGIN, 3, true, MISSING "LOGIN requires <tenant> <username> <password>",
    MISSING "LOGIN requires <username>", MISSING "LOGIN requires <password>")
SHAPE(parse_token, TEXTCMD_TOKEN, 1, true, MISSING "TOKEN requires <jwt>")
SHAPE(parse_refresh, TEXTCMD_REFRESH, 1, true, MISSING "REFRESH requires <refresh_token>")
SHAPE(parse_use, TEXTCMD_USE, 1, true, MISSING "USE requires <database>")
SHAPE(parse_compact, TEXTCMD_COMPACT, 1, true, MISSING "COMPACT requires <collection>")
SHAPE(parse_count, TEXTCMD_COUNT, 1, true, MISSING "COUNT requires <collection>")
SHAPE(parse_stats, TEXTCMD_STATS, 1, true, MISSING "STATS requires <collection>")
SHAPE(parse_passwd, TEXTCMD_PASSWD, 1, true, MISSING "PASSWD requires <new_password>")
SHAPE(
    parse_list_indexes, TEXTCMD_LIST_INDEXES, 1, true, MISSING "LIST INDEXES requires <collection>")
SHAPE(parse_create_database, TEXTCMD_CREATE_DATABASE, 1, true,
    MISSING "CREATE DATABASE requires <name>")
SHAPE(parse_create_collection, TEXTCMD_CREATE_COLLECTION, 1, true,
    MISSING "CREATE COLLECTION requires <name>")
SHAPE(parse_create_tenant, TEXTCMD_CREATE_TENANT, 1, true, MISSING "CREATE TENANT requires <name>")
SHAPE(parse_create_index, TEXTCMD_CREATE_INDEX, 3, true,
    MISSING "CREATE INDEX requires <collection> <index_name> <field_path>",
    MISSING "CREATE INDEX requires <index_name>", MISSING "CREATE INDEX requires <field_path>")
SHAPE(parse_create_user, TEXTCMD_CREATE_USER, 2, true,
    MISSING "CREATE USER requires <username> <password>", MISSING "CREATE USER requires <password>")
SHAPE(parse_drop_database, TEXTCMD_DROP_DATABASE, 1, true, MISSING "DROP DATABASE requires <name>")
SHAPE(parse_drop_collection, TEXTCMD_DROP_COLLECTION, 1, true,
    MISSING "DROP COLLECTION requires <name>")
SHAPE(parse_drop_tenant, TEXTCMD_DROP_TENANT, 1, true, MISSING "DROP TENANT requires <name>")
SHAPE(parse_drop_user, TEXTCMD_DROP_USER, 1, true, MISSING "DROP USER requires <username>")
SHAPE(parse_drop_index, TEXTCMD_DROP_INDEX, 2, true,
    MISSING "DROP INDEX requires <collection> <index_name>",
    MISSING "DROP INDEX requires <index_name>")
SHAPE(parse_insert, TEXTCMD_INSERT, 3, true, MISSING "INSERT requires <collection> <uuid> <json>",
    MISSING "INSERT requires <uuid>", MISSING "INSERT requires <json>")
SHAPE(parse_update, TEXTCMD_UPDATE, 3, true, MISSING "UPDATE requires <collection> <uuid> <json>",
    MISSING "UPDATE requires <uuid>", MISSING "UPDATE requires <json>")
SHAPE(parse_get, TEXTCMD_GET, 2, false, MISSING "GET requires <collection> <uuid>",
    MISSING "GET requires <uuid>")
SHAPE(parse_delete, TEXTCMD_DELETE, 2, false, MISSING "DELETE requires <collection> <uuid>",
    MISSING "DELETE requires <uuid>")
SHAPE(parse_query, TEXTCMD_QUERY, 3, true,
    MISSING "QUERY requires <collection> <index_name> <json_value>",
    MISSING "QUERY requires <index_name>", MISSING "QUERY requires <json_value>")

/* ---------------------------------------------------------------- JSON among the arguments */

/* The end of a string that begins here; NULL: it has none. */
static const uint8_t *
string_end(const uint8_t *at, const uint8_t *end)
{
    for (at++; at < end; at++) {
        if (*at == '"')
            return at + 1;
        if (*at == '\\')
            at++;
    }
    return NULL;
}

/* The end of a bracketed value; NULL: it has none.  Kinds of brackets are not compared. */
static const uint8_t *
brackets_end(const uint8_t *at, const uint8_t *end)
{
    size_t depth = 0;

    while (at < end) {
        switch (*at) {
        case '"':
            if ((at = string_end(at, end)) == NULL)
                return NULL;
            continue;
        case '{':
        case '[':
        case '(':
            depth++;
            break;
        case '}':
        case ']':
        case ')':
            if (--depth == 0)
                return at + 1;
            break;
        default:
            break;
        }
        at++;
    }
    return NULL;
}

size_t
textcmd_json_size(struct bytes text)
{
    static const char reference[] = "$ref(";
    const uint8_t *at = text.data;
    const uint8_t *end = text.data + text.size;
    struct parser p = { at, end, NULL, NULL };
    struct bytes word;

    if (text.size == 0)
        return 0;
    if (text.size > strlen(reference) && memcmp(at, reference, strlen(reference)) == 0)
        at = brackets_end(at + strlen(reference) - 1, end);
    else if (*at == '{' || *at == '[')
        at = brackets_end(at, end);
    else if (*at == '"')
        at = string_end(at, end);
    else
        at = take_word(&p, &word) ? word.data + word.size : NULL;
    if (at == NULL || (at < end && textspace_size(at, end) == 0))
        return 0;
    return (size_t)(at - text.data);
}

/* Take a JSON value and the white space behind it.  False: there is none. */
static bool
take_json(struct parser *p, struct bytes *json)
{
    size_t size = textcmd_json_size((struct bytes){ p->at, (size_t)(p->end - p->at) });

    *json = (struct bytes){ p->at, size };
    p->at += size;
    skip_blanks(p);
    return size > 0;
}

/* Cut the rest at its last white space.  False: it has none, or nothing before it. */
static bool
take_all_but_last_word(struct parser *p, struct bytes *front)
{
    const uint8_t *at = p->at;
    const uint8_t *cut = NULL;
    size_t size;

    while (at < p->end) {
        if ((size = textspace_size(at, p->end)) > 0)
            cut = at;
        at += size > 0 ? size : 1;
    }
    if (cut == NULL)
        return false;
    *front = (struct bytes){ p->at, (size_t)(textspace_trimmed_end(p->at, cut) - p->at) };
    p->at = cut;
    skip_blanks(p);
    return true;
}

static bool
parse_put_with_vc(struct parser *p)
{
    struct bytes *arg = p->command->arg;

    if (!take_word(p, &arg[0]))
        return refuse(p, MISSING "PUT_WITH_VC requires <collection> <uuid> <json> <vector_clock>");
    if (!take_word(p, &arg[1]))
        return refuse(p, MISSING "PUT_WITH_VC requires <uuid>");
    if ((!take_json(p, &arg[2]) && !take_all_but_last_word(p, &arg[2])) || !take_rest(p, &arg[3]))
        return refuse(p, MISSING "PUT_WITH_VC requires <json> <vector_clock>");
    return accept(p, TEXTCMD_PUT_WITH_VC, 4);
}

static bool
parse_queryrange(struct parser *p)
{
    struct bytes *arg = p->command->arg;

    if (!take_word(p, &arg[0]))
        return refuse(p, MISSING "QUERYRANGE requires <collection> <index_name> <start> <end>");
    if (!take_word(p, &arg[1]))
        return refuse(p, MISSING "QUERYRANGE requires <index_name>");
    if (!take_json(p, &arg[2]) && !take_word(p, &arg[2]))
        return refuse(p, MISSING "QUERYRANGE requires <start>");
    if (!take_rest(p, &arg[3]))
        return refuse(p, MISSING "QUERYRANGE requires <end>");
    return accept(p, TEXTCMD_QUERY_RANGE, 4);
}

static bool
parse_find(struct parser *p)
{
    struct bytes *arg = p->command->arg;
    struct bytes word;

    if (!take_word(p, &arg[0]) || p->at == p->end)
        return refuse(p, MISSING "FIND requires <collection> <filter>");
    for (unsigned i = 2; i < 5; i++)
        arg[i] = (struct bytes){ NULL, 0 };
    if (!take_json(p, &arg[1]))
        (void)take_rest(p, &arg[1]); /* the JSON parser will say what is wrong with it */
    while (take_word(p, &word)) {
        unsigned i = IS(word, "SORT") ? 2 : IS(word, "SKIP") ? 3 : IS(word, "LIMIT") ? 4 : 0;

        if (i == 0 || arg[i].size > 0 || !(i == 2 ? take_json(p, &arg[i]) : take_word(p, &arg[i])))
            return refuse(p, MISSING "FIND takes SORT <json>, SKIP <n>, LIMIT <n>, each once");
    }
    return accept(p, TEXTCMD_FIND, 5);
}

/* ---------------------------------------------------------------- other commands */

/* A whole number of digits only, at most `max`. */
static bool
parse_number(struct bytes text, uint32_t max, uint32_t *number)
{
    uint32_t n = 0;

    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        n = n * 10 + (uint32_t)(text.data[i] - '0');
        if (n > max)
            return false;
    }
    *number = n;
    return text.size > 0;
}

/* "R=<n>" or "W=<n>". */
static bool
take_concern(struct parser *p, char letter, uint16_t *concern)
{
    struct bytes word;
    uint32_t number;

    if (!take_word(p, &word) || word.size < 3 || (word.data[0] & 0xdf) != letter ||
        word.data[1] != '=' ||
        !parse_number((struct bytes){ word.data + 2, word.size - 2 }, UINT16_MAX, &number))
        return false;
    *concern = (uint16_t)number;
    return true;
}

static bool
parse_read_concern(struct parser *p, struct textcmd_concerns *concerns)
{
    if (concerns->has_read)
        return refuse(p, MISSING "READ_CONCERN specified more than once");
    concerns->has_read = true;
    return take_concern(p, 'R', &concerns->read) ||
           refuse(p, MISSING "READ_CONCERN requires R=<n>");
}

static bool
parse_write_concern(struct parser *p, struct textcmd_concerns *concerns)
{
    if (concerns->has_write)
        return refuse(p, MISSING "WRITE_CONCERN specified more than once");
    concerns->has_write = true;
    return take_concern(p, 'W', &concerns->write) ||
           refuse(p, MISSING "WRITE_CONCERN requires W=<n>");
}

static bool
parse_scan(struct parser *p)
{
    struct bytes *arg = p->command->arg;

    if (!take_word(p, &arg[0]))
        return refuse(p, MISSING "SCAN requires <collection>");
    if (!take_word(p, &arg[1]))
        return accept(p, TEXTCMD_SCAN, 1);
    if (!take_word(p, &arg[2]))
        return refuse(p, MISSING "SCAN range requires both <start_uuid> <end_uuid>");
    return accept(p, TEXTCMD_SCAN, 3);
}

static bool
parse_resolve(struct parser *p)
{
    struct bytes word;

    if (!take_word(p, &p->command->arg[0]))
        return refuse(p, MISSING "RESOLVE requires <collection> <uuid>");
    if (!take_word(p, &p->command->arg[1]))
        return refuse(p, MISSING "RESOLVE requires <uuid>");
    p->command->depth = 1;
    if (take_word(p, &word) && !parse_number(word, 64, &p->command->depth))
        return refuse(p, "invalid argument: depth must be 0 to 64");
    return accept(p, TEXTCMD_RESOLVE, 2);
}

static bool
parse_list_users(struct parser *p)
{
    struct bytes *tenant = &p->command->arg[0];

    if (!take_rest(p, tenant)) {
        *tenant = (struct bytes){ NULL, 0 };
    } else if (tenant->data[0] == '@') {
        tenant->data++;
        tenant->size--;
    }
    return accept(p, TEXTCMD_LIST_USERS, 1);
}

struct grant_texts {
    enum textcmd_verb verb;
    const char *nothing, *syntax, *resource, *user;
};

static bool
parse_grant_like(struct parser *p, const struct grant_texts *texts)
{
    struct bytes *arg = p->command->arg;
    struct bytes word;

    if (!take_word(p, &arg[0]))
        return refuse(p, texts->nothing);
    if (!take_word(p, &word) || !IS(word, "ON"))
        return refuse(p, texts->syntax);
    if (!take_word(p, &arg[1]))
        return refuse(p, texts->resource);
    if (!take_word(p, &word) || !(texts->verb == TEXTCMD_GRANT ? IS(word, "TO") : IS(word, "FROM")))
        return refuse(p, texts->syntax);
    if (!take_word(p, &arg[2]))
        return refuse(p, texts->user);
    return accept(p, texts->verb, 3);
}

static bool
parse_grant(struct parser *p)
{
    static const struct grant_texts texts = { TEXTCMD_GRANT,
        MISSING "GRANT requires <role> ON <resource> TO <username>",
        MISSING "GRANT syntax: GRANT <role> ON <resource> TO <username>",
        MISSING "GRANT requires <resource>", MISSING "GRANT requires <username>" };

    return parse_grant_like(p, &texts);
}

static bool
parse_revoke(struct parser *p)
{
    static const struct grant_texts texts = { TEXTCMD_REVOKE,
        MISSING "REVOKE requires <role> ON <resource> FROM <username>",
        MISSING "REVOKE syntax: REVOKE <role> ON <resource> FROM <username>",
        MISSING "REVOKE requires <resource>", MISSING "REVOKE requires <username>" };

    return parse_grant_like(p, &texts);
}

static bool
parse_elect_writer(struct parser *p)
{
    struct bytes *arg = p->command->arg;

    if (!take_word(p, &arg[0]))
        return refuse(p, MISSING "ELECT-WRITER requires <node_id> <database> [collection]");
    if (!take_word(p, &arg[1]))
        return refuse(p, MISSING "ELECT-WRITER requires <database>");
    if (!take_word(p, &arg[2]))
        arg[2] = (struct bytes){ NULL, 0 };
    return accept(p, TEXTCMD_ELECT_WRITER, 3);
}

SHAPE(parse_plan_add, TEXTCMD_REBALANCE_PLAN_ADD_NODE, 1, false,
    MISSING "REBALANCE PLAN ADD-NODE requires <node_id>")
SHAPE(parse_plan_remove, TEXTCMD_REBALANCE_PLAN_REMOVE_NODE, 1, false,
    MISSING "REBALANCE PLAN REMOVE-NODE requires <node_id>")
SHAPE(parse_execute_add, TEXTCMD_REBALANCE_EXECUTE_ADD_NODE, 2, false,
    MISSING "REBALANCE EXECUTE ADD-NODE requires <node_id> <collection>",
    MISSING "REBALANCE EXECUTE ADD-NODE requires <collection>")
SHAPE(parse_execute_remove, TEXTCMD_REBALANCE_EXECUTE_REMOVE_NODE, 2, false,
    MISSING "REBALANCE EXECUTE REMOVE-NODE requires <node_id> <collection>",
    MISSING "REBALANCE EXECUTE REMOVE-NODE requires <collection>")

static bool
parse_rebalance(struct parser *p)
{
    struct bytes step, action;
    bool plan, add;

    if (!take_word(p, &step) || !take_word(p, &action))
        goto wrong;
    plan = IS(step, "PLAN");
    add = IS(action, "ADD-NODE") || IS(action, "ADD_NODE");
    if ((!plan && !IS(step, "EXECUTE")) ||
        (!add && !IS(action, "REMOVE-NODE") && !IS(action, "REMOVE_NODE")))
        goto wrong;
    if (plan)
        return add ? parse_plan_add(p) : parse_plan_remove(p);
    return add ? parse_execute_add(p) : parse_execute_remove(p);
wrong:
    return refuse(p, MISSING "REBALANCE requires PLAN|EXECUTE and ADD-NODE|REMOVE-NODE");
}

#define ALTER_DB "ALTER DATABASE <name> "

static bool
parse_set_consistency(struct parser *p)
{
    struct textcmd_concerns *setting = &p->command->setting;
    struct bytes word;

    if (!take_word(p, &word) || !IS(word, "CONSISTENCY"))
        return refuse(p, MISSING ALTER_DB "SET requires CONSISTENCY");
    if (p->at == p->end)
        return refuse(
            p, MISSING ALTER_DB "SET CONSISTENCY requires READ_CONCERN and/or WRITE_CONCERN");
    while (take_word(p, &word)) {
        if (IS(word, "READ_CONCERN")) {
            if (!parse_read_concern(p, setting))
                return false;
        } else if (IS(word, "WRITE_CONCERN")) {
            if (!parse_write_concern(p, setting))
                return false;
        } else {
            return refuse(p, MISSING "SET CONSISTENCY expects READ_CONCERN and/or WRITE_CONCERN");
        }
    }
    return accept(p, TEXTCMD_SET_DATABASE_CONSISTENCY, 1);
}

static bool
parse_alter_database(struct parser *p)
{
    struct bytes word;

    if (!take_word(p, &p->command->arg[0]))
        return refuse(p, MISSING "ALTER DATABASE requires <name> SET|RESET CONSISTENCY");
    (void)take_word(p, &word);
    if (IS(word, "SET"))
        return parse_set_consistency(p);
    if (!IS(word, "RESET"))
        return refuse(p, MISSING ALTER_DB "requires SET|RESET CONSISTENCY");
    if (!take_rest(p, &word))
        return refuse(p, MISSING ALTER_DB "RESET requires <CONSISTENCY>");
    if (!IS(word, "CONSISTENCY"))
        return refuse(p, MISSING ALTER_DB "RESET requires CONSISTENCY");
    return accept(p, TEXTCMD_RESET_DATABASE_CONSISTENCY, 1);
}

static bool
parse_alter_user(struct parser *p)
{
    struct bytes word;

    if (!take_word(p, &p->command->arg[0]) || !take_word(p, &word) || !IS(word, "PASSWORD") ||
        !take_rest(p, &p->command->arg[1]))
        return refuse(p, MISSING "ALTER USER requires <name> PASSWORD <new_password>");
    return accept(p, TEXTCMD_ALTER_USER, 2);
}

static bool
parse_show_database(struct parser *p)
{
    struct bytes word;

    if (!take_word(p, &p->command->arg[0]))
        return refuse(p, MISSING "SHOW DATABASE requires <name> CONSISTENCY");
    if (!take_rest(p, &word))
        return refuse(p, MISSING "SHOW DATABASE <name> requires <CONSISTENCY>");
    if (!IS(word, "CONSISTENCY"))
        return refuse(p, MISSING "SHOW DATABASE <name> requires CONSISTENCY");
    return accept(p, TEXTCMD_SHOW_DATABASE_CONSISTENCY, 1);
}

/* ---------------------------------------------------------------- finding the verb */

struct verb {
    const char *word; /* in capitals */
    uint8_t size;
    parse_fn *parse;
};
#define VERB(word, function)             \
    {                                    \
        word, sizeof(word) - 1, function \
    }

/* Look a word up in a list that ends with a row without a word. */
static parse_fn *
find_verb(const struct verb *verbs, struct bytes word)
{
    for (const struct verb *verb = verbs; verb->word != NULL; verb++)
        if (verb->size == word.size && is_word(word, verb->word, verb->size))
            return verb->parse;
    return NULL;
}

/* Commands of two words. */
static bool
parse_second(struct parser *p, const struct verb *verbs, const char *missing, const char *unknown)
{
    struct bytes word;
    parse_fn *parse;

    if (!take_word(p, &word))
        return refuse(p, missing);
    parse = find_verb(verbs, word);
    return parse != NULL ? parse(p) : refuse_echo(p, unknown, word);
}

#define FAMILY(function, name, choices, ...)                                            \
    static bool function(struct parser *p)                                              \
    {                                                                                   \
        static const struct verb verbs[] = { __VA_ARGS__, { NULL, 0, NULL } };          \
                                                                                        \
        return parse_second(                                                            \
            p, verbs, MISSING name " requires " choices, "unknown command: " name " "); \
    }

FAMILY(parse_create, "CREATE", "DATABASE|COLLECTION|INDEX|USER|TENANT",
    VERB("DATABASE", parse_create_database), VERB("COLLECTION", parse_create_collection),
    VERB("INDEX", parse_create_index), VERB("USER", parse_create_user),
    VERB("TENANT", parse_create_tenant))
FAMILY(parse_drop, "DROP", "DATABASE|COLLECTION|INDEX|USER|TENANT",
    VERB("DATABASE", parse_drop_database), VERB("COLLECTION", parse_drop_collection),
    VERB("INDEX", parse_drop_index), VERB("USER", parse_drop_user),
    VERB("TENANT", parse_drop_tenant))
FAMILY(parse_list, "LIST", "DATABASES|COLLECTIONS|INDEXES|USERS|TENANTS",
    VERB("DATABASES", parse_list_databases), VERB("COLLECTIONS", parse_list_collections),
    VERB("INDEXES", parse_list_indexes), VERB("USERS", parse_list_users),
    VERB("TENANTS", parse_list_tenants))
FAMILY(parse_schema, "SCHEMA", "VERSION|STATUS", VERB("VERSION", parse_schema_version),
    VERB("STATUS", parse_schema_status))
FAMILY(parse_alter, "ALTER", "DATABASE", VERB("DATABASE", parse_alter_database),
    VERB("USER", parse_alter_user))
FAMILY(parse_show, "SHOW", "DATABASE", VERB("DATABASE", parse_show_database))

/* The first words, by first letter. */
#define LETTER(letter, ...) \
    static const struct verb verbs_##letter[] = { __VA_ARGS__, { NULL, 0, NULL } }
LETTER(A, VERB("ALTER", parse_alter));
LETTER(C, VERB("COUNT", parse_count), VERB("CREATE", parse_create), VERB("COMPACT", parse_compact));
LETTER(D, VERB("DELETE", parse_delete), VERB("DROP", parse_drop));
LETTER(E, VERB("ELECT-WRITER", parse_elect_writer), VERB("ELECT_WRITER", parse_elect_writer));
LETTER(F, VERB("FIND", parse_find), VERB("FLUSH", parse_flush));
LETTER(G, VERB("GET", parse_get), VERB("GRANT", parse_grant));
LETTER(I, VERB("INSERT", parse_insert));
LETTER(L, VERB("LIST", parse_list), VERB("LOGIN", parse_login));
LETTER(P, VERB("PING", parse_ping), VERB("PUT_WITH_VC", parse_put_with_vc),
    VERB("PASSWD", parse_passwd));
LETTER(
    Q, VERB("QUERY", parse_query), VERB("QUERYRANGE", parse_queryrange), VERB("QUIT", parse_quit));
LETTER(R, VERB("RESOLVE", parse_resolve), VERB("REFRESH", parse_refresh),
    VERB("REVOKE", parse_revoke), VERB("REBALANCE", parse_rebalance));
LETTER(S, VERB("SCAN", parse_scan), VERB("STATS", parse_stats), VERB("SHOW", parse_show),
    VERB("SCHEMA", parse_schema), VERB("SNAPSHOT_HLC", parse_snapshot_hlc),
    VERB("SNAPSHOT-HLC", parse_snapshot_hlc));
LETTER(T, VERB("TOKEN", parse_token), VERB("TOPOLOGY", parse_topology));
LETTER(U, VERB("UPDATE", parse_update), VERB("USE", parse_use));
LETTER(W, VERB("WHOAMI", parse_whoami));

static const struct verb *const verbs_by_letter[32] = {
    ['A' & 31] = verbs_A,
    ['C' & 31] = verbs_C,
    ['D' & 31] = verbs_D,
    ['E' & 31] = verbs_E,
    ['F' & 31] = verbs_F,
    ['G' & 31] = verbs_G,
    ['I' & 31] = verbs_I,
    ['L' & 31] = verbs_L,
    ['P' & 31] = verbs_P,
    ['Q' & 31] = verbs_Q,
    ['R' & 31] = verbs_R,
    ['S' & 31] = verbs_S,
    ['T' & 31] = verbs_T,
    ['U' & 31] = verbs_U,
    ['W' & 31] = verbs_W,
};

/* Is it READ_CONCERN or WRITE_CONCERN?  *failed: it is, and what follows is wrong. */
static bool
take_prefix(struct parser *p, struct bytes word, bool *failed)
{
    struct textcmd_concerns *prefix = &p->command->prefix;

    if (word.size == strlen("READ_CONCERN") && IS(word, "READ_CONCERN"))
        *failed = !parse_read_concern(p, prefix);
    else if (word.size == strlen("WRITE_CONCERN") && IS(word, "WRITE_CONCERN"))
        *failed = !parse_write_concern(p, prefix);
    else
        return false;
    return true;
}

bool
textcmd_parse(struct bytes line, struct textcmd *command, struct textcmd_refusal *refusal)
{
    struct parser p = { line.data, line.data + line.size, command, refusal };
    const struct verb *verbs;
    struct bytes word;
    parse_fn *parse;
    bool failed = false;

    command->arg_count = 0;
    command->depth = 0;
    command->prefix = (struct textcmd_concerns){ false, false, 0, 0 };
    command->setting = (struct textcmd_concerns){ false, false, 0, 0 };
    if (line.size == 0)
        return refuse(&p, "empty command");
    p.end = textspace_trimmed_end(p.at, p.end); /* T2 */
    skip_blanks(&p);
    if (!take_word(&p, &word))
        return refuse(&p, "empty command");
    while (take_prefix(&p, word, &failed)) {
        if (failed)
            return false;
        (void)take_word(&p, &word); /* nothing left: an unknown command without a name */
    }
    verbs = word.size > 0 && word.data[0] >= 'A' ? verbs_by_letter[word.data[0] & 31] : NULL;
    parse = verbs != NULL ? find_verb(verbs, word) : NULL;
    return parse != NULL ? parse(&p) : refuse_echo(&p, "unknown command: ", word);
}

/* ---------------------------------------------------------------- about commands */

const char *
textcmd_check_concerns(
    const struct textcmd *command, unsigned nodes, char room[TEXTCMD_CONCERN_TEXT_MAX])
{
    const struct textcmd_concerns *prefix = &command->prefix;
    unsigned needs = textcmd_needs(command->verb);

    if (!prefix->has_read && !prefix->has_write)
        return NULL;
    if ((needs & (TEXTCMD_READS | TEXTCMD_WRITES)) == 0)
        return "consistency concerns are only supported for data commands";
    if (prefix->has_write && (needs & TEXTCMD_WRITES) == 0)
        return "write concern is only supported for write commands";
    if ((prefix->has_read && (prefix->read < 1 || prefix->read > nodes)) ||
        (prefix->has_write && (prefix->write < 1 || prefix->write > nodes))) {
        (void)snprintf(room, TEXTCMD_CONCERN_TEXT_MAX,
            "invalid consistency concerns: require R and W in [1, %u]", nodes);
        return room;
    }
    return NULL;
}

static const struct {
    const char *label;
    unsigned needs;
} verb_row[TEXTCMD_VERB_COUNT] = {
#define TEXTVERB(id, label, needs, arguments) { label, needs },
#include "base/lists/textverbs.def"
#undef TEXTVERB
};

const char *
textcmd_label(enum textcmd_verb verb)
{
    return verb_row[verb].label;
}

unsigned
textcmd_needs(enum textcmd_verb verb)
{
    return verb_row[verb].needs;
}
