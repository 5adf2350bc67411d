/*
 * bench.c - `gneiss bench`: how fast a server answers.
 *
 * Loads a collection of documents that are all alike, lets clients work on it, and tells operations
 * a second and how long they took.  Every answer is checked; a wrong one is an error.
 */
#include "tools/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/benchrun.h"

#define CLIENTS_MOST  10000
#define PIPELINE_MOST 1000
#define DOCS_MOST     1000000000
#define DATABASE      "bench"
#define COLLECTION    "bench"

static const char *uri_option = "mongodb://127.0.0.1", *tenant_option = "_system", *user_option,
                  *password_option, *collection_option = COLLECTION, *workload_option = "get",
                  *clients_option = "1", *pipeline_option = "1", *docs_option = "100000",
                  *size_option = "small", *seconds_option = "5", *count_option = "0",
                  *idle_option = "0", *seed_option = "1", *durable_option = "on";
static bool load_only_option, no_load_option, json_option, quiet_option;

/* The parts of scheme://[user[:password]@]host[:port][/database]; they point into `room`. */
static struct {
    char room[512], address[320];
    const char *scheme, *user, *password, *database;
} uri;

static int
usage(const char *what, const char *word)
{
    (void)cli_fail("%s '%s'; see `gneiss help bench`", what, word);
    return CLI_USAGE;
}

