/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are wrong, and VMMs and guests that don't get up: one clear line, nothing left. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "listing.h"

static void assert_refused(struct fixture *fixture, const struct instance_create_request *request,
                           enum error_code code, const char *words)
{
    struct error err = {0};
    _cleanup_(free) struct instance_record *records = NULL;
    size_t count = 1;
    _cleanup_(free) char *before = listing(fixture->dir);
    assert_fails(instance_create(fixture->host, request, NULL, &err), &err, code, words);
    _cleanup_(free) char *after = listing(fixture->dir);
    assert_string_equal(before, after);
    assert_int_equal(instance_list(fixture->host, &records, &count, NULL), 0);
    assert_int_equal(count, 0);
}

#define REFUSED(change, code, words)                                              \
    do {                                                                          \
        struct instance_create_request request = fixture_request(fixture, "web"); \
        change;                                                                   \
        assert_refused(fixture, &request, code, words);                           \
    } while (0)

static void test_names(void **state)
{
    struct fixture *fixture = *state;
    char longest[66];
    memset(longest, 'a', sizeof(longest));
    longest[64] = '\0';
    REFUSED(request.name = "", ERROR_INVALID, "name");
    REFUSED(request.name = "Web", ERROR_INVALID, "'Web'");
    REFUSED(request.name = "../../etc", ERROR_INVALID, "name");
    REFUSED(request.name = longest, ERROR_INVALID, "63");
}

static void test_machine(void **state)
{
    struct fixture *fixture = *state;
    REFUSED(request.vcpus = 33, ERROR_INVALID, "vcpus");
    REFUSED(request.vcpus = UINT32_MAX, ERROR_INVALID, "vcpus");
    REFUSED(request.memory_bytes = 1, ERROR_INVALID, "memory");
    REFUSED(request.memory_bytes = (32ull << 20) - 1, ERROR_INVALID, "memory");
    REFUSED(request.memory_bytes = (64ull << 20) + 4096, ERROR_INVALID, "1 MiB");
    REFUSED(request.memory_bytes = 1ull << 50, ERROR_RESOURCES, "this host has");
}

static void test_hypervisor(void **state)
{
    struct fixture *fixture = *state;
    REFUSED(request.hypervisor = "qemu", ERROR_UNSUPPORTED,
            "hypervisor: 'qemu' is not here; there is builtin");
    struct instance_create_request request = fixture_request(fixture, "web");
    struct instance_record record;
    struct error err = {0};
    request.hypervisor = "builtin";
    assert_ok(instance_create(fixture->host, &request, &record, &err), &err);
    assert_string_equal(record.hypervisor, "builtin");
}

static void test_cmdline(void **state)
{
    struct fixture *fixture = *state;
    char longest[2100];
    memset(longest, 'a', sizeof(longest));
    longest[2048] = '\0';
    REFUSED(request.cmdline = longest, ERROR_INVALID, "2047");
    REFUSED(request.cmdline = "quiet\ninit=/bin/sh", ERROR_INVALID, "byte 5");
    REFUSED(request.cmdline = "\xc3\xa4", ERROR_INVALID, "byte 0");
}

static void test_tags(void **state)
{
    struct fixture *fixture = *state;
    char text[INSTANCE_TAGS_SIZE + 1];
    memset(text, 'x', sizeof(text));
    text[INSTANCE_TAGS_SIZE] = '\0';
    REFUSED(request.tags = text, ERROR_INVALID, "tags: more than 4095 bytes in all");
    struct instance_create_request request = fixture_request(fixture, "tagged");
    struct instance_record record;
    struct error err = {0};
    request.tags = "{\"team\":\"backend\"}";
    assert_ok(instance_create(fixture->host, &request, &record, &err), &err);
    fixture_reopen(fixture);
    assert_string_equal(fixture_get(fixture, "tagged").tags, request.tags);
    assert_ok(instance_stop(fixture->host, "tagged", 0, NULL, &err), &err);
    record = fixture_fork(fixture, "tagged", "fork", INSTANCE_STOPPED);
    assert_string_equal(record.tags, request.tags);
}

