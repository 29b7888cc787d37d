/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/disks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "stack/disk_stack.h"

#define DEEP 8u /* layers over a base: compacted when there is time */

bool disks_are_stacks(const struct host *host, const struct instance_record *record)
{
    const struct hypervisor *hypervisor = host_hypervisor(host, record->hypervisor);
    return hypervisor && hypervisor->disk_stacks;
}

/* What is done to a disk. 1 from it ends the round. */
typedef int disk_visit(const struct stack_file *base, struct error *err);

static int visit(const struct operation *op, unsigned slot, int directory, disk_visit *act,
                 struct error *err)
{
    char name[16], path[32];
    snprintf(name, sizeof(name), "%u.img", slot);
    snprintf(path, sizeof(path), GUEST_DISKS "/%s", name);
    const struct label label = operation_label(op, path);
    const struct stack_file base = {directory, name, label.text};
    return act(&base, err);
}

static int for_writable(const struct operation *op, disk_visit *act, struct error *err)
{
    const struct instance_record *record = &op->record;
    if (!record_has_writable_disk(record))
        return 0;
    _cleanup_(close) int directory = dir_open(op->guest_fd, GUEST_DISKS, err);
    int r = directory < 0 ? directory : 0;
    for (unsigned i = 0; r == 0 && i < record->disk_count; i++) {
        if (!record->disks[i].read_only)
            r = visit(op, i, directory, act, err);
    }
    return r;
}

/* ---- sealing ---- */

static int is_open(const struct stack_file *base, struct error *err)
{
    struct disk_chain chain;
    int r = disk_chain_find(base, &chain, err);
    return r < 0 ? r : !chain.frozen;
}

int disks_need_freeze(const struct operation *op, struct error *err)
{
    return disks_are_stacks(op->host, &op->record) ? for_writable(op, is_open, err) : 0;
}

/* Returns how many layers there are afterwards. If they can't be made fewer, `cause` says why. */
static int compact_from(const struct stack_file *base, unsigned depth, struct error *cause,
                        struct error *err)
{
    struct disk_chain chain;
    int r = disk_chain_find(base, &chain, err);
    if (r < 0 || chain.count < depth)
        return r < 0 ? r : (int)chain.count;
    if (disk_compact(base, cause) < 0)
        return (int)chain.count;
    log_info("%s: %u layers are one", base->label, chain.count);
    return 1;
}

/* What can't be compacted is only slower, until there is no room for another layer. */
static int make_room(const struct stack_file *base, struct error *err)
{
    struct error cause = {0};
    int depth = compact_from(base, DISK_STACK_DEEP, &cause, err);
    if (depth < 0 || cause.errnum == 0)
        return depth < 0 ? depth : 0;
    if ((unsigned)depth < DISK_STACK_LIMIT) {
        log_warning("%s has %d layers, which can't be compacted: %s", base->label, depth,
                    cause.message);
        return 0;
    }
    return error_set(err, cause.code, cause.errnum,
                     "%s has %d layers, may have no more, and they can't be compacted: %s",
                     base->label, depth, cause.message);
}

static int freeze(const struct stack_file *base, struct error *err)
{
    int r = make_room(base, err);
    if (r == 0)
        r = disk_freeze(base, err);
    return r < 0 ? r : step("disk-frozen", err);
}

int disks_freeze(const struct operation *op, struct error *err)
{
    return disks_are_stacks(op->host, &op->record) ? for_writable(op, freeze, err) : 0;
}

static int compact(const struct stack_file *base, struct error *err)
{
    struct error cause = {0};
    int r = compact_from(base, DEEP, &cause, err);
    if (r >= 0 && cause.errnum != 0)
        log_warning("compact %s: %s", base->label, cause.message);
    return r < 0 ? r : 0;
}

void disks_compact(const struct operation *op)
{
    struct error err = {0};
    if (disks_are_stacks(op->host, &op->record) && for_writable(op, compact, &err) < 0)
        log_warning("instance %s: compact its disks: %s", op->record.id, err.message);
}

static int is_stack(const struct stack_file *base, struct error *err)
{
    struct disk_chain chain;
    int r = disk_chain_find(base, &chain, err);
    return r < 0 ? r : chain.stack;
}

int disks_prepare_seal(const struct operation *op, struct error *err)
{
    int r = disks_are_stacks(op->host, &op->record) ? for_writable(op, is_stack, err) : 0;
    int room = r > 0 ? for_writable(op, make_room, err) : 0;
    return room < 0 ? room : r;
}

/* ---- syncing ---- */

static int sync_name(const struct stack_file *base, const char *name, struct error *err)
{
    _cleanup_(close) int fd = openat(base->dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, base->label, "open %s (%s)", base->label, name);
    if (fsync(fd) < 0)
        return error_errno(err, errno, base->label, "sync %s (%s)", base->label, name);
    return 0;
}

static int sync_disk(const struct stack_file *base, struct error *err)
{
    _cleanup_(free) char *top = disk_stack_name(base->name, DISK_TOP);
    if (!top)
        return error_errno(err, ENOMEM, base->label, "sync %s", base->label);
    int r = file_exists(base->dirfd, top, err);
    return r < 0 ? r : sync_name(base, r > 0 ? top : base->name, err);
}

int disks_sync(const struct operation *op, struct error *err)
{
    return for_writable(op, sync_disk, err);
}

/* ---- giving ---- */

int disk_give(const struct disk_gift *gift, struct stack_result *result, struct error *err)
{
    struct disk_chain chain;
    if (!gift->stacks)
        return disk_flatten(gift->from, gift->to, result, err);
    int r = disk_chain_find(gift->from, &chain, err);
    if (r < 0)
        return r;
    return chain.stack || gift->immutable ? disk_share(gift->from, gift->to, result, err)
                                          : stack_copy(gift->from, gift->to, result, err);
}
