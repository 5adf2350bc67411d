/*
 * shell.c - `gneiss shell`: reading commands, from a terminal, a pipe or the command line.
 *
 * A terminal gets editing and a history (~/.gneiss_history, mode 0600, without lines that hold
 * passwords).
 */
#include "tools/shell.h"

#include <editline/readline.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/version.h"
#include "tools/relaxed.h"
#include "tools/shellrun.h"

#define HISTORY_LINES 1000
#define TIMEOUT_MS    60000
#define WORD_MAX      512

static const char *data_option = ".gneiss_shell_data", *eval_option, *host_option,
                  *port_option = "6380";
static const char *tenant_option, *user_option, *password_option;
static bool tls_option, no_tls_option, embedded_option;

/* ---- running ---- */

/* Commands with ; between them. */
static err_t
run_text(struct shellrun *run, const char *text, bool *good)
{
    struct bytes rest = bytes_of(text);

    *good = true;
    while (rest.size > 0 && !run->leaving) {
        size_t cut = relaxed_cut(rest, ';');
        bool well;

        TRY_RETURN(shellrun_command(run, (struct bytes){ rest.data, cut }, &well));
        *good = *good && well;
        cut += cut < rest.size;
        rest = (struct bytes){ rest.data + cut, rest.size - cut };
    }
    return OK;
}

/* ---- a terminal ---- */

static volatile sig_atomic_t interrupted; /* since the last prompt */

static void
on_interrupt(int signal)
{
    static const char text[] = "\nCtrl-C — use 'exit' to quit\n";
    int before = errno;

    (void)signal;
    interrupted = 1;
    (void)!write(STDOUT_FILENO, text, sizeof text - 1);
    errno = before;
}

static bool
holds_password(const char *line)
{
    return strcasestr(line, "password") != NULL || strcasestr(line, "passwd") != NULL ||
           strcasestr(line, "login") != NULL;
}

static bool
history_path(char path[4200])
{
    const char *home = getenv("HOME");

    if (home == NULL || home[0] == '\0')
        return false;
    (void)snprintf(path, 4200, "%s/.gneiss_history", home);
    return true;
}

static void
load_history(void)
{
    char path[4200];
    int fd;

    using_history();
    stifle_history(HISTORY_LINES);
    if (!history_path(path))
        return;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    (void)fchmod(fd, 0600);
    (void)close(fd);
    (void)read_history(path);
}

static void
save_history(void)
{
    char path[4200];

    if (history_path(path) && write_history(path) == 0)
        (void)chmod(path, 0600);
}

static int
run_terminal(struct shellrun *run)
{
    struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = SA_RESTART };
    err_t err = OK;

    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    load_history();
    while (err == OK && !run->leaving) {
        char prompt[300];
        char *line;
        bool good;

        (void)snprintf(prompt, sizeof prompt,
            run->database[0] != '\0' ? "gneiss [%s]> " : "gneiss> ", run->database);
        (void)fflush(stdout);
        interrupted = 0;
        line = readline(prompt);
        if (line == NULL && interrupted)
            continue; /* libedit gives up its line; the shell goes on */
        if (line == NULL)
            break;
        if (line[0] != '\0' && !holds_password(line))
            (void)add_history(line);
        err = run_text(run, line, &good);
        free(line);
    }
    save_history();
    return err == OK ? CLI_OK : cli_fail_err();
}

static int
run_pipe(struct shellrun *run)
{
    size_t capacity = 0;
    char *line = NULL;
    bool all = true;
    err_t err = OK;

    while (err == OK && !run->leaving && getline(&line, &capacity, stdin) >= 0) {
        bool good;

        err = run_text(run, line, &good);
        all = all && good;
    }
    free(line);
    if (err != OK)
        return cli_fail_err();
    return all ? CLI_OK : CLI_FAILED;
}

static int
run_commands(struct shellrun *run)
{
    bool good;

    if (eval_option != NULL) {
        if (run_text(run, eval_option, &good) != OK)
            return cli_fail_err();
        return good ? CLI_OK : CLI_FAILED;
    }
    return isatty(STDIN_FILENO) ? run_terminal(run) : run_pipe(run);
}

/* ---- opening ---- */

/* Ask on stderr, read from the terminal, without echo if it is a secret. */
static bool
ask_word(const char *what, bool secret, char room[WORD_MAX])
{
    FILE *terminal = fopen("/dev/tty", "re");
    struct termios before, silent;
    bool got;

    if (terminal == NULL) {
        (void)cli_fail("no %s was given, and there is no terminal to ask at", what);
        return false;
    }
    (void)fprintf(stderr, "%s: ", what);
    if (secret && tcgetattr(fileno(terminal), &before) == 0) {
        silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(fileno(terminal), TCSAFLUSH, &silent);
    }
    got = fgets(room, WORD_MAX, terminal) != NULL;
    if (secret) {
        (void)tcsetattr(fileno(terminal), TCSAFLUSH, &before);
        (void)fputc('\n', stderr);
    }
    (void)fclose(terminal);
    if (got)
        room[strcspn(room, "\r\n")] = '\0';
    return got;
}

