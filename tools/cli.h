/*
 * cli.h - the program `gneiss`: its verbs, and how they read their words.
 */
#ifndef TOOLS_CLI_H
#define TOOLS_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/config.h"
#include "base/err.h"

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_NOT_RUNNING = 3 };

/* An option: --name VALUE, --name=VALUE, -l VALUE; without `argument`: --name. */
struct cli_option {
    const char *name;
    char letter;          /* 0: none */
    const char *argument; /* NULL: a switch */
    const char *help;
    const char **value; /* where the value goes */
    bool *set;          /* where a switch is noted */
};

struct cli_verb {
    const char *name;
    const char *arguments; /* of the usage line, behind the name */
    const char *summary;   /* one line */
    const char *details;   /* more for `help VERB`; may be NULL */
    const struct cli_option *options;
    size_t option_count;
    unsigned words_least, words_most; /* how many words besides options */
    bool passes_on; /* unknown options are collected as words, for another program */
    int (*run)(int count, char **word);
};

/* "gneiss: could not …" on stderr; yields CLI_FAILED. */
int cli_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same with the last error's message. */
int cli_fail_err(void);

/* A whole number of at least 0; false: told on stderr that `what` must be one. */
bool cli_number(const char *text, const char *what, long *number);

/* The configuration as gneissd reads it: file (NULL: gneiss.toml if there is one), environment.
   Errors: told on stderr. */
bool cli_config(const char *path, struct config **config);

#endif
