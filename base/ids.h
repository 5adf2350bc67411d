/*
 * ids.h - universally unique numbers (RFC 4122).
 */
#ifndef BASE_IDS_H
#define BASE_IDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

#define IDS_TEXT_SIZE 37 /* 36 characters and a NUL */

struct uuid {
    uint8_t bytes[16]; /* in the order in which they are printed */
};

/* Version 4, from the system's random numbers. */
struct uuid ids_uuid(void);

/* Lower case, with hyphens. */
void ids_format(const struct uuid *uuid, char text[IDS_TEXT_SIZE]);

/* The form with hyphens, either case; false: it is not one. */
bool ids_parse(struct bytes text, struct uuid *uuid);

#endif
