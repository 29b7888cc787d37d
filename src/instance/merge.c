/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/merge.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "instance/paged.h"
#include "instance/telemetry.h"
#include "stack/layer_stack.h"
#include "stack/stack.h"

/* base/, opened, and what is in it. */
struct base {
    int dir;
    struct label label;
    struct stack_file memory;
};

static void cleanup_base(struct base *base)
{
    if (base->dir >= 0)
        close(base->dir);
}

/* 1: there is one, 0: the VM has none. Of another size it is not what the VM was restored from, and
 * a VMM would not write into it. */
static int base_open(const struct operation *op, struct base *base, struct error *err)
{
    base->label = operation_label(op, GUEST_BASE "/" SNAPSHOT_MEMORY);
    int exists = file_exists(op->guest_fd, GUEST_BASE "/" SNAPSHOT_MEMORY, err);
    if (exists <= 0)
        return exists;
    base->dir = dir_open(op->guest_fd, GUEST_BASE, err);
    if (base->dir < 0)
        return base->dir;
    base->memory = (struct stack_file){base->dir, SNAPSHOT_MEMORY, base->label.text};
    int r = stack_check_size(&base->memory, op->record.memory_bytes, err);
    return r < 0 ? r : 1;
}

static void count(const struct operation *op, const struct stack_result *result, uint64_t ns)
{
    const struct telemetry *telemetry = op->host->telemetry;
    const char *const method[] = {stack_method_name(result->method)};
    metric_add(telemetry->unshares, 1, method);
    metric_add(telemetry->unshare_bytes, (double)result->bytes_copied, method);
    metric_observe(telemetry->unshare_seconds, (double)ns / 1e9, method);
    log_info("instance %s: its base was shared: %s, %llu MiB, in %llu ms", op->record.id, *method,
             (unsigned long long)(result->bytes_copied >> 20), (unsigned long long)(ns / 1000000));
}

/* 1: `file`, another name of the base, is a file of its own now; 0: to make it one would cost more
 * than it saves. */
static int make_private(const struct operation *op, const struct stack_file *file,
                        struct error *err)
{
    struct stack_result result;
    uint64_t begin = time_monotonic_ns();
    bool always = operation_hypervisor(op)->saving == HYPERVISOR_SAVES_MERGED;
    int r =
        always ? stack_unshare(file, &result, err) : stack_unshare_by_reflink(file, &result, err);
    if (r < 0)
        return r;
    if (result.method != STACK_LINK)
        count(op, &result, time_monotonic_ns() - begin);
    return result.link_count == 1;
}

/* A copy of a base that others have. The VM maps the base itself, and may have to go on with it: so
 * it keeps its name, without which the last of the others would write into it. */
static int take_copy(const struct operation *op, const struct base *base, const char *temporary,
                     struct error *err)
{
    const struct label label = operation_label(op, temporary);
    _cleanup_(close) int to = dir_open(op->guest_fd, temporary, err);
    if (to < 0)
        return to;
    const struct stack_file copy = {to, SNAPSHOT_MEMORY, label.text};
    int r = operation_share(op, base->dir, GUEST_BASE, to, SNAPSHOT_MEMORY, err);
    if (r == 0)
        r = make_private(op, &copy, err);
    if (r == 0 && unlinkat(to, SNAPSHOT_MEMORY, 0) < 0)
        return error_errno(err, errno, label.text, "remove %s", label.text);
    if (r <= 0)
        return r;
    _cleanup_(close) int fd = stack_open_writable(&copy, err);
    r = fd < 0 ? fd : step("merge-unshared", err);
    if (r == 0)
        r = step("merge-moved", err);
    return r < 0 ? r : 1;
}

/* Of a base that nobody else has. Before the first byte is written the file has left its old name
 * for good, and with it the state that a restore may have left there: whatever base/state a power
 * cut brings back, base/memory is not beside it. */
static int move(struct operation *op, const struct base *base, const char *temporary, bool *moved,
                struct error *err)
{
    int r = make_private(op, &base->memory, err);
    if (r < 0)
        return r;
    _cleanup_(close) int fd = stack_open_writable(&base->memory, err);
    r = fd < 0 ? fd : step("merge-unshared", err);
    if (r < 0)
        return r;
    _cleanup_(close) int to = dir_open(op->guest_fd, temporary, err);
    if (to < 0)
        return to;
    if (renameat(base->dir, SNAPSHOT_MEMORY, to, SNAPSHOT_MEMORY) < 0)
        return error_errno(err, errno, base->label.text, "move %s to %s", base->label.text,
                           temporary);
    *moved = true;
    r = dir_sync(base->dir, base->label.text, err);
    if (r == 0)
        r = dir_sync(to, temporary, err);
    if (r == 0)
        r = dir_sync(op->guest_fd, op->guest_dir, err);
    return r < 0 ? r : step("merge-moved", err);
}

/* 1 if what the VMM would write belongs into that file: it is all of the image that the VM was
 * restored from. */
static int can_merge(const struct operation *op, const struct base *base, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    int layers = layer_stack_count(&base->memory, err);
    if (layers != 0 || op->record.memory_layers > 0)
        return layers < 0 ? layers : 0;
    return hypervisor->can_save(hypervisor, &spec, VM_SAVE_MERGED, err);
}

static int take(struct operation *op, const struct base *base, const char *temporary, bool *merges,
                struct error *err)
{
    struct stack_stat stat;
    int r = stack_stat(&base->memory, &stat, err);
    if (r < 0)
        return r;
    if (stat.link_count == 1)
        return move(op, base, temporary, merges, err);
    r = take_copy(op, base, temporary, err);
    *merges = r > 0;
    return r < 0 ? r : 0;
}

int merge_prepare(struct operation *op, const char *temporary, bool *merges, struct error *err)
{
    _cleanup_(base) struct base base = {.dir = -1};
    *merges = false;
    if (operation_hypervisor(op)->saving == HYPERVISOR_SAVES_FULL ||
        op->host->standby_memory == STANDBY_FULL || paged_reads_base(op))
        return 0;
    int r = base_open(op, &base, err);
    if (r > 0)
        r = can_merge(op, &base, err);
    if (r > 0)
        r = take(op, &base, temporary, merges, err);
    return r;
}

int merge_undo(struct operation *op, const char *temporary, struct error *err)
{
    int kept = file_exists(op->guest_fd, GUEST_BASE "/" SNAPSHOT_MEMORY, err);
    if (kept != 0)
        return kept < 0 ? kept : 0;
    _cleanup_(close) int from = dir_open(op->guest_fd, temporary, err);
    if (from < 0)
        return from;
    if (renameat(from, SNAPSHOT_MEMORY, op->guest_fd, GUEST_BASE "/" SNAPSHOT_MEMORY) < 0)
        return error_errno(err, errno, temporary, "move %s/" SNAPSHOT_MEMORY " back to " GUEST_BASE,
                           temporary);
    return 0;
}
