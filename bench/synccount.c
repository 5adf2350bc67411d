/*
 * synccount.c - loaded into a store's process (LD_PRELOAD), counts how often it makes the disk
 * write, and says so at the end: "syncs N" on stderr.  So it is known that durable rows wait in
 * every store, once a commit, and the others in none.
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

static atomic_ulong syncs;

int
fsync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");

    atomic_fetch_add(&syncs, 1);
    return real(fd);
}

int
fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");

    atomic_fetch_add(&syncs, 1);
    return real(fd);
}

static void __attribute__((destructor)) tell(void)
{
    (void)fprintf(stderr, "syncs %lu\n", atomic_load(&syncs));
}
