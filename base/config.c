/*
 * config.c - every setting of the server.
 *
 * The list in settings.def becomes a table of rows; a row knows where in struct config its
 * value lies and how to read, check and print it.  Texts belong to the config, each in
 * memory of its own.
 *
 * INVARIANTS
 *   G1  Every TEXT and LIST field points to memory of this config, never NULL.
 *   G2  A value is checked before it is stored: a config never holds one that is out of
 *       range, and a call that fails has changed nothing but earlier keys of the same file.
 */
#include "base/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/net.h"
#include "base/panic.h"
#include "base/toml.h"

#define PARSE_MEMORY ((size_t)16 << 20)
#define LIST_MAX     4096

enum kind { BOOL, INT, SIZE, TEXT, LIST };
enum when { START, RELOAD };

/* The defaults, each in the member that fits its kind. */
struct value {
    int64_t number;
    const char *text;
};
#define INITIAL_BOOL(x) \
    {                   \
        .number = (x)   \
    }
#define INITIAL_INT(x) \
    {                  \
        .number = (x)  \
    }
#define INITIAL_SIZE(x) \
    {                   \
        .number = (x)   \
    }
#define INITIAL_TEXT(x) \
    {                   \
        .text = (x)     \
    }
#define INITIAL_LIST(x) \
    {                   \
        .text = (x)     \
    }

static const struct row {
    const char *key, *kind_name, *unit, *help, *initial_text;
    struct value initial;
    int64_t least, most;
    size_t offset;
    enum kind kind;
    enum when when;
} rows[] = {
#define SETTING(field, key, kind, initial, least, most, unit, when, help)     \
    { key, #kind, unit, help, #initial, INITIAL_##kind(initial), least, most, \
        offsetof(struct config, field), kind, when },
#include "base/lists/settings.def"
#undef SETTING
};

#define ROWS (sizeof rows / sizeof *rows)

/* Texts that are one of a few words, and texts that are addresses. */
static const struct {
    const char *key, *words;
} choices[] = {
    { "server.crash_isolation", "verify fast strict" },
    { "auth.jwt_algorithm", "rs256 hs256" },
    { "mongo.persona", "replicaset mongos standalone" },
    { "log.format", "auto json text" },
    { "log.level", "debug info warn error" },
    { "storage.page_size", "4096 8192 16384 32768" },
};
static const char *const addresses[] = { "server.bind", "http.bind", "json.bind", "mongo.bind" };

/* GrumpyDB's tables that are read and left alone (T-15.1). */
static const char *const accepted_tables[] = { "cluster.peers", "cluster.writers" };

/* Environment variables that are not GNEISS_<SECTION>_<KEY>. */
static const struct {
    const char *variable, *key;
} variables[] = {
    { "GNEISS_LOG", "log.level" },
};

static void *
field(struct config *config, const struct row *row)
{
    return (char *)config + row->offset;
}

static const void *
field_const(const struct config *config, const struct row *row)
{
    return (const char *)config + row->offset;
}

static bool
is_text(const struct row *row)
{
    return row->kind == TEXT || row->kind == LIST;
}

static int64_t
get_number(const struct config *config, const struct row *row)
{
    const void *at = field_const(config, row);

    return row->kind == BOOL ? *(const bool *)at : *(const int64_t *)at;
}

static const char *
get_text(const struct config *config, const struct row *row)
{
    return *(const char *const *)field_const(config, row);
}

static err_t
store_text(struct config *config, const struct row *row, const char *text)
{
    char **at = field(config, row);
    char *copy = strdup(text);

    if (copy == NULL)
        return err_set(ERR_MEMORY, "could not allocate memory for %s", row->key);
    free(*at);
    *at = copy;
    return OK;
}

static void
store_number(struct config *config, const struct row *row, int64_t number)
{
    if (row->kind == BOOL)
        *(bool *)field(config, row) = number != 0;
    else
        *(int64_t *)field(config, row) = number;
}

static err_t
copy_value(struct config *to, const struct config *from, const struct row *row)
{
    if (is_text(row))
        return store_text(to, row, get_text(from, row));
    store_number(to, row, get_number(from, row));
    return OK;
}

