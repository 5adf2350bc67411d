/*
 * holder.h - who holds a data directory, and where it listens.
 *
 * Told by the kernel: the lock on <data>/lock, and the sockets of /proc.  No locks are taken.
 */
#ifndef TOOLS_HOLDER_H
#define TOOLS_HOLDER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define HOLDER_LISTENERS_MAX 16
#define HOLDER_ADDRESS_MAX   64

struct holder {
    bool held;
    pid_t pid;      /* of the process that took the lock; 0: unknown, or not held */
    bool is_server; /* that process is a gneissd */
    int64_t uptime_secs;
};

/* Is the directory in use?  False: it cannot be told (there is no such directory); errno says why.
 */
bool holder_find(const char *data_dir, struct holder *holder);

/* Addresses at which the process listens, "127.0.0.1:6380"; their count. */
unsigned holder_listeners(pid_t pid, char address[HOLDER_LISTENERS_MAX][HOLDER_ADDRESS_MAX]);

/* Resident and proportional memory of the process, in KiB; 0: unknown. */
uint64_t holder_memory_kib(pid_t pid);

#endif
