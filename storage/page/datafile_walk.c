/*
 * datafile_walk.c - going through the files that there are.
 *
 * Folders are read while other processes make and remove files: a file that comes or goes
 * meanwhile is met or not, any other is met once.  Names that are not ours are passed over.
 *
 * IF A PROCESS DIES: nothing here is shared, and nothing is changed.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "storage/page/datafile.h"
#include "storage/page/filecache.h"

#define FOLDERS   256u
#define NAME_SIZE 8 /* hex digits of a number */

/* A name of eight hex digits in folder `folder`; 0: not one of ours. */
static fileno_t
number_of(const char *name, unsigned folder)
{
    char *end;
    unsigned long number;

    if (strlen(name) != NAME_SIZE || strspn(name, "0123456789abcdef") != NAME_SIZE)
        return 0;
    number = strtoul(name, &end, 16);
    return (number & 0xff) == folder ? (fileno_t)number : 0;
}

static err_t
walk_folder(
    unsigned folder, err_t (*visit)(fileno_t file, uint64_t size, void *context), void *context)
{
    char path[PATH_MAX];
    struct dirent *found;
    DIR *dir;
    err_t err = OK;

    (void)snprintf(path, sizeof path, "%s/data/%02x", filecache_dir(), folder);
    dir = opendir(path);
    if (dir == NULL)
        return err_set_errno("could not open the folder %s", path);
    while (err == OK && (found = readdir(dir)) != NULL) {
        fileno_t file = number_of(found->d_name, folder);
        struct stat status;

        if (file == 0 || fstatat(dirfd(dir), found->d_name, &status, 0) != 0)
            continue;
        err = visit(file, (uint64_t)status.st_size, context);
    }
    (void)closedir(dir);
    return err;
}

err_t
datafile_walk(err_t (*visit)(fileno_t file, uint64_t size, void *context), void *context)
{
    for (unsigned i = 0; i < FOLDERS; i++)
        TRY_RETURN(walk_folder(i, visit, context));
    return OK;
}
