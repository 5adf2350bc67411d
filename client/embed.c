/*
 * embed.c - the house in one process: sessions are its backends, threads its workers.
 *
 * STATES of the process:  closed ──embed_open──▶ open ──embed_close──▶ closed
 *
 * INVARIANTS
 *   M1  `taken` is true from before the directory is locked until after it is unlocked, so there
 *       is one segment at most.
 *   M2  Workers have ended before the last checkpoint begins, and sessions before the workers.
 *   M3  Between calls a thread's proc_self may point to the slot of a session that another thread
 *       uses, that was closed, or of a directory that was closed: it is compared, never followed,
 *       and replaced before the next call, or, if the slot is the same again, true again.
 *   M4  A thread's private copies (definitions, plans' patterns) are of the opening that
 *       embed_opening names: two directories may have the same names with other contents.
 *
 * IF THE PROCESS DIES at any step, the directory is as a server's after kill -9: the lock is the
 * kernel's, the segment is its own memory, and the next open recovers from the log.
 */
#include "client/embed.h"

#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/command/verb_statement.h"
#include "backend/query/regexcache.h"
#include "backend/query/run.h"
#include "base/clock.h"
#include "base/doc/bsonwalk.h"
#include "base/log.h"
#include "shmem/interrupt.h"
#include "storage/collection/auxiliary.h"
#include "storage/collection/engine.h"
#include "storage/txn/txn.h"

#define SESSIONS_DEFAULT 64
#define DEPTH_MAX        200 /* levels of a document: more than any of the three protocols lets in */

static atomic_flag taken = ATOMIC_FLAG_INIT;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_key;
static unsigned openings; /* guard: taken */

_Thread_local unsigned embed_opening;

struct worker_kind {
    const char *title;
    enum proc_kind kind;
    void (*run)(void);
};
static const struct worker_kind worker_kinds[EMBED_WORKERS] = {
    { "gneiss check", PROC_CHECKPOINTER, auxiliary_checkpointer },
    { "gneiss wal", PROC_WAL_WRITER, auxiliary_wal_writer },
    { "gneiss buffers", PROC_BUFFER_WRITER, auxiliary_buffer_writer },
    { "gneiss vacuum", PROC_AUTOVACUUM, auxiliary_autovacuum },
};

int
embed_error(struct gneiss_error *error, err_t err)
{
    int code = err_last_code();

    if (code == 0)
        code = err_mongo_code(err);
    if (code == 0)
        code = GNEISS_INTERNAL;
    if (error != NULL) {
        error->code = code;
        (void)snprintf(error->name, sizeof error->name, "%s", err_last_name());
        (void)snprintf(error->message, sizeof error->message, "%s", err_message());
    }
    return code;
}

err_t
embed_refuse_busy(void)
{
    err_t err = err_set(ERR_ILLEGAL_OPERATION, "the session is in use by another thread");

    err_set_mongo(GNEISS_BUSY, "SessionBusy");
    return err;
}

err_t
embed_check(struct gneiss_bson bson, bool may_be_none)
{
    static const struct bsonwalk_limits limits = { BSONVALUE_INTERNAL_SIZE_MAX, DEPTH_MAX };

    if (bson.size == 0 && may_be_none)
        return OK;
    if (bson.data == NULL)
        return err_set(ERR_INVALID_BSON, "a document is missing");
    return bsonwalk_validate(embed_bytes(bson), &limits);
}

/* ---- threads ---- */

/* Private memory of the rooms beneath, when a thread that used sessions ends. */
static void
forget_thread(void *unused)
{
    (void)unused;
    catalog_forget_private();
    txn_forget_private();
    verb_statement_forget();
    regexcache_forget();
    run_forget_private();
}

static void
make_thread_key(void)
{
    if (pthread_key_create(&thread_key, forget_thread) != 0)
        log_warn("threads that end will not give back their private memory");
}

/* M4. */
static void
know_thread(unsigned opening)
{
    if (embed_opening == opening)
        return;
    (void)pthread_once(&once, make_thread_key);
    (void)pthread_setspecific(thread_key, &openings); /* anything but NULL */
    if (embed_opening != 0)
        forget_thread(NULL);
    embed_opening = opening;
}

void
embed_switch(struct gneiss_session *session)
{
    know_thread(session->opening);
    proc_use(session->proc);
}

void
embed_set_deadline(struct gneiss_session *session)
{
    session->op.deadline_ns = clock_now_ns() + (int64_t)session->timeout_ms * 1000000;
}

static void
use_none(void)
{
    if (proc_self != NULL)
        proc_use(NULL);
}

err_t
embed_attach(struct gneiss_session *session)
{
    session->opening = session->db->opening;
    know_thread(session->opening);
    use_none();
    TRY_RETURN(proc_attach(PROC_EMBEDDED));
    proc_set_state(PROC_IDLE);
    session->proc = proc_self;
    proc_use(NULL);
    return OK;
}

void
embed_detach(struct gneiss_session *session)
{
    proc_use(session->proc);
    proc_detach();
}

/* ---- workers ---- */

struct worker_start {
    struct embed_worker *worker;
    const struct worker_kind *kind;
    sem_t ready;
};

