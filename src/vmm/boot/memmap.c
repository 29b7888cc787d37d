/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/memmap.h"

#include "vmm/boot/boot.h"

/* Where PCI's memory-mapped configuration space belongs; nobody else may use it. */
#define MMCONFIG_START 0xeec00000ull
#define MMCONFIG_SIZE  (256ull << 20)

unsigned memmap_fill(const struct guest_memory *memory, struct memmap_range ranges[MEMMAP_MAX])
{
    unsigned count = 0;
    ranges[count++] = (struct memmap_range){0, BOOT_SYSTEM_START, MEMMAP_RAM};
    ranges[count++] = (struct memmap_range){BOOT_SYSTEM_START, BOOT_SYSTEM_END - BOOT_SYSTEM_START,
                                            MEMMAP_RESERVED};
    ranges[count++] = (struct memmap_range){MMCONFIG_START, MMCONFIG_SIZE, MEMMAP_RESERVED};
    for (unsigned i = 0; i < memory->region_count; i++) {
        const struct guest_region *region = &memory->regions[i];
        uint64_t start = region->gpa < BOOT_HIMEM ? BOOT_HIMEM : region->gpa;
        uint64_t end = region->gpa + region->size;
        if (end > start)
            ranges[count++] = (struct memmap_range){start, end - start, MEMMAP_RAM};
    }
    return count;
}
