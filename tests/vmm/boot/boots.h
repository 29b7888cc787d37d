/* SPDX-License-Identifier: Apache-2.0 */
/* Files in memory, and boots from them. */
#ifndef TINE_TESTS_VMM_BOOT_BOOTS_H
#define TINE_TESTS_VMM_BOOT_BOOTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/boot/boot.h"
#include "vmm/memory.h"

/* A file in memory; `path` leads to it as long as `fd` is open. */
struct test_file {
    int fd;
    char path[64];
};

void test_file_make(struct test_file *file, const void *data, size_t size);
void test_file_close(struct test_file *file);

/* A guest of `mib` MiB. */
void test_memory_make(struct guest_memory *memory, uint64_t mib);

/* boot_load() of a kernel given as bytes, without initramfs. */
int test_boot(const struct guest_memory *memory, const void *kernel, size_t size,
              struct boot_entry *entry, struct error *err);
/* Asserts that the kernel is refused with ERROR_INVALID, and that the message names the file and
 * contains `cause`. */
void assert_refused(const void *kernel, size_t size, uint64_t mib, const char *cause);

/* One field of an image and the value that breaks it. */
struct test_flaw {
    size_t offset, size; /* of the field; size 0: no flaw */
    uint64_t value;
};

/* clang-format off */ /* its versions differ on braces in macros */
#define FLAW(image, field, value) \
    {offsetof(struct image, field), sizeof(((struct image *)NULL)->field), value}
/* clang-format on */

struct test_refusal {
    const char *cause;
    struct test_flaw flaws[3];
    uint64_t mib; /* the guest's memory; 0: 32 MiB */
};

/* assert_refused() for each row, with its flaws put into a copy of the good image. */
void assert_refusals(const void *good, size_t size, const struct test_refusal *refusals,
                     size_t count);

#endif
