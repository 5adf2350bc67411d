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
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

err_t burials_open(void) MUST_CHECK;
int burials_fd(void);            /* readable when the undertaker has said something */
int burials_undertaker_fd(void); /* the undertaker's end */

/* Tell the undertaker, if one lives, of all zombies that it was not told of. */
void burials_order(void);
/* The undertaker has died: nothing is on order any more. */
void burials_take_back(void);
/* Everything is made anew. */
void burials_forget(void);

enum burials_answer { BURIALS_NONE, BURIALS_DONE, BURIALS_DOUBT };
/* The next answer.  DONE: this one may be released.  DOUBT: everything is to be restarted. */
enum burials_answer burials_next(pid_t *pid);

/* See whether the undertaker gets on.  To be called whenever anything has happened, and every
   BURIALS_LOOK_MS while there is a zombie.  `now_ns` as clock_now_ns; a test may let it pass. */
#define BURIALS_LOOK_MS 100
void burials_look(int64_t now_ns);
/* End an undertaker that was seen to wait while orders lie unread: perhaps it waits for what one of
   these holds. */
void burials_hurry(void);
/* One died in a critical section; or nobody was cleaned up after for too long, or undertakers have
   died over it too often.  To be asked before anything is ordered. */
bool burials_hopeless(void);

#endif