static int set_tags(struct fixture *fixture, const char *reference, const char *tags,
                    struct instance_record *record, struct error *err)
{
    const struct instance_changes changes = {.tags = tags};
    return instance_update(fixture->host, reference, &changes, record, err);
}

static void assert_tags(struct fixture *fixture, const char *tags)
{
    assert_string_equal(fixture_get(fixture, "web").tags, tags);
}

/* Other tags, in any state; nothing else changes. */
static void test_tags_that_change(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    char text[INSTANCE_TAGS_SIZE + 1];
    struct instance_record record, made = fixture_create(fixture, "web");
    assert_ok(set_tags(fixture, "web", "{\"a\":\"b\"}", &record, &err), &err);
    assert_string_equal(record.tags, "{\"a\":\"b\"}");
    assert_int_equal(record.state, INSTANCE_RUNNING);
    assert_int_equal(record.vmm_pid, made.vmm_pid);
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    assert_tags(fixture, "{\"a\":\"b\"}");
    assert_ok(set_tags(fixture, made.id, "{\"c\":\"d\"}", NULL, &err), &err);
    assert_state(fixture, "web", INSTANCE_STANDBY);
    fixture_reopen(fixture);
    assert_tags(fixture, "{\"c\":\"d\"}");

    memset(text, 'x', sizeof(text) - 1);
    text[INSTANCE_TAGS_SIZE] = '\0';
    assert_fails(set_tags(fixture, "web", text, NULL, &err), &err, ERROR_INVALID,
                 "tags: more than 4095 bytes in all");
    assert_fails(set_tags(fixture, "none", "", NULL, &err), &err, ERROR_NOT_FOUND, "none");
    setenv("TINE_FAILPOINT", "update-begun=EIO", 1);
    assert_fails(set_tags(fixture, "web", "", NULL, &err), &err, ERROR_SYSTEM, "EIO");
    setenv("TINE_FAILPOINT", "", 1);
    assert_tags(fixture, "{\"c\":\"d\"}");
    assert_ok(set_tags(fixture, "web", "", NULL, &err), &err);
    assert_tags(fixture, "");
    assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
}

static void test_files(void **state)
{
    struct fixture *fixture = *state;
    char empty[128], odd[128], fifo[128], below[128];
    snprintf(empty, sizeof(empty), "%s/empty", fixture->dir);
    snprintf(odd, sizeof(odd), "%s/odd", fixture->dir);
    snprintf(fifo, sizeof(fifo), "%s/fifo", fixture->dir);
    snprintf(below, sizeof(below), "%s/below", fixture->kernel);
    file_make(empty, "", 0);
    file_make(odd, "x", 513);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    REFUSED(request.kernel = "/nowhere/vmlinux", ERROR_INVALID, "/nowhere/vmlinux");
    REFUSED(request.kernel = below, ERROR_INVALID, "ENOTDIR");
    REFUSED(request.kernel = fixture->dir, ERROR_INVALID, "not a regular file");
    REFUSED(request.kernel = empty, ERROR_INVALID, "is empty");
    REFUSED(request.initrd = fifo, ERROR_INVALID, "not a regular file");
    REFUSED(request.disks[0].path = "/dev/null", ERROR_INVALID, "/dev/null");
    REFUSED(request.disks[1].path = odd, ERROR_INVALID, "513");
    REFUSED(request.disks[1].path = NULL, ERROR_INVALID, "path");
    REFUSED(request.disks[1].path = "/nowhere/disk", ERROR_INVALID, "ENOENT");
    REFUSED(request.disks[1].root = true, ERROR_INVALID, "root");
    REFUSED(request.disk_count = 9, ERROR_INVALID, "at most 8");
    REFUSED(request.image = "debian:12", ERROR_NOT_FOUND, "debian:12");
}

