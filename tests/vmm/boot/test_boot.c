/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in guest memory besides the kernel, and the first registers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "boots.h"
#include "images.h"
#include "vmm/config.h"

struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, cmdline, rsdp, memmap;
    uint32_t memmap_count, reserved;
};

struct range {
    uint64_t start, size;
    uint32_t type, reserved;
};

struct setup {
    struct guest_memory memory;
    struct test_file kernel, initrd;
    struct boot_request request;
    struct boot_entry entry;
    struct error err;
};

static void setup_elf(struct setup *setup, uint64_t mib, bool pvh)
{
    struct elf_image image;
    elf_image_init(&image);
    if (!pvh)
        image.segments[ELF_NOTE].p_type = PT_NULL;
    *setup = (struct setup){.initrd.fd = -1};
    test_memory_make(&setup->memory, mib);
    test_file_make(&setup->kernel, &image, sizeof(image));
    setup->request = (struct boot_request){.kernel_path = setup->kernel.path, .cmdline = "quiet"};
}

static void setup_bzimage(struct setup *setup, uint64_t mib, const struct bz_image *image)
{
    *setup = (struct setup){.initrd.fd = -1};
    test_memory_make(&setup->memory, mib);
    test_file_make(&setup->kernel, image, sizeof(*image));
    setup->request = (struct boot_request){.kernel_path = setup->kernel.path, .cmdline = "quiet"};
}

static void setup_initrd(struct setup *setup, size_t size)
{
    uint8_t *data = malloc(size);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 13 + i / 255);
    test_file_make(&setup->initrd, data, size);
    free(data);
    setup->request.initrd_path = setup->initrd.path;
}

static void teardown(struct setup *setup)
{
    guest_memory_release(&setup->memory);
    test_file_close(&setup->kernel);
    if (setup->initrd.fd >= 0)
        test_file_close(&setup->initrd);
}

static int load(struct setup *setup)
{
    return boot_load(&setup->memory, &setup->request, &setup->entry, &setup->err);
}

/* The initramfs of `size` bytes lies at `gpa`, whole. */
static void assert_initrd_at(const struct setup *setup, uint64_t gpa, size_t size)
{
    const uint8_t *data = guest_pointer(&setup->memory, gpa, size);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(data[i], (uint8_t)(i * 13 + i / 255));
}

static void read_guest(const struct setup *setup, uint64_t gpa, void *buffer, size_t size)
{
    assert_int_equal(guest_read(&setup->memory, gpa, buffer, size), 0);
}

/* ---- PVH ---- */

static void pvh_start_info(void **state)
{
    (void)state;
    struct setup setup;
    struct start_info info;
    uint64_t module[4];
    char cmdline[6];
    setup_elf(&setup, 64, true);
    setup_initrd(&setup, 10000);
    assert_int_equal(load(&setup), 0);
    read_guest(&setup, BOOT_PVH_INFO, &info, sizeof(info));
    assert_int_equal(info.magic, 0x336ec578);
    assert_int_equal(info.version, 1);
    assert_int_equal(info.flags, 0);
    assert_int_equal(info.module_count, 1);
    assert_int_equal(info.modules, 0x6040);
    assert_int_equal(info.cmdline, 0x20000);
    assert_int_equal(info.rsdp, 0xe0000);
    assert_int_equal(info.memmap, 0x7000);
    assert_int_equal(info.memmap_count, 4);
    read_guest(&setup, info.modules, module, sizeof(module));
    assert_int_equal(module[0], (64ull << 20) - 12288);
    assert_int_equal(module[1], 10000);
    assert_int_equal(module[2], 0);
    assert_initrd_at(&setup, module[0], 10000);
    read_guest(&setup, BOOT_CMDLINE, cmdline, sizeof(cmdline));
    assert_string_equal(cmdline, "quiet");
    teardown(&setup);
}

