/* SPDX-License-Identifier: Apache-2.0 */
/* POST /instances: the request's fields into an instance_create_request. */
#include <string.h>

#include "api/create_ignored.h"
#include "api/instance_json.h"
#include "api/lifetime.h"
#include "api/platform.h"
#include "api/policies.h"
#include "api/program_fields.h"
#include "api/routes.h"
#include "api/tags.h"
#include "base/cleanup.h"
#include "image/reference.h"

#define VCPUS_MAX 32

static void image_read(const struct fields *fields, const char **image)
{
    struct image_reference reference;
    struct error err = {0};
    fields_string(fields, "image", image);
    if (!*image)
        return;
    if (image_reference_parse(*image, &reference, &err) < 0)
        problem_set(fields->problem, 400, "invalid_name", "image: %s", err.message);
}

static void path_check(const char *path, const char *field, struct problem *problem)
{
    if (path && *path != '/')
        problem_set(problem, 400, "invalid_request", "%s: \"%.200s\" is not an absolute path",
                    field, path);
}

static void disks_read(const struct fields *tine, struct instance_create_request *create)
{
    const json_t *disks = fields_array(tine, "disks");
    size_t i;
    json_t *item;
    if (json_array_size(disks) > GUEST_MAX_DISKS)
        problem_set(tine->problem, 400, "invalid_request", "tine.disks: at most %d disks",
                    GUEST_MAX_DISKS);
    json_array_foreach(disks, i, item)
    {
        if (!json_is_object(item))
            problem_set(tine->problem, 400, PROBLEM_BAD_REQUEST,
                        "tine.disks: must be an array of objects");
        if (tine->problem->status != 0)
            return;
        struct instance_disk_request *disk = &create->disks[create->disk_count++];
        struct fields fields = {item, "tine.disks.", tine->problem};
        fields_string(&fields, "path", &disk->path);
        fields_bool(&fields, "read_only", &disk->read_only);
        fields_bool(&fields, "root", &disk->root);
        if (!disk->path)
            problem_set(tine->problem, 400, PROBLEM_BAD_REQUEST, "tine.disks.path: is required");
        path_check(disk->path, "tine.disks.path", tine->problem);
    }
}

static void extension_read(const struct fields *tine, struct instance_create_request *create)
{
    fields_string(tine, "kernel", &create->kernel);
    fields_string(tine, "initrd", &create->initrd);
    fields_string(tine, "cmdline", &create->cmdline);
    path_check(create->kernel, "tine.kernel", tine->problem);
    path_check(create->initrd, "tine.initrd", tine->problem);
    disks_read(tine, create);
}

/* Fields of the contract that have no effect here, but must be right. */
static void ignored_check(const struct fields *fields)
{
    uint64_t bytes;
    fields_size(fields, "hotplug_size", "invalid_hotplug_size", &bytes);
    create_ignored_check(fields);
}

static void request_read(const struct fields *fields, struct instance_create_request *create)
{
    int64_t vcpus = 0;
    const char *platform = NULL;
    fields_string(fields, "name", &create->name);
    fields_string(fields, "platform", &platform);
    platform_check(platform, fields->problem);
    image_read(fields, &create->image);
    fields_integer(fields, "vcpus", 0, VCPUS_MAX, &vcpus);
    fields_size(fields, "size", "invalid_size", &create->memory_bytes);
    fields_size(fields, "overlay_size", "invalid_overlay_size", &create->overlay_bytes);
    fields_bool(fields, "skip_guest_agent", &create->skip_guest_agent);
    fields_string(fields, "hypervisor", &create->hypervisor);
    lifetime_read(fields, &create->lifetime);
    ignored_check(fields);
    struct fields tine = fields_object(fields, "tine", "tine.");
    extension_read(&tine, create);
    create->vcpus = (unsigned)vcpus;
}

enum MHD_Result instances_create(struct request *request)
{
    struct problem problem = {0};
    struct instance_create_request create = {0};
    _cleanup_(json) json_t *body = request_body(request, &problem);
    struct fields fields = {body, "", &problem};
    request_read(&fields, &create);
    _cleanup_(free) char *tags = tags_text(&fields);
    _cleanup_(free) char *policies = policies_text(&fields, POLICY_KINDS);
    create.tags = tags;
    create.policies = policies;
    _cleanup_(program_fields) struct program_fields program = {.env = NULL};
    program_fields_read(&fields, &program);
    create.program = program.request;
    if (problem.status != 0)
        return reply_problem(request, &problem);
    struct instance_record record;
    struct error err = {0};
    if (instance_create(request->server->host, &create, &record, &err) == 0)
        return reply_json(request, MHD_HTTP_CREATED, instance_json(&record, NULL));
    /* The contract: a taken name is 400 here, 409 on fork. */
    if (err.code == ERROR_NAME)
        problem_set(&problem, 400, "name_conflict", "%s", err.message);
    problem_from_error(&problem, &err);
    return reply_problem(request, &problem);
}