/* %3a and its like, in place. */
static void
decode(char *text)
{
    char *to = text;

    for (const char *from = text; *from != '\0'; to++) {
        unsigned byte;

        if (*from == '%' && sscanf(from + 1, "%2x", &byte) == 1 && byte != 0) {
            *to = (char)byte;
            from += 3;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

static void
cut_credentials(char *text)
{
    char *colon = strchr(text, ':');

    if (colon != NULL) {
        *colon = '\0';
        uri.password = colon + 1;
        decode(colon + 1);
    }
    uri.user = text;
    decode(text);
}

static bool
parse_uri(const char *text)
{
    const struct benchwire_language *language;
    char *host, *slash, *at;

    if (snprintf(uri.room, sizeof uri.room, "%s", text) >= (int)sizeof uri.room)
        return false;
    host = strstr(uri.room, "://");
    if (host == NULL)
        return false;
    *host = '\0';
    host += 3;
    uri.scheme = uri.room;
    language = benchwire_language(uri.scheme);
    if (language == NULL)
        return false;
    at = strrchr(host, '@');
    if (at != NULL) {
        *at = '\0';
        cut_credentials(host);
        host = at + 1;
    }
    slash = strchr(host, '/');
    if (slash != NULL)
        *slash++ = '\0';
    uri.database = slash != NULL && slash[0] != '\0' ? slash : DATABASE;
    if (!net_address_valid(host))
        (void)snprintf(uri.address, sizeof uri.address, "%s:%u", host, language->port);
    else
        (void)snprintf(uri.address, sizeof uri.address, "%s", host);
    return net_address_valid(uri.address);
}

/* ---- options ---- */

static bool
take_number(const char *text, const char *what, long least, long most, long *number)
{
    if (!cli_number(text, what, number))
        return false;
    if (*number >= least && *number <= most)
        return true;
    (void)cli_fail("%s must be between %ld and %ld", what, least, most);
    return false;
}

static bool
take_size(size_t *size)
{
    static const struct {
        const char *name;
        size_t size;
    } sizes[] = { { "small", 0 }, { "medium", 500 }, { "large", 4096 } };
    long number;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (strcmp(size_option, sizes[i].name) == 0) {
            *size = sizes[i].size;
            return true;
        }
    if (!take_number(size_option, "--size", BENCHDOC_SIZE_LEAST, (long)BENCHDOC_SIZE_MOST, &number))
        return false;
    *size = (size_t)number;
    return true;
}

static bool
take_seconds(struct benchrun *run)
{
    char *end;

    run->seconds = strtod(seconds_option, &end);
    if (seconds_option[0] != '\0' && *end == '\0' && run->seconds > 0 && run->seconds < 1e6)
        return true;
    (void)cli_fail("--seconds must be a number above 0, not '%s'", seconds_option);
    return false;
}

static bool
take_place(struct benchwire *wire)
{
    if (!parse_uri(uri_option)) {
        (void)usage("no address that can be used:", uri_option);
        return false;
    }
    wire->language = benchwire_language(uri.scheme);
    wire->place = (struct benchwire_place){ .address = uri.address,
        .tenant = tenant_option,
        .user = uri.user != NULL ? uri.user : user_option,
        .password = uri.password != NULL ? uri.password : password_option,
        .database = uri.database,
        .collection = collection_option,
        .durable = strcmp(durable_option, "off") != 0 };
    if (strcmp(durable_option, "on") != 0 && strcmp(durable_option, "off") != 0) {
        (void)usage("--durable must be on or off, not", durable_option);
        return false;
    }
    if (!wire->place.durable && !wire->language->may_hurry) {
        (void)usage("what is acknowledged is always durable over", uri.scheme);
        return false;
    }
    if (wire->language->logs_in && (wire->place.user == NULL || wire->place.password == NULL)) {
        (void)usage("user and password are wanted by", uri.scheme);
        return false;
    }
    if (!wire->language->logs_in && wire->place.user != NULL) {
        (void)usage("nobody logs in over", uri.scheme);
        return false;
    }
    return true;
}

static bool
take_options(struct benchrun *run, size_t *size)
{
    const struct benchplan_workload *workload = benchplan_find(workload_option);
    long clients, pipeline, idle, docs, count, seed;

    if (workload == NULL) {
        (void)usage("there is no workload", workload_option);
        return false;
    }
    if (!take_place(&run->wire) ||
        !take_number(clients_option, "--clients", 1, CLIENTS_MOST, &clients) ||
        !take_number(pipeline_option, "--pipeline", 1, PIPELINE_MOST, &pipeline) ||
        !take_number(idle_option, "--idle", 0, CLIENTS_MOST, &idle) ||
        !take_number(docs_option, "--docs", 1, DOCS_MOST, &docs) ||
        !take_number(count_option, "--count", 0, (long)1e15, &count) ||
        !take_number(seed_option, "--seed", 0, INT32_MAX, &seed) || !take_size(size) ||
        !take_seconds(run))
        return false;
    if (workload->index + workload->range > 0 && !run->wire.language->queries) {
        (void)cli_fail(
            "workload '%s' asks by an index, which the %s listener does not offer yet: use "
            "mongodb:// or json://",
            workload->name, run->wire.language->scheme);
        return false;
    }
    if (clients * pipeline >= BENCHPLAN_WINDOW) {
        (void)cli_fail("--clients times --pipeline must be below %d", BENCHPLAN_WINDOW);
        return false;
    }
    if (load_only_option && no_load_option) {
        (void)cli_fail("--load-only and --no-load exclude each other");
        return false;
    }
    run->clients = (unsigned)clients;
    run->pipeline = workload->connects ? 1 : (unsigned)pipeline;
    run->idle = (unsigned)idle;
    run->count = (uint64_t)count;
    run->quiet = quiet_option;
    benchplan_init(&run->wire.plan, workload, (uint64_t)docs, (uint64_t)seed);
    return true;
}

/* ---- telling ---- */

static double
per_second(const struct benchrun *run, uint64_t number)
{
    return run->took_secs > 0 ? (double)number / run->took_secs : 0;
}

static void
tell(const struct benchrun *run)
{
    const struct benchtally *tally = &run->tally;

    (void)printf("%s over %s: %u clients, pipeline %u, %ju documents of %zu bytes%s\n",
        run->wire.plan.workload->name, run->wire.language->scheme, run->clients, run->pipeline,
        (uintmax_t)run->wire.plan.docs, run->wire.doc.json.size,
        run->wire.place.durable ? "" : ", not durable");
    (void)printf("  %ju operations in %.2f s: %.0f/s", (uintmax_t)run->done, run->took_secs,
        per_second(run, run->done));
    if (run->documents > 0)
        (void)printf(", %.0f documents/s", per_second(run, run->documents));
    (void)printf("\n  us: mean %.1f, p50 %.1f, p90 %.1f, p99 %.1f, p99.9 %.1f, most %.1f\n",
        benchtally_mean_us(tally), benchtally_permille_us(tally, 500),
        benchtally_permille_us(tally, 900), benchtally_permille_us(tally, 990),
        benchtally_permille_us(tally, 999), (double)tally->most / 1000);
}

static void
tell_json(const struct benchrun *run)
{
    const struct benchtally *tally = &run->tally;

    (void)printf("{\"protocol\":\"%s\",\"workload\":\"%s\",\"clients\":%u,\"pipeline\":%u,"
                 "\"idle\":%u,\"docs\":%ju,\"document_bytes\":%zu,\"durable\":%s,",
        run->wire.language->scheme, run->wire.plan.workload->name, run->clients, run->pipeline,
        run->idle, (uintmax_t)run->wire.plan.docs, run->wire.doc.json.size,
        run->wire.place.durable ? "true" : "false");
    (void)printf("\"seconds\":%.6f,\"ops\":%ju,\"errors\":%ju,\"ops_per_sec\":%.1f,"
                 "\"docs_per_sec\":%.1f,",
        run->took_secs, (uintmax_t)run->done, (uintmax_t)run->errors, per_second(run, run->done),
        per_second(run, run->documents));
    (void)printf("\"mean_us\":%.2f,\"p50_us\":%.2f,\"p90_us\":%.2f,\"p95_us\":%.2f,"
                 "\"p99_us\":%.2f,\"p999_us\":%.2f,\"max_us\":%.2f}\n",
        benchtally_mean_us(tally), benchtally_permille_us(tally, 500),
        benchtally_permille_us(tally, 900), benchtally_permille_us(tally, 950),
        benchtally_permille_us(tally, 990), benchtally_permille_us(tally, 999),
        (double)tally->most / 1000);
}

static err_t
load_and_work(struct benchrun *run)
{
    const struct benchplan_workload *workload = run->wire.plan.workload;

    if (!no_load_option)
        TRY_RETURN(benchrun_load(run, workload->index > 0 || workload->range > 0));
    if (load_only_option && !json_option)
        (void)printf("%ju documents of %zu bytes loaded\n", (uintmax_t)run->wire.plan.docs,
            run->wire.doc.json.size);
    if (load_only_option)
        return OK;
    TRY_RETURN(benchrun_work(run));
    if (json_option)
        tell_json(run);
    else
        tell(run);
    return OK;
}

static int
run(int count, char **word)
{
    static struct benchrun run; /* too large for the stack */
    size_t size;
    err_t err;
    int code = CLI_OK;

    (void)count;
    (void)word;
    if (!take_options(&run, &size))
        return CLI_USAGE;
    err = benchwire_init(&run.wire, size);
    if (err == OK)
        err = load_and_work(&run);
    if (err != OK && run.errors == 0)
        code = cli_fail("bench: %s", err_message());
    else if (err != OK)
        code = cli_fail("bench: %s; the first wrong answer was: %s", err_message(), run.why);
    else if (run.errors > 0)
        code = cli_fail("bench: %ju of %ju answers were wrong; the first: %s",
            (uintmax_t)run.errors, (uintmax_t)run.done, run.why);
    benchwire_fini(&run.wire);
    return code;
}

static const struct cli_option options[] = {
    { "uri", 'u', "URI",
        "SCHEME://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE] (default "
        "mongodb://127.0.0.1)",
        &uri_option, NULL },
    { "user", '\0', "NAME", "who logs in (text only)", &user_option, NULL },
    { "password", '\0', "WORD", "and with what", &password_option, NULL },
    { "tenant", '\0', "NAME", "and where (default _system)", &tenant_option, NULL },
    { "collection", '\0', "NAME", "dropped and loaded (default " COLLECTION ")", &collection_option,
        NULL },
    { "workload", 'w', "NAME", "see below (default get)", &workload_option, NULL },
    { "clients", 'c', "N", "connections that work (default 1)", &clients_option, NULL },
    { "pipeline", 'P', "N", "requests a client sends together (default 1)", &pipeline_option,
        NULL },
    { "idle", '\0', "N", "connections beside that say nothing (default 0)", &idle_option, NULL },
    { "docs", 'n', "N", "documents to load (default 100000)", &docs_option, NULL },
    { "size", 's', "SIZE", "of their text: small (51), medium (500), large (4096) or bytes",
        &size_option, NULL },
    { "seconds", 't', "SECS", "how long (default 5)", &seconds_option, NULL },
    { "count", '\0', "N", "instead: how many operations", &count_option, NULL },
    { "durable", '\0', "on|off", "are writes on disk when they are acknowledged (default on)",
        &durable_option, NULL },
    { "load-only", '\0', NULL, "make and load the collection, and end", NULL, &load_only_option },
    { "no-load", '\0', NULL, "work on the collection that an earlier run loaded", NULL,
        &no_load_option },
    { "seed", '\0', "N", "of the random choices (default 1)", &seed_option, NULL },
    { "json", 'j', NULL, "the result as one line of JSON", NULL, &json_option },
    { "quiet", 'q', NULL, "no progress bar", NULL, &quiet_option },
};

const struct cli_verb bench_verb = { .name = "bench",
    .arguments = "[--uri URI] [--workload NAME] [--clients N] [options]",
    .summary = "measure how fast a server answers",
    .details =
        "SCHEME is mongodb, text or json.  The collection is dropped, and loaded with documents\n"
        "  {\"_id\":7,\"active\":true,\"age\":42,\"name\":\"user-000000000007\"}\n"
        "of which every ten have a name in common; larger ones have tags and text besides.\n\n"
        "  get, update, delete   one document by its key; keys evenly at random (delete: in "
        "order)\n"
        "  insert                one new document\n"
        "  scan                  100 documents in the order of their keys\n"
        "  index, range          10 documents of one name, 260 of 26 names, by an index on it\n"
        "                        (not over text: its listener has no QUERY yet)\n"
        "  mixed                 80 % get, 10 % update, 10 % insert\n"
        "  connect               connect, get, close\n"
        "  ycsb-a … ycsb-f       the core workloads of YCSB (Cooper et al. 2010), zipfian keys by\n"
        "                        the method of Gray et al. 1994\n\n"
        "Every answer is checked; wrong or refused ones are errors, and the exit status is 1.",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .words_most = 0,
    .run = run };
