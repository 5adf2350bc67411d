/*
 * settings.c - `gneiss config`: every setting with its unit, range, default and present value.
 */
#include "tools/settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *config_path;
static bool values_only;

static void
print_range(const struct config_entry *entry)
{
    if (strcmp(entry->kind, "INT") == 0 || strcmp(entry->kind, "SIZE") == 0)
        (void)printf("# %" PRId64 " to %" PRId64 "%s%s; ", entry->least, entry->most,
            entry->unit[0] != '\0' ? " " : "", entry->unit);
    else
        (void)printf("# ");
    (void)printf("default %s; takes effect %s\n",
        entry->initial[0] != '\0' ? entry->initial : "empty",
        entry->reloads ? "on reload" : "at start");
}

static size_t
section_size(const char *key)
{
    const char *dot = strchr(key, '.');

    return dot != NULL ? (size_t)(dot - key) : 0;
}

static bool
same_section(const char *key, const char *other)
{
    size_t size = section_size(key);

    return size == section_size(other) && strncmp(key, other, size) == 0;
}

/* A comma-separated list as TOML's array. */
static void
print_list(const char *value)
{
    (void)fputc('[', stdout);
    for (const char *at = value; *at != '\0';) {
        size_t size = strcspn(at, ",");

        (void)printf("%s\"%.*s\"", at != value ? ", " : "", (int)size, at);
        at += size + (at[size] == ',');
    }
    (void)fputs("]\n", stdout);
}

static void
print_setting(const struct config *config, size_t index)
{
    struct config_entry entry = config_entry(index);
    char value[4200];

    config_format(config, index, value, sizeof value);
    if (!values_only) {
        (void)printf("# %s\n", entry.help);
        print_range(&entry);
    }
    (void)printf("%s = ", entry.key + section_size(entry.key) + 1);
    if (strcmp(entry.kind, "LIST") == 0)
        print_list(value);
    else if (strcmp(entry.kind, "TEXT") == 0 || strcmp(entry.kind, "SIZE") == 0)
        (void)printf("\"%s\"\n", value);
    else
        (void)printf("%s\n", value);
}

/* As gneiss.toml would have it: keys under their sections, each section once. */
static void
print_all(const struct config *config)
{
    for (size_t i = 0; i < config_count(); i++) {
        const char *key = config_entry(i).key;
        bool seen = false;

        for (size_t j = 0; j < i && !seen; j++)
            seen = same_section(key, config_entry(j).key);
        if (seen)
            continue;
        (void)printf("%s[%.*s]\n", i > 0 ? "\n" : "", (int)section_size(key), key);
        for (size_t j = i; j < config_count(); j++)
            if (same_section(key, config_entry(j).key))
                print_setting(config, j);
    }
}

static int
run(int count, char **word)
{
    struct config *config;

    (void)count;
    (void)word;
    if (!cli_config(config_path, &config))
        return CLI_FAILED;
    print_all(config);
    config_destroy(config);
    return CLI_OK;
}

static const struct cli_option options[] = {
    { "config", 'c', "FILE", "the file to read (gneiss.toml if there is one)", &config_path, NULL },
    { "values", '\0', NULL, "without the explanations", NULL, &values_only },
};

const struct cli_verb settings_verb = { .name = "config",
    .arguments = "[--config FILE] [--values]",
    .summary = "every setting: what it does, unit, range, default and its value here",
    .details = "The value is what a server started here would use: default, file, GNEISS_*\n"
               "variables of the environment.  The output can be used as gneiss.toml.",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .run = run };
