/*
 * gneiss_session.c - sessions.
 */
#include <stdlib.h>
#include <string.h>

#include "client/embed.h"
#include "shmem/interrupt.h"
#include "storage/collection/collection.h"

#define BUFFER_MAX ((size_t)COLLECTION_DOCUMENT_MAX + ((size_t)1 << 20))

static err_t
open_session(struct gneiss *db, struct gneiss_session *session)
{
    session->db = db;
    session->durable = !db->lazy;
    session->document = buf_init(BUFFER_MAX);
    session->key = buf_init(BUFFER_MAX);
    session->text = buf_init(BUFFER_MAX);
    session->op.arena = arena_create("session", (size_t)db->config->session_memory_max);
    if (session->op.arena == NULL)
        return ERR_MEMORY;
    return embed_attach(session);
}

struct gneiss_session *
gneiss_session_open(struct gneiss *db, struct gneiss_error *error)
{
    struct gneiss_session *session = calloc(1, sizeof *session);
    err_t err;

    if (session == NULL) {
        (void)embed_error(error, err_set(ERR_MEMORY, "out of memory for a session"));
        return NULL;
    }
    err = open_session(db, session);
    if (err != OK) {
        (void)embed_error(error, err);
        arena_destroy(session->op.arena);
        free(session);
        return NULL;
    }
    (void)atomic_fetch_add(&db->sessions, 1);
    return session;
}

void
gneiss_session_close(struct gneiss_session *session)
{
    if (session == NULL)
        return;
    while (session->cursors != NULL)
        gneiss_find_close(session->cursors);
    gneiss_find_forget_spare(session);
    embed_detach(session);
    while (session->collections != NULL) {
        struct gneiss_collection *collection = session->collections;

        session->collections = collection->next;
        free(collection);
    }
    buf_fini(&session->document);
    buf_fini(&session->key);
    buf_fini(&session->text);
    arena_destroy(session->op.arena);
    (void)atomic_fetch_sub(&session->db->sessions, 1);
    free(session);
}

const struct gneiss_error *
gneiss_session_error(const struct gneiss_session *session)
{
    return &session->error;
}

void
gneiss_session_set_durable(struct gneiss_session *session, bool durable)
{
    session->durable = durable;
}

void
gneiss_session_set_timeout(struct gneiss_session *session, unsigned timeout_ms)
{
    session->timeout_ms = timeout_ms;
    session->op.deadline_ns = 0;
}

void
gneiss_session_interrupt(struct gneiss_session *session)
{
    interrupt_raise(session->proc, INTERRUPT_CANCEL);
}
