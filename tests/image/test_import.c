/* SPDX-License-Identifier: Apache-2.0 */
/* Imports of archives, what becomes of them, and what is left of those that fail on the way. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "image/digest.h"
#include "image/image.h"
#include "import_fixture.h"
#include "tar.h"

#define DIRECTORY (S_IFDIR | 0755)

static void check_good(const struct import_fixture *fixture, const struct image *image)
{
    static const char *const says[][2] = {
        {"cat /etc/motd", "hello"},
        {"stat /etc/motd", "User:  1000   Group:  1001"},
        {"stat /etc/motd", "Links: 2"},
        {"stat /etc/motd", "Sun Sep  9 01:46:40 2001"},
        {"stat /etc", "Mode:  0555"},
        {"stat /etc", "User:     7   Group:     8"},
        {"cat /etc/again", "hello"},
        {"stat /bin/tool", "Mode:  04755"},
        {"stat /bin/link", "Fast link dest: \"/etc/../motd\""},
        {"stat /a/b/c", "Type: directory"},
        {"cat /a/b/c/d", "deep"},
        {"cat /etc/\xc3\xa4", "umlaut"},
        {"ea_list /noted", "user.note (8) = \"remember\""},
        {"stat /pipe", "Type: FIFO"},
        {"cat /twice", "second"},
        {"stat /large", "Size: 3145728"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(says); i++)
        disk_says(fixture, image, says[i][0], says[i][1]);
}

static void check_disk(const struct import_fixture *fixture, const struct image *image)
{
    char path[128], hex[DIGEST_HEX_SIZE];
    struct stat st;
    snprintf(path, sizeof(path), "%s/images/%s.img", fixture->data, image->id);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
    assert_int_equal(st.st_size, image->size_bytes);
    assert_int_equal(digest_file(AT_FDCWD, path, hex, NULL), 0);
    assert_string_equal(image->digest + strlen(DIGEST_PREFIX), hex);
    char command[256];
    snprintf(command, sizeof(command),
             "PATH=$PATH:/usr/sbin:/sbin fsck.ext4 -f -n %s/images/%s.img >/dev/null 2>&1",
             fixture->data, image->id);
    assert_int_equal(system(command), 0);
}

static void test_filters(void **state)
{
    static const char *const filters[] = {"none", "gzip", "xz", "zstd"};
    struct import_fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
        struct image image, found;
        struct error err = {0};
        size_t length;
        _cleanup_(free) char *data = good_tar(filters[i], &length);
        if (import_tar(fixture, filters[i], data, length, &image, &err) < 0)
            fail_msg("%s", err.message);
        check_good(fixture, &image);
        check_disk(fixture, &image);
        assert_int_equal(image_get(fixture->images, filters[i], &found, &err), 0);
        assert_string_equal(found.digest, image.digest);
        assert_int_equal(names_left(fixture), i + 1);
    }
}

static void test_record(void **state)
{
    struct import_fixture *fixture = *state;
    const struct image_import_request request = {.name = "ghcr.io/a/b:1",
                                                 .program = {.entrypoint = "[\"/bin/tool\"]",
                                                             .cmd = "[\"-x\"]",
                                                             .env = "{\"A\":\"b\"}",
                                                             .working_dir = "/etc"},
                                                 .tags = "{\"k\":\"v\"}"};
    struct image image, found;
    struct error err = {0};
    char reference[256];
    size_t length;
    _cleanup_(free) char *data = good_tar("none", &length);
    assert_int_equal(import_request(fixture, &request, data, length, &image, &err), 0);
    import_close(fixture);
    import_open(fixture);
    assert_int_equal(image_get(fixture->images, "ghcr.io/a/b:1", &found, &err), 0);
    assert_string_equal(found.name, "ghcr.io/a/b:1");
    assert_string_equal(found.program.entrypoint, request.program.entrypoint);
    assert_string_equal(found.program.cmd, request.program.cmd);
    assert_string_equal(found.program.env, request.program.env);
    assert_string_equal(found.program.working_dir, request.program.working_dir);
    assert_string_equal(found.tags, request.tags);
    assert_string_equal(found.digest, image.digest);
    assert_int_equal(found.size_bytes, image.size_bytes);
    assert_int_equal(found.created_at_ns, image.created_at_ns);
    snprintf(reference, sizeof(reference), "ghcr.io/a/b@%s", image.digest);
    assert_int_equal(image_get(fixture->images, reference, &found, &err), 0);
    assert_string_equal(found.id, image.id);
    snprintf(reference, sizeof(reference), "ghcr.io/a/bb@%s", image.digest);
    assert_int_equal(image_get(fixture->images, reference, &found, &err), -ENOENT);
    assert_int_equal(image_get(fixture->images, "ghcr.io/a/b", &found, &err), -ENOENT);
    assert_int_equal(err.code, ERROR_NOT_FOUND);
}

/* Of this thread, and so of the threads it starts. Returns whether it had it. */
static bool may_make_devices(bool may)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    assert_int_equal(syscall(SYS_capget, &header, data), 0);
    bool had = data[0].effective & (1u << CAP_MKNOD);
    data[0].effective &= ~(1u << CAP_MKNOD);
    data[0].effective |= may ? data[0].permitted & (1u << CAP_MKNOD) : 0;
    assert_int_equal(syscall(SYS_capset, &header, data), 0);
    return had;
}

