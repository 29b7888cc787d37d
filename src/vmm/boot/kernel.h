/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: a kernel file being read, and what its format says about starting it. */
#ifndef TINE_VMM_BOOT_KERNEL_H
#define TINE_VMM_BOOT_KERNEL_H

#include <asm/bootparam.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/boot/boot.h"
#include "vmm/memory.h"

/* The page tables for the 64-bit entry map this much, one to one. */
#define BOOT_IDENTITY_END (1ull << 30)

/* A regular file open for reading; every offset is checked against `size` before it is used. */
struct boot_file {
    int fd;
    const char *path; /* borrowed */
    uint64_t size;
};

/* What loading a kernel found out. */
struct kernel_image {
    struct boot_entry entry;
    uint64_t end;          /* the first region is free from here on */
    uint64_t initrd_limit; /* the initramfs must end at or below this */
    uint64_t cmdline_max;  /* longest command line without its NUL */
    bool has_header;
    struct setup_header header; /* of a bzImage, as the file has it */
};

/* Opens a regular, non-empty file. Declare as `_cleanup_(boot_file) struct boot_file f = {.fd =
 * -1};`.
 */
int boot_file_open(struct boot_file *file, const char *path, struct error *err);
void cleanup_boot_file(const struct boot_file *file);
/* True if [offset, offset + length) lies inside the file. */
bool boot_file_holds(const struct boot_file *file, uint64_t offset, uint64_t length);
/* Fills `err` with "<path>: <cause>" as ERROR_INVALID; returns -ENOEXEC. */
int boot_file_refuse(const struct boot_file *file, struct error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Reads [offset, offset + length) straight into guest memory at `gpa`; `what` names it in errors:
 * "segment 2". */
int boot_file_load(const struct boot_file *file, uint64_t offset, uint64_t length,
                   const struct guest_memory *memory, uint64_t gpa, const char *what,
                   struct error *err);

/* The two formats: `is` looks at the magic only, `load` puts the kernel into guest memory. */
bool elf_is(const struct boot_file *file);
int elf_load(const struct boot_file *file, const struct guest_memory *memory,
             struct kernel_image *image, struct error *err);
bool bzimage_is(const struct boot_file *file);
int bzimage_load(const struct boot_file *file, const struct guest_memory *memory,
                 struct kernel_image *image, struct error *err);

#endif