static void *
run_worker(void *context)
{
    struct worker_start *start = context;
    const struct worker_kind *kind = start->kind;
    err_t err = proc_attach(kind->kind);

    log_context.process = kind->title;
    start->worker->err = err;
    start->worker->proc = proc_self;
    if (err != OK)
        log_error("%s", err_message());
    (void)sem_post(&start->ready); /* `start` is gone from here on */
    if (err != OK)
        return NULL;
    kind->run();
    proc_detach();
    forget_thread(NULL);
    return NULL;
}

static err_t
start_worker(struct embed_worker *worker, const struct worker_kind *kind)
{
    struct worker_start start = { .worker = worker, .kind = kind };
    sigset_t all, before;
    int failure;

    if (sem_init(&start.ready, 0, 0) != 0)
        return err_set_errno("could not make a semaphore");
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    failure = pthread_create(&worker->thread, NULL, run_worker, &start);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure != 0) {
        (void)sem_destroy(&start.ready);
        return err_set(
            ERR_MEMORY, "could not start the thread '%s': %s", kind->title, strerror(failure));
    }
    worker->started = true;
    (void)pthread_setname_np(worker->thread, kind->title);
    while (sem_wait(&start.ready) != 0)
        ;
    (void)sem_destroy(&start.ready);
    if (worker->err != OK)
        return err_set(worker->err, "the thread '%s' found no place", kind->title);
    return OK;
}

/* M2. */
static void
stop_workers(struct gneiss *db)
{
    for (unsigned i = 0; i < EMBED_WORKERS; i++)
        if (db->worker[i].started && db->worker[i].proc != NULL)
            interrupt_raise(db->worker[i].proc, INTERRUPT_TERMINATE);
    for (unsigned i = 0; i < EMBED_WORKERS; i++) {
        if (db->worker[i].started)
            (void)pthread_join(db->worker[i].thread, NULL);
        db->worker[i].started = false;
    }
}

/* ---- opening ---- */

static err_t
set_number(struct config *config, const char *key, uint64_t number)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%ju", (uintmax_t)number);
    return config_set(config, key, text, "gneiss_options");
}

static err_t
set_text(struct config *config, const char *setting)
{
    const char *equals = strchr(setting, '=');
    char key[128];

    if (equals == NULL || (size_t)(equals - setting) >= sizeof key)
        return err_set(ERR_CONFIG, "a setting is key=value, not '%s'", setting);
    memcpy(key, setting, (size_t)(equals - setting));
    key[equals - setting] = '\0';
    return config_set(config, key, equals + 1, "gneiss_options");
}

static err_t
make_config(const struct gneiss_options *options, struct config **made)
{
    struct config *config = config_create();
    err_t err;

    if (config == NULL)
        return ERR_MEMORY;
    TRY(set_number(config, "server.max_connections",
        options->sessions_max > 0 ? options->sessions_max : SESSIONS_DEFAULT));
    if (options->shared_buffers > 0)
        TRY(set_number(config, "memory.shared_buffers", options->shared_buffers));
    if (options->page_size > 0)
        TRY(set_number(config, "storage.page_size", options->page_size));
    for (size_t i = 0; options->settings != NULL && options->settings[i] != NULL; i++)
        TRY(set_text(config, options->settings[i]));
    TRY(config_check(config));
    *made = config;
    config = NULL;
out:
    config_destroy(config);
    return err;
}

static err_t
open_engine(struct gneiss *db, const char *directory, const struct gneiss_options *options)
{
    struct engine_info info;
    bool opened = false;
    err_t err;

    if (!engine_exists(directory)) {
        if (!options->create)
            return err_set(ERR_IO, "'%s' holds no database", directory);
        TRY_RETURN(engine_create(directory, (uint32_t)db->config->page_size));
    }
    TRY(engine_open(db->config, directory, NULL, 0, 0, false));
    opened = true;
    use_none();
    know_thread(db->opening); /* before recovery reads the catalog */
    TRY(engine_recover(db->config, &info));
    auxiliary_configure(db->config, NULL);
    txn_set_deadlock_timeout_ms(db->config->deadlock_timeout_ms);
    run_configure((size_t)db->config->work_mem);
    for (unsigned i = 0; i < EMBED_WORKERS; i++)
        TRY(start_worker(&db->worker[i], &worker_kinds[i]));
out:
    if (err != OK && opened) {
        stop_workers(db);
        engine_release();
    }
    return err;
}

err_t
embed_open(struct gneiss *db, const char *directory, const struct gneiss_options *options)
{
    err_t err;

    if (atomic_flag_test_and_set(&taken))
        return err_set(ERR_IN_USE,
            "this process has a data directory open already; one at a time is possible");
    db->opening = ++openings;
    TRY(make_config(options, &db->config));
    log_setup(LOG_FORMAT_TEXT, LOG_WARN, options->log_fd > 0 ? options->log_fd : -1);
    TRY(open_engine(db, directory, options));
out:
    if (err != OK) {
        config_destroy(db->config);
        db->config = NULL;
        atomic_flag_clear(&taken);
    }
    return err;
}

err_t
embed_close(struct gneiss *db)
{
    err_t err;

    use_none();
    stop_workers(db);
    err = engine_close();
    engine_release();
    config_destroy(db->config);
    atomic_flag_clear(&taken);
    return err;
}
