/* SPDX-License-Identifier: Apache-2.0 */
/* Instances of an imported image: their disks, and what becomes of them when the image goes. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../image/tar.h"
#include "base/cleanup.h"
#include "image/image.h"

#define OVERLAY ((uint64_t)100 << 20)

static void import(struct fixture *fixture, struct image *image)
{
    const struct image_import_request request = {.name = "tiny"};
    struct image_import *import = NULL;
    struct error err = {0};
    size_t length;
    struct tar *tar = tar_begin("none");
    tar_add(tar, &(struct tar_entry){.path = "etc/origin", .content = "imported"});
    _cleanup_(free) char *data = tar_end(tar, &length);
    assert_ok(image_import_begin(host_images(fixture->host), &request, &import, &err), &err);
    image_import_feed(import, data, length);
    assert_ok(image_import_finish(import, image, &err), &err);
}

static struct instance_create_request request_of(const char *name)
{
    return (struct instance_create_request){.name = name,
                                            .image = "tiny",
                                            .vcpus = 1,
                                            .memory_bytes = FIXTURE_MEMORY,
                                            .overlay_bytes = OVERLAY};
}

static struct instance_record create(struct fixture *fixture, const char *name)
{
    const struct instance_create_request request = request_of(name);
    struct instance_record record;
    struct error err = {0};
    assert_ok(instance_create(fixture->host, &request, &record, &err), &err);
    return record;
}

static struct stat disk_stat(const struct fixture *fixture, const struct image *image)
{
    char path[160];
    struct stat st;
    snprintf(path, sizeof(path), "%s/images/%s.img", fixture->data, image->id);
    assert_int_equal(stat(path, &st), 0);
    return st;
}

static void test_disks(void **state)
{
    struct fixture *fixture = *state;
    struct instance_create_request request = request_of("web");
    struct instance_record record;
    struct image image;
    struct error err = {0};
    import(fixture, &image);
    request.disks[0] =
        (struct instance_disk_request){.path = fixture->read_only, .read_only = true};
    request.disk_count = 1;
    assert_ok(instance_create(fixture->host, &request, &record, &err), &err);
    assert_string_equal(record.image, "docker.io/library/tiny:latest");
    assert_string_equal(record.cmdline,
                        HYPERVISOR_CMDLINE " tine.root=/dev/vda tine.overlay=/dev/vdb");
    assert_int_equal(record.disk_count, 3);
    assert_true(record.disks[0].read_only && !record.disks[1].read_only);
    assert_true(record.disks[2].read_only);
    assert_int_equal(disk_stat(fixture, &image).st_nlink, 2);
    assert_int_equal(guest_stat(fixture, record.id, "disks/0.img").st_ino,
                     disk_stat(fixture, &image).st_ino);
    struct stat overlay = guest_stat(fixture, record.id, "disks/1.img");
    assert_int_equal(overlay.st_size, OVERLAY);
    assert_int_equal(overlay.st_nlink, 1);
    assert_true(overlay.st_blocks * 512 < (4 << 20));
    struct stat given;
    assert_int_equal(stat(fixture->read_only, &given), 0);
    assert_int_equal(guest_stat(fixture, record.id, "disks/2.img").st_size, given.st_size);
}

static void test_defaults(void **state)
{
    struct fixture *fixture = *state;
    struct instance_create_request request = request_of("web");
    struct instance_record record;
    struct image image;
    struct error err = {0};
    import(fixture, &image);
    request.overlay_bytes = 0;
    request.cmdline = "quiet";
    request.image = "docker.io/library/tiny:latest";
    assert_ok(instance_create(fixture->host, &request, &record, &err), &err);
    assert_int_equal(guest_stat(fixture, record.id, "disks/1.img").st_size, 10ull << 30);
    assert_string_equal(record.cmdline, "quiet tine.root=/dev/vda tine.overlay=/dev/vdb");
}

/* Forks and snapshots link the image's disk and own their overlay; the image and the source go. */
static void test_forks(void **state)
{
    struct fixture *fixture = *state;
    struct image image;
    struct error err = {0};
    import(fixture, &image);
    struct instance_record web = create(fixture, "web");
    guest_remember(fixture, "web", "note");
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    struct instance_record a = fixture_fork(fixture, "web", "a", INSTANCE_RUNNING);
    struct instance_record b = fixture_fork(fixture, "web", "b", INSTANCE_STOPPED);
    struct snapshot_record snapshot = fixture_snapshot(fixture, "web", INSTANCE_STANDBY, "warm");
    ino_t inode = disk_stat(fixture, &image).st_ino;
    assert_int_equal(disk_stat(fixture, &image).st_nlink, 5);
    assert_ok(instance_delete(fixture->host, "web", &err), &err);
    assert_ok(image_delete(host_images(fixture->host), "tiny", &err), &err);
    assert_int_equal(guest_stat(fixture, a.id, "disks/0.img").st_ino, inode);
    assert_int_equal(guest_stat(fixture, b.id, "disks/0.img").st_ino, inode);
    assert_int_equal(snapshot_stat(fixture, snapshot.id, "disks/0.img").st_ino, inode);
    assert_int_equal(guest_stat(fixture, a.id, "disks/0.img").st_nlink, 3);
    assert_int_equal(guest_stat(fixture, a.id, "disks/1.img").st_nlink, 3);
    assert_int_equal(guest_stat(fixture, a.id, "disks/1.img.top").st_nlink, 1);
    assert_int_not_equal(guest_stat(fixture, a.id, "disks/1.img.top").st_ino,
                         guest_stat(fixture, b.id, "disks/1.img.top").st_ino);
    assert_recalls(fixture, "a", "note");
    fixture_reopen(fixture);
    assert_ok(instance_start(fixture->host, "b", NULL, &err), &err);
    assert_string_equal(fixture_get(fixture, "b").image, web.image);
    assert_ok(instance_stop(fixture->host, "a", 0, NULL, &err), &err);
    assert_ok(instance_start(fixture->host, "a", NULL, &err), &err);
}

