/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints of a VM that is started, paused, saved and loaded, and the phases in which each
 * endpoint is legal. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api_fixture.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "routes.h"

static void test_actions(void **state)
{
    struct fixture *f = *state;
    struct fake_calls *calls = fake_vmm_calls(f->vmm);
    expect(f, 400, "'action_type' is missing", "PUT", "/actions", "{}");
    expect(f, 400, "'action_type' must be one of", "PUT", "/actions",
           "{\"action_type\":\"Explode\"}");
    expect(f, 400, "before starting", "PUT", "/actions", "{\"action_type\":\"SendCtrlAltDel\"}");
    fake_vmm_fail(f->vmm, EIO, "no kernel is configured");
    expect(f, 400, "no kernel is configured", "PUT", "/actions",
           "{\"action_type\":\"InstanceStart\"}");
    fixture_start(f); /* a failed start can be tried again */
    assert_int_equal(calls->start, 1);
    expect(f, 400, "after starting", "PUT", "/actions", "{\"action_type\":\"InstanceStart\"}");
    expect(f, 204, NULL, "PUT", "/actions", "{\"action_type\":\"SendCtrlAltDel\"}");
    assert_int_equal(calls->ctrl_alt_del, 1);
    /* Without metrics a flush does nothing, successfully. */
    expect(f, 204, NULL, "PUT", "/actions", "{\"action_type\":\"FlushMetrics\"}");
}

static void test_disks(void **state)
{
    struct fixture *f = *state;
    struct fake_calls *calls = fake_vmm_calls(f->vmm);
    const char *flush = "{\"action_type\":\"FlushDisks\"}";
    const char *seal = "{\"action_type\":\"SealDisks\"}";
    expect(f, 400, "before starting", "PUT", "/actions", flush);
    expect(f, 400, "before starting", "PUT", "/actions", seal);
    fixture_start(f);
    expect(f, 204, NULL, "PUT", "/actions", flush);
    expect(f, 204, NULL, "PATCH", "/vm", "{\"state\":\"Paused\"}");
    expect(f, 204, NULL, "PUT", "/actions", seal);
    assert_int_equal(calls->disks_flush, 1);
    assert_int_equal(calls->disks_seal, 1);
    fake_vmm_fail(f->vmm, ENOSPC, "drive data: no room");
    expect(f, 400, "\"errno\":\"ENOSPC\"", "PUT", "/actions", seal);
}

static void test_populate(void **state)
{
    static const struct {
        const char *body, *words;
    } wrong[] = {
        {"{}", "'runs' is missing"},
        {"{\"runs\":3}", "'runs'"},
        {"{\"runs\":[3]}", "two numbers"},
        {"{\"runs\":[[3]]}", "two numbers"},
        {"{\"runs\":[[1,2,3]]}", "two numbers"},
        {"{\"runs\":[[1,\"2\"]]}", "two numbers"},
        {"{\"runs\":[[-1,2]]}", "two numbers"},
        {"{\"runs\":[[1,1.5]]}", "two numbers"},
        {"{\"runs\":[],\"write\":1}", "'write'"},
        {"{\"runs\":[],\"kvm\":\"yes\"}", "'kvm'"},
    };
    struct fixture *f = *state;
    const struct fake_calls *calls = fake_vmm_calls(f->vmm);
    const char *two = "{\"runs\":[[0,1],[7,512]]}";
    expect(f, 400, "before starting", "PUT", "/memory/populate", two);
    fixture_start(f);
    expect(f, 204, NULL, "PUT", "/memory/populate", "{\"runs\":[]}");
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        expect(f, 400, wrong[i].words, "PUT", "/memory/populate", wrong[i].body);
    assert_int_equal(calls->populate, 0);
    expect(f, 204, NULL, "PUT", "/memory/populate", two);
    assert_int_equal(calls->populate, 2);
    assert_int_equal(calls->populate_page, 7);
    assert_int_equal(calls->populate_count, 512);
    assert_false(calls->populate_how.write || calls->populate_how.kvm);
    expect(f, 204, NULL, "PUT", "/memory/populate", "{\"runs\":[[7,4]],\"write\":true}");
    assert_true(calls->populate_how.write && !calls->populate_how.kvm);
    expect(f, 204, NULL, "PUT", "/memory/populate", "{\"runs\":[[7,4]],\"kvm\":true}");
    assert_true(!calls->populate_how.write && calls->populate_how.kvm);
    fake_vmm_fail(f->vmm, EINVAL, "not all in guest memory");
    expect(f, 400, "not all in guest memory", "PUT", "/memory/populate", two);
}

