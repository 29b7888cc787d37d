/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "vmm/snapshot_file.h"

struct place {
    char directory[64];
    char path[96];
};

static int place_setup(void **context)
{
    struct place *place = calloc(1, sizeof(*place));
    assert_non_null(place);
    strcpy(place->directory, "/tmp/tine-test-snapshot-XXXXXX");
    assert_non_null(mkdtemp(place->directory));
    snprintf(place->path, sizeof(place->path), "%s/file", place->directory);
    *context = place;
    return 0;
}

static int place_teardown(void **context)
{
    struct place *place = *context;
    struct error err = {0};
    assert_int_equal(tree_remove(AT_FDCWD, place->directory, &err), 0);
    free(place);
    return 0;
}

static void write_file(const char *path, const char *text)
{
    _cleanup_(fclose) FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
}

static void expect_text(const char *path, const char *text)
{
    char buffer[64] = "";
    _cleanup_(fclose) FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_non_null(fgets(buffer, sizeof(buffer), file));
    assert_string_equal(buffer, text);
}

static unsigned count_names(const char *directory)
{
    unsigned count = 0;
    _cleanup_(closedir) DIR *dir = opendir(directory);
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    return count - 2;
}

static void make(struct snapshot_file *file, const char *path, const char *text)
{
    struct error err = {0};
    assert_int_equal(snapshot_file_create(file, path, &err), 0);
    assert_int_equal(file_write_exact(file->fd, text, strlen(text), path, &err), 0);
    assert_int_equal(snapshot_file_sync(file, &err), 0);
}

static void test_fresh(void **context)
{
    struct place *place = *context;
    struct snapshot_file file;
    struct error err = {0};
    make(&file, place->path, "new");
    assert_int_equal(file_exists(AT_FDCWD, place->path, &err), 0); /* not before it is placed */
    assert_int_equal(snapshot_file_set_aside(&file, &err), 0);
    assert_int_equal(snapshot_file_place(&file, &err), 0);
    assert_int_equal(snapshot_file_sync_directory(&file, &err), 0);
    snapshot_file_commit(&file);
    snapshot_file_cancel(&file); /* harmless */
    expect_text(place->path, "new");
    assert_int_equal(count_names(place->directory), 1);
    struct stat st;
    assert_int_equal(stat(place->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

/* R2: another owner of the old file keeps it. */
static void test_replaces_name_not_inode(void **context)
{
    struct place *place = *context;
    char other[128];
    snprintf(other, sizeof(other), "%s/other", place->directory);
    write_file(place->path, "old");
    assert_int_equal(link(place->path, other), 0);
    struct snapshot_file file;
    struct error err = {0};
    make(&file, place->path, "new");
    assert_int_equal(snapshot_file_set_aside(&file, &err), 0);
    assert_int_equal(snapshot_file_place(&file, &err), 0);
    snapshot_file_commit(&file);
    expect_text(place->path, "new");
    expect_text(other, "old");
    assert_int_equal(count_names(place->directory), 2);
}

static void cancel_after(struct place *place, unsigned steps)
{
    struct snapshot_file file;
    struct error err = {0};
    make(&file, place->path, "new");
    if (steps > 0)
        assert_int_equal(snapshot_file_set_aside(&file, &err), 0);
    if (steps > 1)
        assert_int_equal(snapshot_file_place(&file, &err), 0);
    snapshot_file_cancel(&file);
}

static void test_cancel_puts_back(void **context)
{
    struct place *place = *context;
    for (unsigned steps = 0; steps < 3; steps++) {
        cancel_after(place, steps);
        assert_int_equal(count_names(place->directory), 0);
    }
    write_file(place->path, "old");
    for (unsigned steps = 0; steps < 3; steps++) {
        cancel_after(place, steps);
        expect_text(place->path, "old");
        assert_int_equal(count_names(place->directory), 1);
    }
}

static void test_refuses_what_is_no_file(void **context)
{
    struct place *place = *context;
    struct snapshot_file file;
    struct error err = {0};
    assert_true(snapshot_file_create(&file, place->directory, &err) < 0);
    assert_non_null(strstr(err.message, place->directory));
    snapshot_file_cancel(&file);
    assert_true(snapshot_file_create(&file, "/dev/null", &err) < 0);
    assert_non_null(strstr(err.message, "/dev/null"));
    snapshot_file_cancel(&file);
    char missing[128];
    snprintf(missing, sizeof(missing), "%s/missing/file", place->directory);
    assert_int_equal(snapshot_file_create(&file, missing, &err), -ENOENT);
    assert_non_null(strstr(err.message, missing));
    snapshot_file_cancel(&file);
    assert_int_equal(count_names(place->directory), 0);
}

/* Two names for one place, "file" and "./file": the second file must not swallow the first. */
static void test_one_place_for_two(void **context)
{
    struct place *place = *context;
    struct snapshot_file first, second;
    struct error err = {0};
    char alias[128];
    snprintf(alias, sizeof(alias), "%s/./file", place->directory);
    write_file(place->path, "old");
    make(&first, place->path, "first");
    make(&second, alias, "second");
    assert_int_equal(snapshot_file_set_aside(&second, &err), 0);
    assert_int_equal(snapshot_file_set_aside(&first, &err), 0);
    assert_int_equal(snapshot_file_place(&first, &err), 0);
    assert_int_equal(snapshot_file_place(&second, &err), -EEXIST);
    assert_non_null(strstr(err.message, alias));
    snapshot_file_cancel(&first);
    snapshot_file_cancel(&second);
    expect_text(place->path, "old");
    assert_int_equal(count_names(place->directory), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fresh, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_replaces_name_not_inode, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_cancel_puts_back, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_refuses_what_is_no_file, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_one_place_for_two, place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
