/*
 * daemon.c - starting, stopping and looking at the server of a data directory.
 *
 * The server to talk to is whoever holds the directory's lock; only a gneissd is ever sent a
 * signal, never a program that opened the directory by the library.  A server is ready when it
 * listens: it binds before recovery, and begins to listen when commands can be served.
 */
#include "tools/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/doc/bsonwalk.h"
#include "base/doc/jsonparse.h"
#include "base/net.h"
#include "client/link.h"
#include "tools/holder.h"

#define POLL_US       20000
#define WAIT_DEFAULT  "300"
#define ANSWER_MS     2000
#define LOG_TAIL_SIZE 2000
#define PATH_SIZE     4200

static const char *data_option, *config_option, *log_option, *wait_option = WAIT_DEFAULT;
static bool immediate;

/* The directory: the option, or what the configuration says. */
static bool
data_dir(char path[PATH_SIZE], struct config **config)
{
    if (!cli_config(config_option, config))
        return false;
    (void)snprintf(
        path, PATH_SIZE, "%s", data_option != NULL ? data_option : (*config)->server_data_dir);
    return true;
}

static bool
wait_ms(int64_t *ms)
{
    long secs;

    if (!cli_number(wait_option, "--wait", &secs))
        return false;
    *ms = (int64_t)secs * 1000;
    return true;
}

/* ---- what listens where ---- */

static const char *
protocol_at(const struct config *config, const char *address)
{
    const struct {
        const char *bind, *name;
    } known[] = {
        { config->server_bind, "text" },
        { config->json_bind, "json" },
        { config->mongo_bind, "mongo" },
        { config->http_bind, "http" },
    };
    const char *port = strrchr(address, ':');

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const char *bound = strrchr(known[i].bind, ':');

        if (bound != NULL && port != NULL && strcmp(bound, port) == 0)
            return known[i].name;
    }
    return "tcp";
}

static void
print_listeners(const struct config *config, pid_t pid)
{
    char address[HOLDER_LISTENERS_MAX][HOLDER_ADDRESS_MAX];
    unsigned count = holder_listeners(pid, address);

    for (unsigned i = 0; i < count; i++)
        (void)printf("  %-6s %s\n", protocol_at(config, address[i]), address[i]);
}

/* ---- start ---- */

/* gneissd stands beside this program. */
static bool
server_program(char path[PATH_SIZE])
{
    ssize_t size = readlink("/proc/self/exe", path, PATH_SIZE - 16);
    char *slash;

    if (size <= 0)
        return false;
    path[size] = '\0';
    slash = strrchr(path, '/');
    if (slash == NULL)
        return false;
    memcpy(slash + 1, "gneissd", 8);
    return access(path, X_OK) == 0;
}

static void
run_server(const char *program, const char *data, int log_fd, int count, char **word)
{
    char **arguments = calloc((size_t)count + 8, sizeof *arguments);
    int null_fd = open("/dev/null", O_RDONLY);
    union {
        const char *constant;
        char *variable;
    } data_word = { data }, config_word = { config_option }, program_word = { program };
    char data_flag[] = "--data", config_flag[] = "--config";
    int n = 0;

    if (arguments == NULL || null_fd < 0)
        _exit(127);
    arguments[n++] = program_word.variable;
    arguments[n++] = data_flag;
    arguments[n++] = data_word.variable;
    if (config_option != NULL) {
        arguments[n++] = config_flag;
        arguments[n++] = config_word.variable;
    }
    for (int i = 0; i < count; i++)
        arguments[n++] = word[i];
    (void)setsid();
    (void)dup2(null_fd, STDIN_FILENO);
    (void)dup2(log_fd, STDOUT_FILENO);
    (void)dup2(log_fd, STDERR_FILENO);
    (void)execv(program, arguments);
    _exit(127);
}