static void test_touched(void **state)
{
    struct fixture *f = *state;
    expect(f, 400, "before starting", "GET", "/memory/touched", NULL);
    fixture_start(f);
    expect(f, 200, "{\"read\":[],\"written\":[]}", "GET", "/memory/touched", NULL);
    expect(f, 204, NULL, "PUT", "/memory/populate", "{\"runs\":[[0,3]]}");
    expect(f, 200, "{\"read\":[[0,1],[4,1]],\"written\":[[2,1]]}", "GET", "/memory/touched", NULL);
    expect(f, 204, NULL, "PUT", "/memory/populate", "{\"runs\":[[0,16386]]}");
    expect(f, 400, "more than 8192 runs", "GET", "/memory/touched", NULL);
    fake_vmm_fail(f->vmm, EIO, "no page map");
    expect(f, 400, "no page map", "GET", "/memory/touched", NULL);
}

static void test_vm(void **state)
{
    struct fixture *f = *state;
    expect(f, 400, "before starting", "PATCH", "/vm", "{\"state\":\"Paused\"}");
    fixture_start(f);
    expect(f, 204, NULL, "PATCH", "/vm", "{\"state\":\"Paused\"}");
    expect(f, 204, NULL, "PATCH", "/vm", "{\"state\":\"Paused\"}");
    expect(f, 200, "\"state\":\"Paused\"", "GET", "/", NULL);
    expect(f, 204, NULL, "PATCH", "/vm", "{\"state\":\"Resumed\"}");
    expect(f, 204, NULL, "PATCH", "/vm", "{\"state\":\"Resumed\"}");
    expect(f, 200, "\"state\":\"Running\"", "GET", "/", NULL);
    expect(f, 400, "'state' must be one of", "PATCH", "/vm", "{\"state\":\"Running\"}");
    expect(f, 400, "'state' is missing", "PATCH", "/vm", "{}");
    fake_vmm_fail(f->vmm, EIO, "a vCPU does not stop");
    expect(f, 400, "a vCPU does not stop", "PATCH", "/vm", "{\"state\":\"Paused\"}");
}

static void test_template(void **state)
{
    struct fixture *f = *state;
    const char *good = "{\"socket_path\":\"/t\"}";
    expect(f, 400, "before starting", "PUT", "/template", good);
    fixture_start(f);
    expect(f, 400, "'socket_path' is missing", "PUT", "/template", "{}");
    expect(f, 400, "between 0 and 86400", "PUT", "/template",
           "{\"socket_path\":\"/t\",\"idle_seconds\":86401}");
    expect(f, 400, "0 descriptors came", "PUT", "/template",
           "{\"socket_path\":\"/t\",\"mount_point\":\"/mnt\"}");
    assert_int_equal(fake_vmm_calls(f->vmm)->template, 0);
    expect(f, 200, "\"pid\":4711,\"paused_us\":2000,\"fork_us\":1000", "PUT", "/template", good);
    expect(f, 204, NULL, "PATCH", "/vm", "{\"state\":\"Paused\"}");
    expect(f, 200, NULL, "PUT", "/template", good);
    fake_vmm_fail(f->vmm, ENOTSUP, "a page server has it");
    expect(f, 400, "\"errno\":\"EOPNOTSUPP\"", "PUT", "/template", good);
    expect(f, 200, "\"templates\":true", "GET", "/version", NULL);
}

#define CREATE "/snapshot/create"