static void pvh_without_initrd_has_no_module(void **state)
{
    (void)state;
    struct setup setup;
    struct start_info info;
    setup_elf(&setup, 64, true);
    assert_int_equal(load(&setup), 0);
    read_guest(&setup, BOOT_PVH_INFO, &info, sizeof(info));
    assert_int_equal(info.module_count, 0);
    assert_int_equal(info.modules, 0);
    teardown(&setup);
}

/* ---- memory map ---- */

static const struct range low[] = {
    {0, 0x9fc00, 1, 0}, {0x9fc00, 0x40400, 2, 0}, {0xeec00000, 0x10000000, 2, 0}};

static void assert_memmap(uint64_t mib, const struct range *ram, unsigned count)
{
    struct setup setup;
    struct range ranges[8];
    struct boot_params params;
    struct start_info info;
    setup_elf(&setup, mib, true);
    assert_int_equal(load(&setup), 0);
    read_guest(&setup, BOOT_PVH_INFO, &info, sizeof(info));
    assert_int_equal(info.memmap_count, 3 + count);
    read_guest(&setup, BOOT_PVH_MEMMAP, ranges, (3 + count) * sizeof(ranges[0]));
    assert_memory_equal(ranges, low, sizeof(low));
    assert_memory_equal(ranges + 3, ram, count * sizeof(ram[0]));
    teardown(&setup);

    setup_elf(&setup, mib, false);
    assert_int_equal(load(&setup), 0);
    read_guest(&setup, BOOT_ZERO_PAGE, &params, sizeof(params));
    assert_int_equal(params.e820_entries, 3 + count);
    for (unsigned i = 0; i < 3 + count; i++) {
        const struct range *range = i < 3 ? &low[i] : &ram[i - 3];
        assert_int_equal(params.e820_table[i].addr, range->start);
        assert_int_equal(params.e820_table[i].size, range->size);
        assert_int_equal(params.e820_table[i].type, range->type);
    }
    teardown(&setup);
}

static void memmap_of_small_and_large_guests(void **state)
{
    (void)state;
    const struct range small[] = {{0x100000, 63ull << 20, 1, 0}};
    const struct range full[] = {{0x100000, 3071ull << 20, 1, 0}};
    const struct range large[] = {{0x100000, 3071ull << 20, 1, 0}, {4ull << 30, 2ull << 30, 1, 0}};
    const struct range huge[] = {{0x100000, 3071ull << 20, 1, 0},
                                 {4ull << 30, 252ull << 30, 1, 0},
                                 {512ull << 30, 45ull << 30, 1, 0}};
    assert_memmap(64, small, 1);
    assert_memmap(3072, full, 1);
    assert_memmap(5120, large, 2);
    assert_memmap(300ull * 1024, huge, 3);
}

/* ---- initramfs ---- */

static void initrd_lies_below_3_gib(void **state)
{
    (void)state;
    struct setup setup;
    setup_elf(&setup, 5120, true);
    setup_initrd(&setup, 5000);
    assert_int_equal(load(&setup), 0);
    assert_initrd_at(&setup, (3ull << 30) - 8192, 5000);
    teardown(&setup);
}

static void initrd_respects_the_image_limit(void **state)
{
    (void)state;
    struct setup setup;
    struct bz_image image;
    struct boot_params params;
    bz_image_init(&image);
    setup_bzimage(&setup, 3072, &image);
    setup_initrd(&setup, 4096);
    assert_int_equal(load(&setup), 0);
    read_guest(&setup, BOOT_ZERO_PAGE, &params, sizeof(params));
    assert_int_equal(params.hdr.ramdisk_image, 0x7ffff000);
    assert_int_equal(params.hdr.ramdisk_size, 4096);
    assert_initrd_at(&setup, 0x7ffff000, 4096);
    teardown(&setup);

    /* A limit in the middle of a page. */
    image.header.initrd_addr_max = 0x2000800;
    setup_bzimage(&setup, 64, &image);
    setup_initrd(&setup, 100);
    assert_int_equal(load(&setup), 0);
    assert_initrd_at(&setup, 0x2000000, 100);
    teardown(&setup);
}

