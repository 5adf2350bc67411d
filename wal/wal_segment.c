/*
 * wal_segment.c - the files of the log.
 *
 * INVARIANTS
 *   S1  A file gets a segment's name only when it is complete and synced, so that a later
 *       fdatasync has no metadata to write.
 *   S2  The head is written by the log itself when it reaches the segment: a file whose head
 *       names another number has not been reached.
 *   S3  A new segment that could not be synced is thrown away, and made anew from nothing: nobody
 *       has written to it.  A folder that could not be synced is a panic, for it has the names of
 *       segments in use, and a second sync that succeeds would prove nothing.
 *
 * IF A PROCESS DIES while it makes a segment, a file "….new" is left; wal_segment_list removes it
 * at the next start, and whoever makes that segment next writes over it.
 */
#include "wal/wal_segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/panic.h"

#define NAME_DIGITS 16
#define ZEROS_SIZE  ((size_t)1 << 20)
#define SUFFIX_NEW  ".new"
#define BLOCK       4096u /* of the kernel's cache */
#define AGAIN_SIZE  ((size_t)256 << 10)

err_t
wal_segment_folder(const char *data_dir, char folder[WAL_SEGMENT_PATH_MAX])
{
    int length = snprintf(folder, WAL_SEGMENT_PATH_MAX, "%s/wal", data_dir);

    if (length < 0 || length >= WAL_SEGMENT_PATH_MAX - 32)
        return err_set(ERR_IO, "could not open the log in %.64s…: the path is too long", data_dir);
    return OK;
}

err_t
wal_segment_path(const char *folder, uint64_t number, char path[WAL_SEGMENT_PATH_MAX])
{
    int length = snprintf(path, WAL_SEGMENT_PATH_MAX, "%s/%016" PRIx64, folder, number);

    if (length < 0 || length >= WAL_SEGMENT_PATH_MAX - 8)
        return err_set(ERR_IO, "could not open the log in %.64s…: the path is too long", folder);
    return OK;
}

/* Is it a segment's name, or that of a half-made one? */
static bool
parse_name(const char *name, uint64_t *number, bool *half)
{
    size_t digits = strspn(name, "0123456789abcdef");

    if (digits != NAME_DIGITS)
        return false;
    *half = strcmp(name + NAME_DIGITS, SUFFIX_NEW) == 0;
    *number = strtoull(name, NULL, 16);
    return *half || name[NAME_DIGITS] == '\0';
}

static int
compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static err_t
remember(struct wal_segment_list *list, uint64_t number)
{
    if ((list->count & (list->count - 1)) == 0) {
        size_t room = list->count == 0 ? 1 : list->count * 2;
        uint64_t *larger = realloc(list->number, room * sizeof *larger);

        if (larger == NULL)
            return err_set(ERR_MEMORY, "could not list the log's segments: out of memory");
        list->number = larger;
    }
    list->number[list->count++] = number;
    return OK;
}

static err_t
visit(const char *folder, const char *name, bool clean, struct wal_segment_list *list)
{
    char path[WAL_SEGMENT_PATH_MAX];
    uint64_t number;
    bool half;

    if (!parse_name(name, &number, &half))
        return OK;
    if (!half)
        return remember(list, number);
    if (!clean)
        return OK;
    TRY_RETURN(wal_segment_path(folder, number, path));
    memcpy(path + strlen(path), SUFFIX_NEW, sizeof SUFFIX_NEW);
    return file_unlink(path, &half, FAULT_WAL_UNLINK);
}

err_t
wal_segment_list(const char *folder, bool clean, struct wal_segment_list *list)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    err_t err = OK;

    *list = (struct wal_segment_list){ NULL, 0 };
    if (dir == NULL)
        return err_set_errno("could not open the folder %s", folder);
    for (;;) {
        errno = 0;
        /* The stream is this thread's own. */
        entry = readdir(dir);
        if (entry == NULL)
            break;
        TRY(visit(folder, entry->d_name, clean, list));
    }
    if (errno != 0)
        TRY(err_set_errno("could not read the folder %s", folder));
    if (list->count > 0)
        qsort(list->number, list->count, sizeof *list->number, compare_numbers);
out:
    (void)closedir(dir);
    if (err != OK)
        wal_segment_list_free(list);
    return err;
}

void
wal_segment_list_free(struct wal_segment_list *list)
{
    free(list->number);
    *list = (struct wal_segment_list){ NULL, 0 };
}

bool
wal_segment_listed(const struct wal_segment_list *list, uint64_t number)
{
    return list->count > 0 &&
           bsearch(&number, list->number, list->count, sizeof number, compare_numbers) != NULL;
}

