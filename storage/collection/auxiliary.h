/*
 * auxiliary.h - the engine's own workers, each a loop that ends on INTERRUPT_TERMINATE.
 *
 * Run as a process by the postmaster, as a thread by the embedded library; the caller has attached
 * a slot.
 */
#ifndef STORAGE_COLLECTION_AUXILIARY_H
#define STORAGE_COLLECTION_AUXILIARY_H

#include "base/config.h"

/* Before any of them; the config outlives them.  `reload` (may be NULL) is called between rounds
   when INTERRUPT_RELOAD is raised. */
void auxiliary_configure(const struct config *config, void (*reload)(void));

/* What floors above want looked at now and then: called before each round of autovacuum, also with
   vacuuming switched off.  Before auxiliary_autovacuum. */
void auxiliary_set_chore(void (*chore)(void));

void auxiliary_checkpointer(void);
void auxiliary_wal_writer(void);
void auxiliary_buffer_writer(void);
void auxiliary_autovacuum(void);

#endif