struct config *
config_create(void)
{
    struct config *config = calloc(1, sizeof *config);

    if (config == NULL) {
        (void)err_set(ERR_MEMORY, "could not allocate memory for the settings");
        return NULL;
    }
    for (const struct row *row = rows; row < rows + ROWS; row++) {
        if (!is_text(row)) {
            store_number(config, row, row->initial.number);
        } else if (store_text(config, row, row->initial.text) != OK) {
            config_destroy(config);
            return NULL;
        }
    }
    return config;
}

void
config_destroy(struct config *config)
{
    if (config == NULL)
        return;
    for (const struct row *row = rows; row < rows + ROWS; row++)
        if (is_text(row))
            free(*(char **)field(config, row));
    free(config);
}

struct config *
config_clone(const struct config *config)
{
    struct config *copy = config_create();

    for (const struct row *row = rows; copy != NULL && row < rows + ROWS; row++)
        if (copy_value(copy, config, row) != OK) {
            config_destroy(copy);
            copy = NULL;
        }
    return copy;
}

static const struct row *
find(const char *key)
{
    for (const struct row *row = rows; row < rows + ROWS; row++)
        if (strcmp(row->key, key) == 0)
            return row;
    return NULL;
}

/* ---- checking one value ---- */

static err_t
refuse(const struct row *row, const char *origin, const char *why)
{
    return err_set(ERR_CONFIG, "%s: %s: %s", origin, row->key, why);
}

static bool
is_among(const char *words, const char *word)
{
    size_t size = strlen(word);

    for (const char *at = words; size > 0 && (at = strstr(at, word)) != NULL; at += size)
        if ((at == words || at[-1] == ' ') && (at[size] == ' ' || at[size] == '\0'))
            return true;
    return false;
}

static err_t
check_choice(const struct row *row, const char *value, const char *origin)
{
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        if (strcmp(choices[i].key, row->key) == 0 && !is_among(choices[i].words, value))
            return err_set(ERR_CONFIG, "%s: %s: '%.64s' is not one of: %s", origin, row->key, value,
                choices[i].words);
    return OK;
}

static void
format_number(const struct row *row, int64_t number, char *text, size_t size)
{
    static const char *const units[] = { "TB", "GB", "MB", "kB" };

    if (row->kind == BOOL) {
        (void)snprintf(text, size, "%s", number != 0 ? "true" : "false");
        return;
    }
    for (unsigned i = 0; row->kind == SIZE && number > 0 && i < 4; i++) {
        int64_t unit = (int64_t)1 << (40 - 10 * i);

        if (number % unit == 0) {
            (void)snprintf(text, size, "%jd%s", (intmax_t)(number / unit), units[i]);
            return;
        }
    }
    (void)snprintf(text, size, "%jd", (intmax_t)number);
}

static err_t
set_number(struct config *config, const struct row *row, int64_t number, const char *origin)
{
    char least[32], most[32], value[32];

    if (number < row->least || number > row->most) {
        format_number(row, number, value, sizeof value);
        format_number(row, row->least, least, sizeof least);
        format_number(row, row->most, most, sizeof most);
        return err_set(ERR_CONFIG, "%s: %s: %s is not between %s and %s%s%s", origin, row->key,
            value, least, most, row->kind == INT && row->unit[0] != '\0' ? " " : "",
            row->kind == INT ? row->unit : "");
    }
    (void)snprintf(value, sizeof value, "%jd", (intmax_t)number);
    TRY_RETURN(check_choice(row, value, origin));
    store_number(config, row, number);
    return OK;
}

static err_t
check_networks(const struct row *row, const char *list, const char *origin)
{
    if (strcmp(row->key, "json.trusted") == 0 && !net_list_valid(list))
        return refuse(row, origin, "wants addresses or networks such as 127.0.0.0/8 or ::1");
    return OK;
}

static err_t
set_text(struct config *config, const struct row *row, struct bytes text, const char *origin)
{
    char copy[LIST_MAX];

    if (text.size >= sizeof copy || (int64_t)text.size > row->most)
        return err_set(
            ERR_CONFIG, "%s: %s: longer than %jd bytes", origin, row->key, (intmax_t)row->most);
    if ((int64_t)text.size < row->least)
        return refuse(row, origin, "may not be empty");
    if (text.size > 0 && memchr(text.data, '\0', text.size) != NULL)
        return refuse(row, origin, "holds a NUL character");
    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    TRY_RETURN(check_choice(row, copy, origin));
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        if (strcmp(addresses[i], row->key) == 0 && copy[0] != '\0' && !net_address_valid(copy))
            return refuse(row, origin, "wants host:port, such as 127.0.0.1:6380 or [::1]:6380");
    TRY_RETURN(check_networks(row, copy, origin));
    return store_text(config, row, copy);
}