static void test_own_kernel(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record;
    char link[128];
    snprintf(link, sizeof(link), "%s/link", fixture->dir);
    assert_int_equal(symlink(fixture->kernel, link), 0);
    struct instance_create_request request = fixture_request(fixture, "own");
    request.kernel = link;
    request.cmdline = "quiet";
    assert_ok(instance_create(fixture->host, &request, &record, &err), &err);
    assert_string_equal(record.image, link);
    assert_string_equal(record.cmdline, "quiet");
    assert_false(record.has_initrd);
    assert_absent(fixture, record.id, GUEST_INITRD);
    /* A user's file is copied, even a read-only one: the user may change it. */
    assert_int_equal(guest_stat(fixture, record.id, GUEST_KERNEL).st_nlink, 1);
    assert_int_equal(guest_stat(fixture, record.id, "disks/0.img").st_nlink, 1);
    assert_int_equal(guest_stat(fixture, record.id, "disks/1.img").st_nlink, 1);
    assert_true(record.disk_bytes_copied < 2 << 20);
}

static void test_kit_files_are_linked(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "a");
    assert_int_equal(guest_stat(fixture, record.id, GUEST_KERNEL).st_nlink, 2);
    assert_int_equal(guest_stat(fixture, record.id, GUEST_INITRD).st_nlink, 2);
    struct instance_create_request request = fixture_request(fixture, "b");
    request.initrd = fixture->initrd;
    request.image = "tine/guest:latest";
    assert_ok(instance_create(fixture->host, &request, &record, &err), &err);
    assert_int_equal(guest_stat(fixture, record.id, GUEST_KERNEL).st_nlink, 3);
    assert_int_equal(guest_stat(fixture, record.id, GUEST_INITRD).st_nlink, 1);
}

static void test_defaults_and_generated_names(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record a, b;
    const struct instance_create_request request = {.name = NULL};
    assert_ok(instance_create(fixture->host, &request, &a, &err), &err);
    assert_ok(instance_create(fixture->host, &request, &b, &err), &err);
    assert_int_equal(a.vcpus, 2);
    assert_int_equal(a.memory_bytes, 1ull << 30);
    assert_string_not_equal(a.name, b.name);
    assert_true(instance_name_valid(a.name));
}

static void test_name_taken(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    _cleanup_(free) char *before = listing(fixture->dir);
    const struct instance_create_request request = fixture_request(fixture, "web");
    assert_fails(instance_create(fixture->host, &request, NULL, &err), &err, ERROR_NAME, "'web'");
    const struct instance_fork_request fork = {.name = "web", .from_running = true};
    assert_fails(instance_fork(fixture->host, "web", &fork, NULL, &err), &err, ERROR_NAME, "'web'");
    _cleanup_(free) char *after = listing(fixture->dir);
    assert_string_equal(before, after);
    /* It was not put to sleep for nothing. */
    assert_int_equal(fixture_get(fixture, "web").vmm_pid, record.vmm_pid);
}

static void test_fork_requests(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    fixture_create(fixture, "web");
    struct instance_fork_request fork = {.name = NULL, .from_running = true};
    assert_fails(instance_fork(fixture->host, "web", &fork, NULL, &err), &err, ERROR_INVALID,
                 "name");
    fork.name = "Bad_Name";
    assert_fails(instance_fork(fixture->host, "web", &fork, NULL, &err), &err, ERROR_INVALID,
                 "Bad_Name");
    fork.name = "good";
    fork.has_target = true;
    for (int s = INSTANCE_CREATED; s <= INSTANCE_UNKNOWN; s++) {
        fork.target = (enum instance_state)s;
        if (s != INSTANCE_RUNNING && s != INSTANCE_STANDBY && s != INSTANCE_STOPPED)
            assert_fails(instance_fork(fixture->host, "web", &fork, NULL, &err), &err,
                         ERROR_INVALID, instance_state_name(fork.target));
    }
}

/* A host of its own with another VMM or kit. */
static void with_host(struct fixture *fixture, const struct host_options *options,
                      enum error_code code, const char *words)
{
    struct error err = {0};
    fixture_close(fixture);
    fixture->host = host_open(options, &err);
    assert_ok(fixture->host ? 0 : -1, &err);
    REFUSED(, code, words);
    fixture_reopen(fixture);
}