/* Those missing are asked for. */
static bool
complete(const char *given, const char *what, bool secret, char room[WORD_MAX])
{
    if (given == NULL)
        return ask_word(what, secret, room);
    (void)snprintf(room, WORD_MAX, "%s", given);
    return true;
}

static err_t
log_in(struct shellrun *run, const char *tenant, const char *user, const char *password)
{
    struct link_reply reply;

    if (strpbrk(tenant, " \r\n") != NULL || strpbrk(user, " \r\n") != NULL ||
        strpbrk(password, "\r\n") != NULL)
        return err_set(ERR_BAD_VALUE, "a name or password holds a line's end or a space");
    TRY_RETURN(shellrun_ask(run, &reply, "LOGIN %s %s %s", tenant, user, password));
    explicit_bzero(run->request.data, run->request.size);
    if (reply.kind == LINK_ERROR)
        return err_set(
            ERR_AUTHENTICATION, "%.*s", (int)reply.text.size, (const char *)reply.text.data);
    return OK;
}

static err_t
connect_to(struct shellrun *run, const char *address)
{
    struct bytes banner;

    buf_fini(&run->link.in);
    TRY_RETURN(link_open(&run->link, address, TIMEOUT_MS));
    TRY_RETURN(link_read_line(&run->link, &banner));
    if (banner.size == 0 || banner.data[0] != '+')
        return err_set(ERR_PROTOCOL, "%s: %.*s", address,
            (int)(banner.size < 100 ? banner.size : 100), (const char *)banner.data);
    return OK;
}

static int
run_connected(struct shellrun *run)
{
    char address[320], tenant[WORD_MAX], user[WORD_MAX], password[WORD_MAX];
    bool asked;
    err_t err;

    if (tls_option && !no_tls_option)
        return cli_fail("this shell speaks no TLS");
    (void)snprintf(address, sizeof address, strchr(host_option, ':') != NULL ? "[%s]:%s" : "%s:%s",
        host_option, port_option);
    err = connect_to(run, address);
    if (err == OK) {
        asked = complete(tenant_option, "Tenant", false, tenant) &&
                complete(user_option, "User", false, user) &&
                complete(password_option, "Password", true, password);
        if (!asked)
            return CLI_FAILED;
        err = log_in(run, tenant, user, password);
        explicit_bzero(password, sizeof password);
    }
    if (err != OK) {
        (void)fprintf(stderr, "Connection failed: %s\n", err_message());
        return CLI_FAILED;
    }
    if (eval_option == NULL && isatty(STDIN_FILENO))
        (void)printf("Connected to Gneiss at %s (TLS: false)\nAuthenticated as %s@%s\n\n"
                     "gneiss shell v%s (connected mode)\nType 'help' for commands, 'exit' to "
                     "quit.\n\n",
            address, user, tenant, VERSION_TEXT);
    return run_commands(run);
}

static int
run_embedded(struct shellrun *run)
{
    int code;

    if (local_open(&run->local, data_option, tenant_option != NULL ? tenant_option : "_default") !=
        OK)
        return cli_fail_err();
    if (eval_option == NULL && isatty(STDIN_FILENO))
        (void)printf("gneiss shell v%s (embedded mode, %s)\nType 'help' for commands, 'exit' to "
                     "quit.\n\n",
            VERSION_TEXT, data_option);
    code = run_commands(run);
    if (local_close(run->local) != OK)
        code = cli_fail_err();
    return code;
}

static int
run_shell(int count, char **word)
{
    struct shellrun run;
    int code;

    (void)count;
    (void)word;
    shellrun_init(&run);
    code = host_option != NULL && !embedded_option ? run_connected(&run) : run_embedded(&run);
    shellrun_fini(&run);
    return code;
}

static const struct cli_option options[] = {
    { "data", 'd', "DIR", "embedded: the directory (default .gneiss_shell_data)", &data_option,
        NULL },
    { "eval", 'e', "COMMANDS", "run these, with ; between them, and leave", &eval_option, NULL },
    { "host", '\0', "HOST", "connect to a server's text listener", &host_option, NULL },
    { "port", 'p', "PORT", "default 6380", &port_option, NULL },
    { "tenant", '\0', "NAME", "embedded: default _default", &tenant_option, NULL },
    { "user", 'u', "NAME", "asked for when connecting", &user_option, NULL },
    { "password", '\0', "TEXT", "asked for without echo", &password_option, NULL },
    { "tls", '\0', NULL, "with TLS", NULL, &tls_option },
    { "no-tls", '\0', NULL, "without TLS", NULL, &no_tls_option },
    { "embedded", '\0', NULL, "open the directory even if --host is given", NULL,
        &embedded_option },
};

const struct cli_verb shell_verb = { .name = "shell",
    .arguments = "[--data DIR | --host HOST [--port PORT]] [--eval COMMANDS]",
    .summary = "talk to a server, or to a data directory that no server holds",
    .details = "db.users.insert({name: 'Ada'}), db.users.find() … ; `help` inside lists them.\n"
               "--eval: exit code 1 if a command failed.",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .run = run_shell };
