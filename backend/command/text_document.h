/*
 * text_document.h - INSERT, GET, UPDATE, DELETE: one document by its key.
 */
#ifndef BACKEND_COMMAND_TEXT_DOCUMENT_H
#define BACKEND_COMMAND_TEXT_DOCUMENT_H

#include "backend/command/text_run.h"

err_t text_document_insert(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_document_get(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_document_update(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_document_delete(struct text_run *run, const struct textcmd *command) MUST_CHECK;

#endif
