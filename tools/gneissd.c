/*
 * gneissd.c - the server's main: flags, environment, file; then the postmaster.
 *
 * Flags beat the environment, which beats the file, which beats the defaults (doc/text-protocol,
 * section 15.2).  The same order is gone through again on SIGHUP.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "postmaster/postmaster.h"
#include "postmaster/title.h"
#ifdef GNEISS_FAULTS
#include "storage/txn/csn.h"
#endif

#define EXIT_USAGE 2

extern char **environ;

/* What the command line said; read again on SIGHUP, so it points to copies. */
static struct {
    int count;
    char **word;
    const char *config_path; /* NULL: gneiss.toml if it is there */
    const char *bootstrap_password;
    struct listeners_given given;
} line;

enum flag_effect {
    FLAG_SETS,
    FLAG_SETS_FIXED,
    FLAG_CONFIG,
    FLAG_PASSWORD,
    FLAG_HELP,
    FLAG_VERSION
};

static const struct flag {
    const char *name;
    enum flag_effect effect;
    const char *key;   /* the setting it sets */
    const char *fixed; /* with FLAG_SETS_FIXED: its value */
    const char *argument, *help;
} flags[] = {
    { "config", FLAG_CONFIG, NULL, NULL, "toml", "configuration file" },
    { "bind", FLAG_SETS, "server.bind", NULL, "addr:port", "address of the text listener" },
    { "data", FLAG_SETS, "server.data_dir", NULL, "dir", "data directory" },
    { "data-dir", FLAG_SETS, "server.data_dir", NULL, "dir", "the same" },
    { "no-tls", FLAG_SETS_FIXED, "tls.enabled", "false", NULL, "TLS off" },
    { "tls-cert", FLAG_SETS, "tls.cert_file", NULL, "pem", "TLS on with this certificate" },
    { "tls-key", FLAG_SETS, "tls.key_file", NULL, "pem", "and this key" },
    { "http-bind", FLAG_SETS, "http.bind", NULL, "addr:port", "HTTP address" },
    { "no-http", FLAG_SETS_FIXED, "http.bind", "", NULL, "no HTTP listener" },
    { "json-bind", FLAG_SETS, "json.bind", NULL, "addr:port", "address of the JSON listener" },
    { "no-json", FLAG_SETS_FIXED, "json.bind", "", NULL, "no JSON listener" },
    { "auth", FLAG_SETS_FIXED, "json.auth_enabled", "true", NULL, "trusted peers must log in" },
    { "mongo-bind", FLAG_SETS, "mongo.bind", NULL, "addr:port", "address of the MongoDB listener" },
    { "no-mongo", FLAG_SETS_FIXED, "mongo.bind", "", NULL, "no MongoDB listener" },
    { "advertise", FLAG_SETS, "mongo.advertise", NULL, "host:port", "told to MongoDB drivers" },
    { "bootstrap-password", FLAG_PASSWORD, NULL, NULL, "pw", "first administrator's password" },
    { "log-format", FLAG_SETS, "log.format", NULL, "json|text", "form of the log" },
    { "log-level", FLAG_SETS, "log.level", NULL, "level", "debug, info, warn or error" },
    { "set", FLAG_SETS, NULL, NULL, "key=value", "any setting, as in gneiss.toml" },
    { "help", FLAG_HELP, NULL, NULL, NULL, "print this and exit" },
    { "version", FLAG_VERSION, NULL, NULL, NULL, "print the version and exit" },
};
#define FLAG_COUNT (sizeof flags / sizeof flags[0])

static void
print_usage(FILE *out)
{
    (void)fprintf(out, "usage: gneissd [flags]\n\n");
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        char form[64];

        (void)snprintf(form, sizeof form, "--%s%s%s%s", flags[i].name,
            flags[i].argument != NULL ? " <" : "",
            flags[i].argument != NULL ? flags[i].argument : "",
            flags[i].argument != NULL ? ">" : "");
        (void)fprintf(out, "  %-30s %s\n", form, flags[i].help);
    }
    (void)fprintf(out, "\nSettings (gneiss.toml, GNEISS_<SECTION>_<KEY>, or --set):\n");
    for (size_t i = 0; i < config_count(); i++) {
        struct config_entry entry = config_entry(i);

        (void)fprintf(out, "  %-40s %s%s%s (default %s)\n", entry.key, entry.help,
            entry.unit[0] != '\0' ? ", " : "", entry.unit, entry.initial);
    }
}

static const struct flag *
find_flag(const char *name, size_t size)
{
    for (size_t i = 0; i < FLAG_COUNT; i++)
        if (strlen(flags[i].name) == size && strncmp(flags[i].name, name, size) == 0)
            return &flags[i];
    return NULL;
}

/* "--set key=value". */
static err_t
set_any(struct config *config, const char *text)
{
    const char *equals = strchr(text, '=');
    char key[128];

    if (equals == NULL || (size_t)(equals - text) >= sizeof key)
        return err_set(ERR_CONFIG, "--set wants key=value, not '%s'", text);
    memcpy(key, text, (size_t)(equals - text));
    key[equals - text] = '\0';
    return config_set(config, key, equals + 1, "--set");
}

