/*
 * cli.c - the program `gneiss`: one table of verbs.
 *
 * A verb reads options into variables of its own file before its `run` is called with the words
 * that are left.
 */
#include "tools/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/version.h"
#include "tools/bench.h"
#include "tools/daemon.h"
#include "tools/datadir.h"
#include "tools/loader.h"
#include "tools/settings.h"
#include "tools/shell.h"
#include "tools/unloader.h"

extern char **environ;

static int show_help(int count, char **word);
static int show_version(int count, char **word);

static const struct cli_verb help_verb = { .name = "help",
    .arguments = "[VERB]",
    .summary = "what there is, or all about one verb",
    .words_most = 1,
    .run = show_help };
static const struct cli_verb version_verb = {
    .name = "version", .arguments = "", .summary = "print the version", .run = show_version
};

static const struct cli_verb *const verbs[] = {
    &datadir_init_verb,
    &daemon_start_verb,
    &daemon_stop_verb,
    &daemon_status_verb,
    &daemon_reload_verb,
    &shell_verb,
    &loader_verb,
    &unloader_verb,
    &bench_verb,
    &datadir_check_verb,
    &datadir_inspect_verb,
    &settings_verb,
    &version_verb,
    &help_verb,
};
#define VERB_COUNT (sizeof verbs / sizeof verbs[0])

/* ---- for the verbs ---- */

int
cli_fail(const char *format, ...)
{
    va_list args;

    (void)fflush(stdout);
    (void)fputs("gneiss: ", stderr);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return CLI_FAILED;
}

int
cli_fail_err(void)
{
    return cli_fail("%s", err_message());
}

bool
cli_number(const char *text, const char *what, long *number)
{
    char *end;

    *number = strtol(text, &end, 10);
    if (text[0] != '\0' && *end == '\0' && *number >= 0)
        return true;
    (void)cli_fail("%s must be a whole number, not '%s'", what, text);
    return false;
}

bool
cli_config(const char *path, struct config **config)
{
    struct config *made = config_create();
    err_t err = made != NULL ? OK : ERR_MEMORY;

    if (err == OK && path != NULL)
        err = config_load(made, path);
    else if (err == OK && access("gneiss.toml", F_OK) == 0)
        err = config_load(made, "gneiss.toml");
    if (err == OK)
        err = config_load_environment(made, environ);
    if (err == OK) {
        *config = made;
        return true;
    }
    config_destroy(made);
    (void)cli_fail("config: %s", err_message());
    return false;
}

/* ---- help ---- */

static const struct cli_verb *
find_verb(const char *name)
{
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    return NULL;
}

static void
print_verb(const struct cli_verb *verb, FILE *out)
{
    (void)fprintf(out, "usage: gneiss %s %s\n\n%s\n", verb->name, verb->arguments, verb->summary);
    if (verb->option_count > 0)
        (void)fputc('\n', out);
    for (size_t i = 0; i < verb->option_count; i++) {
        const struct cli_option *option = &verb->options[i];
        char form[64];

        (void)snprintf(form, sizeof form, "%s%c%s--%s%s%s", option->letter != '\0' ? "-" : "",
            option->letter != '\0' ? option->letter : ' ', option->letter != '\0' ? ", " : "   ",
            option->name, option->argument != NULL ? " " : "",
            option->argument != NULL ? option->argument : "");
        (void)fprintf(out, "  %-28s %s\n", form, option->help);
    }
    if (verb->details != NULL)
        (void)fprintf(out, "\n%s\n", verb->details);
}

