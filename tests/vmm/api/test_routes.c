/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints that configure a VM or tell about it, with good and bad requests. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_fixture.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "routes.h"

static void test_instance(void **state)
{
    struct fixture *f = *state;
    const struct response *r = expect(f, 200, "\"state\":\"Not started\"", "GET", "/", NULL);
    assert_non_null(strstr(r->body, "\"id\":\"test-vm\""));
    assert_non_null(strstr(r->body, "\"app_name\":\"tine-vmm\""));
    assert_non_null(strstr(r->body, "\"vmm_version\":\"" TINE_VERSION "\""));
    r = expect(f, 200, "\"firecracker_version\":\"1.16.1\"", "GET", "/version", NULL);
    assert_non_null(strstr(r->body, "\"tine_version\":\"" TINE_VERSION "\""));
    fixture_start(f);
    expect(f, 200, "\"state\":\"Running\"", "GET", "/", NULL);
}

static void test_unknown(void **state)
{
    struct fixture *f = *state;
    expect(f, 400, "invalid request method or path", "GET", "/nothing", NULL);
    expect(f, 400, NULL, "GET", "/machine-config/extra", NULL);
    expect(f, 400, NULL, "GET", "/machine-config?x=1", NULL);
    expect(f, 400, NULL, "PUT", "/drives", "{}");
    expect(f, 400, NULL, "PUT", "/drives/", "{}");
    expect(f, 400, NULL, "PUT", "/drives/a/b", "{}");
    expect(f, 400, NULL, "DELETE", "/drives/a", NULL);
    expect(f, 400, NULL, "PUT", "/", "{}");
    expect(f, 400, NULL, "POST", "/actions", "{}");
    expect(f, 200, NULL, "GET", "/machine-config/", NULL); /* one slash too many is tolerated */
}

static void test_bodies(void **state)
{
    struct fixture *f = *state;
    expect(f, 400, "needs a body", "PUT", MACHINE, NULL);
    expect(f, 400, "needs a body", "PATCH", "/vm", NULL);
    expect(f, 400, "can't have a body", "GET", MACHINE, "{}");
    expect(f, 400, "not valid JSON", "PUT", MACHINE, "{");
    expect(f, 400, "not valid JSON", "PUT", MACHINE, "{\"vcpu_count\":1,\"vcpu_count\":2}");
    expect(f, 400, "not valid JSON", "PUT", MACHINE, "{} {}");
    expect(f, 400, "not valid JSON", "PUT", "/vsock", "{\"uds_path\":\"a\\u0000b\"}");
    expect(f, 400, "must be a JSON object", "PUT", MACHINE, "[]");
    expect(f, 400, "must be a JSON object", "PUT", MACHINE, "1");
    expect(f, 400, "must be a JSON object", "PUT", "/metrics", "null");
}

static void test_machine_config(void **state)
{
    struct fixture *f = *state;
    expect(f, 200,
           "{\"vcpu_count\":1,\"mem_size_mib\":128,\"smt\":false,\"track_dirty_pages\":false,"
           "\"huge_pages\":\"None\"}",
           "GET", MACHINE, NULL);
    expect(f, 204, NULL, "PUT", MACHINE,
           "{\"vcpu_count\":4,\"mem_size_mib\":512,\"smt\":true,\"track_dirty_pages\":true,"
           "\"huge_pages\":\"Transparent\",\"cpu_template\":\"None\"}");
    expect(f, 200,
           "{\"vcpu_count\":4,\"mem_size_mib\":512,\"smt\":true,\"track_dirty_pages\":true,"
           "\"huge_pages\":\"Transparent\"}",
           "GET", MACHINE, NULL);
    /* PATCH changes what it names, PUT resets what it omits. */
    expect(f, 204, NULL, "PATCH", MACHINE, "{\"mem_size_mib\":256}");
    expect(f, 200, "\"vcpu_count\":4,\"mem_size_mib\":256", "GET", MACHINE, NULL);
    expect(f, 204, NULL, "PUT", MACHINE, "{\"vcpu_count\":2,\"mem_size_mib\":64}");
    expect(f, 200, "\"smt\":false,\"track_dirty_pages\":false,\"huge_pages\":\"None\"", "GET",
           MACHINE, NULL);
}

