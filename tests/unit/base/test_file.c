/*
 * test_file.c - files.
 */
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/gneiss-test-file-XXXXXX";
static char path[64], other[64];

static int
make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/gneiss-test-file-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "%s/a", folder);
    (void)snprintf(other, sizeof other, "%s/b", folder);
    return 0;
}

static int
remove_folder(void **state)
{
    char left[80];

    (void)state;
    (void)unlink(path);
    (void)unlink(other);
    (void)rmdir(other);
    (void)snprintf(left, sizeof left, "%s.new", path);
    (void)unlink(left);
    return rmdir(folder); /* fails if a test left something else behind */
}

static void
what_was_written_is_read(void **state)
{
    char data[16] = { 0 };
    uint64_t size;
    size_t got;
    bool found;
    int fd;

    (void)state;
    assert_int_equal(file_open(path, O_RDWR | O_CREAT, 0600, &fd, &found), OK);
    assert_true(found);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(file_write(fd, path, "hello", 5, 3, FAULT_NONE), OK);
    assert_int_equal(file_size(fd, path, &size), OK);
    assert_int_equal(size, 8);
    assert_int_equal(file_read(fd, path, data, 5, 3, NULL, FAULT_NONE), OK);
    assert_string_equal(data, "hello");
    assert_int_equal(file_read(fd, path, data, sizeof data, 3, &got, FAULT_NONE), OK);
    assert_int_equal(got, 5);
    assert_int_equal(file_sync(fd, path, FAULT_NONE), OK);
    file_close(fd);
}

static void
a_short_file_is_damage_unless_the_caller_counts(void **state)
{
    char data[16];
    int fd;

    (void)state;
    assert_int_equal(file_open(path, O_RDWR | O_CREAT, 0600, &fd, NULL), OK);
    assert_int_equal(file_write(fd, path, "abc", 3, 0, FAULT_NONE), OK);
    assert_int_equal(file_read(fd, path, data, 16, 0, NULL, FAULT_NONE), ERR_CORRUPT);
    assert_non_null(strstr(err_message(), path));
    assert_non_null(strstr(err_message(), "ends after 3"));
    file_close(fd);
}

static void
a_missing_file_is_an_answer_only_to_who_asks(void **state)
{
    bool found = true;
    int fd = 7;

    (void)state;
    assert_int_equal(file_open(path, O_RDONLY, 0, &fd, &found), OK);
    assert_false(found);
    assert_int_equal(fd, -1);
    assert_int_equal(file_open(path, O_RDONLY, 0, &fd, NULL), ERR_IO);
    assert_non_null(strstr(err_message(), "No such file"));
    assert_int_equal(file_unlink(path, &found, FAULT_NONE), OK);
    assert_false(found);
    assert_int_equal(file_unlink(path, NULL, FAULT_NONE), ERR_IO);
}

static void
a_full_device_is_told_apart(void **state)
{
    char data[100] = { 0 };
    int fd;

    (void)state;
    assert_int_equal(file_open("/dev/full", O_WRONLY, 0, &fd, NULL), OK);
    assert_int_equal(file_write(fd, "/dev/full", data, sizeof data, 0, FAULT_NONE), ERR_DISK_FULL);
    assert_non_null(strstr(err_message(), "/dev/full"));
    file_close(fd);
}

static void
allocated_space_reads_as_zeros_and_keeps_what_was_there(void **state)
{
    char data[100];
    uint64_t size;
    int fd;

    (void)state;
    assert_int_equal(file_open(path, O_RDWR | O_CREAT, 0600, &fd, NULL), OK);
    assert_int_equal(file_write(fd, path, "kept", 4, 0, FAULT_NONE), OK);
    assert_int_equal(file_allocate(fd, path, 0, 200000, FAULT_NONE), OK);
    assert_int_equal(file_size(fd, path, &size), OK);
    assert_int_equal(size, 200000);
    assert_int_equal(file_read(fd, path, data, sizeof data, 0, NULL, FAULT_NONE), OK);
    assert_memory_equal(data, "kept\0\0", 6);
    assert_int_equal(file_truncate(fd, path, 10, FAULT_NONE), OK);
    assert_int_equal(file_size(fd, path, &size), OK);
    assert_int_equal(size, 10);
    file_close(fd);
}

static void
folders_are_made_once(void **state)
{
    bool made;
    int fd;

    (void)state;
    assert_int_equal(file_make_dir(other, 0700, &made), OK);
    assert_true(made);
    assert_int_equal(file_make_dir(other, 0700, &made), OK);
    assert_false(made);
    assert_int_equal(file_sync_dir(other), OK);
    assert_int_equal(file_open(path, O_RDWR | O_CREAT, 0600, &fd, NULL), OK);
    file_close(fd);
    assert_int_equal(file_make_dir(path, 0700, &made), ERR_IO);
    assert_int_equal(file_sync_dir(path), ERR_IO);
}

