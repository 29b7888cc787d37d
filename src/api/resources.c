/* SPDX-License-Identifier: Apache-2.0 */
/* GET /resources: what the host has and what running instances were given. */
#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>

#include "api/routes.h"
#include "base/cleanup.h"

struct totals {
    uint64_t vcpus, memory;
};

static bool holds_resources(enum instance_state state)
{
    return state != INSTANCE_STOPPED && state != INSTANCE_STANDBY && state != INSTANCE_UNKNOWN;
}

static json_t *allocations_json(const struct instance_record *records, size_t count,
                                struct totals *totals)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct instance_record *record = &records[i];
        if (!holds_resources(record->state))
            continue;
        totals->vcpus += record->vcpus;
        totals->memory += record->memory_bytes;
        json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I}", "instance_id", record->id,
                                              "instance_name", record->name, "cpu",
                                              (json_int_t)record->vcpus, "memory_bytes",
                                              (json_int_t)record->memory_bytes));
    }
    return list;
}

static json_t *resource_json(const char *type, uint64_t capacity, uint64_t allocated)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:s}", "type", type, "capacity",
                     (json_int_t)capacity, "effective_limit", (json_int_t)capacity, "allocated",
                     (json_int_t)allocated, "available",
                     (json_int_t)(capacity > allocated ? capacity - allocated : 0), "oversub_ratio",
                     1.0, "source", "detected");
}

enum MHD_Result resources_get(struct request *request)
{
    _cleanup_(free) struct instance_record *records = NULL;
    size_t count = 0;
    struct error err = {0};
    if (instance_list(request->server->host, &records, &count, &err) < 0)
        return reply_error(request, &err);
    struct statvfs disk;
    struct sysinfo memory;
    if (statvfs(request->server->data_dir, &disk) < 0 || sysinfo(&memory) < 0) {
        error_errno(&err, errno, request->server->data_dir, "statvfs %s",
                    request->server->data_dir);
        return reply_error(request, &err);
    }
    struct totals totals = {0};
    json_t *allocations = allocations_json(records, count, &totals);
    uint64_t disk_capacity = (uint64_t)disk.f_blocks * disk.f_frsize;
    uint64_t disk_free = (uint64_t)disk.f_bavail * disk.f_frsize;
    return reply_json(
        request, MHD_HTTP_OK,
        json_pack(
            "{s:o, s:o, s:o, s:o, s:o}", "cpu",
            resource_json("cpu", (uint64_t)get_nprocs(), totals.vcpus), "memory",
            resource_json("memory", (uint64_t)memory.totalram * memory.mem_unit, totals.memory),
            "disk", resource_json("disk", disk_capacity, disk_capacity - disk_free),
            /* Clients read it without asking; there is no network to give. */
            "network", resource_json("network", 0, 0), "allocations", allocations));
}
