/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/memory_image.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "instance/compressor.h"
#include "instance/memory_link.h"
#include "instance/paged.h"
#include "instance/telemetry.h"
#include "instance/trace.h"

/* An owner's snapshot/ and the raw image in it. */
struct raw_image {
    int dir;
    struct label label;
    struct stack_file raw;
};

static void cleanup_raw_image(struct raw_image *image)
{
    if (image->dir >= 0)
        close(image->dir);
}

int memory_directory(int parent, const char *id, struct error *err)
{
    char path[INSTANCE_ID_LENGTH + sizeof("/" GUEST_SNAPSHOT)];
    snprintf(path, sizeof(path), "%s/" GUEST_SNAPSHOT, id);
    return dir_open(parent, path, err);
}

static int image_of(const struct owner *owner, struct raw_image *image, struct error *err)
{
    image->label = owner_label(owner, GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY);
    image->dir = memory_directory(owner->parent, owner->id, err);
    image->raw = (struct stack_file){image->dir, SNAPSHOT_MEMORY, image->label.text};
    return image->dir < 0 ? error_wrap(err, "%s %s", owner->thing, owner->id) : 0;
}

static void count(struct host *host, const struct owner *owner, const struct stack_packed *packed,
                  int r, uint64_t begin_ns)
{
    const struct telemetry *telemetry = host->telemetry;
    double seconds = (double)(time_monotonic_ns() - begin_ns) / 1e9;
    const char *algorithm = stack_algorithm_name(packed->algorithm);
    metric_add(telemetry->expansions, 1,
               (const char *const[]){algorithm, r < 0 ? "error" : "expanded"});
    if (r < 0)
        return;
    metric_observe(telemetry->expansion_seconds, seconds, (const char *const[]){algorithm});
    log_info("%s %s: its memory is expanded: %s, in %.1f s", owner->thing, owner->id, algorithm,
             seconds);
}

/* The owner is held for writing and no job works on it. */
static int expand(struct host *host, const struct owner *owner, const struct raw_image *image,
                  uint64_t size, struct error *err)
{
    struct stack_packed packed;
    uint64_t begin_ns = time_monotonic_ns();
    int r = step("expand-begun", err);
    if (r == 0)
        r = stack_expand(&image->raw, size, &packed, err);
    else
        packed = (struct stack_packed){.bytes = 0};
    if (r != 0)
        count(host, owner, &packed, r, begin_ns);
    return r < 0 ? r : step("expand-done", err);
}

/* What somebody needs. */
struct need {
    uint64_t size; /* of the raw image */
    bool writing;  /* the owner is held so: the image may be expanded */
    bool raw;      /* else a compressed one will do, if it has an index */
};

/* 1: the image is as it is needed. 0: it is not, and `writing` is what it would take. */
static int make_ready(struct host *host, const struct owner *owner, const struct need *need,
                      struct error *err)
{
    _cleanup_(raw_image) struct raw_image image = {.dir = -1};
    struct stack_packed packed;
    compressor_interrupt(host->compressor, owner->id);
    int r = image_of(owner, &image, err);
    if (r == 0)
        r = memory_link_refuse(owner, image.dir, err);
    if (r == 0)
        r = stack_find_packed(&image.raw, &packed, err);
    if (r < 0)
        return r;
    if (r == 0)
        return 1;
    r = need->raw ? 0 : stack_packed_check(&image.raw, &packed, need->size, err);
    if (r != 0 || !need->writing)
        return r;
    compressor_drop(host->compressor, owner->id);
    r = expand(host, owner, &image, need->size, err);
    return r < 0 ? r : 1;
}

int memory_take(struct operation *op, struct error *err)
{
    const struct owner owner = operation_owner(op);
    const struct need need = {
        .size = op->record.memory_bytes, .writing = true, .raw = !paged_takes_packed(op)};
    compressor_drop(op->host->compressor, op->record.id);
    int r = make_ready(op->host, &owner, &need, err);
    return r < 0 ? r : 0;
}

int memory_expand(struct operation *op, struct error *err)
{
    const struct owner owner = operation_owner(op);
    const struct need need = {.size = op->record.memory_bytes, .writing = true, .raw = true};
    int r = make_ready(op->host, &owner, &need, err);
    return r < 0 ? r : 0;
}

int memory_is_packed(const struct operation *op, struct stack_packed *packed, struct error *err)
{
    const struct owner owner = operation_owner(op);
    _cleanup_(raw_image) struct raw_image image = {.dir = -1};
    int r = image_of(&owner, &image, err);
    return r < 0 ? r : stack_find_packed(&image.raw, packed, err);
}

