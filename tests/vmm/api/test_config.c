/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration's JSON form: there and back, and hostile text. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmm/config.h"

static void fill_drive(struct drive_config *drive, const char *id, bool odd)
{
    *drive = (struct drive_config){.drive_id = strdup(id),
                                   .path_on_host = strdup("/run/tine/guest/disks/\xc3\xa4.img"),
                                   .is_root_device = odd,
                                   .is_read_only = !odd,
                                   .is_stack = odd,
                                   .writeback = odd,
                                   .partuuid = odd ? strdup("0eaa91a0-01") : NULL};
}

/* Every field differs from its default. */
static void fill(struct vm_config *config)
{
    vm_config_init(config);
    config->machine = (struct machine_config){.vcpu_count = 32,
                                              .mem_size_mib = 1u << 20,
                                              .smt = true,
                                              .track_dirty_pages = true,
                                              .huge_pages = "Transparent"};
    config->boot = (struct boot_source){.kernel_image_path = strdup("/k \"quoted\""),
                                        .initrd_path = strdup("/i"),
                                        .boot_args = strdup("console=ttyS0 \\ x=\"y\"")};
    fill_drive(&config->drives[0], "rootfs", true);
    fill_drive(&config->drives[1], "data_1", false);
    config->drive_count = 2;
    config->vsock = (struct vsock_config){.present = true,
                                          .guest_cid = 4294967294u,
                                          .uds_path = strdup("/v"),
                                          .vsock_id = strdup("vs")};
    config->entropy_present = true;
    config->balloon = (struct balloon_config){.present = true,
                                              .amount_mib = 77,
                                              .deflate_on_oom = true,
                                              .stats_polling_interval_s = 9,
                                              .free_page_reporting = true};
    config->logger = (struct logger_config){
        .log_path = strdup("/l"), .level = "Debug", .show_level = true, .show_log_origin = true};
    config->serial_out_path = strdup("/c");
}

static void same_text(const char *a, const char *b)
{
    if (!a || !b)
        assert_ptr_equal(a, b);
    else
        assert_string_equal(a, b);
}

static void same_drive(const struct drive_config *a, const struct drive_config *b)
{
    same_text(a->drive_id, b->drive_id);
    same_text(a->path_on_host, b->path_on_host);
    assert_int_equal(a->is_root_device, b->is_root_device);
    assert_int_equal(a->is_read_only, b->is_read_only);
    assert_int_equal(a->is_stack, b->is_stack);
    assert_int_equal(a->writeback, b->writeback);
    same_text(a->partuuid, b->partuuid);
}

static void same_devices(const struct vm_config *a, const struct vm_config *b)
{
    assert_int_equal(a->vsock.present, b->vsock.present);
    assert_int_equal(a->vsock.guest_cid, b->vsock.guest_cid);
    same_text(a->vsock.uds_path, b->vsock.uds_path);
    same_text(a->vsock.vsock_id, b->vsock.vsock_id);
    assert_int_equal(a->entropy_present, b->entropy_present);
    assert_int_equal(a->balloon.present, b->balloon.present);
    assert_int_equal(a->balloon.amount_mib, b->balloon.amount_mib);
    assert_int_equal(a->balloon.deflate_on_oom, b->balloon.deflate_on_oom);
    assert_int_equal(a->balloon.stats_polling_interval_s, b->balloon.stats_polling_interval_s);
    assert_int_equal(a->balloon.free_page_reporting, b->balloon.free_page_reporting);
    assert_int_equal(a->balloon.free_page_hinting, b->balloon.free_page_hinting);
}

static void same(const struct vm_config *a, const struct vm_config *b)
{
    assert_int_equal(a->machine.vcpu_count, b->machine.vcpu_count);
    assert_int_equal(a->machine.mem_size_mib, b->machine.mem_size_mib);
    assert_int_equal(a->machine.smt, b->machine.smt);
    assert_int_equal(a->machine.track_dirty_pages, b->machine.track_dirty_pages);
    assert_string_equal(a->machine.huge_pages, b->machine.huge_pages);
    same_text(a->boot.kernel_image_path, b->boot.kernel_image_path);
    same_text(a->boot.initrd_path, b->boot.initrd_path);
    same_text(a->boot.boot_args, b->boot.boot_args);
    assert_int_equal(a->drive_count, b->drive_count);
    for (unsigned i = 0; i < a->drive_count; i++)
        same_drive(&a->drives[i], &b->drives[i]);
    same_devices(a, b);
    same_text(a->logger.log_path, b->logger.log_path);
    assert_string_equal(a->logger.level, b->logger.level);
    assert_int_equal(a->logger.show_level, b->logger.show_level);
    assert_int_equal(a->logger.show_log_origin, b->logger.show_log_origin);
    same_text(a->serial_out_path, b->serial_out_path);
}

static void there_and_back(const struct vm_config *config)
{
    struct error err = {0};
    struct vm_config back;
    char *text = vm_config_to_json(config);
    assert_non_null(text);
    fill(&back); /* what was there before is replaced, not mixed in */
    if (vm_config_from_json(&back, text, strlen(text), &err) < 0)
        fail_msg("%s: %s", err.message, text);
    same(config, &back);
    free(text);
    vm_config_free(&back);
}

static void test_round_trip(void **state)
{
    struct vm_config config;
    fill(&config);
    there_and_back(&config);
    vm_config_free(&config);
}

static void test_round_trip_defaults(void **state)
{
    struct vm_config config;
    vm_config_init(&config);
    assert_int_equal(config.machine.vcpu_count, 1);
    assert_int_equal(config.machine.mem_size_mib, 128);
    assert_string_equal(config.machine.huge_pages, "None");
    assert_string_equal(config.logger.level, "Info");
    there_and_back(&config);
    vm_config_free(&config);
}