static void refused(struct fixture *fixture, const struct instance_create_request *request,
                    enum error_code code, const char *words)
{
    struct instance_record record;
    struct error err = {0};
    assert_fails(instance_create(fixture->host, request, &record, &err), &err, code, words);
}

static void test_refused(void **state)
{
    struct fixture *fixture = *state;
    struct image image;
    char long_cmdline[2030];
    import(fixture, &image);
    struct instance_create_request request = request_of("web");
    request.image = "none";
    refused(fixture, &request, ERROR_NOT_FOUND, "image none is not here");
    request.kernel = fixture->kernel;
    refused(fixture, &request, ERROR_NOT_FOUND, "image none is not here");
    request.image = "tiny";
    refused(fixture, &request, ERROR_INVALID, "kernel: an imported image boots with");
    request.kernel = NULL;
    request.initrd = fixture->initrd;
    refused(fixture, &request, ERROR_INVALID, "initrd: an imported image boots with");
    request = request_of("web");
    request.overlay_bytes = 1 << 20;
    refused(fixture, &request, ERROR_INVALID, "overlay_size: 1048576 bytes, it must be 64 MiB to");
    request.overlay_bytes = 17ull << 40;
    refused(fixture, &request, ERROR_INVALID, "overlay_size");
    request = fixture_request(fixture, "web");
    request.image = "tiny";
    refused(fixture, &request, ERROR_INVALID, "the root is the image's");
    request.disk_count = GUEST_MAX_DISKS - 1;
    refused(fixture, &request, ERROR_INVALID, "7, at most 6 are possible besides the image's");
    request = request_of("web");
    memset(long_cmdline, 'x', sizeof(long_cmdline) - 1);
    long_cmdline[sizeof(long_cmdline) - 1] = '\0';
    request.cmdline = long_cmdline;
    refused(fixture, &request, ERROR_INVALID, "with an image");
    assert_int_equal(disk_stat(fixture, &image).st_nlink, 1);
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_disks),
    FIXTURE_TEST(test_defaults),
    FIXTURE_TEST(test_forks),
    FIXTURE_TEST(test_refused),
};
FIXTURE_MAIN(tests)