static void test_machine_config_refused(void **state)
{
    static const struct {
        const char *method, *body, *part;
    } bad[] = {
        {"PUT", "{\"vcpu_count\":1}", "'mem_size_mib' is missing"},
        {"PUT", "{\"mem_size_mib\":128}", "'vcpu_count' is missing"},
        {"PUT", "{\"vcpu_count\":null,\"mem_size_mib\":128}", "'vcpu_count' is missing"},
        {"PUT", "{\"vcpu_count\":0,\"mem_size_mib\":128}", "'vcpu_count' must be between 1 and 32"},
        {"PUT", "{\"vcpu_count\":33,\"mem_size_mib\":128}", "'vcpu_count' must be between"},
        {"PUT", "{\"vcpu_count\":-1,\"mem_size_mib\":128}", "'vcpu_count' must be between"},
        {"PUT", "{\"vcpu_count\":\"1\",\"mem_size_mib\":128}", "'vcpu_count' must be an integer"},
        {"PUT", "{\"vcpu_count\":1.5,\"mem_size_mib\":128}", "'vcpu_count' must be an integer"},
        {"PUT", "{\"vcpu_count\":1,\"mem_size_mib\":0}", "'mem_size_mib' must be between"},
        {"PUT", "{\"vcpu_count\":1,\"mem_size_mib\":99999999}", "'mem_size_mib' must be between"},
        {"PUT", "{\"vcpu_count\":1,\"mem_size_mib\":99999999999999999999}", "not valid JSON"},
        {"PUT", "{\"vcpu_count\":1,\"mem_size_mib\":128,\"x\":1}", "unknown field 'x'"},
        {"PUT", "{\"vcpu_count\":1,\"mem_size_mib\":128,\"smt\":1}", "'smt' must be true or false"},
        {"PUT", "{\"vcpu_count\":3,\"mem_size_mib\":128,\"smt\":true}", "with smt"},
        {"PUT", "{\"vcpu_count\":1,\"mem_size_mib\":128,\"huge_pages\":\"2M\"}", "not supported"},
        {"PUT", "{\"vcpu_count\":1,\"mem_size_mib\":128,\"huge_pages\":\"1G\"}", "must be one of"},
        {"PUT", "{\"vcpu_count\":1,\"mem_size_mib\":129,\"huge_pages\":\"Transparent\"}", "even"},
        {"PUT", "{\"vcpu_count\":1,\"mem_size_mib\":128,\"cpu_template\":\"T2\"}", "cpu_template"},
        {"PATCH", "{}", "empty PATCH"},
        {"PATCH", "{\"vcpu_count\":0}", "'vcpu_count' must be between"},
    };
    struct fixture *f = *state;
    expect(f, 204, NULL, "PUT", MACHINE, "{\"vcpu_count\":2,\"mem_size_mib\":256}");
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        expect(f, 400, bad[i].part, bad[i].method, MACHINE, bad[i].body);
    expect(f, 200, "\"vcpu_count\":2,\"mem_size_mib\":256", "GET", MACHINE, NULL);
}

static void test_boot_source(void **state)
{
    struct fixture *f = *state;
    char body[2600], args[2100];
    expect_file(f, 204, NULL, "PUT", "/boot-source",
                "{\"kernel_image_path\":\"%s\",\"boot_args\":\"console=ttyS0\"}", f->file);
    assert_string_equal(vmm_config(f->vmm)->boot.kernel_image_path, f->file);
    assert_string_equal(vmm_config(f->vmm)->boot.boot_args, "console=ttyS0");
    expect(f, 400, "ENOENT", "PUT", "/boot-source", "{\"kernel_image_path\":\"/none/such\"}");
    expect(f, 400, "not a regular file", "PUT", "/boot-source", "{\"kernel_image_path\":\"/\"}");
    expect_file(f, 400, "initrd_path", "PUT", "/boot-source",
                "{\"kernel_image_path\":\"%s\",\"initrd_path\":\"/none/such\"}", f->file);
    expect(f, 400, "'kernel_image_path' is missing", "PUT", "/boot-source", "{}");
    expect(f, 400, "'kernel_image_path' must be a string", "PUT", "/boot-source",
           "{\"kernel_image_path\":null}");
    expect(f, 400, "must not be empty", "PUT", "/boot-source", "{\"kernel_image_path\":\"\"}");
    expect_file(f, 400, "printable", "PUT", "/boot-source",
                "{\"kernel_image_path\":\"%s\",\"boot_args\":\"a\\nb\"}", f->file);
    memset(args, 'a', sizeof(args));
    args[2048] = '\0';
    snprintf(body, sizeof(body), "{\"kernel_image_path\":\"%s\",\"boot_args\":\"%s\"}", f->file,
             args);
    expect(f, 400, "'boot_args' has 2048 bytes", "PUT", "/boot-source", body);
    /* The rejected ones changed nothing. */
    assert_string_equal(vmm_config(f->vmm)->boot.kernel_image_path, f->file);
    assert_string_equal(vmm_config(f->vmm)->boot.boot_args, "console=ttyS0");
    assert_null(vmm_config(f->vmm)->boot.initrd_path);
}