/* S3 */
static void
sync_folder(const char *folder)
{
    if (file_sync_dir(folder) == OK)
        return;
    log_fatal("%s; the server stops and recovers from its log", err_message());
    panic(__FILE__, __LINE__, "the folder of the log could not be synced");
}

static err_t
fill(int fd, const char *path)
{
    static const uint8_t zeros[ZEROS_SIZE];

    TRY_RETURN(file_allocate(fd, path, 0, WAL_SEGMENT_SIZE, FAULT_WAL_CREATE));
    for (uint64_t at = 0; at < WAL_SEGMENT_SIZE; at += ZEROS_SIZE)
        TRY_RETURN(file_write(fd, path, zeros, ZEROS_SIZE, at, FAULT_WAL_CREATE));
    return file_sync(fd, path, FAULT_WAL_CREATE_SYNC);
}

err_t
wal_segment_create(const char *folder, uint64_t number)
{
    char path[WAL_SEGMENT_PATH_MAX];
    char half[WAL_SEGMENT_PATH_MAX + sizeof SUFFIX_NEW];
    int fd = -1;
    err_t err;

    TRY(wal_segment_path(folder, number, path));
    (void)snprintf(half, sizeof half, "%s" SUFFIX_NEW, path);
    TRY(file_open(half, O_RDWR | O_CREAT | O_TRUNC, 0600, &fd, NULL));
    TRY(fill(fd, half));
    TRY(file_rename(half, path)); /* S1 */
    sync_folder(folder);
out:
    file_close(fd);
    if (err != OK && fd >= 0)
        (void)unlink(half); /* if not now, then at the next start */
    return err;
}

err_t
wal_segment_recycle(const char *folder, uint64_t from, uint64_t to)
{
    char old_path[WAL_SEGMENT_PATH_MAX];
    char new_path[WAL_SEGMENT_PATH_MAX];

    TRY_RETURN(wal_segment_path(folder, from, old_path));
    TRY_RETURN(wal_segment_path(folder, to, new_path));
    TRY_RETURN(file_rename(old_path, new_path));
    sync_folder(folder);
    return OK;
}

err_t
wal_segment_write_again(const char *folder, uint64_t number, uint32_t from, uint32_t to)
{
    static _Thread_local _Alignas(4096) uint8_t bytes[AGAIN_SIZE];
    uint32_t at = from & ~(BLOCK - 1);
    bool found;
    int fd;
    err_t err;

    to = (to > from ? to + BLOCK - 1 : at + BLOCK) & ~(BLOCK - 1);
    TRY_RETURN(wal_segment_open(folder, number, true, &fd, &found));
    if (!found)
        return OK;
    while (at < to) {
        size_t want = to - at < AGAIN_SIZE ? to - at : AGAIN_SIZE;
        size_t got;

        TRY(file_read(fd, "a segment of the log", bytes, want, at, &got, FAULT_WAL_READ));
        if (got == 0)
            break;
        TRY(file_write(fd, "the end of the log", bytes, got, at, FAULT_WAL_AGAIN));
        at += (uint32_t)got;
    }
    err = OK;
out:
    file_close(fd);
    return err;
}

err_t
wal_segment_remove(const char *folder, uint64_t number)
{
    char path[WAL_SEGMENT_PATH_MAX];
    bool found;

    TRY_RETURN(wal_segment_path(folder, number, path));
    return file_unlink(path, &found, FAULT_WAL_UNLINK);
}

err_t
wal_segment_open(const char *folder, uint64_t number, bool write, int *fd, bool *found)
{
    char path[WAL_SEGMENT_PATH_MAX];

    *fd = -1;
    TRY_RETURN(wal_segment_path(folder, number, path));
    return file_open(path, write ? O_RDWR : O_RDONLY, 0, fd, found);
}

void
wal_segment_head(
    struct wal_format_segment *head, uint64_t system_id, uint32_t page_size, uint64_t number)
{
    *head = (struct wal_format_segment){
        .magic = WAL_FORMAT_SEGMENT_MAGIC,
        .version = WAL_FORMAT_VERSION,
        .page_size = page_size,
        .system_id = system_id,
        .number = number,
    };
    head->crc = crc32c(0, head, offsetof(struct wal_format_segment, crc));
}

bool
wal_segment_is_head(
    const struct wal_format_segment *head, uint64_t system_id, uint32_t page_size, uint64_t number)
{
    return head->magic == WAL_FORMAT_SEGMENT_MAGIC && head->version == WAL_FORMAT_VERSION &&
           head->number == number && head->page_size == page_size &&
           (system_id == 0 || head->system_id == system_id) &&
           head->crc == crc32c(0, head, offsetof(struct wal_format_segment, crc));
}
