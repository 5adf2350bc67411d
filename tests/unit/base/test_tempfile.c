/*
 * test_tempfile.c - temporary files without a name.
 */
#include "base/tempfile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"

#define SIZE ((size_t)200 << 10)

static char folder[] = "/tmp/test_tempfile-XXXXXX";
static uint8_t data[SIZE], back[SIZE];

static int
make_folder(void **state)
{
    (void)state;
    (void)strcpy(folder + strlen(folder) - 6, "XXXXXX");
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (uint8_t)(i * 31 + i / 256);
    return mkdtemp(folder) == NULL;
}

static int
remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static unsigned
names_there(void)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    unsigned count = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        count += entry->d_name[0] != '.';
    (void)closedir(dir);
    return count;
}

/* It has no name, holds what is written, gets a name, and another descriptor reads it there. */
static void
write_name_and_read(void)
{
    char path[100];
    int fd, other;

    assert_int_equal(tempfile_open(folder, &fd), OK);
    assert_int_equal(names_there(), 0);
    assert_int_equal(file_write(fd, folder, data, SIZE, 0, FAULT_TEMP_WRITE), OK);
    assert_int_equal(tempfile_name(folder, "given", SIZE, &fd), OK);
    assert_int_equal(names_there(), 1);
    (void)snprintf(path, sizeof path, "%s/given", folder);
    assert_int_equal(file_open(path, O_RDONLY, 0, &other, NULL), OK);
    assert_int_equal(file_read(other, path, back, SIZE, 0, NULL, FAULT_TEMP_READ), OK);
    assert_memory_equal(back, data, SIZE);
    memset(back, 0, SIZE);
    assert_int_equal(file_read(fd, path, back, SIZE, 0, NULL, FAULT_TEMP_READ), OK);
    assert_memory_equal(back, data, SIZE);
    file_close(other);
    file_close(fd);
    assert_int_equal(unlink(path), 0);
}

static void
a_file_without_a_name_may_get_one(void **state)
{
    (void)state;
    write_name_and_read();
}

/* What a file system without O_TMPFILE leaves: a file whose name was removed. */
static void
a_file_whose_name_was_removed_is_copied(void **state)
{
    char path[100];
    int fd;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/old", folder);
    assert_int_equal(file_open(path, O_RDWR | O_CREAT, 0600, &fd, NULL), OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(file_write(fd, path, data, SIZE, 0, FAULT_TEMP_WRITE), OK);
    assert_int_equal(tempfile_name(folder, "given", SIZE, &fd), OK);
    assert_int_equal(file_read(fd, path, back, SIZE, 0, NULL, FAULT_TEMP_READ), OK);
    assert_memory_equal(back, data, SIZE);
    file_close(fd);
    (void)snprintf(path, sizeof path, "%s/given", folder);
    assert_int_equal(unlink(path), 0);
}

static void
a_name_that_is_there_is_taken_over(void **state)
{
    char path[100];

    (void)state;
    (void)snprintf(path, sizeof path, "%s/given", folder);
    for (uint8_t i = 0; i < 2; i++) {
        int fd, other;

        assert_int_equal(tempfile_open(folder, &fd), OK);
        assert_int_equal(file_write(fd, folder, &i, 1, 0, FAULT_TEMP_WRITE), OK);
        assert_int_equal(tempfile_name(folder, "given", 1, &fd), OK);
        assert_int_equal(names_there(), 1);
        assert_int_equal(file_open(path, O_RDONLY, 0, &other, NULL), OK);
        assert_int_equal(file_read(other, path, back, 1, 0, NULL, FAULT_TEMP_READ), OK);
        assert_int_equal(back[0], i);
        file_close(other);
        file_close(fd);
    }
    assert_int_equal(unlink(path), 0);
}

static void
a_missing_folder_is_an_error(void **state)
{
    int fd;

    (void)state;
    assert_int_equal(tempfile_open("/nowhere/at/all", &fd), ERR_IO);
    assert_int_equal(fd, -1);
}

#ifdef GNEISS_FAULTS
static void
without_o_tmpfile_it_is_the_same(void **state)
{
    (void)state;
    assert_true(fault_arm("TEMP_UNNAMED=error"));
    write_name_and_read();
    assert_true(fault_arm("TEMP_UNNAMED=off"));
}

static void
a_copy_that_fails_leaves_nothing(void **state)
{
    int fd, before;

    (void)state;
    assert_true(fault_arm("TEMP_UNNAMED=error"));
    assert_int_equal(tempfile_open(folder, &fd), OK);
    before = fd;
    assert_int_equal(file_write(fd, folder, data, SIZE, 0, FAULT_TEMP_WRITE), OK);
    assert_true(fault_arm("TEMP_WRITE=enospc:2"));
    assert_int_equal(tempfile_name(folder, "given", SIZE, &fd), ERR_DISK_FULL);
    assert_int_equal(fd, before);
    assert_int_equal(names_there(), 0);
    file_close(fd);
    assert_true(fault_arm("TEMP_UNNAMED=enospc"));
    assert_int_equal(tempfile_open(folder, &fd), ERR_DISK_FULL);
    assert_true(fault_arm("TEMP_UNNAMED=off,TEMP_WRITE=off"));
}
#endif

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        TEST(a_file_without_a_name_may_get_one),
        TEST(a_file_whose_name_was_removed_is_copied),
        TEST(a_name_that_is_there_is_taken_over),
        TEST(a_missing_folder_is_an_error),
#ifdef GNEISS_FAULTS
        TEST(without_o_tmpfile_it_is_the_same),
        TEST(a_copy_that_fails_leaves_nothing),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
