/* SPDX-License-Identifier: Apache-2.0 */
/* bzImage, by Linux's Documentation/arch/x86/boot.rst ("The Linux/x86 Boot Protocol"). */
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "vmm/boot/kernel.h"

#define HEADER_OFFSET      0x1f1u
#define HEADER_JUMP_TARGET 0x202u /* the header ends here plus the byte at 0x201 */
#define HEADER_JUMP_LENGTH 0x201u
#define BOOT_FLAG          0xaa55u
#define HEADER_MAGIC       0x53726448u /* "HdrS" */
#define VERSION_2_12       0x20cu      /* first one with xloadflags */
#define DEFAULT_SECTS      4u          /* what setup_sects 0 means, for old times' sake */
#define SECTOR             512u
#define PARAGRAPH          16u
#define ENTRY_64_OFFSET    0x200u

/* The header up to and including init_size is there in every version from 2.10. */
#define HEADER_NEEDED (offsetof(struct setup_header, init_size) + sizeof(uint32_t))

_Static_assert(HEADER_OFFSET + HEADER_NEEDED == 0x264, "boot.rst: init_size lies at 0x260");

bool bzimage_is(const struct boot_file *file)
{
    struct setup_header header;
    return boot_file_holds(file, HEADER_OFFSET, sizeof(header)) &&
           file_pread_exact(file->fd, &header, sizeof(header), HEADER_OFFSET, file->path, NULL) ==
               0 &&
           header.boot_flag == BOOT_FLAG && header.header == HEADER_MAGIC;
}

/* Copies the header as far as the file says it goes; what is beyond is code, and stays zero. */
static int bzimage_read_header(const struct boot_file *file, struct setup_header *header,
                               struct error *err)
{
    uint8_t jump = 0;
    memset(header, 0, sizeof(*header));
    int status = file_pread_exact(file->fd, &jump, 1, HEADER_JUMP_LENGTH, file->path, err);
    if (status < 0)
        return status;
    size_t length = HEADER_JUMP_TARGET + jump - HEADER_OFFSET;
    if (length > sizeof(*header))
        length = sizeof(*header);
    status = file_pread_exact(file->fd, header, length, HEADER_OFFSET, file->path, err);
    if (status < 0)
        return status;
    if (header->version < VERSION_2_12 || length < HEADER_NEEDED)
        return boot_file_refuse(file, err,
                                "its boot protocol is %u.%u, 2.12 or later is needed (Linux 3.8)",
                                header->version >> 8, header->version & 0xffu);
    if (!(header->xloadflags & XLF_KERNEL_64))
        return boot_file_refuse(file, err, "a bzImage without a 64-bit entry");
    return 0;
}

/* Where the kernel will run: boot.rst, field init_size, gives this very formula. */
static int bzimage_runtime_start(const struct boot_file *file, const struct setup_header *header,
                                 uint64_t *start, struct error *err)
{
    uint64_t alignment = header->kernel_alignment;
    *start = header->pref_address;
    if (header->relocatable_kernel) {
        if (alignment == 0 || (alignment & (alignment - 1)) != 0)
            return boot_file_refuse(file, err, "its kernel_alignment 0x%llx is no power of two",
                                    (unsigned long long)alignment);
        if (*start < BOOT_HIMEM)
            *start = BOOT_HIMEM;
        if (*start < BOOT_IDENTITY_END)
            *start = (*start + alignment - 1) & ~(alignment - 1);
    }
    if (*start < BOOT_HIMEM)
        return boot_file_refuse(file, err, "it wants to run at 0x%llx, below 1 MiB",
                                (unsigned long long)*start);
    return 0;
}

static int bzimage_check_space(const struct boot_file *file, const struct setup_header *header,
                               const struct guest_memory *memory, uint64_t start, struct error *err)
{
    uint64_t size = header->init_size;
    if (start >= BOOT_IDENTITY_END || size > BOOT_IDENTITY_END - start)
        return boot_file_refuse(file, err,
                                "it wants to run at 0x%llx with 0x%llx bytes, beyond 1 GiB",
                                (unsigned long long)start, (unsigned long long)size);
    if (!guest_view(memory, start, size))
        return boot_file_refuse(file, err,
                                "it needs memory up to %llu MiB to start, the guest has %llu MiB",
                                (unsigned long long)((start + size + 0xfffffu) >> 20),
                                (unsigned long long)(memory->size >> 20));
    return 0;
}

/* Loads what follows the real-mode part. syssize counts in paragraphs, so up to 15 bytes of it may
 * be missing in the file; what comes behind it (a signature) isn't loaded. */
static int bzimage_load_payload(const struct boot_file *file, const struct setup_header *header,
                                const struct guest_memory *memory, uint64_t *end, struct error *err)
{
    uint64_t sectors = header->setup_sects ? header->setup_sects : DEFAULT_SECTS;
    uint64_t offset = (sectors + 1) * SECTOR;
    uint64_t length = (uint64_t)header->syssize * PARAGRAPH;
    if (length <= ENTRY_64_OFFSET)
        return boot_file_refuse(file, err, "its protected-mode part has only %llu bytes",
                                (unsigned long long)length);
    if (boot_file_holds(file, offset, length - (PARAGRAPH - 1)) && length > file->size - offset)
        length = file->size - offset;
    if (length > BOOT_IDENTITY_END - BOOT_HIMEM)
        return boot_file_refuse(file, err, "its protected-mode part has %llu bytes, over 1 GiB",
                                (unsigned long long)length);
    *end = BOOT_HIMEM + length;
    return boot_file_load(file, offset, length, memory, BOOT_HIMEM, "the protected-mode part", err);
}

int bzimage_load(const struct boot_file *file, const struct guest_memory *memory,
                 struct kernel_image *image, struct error *err)
{
    struct setup_header *header = &image->header;
    uint64_t start = 0, end = 0;
    int status = bzimage_read_header(file, header, err);
    if (status == 0)
        status = bzimage_runtime_start(file, header, &start, err);
    if (status == 0)
        status = bzimage_check_space(file, header, memory, start, err);
    if (status == 0)
        status = bzimage_load_payload(file, header, memory, &end, err);
    if (status < 0)
        return status;
    image->has_header = true;
    /* The compressed kernel moves itself out of its own way, so the two ranges may overlap. */
    image->end = end > start + header->init_size ? end : start + header->init_size;
    image->initrd_limit = (uint64_t)header->initrd_addr_max + 1;
    image->cmdline_max = header->cmdline_size;
    image->entry =
        (struct boot_entry){.protocol = BOOT_LINUX64, .rip = BOOT_HIMEM + ENTRY_64_OFFSET};
    return 0;
}
