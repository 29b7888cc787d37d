/* SPDX-License-Identifier: Apache-2.0 */
/* tine image against a tined with a double behind it, whose images are real. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "../image/tar.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "http_client.h"
#include "program.h"

static const char *tine_path, *double_path;
static char archive[160], directory[160]; /* of the same small tree */

static void place(const char *name, const char *text, mode_t mode)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    assert_int_equal(file_publish(AT_FDCWD, path, text, strlen(text), mode, NULL), 0);
}

static void directory_fill(void)
{
    char path[256], other[256];
    snprintf(path, sizeof(path), "%s/bin", directory);
    assert_int_equal(dir_make_all(path, NULL), 0);
    place("bin/sh", "#!", 0755);
    place("\xc3\xa4 b", "odd", 0600);
    snprintf(path, sizeof(path), "%s/bin/sh", directory);
    snprintf(other, sizeof(other), "%s/bin/again", directory);
    assert_int_equal(link(path, other), 0);
    assert_int_equal(chown(path, 12, 34), 0);
    snprintf(other, sizeof(other), "%s/link", directory);
    assert_int_equal(symlink("/bin/../bin/sh", other), 0);
    snprintf(other, sizeof(other), "%s/sparse", directory);
    _cleanup_(close) int fd = open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_int_equal(pwrite(fd, "end", 3, (off_t)32 << 20), 3);
}

static int setup(void **state)
{
    static struct daemon daemon;
    daemon_start(&daemon, double_path, NULL);
    snprintf(archive, sizeof(archive), "%s/root.tar.zst", daemon.dir);
    snprintf(directory, sizeof(directory), "%s/root", daemon.dir);
    size_t length;
    struct tar *tar = tar_begin("zstd");
    tar_add(tar, &(struct tar_entry){.path = "bin/sh", .content = "#!"});
    _cleanup_(free) char *data = tar_end(tar, &length);
    assert_int_equal(file_publish(AT_FDCWD, archive, data, length, 0644, NULL), 0);
    directory_fill();
    *state = &daemon;
    return 0;
}

static int teardown(void **state)
{
    daemon_stop(*state);
    return 0;
}

/* What debugfs(8) says about the only image's disk. */
static void disk_says(const struct daemon *daemon, const char *request, const char *words)
{
    char command[512], text[8192];
    snprintf(command, sizeof(command),
             "PATH=$PATH:/usr/sbin:/sbin debugfs -R '%s' %s/images/*.img 2>/dev/null", request,
             daemon->data);
    FILE *pipe = popen(command, "re");
    assert_non_null(pipe);
    text[fread(text, 1, sizeof(text) - 1, pipe)] = '\0';
    assert_int_equal(pclose(pipe), 0);
    if (!strstr(text, words))
        fail_msg("%s: no \"%s\" in \"%s\"", request, words, text);
}

static void test_directory(void **state)
{
    struct daemon *daemon = *state;
    char words[256];
    snprintf(words, sizeof(words), "image import tiny %s/", directory);
    expect_run(daemon, words, 0, "docker.io/library/tiny:latest  sha256:", NULL);
    disk_says(daemon, "cat /bin/sh", "#!");
    disk_says(daemon, "stat /bin/sh", "User:    12   Group:    34");
    disk_says(daemon, "stat /bin/sh", "Links: 2");
    disk_says(daemon, "stat /link", "link dest: \"/bin/../bin/sh\"");
    disk_says(daemon, "cat \"/\xc3\xa4 b\"", "odd");
    disk_says(daemon, "stat /sparse", "Size: 33554435");
    disk_says(daemon, "stat /sparse", "Blockcount: 8\n");
}

static void test_archive(void **state)
{
    struct daemon *daemon = *state;
    char words[512];
    snprintf(words, sizeof(words),
             "--json image import me/app:2 %s --entrypoint /bin/sh --cmd -c --cmd ls --env A=b=c "
             "-w /srv --tag k=v",
             archive);
    json_t *json = run_json(daemon, words, 0);
    assert_string_equal(text_of(json, "name"), "docker.io/me/app:2");
    assert_true(json_is_number(json_object_get(json, "elapsed_ms")));
    json_t *wanted =
        json_pack("{s:[s], s:[s, s], s:{s:s}, s:s, s:{s:s}}", "entrypoint", "/bin/sh", "cmd", "-c",
                  "ls", "env", "A", "b=c", "working_dir", "/srv", "tags", "k", "v");
    const char *key;
    json_t *value;
    json_object_foreach(wanted, key, value)
        assert_true(json_equal(json_object_get(json, key), value));
    json_decref(wanted);
    json_decref(json);
    expect_run(daemon, "image ls", 0, "docker.io/me/app:2  ", NULL);
    expect_run(daemon, "image inspect me/app:2", 0, "/bin/sh", NULL);
    json = run_json(daemon, "image ls --json", 0);
    size_t last = json_array_size(json) - 1; /* a guest kit, if there is one, is the first */
    assert_string_equal(text_of(json_array_get(json, last), "name"), "docker.io/me/app:2");
    json_decref(json);
    expect_run(daemon, "image rm me/app:2", 0, "", NULL);
    expect_run(daemon, "image rm me/app:2", 1, NULL,
               "tine: image rm me/app:2: image me/app:2 is not");
    expect_run(daemon, "image inspect me/app:2", 1, NULL, "is not here");
}

