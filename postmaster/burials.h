/*
 * burials.h - dead children, from their end until the undertaker has let go of what they held.
 *
 * The postmaster's side of the undertaker's socket.  A dead child stays a zombie, so that its pid
 * stays its own, until the answer has come; who is to be buried is therefore the list of zombies,
 * and an undertaker that dies itself leaves nothing behind that is not known: its successor is told
 * to bury it first, and then all others again.
 */
#ifndef POSTMASTER_BURIALS_H
#define POSTMASTER_BURIALS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

err_t burials_open(void) MUST_CHECK;
int burials_fd(void);            /* readable when an answer has come */
int burials_undertaker_fd(void); /* the undertaker's end */

/* Tell the undertaker, if one lives, of all zombies that it was not told of. */
void burials_order(void);
/* Nothing is on order any more: the undertaker has died, or everything is made anew. */
void burials_take_back(void);

enum burials_answer { BURIALS_NONE, BURIALS_DONE, BURIALS_DOUBT };
/* The next answer.  DONE: this one may be released.  DOUBT: everything is to be restarted. */
enum burials_answer burials_next(pid_t *pid);

/* End an undertaker that stands still while orders wait that it has not read: perhaps it waits for
   what one of these holds. */
void burials_hurry(void);
/* Is an answer to come?  Then burials_hurry wants to be called every BURIALS_LOOK_MS. */
#define BURIALS_LOOK_MS 250
bool burials_expected(void);

/* One died in a critical section; or the undertaker has not answered for too long, or has died over
   the same child too often.  To be asked before anything is ordered. */
bool burials_hopeless(void);

#endif
