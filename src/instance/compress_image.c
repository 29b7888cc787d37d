/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/compress_image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "instance/memory_image.h"
#include "instance/snapshot_operation.h"
#include "instance/telemetry.h"
#include "stack/layer_stack.h"

static const char *thing_of(const struct compress_image *image)
{
    return image->of_snapshot ? "snapshot" : "instance";
}

static struct label label_of(const struct compress_image *image)
{
    struct label label;
    snprintf(label.text, sizeof(label.text), "%s/%s/" GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY,
             image->of_snapshot ? "snapshots" : "guests", image->id);
    return label;
}

int compress_image_init(const struct host *host, struct compress_image *image,
                        const struct owner *owner, const char *compression, struct error *err)
{
    *image = (struct compress_image){.of_snapshot = owner->parent == host->snapshots_fd, .dir = -1};
    snprintf(image->id, sizeof(image->id), "%s", owner->id);
    return stack_compression_parse(compression, &image->how, err);
}

bool compress_image_is_alone(const struct owner *owner)
{
    struct stack_stat stat;
    _cleanup_(close) int dir = memory_directory(owner->parent, owner->id, NULL);
    const struct stack_file raw = {dir, SNAPSHOT_MEMORY, owner->id};
    if (dir >= 0 && layer_stack_count(&raw, NULL) != 0) /* which is told at once */
        return true;
    return dir < 0 || stack_stat(&raw, &stat, NULL) < 0 || stat.link_count == 1;
}

int compress_image_make(struct host *host, struct compress_image *image, struct error *err)
{
    const struct label label = label_of(image);
    int parent = image->of_snapshot ? host->snapshots_fd : host->guests_fd;
    image->packing = (struct stack_packing){.dirfd = -1};
    image->started_ns = time_monotonic_ns();
    image->dir = memory_directory(parent, image->id, err);
    if (image->dir < 0)
        return image->dir;
    const struct stack_file raw = {image->dir, SNAPSHOT_MEMORY, label.text};
    int layers = layer_stack_count(&raw, err);
    if (layers != 0)
        return layers < 0 ? layers
                          : error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                                      "%s has %d layers over it: such memory is not compressed",
                                      label.text, layers);
    return stack_pack(&raw, &image->how, &image->task, &image->packing, err);
}

static int publish(struct compress_image *image, struct error *err)
{
    const struct label label = label_of(image);
    const struct stack_file raw = {image->dir, SNAPSHOT_MEMORY, label.text};
    if (atomic_load(&image->task.cancelled))
        return error_set(err, ERROR_STATE, ECANCELED, "the compression of %s was cancelled",
                         label.text);
    return stack_pack_publish(&raw, &image->packing, err);
}

static int publish_instance(struct host *host, struct compress_image *image, struct error *err)
{
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    int r = operation_begin_raw(host, image->id, LOCK_TRY_EXCLUSIVE, &op, err);
    if (r < 0)
        return r;
    if (op.record.state != INSTANCE_STANDBY)
        return error_set(err, ERROR_STATE, ESTALE, "%s does not sleep any more", op.record.name);
    return publish(image, err);
}

static int publish_snapshot(struct host *host, struct compress_image *image, struct error *err)
{
    _cleanup_(snapshot_operation) struct snapshot_operation op = SNAPSHOT_OPERATION_NONE;
    int r = snapshot_begin_raw(host, image->id, LOCK_TRY_EXCLUSIVE, &op, err);
    return r < 0 ? r : publish(image, err);
}

int compress_image_publish(struct host *host, struct compress_image *image, struct error *err)
{
    return image->of_snapshot ? publish_snapshot(host, image, err)
                              : publish_instance(host, image, err);
}

static const char *result_name(int r)
{
    return r == 0                         ? "compressed"
           : r == -ECANCELED              ? "cancelled"
           : r == -EMLINK                 ? "shared"
           : r == -EOPNOTSUPP             ? "layers"
           : r == -ENOENT || r == -ESTALE ? "gone"
                                          : "error";
}

static void count(const struct telemetry *telemetry, const struct compress_image *image,
                  const char *result, double seconds)
{
    const char *algorithm = stack_algorithm_name(image->how.algorithm);
    const char *const labels[] = {algorithm, result};
    metric_add(telemetry->compressions, 1, labels);
    if (strcmp(result, "compressed") != 0)
        return;
    metric_add(telemetry->raw_bytes, (double)image->packing.raw_bytes, labels);
    metric_add(telemetry->compressed_bytes, (double)image->packing.packed_bytes, labels);
    metric_observe(telemetry->compression_seconds, seconds, labels);
}

void compress_image_end(struct host *host, struct compress_image *image, int r,
                        const struct error *err)
{
    double seconds = (double)(time_monotonic_ns() - image->started_ns) / 1e9;
    if (r == 0)
        log_info("%s %s: its memory is compressed: %s, %" PRIu64 " bytes to %" PRIu64 " in %.1f s",
                 thing_of(image), image->id, stack_algorithm_name(image->how.algorithm),
                 image->packing.raw_bytes, image->packing.packed_bytes, seconds);
    else if (strcmp(result_name(r), "error") == 0)
        log_warning("%s %s: its memory stays as it is: %s", thing_of(image), image->id,
                    err->message);
    else
        log_debug("%s %s: its memory stays as it is: %s", thing_of(image), image->id, err->message);
    count(host->telemetry, image, result_name(r), seconds);
    cleanup_stack_packing(&image->packing);
    cleanup_close(&image->dir);
    image->dir = -1;
}
