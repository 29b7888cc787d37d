/* SPDX-License-Identifier: Apache-2.0 */
/* GET /instances/{id}/stats. */
#include "api/routes.h"

static json_t *extension_json(const struct instance_stats *stats)
{
    uint64_t shared =
        stats->rss_bytes > stats->private_bytes ? stats->rss_bytes - stats->private_bytes : 0;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "memory_private_bytes",
                     (json_int_t)stats->private_bytes, "memory_shared_bytes", (json_int_t)shared,
                     "vmm_private_bytes", (json_int_t)stats->vmm_private_bytes, "memory_link_count",
                     (json_int_t)stats->memory_link_count, "memory_file_bytes",
                     (json_int_t)stats->memory_file_bytes, "memory_file_allocated_bytes",
                     (json_int_t)stats->memory_file_allocated);
}

enum MHD_Result instance_stats_one(struct request *request)
{
    struct instance_record record;
    struct instance_stats stats;
    struct error err = {0};
    struct host *host = request->server->host;
    if (instance_get(host, request->reference, &record, &err) < 0 ||
        instance_stats(host, record.id, &stats, &err) < 0)
        return reply_error(request, &err);
    json_t *ratio = record.memory_bytes == 0
                        ? json_null()
                        : json_real((double)stats.rss_bytes / (double)record.memory_bytes);
    return reply_json(request, MHD_HTTP_OK,
                      json_pack("{s:s, s:s, s:f, s:I, s:I, s:i, s:i, s:I, s:I, s:o, s:o}",
                                "instance_id", record.id, "instance_name", record.name,
                                "cpu_seconds", stats.cpu_seconds, "memory_rss_bytes",
                                (json_int_t)stats.rss_bytes, "memory_vms_bytes",
                                (json_int_t)stats.vms_bytes, "network_rx_bytes", 0,
                                "network_tx_bytes", 0, "allocated_vcpus", (json_int_t)record.vcpus,
                                "allocated_memory_bytes", (json_int_t)record.memory_bytes,
                                "memory_utilization_ratio", ratio, "tine", extension_json(&stats)));
}