/* From standard input, by way of a shell. */
static void test_standard_input(void **state)
{
    struct daemon *daemon = *state;
    char command[512];
    snprintf(command, sizeof(command), "%s --socket %s image import piped - <%s >/dev/null",
             tine_path, daemon->socket, archive);
    assert_int_equal(system(command), 0);
    expect_run(daemon, "image inspect piped", 0, "docker.io/library/piped:latest", NULL);
    struct outcome outcome = program_run(daemon, "image import empty -", NULL);
    assert_int_equal(outcome.status, 1);
    assert_non_null(strstr(outcome.err, "the archive is"));
    outcome_release(&outcome);
}

static void test_failures(void **state)
{
    struct daemon *daemon = *state;
    char words[512], path[256];
    expect_run(daemon, "image import x /none/such", 1, NULL,
               "tine: image import x: /none/such: No such file or directory\n");
    snprintf(words, sizeof(words), "image import x %s --env A", archive);
    expect_run(daemon, words, 1, NULL, "--env: \"A\" is not KEY=VALUE");
    snprintf(words, sizeof(words), "image import x %s --tag =v", archive);
    expect_run(daemon, words, 1, NULL, "--tag: \"=v\" is not KEY=VALUE");
    snprintf(words, sizeof(words), "image import x %s --size-limit 1", archive);
    expect_run(daemon, words, 1, NULL, "more than the limit of 1 bytes (at \"bin/sh\")");
    snprintf(words, sizeof(words), "image import x %s --entry-limit 1", directory);
    expect_run(daemon, words, 1, NULL, "more than the limit of 1 files and directories");
    snprintf(words, sizeof(words), "image import tine/guest %s", archive);
    expect_run(daemon, words, 1, NULL, "tine/guest is the guest kit's name");
    snprintf(words, sizeof(words), "image import x %s", archive);
    expect_run(daemon, words, 0, "", NULL);
    expect_run(daemon, words, 1, NULL, "there is an image docker.io/library/x:latest already");
    snprintf(words, sizeof(words), "image import x %s", directory);
    expect_run(daemon, words, 1, NULL, "there is an image docker.io/library/x:latest already");
    snprintf(words, sizeof(words), "image import B %s", archive);
    expect_run(daemon, words, 1, NULL, "name: \"B\" is not an image reference");
    /* What is not an archive at all. */
    snprintf(path, sizeof(path), "%s/bin/sh", directory);
    snprintf(words, sizeof(words), "image import y %s", path);
    expect_run(daemon, words, 1, NULL, "the archive is");
    expect_run(daemon, "image import y", 2, NULL, "");
    expect_run(daemon, "image pull y", 2, NULL, "unknown command \"pull\"");
}

static void test_run(void **state)
{
    struct daemon *daemon = *state;
    char words[256];
    snprintf(words, sizeof(words), "image import tiny %s", archive);
    expect_run(daemon, words, 0, "", NULL);
    expect_run(daemon, "run --image tiny --name a --overlay-size 1GB", 0, "a  ", NULL);
    expect_run(daemon, "run tiny:latest --name b", 0, "b  ", NULL);
    json_t *json = run_json(daemon, "--json inspect a", 0);
    assert_string_equal(text_of(json, "image"), "docker.io/library/tiny:latest");
    json_decref(json);
    expect_run(daemon, "run tiny --image tiny", 2, NULL, "the image is given twice");
    expect_run(daemon, "run --image none", 1, NULL, "image none is not here");
    expect_run(daemon, "completion words -- run ti", 0, "tiny\n", NULL);
    expect_run(daemon, "completion words -- run --image ti", 0, "tiny\n", NULL);
    expect_run(daemon, "completion words -- image rm ti", 0, "tiny\n", NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_directory), TEST(test_archive), TEST(test_standard_input),
        TEST(test_failures),  TEST(test_run),
    };
    if (argc != 3)
        return 2;
    tine_path = argv[1];
    program_path_set(argv[1]);
    double_path = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
