/*
 * text_define.h - databases, collections and indexes of the text protocol.
 */
#ifndef BACKEND_COMMAND_TEXT_DEFINE_H
#define BACKEND_COMMAND_TEXT_DEFINE_H

#include "backend/command/text_run.h"

err_t text_define_use(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_define_create_database(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_define_drop_database(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_define_list_databases(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_define_create_collection(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_define_drop_collection(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_define_list_collections(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_define_create_index(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_define_drop_index(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_define_list_indexes(struct text_run *run, const struct textcmd *command) MUST_CHECK;

#endif