static void
print_all(FILE *out)
{
    (void)fputs("usage: gneiss VERB [options]\n\n", out);
    for (size_t i = 0; i < VERB_COUNT; i++)
        (void)fprintf(out, "  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
    (void)fputs("\n`gneiss help VERB` tells more.\n", out);
}

static int
show_help(int count, char **word)
{
    const struct cli_verb *verb;

    if (count == 0) {
        print_all(stdout);
        return CLI_OK;
    }
    verb = find_verb(word[0]);
    if (verb == NULL) {
        (void)cli_fail("there is no verb '%s'; `gneiss help` lists them", word[0]);
        return CLI_USAGE;
    }
    print_verb(verb, stdout);
    return CLI_OK;
}

static int
show_version(int count, char **word)
{
    (void)count;
    (void)word;
    (void)printf("gneiss %s\n", VERSION_TEXT);
    return CLI_OK;
}

/* ---- words ---- */

static const struct cli_option *
find_option(const struct cli_verb *verb, const char *word, const char **value)
{
    *value = NULL;
    for (size_t i = 0; i < verb->option_count; i++) {
        const struct cli_option *option = &verb->options[i];
        size_t size = strlen(option->name);

        if (option->letter != '\0' && word[1] == option->letter && word[2] == '\0')
            return option;
        if (strncmp(word, "--", 2) != 0 || strncmp(word + 2, option->name, size) != 0)
            continue;
        if (word[2 + size] == '\0')
            return option;
        if (word[2 + size] == '=' && option->argument != NULL) {
            *value = word + 3 + size;
            return option;
        }
    }
    return NULL;
}

static bool
is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* Take the option at word[*at] in, and the value behind it.  False: told on stderr. */
static bool
take_option(const struct cli_verb *verb, const struct cli_option *option, const char *value,
    int count, char **word, int *at)
{
    if (option->argument == NULL) {
        *option->set = true;
        return true;
    }
    if (value == NULL && *at + 1 < count)
        value = word[++*at];
    if (value == NULL) {
        (void)cli_fail(
            "--%s wants %s; see `gneiss help %s`", option->name, option->argument, verb->name);
        return false;
    }
    *option->value = value;
    return true;
}

/* Options are taken in, the other words moved to the front; their count, or -1: told on stderr. */
static int
take_words(const struct cli_verb *verb, int count, char **word)
{
    bool literal = false;
    int kept = 0;

    for (int i = 0; i < count; i++) {
        const struct cli_option *option;
        const char *value;

        if (!literal && strcmp(word[i], "--") == 0) {
            literal = true;
            continue;
        }
        if (literal || word[i][0] != '-' || word[i][1] == '\0') {
            word[kept++] = word[i];
            continue;
        }
        option = find_option(verb, word[i], &value);
        if (option == NULL && verb->passes_on) {
            word[kept++] = word[i];
            continue;
        }
        if (option == NULL) {
            (void)cli_fail("unknown option %s; see `gneiss help %s`", word[i], verb->name);
            return -1;
        }
        if (!take_option(verb, option, value, count, word, &i))
            return -1;
    }
    return kept;
}

static int
run_verb(const struct cli_verb *verb, int count, char **word)
{
    for (int i = 0; i < count && strcmp(word[i], "--") != 0; i++)
        if (is_help(word[i])) {
            print_verb(verb, stdout);
            return CLI_OK;
        }
    count = take_words(verb, count, word);
    if (count < 0)
        return CLI_USAGE;
    if (!verb->passes_on &&
        ((unsigned)count < verb->words_least || (unsigned)count > verb->words_most)) {
        (void)fprintf(stderr, "usage: gneiss %s %s\n", verb->name, verb->arguments);
        return CLI_USAGE;
    }
    return verb->run(count, word);
}

int
main(int argc, char **argv)
{
    const struct cli_verb *verb;

    log_setup(LOG_FORMAT_TEXT, LOG_WARN, STDERR_FILENO);
    if (argc < 2) {
        print_all(stderr);
        return CLI_USAGE;
    }
    if (is_help(argv[1]))
        return show_help(0, NULL);
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        return show_version(0, NULL);
    verb = find_verb(argv[1]);
    if (verb == NULL) {
        (void)cli_fail("there is no verb '%s'; `gneiss help` lists them", argv[1]);
        return CLI_USAGE;
    }
    return run_verb(verb, argc - 2, argv + 2);
}
