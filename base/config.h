/*
 * config.h - every setting of the server, from one list (base/lists/settings.def).
 *
 * Order of precedence: default < file < environment (GNEISS_<SECTION>_<KEY>, upper case;
 * and the names of T-15.2) < flags.  A value that cannot be used stops the start with
 * "<file>:<line>: <key>: <why>".  A struct config is made once and then const; on
 * reload a new one is made and the values whose `when` is RELOAD are taken over.
 */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* C types of the kinds of settings. */
typedef bool config_BOOL;
typedef int64_t config_INT;  /* plain numbers, and times in the unit that the list names */
typedef int64_t config_SIZE; /* bytes; "128MB", "16kB" or a number of bytes (1 MB = 2^20) */
typedef const char *config_TEXT;
typedef const char *config_LIST; /* TOML array of strings, kept comma-separated */

struct config {
#define SETTING(field, key, kind, initial, least, most, unit, when, help) config_##kind field;
#include "base/lists/settings.def"
#undef SETTING
};

/* Defaults; own memory, freed by config_destroy.  NULL: out of memory. */
struct config *config_create(void);
void config_destroy(struct config *config);
struct config *config_clone(const struct config *config);

/* Read a TOML file into it.  Unknown keys are logged as warnings.
   Errors: ERR_CONFIG, message "<file>:<line>: <what>". */
err_t config_load(struct config *config, const char *path) MUST_CHECK;
err_t config_load_environment(struct config *config, char *const *environment) MUST_CHECK;
/* One value by its key ("server.bind"), as text; `origin` names where it came from, for messages.
 */
err_t config_set(
    struct config *config, const char *key, const char *value, const char *origin) MUST_CHECK;

/* Check what concerns several settings at once. */
err_t config_check(const struct config *config) MUST_CHECK;

/* For the manual, --help and `gneiss config`: walk the list. */
struct config_entry {
    const char *key, *kind, *unit, *help, *initial;
    int64_t least, most;
    bool reloads; /* else: at start only */
};
size_t config_count(void);
struct config_entry config_entry(size_t index);
/* The value as text, into `text`. */
void config_format(const struct config *config, size_t index, char *text, size_t size);
/* Take over what may change at run time. */
err_t config_reload(struct config *running, const struct config *fresh) MUST_CHECK;
/* Warn of what differs still.  For one process to say: all reload. */
void config_warn_unchanged(const struct config *running, const struct config *fresh);

#endif
