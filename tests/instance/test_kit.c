/* SPDX-License-Identifier: Apache-2.0 */
/* A guest kit on another file system than the instances. */
#include "fixture.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "stack/stack.h"

static struct path kit_copy(const struct fixture *fixture, const char *name)
{
    struct path path;
    snprintf(path.text, sizeof(path.text), "%s/kit/%s", fixture->data, name);
    return path;
}

static struct stat stat_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st;
}

static void kit_make(const struct fixture *fixture, const char *name, const char *text)
{
    struct path path;
    snprintf(path.text, sizeof(path.text), "%s/%s", fixture->kit, name);
    file_make(path.text, text, 0);
}

/* The kit moves to a tmpfs that is seen by this test only and goes with its namespace. */
static void move_kit(struct fixture *fixture)
{
    fixture_close(fixture);
    assert_int_equal(unshare(CLONE_NEWNS), 0);
    assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    assert_int_equal(mount("none", fixture->kit, "tmpfs", 0, NULL), 0);
    kit_make(fixture, "vmlinux", "kit kernel elsewhere");
    kit_make(fixture, "initrd.img", "kit initrd elsewhere");
    fixture_open(fixture);
}

static int teardown(void **state)
{
    const struct fixture *fixture = *state;
    if (umount2(fixture->kit, MNT_DETACH) < 0 && errno != EINVAL)
        return -1;
    return fixture_teardown(state);
}

static void test_one_copy_serves_all(void **state)
{
    struct fixture *fixture = *state;
    move_kit(fixture);
    uint64_t fallbacks = stack_fallback_count(EXDEV);
    struct instance_record a = fixture_create_diskless(fixture, "a");
    struct instance_record b = fixture_create_diskless(fixture, "b");
    struct stat copy = stat_of(kit_copy(fixture, "vmlinux").text);
    assert_int_equal(guest_stat(fixture, a.id, "boot/kernel").st_ino, copy.st_ino);
    assert_int_equal(guest_stat(fixture, b.id, "boot/kernel").st_ino, copy.st_ino);
    assert_int_equal(copy.st_nlink, 3);
    assert_int_equal(copy.st_size, strlen("kit kernel elsewhere"));
    assert_int_equal(stat_of(kit_copy(fixture, "initrd.img").text).st_nlink, 3);
    assert_int_equal(stack_fallback_count(EXDEV), fallbacks);
}

static void test_a_new_kit_is_copied_anew(void **state)
{
    struct fixture *fixture = *state;
    move_kit(fixture);
    struct instance_record before = fixture_create_diskless(fixture, "before");
    kit_make(fixture, "vmlinux", "a newer kernel");
    struct instance_record after = fixture_create_diskless(fixture, "after");
    struct stat old = guest_stat(fixture, before.id, "boot/kernel");
    struct stat new = guest_stat(fixture, after.id, "boot/kernel");
    assert_int_not_equal(old.st_ino, new.st_ino);
    assert_int_equal(old.st_size, strlen("kit kernel elsewhere"));
    assert_int_equal(old.st_nlink, 1);
    assert_int_equal(new.st_size, strlen("a newer kernel"));
    assert_int_equal(guest_stat(fixture, before.id, "boot/initrd").st_ino,
                     guest_stat(fixture, after.id, "boot/initrd").st_ino);
}

/* Killed between the old copy and the new one, or in the middle: the next request makes it. */
static void test_a_missing_copy_is_made_again(void **state)
{
    struct fixture *fixture = *state;
    move_kit(fixture);
    struct instance_record a = fixture_create_diskless(fixture, "a");
    assert_int_equal(unlink(kit_copy(fixture, "vmlinux").text), 0);
    file_make(kit_copy(fixture, "vmlinux.tine-tmp-0123456789abcdef").text, "half", 0);
    struct instance_record b = fixture_create_diskless(fixture, "b");
    assert_int_equal(guest_stat(fixture, a.id, "boot/kernel").st_nlink, 1);
    assert_int_equal(guest_stat(fixture, b.id, "boot/kernel").st_nlink, 2);
    assert_int_equal(access(kit_copy(fixture, "vmlinux.tine-tmp-0123456789abcdef").text, F_OK), -1);
}

static void test_a_kit_of_the_same_file_system_is_linked(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record a = fixture_create_diskless(fixture, "a");
    struct path kernel;
    snprintf(kernel.text, sizeof(kernel.text), "%s/vmlinux", fixture->kit);
    assert_int_equal(guest_stat(fixture, a.id, "boot/kernel").st_ino, stat_of(kernel.text).st_ino);
    assert_int_equal(access(kit_copy(fixture, "vmlinux").text, F_OK), -1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_one_copy_serves_all, fixture_setup, teardown),
    cmocka_unit_test_setup_teardown(test_a_new_kit_is_copied_anew, fixture_setup, teardown),
    cmocka_unit_test_setup_teardown(test_a_missing_copy_is_made_again, fixture_setup, teardown),
    FIXTURE_TEST(test_a_kit_of_the_same_file_system_is_linked),
};
FIXTURE_MAIN(tests)
