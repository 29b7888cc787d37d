/* SPDX-License-Identifier: Apache-2.0 */
/* The "zero page", struct boot_params: Linux's Documentation/arch/x86/{boot,zero-page}.rst. */
#include <errno.h>
#include <string.h>

#include "vmm/boot/memmap.h"
#include "vmm/boot/protocol.h"

#define LOADER_UNKNOWN 0xffu /* a boot loader without an assigned number */
#define BOOT_FLAG      0xaa55u
#define HEADER_MAGIC   0x53726448u /* "HdrS" */
#define VERSION_2_12   0x20cu
#define ALIGNMENT_ELF  0x1000000u

_Static_assert(sizeof(struct boot_params) == 4096, "zero-page.rst");

/* An ELF kernel has no setup header of its own. */
static const struct setup_header elf_header = {
    .boot_flag = BOOT_FLAG,
    .header = HEADER_MAGIC,
    .version = VERSION_2_12,
    .loadflags = LOADED_HIGH,
    .kernel_alignment = ALIGNMENT_ELF,
};

static void zero_page_fill_header(struct setup_header *header, const struct boot_payload *payload)
{
    header->type_of_loader = LOADER_UNKNOWN;
    /* No heap of ours behind the real-mode code, which never runs. */
    header->loadflags = LOADED_HIGH | (header->loadflags & QUIET_FLAG);
    header->heap_end_ptr = 0;
    header->code32_start = (uint32_t)BOOT_HIMEM;
    header->setup_data = 0;
    header->cmd_line_ptr = (uint32_t)BOOT_CMDLINE;
    header->ramdisk_image = (uint32_t)payload->initrd_gpa;
    header->ramdisk_size = (uint32_t)payload->initrd_size;
}

static void zero_page_fill_e820(struct boot_params *params, const struct guest_memory *memory)
{
    struct memmap_range ranges[MEMMAP_MAX];
    unsigned count = memmap_fill(memory, ranges);
    for (unsigned i = 0; i < count; i++)
        params->e820_table[i] = (struct boot_e820_entry){
            .addr = ranges[i].start, .size = ranges[i].size, .type = ranges[i].type};
    params->e820_entries = (uint8_t)count;
}

int zero_page_write(const struct guest_memory *memory, const struct kernel_image *image,
                    const struct boot_payload *payload, struct error *err)
{
    struct boot_params params = {.hdr = image->has_header ? image->header : elf_header};
    if (!image->has_header)
        params.hdr.cmdline_size = (uint32_t)image->cmdline_max;
    zero_page_fill_header(&params.hdr, payload);
    params.acpi_rsdp_addr = BOOT_RSDP;
    zero_page_fill_e820(&params, memory);
    if (guest_write(memory, BOOT_ZERO_PAGE, &params, sizeof(params)) < 0)
        return error_set(err, ERROR_INVALID, EFAULT, "no guest memory for the zero page");
    return 0;
}
