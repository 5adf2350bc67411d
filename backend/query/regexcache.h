/*
 * regexcache.h - compiled regular expressions, a few for each process.
 *
 * PCRE2's compiled code lives in malloced and executable memory that an arena cannot give back, so
 * programs hold only a reference (pattern and options); the code is in a small table of the
 * process and is compiled anew if it was pushed out.  No locks.
 */
#ifndef BACKEND_QUERY_REGEXCACHE_H
#define BACKEND_QUERY_REGEXCACHE_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

struct regexcache_ref {
    struct bytes pattern; /* in the arena of the program */
    uint32_t options;     /* PCRE2's */
    uint32_t slot;        /* where it was last seen; checked before use */
};

/* Check and compile.  Options are MongoDB's letters: i m s x u.  Errors: ERR_BAD_VALUE with code
   51091 (pattern) or 51108 (option), ERR_MEMORY. */
err_t regexcache_make(struct arena *arena, struct bytes pattern, struct bytes options,
    struct regexcache_ref **ref) MUST_CHECK;

/* Does it match somewhere in the text?  Errors: ERR_BAD_VALUE where PCRE2's limits are met. */
err_t regexcache_match(struct regexcache_ref *ref, struct bytes text, bool *matches) MUST_CHECK;

/* Free the table of this process (thread). */
void regexcache_forget(void);

#endif