/* What the server said since it was started, when it did not come up. */
static void
print_log_tail(const char *path, off_t from)
{
    char text[LOG_TAIL_SIZE + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    ssize_t got;

    if (fd < 0)
        return;
    if (end - from > LOG_TAIL_SIZE)
        from = end - LOG_TAIL_SIZE;
    got = pread(fd, text, LOG_TAIL_SIZE, from);
    (void)close(fd);
    if (got > 0)
        (void)fwrite(text, 1, (size_t)got, stderr);
}

/* The child that was started is ready when it listens. */
static int
await_ready(const struct config *config, pid_t pid, const char *log_path, off_t log_start)
{
    char address[HOLDER_LISTENERS_MAX][HOLDER_ADDRESS_MAX];
    int64_t ms;

    if (!wait_ms(&ms))
        ms = 0;
    for (int64_t until = clock_now_ns() + ms * 1000000;; (void)usleep(POLL_US)) {
        int status;

        if (waitpid(pid, &status, WNOHANG) == pid) {
            print_log_tail(log_path, log_start);
            return cli_fail("the server did not start; its log is %s", log_path);
        }
        if (holder_listeners(pid, address) > 0) {
            (void)printf("gneissd is running, pid %ld, log %s\n", (long)pid, log_path);
            print_listeners(config, pid);
            return CLI_OK;
        }
        if (clock_now_ns() >= until)
            return cli_fail(
                "the server (pid %ld) is alive but not ready after %s s (a recovery may "
                "take long); its log is %s",
                (long)pid, wait_option, log_path);
    }
}

static int
start_in(const struct config *config, const char *data, int count, char **word)
{
    char program[PATH_SIZE], log_path[PATH_SIZE + 16];
    struct holder holder;
    off_t log_start;
    int log_fd;
    pid_t pid;

    if (!server_program(program))
        return cli_fail("could not find gneissd beside this program");
    if (mkdir(data, 0700) != 0 && errno != EEXIST)
        return cli_fail("could not make '%s': %s", data, strerror(errno));
    if (holder_find(data, &holder) && holder.held)
        return cli_fail("'%s' is in use by process %ld%s", data, (long)holder.pid,
            holder.is_server ? ", a running server" : "");
    (void)snprintf(log_path, sizeof log_path, "%s%s", log_option != NULL ? log_option : data,
        log_option != NULL ? "" : "/gneiss.log");
    log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        return cli_fail("could not open the log '%s': %s", log_path, strerror(errno));
    log_start = lseek(log_fd, 0, SEEK_END);
    (void)fflush(stdout);
    pid = fork();
    if (pid == 0)
        run_server(program, data, log_fd, count, word);
    (void)close(log_fd);
    if (pid < 0)
        return cli_fail("could not start a process: %s", strerror(errno));
    return await_ready(config, pid, log_path, log_start);
}

static int
start(int count, char **word)
{
    struct config *config;
    char path[PATH_SIZE];
    int code;

    if (!data_dir(path, &config))
        return CLI_FAILED;
    code = start_in(config, path, count, word);
    config_destroy(config);
    return code;
}

/* ---- stop and reload ---- */

/* The running server; false: there is none, told on stderr. */
static bool
find_server(const char *path, struct holder *holder, int *code)
{
    *code = CLI_NOT_RUNNING;
    if (!holder_find(path, holder)) {
        (void)cli_fail("could not look at '%s': %s", path, strerror(errno));
        *code = CLI_FAILED;
    } else if (!holder->held) {
        (void)cli_fail("no server is running on '%s'", path);
    } else if (holder->pid <= 0) {
        (void)cli_fail(
            "'%s' is in use, but '%s/lock', which named the process, was removed: end the "
            "server by its process id",
            path, path);
        *code = CLI_FAILED;
    } else if (!holder->is_server) {
        (void)cli_fail("'%s' is held by process %ld, which is no gneissd", path, (long)holder->pid);
        *code = CLI_FAILED;
    } else {
        *code = CLI_OK;
    }
    return *code == CLI_OK;
}

static int
stop_in(const char *path)
{
    struct holder holder;
    int64_t ms;
    int code;

    if (!wait_ms(&ms))
        return CLI_USAGE;
    if (!find_server(path, &holder, &code))
        return code;
    if (kill(holder.pid, immediate ? SIGQUIT : SIGTERM) != 0)
        return cli_fail("could not signal process %ld: %s", (long)holder.pid, strerror(errno));
    for (int64_t until = clock_now_ns() + ms * 1000000;; (void)usleep(POLL_US)) {
        struct holder now;

        if (!holder_find(path, &now) || !now.held) {
            (void)printf("stopped\n");
            return CLI_OK;
        }
        if (clock_now_ns() >= until)
            return cli_fail(
                "process %ld has not stopped after %s s", (long)holder.pid, wait_option);
    }
}

static int
stop(int count, char **word)
{
    struct config *config;
    char path[PATH_SIZE];

    (void)count;
    (void)word;
    if (!data_dir(path, &config))
        return CLI_FAILED;
    config_destroy(config);
    return stop_in(path);
}

static int
reload(int count, char **word)
{
    struct config *config;
    struct holder holder;
    char path[PATH_SIZE];
    int code;

    (void)count;
    (void)word;
    if (!data_dir(path, &config))
        return CLI_FAILED;
    config_destroy(config);
    if (!find_server(path, &holder, &code))
        return code;
    if (kill(holder.pid, SIGHUP) != 0)
        return cli_fail("could not signal process %ld: %s", (long)holder.pid, strerror(errno));
    (void)printf("process %ld rereads its configuration\n", (long)holder.pid);
    return CLI_OK;
}

/* ---- status ---- */

static void
print_figures(struct bytes answer)
{
    struct buf out = buf_init((size_t)1 << 26);
    struct bsonvalue data, metrics, value;
    struct bytes document;
    int64_t number;

    if (jsonparse_document(&out, answer, &jsonparse_lines, &document) != OK ||
        !bsonwalk_get(document, "data", &data) || data.type != BSONTYPE_DOCUMENT) {
        buf_fini(&out);
        return;
    }
    if (bsonwalk_get(data.raw, "version", &value) && value.type == BSONTYPE_STRING)
        (void)printf("version %.*s\n", (int)bsonvalue_string(&value).size,
            (const char *)bsonvalue_string(&value).data);
    if (bsonwalk_get(data.raw, "wal_lsn", &value) && bsonvalue_to_int64(&value, true, &number))
        (void)printf("end of the log %" PRId64 "\n", number);
    if (bsonwalk_get(data.raw, "metrics", &metrics) && metrics.type == BSONTYPE_DOCUMENT) {
        struct bsonwalk walk;

        if (bsonwalk_begin(&walk, metrics.raw) == OK)
            while (bsonwalk_next(&walk, &value))
                if (bsonvalue_to_int64(&value, true, &number))
                    (void)printf("  %-24.*s %" PRId64 "\n", (int)value.key.size,
                        (const char *)value.key.data, number);
    }
    buf_fini(&out);
}

/* Ask the JSON listener, where there is one and it trusts us. */
static void
ask_server(const struct config *config, pid_t pid)
{
    static const char request[] =
        "{\"request_id\":\"status\",\"command\":{\"type\":\"server_status\"}}";
    char address[HOLDER_LISTENERS_MAX][HOLDER_ADDRESS_MAX];
    unsigned count = holder_listeners(pid, address);

    for (unsigned i = 0; i < count; i++) {
        struct link link;
        struct bytes line;

        if (strcmp(protocol_at(config, address[i]), "json") != 0)
            continue;
        if (link_open(&link, address[i], ANSWER_MS) == OK &&
            link_send(&link, bytes_of(request)) == OK && link_read_line(&link, &line) == OK)
            print_figures(line);
        link_close(&link);
        return;
    }
}

static int
status_of(const struct config *config, const char *path)
{
    struct holder holder;

    if (!holder_find(path, &holder))
        return cli_fail("could not look at '%s': %s", path, strerror(errno));
    if (!holder.held) {
        (void)printf("not running (%s)\n", path);
        return CLI_NOT_RUNNING;
    }
    if (!holder.is_server) {
        (void)printf("'%s' is held by process %ld, which is no gneissd\n", path, (long)holder.pid);
        return CLI_OK;
    }
    (void)printf("running, pid %ld, for %" PRId64 " s, %ju KiB resident in the postmaster\n",
        (long)holder.pid, holder.uptime_secs, (uintmax_t)holder_memory_kib(holder.pid));
    print_listeners(config, holder.pid);
    ask_server(config, holder.pid);
    return CLI_OK;
}

static int
status(int count, char **word)
{
    struct config *config;
    char path[PATH_SIZE];
    int code;

    (void)count;
    (void)word;
    if (!data_dir(path, &config))
        return CLI_FAILED;
    code = status_of(config, path);
    config_destroy(config);
    return code;
}

/* ---- verbs ---- */

#define DATA_OPTION                                                                         \
    {                                                                                       \
        "data", 'd', "DIR", "data directory (default: server.data_dir)", &data_option, NULL \
    }
#define CONFIG_OPTION                                                                              \
    {                                                                                              \
        "config", 'c', "FILE", "configuration (gneiss.toml if there is one)", &config_option, NULL \
    }
#define WAIT_OPTION                                                                         \
    {                                                                                       \
        "wait", 'w', "SECONDS", "how long to wait for it (default 300)", &wait_option, NULL \
    }

static const struct cli_option start_options[] = {
    DATA_OPTION,
    CONFIG_OPTION,
    { "log", 'l', "FILE", "where its log goes (default: DIR/gneiss.log)", &log_option, NULL },
    WAIT_OPTION,
};
static const struct cli_option stop_options[] = {
    DATA_OPTION,
    CONFIG_OPTION,
    { "immediate", '\0', NULL, "at once; the next start recovers from the log", NULL, &immediate },
    WAIT_OPTION,
};
static const struct cli_option other_options[] = { DATA_OPTION, CONFIG_OPTION };

#define COUNT(options) (sizeof(options) / sizeof(options)[0])

const struct cli_verb daemon_start_verb = { .name = "start",
    .arguments = "[--data DIR] [--config FILE] [--log FILE] [flags of gneissd]",
    .summary = "start a server in the background, and wait until it can be used",
    .details = "All other flags are passed on to gneissd, which must stand beside this program;\n"
               "`gneissd --help` lists them.",
    .options = start_options,
    .option_count = COUNT(start_options),
    .passes_on = true,
    .run = start };
const struct cli_verb daemon_stop_verb = { .name = "stop",
    .arguments = "[--data DIR] [--immediate]",
    .summary = "stop the server of a data directory, and wait until it has ended",
    .details = "Exit code 3: none was running.",
    .options = stop_options,
    .option_count = COUNT(stop_options),
    .run = stop };
const struct cli_verb daemon_status_verb = { .name = "status",
    .arguments = "[--data DIR]",
    .summary = "is a server running, where does it listen, what has it done",
    .details = "Exit code 0: running; 3: not running.",
    .options = other_options,
    .option_count = COUNT(other_options),
    .run = status };
const struct cli_verb daemon_reload_verb = { .name = "reload",
    .arguments = "[--data DIR]",
    .summary = "let the server reread its configuration",
    .options = other_options,
    .option_count = COUNT(other_options),
    .run = reload };
