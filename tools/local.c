/*
 * local.c - the text protocol without a connection.
 */
#include "tools/local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/command/text_run.h"
#include "base/log.h"
#include "client/embed.h"
#include "client/gneiss.h"

#define REPLY_MAX ((size_t)1 << 30)

struct local {
    struct gneiss *db;
    struct gneiss_session *session;
    struct buf reply;
    struct text_run run;
    bool running; /* `run` was made */
    char tenant[65];
    struct access_grant grant;
    struct access_principal principal;
};

static err_t
keep_all(void *context)
{
    (void)context; /* the whole reply stays in memory */
    return OK;
}

static err_t
begin(struct local *local, const char *data_dir)
{
    const struct gneiss_options options = {
        .create = true, .tenant = local->tenant, .log_fd = STDERR_FILENO
    };
    struct gneiss_error error;

    local->db = gneiss_open(data_dir, &options, &error);
    if (local->db == NULL)
        return err_set(ERR_OPERATION_FAILED, "%s", error.message);
    local->session = gneiss_session_open(local->db, &error);
    if (local->session == NULL)
        return err_set(ERR_OPERATION_FAILED, "%s", error.message);
    log_setup(
        LOG_FORMAT_TEXT, LOG_ERROR, STDERR_FILENO); /* refusals are shown by the shell itself */
    TRY_RETURN(text_run_init(&local->run, local->db->config, &local->reply, keep_all, NULL));
    local->running = true;
    local->grant =
        (struct access_grant){ .role = ACCESS_TENANT_ADMIN, .scope = { ACCESS_TENANT, "", "" } };
    local->principal = (struct access_principal){
        .tenant = local->tenant, .name = "owner", .grant = &local->grant, .grant_count = 1
    };
    local->run.principal = &local->principal;
    local->run.valid_until_ms = INT64_MAX;
    return OK;
}

err_t
local_open(struct local **made, const char *data_dir, const char *tenant)
{
    struct local *local = calloc(1, sizeof *local);
    err_t err;

    if (local == NULL)
        return err_set(ERR_MEMORY, "out of memory");
    local->reply = buf_init(REPLY_MAX);
    (void)snprintf(local->tenant, sizeof local->tenant, "%s", tenant);
    err = begin(local, data_dir);
    if (err == OK) {
        *made = local;
    } else {
        char why[512];

        (void)snprintf(why, sizeof why, "%s", err_message());
        (void)!local_close(local);
        (void)err_set(err, "%s", why);
    }
    return err;
}

err_t
local_close(struct local *local)
{
    struct gneiss_error error = { .code = 0 };

    if (local->running)
        text_run_fini(&local->run);
    gneiss_session_close(local->session);
    if (local->db != NULL)
        (void)gneiss_close(local->db, &error);
    buf_fini(&local->reply);
    free(local);
    return error.code == 0 ? OK : err_set(ERR_OPERATION_FAILED, "%s", error.message);
}

static err_t
run_line(struct local *local, struct bytes line)
{
    struct textcmd_refusal refusal;
    struct textcmd command;

    if (!textcmd_parse(line, &command, &refusal))
        return textreply_refusal(&local->reply, &refusal);
    if (!text_run_knows(command.verb))
        return text_run_unknown(&local->run, &command, line);
    return text_run_command(&local->run, &local->session->op, &command);
}

err_t
local_ask(struct local *local, struct bytes line, struct buf *out)
{
    err_t err;

    buf_clear(&local->reply);
    TRY_RETURN(embed_enter(local->session, "shell"));
    err = run_line(local, line);
    (void)embed_leave(local->session, err);
    TRY_RETURN(err);
    return buf_append(out, local->reply.data, local->reply.size);
}
