/*
 * panic.h - stopping at once, when shared memory cannot be trusted.
 */
#ifndef BASE_PANIC_H
#define BASE_PANIC_H

/* Checked in every build.  If false, the postmaster restarts everyone from the log. */
#define invariant(cond) (__builtin_expect(!!(cond), 1) ? (void)0 : panic(__FILE__, __LINE__, #cond))

/* Write why to stderr, then abort.  Runs no cleanup: it may spread the damage.  The process dies
   inside a critical section, even if it was in none. */
void panic(const char *file, int line, const char *why) __attribute__((noreturn, cold));

/* A function to be called by panic after its line is written (prints held locks and so on).
   It must not allocate, lock or fail.  NULL: none. */
void panic_set_reporter(void (*report)(int fd));

#endif
