/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/create_request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "image/program.h"
#include "instance/create_image.h"
#include "instance/lifetime.h"
#include "instance/name.h"

#define MIB            (1ull << 20)
#define MEMORY_MINIMUM (32 * MIB)
#define MEMORY_DEFAULT (1024 * MIB)
#define VCPUS_DEFAULT  2u
#define VCPUS_MAX      32u
#define SECTOR         512
#define KIT_KERNEL     "vmlinux"
#define KIT_INITRD     "initrd.img"

void cleanup_create_plan(struct create_plan *plan)
{
    free(plan->kernel);
    free(plan->initrd);
    for (unsigned i = 0; i < GUEST_MAX_DISKS; i++)
        free(plan->disks[i]);
}

static int check_name(const struct instance_create_request *request, struct instance_record *record,
                      struct error *err)
{
    if (!request->name) {
        char generated[INSTANCE_NAME_GENERATED];
        int r = name_make(generated, err);
        if (r == 0)
            memcpy(record->name, generated, sizeof(generated));
        return r;
    }
    if (!instance_name_valid(request->name))
        return error_set(err, ERROR_INVALID, EINVAL,
                         "name: '%.80s' is not a name: 1 to %d lowercase letters, digits and inner "
                         "hyphens",
                         request->name, INSTANCE_NAME_MAX);
    snprintf(record->name, sizeof(record->name), "%s", request->name);
    return 0;
}

static uint64_t host_memory(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int check_machine(const struct instance_create_request *request,
                         struct instance_record *record, struct error *err)
{
    record->vcpus = request->vcpus > 0 ? request->vcpus : VCPUS_DEFAULT;
    record->memory_bytes = request->memory_bytes > 0 ? request->memory_bytes : MEMORY_DEFAULT;
    if (record->vcpus > VCPUS_MAX)
        return error_set(err, ERROR_INVALID, EINVAL, "vcpus: %u, at most %u are possible",
                         record->vcpus, VCPUS_MAX);
    if (record->memory_bytes < MEMORY_MINIMUM || record->memory_bytes % MIB != 0)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "memory: %llu bytes, it must be a multiple of 1 MiB and at least %llu MiB",
                         (unsigned long long)record->memory_bytes, MEMORY_MINIMUM / MIB);
    if (record->memory_bytes > host_memory())
        return error_set(err, ERROR_RESOURCES, ENOMEM,
                         "memory: %llu MiB, this host has %llu MiB in all",
                         (unsigned long long)(record->memory_bytes / MIB),
                         (unsigned long long)(host_memory() / MIB));
    return 0;
}

static int check_hypervisor(const struct host *host, const struct instance_create_request *request,
                            struct instance_record *record, struct error *err)
{
    const struct hypervisor *hypervisor = &host->hypervisors[0];
    int r = request->hypervisor
                ? host_hypervisor_find(host, "hypervisor", request->hypervisor, &hypervisor, err)
                : 0;
    if (r == 0)
        snprintf(record->hypervisor, sizeof(record->hypervisor), "%s", hypervisor->name);
    return r;
}

static int check_cmdline(const struct instance_create_request *request,
                         struct instance_record *record, struct error *err)
{
    if (!request->cmdline)
        return 0;
    if (strnlen(request->cmdline, sizeof(record->cmdline)) == sizeof(record->cmdline))
        return error_set(err, ERROR_INVALID, E2BIG, "cmdline: longer than %zu bytes",
                         sizeof(record->cmdline) - 1);
    for (const char *c = request->cmdline; *c; c++) {
        if (*c < 0x20 || *c > 0x7e)
            return error_set(err, ERROR_INVALID, EINVAL,
                             "cmdline: byte %zu is not a printable ASCII character",
                             (size_t)(c - request->cmdline));
    }
    snprintf(record->cmdline, sizeof(record->cmdline), "%s", request->cmdline);
    return 0;
}

/* The path without symbolic links of a file that is regular and not empty. */
static int check_file(const char *field, const char *path, char **real, off_t *size,
                      struct error *err)
{
    struct stat st;
    *real = realpath(path, NULL);
    if (!*real || stat(*real, &st) < 0) {
        int r = error_errno(err, errno, path, "%s %s", field, path);
        if (err && (r == -ENOENT || r == -ENOTDIR || r == -EACCES || r == -ELOOP))
            err->code = ERROR_INVALID;
        return r;
    }
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return error_set(err, ERROR_INVALID, EINVAL, "%s %s: %s", field, path,
                         S_ISREG(st.st_mode) ? "the file is empty" : "not a regular file");
    *size = st.st_size;
    return 0;
}

static int check_kit_file(const struct host *host, const char *field, const char *name, char **real,
                          struct error *err)
{
    _cleanup_(free) char *path = NULL;
    off_t size;
    if (asprintf(&path, "%s/%s", host->kit_dir, name) < 0) {
        path = NULL;
        return error_errno(err, ENOMEM, host->kit_dir, "guest kit %s", host->kit_dir);
    }
    return check_file(field, path, real, &size, err);
}