static void test_text(void **state)
{
    struct vm_config config;
    vm_config_init(&config);
    char *text = vm_config_to_json(&config);
    assert_string_equal(text, "{\"machine-config\":{\"vcpu_count\":1,\"mem_size_mib\":128,"
                              "\"smt\":false,\"track_dirty_pages\":false,\"huge_pages\":\"None\"},"
                              "\"boot-source\":null,\"drives\":[],\"vsock\":null,\"entropy\":null,"
                              "\"balloon\":null,\"logger\":{\"log_path\":null,\"level\":\"Info\","
                              "\"show_level\":false,\"show_log_origin\":false},\"serial\":null,"
                              "\"metrics\":null,\"network-interfaces\":[]}");
    free(text);
    vm_config_free(&config);
}

#define M      "\"machine-config\":{}"
#define D(id)  "{\"drive_id\":\"" id "\",\"is_root_device\":true,\"path_on_host\":\"/d\"}"
#define DN(id) "{\"drive_id\":\"" id "\",\"is_root_device\":false,\"path_on_host\":\"/d\"}"

static void test_hostile(void **state)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "null",
        "{}",
        "{" M "}",
        "{\"drives\":[]}",
        "{" M ",\"drives\":[],\"x\":1}",
        "{" M "," M ",\"drives\":[]}",
        "{" M ",\"drives\":{}}",
        "{" M ",\"drives\":[1]}",
        "{" M ",\"drives\":[{}]}",
        "{" M ",\"drives\":[" D("a") "," D("b") "]}",
        "{" M ",\"drives\":[" DN("a") "," DN("a") "]}",
        "{" M ",\"drives\":[" DN("../a") "]}",
        "{" M ",\"drives\":[" DN("") "]}",
        "{\"machine-config\":{\"vcpu_count\":33},\"drives\":[]}",
        "{\"machine-config\":{\"vcpu_count\":1e0},\"drives\":[]}",
        "{\"machine-config\":{\"mem_size_mib\":9223372036854775807},\"drives\":[]}",
        "{\"machine-config\":{\"huge_pages\":\"2M\"},\"drives\":[]}",
        "{\"machine-config\":{\"huge_pages\":\"very long very long very long\"},\"drives\":[]}",
        "{" M ",\"drives\":[],\"boot-source\":{}}",
        "{" M ",\"drives\":[],\"boot-source\":{\"kernel_image_path\":\"a\\u0000b\"}}",
        "{" M ",\"drives\":[],\"vsock\":{\"guest_cid\":1,\"uds_path\":\"/v\"}}",
        "{" M ",\"drives\":[],\"balloon\":{\"amount_mib\":129,\"deflate_on_oom\":true}}",
        "{" M ",\"drives\":[],\"balloon\":{\"amount_mib\":1,\"deflate_on_oom\":true,"
        "\"free_page_hinting\":true}}",
        "{" M ",\"drives\":[],\"logger\":{\"level\":\"Very\"}}",
        "{" M ",\"drives\":[],\"serial\":{\"serial_out_path\":7}}",
        "{" M ",\"drives\":[],\"network-interfaces\":[{}]}",
        "{" M ",\"drives\":[],\"metrics\":{}}",
        "{" M ",\"drives\":[]} x",
        "{" M ",\"drives\":[\"\xff\"]}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct vm_config config, untouched;
        struct error err = {0};
        fill(&config);
        fill(&untouched);
        if (vm_config_from_json(&config, bad[i], strlen(bad[i]), &err) >= 0)
            fail_msg("accepted: %s", bad[i]);
        assert_int_not_equal(err.message[0], '\0');
        same(&config, &untouched); /* a refused text changes nothing */
        vm_config_free(&config);
        vm_config_free(&untouched);
    }
}

static void refuse_sized(const char *before, size_t filler, const char *after)
{
    struct vm_config config;
    struct error err = {0};
    size_t length = strlen(before) + filler + strlen(after);
    char *text = malloc(length + 1);
    assert_non_null(text);
    memset(text, 'a', length);
    memcpy(text, before, strlen(before));
    memcpy(text + strlen(before) + filler, after, strlen(after) + 1);
    vm_config_init(&config);
    assert_true(vm_config_from_json(&config, text, length, &err) < 0);
    vm_config_free(&config);
    free(text);
}

static void test_bounds(void **state)
{
    refuse_sized("{" M ",\"drives\":[],\"serial\":{\"serial_out_path\":\"", 4096, "\"}}");
    refuse_sized("{" M ",\"drives\":[],\"boot-source\":{\"kernel_image_path\":\"/k\","
                 "\"boot_args\":\"",
                 2048, "\"}}");
    refuse_sized("{" M ",\"drives\":[],\"vsock\":{\"guest_cid\":3,\"uds_path\":\"/v\","
                 "\"vsock_id\":\"",
                 65, "\"}}");
    refuse_sized("{\"x\":\"", 2u << 20, "\"}");
    char text[4096] = "{" M ",\"drives\":[";
    for (int i = 0; i <= VM_MAX_DRIVES; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used,
                 "%s{\"drive_id\":\"d%d\",\"is_root_device\":false,\"path_on_host\":\"/d\"}",
                 i ? "," : "", i);
    }
    refuse_sized(text, 0, "]}");
    /* Nesting far beyond what is sensible must not exhaust the stack. */
    char *deep = malloc(200001);
    assert_non_null(deep);
    memset(deep, '[', 200000);
    deep[200000] = '\0';
    refuse_sized(deep, 0, "");
    free(deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_round_trip_defaults),
        cmocka_unit_test(test_text),       cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests_name("vm config", tests, NULL, NULL);
}
