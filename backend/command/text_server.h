/*
 * text_server.h - FLUSH, COMPACT, TOPOLOGY, SNAPSHOT_HLC, SCHEMA VERSION.
 */
#ifndef BACKEND_COMMAND_TEXT_SERVER_H
#define BACKEND_COMMAND_TEXT_SERVER_H

#include "backend/command/text_run.h"

err_t text_server_flush(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_server_compact(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_server_topology(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_server_snapshot_hlc(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_server_schema_version(struct text_run *run, const struct textcmd *command) MUST_CHECK;

#endif
