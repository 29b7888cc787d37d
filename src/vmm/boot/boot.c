/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/boot.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmm/boot/kernel.h"
#include "vmm/boot/protocol.h"
#include "vmm/config.h"

/* Kernels that hand the rest of their image to the page allocator do so in whole pages. */
static uint64_t page_up(uint64_t address)
{
    return (address + GUEST_PAGE_SIZE - 1) & ~(uint64_t)(GUEST_PAGE_SIZE - 1);
}

static int boot_check_memory(const struct guest_memory *memory, struct error *err)
{
    if (memory->region_count == 0 || memory->regions[0].gpa != 0 ||
        memory->regions[0].size <= BOOT_HIMEM)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "guest memory of %llu bytes is too small for a kernel",
                         (unsigned long long)memory->size);
    return 0;
}

static int boot_load_kernel(const struct guest_memory *memory, const char *path,
                            struct kernel_image *image, struct error *err)
{
    _cleanup_(boot_file) struct boot_file file = {.fd = -1};
    int status = boot_file_open(&file, path, err);
    if (status < 0)
        return status;
    if (elf_is(&file))
        return elf_load(&file, memory, image, err);
    if (bzimage_is(&file))
        return bzimage_load(&file, memory, image, err);
    return boot_file_refuse(&file, err, "not a kernel: neither an ELF file nor a bzImage");
}

/* Page aligned at the top of the first region, clear of the kernel. */
static int boot_load_initrd(const struct guest_memory *memory, const char *path,
                            const struct kernel_image *image, struct boot_payload *payload,
                            struct error *err)
{
    _cleanup_(boot_file) struct boot_file file = {.fd = -1};
    int status = boot_file_open(&file, path, err);
    if (status < 0)
        return status;
    uint64_t bottom = page_up(image->end);
    uint64_t top = memory->regions[0].size;
    if (top > image->initrd_limit)
        top = image->initrd_limit;
    if (bottom > top || file.size > top - bottom)
        return boot_file_refuse(&file, err,
                                "the initramfs (%llu bytes) does not fit between the kernel's end "
                                "at 0x%llx and 0x%llx",
                                (unsigned long long)file.size, (unsigned long long)image->end,
                                (unsigned long long)top);
    /* Not below `bottom`, which is page aligned itself. */
    payload->initrd_gpa = (top - file.size) & ~(uint64_t)(GUEST_PAGE_SIZE - 1);
    payload->initrd_size = file.size;
    return boot_file_load(&file, 0, file.size, memory, payload->initrd_gpa, "the initramfs", err);
}

static int boot_write_cmdline(const struct guest_memory *memory, const char *cmdline,
                              const struct kernel_image *image, struct boot_payload *payload,
                              struct error *err)
{
    size_t length = strlen(cmdline);
    uint64_t max =
        image->cmdline_max < VM_CMDLINE_MAX - 1 ? image->cmdline_max : VM_CMDLINE_MAX - 1;
    if (length > max)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "the kernel command line has %zu bytes, at most %llu are possible", length,
                         (unsigned long long)max);
    payload->cmdline_length = length;
    if (guest_write(memory, BOOT_CMDLINE, cmdline, length + 1) < 0)
        return error_set(err, ERROR_INVALID, EFAULT, "no guest memory for the command line");
    return 0;
}

int boot_load(const struct guest_memory *memory, const struct boot_request *request,
              struct boot_entry *entry, struct error *err)
{
    struct kernel_image image = {0};
    struct boot_payload payload = {0};
    int status = boot_check_memory(memory, err);
    if (status == 0)
        status = boot_load_kernel(memory, request->kernel_path, &image, err);
    if (status == 0 && request->initrd_path)
        status = boot_load_initrd(memory, request->initrd_path, &image, &payload, err);
    if (status == 0)
        status = boot_write_cmdline(memory, request->cmdline, &image, &payload, err);
    if (status == 0)
        status = image.entry.protocol == BOOT_PVH ? pvh_write(memory, &payload, err)
                                                  : zero_page_write(memory, &image, &payload, err);
    if (status == 0)
        *entry = image.entry;
    return status;
}
