/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/create_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "stack/stack.h"

/* `path` is absolute and free of symbolic links. Adds what was copied to `*copied` if given. */
static int bring(const char *path, bool immutable, const struct stack_file *to, uint64_t *copied,
                 struct error *err)
{
    const char *slash = strrchr(path, '/');
    _cleanup_(free) char *parent = strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (!parent)
        return error_errno(err, ENOMEM, path, "copy %s", path);
    _cleanup_(close) int dir = dir_open(AT_FDCWD, parent, err);
    if (dir < 0)
        return dir;
    const struct stack_file from = {dir, slash + 1, path};
    struct stack_result result = {.bytes_copied = 0};
    int r = immutable ? stack_share(&from, to, &result, err) : stack_copy(&from, to, &result, err);
    if (r == 0 && copied)
        *copied += result.bytes_copied;
    return r;
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
    int r = bring(plan->kernel, plan->kernel_from_kit, &to_kernel, NULL, err);
    return r < 0 || !plan->initrd
               ? r
               : bring(plan->initrd, plan->initrd_from_kit, &to_initrd, NULL, err);
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
    for (unsigned i = 0; r == 0 && i < op->record.disk_count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%u.img", i);
        const struct label label = operation_label(op, GUEST_DISKS);
        const struct stack_file to = {disks, name, label.text};
        r = bring(plan->disks[i], false, &to, &op->record.disk_bytes_copied, err);
    }
    return r < 0 ? r : step("create-copied", err);
}
