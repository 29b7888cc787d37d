/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"

int boot_file_open(struct boot_file *file, const char *path, struct error *err)
{
    struct stat st;
    *file = (struct boot_file){.fd = -1, .path = path};
    /* O_NONBLOCK: a FIFO is refused below, not waited for. */
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file->fd < 0)
        return error_errno(err, errno, path, "open %s", path);
    if (fstat(file->fd, &st) < 0)
        return error_errno(err, errno, path, "stat %s", path);
    if (!S_ISREG(st.st_mode))
        return boot_file_refuse(file, err, "not a regular file");
    if (st.st_size == 0)
        return boot_file_refuse(file, err, "the file is empty");
    file->size = (uint64_t)st.st_size;
    return 0;
}

void cleanup_boot_file(const struct boot_file *file)
{
    cleanup_close(&file->fd);
}

bool boot_file_holds(const struct boot_file *file, uint64_t offset, uint64_t length)
{
    return offset <= file->size && length <= file->size - offset;
}

int boot_file_refuse(const struct boot_file *file, struct error *err, const char *format, ...)
{
    char cause[512];
    va_list args;
    va_start(args, format);
    vsnprintf(cause, sizeof(cause), format, args);
    va_end(args);
    int status = error_set(err, ERROR_INVALID, ENOEXEC, "%s: %s", file->path, cause);
    if (err)
        snprintf(err->path, sizeof(err->path), "%s", file->path);
    return status;
}

int boot_file_load(const struct boot_file *file, uint64_t offset, uint64_t length,
                   const struct guest_memory *memory, uint64_t gpa, const char *what,
                   struct error *err)
{
    if (!boot_file_holds(file, offset, length))
        return boot_file_refuse(
            file, err, "truncated: %s needs %llu bytes at %llu, the file has %llu", what,
            (unsigned long long)length, (unsigned long long)offset, (unsigned long long)file->size);
    void *place = guest_pointer(memory, gpa, length);
    if (!place)
        return boot_file_refuse(file, err,
                                "%s (%llu bytes at 0x%llx) does not fit the guest's %llu MiB of "
                                "memory",
                                what, (unsigned long long)length, (unsigned long long)gpa,
                                (unsigned long long)(memory->size >> 20));
    return file_pread_exact(file->fd, place, length, offset, file->path, err);
}
