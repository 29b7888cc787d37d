/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/layering.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "instance/memory_stack.h"
#include "instance/paged.h"
#include "stack/hole_probe.h"
#include "stack/layer_diff.h"
#include "stack/stack.h"

/* base/ and the standby's directory, opened. */
struct places {
    const struct operation *op;
    int base, temporary;
    struct label label; /* of base/memory */
};

static void cleanup_places(struct places *places)
{
    cleanup_close(&places->base);
    cleanup_close(&places->temporary);
}

static int places_open(struct places *places, const struct operation *op, const char *temporary,
                       struct error *err)
{
    places->op = op;
    places->label = operation_label(op, GUEST_BASE "/" SNAPSHOT_MEMORY);
    places->base = dir_open(op->guest_fd, GUEST_BASE, err);
    if (places->base < 0)
        return places->base;
    places->temporary = dir_open(op->guest_fd, temporary, err);
    return places->temporary < 0 ? places->temporary : 0;
}

/* What is not as it should be is no base for a layer; all memory is a way out. */
static bool base_is_whole(const struct places *places)
{
    struct error cause = {0};
    const struct instance_record *record = &places->op->record;
    const struct stack_file memory = {places->base, SNAPSHOT_MEMORY, places->label.text};
    if (stack_check_size(&memory, record->memory_bytes, &cause) == 0 &&
        memory_stack_check(places->base, places->label.text, record, &cause) == 0)
        return true;
    log_warning("instance %s: its standby writes all memory: %s", record->id, cause.message);
    return false;
}

/* 1 if a layer is to be had rather than what else there is. */
static int is_wanted(struct operation *op, const struct places *places, struct error *err)
{
    struct stack_stat stat;
    const struct stack_file memory = {places->base, SNAPSHOT_MEMORY, places->label.text};
    if (op->host->standby_memory == STANDBY_AUTO && op->record.compression[0])
        return 0; /* it is to be compressed, and layers are not */
    if (op->host->standby_memory == STANDBY_LAYER || op->record.memory_layers > 0 ||
        paged_reads_base(op))
        return 1;
    int r = stack_stat(&memory, &stat, err);
    return r < 0 ? r : stat.link_count > 1;
}

/* 1 if the file system tells what is written from what is not. */
static int tells_holes(const struct places *places, struct error *err)
{
    struct error cause = {0};
    const struct label label = operation_label(places->op, SNAPSHOT_DIFF);
    const struct stack_file diff = {places->temporary, SNAPSHOT_DIFF, label.text};
    int r = hole_probe(&diff, &cause);
    if (r == -EOPNOTSUPP) {
        log_info("instance %s: no layer: %s", places->op->record.id, cause.message);
        return 0;
    }
    if (r < 0 && err)
        *err = cause;
    return r < 0 ? r : 1;
}

/* In the order of their cost. */
static int is_possible(struct operation *op, const struct places *places, enum vm_save how,
                       struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    if (op->record.memory_layers >= INSTANCE_MAX_LAYERS) /* once more all memory, in one file */
        return 0;
    int r = is_wanted(op, places, err);
    if (r > 0)
        r = hypervisor->can_save(hypervisor, &spec, how, err);
    if (r > 0)
        r = base_is_whole(places);
    return r > 0 && how == VM_SAVE_DIFF ? tells_holes(places, err) : r;
}

static int link_base(const struct places *places, struct error *err)
{
    const struct operation *op = places->op;
    for (unsigned i = 0; i <= op->record.memory_layers; i++) {
        int r = operation_share(op, places->base, GUEST_BASE, places->temporary,
                                memory_name(i).text, err);
        if (r < 0)
            return r;
    }
    return step("layering-linked", err);
}

int layering_prepare(struct operation *op, const char *temporary, enum vm_save *how,
                     struct error *err)
{
    _cleanup_(places) struct places places = {.base = -1, .temporary = -1};
    const enum standby_memory mode = op->host->standby_memory;
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    if ((mode != STANDBY_AUTO && mode != STANDBY_LAYER) ||
        hypervisor->saving == HYPERVISOR_SAVES_FULL ||
        (!hypervisor->knows_layers && !paged_is_possible(op, NULL)))
        return 0;
    int exists = file_exists(op->guest_fd, GUEST_BASE "/" SNAPSHOT_MEMORY, err);
    if (exists <= 0)
        return exists;
    *how = hypervisor->knows_layers ? VM_SAVE_LAYER : VM_SAVE_DIFF;
    int r = places_open(&places, op, temporary, err);
    if (r == 0)
        r = is_possible(op, &places, *how, err);
    if (r <= 0)
        return r;
    r = link_base(&places, err);
    return r < 0 ? r : 1;
}

/* In the standby's directory: what the VMM wrote becomes the layer. */
struct conversion {
    const struct operation *op;
    int dir;
    const char *name; /* of the layer */
    struct label label;
};

static int take_diff(const struct conversion *conversion, struct layer_info *info,
                     struct error *err)
{
    const struct label label = operation_label(conversion->op, SNAPSHOT_DIFF);
    const struct stack_file diff = {conversion->dir, SNAPSHOT_DIFF, label.text};
    const struct stack_file layer = {conversion->dir, conversion->name, conversion->label.text};
    int r = layer_from_diff(&diff, &layer, conversion->op->record.memory_bytes, info, err);
    if (r == 0)
        r = step("layering-made", err);
    if (r == 0 && unlinkat(conversion->dir, SNAPSHOT_DIFF, 0) < 0)
        r = error_errno(err, errno, label.text, "remove %s", label.text);
    return r;
}

static int take_layer(const struct conversion *conversion, struct layer_info *info,
                      struct error *err)
{
    struct error cause = {0};
    const int dir = conversion->dir;
    const char *label = conversion->label.text;
    if (renameat(dir, SNAPSHOT_LAYER, dir, conversion->name) < 0)
        return error_errno(err, errno, label, "make " SNAPSHOT_LAYER " %s", label);
    const struct stack_file file = {dir, conversion->name, label};
    _cleanup_(layer) struct layer *layer =
        layer_open(&file, conversion->op->record.memory_bytes, &cause);
    if (layer)
        layer_describe(layer, info);
    else if (err)
        *err = cause;
    return layer ? step("layering-made", err) : -cause.errnum;
}

int layering_finish(const struct operation *op, const char *temporary, enum vm_save how,
                    uint64_t *id, struct error *err)
{
    const struct memory_name name = memory_name(op->record.memory_layers + 1);
    const uint64_t begin_ns = time_monotonic_ns();
    struct layer_info info = {.id = 0};
    _cleanup_(close) int dir = dir_open(op->guest_fd, temporary, err);
    if (dir < 0)
        return dir;
    const struct conversion conversion = {
        .op = op, .dir = dir, .name = name.text, .label = operation_label(op, name.text)};
    int r = step("layering-saved", err);
    if (r == 0)
        r = how == VM_SAVE_LAYER ? take_layer(&conversion, &info, err)
                                 : take_diff(&conversion, &info, err);
    if (r < 0)
        return r;
    *id = info.id;
    log_info("instance %s: layer %u: %" PRIu64 " KiB, in %" PRIu64 " ms", op->record.id,
             op->record.memory_layers + 1, info.file_bytes >> 10,
             (time_monotonic_ns() - begin_ns) / 1000000);
    return step("layering-finished", err);
}
