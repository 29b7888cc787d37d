/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: the map of guest memory that the kernel is told, in either protocol. */
#ifndef TINE_VMM_BOOT_MEMMAP_H
#define TINE_VMM_BOOT_MEMMAP_H

#include <stdint.h>

#include "vmm/memory.h"

/* e820 types; PVH uses the same numbers. */
#define MEMMAP_RAM      1u
#define MEMMAP_RESERVED 2u

#define MEMMAP_MAX (3 + GUEST_MAX_REGIONS)

struct memmap_range {
    uint64_t start, size;
    uint32_t type;
};

/* Fills at most MEMMAP_MAX ranges; returns how many. 0xe0000..0xfffff is in none: the RSDP lies
 * there, where kernels look for it. */
unsigned memmap_fill(const struct guest_memory *memory, struct memmap_range ranges[MEMMAP_MAX]);

#endif
