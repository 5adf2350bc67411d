/*
 * text_scan.h - SCAN, COUNT: the documents of a collection in the order of their UUIDs.
 */
#ifndef BACKEND_COMMAND_TEXT_SCAN_H
#define BACKEND_COMMAND_TEXT_SCAN_H

#include "backend/command/text_run.h"

err_t text_scan_scan(struct text_run *run, const struct textcmd *command) MUST_CHECK;
err_t text_scan_count(struct text_run *run, const struct textcmd *command) MUST_CHECK;

struct catalog_collection;
struct snapshot;
/* How many documents of the collection this protocol sees.  Within a statement. */
err_t text_scan_visible(struct text_run *run, const struct catalog_collection *collection,
    const struct snapshot *snapshot, uint64_t *count) MUST_CHECK;

#endif