/* Just fits between init_size and the top, and is one page too large. */
static void initrd_never_overlaps_the_kernel(void **state)
{
    (void)state;
    const uint64_t end = BZ_PREF_ADDRESS + BZ_INIT_SIZE;
    struct setup setup;
    struct bz_image image;
    bz_image_init(&image);
    setup_bzimage(&setup, 32, &image);
    setup_initrd(&setup, (32u << 20) - end);
    assert_int_equal(load(&setup), 0);
    assert_initrd_at(&setup, end, (32u << 20) - end);
    teardown(&setup);

    setup_bzimage(&setup, 32, &image);
    setup_initrd(&setup, (32u << 20) - end + 1);
    assert_true(load(&setup) < 0);
    assert_int_equal(setup.err.code, ERROR_INVALID);
    assert_string_equal(setup.err.path, setup.initrd.path);
    assert_non_null(strstr(setup.err.message, "does not fit between the kernel's end"));
    teardown(&setup);

    setup_elf(&setup, 32, true);
    setup_initrd(&setup, (32u << 20) - ELF_DATA_GPA - ELF_DATA_MEMSZ + 1);
    assert_true(load(&setup) < 0);
    teardown(&setup);

    image.header.initrd_addr_max = 0x100000;
    setup_bzimage(&setup, 32, &image);
    setup_initrd(&setup, 1);
    assert_true(load(&setup) < 0);
    teardown(&setup);
}

/* ---- files that aren't there, or aren't files ---- */

static void assert_kernel_path(const char *path, int errnum, const char *message)
{
    struct guest_memory memory;
    struct boot_entry entry;
    struct error err = {0};
    struct boot_request request = {.kernel_path = path, .cmdline = ""};
    test_memory_make(&memory, 16);
    assert_int_equal(boot_load(&memory, &request, &entry, &err), -errnum);
    assert_string_equal(err.message, message);
    assert_string_equal(err.path, path);
    guest_memory_release(&memory);
}

static void names_the_path_and_the_cause(void **state)
{
    (void)state;
    char fifo[] = "/tmp/tine-boot-test-XXXXXX", message[128];
    struct test_file empty;
    assert_kernel_path("/nonexistent/vmlinux", ENOENT,
                       "open /nonexistent/vmlinux: No such file or directory (ENOENT)");
    assert_kernel_path("/", ENOEXEC, "/: not a regular file");
    assert_kernel_path("/dev/null", ENOEXEC, "/dev/null: not a regular file");
    test_file_make(&empty, "", 0);
    snprintf(message, sizeof(message), "%s: the file is empty", empty.path);
    assert_kernel_path(empty.path, ENOEXEC, message);
    test_file_close(&empty);
    close(mkstemp(fifo));
    unlink(fifo);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    snprintf(message, sizeof(message), "%s: not a regular file", fifo);
    assert_kernel_path(fifo, ENOEXEC, message);
    unlink(fifo);
}

static void refuses_missing_initrd(void **state)
{
    (void)state;
    struct setup setup;
    setup_elf(&setup, 32, true);
    setup.request.initrd_path = "/nonexistent/initrd";
    assert_int_equal(load(&setup), -ENOENT);
    assert_string_equal(setup.err.message,
                        "open /nonexistent/initrd: No such file or directory (ENOENT)");
    teardown(&setup);
}

static void refuses_tiny_memory(void **state)
{
    (void)state;
    struct setup setup;
    setup_elf(&setup, 1, true);
    assert_int_equal(load(&setup), -EINVAL);
    assert_non_null(strstr(setup.err.message, "too small for a kernel"));
    teardown(&setup);
}