static void test_drives(void **state)
{
    struct fixture *f = *state;
    const struct vm_config *config = vmm_config(f->vmm);
    expect_file(f, 204, NULL, "PUT", "/drives/rootfs", DRIVE("rootfs", "true"), f->file);
    expect_file(f, 400, "can't be the root device", "PUT", "/drives/b", DRIVE("b", "true"),
                f->file);
    expect_file(f, 204, NULL, "PUT", "/drives/b", DRIVE("b", "false"), f->file);
    assert_int_equal(config->drive_count, 2);
    /* The same id overwrites. */
    expect_file(f, 204, NULL, "PUT", "/drives/b",
                "{\"drive_id\":\"b\",\"is_root_device\":false,\"path_on_host\":\"%s\","
                "\"is_read_only\":true,\"cache_type\":\"Writeback\",\"io_engine\":\"Sync\","
                "\"partuuid\":\"0eaa91a0-01\",\"rate_limiter\":null,\"socket\":null}",
                f->file);
    assert_int_equal(config->drive_count, 2);
    assert_true(config->drives[1].is_read_only && config->drives[1].writeback);
    assert_string_equal(config->drives[1].partuuid, "0eaa91a0-01");
    assert_true(config->drives[0].is_root_device && !config->drives[0].writeback);
    assert_false(config->drives[1].is_stack);
    expect_file(f, 204, NULL, "PUT", "/drives/b",
                "{\"drive_id\":\"b\",\"is_root_device\":false,\"path_on_host\":\"%s\","
                "\"is_stack\":true}",
                f->file);
    assert_true(config->drives[1].is_stack);
    /* The root drive may be put again. */
    expect_file(f, 204, NULL, "PUT", "/drives/rootfs", DRIVE("rootfs", "true"), f->file);
}

static void test_drives_refused(void **state)
{
    static const struct {
        const char *path, *body, *part;
    } bad[] = {
        {"/drives/a", DRIVE("b", "false"), "is not the drive_id"},
        {"/drives/a-b", DRIVE("a-b", "false"), "letters, digits"},
        {"/drives/a", "{\"drive_id\":\"a\",\"is_root_device\":false}", "'path_on_host' is missing"},
        {"/drives/a", "{\"drive_id\":\"a\",\"path_on_host\":\"%s\"}",
         "'is_root_device' is missing"},
        {"/drives/a", "{\"is_root_device\":false,\"path_on_host\":\"%s\"}",
         "'drive_id' is missing"},
        {"/drives/a", DRIVE("a", "\"no\""), "'is_root_device' must be true or false"},
        {"/drives/a",
         "{\"drive_id\":\"a\",\"is_root_device\":false,\"path_on_host\":\"%s\","
         "\"cache_type\":\"Fast\"}",
         "'cache_type' must be one of 'Unsafe', 'Writeback'"},
        {"/drives/a",
         "{\"drive_id\":\"a\",\"is_root_device\":false,\"path_on_host\":\"%s\","
         "\"io_engine\":\"Async\"}",
         "'io_engine' must be one of 'Sync'"},
        {"/drives/a",
         "{\"drive_id\":\"a\",\"is_root_device\":false,\"path_on_host\":\"%s\","
         "\"socket\":\"/x\"}",
         "'socket' is not supported"},
        {"/drives/a",
         "{\"drive_id\":\"a\",\"is_root_device\":false,\"path_on_host\":\"%s\","
         "\"rate_limiter\":{\"ops\":{\"size\":1,\"refill_time\":1}}}",
         "'rate_limiter' is not supported"},
        {"/drives/a",
         "{\"drive_id\":\"a\",\"is_root_device\":false,\"path_on_host\":\"%s\",\"x\":1}",
         "unknown field 'x'"},
    };
    struct fixture *f = *state;
    char body[1024];
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        snprintf(body, sizeof(body), "%s", bad[i].body);
        if (strstr(bad[i].body, "%s"))
            expect_file(f, 400, bad[i].part, "PUT", bad[i].path, bad[i].body, f->file);
        else
            expect(f, 400, bad[i].part, "PUT", bad[i].path, body);
    }
    expect_file(f, 400, "ENOENT", "PUT", "/drives/a", DRIVE("a", "false"), "/none/such");
    expect_file(f, 400, "not a regular file or block device", "PUT", "/drives/a",
                "{\"drive_id\":\"a\",\"is_root_device\":false,\"is_read_only\":true,"
                "\"path_on_host\":\"%s\"}",
                "/dev/null");
    assert_int_equal(vmm_config(f->vmm)->drive_count, 0);
    for (int i = 0; i < VM_MAX_DRIVES; i++) {
        char path[32], format[128];
        snprintf(path, sizeof(path), "/drives/d%d", i);
        snprintf(format, sizeof(format),
                 "{\"drive_id\":\"d%d\",\"is_root_device\":false,\"path_on_host\":\"%%s\"}", i);
        expect_file(f, 204, NULL, "PUT", path, format, f->file);
    }
    expect_file(f, 400, "at most 12", "PUT", "/drives/one_more", DRIVE("one_more", "false"),
                f->file);
}