static err_t
apply_flag(struct config *config, const struct flag *flag, const char *value)
{
    char origin[64];

    (void)snprintf(origin, sizeof origin, "--%s", flag->name);
    if (flag->key == NULL)
        return set_any(config, value);
    TRY_RETURN(config_set(
        config, flag->key, flag->effect == FLAG_SETS_FIXED ? flag->fixed : value, origin));
    if (strncmp(flag->name, "tls-", 4) == 0)
        return config_set(config, "tls.enabled", "true", origin);
    return OK;
}

/* Walk the words; with `config`, set what they say, else note what concerns the start itself.
   Yields an exit code, or -1 to go on. */
static int
walk_flags(struct config *config)
{
    for (int i = 1; i < line.count; i++) {
        const char *word = line.word[i];
        const char *equals = strchr(word, '=');
        size_t size = equals != NULL ? (size_t)(equals - word) : strlen(word);
        const struct flag *flag = NULL;
        const char *value = ""; /* what flags without an argument have */

        if (strcmp(word, "-h") == 0)
            flag = find_flag("help", 4);
        else if (size > 2 && strncmp(word, "--", 2) == 0)
            flag = find_flag(word + 2, size - 2);
        if (flag == NULL || (equals != NULL && flag->argument == NULL)) {
            (void)fprintf(stderr, "Error: unknown flag: %s\n", word);
            print_usage(stderr);
            return EXIT_USAGE;
        }
        if (flag->argument != NULL) {
            value = equals != NULL ? equals + 1 : i + 1 < line.count ? line.word[++i] : NULL;
            if (value == NULL) {
                (void)fprintf(stderr, "Error: --%s wants <%s>\n", flag->name, flag->argument);
                return EXIT_USAGE;
            }
        }
        switch (flag->effect) {
        case FLAG_HELP:
            print_usage(stdout);
            return EXIT_SUCCESS;
        case FLAG_VERSION:
            (void)printf("gneissd %s\n", PACKAGE_VERSION);
            return EXIT_SUCCESS;
        case FLAG_CONFIG:
            line.config_path = value;
            break;
        case FLAG_PASSWORD:
            line.bootstrap_password = value;
            break;
        case FLAG_SETS:
        case FLAG_SETS_FIXED:
            if (config != NULL && apply_flag(config, flag, value) != OK) {
                (void)fprintf(stderr, "Error: config: %s\n", err_message());
                return EXIT_FAILURE;
            }
            break;
        }
    }
    return -1;
}

static err_t
load(struct config **fresh)
{
    struct config *config = config_create();
    err_t err;

    if (config == NULL)
        return ERR_MEMORY;
    if (line.config_path != NULL)
        TRY(config_load(config, line.config_path));
    else if (access("gneiss.toml", F_OK) == 0)
        TRY(config_load(config, "gneiss.toml"));
    TRY(config_load_environment(config, environ));
    if (walk_flags(config) != -1)
        TRY(err_set(ERR_CONFIG, "a flag cannot be used"));
    TRY(config_check(config));
    *fresh = config;
    config = NULL;
out:
    config_destroy(config);
    return err;
}

static enum log_level
level_named(const char *name)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };

    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0)
            return (enum log_level)i;
    return LOG_INFO;
}

static void
set_up_log(const struct config *config)
{
    bool text = strcmp(config->log_format, "text") == 0 ||
                (strcmp(config->log_format, "auto") == 0 && isatty(STDOUT_FILENO));

    log_setup(
        text ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON, level_named(config->log_level), STDOUT_FILENO);
}

/* Did a file, the environment or a flag choose another address than the default?  Then it must bind
 * (T43). */
static bool
differs(const char *value, const char *key)
{
    for (size_t i = 0; i < config_count(); i++)
        if (strcmp(config_entry(i).key, key) == 0)
            return strcmp(config_entry(i).initial, value) != 0;
    return false;
}

/* Words of the command line, copied: title_init writes over the originals. */
static bool
keep_words(int argc, char **argv)
{
    line.word = calloc((size_t)argc + 1, sizeof *line.word);
    if (line.word == NULL)
        return false;
    for (int i = 0; i < argc; i++) {
        line.word[i] = strdup(argv[i]);
        if (line.word[i] == NULL)
            return false;
    }
    line.count = argc;
    return true;
}

int
main(int argc, char **argv)
{
    struct postmaster_options options = { .load = load, .apply = set_up_log };
    int code;

    if (!keep_words(argc, argv)) {
        (void)fprintf(stderr, "Error: out of memory\n");
        return EXIT_FAILURE;
    }
    title_init(argc, argv);
    code = walk_flags(NULL);
    if (code != -1)
        return code;
    if (load(&options.config) != OK) {
        (void)fprintf(stderr, "Error: config: %s\n", err_message());
        return EXIT_FAILURE;
    }
    set_up_log(options.config);
#ifdef GNEISS_FAULTS
    if (getenv("GNEISS_TXN_RING") != NULL) /* small, so that a test gets to its end */
        csn_use_ring((uint32_t)strtoul(getenv("GNEISS_TXN_RING"), NULL, 10));
#endif
    options.given = (struct listeners_given){
        .json = differs(options.config->json_bind, "json.bind"),
        .mongo = differs(options.config->mongo_bind, "mongo.bind"),
    };
    options.bootstrap_password = line.bootstrap_password;
    if (options.bootstrap_password == NULL)
        options.bootstrap_password = getenv("GNEISS_BOOTSTRAP_PASSWORD");
    if (options.bootstrap_password == NULL)
        options.bootstrap_password = getenv("GRUMPYDB_BOOTSTRAP_PASSWORD");
    return postmaster_run(&options);
}
