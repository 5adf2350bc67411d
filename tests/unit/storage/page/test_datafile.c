/*
 * test_datafile.c - files of pages: growing, numbers, cutting, what is synced, full disks.
 */
#include "page_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/fault.h"
#include "base/panic.h"

#define MIB ((int64_t)1 << 20)

static void
files_grow_in_steps_of_zeroes(void **state)
{
    uint8_t *page = malloc(PAGE_SIZE_MAX);
    fileno_t file;
    block_t count;

    (void)state;
    fixture_open(MIB);
    file = fixture_file();
    assert_int_equal(datafile_blocks(file, &count), OK);
    assert_int_equal(count, 0);
    fixture_fill(file, 1, 9);
    assert_int_equal(datafile_blocks(file, &count), OK);
    assert_int_equal(count, 8); /* 64 KiB */
    assert_int_equal(datafile_read((struct page_id){ file, 7 }, page), OK);
    assert_true(page_valid(page, (struct page_id){ file, 7 }));
    assert_int_equal(datafile_extend(file, 1000), OK);
    assert_int_equal(datafile_blocks(file, &count), OK);
    assert_true(count >= 1000);
    free(page);
    fixture_close();
}

/* A file of a number that was never noted: left by a crash, looked at, and then made anew. */
static void
a_file_left_by_a_crash_is_emptied_when_made_anew(void **state)
{
    char path[128];
    buffer_t buffer;
    block_t block;
    fileno_t file;
    FILE *left;

    (void)state;
    fixture_open(MIB);
    assert_int_equal(datafile_next(&file), OK);
    (void)snprintf(
        path, sizeof path, "%s/data/%02x/%08x", fixture_dir, (unsigned)file & 0xff, (unsigned)file);
    left = fopen(path, "w");
    assert_non_null(left);
    for (unsigned i = 0; i < 5 * wal_page_size; i++)
        (void)fputc('x', left);
    (void)fclose(left);
    assert_int_equal(datafile_blocks(file, &block), OK);
    assert_int_equal(block, 5);
    assert_int_equal(datafile_create(file, 1), OK);
    assert_int_equal(datafile_blocks(file, &block), OK);
    assert_int_equal(block, 0);
    assert_int_equal(pool_extend(file, POOL_NORMAL, &buffer, &block), OK);
    assert_int_equal(block, 0);
    pool_unlock(buffer);
    pool_unpin(buffer);
    fixture_close();
}

static void
pages_that_were_not_used_are_handed_out_after_a_restart(void **state)
{
    buffer_t buffer;
    block_t block;
    fileno_t file;

    (void)state;
    fixture_open(MIB);
    file = fixture_file();
    fixture_fill(file, 3, 9);
    assert_int_equal(pool_write_all(), OK);
    fixture_reopen(MIB);
    assert_int_equal(pool_extend(file, POOL_NORMAL, &buffer, &block), OK);
    assert_int_equal(block, 3);
    pool_unlock(buffer);
    pool_unpin(buffer);
    fixture_close();
}

static void
a_page_in_use_is_not_handed_out(void **state)
{
    buffer_t used;
    buffer_t buffer;
    block_t block;
    fileno_t file;

    (void)state;
    fixture_open(MIB);
    file = fixture_file();
    fixture_fill(file, 1, 9);
    /* Somebody came across the zeroed page 1, and somebody else has page 2 locked. */
    assert_int_equal(pool_pin((struct page_id){ file, 1 }, POOL_NORMAL, &used), OK);
    pool_lock(used, LW_EXCLUSIVE);
    assert_int_equal(fixture_change(used, PAGE_HEAP, 1, true), OK);
    pool_unlock(used);
    pool_unpin(used);
    assert_int_equal(pool_pin((struct page_id){ file, 2 }, POOL_NORMAL, &used), OK);
    pool_lock(used, LW_SHARED);
    assert_int_equal(pool_extend(file, POOL_NORMAL, &buffer, &block), OK);
    assert_int_equal(block, 3);
    pool_unlock(buffer);
    pool_unpin(buffer);
    pool_unlock(used);
    pool_unpin(used);
    fixture_close();
}

static fileno_t race_file;

