/*
 * compare.h - the engine's whole state beside the model's.
 */
#ifndef TESTS_MODEL_COMPARE_H
#define TESTS_MODEL_COMPARE_H

/* Names, definitions, every document by every index, and the structures beneath. */
void compare_all(void);
/* After a kill: find the step up to which the engine has everything, and take the model back. */
void compare_settle(void);

#endif
