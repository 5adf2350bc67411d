/*
 * verb_change.h - changing and deleting what a filter finds: beneath verb_update, verb_delete and
 * verb_modify.
 */
#ifndef BACKEND_COMMAND_VERB_CHANGE_H
#define BACKEND_COMMAND_VERB_CHANGE_H

#include "backend/command/verb.h"

struct verb_change {
    const struct verb_update *update;
    bool deletes; /* `update->update` is not looked at */
    bool show, show_after;
    struct bytes shown; /* a copy in the op's arena; size 0: none */
    struct verb_update_result result;
};

err_t verb_change(struct op *op, const struct verb_ns *ns, struct verb_write write,
    struct verb_change *change) MUST_CHECK;

#endif
