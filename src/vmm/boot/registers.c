/* SPDX-License-Identifier: Apache-2.0 */
/* The first instruction's registers. PVH: 32-bit protected mode without paging. Linux 64-bit
 * (boot.rst, "64-bit boot protocol"): long mode, the first GiB mapped one to one. */
#include <errno.h>
#include <string.h>

#include "vmm/boot/boot.h"
#include "vmm/boot/kernel.h"

#define CR0_PE    0x1ull
#define CR0_ET    0x10ull
#define CR0_PG    0x80000000ull
#define CR4_PAE   0x20ull
#define EFER_LME  0x100ull
#define EFER_LMA  0x400ull
#define RFLAGS_R1 0x2ull /* always one */

/* Selectors: boot.rst asks for __BOOT_CS 0x10 and __BOOT_DS 0x18. */
#define SELECTOR_CODE 0x10u
#define SELECTOR_DATA 0x18u
#define SELECTOR_TSS  0x20u

#define TYPE_CODE     0xbu /* execute, read, accessed */
#define TYPE_DATA     0x3u /* read, write, accessed */
#define TYPE_TSS_BUSY 0xbu

#define PAGE_PRESENT_WRITE 0x3ull
#define PAGE_LARGE         0x80ull
#define LARGE_PAGE         (2ull << 20)
#define TABLE_ENTRIES      512u
#define BOOT_PDPT          (BOOT_PML4 + 0x1000)
#define BOOT_PD            (BOOT_PML4 + 0x2000)

_Static_assert(TABLE_ENTRIES *LARGE_PAGE == BOOT_IDENTITY_END, "one page directory");

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type)
{
    return (struct kvm_segment){.limit = 0xffffffff,
                                .selector = selector,
                                .type = type,
                                .present = 1,
                                .db = 1,
                                .s = 1,
                                .g = 1};
}

static struct kvm_segment tss_segment(void)
{
    return (struct kvm_segment){
        .limit = 0x67, .selector = SELECTOR_TSS, .type = TYPE_TSS_BUSY, .present = 1};
}

/* The eight bytes a segment has in the GDT (Intel SDM volume 3, section 3.4.5). */
static uint64_t gdt_entry(const struct kvm_segment *segment)
{
    uint64_t limit = segment->g ? segment->limit >> 12 : segment->limit;
    uint64_t flags = segment->type | (uint64_t)segment->s << 4 | (uint64_t)segment->dpl << 5 |
                     (uint64_t)segment->present << 7 | (uint64_t)segment->l << 13 |
                     (uint64_t)segment->db << 14 | (uint64_t)segment->g << 15;
    return (limit & 0xffff) | (segment->base & 0xffffff) << 16 | flags << 40 |
           (limit >> 16 & 0xf) << 48 | (segment->base >> 24 & 0xff) << 56;
}

static int write_gdt(const struct guest_memory *memory, struct kvm_sregs *sregs, struct error *err)
{
    const uint64_t gdt[] = {
        [SELECTOR_CODE / 8] = gdt_entry(&sregs->cs),
        [SELECTOR_DATA / 8] = gdt_entry(&sregs->ds),
        [SELECTOR_TSS / 8] = gdt_entry(&sregs->tr),
    };
    if (guest_write(memory, BOOT_GDT, gdt, sizeof(gdt)) < 0)
        return error_set(err, ERROR_INVALID, EFAULT, "no guest memory for the boot GDT");
    sregs->gdt = (struct kvm_dtable){.base = BOOT_GDT, .limit = sizeof(gdt) - 1};
    /* No interrupt is taken before the kernel has loaded an IDT of its own. */
    sregs->idt = (struct kvm_dtable){0};
    return 0;
}

static int write_page_tables(const struct guest_memory *memory, struct error *err)
{
    uint64_t directory[TABLE_ENTRIES];
    const uint64_t pml4 = BOOT_PDPT | PAGE_PRESENT_WRITE, pdpt = BOOT_PD | PAGE_PRESENT_WRITE;
    for (unsigned i = 0; i < TABLE_ENTRIES; i++)
        directory[i] = i * LARGE_PAGE | PAGE_LARGE | PAGE_PRESENT_WRITE;
    /* The other entries of the two upper tables are zero: guest memory is fresh. */
    if (guest_write(memory, BOOT_PML4, &pml4, sizeof(pml4)) < 0 ||
        guest_write(memory, BOOT_PDPT, &pdpt, sizeof(pdpt)) < 0 ||
        guest_write(memory, BOOT_PD, directory, sizeof(directory)) < 0)
        return error_set(err, ERROR_INVALID, EFAULT, "no guest memory for the boot page tables");
    return 0;
}

static void set_segments(struct kvm_sregs *sregs, struct kvm_segment code)
{
    struct kvm_segment data = flat_segment(SELECTOR_DATA, TYPE_DATA);
    sregs->cs = code;
    sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
    sregs->tr = tss_segment();
}

static int registers_pvh(const struct guest_memory *memory, const struct boot_entry *entry,
                         struct kvm_regs *regs, struct kvm_sregs *sregs, struct error *err)
{
    *regs = (struct kvm_regs){.rflags = RFLAGS_R1, .rip = entry->rip, .rbx = BOOT_PVH_INFO};
    set_segments(sregs, flat_segment(SELECTOR_CODE, TYPE_CODE));
    sregs->cr0 = CR0_PE | CR0_ET;
    sregs->cr3 = 0;
    sregs->cr4 = 0;
    sregs->efer = 0;
    return write_gdt(memory, sregs, err);
}

static int registers_linux64(const struct guest_memory *memory, const struct boot_entry *entry,
                             struct kvm_regs *regs, struct kvm_sregs *sregs, struct error *err)
{
    struct kvm_segment code = flat_segment(SELECTOR_CODE, TYPE_CODE);
    code.l = 1;
    code.db = 0; /* must be zero in a 64-bit code segment */
    *regs = (struct kvm_regs){.rflags = RFLAGS_R1,
                              .rip = entry->rip,
                              .rsp = BOOT_STACK,
                              .rbp = BOOT_STACK,
                              .rsi = BOOT_ZERO_PAGE};
    set_segments(sregs, code);
    sregs->cr0 = CR0_PE | CR0_ET | CR0_PG;
    sregs->cr3 = BOOT_PML4;
    sregs->cr4 = CR4_PAE;
    sregs->efer = EFER_LME | EFER_LMA;
    int status = write_page_tables(memory, err);
    return status < 0 ? status : write_gdt(memory, sregs, err);
}

int boot_registers(const struct guest_memory *memory, const struct boot_entry *entry,
                   struct kvm_regs *regs, struct kvm_sregs *sregs, struct error *err)
{
    return entry->protocol == BOOT_PVH ? registers_pvh(memory, entry, regs, sregs, err)
                                       : registers_linux64(memory, entry, regs, sregs, err);
}