static void *
extend_many(void *context)
{
    uint8_t *seen = context;

    assert_int_equal(proc_attach(PROC_BACKEND), OK);
    for (int i = 0; i < 300; i++) {
        buffer_t buffer;
        block_t block;

        assert_int_equal(pool_extend(race_file, POOL_NORMAL, &buffer, &block), OK);
        assert_true(block < 2000);
        assert_int_equal(fixture_change(buffer, PAGE_HEAP, block, true), OK);
        pool_unlock(buffer);
        pool_unpin(buffer);
        seen[block]++;
    }
    proc_detach();
    return NULL;
}

static void
a_page_is_handed_out_once(void **state)
{
    static uint8_t seen[4][2000];
    pthread_t threads[4];

    (void)state;
    fixture_open(MIB);
    race_file = fixture_file();
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, extend_many, seen[i]), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int block = 0; block < 1200; block++)
        assert_int_equal(seen[0][block] + seen[1][block] + seen[2][block] + seen[3][block], 1);
    fixture_close();
}

static void
more_files_than_are_kept_open(void **state)
{
    enum { FILES = 600 };
    static fileno_t files[FILES];
    uint8_t *page = malloc(PAGE_SIZE_MAX);

    (void)state;
    fixture_open(MIB);
    for (int i = 0; i < FILES; i++) {
        files[i] = fixture_file();
        fixture_fill(files[i], 1, (uint64_t)i);
    }
    for (int i = 0; i < FILES; i++) {
        assert_int_equal(pool_copy((struct page_id){ files[i], 0 }, POOL_NORMAL, page), OK);
        assert_int_equal(fixture_number(page), i);
        assert_int_equal(datafile_unlink(files[i]), OK);
    }
    free(page);
    fixture_close();
}

static err_t
count_files(fileno_t file, uint64_t size, void *context)
{
    (void)size;
    assert_true(file >= DATAFILE_FIRST);
    (*(unsigned *)context)++;
    return OK;
}

static void
numbers_are_given_once_over_restarts(void **state)
{
    uint64_t numbers[CONTROL_NUMBER_COUNT] = { 0 };
    unsigned count = 0;
    fileno_t first;
    fileno_t next;

    (void)state;
    fixture_open(MIB);
    first = fixture_file();
    (void)fixture_file();
    assert_int_equal(datafile_walk(count_files, &count), OK);
    assert_int_equal(count, 2);
    datafile_part.note(numbers);
    fixture_reopen(MIB);
    datafile_part.restore(numbers);
    assert_int_equal(datafile_next(&next), OK);
    assert_int_equal(next, first + 2);
    assert_int_equal(datafile_part.flush(), OK);
    fixture_close();
}

