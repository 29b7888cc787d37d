/* SPDX-License-Identifier: Apache-2.0 */
/* Looks without a lock, as stats.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "instance/host.h"
#include "stack/disk_stack.h"

#define BLOCK_BYTES 4096u /* of what a layer counts */

_Static_assert(DISK_STACK_LIMIT == INSTANCE_MAX_DISK_LAYERS, "there is room for every layer");

/* The file of the stack with that number. */
static int file_stat(const struct stack_file *base, unsigned number, struct stack_stat *stat,
                     struct error *err)
{
    _cleanup_(free) char *name = disk_stack_name(base->name, number);
    if (!name)
        return error_errno(err, ENOMEM, base->label, "look at %s", base->label);
    const struct stack_file file = {base->dirfd, name, base->label};
    return stack_stat(&file, stat, err);
}

static int layer_stats(const struct stack_file *base, const struct disk_chain_layer *layer,
                       struct disk_layer_stats *stats, struct error *err)
{
    struct stack_stat stat;
    int r = file_stat(base, layer->number, &stat, err);
    if (r < 0)
        return r;
    *stats = (struct disk_layer_stats){.number = layer->number,
                                       .link_count = stat.link_count,
                                       .data_bytes = layer->data_blocks * BLOCK_BYTES,
                                       .zero_bytes = layer->zero_blocks * BLOCK_BYTES};
    return 0;
}

static int stack_stats(const struct stack_file *base, struct disk_stats *stats, struct error *err)
{
    struct disk_chain chain;
    struct stack_stat top = {.size = 0};
    int r = disk_chain_find(base, &chain, err);
    if (r < 0 || !chain.stack)
        return r;
    r = file_stat(base, DISK_TOP, &top, err);
    for (unsigned i = chain.count; r == 0 && i > 0; i--)
        r = layer_stats(base, &chain.layers[i - 1], &stats->layers[chain.count - i], err);
    if (r < 0)
        return r;
    stats->stack = true;
    stats->top_allocated = top.allocated;
    stats->layer_count = chain.count;
    return 0;
}

static int disk_stats(const struct stack_file *base, bool writable, struct disk_stats *stats,
                      struct error *err)
{
    struct stack_stat stat;
    *stats = (struct disk_stats){.stack = false};
    int r = stack_stat(base, &stat, err);
    if (r < 0)
        return r;
    stats->size_bytes = stat.size;
    stats->link_count = stat.link_count;
    return writable ? stack_stats(base, stats, err) : 0;
}

int instance_disk_stats(struct host *host, const char *reference,
                        struct disk_stats stats[GUEST_MAX_DISKS], struct error *err)
{
    struct instance_record record;
    char path[INSTANCE_ID_LENGTH + 32], name[16];
    memset(stats, 0, GUEST_MAX_DISKS * sizeof(*stats));
    int r = instance_get(host, reference, &record, err);
    if (r < 0 || record.disk_count == 0)
        return r;
    snprintf(path, sizeof(path), "%s/" GUEST_DISKS, record.id);
    _cleanup_(close) int directory = dir_open(host->guests_fd, path, err);
    r = directory < 0 ? directory : 0;
    for (unsigned i = 0; r == 0 && i < record.disk_count; i++) {
        snprintf(name, sizeof(name), "%u.img", i);
        snprintf(path, sizeof(path), "%s/" GUEST_DISKS "/%s", record.id, name);
        const struct stack_file base = {directory, name, path};
        r = disk_stats(&base, !record.disks[i].read_only, &stats[i], err);
    }
    return r;
}
