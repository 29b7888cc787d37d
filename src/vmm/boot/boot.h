/* SPDX-License-Identifier: Apache-2.0 */
/* Puts a kernel, an initramfs and a command line into fresh guest memory and says how vCPU 0
 * starts. Accepts an ELF vmlinux with a PVH note, an ELF vmlinux without one (64-bit boot protocol)
 * and a bzImage with a 64-bit entry (setup version >= 2.12). The files are hostile input. */
#ifndef TINE_VMM_BOOT_BOOT_H
#define TINE_VMM_BOOT_BOOT_H

#include <linux/kvm.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/memory.h"

/* Low memory, as in Firecracker's layout. */
#define BOOT_GDT          0x500ull
#define BOOT_PVH_INFO     0x6000ull
#define BOOT_PVH_MODULES  0x6040ull
#define BOOT_PVH_MEMMAP   0x7000ull /* or the Linux zero page */
#define BOOT_ZERO_PAGE    0x7000ull
#define BOOT_STACK        0x8ff0ull
#define BOOT_PML4         0x9000ull
#define BOOT_CMDLINE      0x20000ull
#define BOOT_SYSTEM_START 0x9fc00ull /* ACPI tables from here on */
#define BOOT_SYSTEM_END   0xe0000ull
#define BOOT_RSDP         0xe0000ull
#define BOOT_HIMEM        0x100000ull

enum boot_protocol { BOOT_PVH, BOOT_LINUX64 };

struct boot_request {
    const char *kernel_path;
    const char *initrd_path; /* NULL: none */
    const char *cmdline;     /* complete, shorter than VM_CMDLINE_MAX */
};

struct boot_entry {
    enum boot_protocol protocol;
    uint64_t rip;
};

/* ERROR_INVALID with path and cause for what is not a kernel, does not fit, or has no usable entry.
 */
int boot_load(const struct guest_memory *memory, const struct boot_request *request,
              struct boot_entry *entry, struct error *err);

/* Sets the registers of a vCPU for that entry: `sregs` comes in as KVM_GET_SREGS gave it. Writes
 * GDT and page tables into guest memory where the protocol needs them. */
int boot_registers(const struct guest_memory *memory, const struct boot_entry *entry,
                   struct kvm_regs *regs, struct kvm_sregs *sregs, struct error *err);

#endif
