/* SPDX-License-Identifier: Apache-2.0 */
/* ELF64 kernels. With a PVH note (Xen's "PHYS32_ENTRY", x86/HVM direct boot ABI) the entry is
 * 32-bit; without one it is Linux's 64-bit entry, e_entry. */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "vmm/boot/kernel.h"

#define ELF_MAX_HEADERS           64u
#define ELF_MAX_NOTES             (64u << 10) /* bytes of one PT_NOTE */
#define XEN_ELFNOTE_PHYS32_ENTRY  18u
#define XEN_NOTE_NAME             "Xen"
#define LINUX_DEFAULT_CMDLINE_MAX 2047u /* COMMAND_LINE_SIZE on x86, less the NUL */

struct elf {
    const struct boot_file *file;
    Elf64_Ehdr header;
    Elf64_Phdr segments[ELF_MAX_HEADERS];
    bool has_pvh;
    uint64_t pvh_entry;
};

bool elf_is(const struct boot_file *file)
{
    char magic[SELFMAG];
    return boot_file_holds(file, 0, sizeof(magic)) &&
           file_pread_exact(file->fd, magic, sizeof(magic), 0, file->path, NULL) == 0 &&
           memcmp(magic, ELFMAG, SELFMAG) == 0;
}

/* ---- headers ---- */

static int elf_check_header(const struct elf *elf, struct error *err)
{
    const Elf64_Ehdr *header = &elf->header;
    if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
        header->e_machine != EM_X86_64)
        return boot_file_refuse(elf->file, err, "not a kernel: an ELF file, but not for x86-64");
    if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
        return boot_file_refuse(elf->file, err, "not a kernel: an ELF file, but not executable");
    if (header->e_phentsize != sizeof(Elf64_Phdr))
        return boot_file_refuse(elf->file, err, "its ELF program headers are %u bytes, not %zu",
                                header->e_phentsize, sizeof(Elf64_Phdr));
    if (header->e_phnum == 0 || header->e_phnum > ELF_MAX_HEADERS)
        return boot_file_refuse(elf->file, err, "it has %u ELF program headers, expected 1 to %u",
                                header->e_phnum, ELF_MAX_HEADERS);
    return 0;
}

static int elf_read_headers(struct elf *elf, struct error *err)
{
    const struct boot_file *file = elf->file;
    if (!boot_file_holds(file, 0, sizeof(elf->header)))
        return boot_file_refuse(file, err, "truncated: it ends inside the ELF header");
    int status = file_pread_exact(file->fd, &elf->header, sizeof(elf->header), 0, file->path, err);
    if (status < 0)
        return status;
    status = elf_check_header(elf, err);
    if (status < 0)
        return status;
    uint64_t length = (uint64_t)elf->header.e_phnum * sizeof(Elf64_Phdr);
    if (!boot_file_holds(file, elf->header.e_phoff, length))
        return boot_file_refuse(file, err, "truncated: it ends before its ELF program headers do");
    return file_pread_exact(file->fd, elf->segments, length, elf->header.e_phoff, file->path, err);
}

/* ---- segments ---- */

static bool elf_overlaps(const Elf64_Phdr *a, const Elf64_Phdr *b)
{
    return a->p_paddr < b->p_paddr + b->p_memsz && b->p_paddr < a->p_paddr + a->p_memsz;
}

static bool elf_loads(const Elf64_Phdr *segment)
{
    return segment->p_type == PT_LOAD && segment->p_memsz > 0;
}

/* Everything about one segment but the file's bytes; those before it were checked already. */
static int elf_check_segment(const struct elf *elf, unsigned index,
                             const struct guest_memory *memory, struct error *err)
{
    const Elf64_Phdr *segment = &elf->segments[index];
    if (segment->p_filesz > segment->p_memsz)
        return boot_file_refuse(elf->file, err,
                                "segment %u has more bytes in the file (%llu) than "
                                "in memory (%llu)",
                                index, (unsigned long long)segment->p_filesz,
                                (unsigned long long)segment->p_memsz);
    if (segment->p_paddr < BOOT_HIMEM)
        return boot_file_refuse(elf->file, err, "segment %u wants address 0x%llx, below 1 MiB",
                                index, (unsigned long long)segment->p_paddr);
    if (!guest_view(memory, segment->p_paddr, segment->p_memsz))
        return boot_file_refuse(elf->file, err,
                                "segment %u (%llu bytes at 0x%llx) does not fit the guest's %llu "
                                "MiB of memory",
                                index, (unsigned long long)segment->p_memsz,
                                (unsigned long long)segment->p_paddr,
                                (unsigned long long)(memory->size >> 20));
    for (unsigned i = 0; i < index; i++) {
        if (elf_loads(&elf->segments[i]) && elf_overlaps(segment, &elf->segments[i]))
            return boot_file_refuse(elf->file, err, "segments %u and %u overlap", i, index);
    }
    return 0;
}

static int elf_load_segment(const struct elf *elf, unsigned index,
                            const struct guest_memory *memory, struct error *err)
{
    const Elf64_Phdr *segment = &elf->segments[index];
    char what[32];
    snprintf(what, sizeof(what), "segment %u", index);
    int status = elf_check_segment(elf, index, memory, err);
    if (status < 0 || segment->p_filesz == 0)
        return status; /* the rest of the segment is zero: guest memory is fresh */
    return boot_file_load(elf->file, segment->p_offset, segment->p_filesz, memory, segment->p_paddr,
                          what, err);
}

