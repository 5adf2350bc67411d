/*
 * textname.h - may this be the name of something that is created?
 *
 * Section 5.2 of the text protocol.  No locks, no allocation.
 */
#ifndef BASE_WIRE_TEXTNAME_H
#define BASE_WIRE_TEXTNAME_H

#include "base/bytes.h"

#define TEXTNAME_SIZE_MAX      64
#define TEXTNAME_USER_SIZE_MAX 128

/* Room for any text that is returned here. */
#define TEXTNAME_TEXT_MAX 96

/* Tenant, database, collection, index.  NULL: a good name.  Otherwise the error's text,
   "invalid name: …", static or in `room`. */
const char *textname_check(struct bytes name, char room[TEXTNAME_TEXT_MAX]);

/* A user's name, without a tenant part. */
const char *textname_check_user(struct bytes name, char room[TEXTNAME_TEXT_MAX]);

#endif
