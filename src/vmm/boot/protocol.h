/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: telling the kernel about command line, initramfs and memory, in one of two
 * ways. */
#ifndef TINE_VMM_BOOT_PROTOCOL_H
#define TINE_VMM_BOOT_PROTOCOL_H

#include <stdint.h>

#include "base/error.h"
#include "vmm/boot/kernel.h"
#include "vmm/memory.h"

/* What lies where in guest memory besides the kernel. */
struct boot_payload {
    uint64_t cmdline_length;          /* without the NUL; it lies at BOOT_CMDLINE */
    uint64_t initrd_gpa, initrd_size; /* size 0: none */
};

/* hvm_start_info at BOOT_PVH_INFO, with module list and memory map. */
int pvh_write(const struct guest_memory *memory, const struct boot_payload *payload,
              struct error *err);
/* struct boot_params at BOOT_ZERO_PAGE, from the image's own setup header where it has one. */
int zero_page_write(const struct guest_memory *memory, const struct kernel_image *image,
                    const struct boot_payload *payload, struct error *err);

#endif