static void test_drive_patch(void **state)
{
    struct fixture *f = *state;
    struct fake_calls *calls = fake_vmm_calls(f->vmm);
    expect_file(f, 204, NULL, "PUT", "/drives/a", DRIVE("a", "false"), f->file);
    expect(f, 400, "before starting", "PATCH", "/drives/a", "{\"drive_id\":\"a\"}");
    fixture_start(f);
    expect_file(f, 400, "after starting", "PUT", "/drives/a", DRIVE("a", "false"), f->file);
    expect_file(f, 204, NULL, "PATCH", "/drives/a", "{\"drive_id\":\"a\",\"path_on_host\":\"%s\"}",
                f->file);
    assert_string_equal(calls->drive_id, "a");
    assert_string_equal(calls->drive_path, f->file);
    expect(f, 204, NULL, "PATCH", "/drives/a", "{\"drive_id\":\"a\"}");
    expect(f, 400, "no drive 'b'", "PATCH", "/drives/b", "{\"drive_id\":\"b\"}");
    expect(f, 400, "is not the drive_id", "PATCH", "/drives/a", "{\"drive_id\":\"b\"}");
    expect(f, 400, "ENOENT", "PATCH", "/drives/a",
           "{\"drive_id\":\"a\",\"path_on_host\":\"/none/such\"}");
    expect(f, 400, "unknown field", "PATCH", "/drives/a",
           "{\"drive_id\":\"a\",\"is_read_only\":true}");
    fake_vmm_fail(f->vmm, EIO, "no room for it");
    expect_file(f, 400, "no room for it", "PATCH", "/drives/a",
                "{\"drive_id\":\"a\",\"path_on_host\":\"%s\"}", f->file);
}

static void test_vsock(void **state)
{
    struct fixture *f = *state;
    const struct vsock_config *vsock = &vmm_config(f->vmm)->vsock;
    char path[128];
    snprintf(path, sizeof(path), "%s/vsock.sock", f->directory);
    expect_file(f, 204, NULL, "PUT", "/vsock",
                "{\"vsock_id\":\"v\",\"guest_cid\":3,\"uds_path\":\"%s\"}", path);
    assert_true(vsock->present);
    assert_int_equal(vsock->guest_cid, 3);
    assert_string_equal(vsock->uds_path, path);
    expect_file(f, 204, NULL, "PUT", "/vsock", "{\"guest_cid\":4294967294,\"uds_path\":\"%s\"}",
                path);
    assert_int_equal(vsock->guest_cid, 4294967294u);
    expect_file(f, 400, "EADDRINUSE", "PUT", "/vsock", "{\"guest_cid\":4,\"uds_path\":\"%s\"}",
                f->file);
    expect(f, 400, "ENOENT", "PUT", "/vsock", "{\"guest_cid\":4,\"uds_path\":\"/none/such\"}");
    expect_file(f, 400, "'guest_cid' must be between 3 and 4294967294", "PUT", "/vsock",
                "{\"guest_cid\":2,\"uds_path\":\"%s\"}", path);
    expect_file(f, 400, "'guest_cid' must be between", "PUT", "/vsock",
                "{\"guest_cid\":4294967295,\"uds_path\":\"%s\"}", path);
    expect(f, 400, "'uds_path' is missing", "PUT", "/vsock", "{\"guest_cid\":3}");
    expect_file(f, 400, "'guest_cid' is missing", "PUT", "/vsock", "{\"uds_path\":\"%s\"}", path);
    assert_int_equal(vsock->guest_cid, 4294967294u);
    assert_string_equal(vsock->uds_path, path);
}

