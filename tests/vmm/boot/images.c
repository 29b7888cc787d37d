/* SPDX-License-Identifier: Apache-2.0 */
#include "images.h"

#include <string.h>

static void fill(uint8_t *bytes, size_t count, unsigned seed)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(seed + i * 7 + i / 251);
}

static struct elf_note note_make(const char name[4], uint32_t type, uint64_t descriptor)
{
    struct elf_note note = {.header = {.n_namesz = 4, .n_descsz = 8, .n_type = type},
                            .descriptor = descriptor};
    memcpy(note.name, name, sizeof(note.name));
    return note;
}

void elf_image_init(struct elf_image *image)
{
    *image = (struct elf_image){
        .header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
                               EV_CURRENT},
                   .e_type = ET_EXEC,
                   .e_machine = EM_X86_64,
                   .e_version = EV_CURRENT,
                   .e_entry = ELF_ENTRY_64,
                   .e_phoff = offsetof(struct elf_image, segments),
                   .e_ehsize = sizeof(Elf64_Ehdr),
                   .e_phentsize = sizeof(Elf64_Phdr),
                   .e_phnum = ELF_SEGMENTS},
        .segments = {[ELF_TEXT] = {.p_type = PT_LOAD,
                                   .p_offset = offsetof(struct elf_image, text),
                                   .p_vaddr = 0xffffffff81000000ull,
                                   .p_paddr = ELF_TEXT_GPA,
                                   .p_filesz = sizeof(image->text),
                                   .p_memsz = sizeof(image->text),
                                   .p_align = 0x1000},
                     [ELF_DATA] = {.p_type = PT_LOAD,
                                   .p_offset = offsetof(struct elf_image, data),
                                   .p_paddr = ELF_DATA_GPA,
                                   .p_filesz = sizeof(image->data),
                                   .p_memsz = ELF_DATA_MEMSZ,
                                   .p_align = 0x1000},
                     [ELF_NOTE] = {.p_type = PT_NOTE,
                                   .p_offset = offsetof(struct elf_image, notes),
                                   .p_filesz = sizeof(image->notes),
                                   .p_memsz = sizeof(image->notes),
                                   .p_align = 4}},
        .notes = {note_make("GNU", 18, 0xdeadbeef), note_make("Xen", 18, ELF_PVH_ENTRY)},
    };
    fill(image->text, sizeof(image->text), 1);
    fill(image->data, sizeof(image->data), 99);
}

void bz_image_init(struct bz_image *image)
{
    *image = (struct bz_image){
        .header = {.setup_sects = BZ_SETUP_SECTS,
                   .syssize = BZ_PAYLOAD / 16,
                   .boot_flag = 0xaa55,
                   .jump = 0xeb | (0x26c - 0x202) << 8,
                   .header = 0x53726448,
                   .version = 0x20f,
                   .loadflags = LOADED_HIGH | CAN_USE_HEAP,
                   .heap_end_ptr = 0x1234,
                   .initrd_addr_max = 0x7fffffff,
                   .kernel_alignment = 0x200000,
                   .relocatable_kernel = 1,
                   .min_alignment = 21,
                   .xloadflags = XLF_KERNEL_64,
                   .cmdline_size = 2047,
                   .setup_data = 0xbadbadbadbadull,
                   .pref_address = BZ_PREF_ADDRESS,
                   .init_size = BZ_INIT_SIZE},
    };
    fill(image->payload, sizeof(image->payload), 5);
}