static int make_ready_for(struct operation *op, struct error *err)
{
    const struct owner owner = operation_owner(op);
    const struct need need = {.size = op->record.memory_bytes,
                              .writing = op->hold.writing,
                              .raw = !paged_serves_packed(op->host)};
    if (op->record.state != INSTANCE_STANDBY)
        return 1;
    return make_ready(op->host, &owner, &need, err);
}

/* Begins, and ends what it began unless the result is 1. */
static int try_begin(struct host *host, const char *reference, enum lock_kind kind,
                     struct operation *op, struct error *err)
{
    int r = operation_begin(host, reference, kind, op, err);
    if (r < 0)
        return r;
    r = make_ready_for(op, err);
    if (r <= 0)
        operation_end(op);
    return r;
}

int memory_begin(struct host *host, const char *reference, enum lock_kind kind,
                 struct operation *op, struct error *err)
{
    for (;;) {
        int r = try_begin(host, reference, kind, op, err);
        if (r != 0)
            return r < 0 ? r : 0;
        r = try_begin(host, reference, LOCK_EXCLUSIVE, op, err);
        if (r < 0)
            return r;
        operation_end(op);
    }
}

static int try_begin_snapshot(struct host *host, const char *id, enum lock_kind kind, bool for_fork,
                              struct snapshot_operation *op, struct error *err)
{
    int r = snapshot_begin(host, id, kind, op, err);
    if (r < 0)
        return r;
    const struct owner owner = snapshot_owner(op);
    const struct need need = {.size = op->record.source.memory_bytes,
                              .writing = op->hold.writing,
                              .raw = !for_fork || !paged_serves_packed(host)};
    r = op->record.kind == INSTANCE_STANDBY ? make_ready(host, &owner, &need, err) : 1;
    if (r <= 0)
        snapshot_end(op);
    return r;
}

int memory_begin_snapshot(struct host *host, const char *id, bool for_fork,
                          struct snapshot_operation *op, struct error *err)
{
    for (;;) {
        int r = try_begin_snapshot(host, id, LOCK_SHARED, for_fork, op, err);
        if (r != 0)
            return r < 0 ? r : 0;
        r = try_begin_snapshot(host, id, LOCK_EXCLUSIVE, for_fork, op, err);
        if (r < 0)
            return r;
        snapshot_end(op);
    }
}

int memory_settle(const struct owner *owner, struct error *err)
{
    _cleanup_(raw_image) struct raw_image image = {.dir = -1};
    int r = image_of(owner, &image, err);
    if (r == 0)
        r = memory_link_find(image.dir, err);
    if (r > 0) /* it stays as it is, for who asks for it to be told */
        return 0;
    return r < 0 ? r : stack_settle_packed(&image.raw, err);
}

static void look(struct host *host, const struct owner *owner, struct compression_status *status)
{
    _cleanup_(raw_image) struct raw_image image = {.dir = -1};
    struct stack_packed packed = {.bytes = 0};
    struct error err = {0};
    int r = image_of(owner, &image, &err);
    if (r == 0)
        r = stack_find_packed(&image.raw, &packed, &err);
    if (r > 0) {
        status->state = COMPRESSION_DONE;
        status->compressed_size = packed.bytes;
    } else if (r == 0) {
        compressor_look(host->compressor, owner->id, status);
    } else if (r != -ENOENT) { /* else it has just woken, or is gone */
        status->state = COMPRESSION_FAILED;
        snprintf(status->error, sizeof(status->error), "%.255s", err.message);
    }
}

void memory_look(struct host *host, struct instance_record *record)
{
    const struct owner owner = {.thing = "instance",
                                .id = record->id,
                                .parent = host->guests_fd,
                                .parent_path = host->guests_dir,
                                .fd = -1};
    record->compression_status = (struct compression_status){.state = COMPRESSION_NONE};
    if (record->state == INSTANCE_STANDBY && *record->compression)
        look(host, &owner, &record->compression_status);
}

void memory_look_snapshot(struct host *host, struct snapshot_record *record)
{
    const struct owner owner = {.thing = "snapshot",
                                .id = record->id,
                                .parent = host->snapshots_fd,
                                .parent_path = host->snapshots_dir,
                                .fd = -1};
    record->compression_status = (struct compression_status){.state = COMPRESSION_NONE};
    if (*record->compression)
        look(host, &owner, &record->compression_status);
}