#ifdef GNEISS_FAULTS
/* How a process ends that makes a file or removes one while a folder cannot be synced. */
static int
end_without_folders(bool remove)
{
    fileno_t file = fixture_file();
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        proc_self = NULL;
        invariant(proc_attach(PROC_EMBEDDED) == OK);
        invariant(fault_arm("dir_sync=eio:1"));
        _exit((remove ? datafile_unlink(file) : datafile_create(file + 1, 1)) == OK ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(fault_arm("dir_sync=off"));
    if (proc_find(pid) >= 0)
        proc_bury((unsigned)proc_find(pid));
    return status;
}

static void
a_folder_that_cannot_be_synced_is_a_panic(void **state)
{
    (void)state;
    for (int remove = 0; remove < 2; remove++) {
        int status;

        fixture_open(MIB);
        status = end_without_folders(remove);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        fixture_close();
    }
}

static void
a_page_that_cannot_be_read_is_named(void **state)
{
    static _Alignas(64) uint8_t page[PAGE_SIZE_MAX];
    fileno_t file;
    char name[32];

    (void)state;
    fixture_open(MIB);
    file = fixture_file();
    fixture_fill(file, 1, 9);
    (void)snprintf(name, sizeof name, "block 7 of data file %08x", (unsigned)file);
    assert_true(fault_arm("data_read=eio:1"));
    assert_int_equal(datafile_read((struct page_id){ file, 7 }, page), ERR_IO);
    assert_non_null(strstr(err_message(), name));
    assert_int_equal(datafile_read((struct page_id){ file, 7 }, page), OK);
    fixture_close();
}

static void
pages_in_use_and_then_a_full_disk_yield_no_buffer(void **state)
{
    _Alignas(64) uint8_t page[PAGE_SIZE_MAX];
    buffer_t buffer;
    block_t blocks;
    block_t block;
    fileno_t file;

    (void)state;
    fixture_open(MIB);
    file = fixture_file();
    fixture_fill(file, 2, 1);
    assert_int_equal(datafile_blocks(file, &blocks), OK);
    assert_true(blocks > 2);
    for (block = 2; block < blocks; block++) {
        struct page_id id = { file, block };

        page_init(page, PAGE_HEAP, 0);
        ((struct page_header *)(void *)page)->crc = page_checksum(page, id);
        assert_int_equal(datafile_write(id, page), OK);
    }
    assert_true(fault_arm("data_extend=enospc"));
    assert_int_equal(pool_extend(file, POOL_NORMAL, &buffer, &block), ERR_DISK_FULL);
    assert_int_equal(buffer, 0);
    assert_int_equal(pool_pin_total(), 0);
    assert_true(fault_arm("data_extend=off"));
    fixture_close();
}

static void
a_full_disk_leaves_the_file_as_it_was(void **state)
{
    buffer_t buffer;
    block_t before;
    block_t after;
    block_t block;
    fileno_t file;

    (void)state;
    fixture_open(MIB);
    file = fixture_file();
    fixture_fill(file, 8, 1);
    assert_int_equal(datafile_blocks(file, &before), OK);
    assert_true(fault_arm("data_extend=enospc"));
    for (int i = 0; i < 3; i++)
        assert_int_equal(pool_extend(file, POOL_NORMAL, &buffer, &block), ERR_DISK_FULL);
    assert_int_equal(datafile_blocks(file, &after), OK);
    assert_int_equal(before, after);
    assert_int_equal(pool_pin_total(), 0);
    assert_true(fault_arm("data_extend=off"));
    assert_int_equal(pool_extend(file, POOL_NORMAL, &buffer, &block), OK);
    assert_int_equal(block, 8);
    pool_unlock(buffer);
    pool_unpin(buffer);
    /* Room for one page, but not for a step. */
    assert_int_equal(datafile_blocks(file, &before), OK);
    assert_true(fault_arm("data_extend=enospc:1"));
    assert_int_equal(datafile_extend(file, before + 1), OK);
    assert_int_equal(datafile_blocks(file, &after), OK);
    assert_int_equal(after, before + 1);
    fixture_close();
}

static void
a_page_that_cannot_be_written_stays_dirty(void **state)
{
    struct pool_status status;
    fileno_t file;

    (void)state;
    fixture_open(MIB);
    file = fixture_file();
    fixture_fill(file, 8, 1);
    assert_true(fault_arm("data_write=eio"));
    assert_int_equal(pool_part.flush(), ERR_IO);
    pool_status(&status);
    assert_int_equal(status.dirty, 8);
    assert_true(fault_arm("data_write=off"));
    assert_int_equal(pool_part.flush(), OK);
    pool_status(&status);
    assert_int_equal(status.dirty, 0);
    fixture_close();
}
#endif

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_grow_in_steps_of_zeroes),
        cmocka_unit_test(pages_that_were_not_used_are_handed_out_after_a_restart),
        cmocka_unit_test(a_file_left_by_a_crash_is_emptied_when_made_anew),
        cmocka_unit_test(a_page_in_use_is_not_handed_out),
        cmocka_unit_test(a_page_is_handed_out_once),
        cmocka_unit_test(more_files_than_are_kept_open),
        cmocka_unit_test(numbers_are_given_once_over_restarts),
#ifdef GNEISS_FAULTS
        cmocka_unit_test(a_folder_that_cannot_be_synced_is_a_panic),
        cmocka_unit_test(a_page_that_cannot_be_read_is_named),
        cmocka_unit_test(pages_in_use_and_then_a_full_disk_yield_no_buffer),
        cmocka_unit_test(a_full_disk_leaves_the_file_as_it_was),
        cmocka_unit_test(a_page_that_cannot_be_written_stays_dirty),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