/* ---- from text: environment, flags, and sizes in the file ---- */

static bool
parse_bool(const char *text, int64_t *value)
{
    static const char yes[] = "true on yes 1", no[] = "false off no 0";

    *value = is_among(yes, text);
    return *value != 0 || is_among(no, text);
}

static bool
parse_whole(const char *text, int64_t *value, const char **rest)
{
    char *end;

    if (!isdigit((unsigned char)text[*text == '-' || *text == '+']))
        return false;
    errno = 0;
    *value = strtoll(text, &end, 10);
    *rest = end;
    return errno == 0;
}

/* "128MB", "16 kB", "1048576"; the letter's case is free and the B may be left out. */
static bool
parse_size(const char *text, int64_t *value)
{
    static const char letters[] = "kmgt";
    const char *found = NULL;
    const char *rest;

    if (!parse_whole(text, value, &rest))
        return false;
    while (*rest == ' ')
        rest++;
    if (*rest != '\0')
        found = strchr(letters, tolower((unsigned char)*rest));
    if (found != NULL) {
        int shift = 10 * (int)(found - letters + 1);

        if (*value > INT64_MAX >> shift || *value < 0)
            return false;
        *value <<= shift;
        rest++;
    }
    if (*rest == 'B' || *rest == 'b')
        rest++;
    return *rest == '\0';
}

err_t
config_set(struct config *config, const char *key, const char *value, const char *origin)
{
    const struct row *row = find(key);
    const char *rest = "";
    int64_t number;

    if (row == NULL)
        return err_set(ERR_CONFIG, "%s: %s: there is no such setting", origin, key);
    switch (row->kind) {
    case BOOL:
        if (!parse_bool(value, &number))
            return refuse(row, origin, "wants true or false");
        return set_number(config, row, number, origin);
    case INT:
        if (!parse_whole(value, &number, &rest) || *rest != '\0')
            return refuse(row, origin, "wants a whole number");
        return set_number(config, row, number, origin);
    case SIZE:
        if (!parse_size(value, &number))
            return refuse(row, origin, "wants a size, such as 65536, 128kB, 64MB or 2GB");
        return set_number(config, row, number, origin);
    default:
        return set_text(config, row, bytes_of(value), origin);
    }
}

/* ---- from a file ---- */

static err_t
refuse_type(const struct row *row, const struct toml *node, const char *origin)
{
    static const char *const wanted[] = { "true or false", "a whole number",
        "a size, such as 65536 or \"128MB\"", "a string", "an array of strings" };

    return err_set(ERR_CONFIG, "%s: %s: wants %s, not %s", origin, row->key, wanted[row->kind],
        toml_type_name(node->type));
}

static err_t
load_list(struct config *config, const struct row *row, const struct toml *node, const char *origin)
{
    struct buf joined = buf_init(LIST_MAX);
    err_t err = OK;

    for (const struct toml *one = node->first; one != NULL; one = one->next) {
        if (one->type != TOML_STRING)
            TRY(refuse_type(row, one, origin));
        if (one->text.size > 0 && memchr(one->text.data, ',', one->text.size) != NULL)
            TRY(refuse(row, origin, "an element may not hold a comma"));
        if (joined.size + one->text.size + 1 >= LIST_MAX)
            TRY(refuse(row, origin, "the list is too long"));
        if (one != node->first)
            TRY(buf_append_byte(&joined, ','));
        TRY(buf_append(&joined, one->text.data, one->text.size));
    }
    TRY(set_text(config, row, buf_bytes(&joined), origin));
out:
    buf_fini(&joined);
    return err;
}

static err_t
load_value(struct config *config, const struct row *row, const struct toml *node, const char *path)
{
    char origin[4200];
    int64_t number;

    (void)snprintf(origin, sizeof origin, "%s:%d", path, node->line);
    if (row->kind == BOOL && node->type == TOML_BOOL)
        return set_number(config, row, node->boolean, origin);
    if ((row->kind == INT || row->kind == SIZE) && node->type == TOML_INTEGER)
        return set_number(config, row, node->integer, origin);
    if (row->kind == SIZE && node->type == TOML_STRING) {
        if (!parse_size((const char *)node->text.data, &number))
            return refuse(row, origin, "wants a size, such as 65536, \"128kB\" or \"2GB\"");
        return set_number(config, row, number, origin);
    }
    if (row->kind == TEXT && node->type == TOML_STRING)
        return set_text(config, row, node->text, origin);
    if (row->kind == LIST && node->type == TOML_ARRAY)
        return load_list(config, row, node, origin);
    return refuse_type(row, node, origin);
}

