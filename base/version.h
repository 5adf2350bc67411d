/*
 * version.h - the one place where the version stands; configure.ac reads it here.
 */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define VERSION_TEXT "0.1.0"

#endif
