/*
 * cursors.h - queries, and cursors that go on while the collection changes.
 */
#ifndef TESTS_MODEL_CURSORS_H
#define TESTS_MODEL_CURSORS_H

/* The collection of the operations that follow. */
void cursors_use(unsigned collection);
/* A query, read to its end. */
void cursors_find(void);
/* A query whose rest is read later: it must go on giving the moment in which it began. */
void cursors_open(void);
void cursors_go_on(void);
/* Something that cursors of this collection may rest on is about to be dropped: they may be told
 * so. */
void cursors_doom(unsigned collection);
void cursors_close(void);

#endif