/* Kept by whoever may make them, left out by whoever may not. */
static void test_devices(void **state)
{
    struct import_fixture *fixture = *state;
    struct image image;
    struct error err = {0};
    size_t length;
    struct tar *tar = tar_begin("none");
    tar_add(tar, &(struct tar_entry){
                     .path = "dev/null", .mode = S_IFCHR | 0666, .major = 1, .minor = 3});
    tar_add(tar, &(struct tar_entry){.path = "dev/vda", .mode = S_IFBLK | 0600, .major = 254});
    tar_add(tar, &(struct tar_entry){.path = "dev/file", .content = "kept"});
    _cleanup_(free) char *data = tar_end(tar, &length);
    bool may = may_make_devices(false);
    int r = import_tar(fixture, "without", data, length, &image, &err);
    may_make_devices(may);
    if (r < 0)
        fail_msg("%s", err.message);
    disk_says(fixture, &image, "cat /dev/file", "kept");
    _cleanup_(free) char *names = disk_ask(fixture, &image, "ls /dev");
    assert_null(strstr(names, "null"));
    assert_null(strstr(names, "vda"));
    if (!may)
        return;
    assert_int_equal(import_tar(fixture, "with", data, length, &image, &err), 0);
    disk_says(fixture, &image, "stat /dev/null", "Type: character special");
    disk_says(fixture, &image, "stat /dev/vda", "Type: block special");
}

/* Two at once under one name: one of them gets it. */
static void test_race(void **state)
{
    struct import_fixture *fixture = *state;
    const struct image_import_request request = {.name = "x"};
    struct image_import *imports[2];
    struct image image;
    struct error err = {0};
    size_t length;
    _cleanup_(free) char *data = good_tar("none", &length);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(image_import_begin(fixture->images, &request, &imports[i], &err), 0);
        assert_true(image_import_feed(imports[i], data, length));
    }
    assert_int_equal(image_import_finish(imports[0], &image, &err), 0);
    assert_int_equal(image_import_finish(imports[1], &image, &err), -EEXIST);
    assert_int_equal(err.code, ERROR_NAME);
    assert_int_equal(names_left(fixture), 1);
}

static void test_cancel(void **state)
{
    struct import_fixture *fixture = *state;
    const struct image_import_request request = {.name = "x"};
    struct image_import *import = NULL;
    size_t length;
    _cleanup_(free) char *data = good_tar("none", &length);
    for (size_t fed = 0; fed <= length; fed += length / 3) {
        assert_int_equal(image_import_begin(fixture->images, &request, &import, NULL), 0);
        image_import_feed(import, data, fed);
        image_import_cancel(import);
        assert_int_equal(names_left(fixture), 0);
        assert_int_equal(rows_left(fixture), 0);
    }
    image_import_cancel(NULL);
}

/* Whoever goes on feeding an import that has failed is not stopped by a signal. */
static void test_feed_on(void **state)
{
    struct import_fixture *fixture = *state;
    const struct image_import_request request = {.name = "x"};
    static const char noise[65536] = "no tar";
    struct image_import *import = NULL;
    struct image image;
    struct error err = {0};
    assert_int_equal(image_import_begin(fixture->images, &request, &import, NULL), 0);
    while (image_import_feed(import, noise, sizeof(noise))) {
    }
    assert_false(image_import_feed(import, noise, sizeof(noise)));
    assert_int_equal(image_import_finish(import, &image, &err), -EINVAL);
}

