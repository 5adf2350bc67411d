/*
 * play.h - operations at random, on the model and on the engine.
 */
#ifndef TESTS_MODEL_PLAY_H
#define TESTS_MODEL_PLAY_H

#include <stdint.h>

/* Do the operation that world->operation and the seed name. */
void play_operation(void);
/* No cursor is left open, nothing is only in memory. */
void play_rest(void);

#endif
