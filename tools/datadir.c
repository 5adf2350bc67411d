/*
 * datadir.c - making, checking and printing data directories, without a server.
 */
#include "tools/datadir.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "shmem/proc.h"
#include "storage/collection/check.h"
#include "storage/collection/engine.h"
#include "wal/wal_inspect.h"

#define CHECK_MEMORY ((size_t)1 << 30)

static const char *page_size_option = "8192", *from_option, *to_option, *collection_option;
static const char *tenant_option = "_default", *buffers_option = "128MB";

/* ---- init ---- */

static int
init(int count, char **word)
{
    long page_size;

    (void)count;
    if (!cli_number(page_size_option, "--page-size", &page_size))
        return CLI_USAGE;
    if (page_size != 4096 && page_size != 8192 && page_size != 16384 && page_size != 32768) {
        (void)cli_fail("--page-size must be 4096, 8192, 16384 or 32768");
        return CLI_USAGE;
    }
    if (engine_create(word[0], (uint32_t)page_size) != OK)
        return cli_fail_err();
    (void)printf("'%s' is a new data directory, page size %ld\n", word[0], page_size);
    return CLI_OK;
}

/* ---- check ---- */

/* "db.collection", cut in place. */
static bool
split_name(char *name, const char **database, const char **collection)
{
    char *dot = strchr(name, '.');

    if (dot == NULL || dot == name || dot[1] == '\0')
        return false;
    *dot = '\0';
    *database = name;
    *collection = dot + 1;
    return true;
}

static err_t
check_opened(const char *database, const char *collection, struct check_result *result)
{
    struct op op = { .verb = "check" };
    err_t err;

    TRY_RETURN(proc_attach(PROC_EMBEDDED));
    op.arena = arena_create("check", CHECK_MEMORY);
    if (op.arena == NULL) {
        err = ERR_MEMORY;
        goto out;
    }
    TRY(check_run(
        &op, database != NULL ? tenant_option : NULL, database, collection, stdout, result));
out:
    arena_destroy(op.arena);
    proc_detach();
    return err;
}

static err_t
check_in(const struct config *config, const char *path, const char *database,
    const char *collection, struct check_result *result)
{
    struct engine_info info;
    err_t err, closed;

    TRY_RETURN(engine_open(config, path, NULL, 0, 0, false));
    err = engine_recover(config, &info);
    if (err == OK) {
        if (!info.recovery.clean)
            (void)printf("recovered %ju log records first\n", (uintmax_t)info.recovery.records);
        err = check_opened(database, collection, result);
        if (err == OK && (closed = engine_close()) != OK)
            err = closed;
    }
    engine_release();
    return err;
}

static int
report(const struct check_result *result)
{
    (void)printf("%ju files, %ju pages, %ju collections, %ju indexes, %ju documents, %ju entries\n",
        (uintmax_t)result->files, (uintmax_t)result->pages, (uintmax_t)result->collections,
        (uintmax_t)result->indexes, (uintmax_t)result->documents, (uintmax_t)result->entries);
    if (result->faults == 0) {
        (void)printf("all is well\n");
        return CLI_OK;
    }
    return cli_fail("%ju faults", (uintmax_t)result->faults);
}

static int
check(int count, char **word)
{
    const char *database = NULL, *collection = NULL;
    struct check_result result = { .faults = 0 };
    struct config *config;
    char *name = NULL;
    int code;

    (void)count;
    if (!engine_exists(word[0]))
        return cli_fail("'%s' holds no database", word[0]);
    if (collection_option != NULL) {
        name = strdup(collection_option);
        if (name == NULL || !split_name(name, &database, &collection)) {
            free(name);
            (void)cli_fail("--collection wants DATABASE.COLLECTION");
            return CLI_USAGE;
        }
    }
    config = config_create();
    if (config == NULL ||
        config_set(config, "memory.shared_buffers", buffers_option, "--buffers") != OK ||
        check_in(config, word[0], database, collection, &result) != OK)
        code = cli_fail_err();
    else
        code = report(&result);
    config_destroy(config);
    free(name);
    return code;
}

/* ---- inspect ---- */

static bool
read_lsn(const char *text, const char *what, lsn_t *lsn)
{
    char *end;

    *lsn = 0;
    if (text == NULL)
        return true;
    *lsn = strtoull(text, &end, 0);
    if (*end == '\0' && text[0] != '\0')
        return true;
    (void)cli_fail("%s must be a position in the log, not '%s'", what, text);
    return false;
}

static int
inspect(int count, char **word)
{
    lsn_t from, to;

    (void)count;
    if (strcmp(word[0], "wal") != 0) {
        (void)cli_fail("'%s' cannot be inspected; `gneiss inspect wal DIR` can", word[0]);
        return CLI_USAGE;
    }
    if (!read_lsn(from_option, "--from", &from) || !read_lsn(to_option, "--to", &to))
        return CLI_USAGE;
    if (!engine_exists(word[1]))
        return cli_fail("'%s' holds no database", word[1]);
    if (wal_inspect(word[1], from, to, engine_handlers(), stdout) != OK)
        return cli_fail_err();
    return CLI_OK;
}

/* ---- verbs ---- */

static const struct cli_option init_options[] = {
    { "page-size", 'p', "BYTES", "4096, 8192 (default), 16384 or 32768", &page_size_option, NULL },
};
static const struct cli_option check_options[] = {
    { "collection", '\0', "DB.NAME", "only this one", &collection_option, NULL },
    { "tenant", '\0', "NAME", "whose collection (default _default)", &tenant_option, NULL },
    { "buffers", '\0', "SIZE", "memory for pages (default 128MB)", &buffers_option, NULL },
};
static const struct cli_option inspect_options[] = {
    { "from", '\0', "LSN", "where to begin (default: the last checkpoint)", &from_option, NULL },
    { "to", '\0', "LSN", "where to end (default: the log's end)", &to_option, NULL },
};

#define COUNT(options) (sizeof(options) / sizeof(options)[0])

const struct cli_verb datadir_init_verb = { .name = "init",
    .arguments = "[--page-size BYTES] DIR",
    .summary = "make a data directory",
    .details = "A server or a shell makes its directory itself when there is none; init is for\n"
               "choosing the size of its pages.",
    .options = init_options,
    .option_count = COUNT(init_options),
    .words_least = 1,
    .words_most = 1,
    .run = init };
const struct cli_verb datadir_check_verb = { .name = "check",
    .arguments = "[--collection DB.NAME] DIR",
    .summary = "verify all pages, heaps and indexes of a data directory",
    .details = "The directory must not be in use.  After a crash it is recovered first.\n"
               "Exit code 0: all is well; 1: faults, each printed on a line.",
    .options = check_options,
    .option_count = COUNT(check_options),
    .words_least = 1,
    .words_most = 1,
    .run = check };
const struct cli_verb datadir_inspect_verb = { .name = "inspect",
    .arguments = "wal [--from LSN] [--to LSN] DIR",
    .summary = "print the records of the log",
    .details = "The server may be running.  Exit code 1: the log is damaged.",
    .options = inspect_options,
    .option_count = COUNT(inspect_options),
    .words_least = 2,
    .words_most = 2,
    .run = inspect };
