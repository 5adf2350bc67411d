/*
 * undertaker.h - cleaning up after a child that died, so that nobody else notices.
 *
 * The postmaster keeps the dead child as a zombie (so its pid stays its own) and sends its pid; the
 * undertaker, a process of its own, lets go of all that the child's slot says it held, ends its
 * transactions, gives the slot back, and answers whether that could be done.  If it could not,
 * everything is restarted from the log.  It says when it begins, so that it is known over whom it
 * died if it dies.
 */
#ifndef POSTMASTER_UNDERTAKER_H
#define POSTMASTER_UNDERTAKER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/config.h"

/* Messages: whole words, so that no byte of them is padding. */
struct undertaker_order {
    pid_t pid;
    int signal; /* that ended it; 0: it exited by itself */
    int again;  /* an undertaker died while it cleaned up after this one */
};
enum undertaker_progress {
    UNDERTAKER_BEGUN,  /* it cleans up after this one from now on; the other two follow */
    UNDERTAKER_BURIED, /* it may be released */
    UNDERTAKER_DOUBT   /* everything is to be restarted */
};
struct undertaker_report {
    pid_t pid;
    int progress; /* enum undertaker_progress */
};

/* Is this how a process ends that did something wrong itself?  Else it was ended from outside. */
bool undertaker_is_internal(int signal);

/* Did this process, which is dead, die in a critical section?  Then nobody can clean up after it,
   and all are to be restarted.  Logs it.  Reads shared memory, and waits for nothing. */
bool undertaker_must_refuse(pid_t pid);

/* Serve orders from `fd` (a SOCK_SEQPACKET socket) until its end or INTERRUPT_TERMINATE.  The
   caller has a slot.  `reload` is called on INTERRUPT_RELOAD. */
void undertaker_run(int fd, const struct config *config, void (*reload)(void));

#endif
