/* SPDX-License-Identifier: Apache-2.0 */
/* Looks without a lock: a VMM that ends meanwhile costs nothing any more. */
#include <errno.h>
#include <stdio.h>

#include "base/file.h"
#include "base/proc_stat.h"
#include "instance/host.h"
#include "instance/memory_stack.h"
#include "instance/smaps.h"
#include "stack/compression.h"

static int process_stats(const struct instance_record *record, struct instance_stats *stats,
                         struct error *err)
{
    char path[32];
    struct proc_stat process;
    struct smaps smaps;
    int r = proc_stat(record->vmm_pid, &process, err);
    if (r < 0 || process.start_ticks != record->vmm_start_ticks)
        return r < 0 ? r : -ESRCH;
    snprintf(path, sizeof(path), "/proc/%d/smaps", record->vmm_pid);
    _cleanup_(fclose) FILE *file = fopen(path, "re");
    if (!file)
        return error_errno(err, errno, path, "open %s", path);
    r = smaps_read(file, record->memory_bytes, &smaps, err);
    if (r < 0)
        return r;
    stats->private_bytes = smaps.private_bytes;
    stats->vmm_private_bytes = smaps.private_bytes - smaps.guest_bytes;
    stats->rss_bytes = process.rss_bytes;
    stats->vms_bytes = process.vms_bytes;
    stats->cpu_seconds = process.cpu_seconds;
    return 0;
}

static int layer_stats(int dir, const char *label, struct instance_stats *stats, struct error *err)
{
    for (unsigned i = 0; i < INSTANCE_MAX_LAYERS; i++) {
        struct stack_stat stat;
        struct error cause = {0};
        const struct memory_name name = memory_name(i + 1);
        const struct stack_file file = {dir, name.text, label};
        int r = stack_stat(&file, &stat, &cause);
        if (r == -ENOENT)
            break;
        if (r < 0 && err)
            *err = cause;
        if (r < 0)
            return r;
        stats->layers[i] = (struct layer_stats){stat.link_count, stat.size, stat.allocated};
        stats->layer_count = i + 1;
    }
    return 0;
}

/* The lowest file, raw or compressed. */
static int file_stats(int dir, const char *label, struct instance_stats *stats, struct error *err)
{
    struct stack_stat stat;
    struct stack_packed packed;
    char name[STACK_PACKED_NAME] = SNAPSHOT_MEMORY;
    const struct stack_file raw = {dir, SNAPSHOT_MEMORY, label}, file = {dir, name, label};
    int r = stack_find_packed(&raw, &packed, err);
    if (r > 0)
        stack_packed_name(SNAPSHOT_MEMORY, packed.algorithm, name);
    if (r >= 0)
        r = stack_stat(&file, &stat, err);
    if (r < 0)
        return r;
    stats->memory_link_count = stat.link_count;
    stats->memory_file_bytes = stat.size;
    stats->memory_file_allocated = stat.allocated;
    return 0;
}

/* -ENOENT: there is no memory file in that directory. */
static int memory_stats(int guests_fd, const char *id, const char *directory,
                        struct instance_stats *stats, struct error *err)
{
    char path[INSTANCE_ID_LENGTH + 32];
    snprintf(path, sizeof(path), "%s/%s", id, directory);
    _cleanup_(close) int dir = dir_open(guests_fd, path, err);
    if (dir < 0)
        return dir;
    int r = file_stats(dir, path, stats, err);
    return r < 0 ? r : layer_stats(dir, path, stats, err);
}

int instance_stats(struct host *host, const char *reference, struct instance_stats *stats,
                   struct error *err)
{
    struct instance_record record;
    *stats = (struct instance_stats){.private_bytes = 0};
    int r = instance_get(host, reference, &record, err);
    if (r < 0)
        return r;
    if (record.vmm_pid > 0) {
        r = process_stats(&record, stats, err);
        if (r < 0 && r != -ENOENT && r != -ESRCH)
            return r;
    }
    r = memory_stats(host->guests_fd, record.id, GUEST_SNAPSHOT, stats, err);
    if (r == -ENOENT)
        r = memory_stats(host->guests_fd, record.id, GUEST_BASE, stats, err);
    if (r < 0 && r != -ENOENT)
        return r;
    error_clear(err);
    return 0;
}