static void refuses_long_cmdline(void **state)
{
    (void)state;
    struct setup setup;
    struct bz_image image;
    char cmdline[VM_CMDLINE_MAX + 1], copy[VM_CMDLINE_MAX];
    memset(cmdline, 'a', sizeof(cmdline));
    cmdline[VM_CMDLINE_MAX] = '\0';
    setup_elf(&setup, 32, true);
    setup.request.cmdline = cmdline;
    assert_int_equal(load(&setup), -EINVAL);
    assert_string_equal(setup.err.message,
                        "the kernel command line has 2048 bytes, at most 2047 are possible");
    cmdline[VM_CMDLINE_MAX - 1] = '\0';
    assert_int_equal(load(&setup), 0);
    read_guest(&setup, BOOT_CMDLINE, copy, sizeof(copy));
    assert_string_equal(copy, cmdline);
    teardown(&setup);

    bz_image_init(&image);
    image.header.cmdline_size = 255;
    cmdline[256] = '\0';
    setup_bzimage(&setup, 32, &image);
    setup.request.cmdline = cmdline;
    assert_int_equal(load(&setup), -EINVAL);
    cmdline[255] = '\0';
    assert_int_equal(load(&setup), 0);
    teardown(&setup);
}

/* ---- registers ---- */

static void assert_segment(const struct kvm_segment *segment, uint16_t selector, uint8_t type)
{
    assert_int_equal(segment->base, 0);
    assert_int_equal(segment->limit, 0xffffffff);
    assert_int_equal(segment->selector, selector);
    assert_int_equal(segment->type, type);
    assert_int_equal(segment->present, 1);
    assert_int_equal(segment->s, 1);
    assert_int_equal(segment->g, 1);
    assert_int_equal(segment->dpl, 0);
    assert_int_equal(segment->unusable, 0);
}

static void assert_all_data_segments(const struct kvm_sregs *sregs)
{
    const struct kvm_segment *data[] = {&sregs->ds, &sregs->es, &sregs->fs, &sregs->gs, &sregs->ss};
    for (unsigned i = 0; i < 5; i++) {
        assert_segment(data[i], 0x18, 3);
        assert_int_equal(data[i]->db, 1);
        assert_int_equal(data[i]->l, 0);
    }
    assert_int_equal(sregs->tr.type, 11);
    assert_int_equal(sregs->tr.base, 0);
    assert_int_equal(sregs->tr.limit, 0x67);
    assert_int_equal(sregs->tr.present, 1);
    assert_int_equal(sregs->tr.s, 0);
}

static void pvh_registers(void **state)
{
    (void)state;
    struct guest_memory memory;
    struct kvm_regs regs = {.rax = 1, .rsi = 2};
    struct kvm_sregs sregs = {.apic_base = 0xfee00900, .cr3 = 7, .cr4 = 7, .efer = 7, .cr2 = 9};
    const struct boot_entry entry = {.protocol = BOOT_PVH, .rip = 0x1000120};
    test_memory_make(&memory, 16);
    assert_int_equal(boot_registers(&memory, &entry, &regs, &sregs, NULL), 0);
    assert_int_equal(regs.rip, 0x1000120);
    assert_int_equal(regs.rbx, 0x6000);
    assert_int_equal(regs.rflags, 2);
    assert_int_equal(regs.rax, 0);
    assert_int_equal(regs.rsi, 0);
    assert_int_equal(sregs.cr0, 0x11);
    assert_int_equal(sregs.cr3, 0);
    assert_int_equal(sregs.cr4, 0);
    assert_int_equal(sregs.efer, 0);
    assert_int_equal(sregs.apic_base, 0xfee00900);
    assert_segment(&sregs.cs, 0x10, 11);
    assert_int_equal(sregs.cs.db, 1);
    assert_int_equal(sregs.cs.l, 0);
    assert_all_data_segments(&sregs);
    guest_memory_release(&memory);
}

static void linux64_registers(void **state)
{
    (void)state;
    struct guest_memory memory;
    struct kvm_regs regs;
    struct kvm_sregs sregs = {.apic_base = 0xfee00900};
    const struct boot_entry entry = {.protocol = BOOT_LINUX64, .rip = 0x100200};
    test_memory_make(&memory, 16);
    assert_int_equal(boot_registers(&memory, &entry, &regs, &sregs, NULL), 0);
    assert_int_equal(regs.rip, 0x100200);
    assert_int_equal(regs.rsi, 0x7000);
    assert_int_equal(regs.rsp, 0x8ff0);
    assert_int_equal(regs.rbp, 0x8ff0);
    assert_int_equal(regs.rflags, 2);
    assert_int_equal(sregs.cr0, 0x80000011);
    assert_int_equal(sregs.cr3, 0x9000);
    assert_int_equal(sregs.cr4, 0x20);
    assert_int_equal(sregs.efer, 0x500);
    assert_segment(&sregs.cs, 0x10, 11);
    assert_int_equal(sregs.cs.l, 1);
    assert_int_equal(sregs.cs.db, 0);
    assert_all_data_segments(&sregs);
    guest_memory_release(&memory);
}