static void test_vmm_that_does_not_start(void **state)
{
    struct fixture *fixture = *state;
    char script[128];
    struct host_options options = {.data_dir = fixture->data, .kit_dir = fixture->kit};
    options.vmm_binary = "/nowhere/tine-vmm";
    with_host(fixture, &options, ERROR_SYSTEM, "/nowhere/tine-vmm");
    snprintf(script, sizeof(script), "%s/vmm", fixture->dir);
    options.vmm_binary = script;
    file_make(script, "#!/bin/sh\necho 'open /dev/kvm: ENOENT' >&2\nexit 1\n", 0);
    with_host(fixture, &options, ERROR_SYSTEM, "EACCES");
    assert_int_equal(chmod(script, 0700), 0);
    with_host(fixture, &options, ERROR_SYSTEM, "open /dev/kvm: ENOENT");
}

static void test_no_kit(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    struct host_options options = {.data_dir = fixture->data, .vmm_binary = fixture->vmm};
    with_host(fixture, &options, ERROR_NOT_FOUND, "guest kit");
    snprintf(path, sizeof(path), "%s/vmlinux", fixture->kit);
    assert_int_equal(unlink(path), 0);
    options.kit_dir = fixture->kit;
    with_host(fixture, &options, ERROR_INVALID, "vmlinux");
}

/* A driver that lets the guest go in some way before its agent is ready. */
static struct hypervisor real;
static void (*mishap)(const struct vm_spec *spec, struct vm_process *process);

static int boot_with_mishap(const struct hypervisor *self, const struct vm_spec *spec,
                            struct vm_process *process, struct error *err)
{
    char path[512];
    /* A guest that boots, but whose ready report goes nowhere. */
    snprintf(path, sizeof(path), "%s/" GUEST_VSOCK_SOCKET "_1025", spec->guest_dir);
    unlink(path);
    int r = real.boot(self, spec, process, err);
    if (r == 0)
        mishap(spec, process);
    return r;
}

static void die(const struct vm_spec *spec, struct vm_process *process)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/" GUEST_CONSOLE_LOG, spec->guest_dir);
    file_make(path, "VFS: Unable to mount root fs\n", 0);
    assert_int_equal(kill(process->pid, 9), 0);
}

static void be_silent(const struct vm_spec *spec, struct vm_process *process)
{
}

static void test_guest_that_does_not_get_ready(void **state)
{
    struct fixture *fixture = *state;
    real = hypervisor_builtin(fixture->vmm);
    struct hypervisor broken = real;
    broken.boot = boot_with_mishap;
    struct host_options options = {.data_dir = fixture->data,
                                   .kit_dir = fixture->kit,
                                   .agent_timeout_ms = 30000,
                                   .hypervisor = &broken};
    mishap = die;
    with_host(fixture, &options, ERROR_SYSTEM, "Unable to mount root fs");
    mishap = be_silent;
    options.agent_timeout_ms = 300;
    with_host(fixture, &options, ERROR_TIMEOUT, "300 ms");
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_names),
    FIXTURE_TEST(test_machine),
    FIXTURE_TEST(test_hypervisor),
    FIXTURE_TEST(test_cmdline),
    FIXTURE_TEST(test_tags),
    FIXTURE_TEST(test_tags_that_change),
    FIXTURE_TEST(test_files),
    FIXTURE_TEST(test_own_kernel),
    FIXTURE_TEST(test_kit_files_are_linked),
    FIXTURE_TEST(test_defaults_and_generated_names),
    FIXTURE_TEST(test_name_taken),
    FIXTURE_TEST(test_fork_requests),
    FIXTURE_TEST(test_vmm_that_does_not_start),
    FIXTURE_TEST(test_no_kit),
    FIXTURE_TEST(test_guest_that_does_not_get_ready),
};
FIXTURE_MAIN(tests)
