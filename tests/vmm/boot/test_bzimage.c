/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "boots.h"
#include "images.h"

static void boots(void **state)
{
    (void)state;
    struct bz_image image;
    struct guest_memory memory;
    struct boot_entry entry;
    struct error err = {0};
    bz_image_init(&image);
    test_memory_make(&memory, 32);
    assert_int_equal(test_boot(&memory, &image, sizeof(image), &entry, &err), 0);
    assert_int_equal(entry.protocol, BOOT_LINUX64);
    assert_int_equal(entry.rip, 0x100200);
    assert_memory_equal(guest_pointer(&memory, 0x100000, BZ_PAYLOAD), image.payload, BZ_PAYLOAD);
    guest_memory_release(&memory);
}

static void zero_page_comes_from_the_image(void **state)
{
    (void)state;
    struct bz_image image;
    struct guest_memory memory;
    struct boot_entry entry;
    struct boot_params params;
    struct error err = {0};
    bz_image_init(&image);
    test_memory_make(&memory, 32);
    assert_int_equal(test_boot(&memory, &image, sizeof(image), &entry, &err), 0);
    assert_int_equal(guest_read(&memory, BOOT_ZERO_PAGE, &params, sizeof(params)), 0);
    assert_int_equal(params.hdr.boot_flag, 0xaa55);
    assert_int_equal(params.hdr.header, 0x53726448);
    assert_int_equal(params.hdr.version, 0x20f);
    assert_int_equal(params.hdr.init_size, BZ_INIT_SIZE);
    assert_int_equal(params.hdr.pref_address, BZ_PREF_ADDRESS);
    assert_int_equal(params.hdr.kernel_alignment, 0x200000);
    assert_int_equal(params.hdr.xloadflags, XLF_KERNEL_64);
    assert_int_equal(params.hdr.type_of_loader, 0xff);
    assert_int_equal(params.hdr.loadflags, LOADED_HIGH);
    assert_int_equal(params.hdr.heap_end_ptr, 0);
    assert_int_equal(params.hdr.setup_data, 0);
    assert_int_equal(params.hdr.code32_start, 0x100000);
    assert_int_equal(params.hdr.cmd_line_ptr, 0x20000);
    assert_int_equal(params.hdr.ramdisk_image, 0);
    assert_int_equal(params.hdr.ramdisk_size, 0);
    assert_int_equal(params.acpi_rsdp_addr, 0xe0000);
    assert_int_equal(params.sentinel, 0);
    assert_int_equal(params.e820_entries, 4);
    guest_memory_release(&memory);
}

/* What lies behind the header's own length is code of the setup part, not header. */
static void header_ends_where_it_says(void **state)
{
    (void)state;
    struct bz_image image;
    struct guest_memory memory;
    struct boot_entry entry;
    struct boot_params params;
    struct error err = {0};
    bz_image_init(&image);
    image.header.jump = 0xeb | (0x264 - 0x202) << 8;
    image.header.handover_offset = 0x11111111;
    image.header.kernel_info_offset = 0x22222222;
    test_memory_make(&memory, 32);
    assert_int_equal(test_boot(&memory, &image, sizeof(image), &entry, &err), 0);
    assert_int_equal(guest_read(&memory, BOOT_ZERO_PAGE, &params, sizeof(params)), 0);
    assert_int_equal(params.hdr.handover_offset, 0);
    assert_int_equal(params.hdr.kernel_info_offset, 0);
    assert_int_equal(params.hdr.init_size, BZ_INIT_SIZE);
    guest_memory_release(&memory);
    image.header.jump = 0xeb | (0x263 - 0x202) << 8;
    assert_refused(&image, sizeof(image), 32, "2.12 or later is needed");
}

/* The last paragraph may be incomplete; a signature behind the kernel is no part of it. */
static void payload_length_comes_from_syssize(void **state)
{
    (void)state;
    static struct {
        struct bz_image image;
        uint8_t signature[4096];
    } file;
    struct guest_memory memory;
    struct boot_entry entry;
    struct error err = {0};
    bz_image_init(&file.image);
    memset(file.signature, 0xee, sizeof(file.signature));
    test_memory_make(&memory, 32);
    assert_int_equal(test_boot(&memory, &file, sizeof(file), &entry, &err), 0);
    const uint8_t *behind = guest_pointer(&memory, 0x100000 + BZ_PAYLOAD, 4096);
    for (size_t i = 0; i < 4096; i++)
        assert_int_equal(behind[i], 0);
    assert_int_equal(test_boot(&memory, &file, sizeof(file.image) - 15, &entry, &err), 0);
    guest_memory_release(&memory);
    assert_refused(&file, sizeof(file.image) - 16, 32, "truncated: the protected-mode part");
}

