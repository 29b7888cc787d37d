/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "fake_vmm.h"
#include "stack/disk_stack.h"

static int stack_open(struct fake_disk *disk, const char *path, bool writable, char *fault,
                      size_t size)
{
    struct error err = {0};
    _cleanup_(free) char *copy = strdup(path);
    _cleanup_(free) char *name = strdup(path);
    if (!copy || !name)
        return -1;
    _cleanup_(close) int directory = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct stack_file base = {directory, basename(name), path};
    disk->stack = disk_stack_open(&base, writable, &err);
    if (!disk->stack)
        snprintf(fault, size, "%s", err.message);
    return disk->stack ? 0 : -1;
}

int fake_disk_open(struct fake_disk *disk, const char *path, bool writable, char *fault,
                   size_t size)
{
    *disk = (struct fake_disk){.fd = -1};
    _cleanup_(free) char *top = disk_stack_name(path, DISK_TOP);
    if (top && access(top, F_OK) == 0)
        return stack_open(disk, path, writable, fault, size);
    disk->fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (disk->fd < 0)
        snprintf(fault, size, "open %s: %s", path, strerror(errno));
    return disk->fd < 0 ? -1 : 0;
}

int fake_disk_read(struct fake_disk *disk, void *bytes, size_t length, uint64_t offset)
{
    struct iovec buffer = {bytes, length};
    uint64_t done = 0;
    if (!disk->stack)
        return pread(disk->fd, bytes, length, (off_t)offset) == (ssize_t)length ? 0 : -1;
    int r = disk_stack_read(disk->stack, &buffer, 1, offset, &done);
    errno = -r;
    return r < 0 ? -1 : 0;
}

int fake_disk_write(struct fake_disk *disk, const void *bytes, size_t length, uint64_t offset)
{
    struct iovec buffer = {(void *)(uintptr_t)bytes, length};
    uint64_t done = 0;
    if (!disk->stack)
        return pwrite(disk->fd, bytes, length, (off_t)offset) == (ssize_t)length ? 0 : -1;
    int r = disk_stack_write(disk->stack, &buffer, 1, offset, &done);
    errno = -r;
    return r < 0 ? -1 : 0;
}

void fake_disk_close(struct fake_disk *disk)
{
    if (disk->stack)
        (void)disk_stack_flush(disk->stack);
    disk_stack_close(disk->stack);
    if (disk->fd >= 0)
        close(disk->fd);
}

int fake_for_writable_disks(struct fake *fake, fake_disk_visit *visit, uint64_t token, char *text,
                            size_t size)
{
    const char *path;
    json_t *setting;
    int r = 0;
    json_object_foreach(fake->config, path, setting)
    {
        if (r == 0 && strncmp(path, "/drives/", 8) == 0 &&
            !json_is_true(json_object_get(setting, "is_read_only")))
            r = visit(json_string_value(json_object_get(setting, "path_on_host")), token, text,
                      size);
    }
    return r;
}

static int seal(const char *path, uint64_t token, char *fault, size_t size)
{
    struct fake_disk disk;
    struct error err = {0};
    (void)token;
    int r = fake_disk_open(&disk, path, true, fault, size);
    if (r == 0 && disk.stack && disk_stack_seal(disk.stack, &err) < 0) {
        snprintf(fault, size, "%s", err.message);
        r = -1;
    }
    fake_disk_close(&disk);
    return r;
}

int fake_disks_seal(struct fake *fake, char *fault, size_t size)
{
    return fake_for_writable_disks(fake, seal, 0, fault, size);
}
