/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/compaction.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "instance/compaction_mark.h"
#include "instance/memory_stack.h"
#include "instance/paged.h"
#include "instance/telemetry.h"
#include "paging/paging.h"

void compaction_init(const struct host *host, struct compaction *compaction, const char *id)
{
    *compaction = (struct compaction){.guest_fd = -1};
    snprintf(compaction->id, sizeof(compaction->id), "%s", id);
    compaction->task.bytes_per_second = host->compaction.bytes_per_second;
}

static struct label label_of(const struct compaction *compaction, const char *name)
{
    struct label label;
    snprintf(label.text, sizeof(label.text), "guests/%s/%s", compaction->id, name);
    return label;
}

/* ---- what is to be done ---- */

/* What the files of an image take of the disk, and which of its layers nobody else has. */
struct sizes {
    uint64_t base, layers; /* bytes */
    bool base_is_private;
    unsigned first_private; /* all layers from here on; depth + 1: none */
};

static int look_at(int snapshot, unsigned depth, struct sizes *sizes, struct error *err)
{
    *sizes = (struct sizes){.first_private = depth + 1};
    for (unsigned i = depth + 1; i-- > 0;) {
        struct stack_stat stat;
        const struct memory_name name = memory_name(i);
        const struct stack_file file = {snapshot, name.text, name.text};
        int r = stack_stat(&file, &stat, err);
        if (r < 0)
            return r;
        if (i == 0) {
            sizes->base = stat.allocated;
            sizes->base_is_private = stat.link_count == 1;
        } else {
            sizes->layers += stat.size;
            if (stat.link_count == 1 && sizes->first_private == i + 1)
                sizes->first_private = i;
        }
    }
    return 0;
}

/* 1 if the image lies in more pieces than `limit`. */
static int is_in_pieces(const struct stack_file *base, size_t limit, struct error *err)
{
    struct error cause = {0};
    _cleanup_(layer_stack) struct layer_stack *stack = layer_stack_open(base, &cause);
    if (!stack && err)
        *err = cause;
    return stack ? layer_stack_extents(stack) > limit : -cause.errnum;
}

/* 1 and `*first`, or 0: it is good as it is. One file where that saves as much as it costs, or
 * where layers alone would not help; else those layers that nobody else has; and where others have
 * them all but one, all, before the next standby has to write everything. */
static int plan(const struct stack_file *base, unsigned depth, unsigned *first, struct error *err)
{
    struct sizes sizes;
    int r = look_at(base->dirfd, depth, &sizes, err);
    if (r == 0)
        r = is_in_pieces(base, LAYER_STACK_MAPPINGS / 2, err);
    if (r < 0)
        return r;
    *first = 0;
    if (r > 0 || (sizes.base_is_private && sizes.layers >= sizes.base))
        return 1;
    if (depth < COMPACTION_DEPTH)
        return 0;
    *first = sizes.first_private < depth ? sizes.first_private : 1;
    return sizes.first_private < depth || depth + 1 >= INSTANCE_MAX_LAYERS;
}

/* ---- the long part ---- */

static int temporary_make(struct compaction *compaction, struct error *err)
{
    compaction->temporary = temporary_name(GUEST_SNAPSHOT);
    if (!compaction->temporary)
        return error_errno(err, ENOMEM, compaction->id, "compact the memory of %s", compaction->id);
    if (mkdirat(compaction->guest_fd, compaction->temporary, 0700) < 0) {
        free(TAKE_PTR(compaction->temporary));
        return error_errno(err, errno, compaction->id, "make a directory in guests/%s",
                           compaction->id);
    }
    return dir_open(compaction->guest_fd, compaction->temporary, err);
}

static int write_image(struct compaction *compaction, const struct stack_file *base,
                       struct error *err)
{
    _cleanup_(close) int dir = temporary_make(compaction, err);
    if (dir < 0)
        return dir;
    const struct memory_name name = memory_name(compaction->first);
    const struct label label = label_of(compaction, name.text);
    const struct stack_file to = {dir, name.text, label.text};
    struct stack_result result;
    struct layer_info info = {.id = 0};
    int r = step("compaction-begun", err);
    if (r == 0)
        r = compaction->first == 0
                ? layer_stack_flatten(base, &to, &compaction->task, &result, err)
                : layer_stack_join(base, compaction->first, &to, &compaction->task, &info, err);
    compaction->new_top = info.id;
    return r < 0 ? r : step("compaction-made", err);
}

