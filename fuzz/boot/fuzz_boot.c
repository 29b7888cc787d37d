/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile kernel file for boot_load(), in a guest with little memory. The first input byte
 * chooses the file (the rest of the input as it is, or a valid image that the rest patches),
 * whether it also serves as initramfs, and how much memory there is. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../tests/vmm/boot/images.h"
#include "vmm/boot/boot.h"

#define LARGE_GUEST (24ull << 20) /* both valid images fit */
#define SMALL_GUEST (2ull << 20)

enum { FLAG_INITRD = 1, FLAG_SMALL = 2, FLAG_ELF = 4, FLAG_BZIMAGE = 8, FLAG_CUT = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted must have an entry inside guest memory; what is refused must say why. */
static void boot(const struct guest_memory *memory, const char *path, const char *initrd)
{
    struct boot_request request = {
        .kernel_path = path, .initrd_path = initrd, .cmdline = "console=ttyS0"};
    struct boot_entry entry;
    struct error err = {0};
    struct kvm_regs regs;
    struct kvm_sregs sregs = {0};
    int status = boot_load(memory, &request, &entry, &err);
    if (status < 0 && (err.errnum != -status || err.message[0] == '\0'))
        abort();
    if (status == 0 && (!guest_pointer(memory, entry.rip, 1) ||
                        boot_registers(memory, &entry, &regs, &sregs, &err) < 0))
        abort();
}

/* Applies patches of {offset: 16 bits, length: 4 bits, bytes} to the first 4 KiB of an image. */
static void patch(uint8_t *image, const uint8_t *data, size_t size)
{
    while (size > 3) {
        size_t offset = (data[0] | (size_t)data[1] << 8) % 4096, length = data[2] % 16;
        data += 3;
        size -= 3;
        if (length > size)
            length = size;
        memcpy(image + offset, data, length);
        data += length;
        size -= length;
    }
}

static void make_file(int fd, uint8_t flags, const uint8_t *data, size_t size)
{
    static union {
        struct elf_image elf;
        struct bz_image bzimage;
        uint8_t bytes[1];
    } image;
    size_t length = flags & FLAG_ELF ? sizeof(image.elf) : sizeof(image.bzimage);
    if (!(flags & (FLAG_ELF | FLAG_BZIMAGE))) {
        if (write(fd, data, size) != (ssize_t)size)
            abort();
        return;
    }
    if (flags & FLAG_ELF)
        elf_image_init(&image.elf);
    else
        bz_image_init(&image.bzimage);
    if ((flags & FLAG_CUT) && size >= 2) {
        length = (data[0] | (size_t)data[1] << 8) % length;
        data += 2;
        size -= 2;
    }
    patch(image.bytes, data, size);
    if (write(fd, image.bytes, length) != (ssize_t)length)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    struct guest_memory memory;
    if (size < 1)
        return 0;
    int fd = memfd_create("kernel", MFD_CLOEXEC);
    if (fd < 0)
        abort();
    make_file(fd, data[0], data + 1, size - 1);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (guest_memory_create(&memory, data[0] & FLAG_SMALL ? SMALL_GUEST : LARGE_GUEST, NULL) < 0)
        abort();
    boot(&memory, path, data[0] & FLAG_INITRD ? path : NULL);
    guest_memory_release(&memory);
    close(fd);
    return 0;
}