static void test_snapshot_create(void **state)
{
    struct fixture *f = *state;
    struct fake_calls *calls = fake_vmm_calls(f->vmm);
    const char *good = "{\"snapshot_path\":\"/s\",\"mem_file_path\":\"/m\"}";
    expect(f, 400, "before starting", "PUT", CREATE, good);
    fixture_start(f);
    expect(f, 400, "pause it first", "PUT", CREATE, good);
    expect(f, 204, NULL, "PATCH", "/vm", "{\"state\":\"Paused\"}");
    expect(f, 204, NULL, "PUT", CREATE, good);
    assert_int_equal(calls->create, 1);
    assert_string_equal(calls->snapshot_path, "/s");
    assert_string_equal(calls->mem_file_path, "/m");
    expect(f, 204, NULL, "PUT", CREATE,
           "{\"snapshot_path\":\"/s\",\"mem_file_path\":\"/m\",\"snapshot_type\":\"Full\"}");
    assert_false(calls->diff);
    expect(f, 204, NULL, "PUT", CREATE,
           "{\"snapshot_path\":\"/s\",\"mem_file_path\":\"/m\",\"snapshot_type\":\"Diff\"}");
    assert_true(calls->diff && !calls->layer);
    expect(f, 204, NULL, "PUT", CREATE,
           "{\"snapshot_path\":\"/s\",\"mem_file_path\":\"/m\",\"snapshot_type\":\"Layer\"}");
    assert_true(calls->layer && !calls->diff);
    expect(f, 400, "'snapshot_type' must be", "PUT", CREATE,
           "{\"snapshot_path\":\"/s\",\"mem_file_path\":\"/m\",\"snapshot_type\":\"Delta\"}");
    expect(f, 400, "unknown field 'version'", "PUT", CREATE,
           "{\"snapshot_path\":\"/s\",\"mem_file_path\":\"/m\",\"version\":\"1.0\"}");
    expect(f, 400, "are the same", "PUT", CREATE,
           "{\"snapshot_path\":\"/s\",\"mem_file_path\":\"/s\"}");
    expect(f, 400, "'mem_file_path' is missing", "PUT", CREATE, "{\"snapshot_path\":\"/s\"}");
    assert_int_equal(calls->create, 4);
    fake_vmm_fail(f->vmm, ENOSPC, "write /m: no room");
    const struct response *full = expect(f, 400, "write /m: no room", "PUT", CREATE, good);
    assert_string_equal(full->body,
                        "{\"fault_message\":\"write /m: no room\",\"errno\":\"ENOSPC\"}");
}

#define LOAD         "/snapshot/load"
#define FILE_BACKEND "\"mem_backend\":{\"backend_type\":\"File\",\"backend_path\":\"/m\"}"

