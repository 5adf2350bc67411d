/*
 * objectid.h - making and naming ObjectIds.
 *
 * 4 bytes of time (seconds, big-endian), 5 random bytes of this process, 3 bytes of a
 * counter.  After a fork the child draws new random bytes.  Safe in threads: the state is
 * each thread's own.
 */
#ifndef BASE_DOC_OBJECTID_H
#define BASE_DOC_OBJECTID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

#define OBJECTID_SIZE 12

void objectid_make(uint8_t oid[OBJECTID_SIZE]);

/* 24 hexadecimal digits, lower-case, and a NUL. */
void objectid_print(const uint8_t oid[OBJECTID_SIZE], char text[2 * OBJECTID_SIZE + 1]);

/* False: not 24 hexadecimal digits (either case). */
bool objectid_parse(struct bytes text, uint8_t oid[OBJECTID_SIZE]);

#endif