static err_t
check_accepted_table(const char *key, const struct toml *node, const char *path)
{
    if (node->type != TOML_ARRAY)
        return err_set(ERR_CONFIG, "%s:%d: %s: wants an array of tables", path, node->line, key);
    for (const struct toml *one = node->first; one != NULL; one = one->next)
        if (one->type != TOML_TABLE)
            return err_set(ERR_CONFIG, "%s:%d: %s: wants an array of tables", path, one->line, key);
    return OK;
}

static bool
is_accepted_table(const char *key)
{
    for (size_t i = 0; i < sizeof accepted_tables / sizeof *accepted_tables; i++)
        if (strcmp(accepted_tables[i], key) == 0)
            return true;
    return false;
}

static err_t
load_section(struct config *config, const struct toml *section, const char *path)
{
    for (const struct toml *node = section->first; node != NULL; node = node->next) {
        const struct row *row;
        char key[160];

        (void)snprintf(key, sizeof key, "%.64s.%.64s", (const char *)section->key.data,
            (const char *)node->key.data);
        row = find(key);
        if (row != NULL)
            TRY_RETURN(load_value(config, row, node, path));
        else if (is_accepted_table(key))
            TRY_RETURN(check_accepted_table(key, node, path));
        else
            log_warn("%s:%d: %s: there is no such setting; ignored", path, node->line, key);
    }
    return OK;
}

static bool
is_section(const char *name, size_t size)
{
    const struct bytes section = { (const uint8_t *)name, size };

    for (const struct row *row = rows; row < rows + ROWS; row++) {
        struct bytes key = { (const uint8_t *)row->key, strcspn(row->key, ".") };

        if (bytes_equal(key, section))
            return true;
    }
    return false;
}

static err_t
load_tree(struct config *config, const struct toml *root, const char *path)
{
    for (const struct toml *node = root->first; node != NULL; node = node->next) {
        const char *name = (const char *)node->key.data;
        bool known = is_section(name, node->key.size);

        if (node->type == TOML_TABLE && known)
            TRY_RETURN(load_section(config, node, path));
        else if (known)
            return err_set(ERR_CONFIG, "%s:%d: %.64s: wants a table, not %s", path, node->line,
                name, toml_type_name(node->type));
        else
            log_warn("%s:%d: %.64s: there is no such %s; ignored", path, node->line, name,
                node->type == TOML_TABLE ? "section" : "setting");
    }
    return OK;
}

err_t
config_load(struct config *config, const char *path)
{
    struct arena *arena = NULL;
    struct toml *root;
    char *text = NULL;
    size_t size;
    bool found;
    err_t err;

    if (file_slurp(path, TOML_SIZE_MAX, &text, &size, &found) != OK) {
        char why[512];

        (void)snprintf(why, sizeof why, "%s", err_message());
        TRY(err_set(ERR_CONFIG, "%s:0: %s", path, why));
    }
    if (!found)
        TRY(err_set(ERR_CONFIG, "%s:0: there is no such file", path));
    arena = arena_create("the configuration file", PARSE_MEMORY);
    if (arena == NULL)
        TRY(ERR_MEMORY);
    TRY(toml_parse(arena, path, (struct bytes){ (const uint8_t *)text, size }, &root));
    TRY(load_tree(config, root, path));
out:
    arena_destroy(arena);
    free(text);
    return err;
}

/* ---- from the environment ---- */

/* GNEISS_SERVER_DATA_DIR for server.data_dir. */
static void
variable_of(const struct row *row, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "GNEISS_%s", row->key);

    for (size_t i = 0; i < used && i < size - 1; i++)
        text[i] = text[i] == '.' ? '_' : (char)toupper((unsigned char)text[i]);
}

static const char *
key_of_variable(const char *name, size_t size)
{
    char variable[128];

    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        if (strlen(variables[i].variable) == size && memcmp(variables[i].variable, name, size) == 0)
            return variables[i].key;
    for (const struct row *row = rows; row < rows + ROWS; row++) {
        variable_of(row, variable, sizeof variable);
        if (strlen(variable) == size && memcmp(variable, name, size) == 0)
            return row->key;
    }
    return NULL;
}