/* Loads all segments; `end` receives where the highest one in the first region ends. */
static int elf_load_segments(const struct elf *elf, const struct guest_memory *memory,
                             uint64_t *end, struct error *err)
{
    bool any = false;
    *end = BOOT_HIMEM;
    for (unsigned i = 0; i < elf->header.e_phnum; i++) {
        const Elf64_Phdr *segment = &elf->segments[i];
        if (!elf_loads(segment))
            continue;
        int status = elf_load_segment(elf, i, memory, err);
        if (status < 0)
            return status;
        any = true;
        uint64_t segment_end = segment->p_paddr + segment->p_memsz;
        if (segment->p_paddr < memory->regions[0].size && segment_end > *end)
            *end = segment_end;
    }
    return any ? 0 : boot_file_refuse(elf->file, err, "not a kernel: it has nothing to load");
}

/* ---- notes ---- */

static uint64_t align_up(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

/* Takes the entry out of the PVH note's descriptor: 32 or 64 bits, little-endian. */
static int elf_take_pvh(struct elf *elf, const uint8_t *descriptor, uint64_t size,
                        struct error *err)
{
    uint64_t entry = 0;
    if (size != 4 && size != 8)
        return boot_file_refuse(elf->file, err, "its PVH note has %llu bytes, expected 4 or 8",
                                (unsigned long long)size);
    memcpy(&entry, descriptor, size);
    if (entry > UINT32_MAX)
        return boot_file_refuse(elf->file, err, "its PVH entry 0x%llx is above 4 GiB",
                                (unsigned long long)entry);
    elf->has_pvh = true;
    elf->pvh_entry = entry;
    return 0;
}

/* Walks the notes of one segment. Descriptors and the next note start at multiples of `alignment`
 * from the note's start; the last one's padding may be missing. */
static int elf_walk_notes(struct elf *elf, const uint8_t *notes, uint64_t length,
                          uint64_t alignment, struct error *err)
{
    while (length >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr note;
        memcpy(&note, notes, sizeof(note));
        /* Sums of 32-bit sizes in 64 bits: nothing overflows. */
        uint64_t descriptor = align_up(sizeof(note) + note.n_namesz, alignment);
        uint64_t end = descriptor + note.n_descsz;
        if (end > length)
            return boot_file_refuse(elf->file, err,
                                    "malformed: an ELF note is longer than its segment");
        if (note.n_type == XEN_ELFNOTE_PHYS32_ENTRY && note.n_namesz == sizeof(XEN_NOTE_NAME) &&
            memcmp(notes + sizeof(note), XEN_NOTE_NAME, sizeof(XEN_NOTE_NAME)) == 0)
            return elf_take_pvh(elf, notes + descriptor, note.n_descsz, err);
        uint64_t next = align_up(end, alignment);
        if (next >= length)
            break;
        notes += next;
        length -= next;
    }
    return 0;
}

static int elf_read_notes(struct elf *elf, unsigned index, struct error *err)
{
    const Elf64_Phdr *segment = &elf->segments[index];
    if (segment->p_filesz > ELF_MAX_NOTES)
        return boot_file_refuse(elf->file, err, "its ELF notes are %llu bytes, more than %u",
                                (unsigned long long)segment->p_filesz, ELF_MAX_NOTES);
    if (!boot_file_holds(elf->file, segment->p_offset, segment->p_filesz))
        return boot_file_refuse(elf->file, err, "truncated: it ends before its ELF notes do");
    _cleanup_(free) uint8_t *notes = malloc(segment->p_filesz + 1);
    if (!notes)
        return error_errno(err, ENOMEM, elf->file->path, "read the notes of %s", elf->file->path);
    int status = file_pread_exact(elf->file->fd, notes, segment->p_filesz, segment->p_offset,
                                  elf->file->path, err);
    if (status < 0)
        return status;
    return elf_walk_notes(elf, notes, segment->p_filesz, segment->p_align == 8 ? 8 : 4, err);
}

static int elf_find_pvh(struct elf *elf, struct error *err)
{
    for (unsigned i = 0; i < elf->header.e_phnum && !elf->has_pvh; i++) {
        if (elf->segments[i].p_type != PT_NOTE)
            continue;
        int status = elf_read_notes(elf, i, err);
        if (status < 0)
            return status;
    }
    return 0;
}

/* ---- entry ---- */

static bool elf_in_segment(const struct elf *elf, uint64_t address)
{
    for (unsigned i = 0; i < elf->header.e_phnum; i++) {
        const Elf64_Phdr *segment = &elf->segments[i];
        if (elf_loads(segment) && address >= segment->p_paddr &&
            address - segment->p_paddr < segment->p_memsz)
            return true;
    }
    return false;
}

static int elf_choose_entry(const struct elf *elf, struct boot_entry *entry, struct error *err)
{
    entry->protocol = elf->has_pvh ? BOOT_PVH : BOOT_LINUX64;
    entry->rip = elf->has_pvh ? elf->pvh_entry : elf->header.e_entry;
    if (!elf_in_segment(elf, entry->rip))
        return boot_file_refuse(elf->file, err, "its entry 0x%llx lies in none of its segments",
                                (unsigned long long)entry->rip);
    if (entry->protocol == BOOT_LINUX64 && entry->rip >= BOOT_IDENTITY_END)
        return boot_file_refuse(elf->file, err, "its 64-bit entry 0x%llx lies above 1 GiB",
                                (unsigned long long)entry->rip);
    return 0;
}

int elf_load(const struct boot_file *file, const struct guest_memory *memory,
             struct kernel_image *image, struct error *err)
{
    struct elf elf = {.file = file};
    int status = elf_read_headers(&elf, err);
    if (status == 0)
        status = elf_find_pvh(&elf, err);
    if (status == 0)
        status = elf_load_segments(&elf, memory, &image->end, err);
    if (status == 0)
        status = elf_choose_entry(&elf, &image->entry, err);
    image->initrd_limit = UINT32_MAX;
    image->cmdline_max = LINUX_DEFAULT_CMDLINE_MAX;
    return status;
}
