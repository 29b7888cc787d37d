/* SPDX-License-Identifier: Apache-2.0 */
/* Small kernels made by hand: valid as they come, for the tests and the fuzzer to break. */
#ifndef TINE_TESTS_VMM_BOOT_IMAGES_H
#define TINE_TESTS_VMM_BOOT_IMAGES_H

#include <asm/bootparam.h>
#include <elf.h>
#include <stddef.h>
#include <stdint.h>

/* ---- ELF: two segments and a note segment with a stranger's note before the PVH note ---- */

#define ELF_TEXT_GPA   0x1000000ull
#define ELF_DATA_GPA   0x1200000ull
#define ELF_DATA_MEMSZ 0x3000ull
#define ELF_PVH_ENTRY  (ELF_TEXT_GPA + 0x120)
#define ELF_ENTRY_64   (ELF_TEXT_GPA + 0x40)
#define ELF_BODY       0x1000u

enum { ELF_TEXT, ELF_DATA, ELF_NOTE, ELF_SEGMENTS };

struct elf_note {
    Elf64_Nhdr header;
    char name[4];
    uint64_t descriptor;
} __attribute__((packed));

struct elf_image {
    Elf64_Ehdr header;
    Elf64_Phdr segments[ELF_SEGMENTS];
    struct elf_note notes[2];
    uint8_t padding[ELF_BODY - sizeof(Elf64_Ehdr) - ELF_SEGMENTS * sizeof(Elf64_Phdr) -
                    2 * sizeof(struct elf_note)];
    uint8_t text[0x1000];
    uint8_t data[0x800];
};

void elf_image_init(struct elf_image *image);

/* ---- bzImage: four setup sectors, then the protected-mode part ---- */

#define BZ_SETUP_SECTS  3u
#define BZ_PAYLOAD      0x2000u
#define BZ_PREF_ADDRESS 0x1000000ull
#define BZ_INIT_SIZE    0x400000u

struct bz_image {
    uint8_t boot_sector[0x1f1];
    struct setup_header header;
    uint8_t setup[(BZ_SETUP_SECTS + 1) * 512 - 0x1f1 - sizeof(struct setup_header)];
    uint8_t payload[BZ_PAYLOAD];
} __attribute__((packed));

void bz_image_init(struct bz_image *image);

#endif