static void test_entropy_and_network(void **state)
{
    struct fixture *f = *state;
    expect(f, 400, "unknown field", "PUT", "/entropy", "{\"x\":1}");
    expect(f, 400, "'rate_limiter' is not supported", "PUT", "/entropy",
           "{\"rate_limiter\":{\"ops\":{\"size\":1,\"refill_time\":1}}}");
    assert_false(vmm_config(f->vmm)->entropy_present);
    expect(f, 204, NULL, "PUT", "/entropy", "{\"rate_limiter\":{\"ops\":null,\"bandwidth\":null}}");
    expect(f, 204, NULL, "PUT", "/entropy", "{}");
    assert_true(vmm_config(f->vmm)->entropy_present);
    expect(f, 400, "no network device", "PUT", "/network-interfaces/eth0",
           "{\"iface_id\":\"eth0\",\"host_dev_name\":\"tap0\"}");
}

static void test_balloon(void **state)
{
    struct fixture *f = *state;
    expect(f, 400, "no balloon", "GET", "/balloon", NULL);
    expect(f, 204, NULL, "PUT", "/balloon", "{\"amount_mib\":16,\"deflate_on_oom\":true}");
    expect(f, 200,
           "{\"amount_mib\":16,\"deflate_on_oom\":true,\"stats_polling_interval_s\":0,"
           "\"free_page_hinting\":false,\"free_page_reporting\":false}",
           "GET", "/balloon", NULL);
    expect(f, 204, NULL, "PUT", "/balloon",
           "{\"amount_mib\":8,\"deflate_on_oom\":false,\"stats_polling_interval_s\":5,"
           "\"free_page_reporting\":true}");
    expect(f, 400, "more than the guest's memory", "PUT", "/balloon",
           "{\"amount_mib\":129,\"deflate_on_oom\":true}");
    expect(f, 400, "free_page_hinting is not supported", "PUT", "/balloon",
           "{\"amount_mib\":1,\"deflate_on_oom\":true,\"free_page_hinting\":true}");
    expect(f, 400, "'deflate_on_oom' is missing", "PUT", "/balloon", "{\"amount_mib\":1}");
    expect(f, 400, "'amount_mib' must be between", "PUT", "/balloon",
           "{\"amount_mib\":4294967296,\"deflate_on_oom\":true}");
    expect(f, 400, "'stats_polling_interval_s' must be", "PUT", "/balloon",
           "{\"amount_mib\":1,\"deflate_on_oom\":true,\"stats_polling_interval_s\":65536}");
    /* Memory can't shrink below the balloon either. */
    expect(f, 400, "more than the guest's memory", "PATCH", MACHINE, "{\"mem_size_mib\":4}");
    expect(f, 400, "before starting", "PATCH", "/balloon", "{\"amount_mib\":4}");
    fixture_start(f);
    expect(f, 204, NULL, "PATCH", "/balloon", "{\"amount_mib\":32}");
    assert_int_equal(fake_vmm_calls(f->vmm)->balloon_mib, 32);
    expect(f, 200, "{\"amount_mib\":32,", "GET", "/balloon", NULL);
    fake_vmm_fail(f->vmm, EIO, "driver is not up");
    expect(f, 400, "driver is not up", "PATCH", "/balloon", "{\"amount_mib\":64}");
    expect(f, 400, "more than", "PATCH", "/balloon", "{\"amount_mib\":129}");
    expect(f, 400, "missing", "PATCH", "/balloon", "{}");
    expect(f, 400, "unknown field", "PATCH", "/balloon",
           "{\"amount_mib\":4,\"deflate_on_oom\":true}");
    expect(f, 200, "{\"amount_mib\":32,", "GET", "/balloon", NULL);
}

