/* SPDX-License-Identifier: Apache-2.0 */
#include "api/instance_json.h"

#include <string.h>

#include "api/compression.h"
#include "api/json_text.h"
#include "api/policies.h"
#include "api/program_fields.h"
#include "api/warm_json.h"
#include "base/clock.h"
#include "base/size.h"

json_t *time_json(uint64_t realtime_ns)
{
    if (realtime_ns == 0)
        return json_null();
    char text[32];
    time_format_rfc3339(realtime_ns, text);
    return json_string(text);
}

json_t *text_or_null(const char *text)
{
    return *text ? json_text(text, strlen(text)) : json_null();
}

static json_t *size_json(uint64_t bytes)
{
    char text[32];
    size_format(bytes, text);
    return json_string(text);
}

static json_t *disks_json(const struct instance_record *record)
{
    json_t *disks = json_array();
    for (unsigned i = 0; i < record->disk_count && i < GUEST_MAX_DISKS; i++)
        json_array_append_new(disks,
                              json_pack("{s:b, s:b}", "read_only", record->disks[i].read_only,
                                        "root", record->disks[i].root));
    return disks;
}

static json_t *pager_json(const struct instance_record *record)
{
    const struct pager_status *status = &record->pager_status;
    if (!record->paged)
        return json_null();
    return json_pack("{s:s, s:o, s:o, s:I, s:I, s:I}", "state", status->state, "version",
                     text_or_null(status->version), "reason", text_or_null(status->reason), "pages",
                     (json_int_t)status->pages, "pages_present", (json_int_t)status->present,
                     "takeovers", (json_int_t)status->takeovers);
}

static json_t *layers_json(const struct instance_stats *stats)
{
    json_t *layers = json_array();
    for (unsigned i = 0; i < stats->layer_count; i++)
        json_array_append_new(layers,
                              json_pack("{s:I, s:I, s:I}", "link_count",
                                        (json_int_t)stats->layers[i].link_count, "bytes",
                                        (json_int_t)stats->layers[i].file_bytes, "allocated_bytes",
                                        (json_int_t)stats->layers[i].file_allocated));
    return layers;
}

/* What the files of the image take of the disk: others have some of them too. */
static void add_ownership(json_t *memory, const struct instance_stats *stats)
{
    uint64_t shared = stats->memory_link_count > 1 ? stats->memory_file_allocated : 0;
    uint64_t own = stats->memory_link_count > 1 ? 0 : stats->memory_file_allocated;
    for (unsigned i = 0; i < stats->layer_count; i++)
        *(stats->layers[i].link_count > 1 ? &shared : &own) += stats->layers[i].file_allocated;
    json_object_set_new(memory, "shared_file_bytes", json_integer((json_int_t)shared));
    json_object_set_new(memory, "private_file_bytes", json_integer((json_int_t)own));
}

static json_t *memory_json(const struct instance_record *record, const struct instance_stats *stats)
{
    json_t *memory =
        json_pack("{s:o, s:I, s:o}", "method", text_or_null(record->memory_method), "bytes_copied",
                  (json_int_t)record->memory_bytes_copied, "pager", pager_json(record));
    compression_add_json(memory, record->compression, &record->compression_status,
                         record->memory_bytes);
    if (stats) {
        json_object_set_new(memory, "link_count",
                            json_integer((json_int_t)stats->memory_link_count));
        json_object_set_new(memory, "layers", layers_json(stats));
        add_ownership(memory, stats);
    }
    return memory;
}

