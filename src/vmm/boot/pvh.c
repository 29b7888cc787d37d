/* SPDX-License-Identifier: Apache-2.0 */
/* x86/HVM direct boot ABI, as Xen's public header arch-x86/hvm/start_info.h defines it. */
#include <errno.h>
#include <string.h>

#include "vmm/boot/memmap.h"
#include "vmm/boot/protocol.h"

#define PVH_MAGIC   0x336ec578u
#define PVH_VERSION 1u /* the first one with a memory map */

struct pvh_start_info {
    uint32_t magic, version;
    uint32_t flags;
    uint32_t module_count;
    uint64_t modules_gpa;
    uint64_t cmdline_gpa;
    uint64_t rsdp_gpa;
    uint64_t memmap_gpa;
    uint32_t memmap_count;
    uint32_t reserved;
};

struct pvh_module {
    uint64_t gpa, size;
    uint64_t cmdline_gpa;
    uint64_t reserved;
};

struct pvh_memmap_entry {
    uint64_t gpa, size;
    uint32_t type;
    uint32_t reserved;
};

_Static_assert(sizeof(struct pvh_start_info) == 56, "start_info.h");
_Static_assert(sizeof(struct pvh_module) == 32, "start_info.h");
_Static_assert(sizeof(struct pvh_memmap_entry) == 24, "start_info.h");
_Static_assert(BOOT_PVH_INFO + sizeof(struct pvh_start_info) <= BOOT_PVH_MODULES, "no overlap");

static unsigned pvh_fill_memmap(const struct guest_memory *memory,
                                struct pvh_memmap_entry entries[MEMMAP_MAX])
{
    struct memmap_range ranges[MEMMAP_MAX];
    unsigned count = memmap_fill(memory, ranges);
    for (unsigned i = 0; i < count; i++)
        entries[i] = (struct pvh_memmap_entry){
            .gpa = ranges[i].start, .size = ranges[i].size, .type = ranges[i].type};
    return count;
}

int pvh_write(const struct guest_memory *memory, const struct boot_payload *payload,
              struct error *err)
{
    struct pvh_memmap_entry memmap[MEMMAP_MAX];
    struct pvh_module module = {.gpa = payload->initrd_gpa, .size = payload->initrd_size};
    struct pvh_start_info info = {
        .magic = PVH_MAGIC,
        .version = PVH_VERSION,
        .module_count = payload->initrd_size > 0,
        .modules_gpa = payload->initrd_size > 0 ? BOOT_PVH_MODULES : 0,
        .cmdline_gpa = BOOT_CMDLINE,
        .rsdp_gpa = BOOT_RSDP,
        .memmap_gpa = BOOT_PVH_MEMMAP,
        .memmap_count = pvh_fill_memmap(memory, memmap),
    };
    if (guest_write(memory, BOOT_PVH_INFO, &info, sizeof(info)) < 0 ||
        guest_write(memory, BOOT_PVH_MODULES, &module, sizeof(module)) < 0 ||
        guest_write(memory, BOOT_PVH_MEMMAP, memmap, info.memmap_count * sizeof(memmap[0])) < 0)
        return error_set(err, ERROR_INVALID, EFAULT, "no guest memory for the PVH start info");
    return 0;
}