static void
a_file_is_replaced_as_a_whole(void **state)
{
    struct stat status;
    char *data;
    size_t size;
    bool found;

    (void)state;
    assert_int_equal(file_replace(path, "old", 3, 0600), OK);
    assert_int_equal(file_replace(path, "newer", 5, 0640), OK);
    assert_int_equal(file_slurp(path, 100, &data, &size, &found), OK);
    assert_true(found);
    assert_int_equal(size, 5);
    assert_string_equal(data, "newer");
    free(data);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    assert_int_equal(file_replace("/tmp/no-such-folder/x", "", 0, 0600), ERR_IO);
}

static void
a_rename_moves_and_a_failed_one_tells(void **state)
{
    bool found;

    (void)state;
    assert_int_equal(file_replace(path, "x", 1, 0600), OK);
    assert_int_equal(file_rename(path, other), OK);
    assert_int_equal(file_unlink(other, &found, FAULT_NONE), OK);
    assert_true(found);
    assert_int_equal(file_rename(path, other), ERR_IO);
    assert_non_null(strstr(err_message(), path));
}

static void
slurping_has_a_limit_and_takes_files_without_a_size(void **state)
{
    char *data;
    size_t size;
    bool found;

    (void)state;
    assert_int_equal(file_replace(path, "0123456789", 10, 0600), OK);
    assert_int_equal(file_slurp(path, 10, &data, &size, NULL), OK);
    assert_int_equal(size, 10);
    free(data);
    assert_int_equal(file_slurp(path, 9, &data, &size, NULL), ERR_IO);
    assert_null(data);
    assert_int_equal(file_slurp("/proc/self/status", 1 << 20, &data, &size, NULL), OK);
    assert_true(size > 100);
    assert_int_equal(strlen(data), size);
    free(data);
    assert_int_equal(file_slurp("/dev/zero", 5000, &data, &size, NULL), ERR_IO);
    assert_int_equal(file_slurp(folder, 5000, &data, &size, NULL), ERR_IO);
    assert_int_equal(file_slurp(other, 10, &data, &size, &found), OK);
    assert_false(found);
    assert_null(data);
}

#ifdef GNEISS_FAULTS
static void
armed_points_make_calls_fail(void **state)
{
    char data[8] = { 0 };
    int fd;

    (void)state;
    assert_int_equal(file_open(path, O_RDWR | O_CREAT, 0600, &fd, NULL), OK);
    assert_true(fault_arm("WAL_WRITE=enospc:2,wal_sync=eio,DATA_READ=error"));
    assert_int_equal(file_write(fd, path, "one", 3, 0, FAULT_WAL_WRITE), OK);
    assert_int_equal(file_write(fd, path, "two", 3, 0, FAULT_WAL_WRITE), ERR_DISK_FULL);
    assert_int_equal(file_write(fd, path, "six", 3, 0, FAULT_WAL_WRITE), OK);
    assert_int_equal(file_sync(fd, path, FAULT_WAL_SYNC), ERR_IO);
    assert_int_equal(file_read(fd, path, data, 3, 0, NULL, FAULT_DATA_READ), ERR_INTERNAL);
    assert_true(fault_arm("WAL_WRITE=short,WAL_SYNC=off,DATA_READ=short"));
    assert_int_equal(file_write(fd, path, "whole", 5, 0, FAULT_WAL_WRITE), OK);
    assert_int_equal(file_sync(fd, path, FAULT_WAL_SYNC), OK);
    assert_int_equal(file_read(fd, path, data, 5, 0, NULL, FAULT_DATA_READ), OK);
    assert_string_equal(data, "whole");
    assert_true(fault_arm("WAL_WRITE=off,DATA_READ=off"));
    file_close(fd);
}

static void
a_replacement_that_fails_leaves_the_old_file(void **state)
{
    static const char *const steps[] = { "FILE_REPLACE", "FILE_REPLACE_SYNC", "FILE_RENAME" };
    char *data;
    size_t size;

    (void)state;
    assert_int_equal(file_replace(path, "old", 3, 0600), OK);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        char text[64];

        (void)snprintf(text, sizeof text, "%s=eio:1", steps[i]);
        assert_true(fault_arm(text));
        assert_int_equal(file_replace(path, "new", 3, 0600), ERR_IO);
    }
    assert_int_equal(file_slurp(path, 100, &data, &size, NULL), OK);
    assert_string_equal(data, "old");
    free(data);
}
#endif

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(what_was_written_is_read),
        IN_FOLDER(a_short_file_is_damage_unless_the_caller_counts),
        IN_FOLDER(a_missing_file_is_an_answer_only_to_who_asks),
        IN_FOLDER(a_full_device_is_told_apart),
        IN_FOLDER(allocated_space_reads_as_zeros_and_keeps_what_was_there),
        IN_FOLDER(folders_are_made_once),
        IN_FOLDER(a_file_is_replaced_as_a_whole),
        IN_FOLDER(a_rename_moves_and_a_failed_one_tells),
        IN_FOLDER(slurping_has_a_limit_and_takes_files_without_a_size),
#ifdef GNEISS_FAULTS
        IN_FOLDER(armed_points_make_calls_fail),
        IN_FOLDER(a_replacement_that_fails_leaves_the_old_file),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