static json_t *extension_json(const struct instance_record *record,
                              const struct instance_stats *stats)
{
    /* An instance with a kernel of its own has that kernel's path as its image. */
    bool own_kernel = record->image[0] == '/';
    return json_pack("{s:o, s:o, s:b, s:o, s:o, s:I, s:o, s:o, s:I, s:o}", "parent_id",
                     text_or_null(record->parent_id), "kernel",
                     own_kernel ? text_or_null(record->image) : json_null(), "initrd",
                     record->has_initrd, "cmdline", text_or_null(record->cmdline), "vmm_pid",
                     record->vmm_pid > 0 ? json_integer(record->vmm_pid) : json_null(),
                     "memory_bytes", (json_int_t)record->memory_bytes, "disks", disks_json(record),
                     "memory", memory_json(record, stats), "disk_bytes_copied",
                     (json_int_t)record->disk_bytes_copied, "warm",
                     warm_json_or_null(&record->warm));
}

static json_t *restart_json(const struct instance_record *record)
{
    return json_pack("{s:I, s:o, s:o, s:o, s:n}", "attempts", (json_int_t)record->restart_attempts,
                     "last_attempt_at", time_json(record->restart_last_ns), "next_attempt_at",
                     time_json(record->restart_next_ns), "blocked_reason",
                     text_or_null(record->restart_blocked), "last_reason");
}

json_t *instance_json(const struct instance_record *record, const struct instance_stats *stats)
{
    json_t *instance = json_pack(
        "{s:s, s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:I, s:b, s:s, s:o, "
        "s:o}",
        "id", record->id, "name", record->name, "image", text_or_null(record->image), "platform",
        "linux/amd64", "state", instance_state_name(record->state), "state_error",
        text_or_null(record->state_error), "created_at", time_json(record->created_at_ns),
        "expires_at", time_json(record->expires_at_ns), "started_at",
        time_json(record->started_at_ns), "stopped_at", time_json(record->stopped_at_ns),
        "exit_code",
        record->has_exit_code ? json_integer((json_int_t)record->exit_code) : json_null(), "size",
        size_json(record->memory_bytes), "hotplug_size", "0 B", "vcpus", (json_int_t)record->vcpus,
        "has_snapshot", record->state == INSTANCE_STANDBY, "hypervisor", record->hypervisor,
        "network", json_pack("{s:b, s:n, s:n}", "enabled", 0, "ip", "mac"), "tine",
        extension_json(record, stats));
    program_add_json(instance, &record->program);
    if (*record->tags)
        json_object_set_new(instance, "tags", json_loads(record->tags, 0, NULL));
    policies_add_json(instance, record->policies);
    if (json_object_get(instance, "restart_policy"))
        json_object_set_new(instance, "restart_status", restart_json(record));
    if (*record->exit_message)
        json_object_set_new(instance, "exit_message", text_or_null(record->exit_message));
    return instance;
}

static json_t *disk_layers_json(const struct disk_stats *stats)
{
    json_t *layers = json_array();
    for (unsigned i = 0; i < stats->layer_count; i++) {
        const struct disk_layer_stats *layer = &stats->layers[i];
        json_array_append_new(layers,
                              json_pack("{s:i, s:I, s:I, s:I}", "number", (int)layer->number,
                                        "link_count", (json_int_t)layer->link_count, "data_bytes",
                                        (json_int_t)layer->data_bytes, "zero_bytes",
                                        (json_int_t)layer->zero_bytes));
    }
    return layers;
}

static json_t *disk_stack_json(const struct disk_stats *stats)
{
    if (!stats->stack)
        return json_null();
    return json_pack("{s:I, s:o}", "top_allocated_bytes", (json_int_t)stats->top_allocated,
                     "layers", disk_layers_json(stats));
}

void instance_json_disks(json_t *instance, const struct disk_stats *stats)
{
    json_t *disk;
    size_t i;
    json_array_foreach(json_object_get(json_object_get(instance, "tine"), "disks"), i, disk)
    {
        json_object_set_new(disk, "size_bytes", json_integer((json_int_t)stats[i].size_bytes));
        json_object_set_new(disk, "link_count", json_integer((json_int_t)stats[i].link_count));
        json_object_set_new(disk, "stack", disk_stack_json(&stats[i]));
    }
}