static void gdt_and_page_tables(void **state)
{
    (void)state;
    struct guest_memory memory;
    struct kvm_regs regs;
    struct kvm_sregs sregs = {0};
    const struct boot_entry entry = {.protocol = BOOT_LINUX64, .rip = 0x100200};
    test_memory_make(&memory, 16);
    assert_int_equal(boot_registers(&memory, &entry, &regs, &sregs, NULL), 0);
    assert_int_equal(sregs.gdt.base, 0x500);
    assert_int_equal(sregs.gdt.limit, 5 * 8 - 1);
    const uint64_t *gdt = guest_pointer(&memory, 0x500, 40);
    assert_int_equal(gdt[0], 0);
    assert_int_equal(gdt[1], 0);
    assert_int_equal(gdt[2], 0x00af9b000000ffff);
    assert_int_equal(gdt[3], 0x00cf93000000ffff);
    assert_int_equal(gdt[4], 0x00008b0000000067);
    const uint64_t *pml4 = guest_pointer(&memory, 0x9000, 12288);
    assert_int_equal(pml4[0], 0xa003);
    assert_int_equal(pml4[512], 0xb003);
    for (unsigned i = 1; i < 512; i++) {
        assert_int_equal(pml4[i], 0);
        assert_int_equal(pml4[512 + i], 0);
    }
    for (uint64_t i = 0; i < 512; i++)
        assert_int_equal(pml4[1024 + i], i << 21 | 0x83);
    guest_memory_release(&memory);
}

static void elf_without_note_gets_a_zero_page(void **state)
{
    (void)state;
    struct setup setup;
    struct boot_params params;
    setup_elf(&setup, 64, false);
    setup_initrd(&setup, 4097);
    assert_int_equal(load(&setup), 0);
    assert_int_equal(setup.entry.protocol, BOOT_LINUX64);
    read_guest(&setup, BOOT_ZERO_PAGE, &params, sizeof(params));
    assert_int_equal(params.hdr.header, 0x53726448);
    assert_int_equal(params.hdr.boot_flag, 0xaa55);
    assert_int_equal(params.hdr.type_of_loader, 0xff);
    assert_int_equal(params.hdr.loadflags, LOADED_HIGH);
    assert_int_equal(params.hdr.cmd_line_ptr, 0x20000);
    assert_int_equal(params.hdr.cmdline_size, 2047);
    assert_int_equal(params.hdr.ramdisk_image, (64u << 20) - 8192);
    assert_int_equal(params.hdr.ramdisk_size, 4097);
    assert_int_equal(params.acpi_rsdp_addr, 0xe0000);
    assert_initrd_at(&setup, (64u << 20) - 8192, 4097);
    teardown(&setup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pvh_start_info),
        cmocka_unit_test(pvh_without_initrd_has_no_module),
        cmocka_unit_test(memmap_of_small_and_large_guests),
        cmocka_unit_test(initrd_lies_below_3_gib),
        cmocka_unit_test(initrd_respects_the_image_limit),
        cmocka_unit_test(initrd_never_overlaps_the_kernel),
        cmocka_unit_test(names_the_path_and_the_cause),
        cmocka_unit_test(refuses_missing_initrd),
        cmocka_unit_test(refuses_tiny_memory),
        cmocka_unit_test(refuses_long_cmdline),
        cmocka_unit_test(pvh_registers),
        cmocka_unit_test(linux64_registers),
        cmocka_unit_test(gdt_and_page_tables),
        cmocka_unit_test(elf_without_note_gets_a_zero_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
