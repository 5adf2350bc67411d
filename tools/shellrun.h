/*
 * shellrun.h - running one command of the shell.
 *
 * A command is put into one line of the text protocol (or a few), asked of a server or of a
 * directory opened in this process, and the reply is printed on stdout in the shell's form.
 */
#ifndef TOOLS_SHELLRUN_H
#define TOOLS_SHELLRUN_H

#include "client/link.h"
#include "tools/local.h"

struct shellrun {
    struct local *local; /* NULL: connected, by `link` */
    struct link link;    /* embedded: its `in` holds the replies */
    char database[256];  /* selected; "": none */
    struct buf request, scratch;
    bool leaving; /* exit was said */
};

/* Before anything else; `link` may then be opened, or `local` set. */
void shellrun_init(struct shellrun *run);
void shellrun_fini(struct shellrun *run);

/* One command.  *good false: it failed, and has said why.  Errors: the connection is gone. */
err_t shellrun_command(struct shellrun *run, struct bytes command, bool *good) MUST_CHECK;

/* Ask one line, made by printf; the first reply. */
err_t shellrun_ask(struct shellrun *run, struct link_reply *reply, const char *format, ...)
    __attribute__((format(printf, 3, 4))) MUST_CHECK;

#endif
