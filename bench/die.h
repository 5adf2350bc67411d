/*
 * die.h - a measuring program that cannot go on says why and ends: a figure from a run in which
 * something failed would be no figure.
 */
#ifndef BENCH_DIE_H
#define BENCH_DIE_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void __attribute__((noreturn, format(printf, 1, 2))) die(const char *form, ...)
{
    va_list arguments;

    va_start(arguments, form);
    (void)fputs("bench: ", stderr);
    (void)vfprintf(stderr, form, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    exit(EXIT_FAILURE);
}

#endif