static void test_delete(void **state)
{
    struct import_fixture *fixture = *state;
    struct image image;
    struct error err = {0};
    struct stack_result result;
    struct stat st;
    size_t length;
    _cleanup_(free) char *data = good_tar("none", &length);
    assert_int_equal(import_tar(fixture, "x", data, length, &image, &err), 0);
    _cleanup_(close) int dirfd = dir_open(AT_FDCWD, fixture->dir, &err);
    const struct stack_file to = {dirfd, "0.img", "guests/x/disks/0.img"};
    assert_int_equal(image_share(fixture->images, &image, &to, &result, &err), 0);
    assert_int_equal(result.method, STACK_LINK);
    assert_int_equal(result.link_count, 2);
    assert_int_equal(image_delete(fixture->images, "x", &err), 0);
    assert_int_equal(names_left(fixture), 0);
    assert_int_equal(rows_left(fixture), 0);
    assert_int_equal(fstatat(dirfd, "0.img", &st, 0), 0);
    assert_int_equal(st.st_size, image.size_bytes);
    assert_int_equal(image_delete(fixture->images, "x", &err), -ENOENT);
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    const struct stack_file again = {dirfd, "1.img", "guests/x/disks/1.img"};
    assert_int_equal(image_share(fixture->images, &image, &again, &result, &err), -ENOENT);
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    assert_int_equal(import_tar(fixture, "x", data, length, &image, &err), 0);
}

/* A step fails: nothing is left, and the name is free. */
static void test_failures(void **state)
{
    struct import_fixture *fixture = *state;
    static const char *const points[] = {"import-unpacked=ENOSPC", "import-disk=EIO",
                                         "import-inserted=EIO"};
    struct image image;
    struct error err = {0};
    size_t length;
    _cleanup_(free) char *data = good_tar("none", &length);
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        setenv("TINE_FAILPOINT", points[i], 1);
        assert_true(import_tar(fixture, "x", data, length, &image, &err) < 0);
        assert_non_null(strstr(err.message, "failpoint"));
        assert_int_equal(names_left(fixture), 0);
        assert_int_equal(rows_left(fixture), 0);
    }
    unsetenv("TINE_FAILPOINT");
    assert_int_equal(import_tar(fixture, "x", data, length, &image, &err), 0);
}

/* What a tined that was killed has left is gone at the next start. */
static void test_sweep(void **state)
{
    struct import_fixture *fixture = *state;
    struct image image;
    struct error err = {0};
    char path[192];
    size_t length;
    _cleanup_(free) char *data = good_tar("none", &length);
    assert_int_equal(import_tar(fixture, "kept", data, length, &image, &err), 0);
    struct image half = image;
    snprintf(half.id, sizeof(half.id), "%024d", 7);
    snprintf(half.name, sizeof(half.name), "docker.io/library/half:latest");
    assert_int_equal(store_image_insert(fixture->store, &half, &err), 0);
    snprintf(path, sizeof(path), "%s/images/%s.tine-tmp-0123456789abcdef/tree/etc", fixture->data,
             half.id);
    assert_int_equal(dir_make_all(path, &err), 0);
    import_close(fixture);
    import_open(fixture);
    assert_int_equal(names_left(fixture), 1);
    assert_int_equal(rows_left(fixture), 1);
    check_good(fixture, &image);
}

/* While it unpacks, and while the disk image is made. */
static void test_full_disk(void **state)
{
    struct import_fixture *fixture = *state;
    static const char *const sizes[] = {"size=1m", "size=4m"};
    struct image image;
    size_t length;
    struct tar *tar = tar_begin("zstd");
    for (int i = 0; i < 8; i++) {
        char name[2] = {(char)('a' + i), '\0'};
        char text[300000];
        memset(text, 'a' + i, sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        tar_add(tar, &(struct tar_entry){.path = name, .content = text});
    }
    _cleanup_(free) char *data = tar_end(tar, &length);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        char path[64];
        struct error err = {0};
        snprintf(path, sizeof(path), "%s/images", fixture->data);
        assert_int_equal(mount("none", path, "tmpfs", 0, sizes[i]), 0);
        image_store_close(fixture->images);
        fixture->images = image_store_open(NULL, fixture->data, fixture->store, &err);
        int r = import_tar(fixture, "x", data, length, &image, &err);
        size_t left = names_left(fixture);
        image_store_close(fixture->images);
        assert_int_equal(umount2(path, MNT_DETACH), 0);
        fixture->images = image_store_open(NULL, fixture->data, fixture->store, NULL);
        if (r >= 0 || err.code != ERROR_RESOURCES)
            fail_msg("%s: %d \"%s\"", sizes[i], r, err.message);
        assert_int_equal(left, 0);
        assert_int_equal(rows_left(fixture), 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, import_setup, import_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_filters), TEST(test_record),    TEST(test_devices), TEST(test_race),
        TEST(test_cancel),  TEST(test_feed_on),   TEST(test_delete),  TEST(test_failures),
        TEST(test_sweep),   TEST(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