static int check_kit(const struct host *host, const struct instance_create_request *request,
                     struct instance_record *record, struct create_plan *plan, struct error *err)
{
    if (!host->kit_dir)
        return error_set(err, ERROR_NOT_FOUND, ENOENT,
                         "no guest kit on this host: the request must name a kernel");
    plan->kernel_from_kit = true;
    plan->initrd_from_kit = !request->initrd;
    snprintf(record->image, sizeof(record->image), "%s",
             *plan->image.id ? plan->image.name : IMAGE_KIT);
    int r = check_kit_file(host, "the guest kit's kernel", KIT_KERNEL, &plan->kernel, err);
    return r < 0 || request->initrd
               ? r
               : check_kit_file(host, "the guest kit's initrd", KIT_INITRD, &plan->initrd, err);
}

static int check_boot(const struct host *host, const struct instance_create_request *request,
                      struct instance_record *record, struct create_plan *plan, struct error *err)
{
    off_t size;
    int r = create_check_image(host, request, record, plan, err);
    if (r < 0)
        return r;
    if (request->kernel) {
        r = check_file("kernel", request->kernel, &plan->kernel, &size, err);
        if (r == 0 && strlen(request->kernel) >= sizeof(record->image))
            return error_set(err, ERROR_INVALID, ENAMETOOLONG,
                             "kernel: its path is longer than %zu", sizeof(record->image) - 1);
        snprintf(record->image, sizeof(record->image), "%s", request->kernel);
    } else {
        r = check_kit(host, request, record, plan, err);
    }
    if (r == 0 && request->initrd)
        r = check_file("initrd", request->initrd, &plan->initrd, &size, err);
    record->has_initrd = plan->initrd != NULL;
    return r;
}

static int check_disk(const struct instance_disk_request *disk, struct vm_disk *vm_disk,
                      char **real, struct error *err)
{
    off_t size;
    if (!disk->path)
        return error_set(err, ERROR_INVALID, EINVAL, "disk: a path is missing");
    int r = check_file("disk", disk->path, real, &size, err);
    if (r == 0 && size % SECTOR != 0)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "disk %s: %lld bytes are not a whole number of %d byte sectors",
                         disk->path, (long long)size, SECTOR);
    *vm_disk = (struct vm_disk){.read_only = disk->read_only, .root = disk->root};
    return r;
}

static int check_disks(const struct instance_create_request *request,
                       struct instance_record *record, struct create_plan *plan, struct error *err)
{
    unsigned ours = record->disk_count, roots = ours > 0;
    if (request->disk_count > GUEST_MAX_DISKS - ours)
        return error_set(err, ERROR_INVALID, EINVAL, "disks: %u, at most %u are possible%s",
                         request->disk_count, GUEST_MAX_DISKS - ours,
                         ours > 0 ? " besides the image's" : "");
    record->disk_count += request->disk_count;
    for (unsigned i = 0; i < request->disk_count; i++) {
        int r =
            check_disk(&request->disks[i], &record->disks[ours + i], &plan->disks[ours + i], err);
        if (r < 0)
            return r;
        roots += request->disks[i].root;
    }
    if (roots > 1 && ours > 0)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "disks: the root is the image's, no other disk can be it");
    if (roots > 1)
        return error_set(err, ERROR_INVALID, EINVAL, "disks: %u of them are the root disk", roots);
    return 0;
}

static int check_tags(const struct instance_create_request *request, struct instance_record *record,
                      struct error *err)
{
    if (!request->tags)
        return 0;
    if (strlen(request->tags) >= sizeof(record->tags))
        return error_set(err, ERROR_INVALID, E2BIG, "tags: more than %zu bytes in all",
                         sizeof(record->tags) - 1);
    snprintf(record->tags, sizeof(record->tags), "%s", request->tags);
    return 0;
}

/* What there is to start, the image's included, needs somebody who starts it. */
static int check_program(const struct instance_create_request *request,
                         const struct instance_record *record, struct error *err)
{
    if (!request->skip_guest_agent || !program_given(&record->program))
        return 0;
    return error_set(err, ERROR_INVALID, EINVAL,
                     "%s: the guest's agent starts it, and skip_guest_agent leaves that out",
                     *record->program.entrypoint ? "entrypoint" : "cmd");
}

int create_check(const struct host *host, const struct instance_create_request *request,
                 struct instance_record *record, struct create_plan *plan, struct error *err)
{
    record->state = INSTANCE_CREATED;
    record->skip_guest_agent = request->skip_guest_agent;
    record->created_at_ns = time_realtime_ns();
    int r = check_name(request, record, err);
    if (r == 0)
        r = check_machine(request, record, err);
    if (r == 0)
        r = check_hypervisor(host, request, record, err);
    if (r == 0)
        r = check_cmdline(request, record, err);
    if (r == 0)
        r = check_tags(request, record, err);
    if (r == 0)
        r = program_set(&record->program, &request->program, err);
    if (r == 0)
        r = check_boot(host, request, record, plan, err);
    if (r == 0)
        r = check_program(request, record, err);
    if (r == 0)
        r = check_disks(request, record, plan, err);
    if (r == 0 && request->policies)
        r = policies_merge(record->policies, request->policies, err);
    return r < 0 ? r : lifetime_begin(record, &request->lifetime, record->created_at_ns, err);
}