static void refuses_every_truncation(void **state)
{
    (void)state;
    struct bz_image image;
    bz_image_init(&image);
    assert_refused(&image, 0x1f1, 32, "neither an ELF file nor a bzImage");
    assert_refused(&image, 0x206, 32, "neither an ELF file nor a bzImage");
    assert_refused(&image, 0x26c - 1, 32, "neither an ELF file nor a bzImage");
    assert_refused(&image, 0x26c, 32, "truncated: the protected-mode part");
    assert_refused(&image, offsetof(struct bz_image, payload), 32, "truncated");
    assert_refused(&image, offsetof(struct bz_image, payload) + 100, 32, "truncated");
}

static void refuses_bad_headers(void **state)
{
    static const struct test_refusal refusals[] = {
        {"neither an ELF file nor a bzImage", {FLAW(bz_image, header.header, 0)}},
        {"neither an ELF file nor a bzImage", {FLAW(bz_image, header.boot_flag, 0)}},
        {"its boot protocol is 2.11, 2.12 or later", {FLAW(bz_image, header.version, 0x20b)}},
        {"without a 64-bit entry", {FLAW(bz_image, header.xloadflags, 0)}},
        {"no power of two", {FLAW(bz_image, header.kernel_alignment, 0x300000)}},
        {"no power of two", {FLAW(bz_image, header.kernel_alignment, 0)}},
        {"below 1 MiB",
         {FLAW(bz_image, header.relocatable_kernel, 0),
          FLAW(bz_image, header.pref_address, 0x8000)}},
    };
    struct bz_image image;
    (void)state;
    bz_image_init(&image);
    assert_refusals(&image, sizeof(image), refusals, ARRAY_SIZE(refusals));
}

static void refuses_bad_sizes(void **state)
{
    static const struct test_refusal refusals[] = {
        {"protected-mode part has only 512 bytes", {FLAW(bz_image, header.syssize, 0x200 / 16)}},
        {"protected-mode part has only 0 bytes", {FLAW(bz_image, header.syssize, 0)}},
        {"over 1 GiB", {FLAW(bz_image, header.syssize, UINT32_MAX)}},
        {"beyond 1 GiB", {FLAW(bz_image, header.init_size, UINT32_MAX)}},
        {"beyond 1 GiB", {FLAW(bz_image, header.pref_address, UINT64_MAX)}},
        {"beyond 1 GiB", {FLAW(bz_image, header.kernel_alignment, 1u << 31)}, .mib = 4096},
        {"it needs memory up to 33 MiB to start", {FLAW(bz_image, header.init_size, 0x1000001)}},
        {"truncated", {FLAW(bz_image, header.setup_sects, 255)}},
    };
    struct bz_image image;
    (void)state;
    bz_image_init(&image);
    assert_refusals(&image, sizeof(image), refusals, ARRAY_SIZE(refusals));
}

static void refuses_payload_beyond_memory(void **state)
{
    (void)state;
    const size_t size = 4u << 20;
    uint8_t *file = calloc(1, size);
    assert_non_null(file);
    struct bz_image image;
    bz_image_init(&image);
    image.header.pref_address = 0x100000;
    image.header.init_size = 0x1000;
    image.header.syssize = (uint32_t)((size - offsetof(struct bz_image, payload)) / 16);
    memcpy(file, &image, sizeof(image));
    assert_refused(file, size, 4, "does not fit the guest's 4 MiB");
    free(file);
}

/* TINE_TEST_KERNEL names a distribution's kernel: its header must be taken as it is. */
static void boots_a_real_kernel(void **state)
{
    (void)state;
    const char *path = getenv("TINE_TEST_KERNEL");
    if (!path) {
        print_message("TINE_TEST_KERNEL is not set\n");
        skip();
    }
    struct guest_memory memory;
    struct boot_entry entry;
    struct boot_params params;
    struct error err = {0};
    struct boot_request request = {.kernel_path = path, .cmdline = "console=ttyS0"};
    test_memory_make(&memory, 256);
    int status = boot_load(&memory, &request, &entry, &err);
    if (status < 0)
        print_error("%s\n", err.message);
    assert_int_equal(status, 0);
    assert_int_equal(guest_read(&memory, BOOT_ZERO_PAGE, &params, sizeof(params)), 0);
    guest_memory_release(&memory);
    if (entry.protocol == BOOT_PVH)
        return;
    assert_int_equal(params.hdr.header, 0x53726448);
    assert_true(params.hdr.version >= 0x20c);
    print_message("version 0x%x, syssize %u, init_size %u, pref_address 0x%llx\n",
                  params.hdr.version, params.hdr.syssize, params.hdr.init_size,
                  (unsigned long long)params.hdr.pref_address);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boots),
        cmocka_unit_test(zero_page_comes_from_the_image),
        cmocka_unit_test(header_ends_where_it_says),
        cmocka_unit_test(payload_length_comes_from_syssize),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(refuses_bad_headers),
        cmocka_unit_test(refuses_bad_sizes),
        cmocka_unit_test(refuses_payload_beyond_memory),
        cmocka_unit_test(boots_a_real_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
