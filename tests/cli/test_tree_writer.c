/* SPDX-License-Identifier: Apache-2.0 */
/* What writes a guest's tree here, told the worst by whoever speaks for the guest. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "cli/tree_writer.h"

static char directory[64];

static int setup(void **state)
{
    static struct tree_writer writer;
    snprintf(directory, sizeof(directory), "/tmp/tine-test-tree-XXXXXX");
    assert_non_null(mkdtemp(directory));
    assert_int_equal(chdir(directory), 0);
    assert_int_equal(mkdir("in", 0755), 0);
    assert_int_equal(tree_writer_open(&writer, "in", false, NULL), 0);
    *state = &writer;
    return 0;
}

static int teardown(void **state)
{
    tree_writer_close(*state);
    assert_int_equal(chdir("/"), 0);
    return tree_remove(AT_FDCWD, directory, NULL);
}

/* A whole entry; 0 or the error of whichever step failed. */
static int put(struct tree_writer *writer, const struct tree_entry *entry, const char *content)
{
    int r = tree_writer_begin(writer, entry, NULL);
    if (r == 0 && content)
        r = tree_writer_data(writer, content, strlen(content), NULL);
    return r == 0 ? tree_writer_end(writer, NULL) : r;
}

static int put_file(struct tree_writer *writer, const char *path)
{
    return put(writer, &(struct tree_entry){.path = path, .mode = 0644}, "evil");
}

static unsigned names_in(const char *path)
{
    unsigned count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void paths_that_lead_out(void **state)
{
    static const char *const paths[] = {"../evil", "/tmp/evil", "a/../../evil", "..",
                                        ".",       "a//b",      "a/",           "./a"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        assert_true(put_file(*state, paths[i]) < 0);
        tree_writer_close(*state);
        assert_int_equal(tree_writer_open(*state, "in", false, NULL), 0);
    }
    assert_int_equal(names_in("."), 1);
    assert_int_equal(names_in("in"), 0);
}

static void links_that_lead_out(void **state)
{
    struct tree_writer *writer = *state;
    assert_int_equal(mkdir("out", 0755), 0);
    assert_int_equal(put(writer, &(struct tree_entry){.path = "l", .link_target = "../out"}, NULL),
                     0);
    assert_int_equal(put_file(writer, "l/evil"), -ENOTDIR);
    assert_int_equal(
        put(writer, &(struct tree_entry){.path = "l", .directory = true, .mode = 0755}, NULL),
        -ENOTDIR);
    assert_int_equal(names_in("out"), 0);
}

/* A file that comes where a link is takes its place, and is not written through it. */
static void file_over_a_link(void **state)
{
    struct stat st;
    assert_int_equal(put(*state, &(struct tree_entry){.path = "l", .link_target = "../kept"}, NULL),
                     0);
    assert_int_equal(put_file(*state, "l"), 0);
    assert_int_equal(lstat("in/l", &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(access("kept", F_OK), -1);
}

static void set_id_bits_are_dropped(void **state)
{
    struct stat st;
    struct tree_writer *writer = *state;
    writer->archive = true;
    const struct tree_entry entry = {.path = "f", .mode = 06777, .uid = getuid(), .gid = getgid()};
    assert_int_equal(put(writer, &entry, "x"), 0);
    assert_int_equal(stat("in/f", &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0777);
}

static void modes_of_directories_come_last(void **state)
{
    struct stat st;
    struct tree_writer *writer = *state;
    const struct tree_entry outer = {.path = "d", .directory = true, .mode = 0500};
    assert_int_equal(put(writer, &outer, NULL), 0);
    assert_int_equal(stat("in/d", &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0700);
    assert_int_equal(put_file(writer, "d/f"), 0);
    assert_int_equal(put_file(writer, "dd"), 0); /* beside it, although it begins so */
    assert_int_equal(stat("in/d", &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0500);
    const struct tree_entry other = {.path = "e", .directory = true, .mode = 0510};
    assert_int_equal(put(writer, &other, NULL), 0);
    assert_int_equal(tree_writer_finish(writer, NULL), 0);
    assert_int_equal(stat("in/e", &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0510);
}

static void nothing_half_made_is_left(void **state)
{
    struct tree_writer *writer = *state;
    const struct tree_entry file = {.path = "f", .mode = 0644};
    assert_int_equal(tree_writer_begin(writer, &file, NULL), 0);
    assert_int_equal(tree_writer_data(writer, "half", 4, NULL), 0);
    assert_int_equal(names_in("in"), 1);
    tree_writer_close(writer);
    assert_int_equal(names_in("in"), 0);
    assert_int_equal(tree_writer_open(writer, "in", false, NULL), 0);
}

static void what_is_there_already(void **state)
{
    struct stat st;
    struct tree_writer *writer = *state;
    assert_int_equal(mkdir("in/d", 0711), 0);
    assert_int_equal(mkfifo("in/pipe", 0600), 0);
    assert_int_equal(put_file(writer, "d"), -EISDIR);
    assert_int_equal(put_file(writer, "pipe"), -EINVAL);
    const struct tree_entry entry = {.path = "d", .directory = true, .mode = 0755};
    assert_int_equal(put(writer, &entry, NULL), 0);
    assert_int_equal(tree_writer_finish(writer, NULL), 0);
    assert_int_equal(stat("in/d", &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0711);
}

static void content_of_no_file(void **state)
{
    struct tree_writer *writer = *state;
    assert_int_equal(tree_writer_data(writer, "x", 1, NULL), -EPROTO);
    const struct tree_entry entry = {.path = "d", .directory = true, .mode = 0755};
    assert_int_equal(put(writer, &entry, "x"), -EPROTO);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(paths_that_lead_out),
        TEST(links_that_lead_out),
        TEST(file_over_a_link),
        TEST(set_id_bits_are_dropped),
        TEST(modes_of_directories_come_last),
        TEST(nothing_half_made_is_left),
        TEST(what_is_there_already),
        TEST(content_of_no_file),
    };
    return cmocka_run_group_tests_name("tree writer", tests, NULL, NULL);
}
