/* SPDX-License-Identifier: Apache-2.0 */
/* A cold boot: what a VM is made of, in one request each. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "hypervisor/api_driver.h"
#include "hypervisor/dirty_log.h"

#define MIB       (1u << 20)
#define GUEST_CID 3 /* the same in every guest: it means something only per socket */

static int put_machine(const struct attempt *attempt, struct error *err)
{
    const struct vm_spec *spec = attempt->spec;
    if (spec->memory_bytes == 0 || spec->memory_bytes % MIB != 0)
        return error_set(err, ERROR_INVALID, EINVAL, "%s: memory of %llu bytes is no whole MiB",
                         spec->id, (unsigned long long)spec->memory_bytes);
    json_t *body = json_pack("{s:i, s:I}", "vcpu_count", (int)spec->vcpus, "mem_size_mib",
                             (json_int_t)(spec->memory_bytes / MIB));
    if (attempt->abilities.dirty_log)
        json_object_set_new(body, "track_dirty_pages", json_true());
    return vmm_api_put(&attempt->call.api, "/machine-config", body, err);
}

/* Told here, where it can be told what to do about it. */
static int check_kernel(const struct attempt *attempt, struct error *err)
{
    static const char elf[] = {0x7f, 'E', 'L', 'F'};
    const struct vm_spec *spec = attempt->spec;
    char *path = NULL, magic[sizeof(elf)] = "";
    if (attempt->abilities.bzimage)
        return 0;
    if (asprintf(&path, "%s/" GUEST_KERNEL, spec->guest_dir) < 0)
        return error_errno(err, ENOMEM, spec->guest_dir, "boot %s", spec->id);
    _cleanup_(close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : pread(fd, magic, sizeof(magic), 0);
    int r = n < 0 ? error_errno(err, errno, path, "read %s", path) : 0;
    free(path);
    if (r < 0 || (n == (ssize_t)sizeof(elf) && memcmp(magic, elf, sizeof(elf)) == 0))
        return r;
    return error_set(err, ERROR_INVALID, ENOEXEC,
                     "kernel: this version of %s boots an ELF file (vmlinux) only, and %s has "
                     "another: the kernel's scripts/extract-vmlinux takes it out of a bzImage",
                     attempt->self->name, spec->id);
}

static int put_boot_source(const struct attempt *attempt, struct error *err)
{
    const struct vm_spec *spec = attempt->spec;
    int r = check_kernel(attempt, err);
    if (r < 0)
        return r;
    return vmm_api_put(&attempt->call.api, "/boot-source",
                       json_pack("{s:s, s:s*, s:s}", "kernel_image_path",
                                 IN_GUEST_DIR(GUEST_KERNEL), "initrd_path",
                                 spec->has_initrd ? IN_GUEST_DIR(GUEST_INITRD) : NULL, "boot_args",
                                 spec->cmdline ? spec->cmdline : HYPERVISOR_CMDLINE),
                       err);
}

/* 1 if it is a stack: then it has a top. */
static int is_stack(const struct attempt *attempt, unsigned slot, struct error *err)
{
    const struct vm_spec *spec = attempt->spec;
    char top[32];
    if (spec->disks[slot].read_only)
        return 0;
    _cleanup_(close) int guest_fd = dir_open(AT_FDCWD, spec->guest_dir, err);
    if (guest_fd < 0)
        return guest_fd;
    snprintf(top, sizeof(top), GUEST_DISKS "/%u.img.top", slot);
    int r = file_exists(guest_fd, top, err);
    if (r > 0 && !attempt->abilities.disk_stacks)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "%s: disk %u is a stack of files, and %s can't use one", spec->id, slot,
                         attempt->self->name);
    return r;
}

static int put_drive(const struct attempt *attempt, unsigned slot, struct error *err)
{
    const struct vm_disk *disk = &attempt->spec->disks[slot];
    char id[16], resource[32], path[64];
    int stack = is_stack(attempt, slot, err);
    if (stack < 0)
        return stack;
    snprintf(id, sizeof(id), "disk%u", slot);
    snprintf(resource, sizeof(resource), "/drives/%s", id);
    snprintf(path, sizeof(path), IN_GUEST_DIR(GUEST_DISKS) "/%u.img", slot);
    /* Writeback: a guest's flush reaches the file, else it is not even offered. */
    json_t *body = json_pack("{s:s, s:s, s:b, s:b, s:s}", "drive_id", id, "path_on_host", path,
                             "is_root_device", disk->root, "is_read_only", disk->read_only,
                             "cache_type", "Writeback");
    if (stack > 0)
        json_object_set_new(body, "is_stack", json_true());
    return vmm_api_put(&attempt->call.api, resource, body, err);
}

static int put_drives(const struct attempt *attempt, struct error *err)
{
    int r = 0;
    for (unsigned i = 0; r == 0 && i < attempt->spec->disk_count; i++)
        r = put_drive(attempt, i, err);
    return r;
}

static int put_vsock(const struct attempt *attempt, struct error *err)
{
    return vmm_api_put(&attempt->call.api, "/vsock",
                       json_pack("{s:i, s:s}", "guest_cid", GUEST_CID, "uds_path",
                                 IN_GUEST_DIR(GUEST_VSOCK_SOCKET)),
                       err);
}

static int put_entropy(const struct attempt *attempt, struct error *err)
{
    return vmm_api_put(&attempt->call.api, "/entropy", json_object(), err);
}

static int put_balloon(const struct attempt *attempt, struct error *err)
{
    json_t *body = json_pack("{s:i, s:b}", "amount_mib", 0, "deflate_on_oom", 1);
    if (attempt->abilities.free_page_reporting)
        json_object_set_new(body, "free_page_reporting", json_true());
    return vmm_api_put(&attempt->call.api, "/balloon", body, err);
}

int api_put_serial(const struct attempt *attempt, struct error *err)
{
    if (!attempt->abilities.serial)
        return 0;
    return vmm_api_put(&attempt->call.api, "/serial",
                       json_pack("{s:s}", "serial_out_path", IN_GUEST_DIR(GUEST_CONSOLE_LOG)), err);
}

static int put_start(const struct attempt *attempt, struct error *err)
{
    return vmm_api_put(&attempt->call.api, "/actions",
                       json_pack("{s:s}", "action_type", "InstanceStart"), err);
}

static int configure(const struct attempt *attempt, struct error *err)
{
    static int (*const puts[])(const struct attempt *, struct error *) = {
        put_machine, put_boot_source, put_drives,     put_vsock,
        put_entropy, put_balloon,     api_put_serial, put_start,
    };
    for (size_t i = 0; i < ARRAY_SIZE(puts); i++) {
        int r = puts[i](attempt, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* What the guest writes from here on is logged. */
static int note_log(const struct attempt *attempt, struct error *err)
{
    if (!attempt->abilities.dirty_log)
        return 0;
    _cleanup_(close) int guest_fd = dir_open(AT_FDCWD, attempt->spec->guest_dir, err);
    if (guest_fd < 0)
        return guest_fd;
    dirty_log_note(guest_fd, DIRTY_LOG_SINCE_BOOT);
    return 0;
}

int api_boot(const struct hypervisor *self, const struct vm_spec *spec, struct vm_process *process,
             struct error *err)
{
    _cleanup_(attempt) struct attempt attempt;
    int r = attempt_start(&attempt, self, spec, self->request_ms, err);
    if (r < 0)
        return r;
    r = note_log(&attempt, err);
    if (r == 0)
        r = configure(&attempt, err);
    if (r < 0)
        return attempt_fail(&attempt, r, err);
    *process = attempt.process;
    return 0;
}