static void test_logger(void **state)
{
    struct fixture *f = *state;
    const struct logger_config *logger = &vmm_config(f->vmm)->logger;
    struct error err = {0};
    char path[128];
    _cleanup_(free) char *text = NULL;
    size_t length = 0;
    snprintf(path, sizeof(path), "%s/log", f->directory);
    expect_file(f, 204, NULL, "PUT", "/logger",
                "{\"log_path\":\"%s\",\"level\":\"warning\",\"show_level\":true,"
                "\"show_log_origin\":true}",
                path);
    assert_string_equal(logger->level, "Warning"); /* level names in any case */
    assert_true(logger->show_level && logger->show_log_origin);
    log_info("not this one");
    log_warning("a line for the log");
    /* Without a level it becomes Info again, and the file stays the same. */
    expect(f, 204, NULL, "PUT", "/logger", "{}");
    assert_string_equal(logger->level, "Info");
    assert_string_equal(logger->log_path, path);
    log_info("now this one");
    expect(f, 204, NULL, "PUT", "/logger", "{\"level\":\"Off\"}");
    log_error("nobody hears");
    expect(f, 400, "'level' must be one of", "PUT", "/logger", "{\"level\":\"Loud\"}");
    expect(f, 400, "log_path", "PUT", "/logger", "{\"log_path\":\"/none/such/log\"}");
    expect(f, 400, "'module' is not supported", "PUT", "/logger", "{\"module\":\"api\"}");
    assert_string_equal(logger->log_path, path);
    assert_string_equal(logger->level, "Off");
    assert_int_equal(file_read_all(AT_FDCWD, path, 1 << 16, &text, &length, &err), 0);
    assert_non_null(strstr(text, "a line for the log"));
    assert_non_null(strstr(text, "now this one"));
    assert_null(strstr(text, "not this one"));
    assert_null(strstr(text, "nobody hears"));
    log_set_fd(STDERR_FILENO);
    log_set_level(LOG_LEVEL_ERROR);
}

static void test_serial_and_metrics(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    char path[128];
    _cleanup_(free) char *text = NULL;
    size_t length = 0;
    snprintf(path, sizeof(path), "%s/console", f->directory);
    expect_file(f, 204, NULL, "PUT", "/serial", "{\"serial_out_path\":\"%s\"}", path);
    assert_string_equal(vmm_config(f->vmm)->serial_out_path, path);
    assert_int_equal(file_exists(AT_FDCWD, path, &err), 1);
    expect(f, 400, "ENOENT", "PUT", "/serial", "{\"serial_out_path\":\"/none/such/file\"}");
    assert_string_equal(vmm_config(f->vmm)->serial_out_path, path);
    expect(f, 204, NULL, "PUT", "/serial", "{}");
    assert_null(vmm_config(f->vmm)->serial_out_path);

    snprintf(path, sizeof(path), "%s/metrics", f->directory);
    expect(f, 400, "'metrics_path' is missing", "PUT", "/metrics", "{}");
    expect(f, 400, "'metrics_path' must be", "PUT", "/metrics", "{\"metrics_path\":1}");
    expect(f, 400, "ENOENT", "PUT", "/metrics", "{\"metrics_path\":\"/none/such/file\"}");
    expect_file(f, 204, NULL, "PUT", "/metrics", "{\"metrics_path\":\"%s\",\"emit_id\":true}",
                path);
    expect_file(f, 400, "already", "PUT", "/metrics", "{\"metrics_path\":\"%s\"}", path);
    expect(f, 200, "\"metrics\":{\"metrics_path\":", "GET", "/vm/config", NULL);
    expect(f, 400, "before starting", "PUT", "/actions", "{\"action_type\":\"FlushMetrics\"}");
    fixture_start(f);
    expect(f, 204, NULL, "PUT", "/actions", "{\"action_type\":\"FlushMetrics\"}");
    expect(f, 204, NULL, "PUT", "/actions", "{\"action_type\":\"FlushMetrics\"}");
    assert_int_equal(file_read_all(AT_FDCWD, path, 1 << 16, &text, &length, &err), 0);
    const char *second = strchr(text, '\n');
    assert_non_null(second);
    assert_non_null(strstr(second, "\"utc_timestamp_ms\":"));
    assert_int_equal(text[length - 1], '\n');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROUTE_TEST(test_instance),
        ROUTE_TEST(test_unknown),
        ROUTE_TEST(test_bodies),
        ROUTE_TEST(test_machine_config),
        ROUTE_TEST(test_machine_config_refused),
        ROUTE_TEST(test_boot_source),
        ROUTE_TEST(test_drives),
        ROUTE_TEST(test_drives_refused),
        ROUTE_TEST(test_drive_patch),
        ROUTE_TEST(test_vsock),
        ROUTE_TEST(test_entropy_and_network),
        ROUTE_TEST(test_balloon),
        ROUTE_TEST(test_logger),
        ROUTE_TEST(test_serial_and_metrics),
    };
    return cmocka_run_group_tests_name("api routes", tests, NULL, NULL);
}