/* `wanted`: there is no choice. */
static int make_from(struct compaction *compaction, const struct instance_record *record,
                     bool wanted, struct error *err)
{
    const struct label label = label_of(compaction, GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY);
    _cleanup_(close) int snapshot = dir_open(compaction->guest_fd, GUEST_SNAPSHOT, err);
    if (snapshot < 0)
        return snapshot;
    const struct stack_file base = {snapshot, SNAPSHOT_MEMORY, label.text};
    compaction->layers = record->memory_layers;
    snprintf(compaction->top, sizeof(compaction->top), "%s", record->memory_top);
    int r = memory_stack_check(snapshot, label.text, record, err);
    if (r == 0)
        r = wanted ? 1 : plan(&base, record->memory_layers, &compaction->first, err);
    if (r == 0)
        return error_set(err, ERROR_STATE, EALREADY, "%s is as it should be", label.text);
    return r < 0 ? r : write_image(compaction, &base, err);
}

int compaction_make(struct host *host, struct compaction *compaction, struct error *err)
{
    _cleanup_(free) struct instance_record *record = calloc(1, sizeof(*record));
    compaction->begin_ns = time_monotonic_ns();
    if (!record)
        return error_errno(err, ENOMEM, compaction->id, "compact %s", compaction->id);
    int r = store_get(host->store, compaction->id, record, err);
    if (r < 0)
        return r;
    if (record->state != INSTANCE_STANDBY || record->memory_layers == 0)
        return error_set(err, ERROR_STATE, ESTALE, "%s has no layers now", record->name);
    compaction->guest_fd = dir_open(host->guests_fd, compaction->id, err);
    return compaction->guest_fd < 0 ? compaction->guest_fd
                                    : make_from(compaction, record, false, err);
}

/* ---- the short part ---- */

/* The image is the same page for page. Without the record, VMs made of it are only slower. */
static void carry_record(const struct operation *op, int from, int to)
{
    struct error cause = {0};
    int r = file_exists(from, PAGING_RECORD, &cause);
    if (r > 0)
        r = operation_share(op, from, GUEST_SNAPSHOT, to, PAGING_RECORD, &cause);
    if (r < 0)
        log_warning("instance %s: %s", op->record.id, cause.message);
}

/* What stays of the image, and the mark. */
static int complete(const struct compaction *compaction, const struct operation *op,
                    const struct compaction_mark *mark, struct error *err)
{
    _cleanup_(close) int from = dir_open(op->guest_fd, GUEST_SNAPSHOT, err);
    if (from < 0)
        return from;
    _cleanup_(close) int to = dir_open(op->guest_fd, compaction->temporary, err);
    if (to < 0)
        return to;
    int r = operation_share(op, from, GUEST_SNAPSHOT, to, SNAPSHOT_STATE, err);
    for (unsigned i = 0; r == 0 && i < compaction->first; i++)
        r = operation_share(op, from, GUEST_SNAPSHOT, to, memory_name(i).text, err);
    carry_record(op, from, to);
    if (r == 0)
        r = compaction_mark_write(to, mark, err);
    return r < 0 ? r : step("compaction-linked", err);
}

static void take_new_image(struct instance_record *record, const struct compaction_mark *mark)
{
    record->memory_layers = mark->new_layers;
    snprintf(record->memory_top, sizeof(record->memory_top), "%s", mark->new_top);
}

static int record_it(struct operation *op, const struct compaction_mark *mark, struct error *err)
{
    take_new_image(&op->record, mark);
    int r = step("compaction-exchanged", err);
    if (r == 0)
        r = store_update(op->host->store, &op->record, err);
    return r < 0 ? r : step("compaction-recorded", err);
}

static int exchange(const struct compaction *compaction, struct operation *op,
                    const struct compaction_mark *mark, struct error *err)
{
    const struct instance_record before = op->record;
    int r = stack_exchange_directories(op->guest_fd, compaction->temporary, GUEST_SNAPSHOT, err);
    if (r < 0)
        return r;
    r = record_it(op, mark, err);
    if (r == 0)
        return 0;
    struct error cause = {0};
    op->record = before;
    if (store_update(op->host->store, &before, &cause) < 0 ||
        stack_exchange_directories(op->guest_fd, compaction->temporary, GUEST_SNAPSHOT, &cause) < 0)
        log_error("instance %s: %s", compaction->id, cause.message);
    return r;
}

/* It has served; one that stays names an image that is past. */
static void drop_mark(const struct operation *op)
{
    struct error cause = {0};
    _cleanup_(close) int snapshot = dir_open(op->guest_fd, GUEST_SNAPSHOT, &cause);
    if (snapshot < 0 || compaction_mark_remove(snapshot, &cause) < 0)
        log_warning("instance %s: %s", op->record.id, cause.message);
}

