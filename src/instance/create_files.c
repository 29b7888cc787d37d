/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/create_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "image/ext4.h"
#include "instance/disks.h"
#include "instance/kit.h"
#include "stack/disk_stack.h"
#include "stack/stack.h"

/* A file by the directory it is in. */
struct source {
    struct stack_file file;
    char *parent;
};

static void cleanup_source(struct source *source)
{
    cleanup_close(&source->file.dirfd);
    free(source->parent);
}

/* `path` is absolute and free of symbolic links. */
static int source_open(struct source *source, const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    *source = (struct source){.file = {-1, slash + 1, path}};
    source->parent = strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (!source->parent)
        return error_errno(err, ENOMEM, path, "copy %s", path);
    source->file.dirfd = dir_open(AT_FDCWD, source->parent, err);
    return source->file.dirfd < 0 ? source->file.dirfd : 0;
}

/* Adds what was copied to `*copied`. */
static int bring_copy(const char *path, const struct stack_file *to, uint64_t *copied,
                      struct error *err)
{
    _cleanup_(source) struct source source = {.file.dirfd = -1};
    struct stack_result result = {.bytes_copied = 0};
    int r = source_open(&source, path, err);
    if (r == 0)
        r = stack_copy(&source.file, to, &result, err);
    if (r == 0)
        *copied += result.bytes_copied;
    return r;
}

static int bring(const struct host *host, const char *path, bool from_kit,
                 const struct stack_file *to, struct error *err)
{
    uint64_t copied = 0;
    if (!from_kit)
        return bring_copy(path, to, &copied, err);
    _cleanup_(source) struct source source = {.file.dirfd = -1};
    int r = source_open(&source, path, err);
    return r < 0 ? r : kit_share(host, &source.file, to, err);
}

static int bring_boot(struct operation *op, const struct create_plan *plan, struct draft *draft,
                      struct error *err)
{
    const struct label kernel = operation_label(op, GUEST_KERNEL);
    const struct label initrd = operation_label(op, GUEST_INITRD);
    _cleanup_(close) int boot = draft_subdirectory(draft, "boot", err);
    if (boot < 0)
        return boot;
    const struct stack_file to_kernel = {boot, "kernel", kernel.text};
    const struct stack_file to_initrd = {boot, "initrd", initrd.text};
    int r = bring(op->host, plan->kernel, plan->kernel_from_kit, &to_kernel, err);
    return r < 0 || !plan->initrd
               ? r
               : bring(op->host, plan->initrd, plan->initrd_from_kit, &to_initrd, err);
}

/* It is written in layers over what it is now. */
static int make_stack(const struct operation *op, int disks, unsigned slot, struct error *err)
{
    char name[16];
    snprintf(name, sizeof(name), "%u.img", slot);
    const struct label label = operation_label(op, GUEST_DISKS);
    const struct stack_file base = {disks, name, label.text};
    return disk_freeze(&base, err);
}

static int make_stacks(const struct operation *op, int disks, struct error *err)
{
    int r = 0;
    if (!disks_are_stacks(op->host, &op->record))
        return 0;
    for (unsigned i = 0; r == 0 && i < op->record.disk_count; i++) {
        if (!op->record.disks[i].read_only)
            r = make_stack(op, disks, i, err);
    }
    return r;
}

/* The image's disk, and one for what is changed in it. */
static int make_root(struct operation *op, const struct create_plan *plan, int disks,
                     struct error *err)
{
    const struct label label = operation_label(op, GUEST_DISKS "/0.img");
    const struct stack_file to = {disks, "0.img", label.text};
    struct stack_result result;
    int r = image_share(op->host->images, &plan->image, &to, &result, err);
    if (r < 0)
        return r;
    op->record.disk_bytes_copied += result.bytes_copied;
    return ext4_make_empty(disks, "1.img", plan->overlay_bytes, err);
}

int create_files(struct operation *op, const struct create_plan *plan, struct draft *draft,
                 struct error *err)
{
    int r = bring_boot(op, plan, draft, err);
    if (r < 0)
        return r;
    _cleanup_(close) int disks = draft_subdirectory(draft, GUEST_DISKS, err);
    if (disks < 0)
        return disks;
    if (*plan->image.id)
        r = make_root(op, plan, disks, err);
    for (unsigned i = 0; r == 0 && i < op->record.disk_count; i++) {
        char name[16];
        if (!plan->disks[i])
            continue;
        snprintf(name, sizeof(name), "%u.img", i);
        const struct label label = operation_label(op, GUEST_DISKS);
        const struct stack_file to = {disks, name, label.text};
        r = bring_copy(plan->disks[i], &to, &op->record.disk_bytes_copied, err);
    }
    if (r == 0)
        r = make_stacks(op, disks, err);
    return r < 0 ? r : step("create-copied", err);
}