static void test_snapshot_load_refused(void **state)
{
    static const struct {
        const char *body, *part;
    } bad[] = {
        {"{\"snapshot_path\":\"/s\"}", "exactly one of"},
        {"{\"snapshot_path\":\"/s\",\"mem_file_path\":\"/m\"," FILE_BACKEND "}", "exactly one of"},
        {"{" FILE_BACKEND "}", "'snapshot_path' is missing"},
        {"{\"snapshot_path\":\"/s\",\"mem_backend\":{\"backend_type\":\"Uffd\"}}",
         "'backend_path' is missing"},
        {"{\"snapshot_path\":\"/s\",\"mem_backend\":{\"backend_type\":\"Memfd\","
         "\"backend_path\":\"/m\"}}",
         "'backend_type'"},
        {"{\"snapshot_path\":\"/s\",\"mem_backend\":{\"backend_path\":\"/m\"}}",
         "'backend_type' is missing"},
        {"{\"snapshot_path\":\"/s\",\"mem_backend\":{\"backend_type\":\"File\"}}",
         "'backend_path' is missing"},
        {"{\"snapshot_path\":\"/s\",\"mem_backend\":\"/m\"}", "'mem_backend' must be an object"},
        {"{\"snapshot_path\":\"/s\",\"mem_backend\":{\"backend_type\":\"File\","
         "\"backend_path\":\"/m\",\"layers\":33}}",
         "'layers' must be"},
        {"{\"snapshot_path\":\"/s\",\"mem_backend\":{\"backend_type\":\"Uffd\","
         "\"backend_path\":\"/m\",\"layers\":1}}",
         "layers are of a File"},
        {"{\"snapshot_path\":\"/s\"," FILE_BACKEND ",\"network_overrides\":[{}]}", "must be empty"},
        {"{\"snapshot_path\":\"/s\"," FILE_BACKEND ",\"vsock_override\":{}}",
         "'uds_path' is missing"},
        {"{\"snapshot_path\":\"/s\"," FILE_BACKEND ",\"huge_pages\":\"2M\"}", "not supported"},
        {"{\"snapshot_path\":\"/s\"," FILE_BACKEND ",\"resume_vm\":1}", "'resume_vm' must be"},
        {"{\"snapshot_path\":\"/s\"," FILE_BACKEND ",\"x\":1}", "unknown field 'x'"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        expect(f, 400, bad[i].part, "PUT", LOAD, bad[i].body);
    assert_int_equal(fake_vmm_calls(f->vmm)->load, 0);
    /* None of these ended the process. */
    expect(f, 200, "Not started", "GET", "/", NULL);
}

static void test_snapshot_load(void **state)
{
    struct fixture *f = *state;
    struct fake_calls *calls = fake_vmm_calls(f->vmm);
    /* Outputs are not boot-specific. */
    expect(f, 204, NULL, "PUT", "/serial", "{}");
    expect(f, 204, NULL, "PUT", LOAD,
           "{\"snapshot_path\":\"/s\"," FILE_BACKEND ",\"enable_diff_snapshots\":true,"
           "\"resume_vm\":false,\"clock_realtime\":true,\"network_overrides\":[],"
           "\"vsock_override\":{\"uds_path\":\"/v\"},\"huge_pages\":\"Snapshot\"}");
    assert_int_equal(calls->load, 1);
    assert_string_equal(calls->snapshot_path, "/s");
    assert_string_equal(calls->mem_file_path, "/m");
    assert_string_equal(calls->uffd_socket, "");
    assert_string_equal(calls->vsock_uds_path, "/v");
    assert_true(calls->track_dirty_pages && calls->clock_realtime && !calls->resume_vm);
    expect(f, 200, "Paused", "GET", "/", NULL);
    expect(f, 400, "after starting", "PUT", LOAD, "{\"snapshot_path\":\"/s\"," FILE_BACKEND "}");
}

static void test_snapshot_load_layers(void **state)
{
    struct fixture *f = *state;
    expect(f, 204, NULL, "PUT", LOAD,
           "{\"snapshot_path\":\"/s\",\"mem_backend\":{\"backend_type\":\"File\","
           "\"backend_path\":\"/m\",\"layers\":3}}");
    assert_string_equal(fake_vmm_calls(f->vmm)->mem_file_path, "/m");
    assert_int_equal(fake_vmm_calls(f->vmm)->layers, 3);
}

static void test_snapshot_load_uffd(void **state)
{
    struct fixture *f = *state;
    struct fake_calls *calls = fake_vmm_calls(f->vmm);
    expect(f, 204, NULL, "PUT", LOAD,
           "{\"snapshot_path\":\"/s\",\"mem_backend\":{\"backend_type\":\"Uffd\","
           "\"backend_path\":\"/pager.sock\"},\"track_dirty_pages\":true}");
    assert_string_equal(calls->uffd_socket, "/pager.sock");
    assert_string_equal(calls->mem_file_path, "");
    assert_true(calls->track_dirty_pages);
    expect(f, 200, "Paused", "GET", "/", NULL);
}

static void test_snapshot_load_deprecated(void **state)
{
    struct fixture *f = *state;
    struct fake_calls *calls = fake_vmm_calls(f->vmm);
    expect(f, 204, NULL, "PUT", LOAD,
           "{\"snapshot_path\":\"/s\",\"mem_file_path\":\"/m2\",\"resume_vm\":true}");
    assert_string_equal(calls->mem_file_path, "/m2");
    assert_false(calls->has_vsock_uds_path || calls->track_dirty_pages || calls->clock_realtime);
    expect(f, 200, "Running", "GET", "/", NULL);
}

static void test_snapshot_load_after_boot_config(void **state)
{
    static const struct {
        const char *path, *body;
    } puts[] = {
        {MACHINE, "{\"vcpu_count\":1,\"mem_size_mib\":128}"},
        {"/boot-source", "{\"kernel_image_path\":\"%s\"}"},
        {"/drives/a", DRIVE("a", "false")},
        {"/vsock", "{\"guest_cid\":3,\"uds_path\":\"%s.sock\"}"},
        {"/entropy", "{\"rate_limiter\":null}"},
        {"/balloon", "{\"amount_mib\":1,\"deflate_on_oom\":true}"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(puts); i++) {
        void *own = NULL;
        fixture_setup(&own);
        struct fixture *f = own;
        if (strstr(puts[i].body, "%s"))
            expect_file(f, 204, NULL, "PUT", puts[i].path, puts[i].body, f->file);
        else
            expect(f, 204, NULL, "PUT", puts[i].path, puts[i].body);
        expect(f, 400, "boot-specific", "PUT", LOAD, "{\"snapshot_path\":\"/s\"," FILE_BACKEND "}");
        assert_int_equal(fake_vmm_calls(f->vmm)->load, 0);
        expect(f, 200, "Not started", "GET", "/", NULL); /* and it still lives */
        fixture_teardown(&own);
    }
}

/* The answer arrives, then the loop ends with status 1. */
static void test_snapshot_load_failed(void **state)
{
    struct fixture *f = *state;
    fake_vmm_fail(f->vmm, EIO, "state file /s: checksum does not match");
    expect(f, 400, "checksum does not match", "PUT", LOAD,
           "{\"snapshot_path\":\"/s\"," FILE_BACKEND "}");
    assert_int_equal(fixture_join(f), 1);
}

static void test_phases(void **state)
{
    static const struct {
        const char *method, *path, *body;
    } before_boot_only[] = {
        {"PUT", MACHINE, "{\"vcpu_count\":1,\"mem_size_mib\":128}"},
        {"PATCH", MACHINE, "{\"vcpu_count\":1}"},
        {"PUT", "/boot-source", "{}"},
        {"PUT", "/drives/a", "{}"},
        {"PUT", "/vsock", "{}"},
        {"PUT", "/entropy", "{}"},
        {"PUT", "/balloon", "{}"},
        {"PUT", "/logger", "{}"},
        {"PUT", "/serial", "{}"},
        {"PUT", "/metrics", "{}"},
        {"PUT", LOAD, "{}"},
    };
    struct fixture *f = *state;
    fixture_start(f);
    for (size_t i = 0; i < ARRAY_SIZE(before_boot_only); i++)
        expect(f, 400, "is not supported after starting the microVM", before_boot_only[i].method,
               before_boot_only[i].path, before_boot_only[i].body);
    expect(f, 200, NULL, "GET", MACHINE, NULL);
    expect(f, 200, NULL, "GET", "/vm/config", NULL);
    expect(f, 200, NULL, "GET", "/version", NULL);
}

/* The order of calls of Firecracker's Go SDK. */
static void test_sdk_boot_sequence(void **state)
{
    struct fixture *f = *state;
    char path[128];
    expect(f, 200, "vcpu_count", "GET", MACHINE, NULL);
    snprintf(path, sizeof(path), "%s/fc.log", f->directory);
    expect_file(f, 204, NULL, "PUT", "/logger",
                "{\"level\":\"Debug\",\"log_path\":\"%s\",\"show_level\":true,"
                "\"show_log_origin\":false}",
                path);
    snprintf(path, sizeof(path), "%s/fc.metrics", f->directory);
    expect_file(f, 204, NULL, "PUT", "/metrics", "{\"metrics_path\":\"%s\"}", path);
    expect(f, 204, NULL, "PUT", MACHINE, "{\"mem_size_mib\":256,\"smt\":false,\"vcpu_count\":2}");
    expect(f, 200, "\"mem_size_mib\":256", "GET", MACHINE, NULL);
    expect_file(f, 204, NULL, "PUT", "/boot-source",
                "{\"boot_args\":\"console=ttyS0 reboot=k panic=1\",\"kernel_image_path\":\"%s\"}",
                f->file);
    expect_file(f, 204, NULL, "PUT", "/drives/1",
                "{\"cache_type\":\"Unsafe\",\"drive_id\":\"1\",\"is_read_only\":false,"
                "\"is_root_device\":true,\"path_on_host\":\"%s\"}",
                f->file);
    snprintf(path, sizeof(path), "%s/v.sock", f->directory);
    expect_file(f, 204, NULL, "PUT", "/vsock",
                "{\"guest_cid\":3,\"uds_path\":\"%s\",\"vsock_id\":\"root\"}", path);
    fixture_start(f);
    const struct response *r = expect(f, 200, "\"machine-config\":{", "GET", "/vm/config", NULL);
    assert_non_null(strstr(r->body, "\"boot-source\":{\"kernel_image_path\":"));
    assert_non_null(strstr(r->body, "\"drives\":[{\"drive_id\":\"1\""));
    assert_non_null(strstr(r->body, "\"vsock\":{\"guest_cid\":3"));
    assert_non_null(strstr(r->body, "\"network-interfaces\":[]"));
    assert_non_null(strstr(r->body, "\"balloon\":null"));
    log_set_fd(STDERR_FILENO);
    log_set_level(LOG_LEVEL_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROUTE_TEST(test_actions),
        ROUTE_TEST(test_disks),
        ROUTE_TEST(test_populate),
        ROUTE_TEST(test_touched),
        ROUTE_TEST(test_vm),
        ROUTE_TEST(test_template),
        ROUTE_TEST(test_snapshot_create),
        ROUTE_TEST(test_snapshot_load_refused),
        ROUTE_TEST(test_snapshot_load),
        ROUTE_TEST(test_snapshot_load_layers),
        ROUTE_TEST(test_snapshot_load_uffd),
        ROUTE_TEST(test_snapshot_load_deprecated),
        cmocka_unit_test(test_snapshot_load_after_boot_config),
        ROUTE_TEST(test_snapshot_load_failed),
        ROUTE_TEST(test_phases),
        ROUTE_TEST(test_sdk_boot_sequence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