static int publish(struct compaction *compaction, struct operation *op, struct error *err)
{
    if (op->record.state != INSTANCE_STANDBY || op->record.memory_layers != compaction->layers ||
        strcmp(op->record.memory_top, compaction->top) != 0)
        return error_set(err, ERROR_STATE, ESTALE, "%s has another image now", op->record.name);
    if (atomic_load(&compaction->task.cancelled))
        return error_set(err, ERROR_STATE, ECANCELED, "the compaction of %s was cancelled",
                         op->record.name);
    struct compaction_mark mark = {.old_layers = compaction->layers,
                                   .new_layers = compaction->first};
    snprintf(mark.old_top, sizeof(mark.old_top), "%s", compaction->top);
    if (compaction->first > 0)
        snprintf(mark.new_top, sizeof(mark.new_top), "%016" PRIx64, compaction->new_top);
    int r = complete(compaction, op, &mark, err);
    if (r == 0)
        r = exchange(compaction, op, &mark, err);
    if (r == 0)
        drop_mark(op);
    return r;
}

int compaction_publish(struct host *host, struct compaction *compaction, struct error *err)
{
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    int r = operation_begin_raw(host, compaction->id, LOCK_TRY_EXCLUSIVE, &op, err);
    if (r == 0 && op.guest_fd < 0)
        r = operation_open_directory(&op, err);
    return r < 0 ? r : publish(compaction, &op, err);
}

/* ---- its end ---- */

static const char *result_name(const struct compaction *compaction, int r)
{
    if (r == 0)
        return compaction->first == 0 ? "flattened" : "joined";
    return r == -EALREADY                 ? "unneeded"
           : r == -ECANCELED              ? "cancelled"
           : r == -ENOENT || r == -ESTALE ? "gone"
                                          : "error";
}

void compaction_end(struct host *host, struct compaction *compaction, int r,
                    const struct error *err)
{
    struct error cause = {0};
    double seconds = (double)(time_monotonic_ns() - compaction->begin_ns) / 1e9;
    const char *result = result_name(compaction, r);
    if (r == 0)
        log_info("instance %s: its memory has %u layers, it had %u: in %.1f s", compaction->id,
                 compaction->first, compaction->layers, seconds);
    else if (strcmp(result, "error") == 0)
        log_warning("instance %s: its layers stay as they are: %s", compaction->id, err->message);
    if (compaction->temporary &&
        tree_remove(compaction->guest_fd, compaction->temporary, &cause) < 0)
        log_warning("instance %s: %s", compaction->id, cause.message);
    free(TAKE_PTR(compaction->temporary));
    cleanup_close(&compaction->guest_fd);
    compaction->guest_fd = -1;
    metric_add(host->telemetry->compactions, 1, &result);
}

/* ---- on the way of a restore ---- */

static int compact_now(struct operation *op, struct error *err)
{
    struct compaction compaction;
    struct error cause = {0};
    compaction_init(op->host, &compaction, op->record.id);
    compaction.task.bytes_per_second = 0;
    compaction.begin_ns = time_monotonic_ns();
    compaction.guest_fd = dir_open(op->guest_fd, ".", &cause);
    int r = compaction.guest_fd < 0 ? compaction.guest_fd
                                    : make_from(&compaction, &op->record, true, &cause);
    if (r == 0)
        r = publish(&compaction, op, &cause);
    compaction_end(op->host, &compaction, r, &cause);
    if (r < 0 && err)
        *err = cause;
    return r;
}

/* 1: as it is nobody can give it to a VM. */
static int is_in_the_way(const struct operation *op, struct error *err)
{
    if (!operation_hypervisor(op)->knows_layers)
        return !paged_is_possible(op, NULL);
    const struct label label = operation_label(op, GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY);
    _cleanup_(close) int snapshot = dir_open(op->guest_fd, GUEST_SNAPSHOT, err);
    const struct stack_file base = {snapshot, SNAPSHOT_MEMORY, label.text};
    return snapshot < 0 ? snapshot : is_in_pieces(&base, LAYER_STACK_MAPPINGS, err);
}

int compaction_require(struct operation *op, struct error *err)
{
    int r = op->record.memory_layers > 0 ? is_in_the_way(op, err) : 0;
    if (r <= 0)
        return r;
    r = compact_now(op, err);
    if (r < 0)
        error_wrap(err, "make one file of the memory of %s, which its VMM needs", op->record.name);
    return r;
}

int compaction_settle(struct operation *op, struct error *err)
{
    struct compaction_mark mark;
    const struct instance_record before = op->record;
    const struct label label = operation_label(op, GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY);
    _cleanup_(close) int snapshot = dir_open(op->guest_fd, GUEST_SNAPSHOT, err);
    int r = snapshot < 0 ? snapshot : compaction_mark_read(snapshot, &mark, err);
    if (r <= 0)
        return r;
    if (mark.old_layers == before.memory_layers && strcmp(mark.old_top, before.memory_top) == 0) {
        take_new_image(&op->record, &mark);
        r = memory_stack_check(snapshot, label.text, &op->record, err);
        if (r == 0)
            r = step("compaction-settled", err);
        if (r >= 0)
            r = store_update(op->host->store, &op->record, err);
        if (r < 0) {
            op->record = before;
            return r;
        }
    }
    return compaction_mark_remove(snapshot, err);
}
