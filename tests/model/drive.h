/*
 * drive.h - the engine under test: the library in this process, and what only the house can ask.
 */
#ifndef TESTS_MODEL_DRIVE_H
#define TESTS_MODEL_DRIVE_H

#include "client/gneiss.h"
#include "tests/model/model.h"

extern struct gneiss_session *drive_session;
extern struct gneiss_collection *drive_collection[MODEL_COLLECTIONS];

/* The directory, made if there is none, with a small pool; what goes wrong ends the process. */
void drive_open(const char *directory, uint64_t seed);
void drive_close(void);

/* The slot of a document's _id; MODEL_SLOTS: it is no such document. */
unsigned drive_slot(struct gneiss_bson document);
/* What the engine has of a slot; size 0: nothing. */
struct gneiss_bson drive_get(unsigned collection, unsigned slot);
const char *drive_message(void);
struct gneiss_bson drive_bson(const struct bson_out *out); /* of an empty one: none */

void drive_vacuum(void);
/* Pages, heaps, trees and their agreement: the number of faults, and the first lines of the report.
 */
uint64_t drive_check(char *report, size_t size);

#endif
