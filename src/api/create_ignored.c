/* SPDX-License-Identifier: Apache-2.0 */
#include "api/create_ignored.h"

#include "base/cleanup.h"
#include "base/rate.h"

typedef int rate_parser(const char *text, uint64_t *bytes, struct error *err);

static void rate_check(const struct fields *fields, const char *name, const char *code,
                       rate_parser *parse)
{
    const char *text = NULL;
    uint64_t bytes;
    struct error err = {0};
    fields_string(fields, name, &text);
    if (text && *text && parse(text, &bytes, &err) < 0)
        problem_set(fields->problem, 400, code, "%s%s: %s", fields->prefix, name, err.message);
}

static void not_here(const struct fields *fields, const char *name)
{
    problem_set(fields->problem, 501, "not_supported", "%s%s: there are none here", fields->prefix,
                name);
}

static void network_check(const struct fields *fields)
{
    const struct fields network = fields_object(fields, "network", "network.");
    const struct fields egress = fields_object(&network, "egress", "network.egress.");
    bool enabled = false;
    fields_bool(&network, "enabled", &enabled);
    rate_check(&network, "bandwidth_download", "invalid_bandwidth_download", rate_parse_network);
    rate_check(&network, "bandwidth_upload", "invalid_bandwidth_upload", rate_parse_network);
    enabled = false;
    fields_bool(&egress, "enabled", &enabled);
    if (enabled)
        problem_set(fields->problem, 501, "not_supported",
                    "network.egress: what a guest may reach can't be limited here");
}

void create_ignored_check(const struct fields *fields)
{
    static const char *const lists[] = {"devices", "volumes"}, *const objects[] = {"credentials",
                                                                                   "gpu"};
    bool skip = false;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        if (json_array_size(fields_array(fields, lists[i])) > 0)
            not_here(fields, lists[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
        if (json_object_size(fields_object(fields, objects[i], "").object) > 0)
            not_here(fields, objects[i]);
    }
    fields_bool(fields, "skip_kernel_headers", &skip);
    rate_check(fields, "disk_io_bps", "invalid_disk_io_bps", rate_parse_disk);
    network_check(fields);
}