/* A variable that begins like one of ours is more likely a slip of the pen than somebody
   else's.  The server's own that are no settings are passed over by their first word. */
static void
warn_of_unknown(const char *name, size_t size)
{
    char section[64] = "";
    size_t at;

    for (at = 7; at < size && at - 7 < sizeof section - 1 && name[at] != '_'; at++)
        section[at - 7] = (char)tolower((unsigned char)name[at]);
    if (at < size && name[at] == '_' && is_section(section, at - 7))
        log_warn("environment: %.*s: there is no such setting; ignored",
            (int)(size < 128 ? size : 128), name);
}

err_t
config_load_environment(struct config *config, char *const *environment)
{
    for (; environment != NULL && *environment != NULL; environment++) {
        const char *equals = strchr(*environment, '=');
        size_t size = equals != NULL ? (size_t)(equals - *environment) : 0;
        char origin[160];
        const char *key;

        if (size <= 7 || strncmp(*environment, "GNEISS_", 7) != 0)
            continue;
        key = key_of_variable(*environment, size);
        if (key == NULL) {
            warn_of_unknown(*environment, size);
            continue;
        }
        (void)snprintf(origin, sizeof origin, "environment %.*s", (int)size, *environment);
        TRY_RETURN(config_set(config, key, equals + 1, origin));
    }
    return OK;
}

/* ---- the whole ---- */

err_t
config_check(const struct config *config)
{
    struct uuid cluster;

    if (config->server_spare_backends_min > config->server_spare_backends_max)
        return err_set(ERR_CONFIG, "server.spare_backends_min is larger than spare_backends_max");
    if ((config->tls_cert_file[0] == '\0') != (config->tls_key_file[0] == '\0'))
        return err_set(ERR_CONFIG, "tls.cert_file and tls.key_file must be given together");
    if (config->cluster_cluster_id[0] != '\0' &&
        !ids_parse(bytes_of(config->cluster_cluster_id), &cluster))
        return err_set(
            ERR_CONFIG, "cluster.cluster_id: '%s' is not a UUID", config->cluster_cluster_id);
    if (config->wal_buffers > config->max_wal_size / 4)
        return err_set(ERR_CONFIG, "memory.wal_buffers is more than a quarter of wal.max_wal_size");
    if (config->shared_buffers / config->page_size < 64)
        return err_set(ERR_CONFIG, "memory.shared_buffers must hold at least 64 pages of %jd bytes",
            (intmax_t)config->page_size);
    if (config->server_bind[0] == '\0' && config->json_bind[0] == '\0' &&
        config->mongo_bind[0] == '\0')
        return err_set(ERR_CONFIG, "server.bind, json.bind and mongo.bind are all empty: nobody "
                                   "could connect");
    return OK;
}

size_t
config_count(void)
{
    return ROWS;
}

struct config_entry
config_entry(size_t index)
{
    const struct row *row = &rows[index];

    invariant(index < ROWS);
    return (struct config_entry){
        .key = row->key,
        .kind = row->kind_name,
        .unit = row->unit,
        .help = row->help,
        .initial = is_text(row) ? row->initial.text : row->initial_text,
        .least = row->least,
        .most = row->most,
        .reloads = row->when == RELOAD,
    };
}

void
config_format(const struct config *config, size_t index, char *text, size_t size)
{
    const struct row *row = &rows[index];

    invariant(index < ROWS);
    if (is_text(row))
        (void)snprintf(text, size, "%s", get_text(config, row));
    else
        format_number(row, get_number(config, row), text, size);
}

static bool
is_equal(const struct config *a, const struct config *b, const struct row *row)
{
    if (is_text(row))
        return strcmp(get_text(a, row), get_text(b, row)) == 0;
    return get_number(a, row) == get_number(b, row);
}

err_t
config_reload(struct config *running, const struct config *fresh)
{
    for (const struct row *row = rows; row < rows + ROWS; row++)
        if (row->when == RELOAD && !is_equal(running, fresh, row))
            TRY_RETURN(copy_value(running, fresh, row));
    return OK;
}

void
config_warn_unchanged(const struct config *running, const struct config *fresh)
{
    for (const struct row *row = rows; row < rows + ROWS; row++)
        if (!is_equal(running, fresh, row))
            log_warn("%s has changed; it takes effect at the next start", row->key);
}
